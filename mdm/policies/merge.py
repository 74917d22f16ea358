"""What a device's policies come to when several profiles speak of them: pure, with the winner and the losers named.

For each policy the first of these that sets it wins:

    1  what must hold whatever IT wrote (approvals that need RequireUpdateApproval, the pause of a rollback)
    2  profiles, by the rank of their assignment, the lowest first; of equal ranks the profile whose id is first
    3  what only fills gaps (the schedule that maintenance windows ask for)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from csp.policy import POLICIES, validate_together
from mdm.policies.pauses import PAUSES, pause_over_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

__all__ = ["APPROVALS", "REQUIRE_UPDATE_APPROVAL", "Assigned", "Claim", "Merged", "Valued", "Wanted", "merge"]

APPROVALS: Final = "approvals"
"""The source of a value that approvals need."""

REQUIRE_UPDATE_APPROVAL: Final = "RequireUpdateApproval"
"""Without this policy approvals have no effect: Windows installs whatever applies (update-csp)."""

_PAUSES: Final = frozenset(PAUSES.values())


class Valued(Protocol):
    """A value for a policy, and who wants it: what comes from elsewhere than profiles."""

    @property
    def value(self) -> str:
        """As `csp.policy.validate` passes it."""

    @property
    def source(self) -> str:
        """Id of the rollback, the window, or what else sets policies."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The value a policy is to have on a device, and who wants it."""

    value: str
    source: str
    """A profile's id, `approvals`, or the id of what else sets policies."""
    repair: bool = True
    """Write it again if the device shows another one; False: only tell."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """A profile that is for a device through one of its groups."""

    profile_id: str
    name: str
    rank: int
    group_id: str
    settings: Mapping[str, str]
    repair: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """One value that somebody wants for a policy."""

    value: str
    source: str
    repair: bool = True
    profile: str | None = None
    """The profile's name; None for what is no profile."""
    rank: int | None = None
    group_id: str | None = None
    """The group through which the profile is for the device."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What a device's policies come to."""

    winners: Mapping[str, Claim]
    losers: Mapping[str, tuple[Claim, ...]] = field(default_factory=dict)
    """Every other claim, in the order in which they would win; only of policies that have some."""
    until: datetime | None = None
    """When time alone changes the result; None: never."""

    @property
    def conflicts(self) -> tuple[str, ...]:
        """Policies for which somebody wants another value than the winner's, by name."""
        return tuple(
            sorted(
                name
                for name, claims in self.losers.items()
                if any(claim.value != self.winners[name].value for claim in claims)
            )
        )

    @property
    def ties(self) -> tuple[str, ...]:
        """Conflicts that no rank decides: the winner and another profile with another value have the same one."""
        return tuple(
            name
            for name in self.conflicts
            if self.winners[name].rank is not None
            and any(
                claim.rank == self.winners[name].rank and claim.value != self.winners[name].value
                for claim in self.losers[name]
            )
        )

    @property
    def values(self) -> dict[str, str]:
        """The winning values by policy name."""
        return {name: claim.value for name, claim in self.winners.items()}

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for each way in which the winning values contradict or lack one another."""
        return validate_together(self.values)


def merge(
    assigned: Iterable[Assigned],
    now: datetime,
    *,
    above: Mapping[str, Valued] | None = None,
    below: Mapping[str, Valued] | None = None,
) -> Merged:
    """The winners and losers of each policy at this moment, by policy name.

    A profile that is for the device through several groups counts once, with its best rank. A pause whose days are
    over is no claim any more, and a policy this release does not know is none at all.
    """
    claims: dict[str, list[Claim]] = {}
    for name, claim in (*_overlay(above), *_profiles(assigned, now), *_overlay(below)):
        claims.setdefault(name, []).append(claim)
    winners = {name: claims[name][0] for name in sorted(claims)}
    losers = {name: tuple(each[1:]) for name, each in sorted(claims.items()) if len(each) > 1}
    ends = [
        pause_over_at(claim.value)
        for name, claim in winners.items()
        if name in _PAUSES and claim.profile is not None
    ]
    return Merged(winners, losers, min(ends, default=None))


def _overlay(values: Mapping[str, Valued] | None) -> Iterator[tuple[str, Claim]]:
    for name, wanted in (values or {}).items():
        yield name, Claim(wanted.value, wanted.source)


def _profiles(assigned: Iterable[Assigned], now: datetime) -> Iterator[tuple[str, Claim]]:
    seen: set[str] = set()
    for each in sorted(assigned, key=lambda each: (each.rank, each.profile_id, each.group_id)):
        if each.profile_id in seen:
            continue
        seen.add(each.profile_id)
        for name, value in each.settings.items():
            over = name in _PAUSES and pause_over_at(value) <= now
            if name in POLICIES and not over:
                yield name, Claim(value, each.profile_id, each.repair, each.name, each.rank, each.group_id)
