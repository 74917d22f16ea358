"""A device's policies as IT reads them: what is wanted and by whom, what the device has, and why it is not so yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from csp.hresult import explain
from csp.policy import POLICIES, Merge
from mdm.policies.effective import known_policies, merged_policies, refused_by_build
from mdm.policies.known import FAILED, SENT, SET, UNSUPPORTED
from mdm.policies.merge import REQUIRE_UPDATE_APPROVAL
from mdm.policies.values import shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.policies.known import Known
    from mdm.policies.merge import Claim, Merged, Valued

__all__ = ["ClaimView", "DevicePolicies", "PolicyView", "device_policies", "show_claim"]


@dataclass(frozen=True, slots=True)
class ClaimView:
    """A value that somebody wants for a policy."""

    value: int | str
    source: str
    """A profile's id, `approvals`, or the id of what else sets policies."""
    profile: str | None
    """The profile's name."""
    rank: int | None
    group_id: str | None
    """The group through which the profile is for the device."""


@dataclass(frozen=True, slots=True)
class PolicyView:
    """One policy on one device."""

    name: str
    wanted: ClaimView | None
    """Who wins, and with which value; None if nobody wants any and what we set is to be reset."""
    losers: tuple[ClaimView, ...]
    conflict: bool
    """Somebody wants another value than the winner's."""
    status: str
    """`in_force`, `set`, `waiting`, `sent`, `drifted`, `failed`, `unsupported` or `resetting`."""
    in_force: bool
    """The device has shown the wanted value."""
    reason_text: str | None
    """Why it is not in force."""
    set_value: int | str | None
    """What the device took last, and from whom."""
    set_source: str | None
    shown_value: int | str | None
    """What was in effect when it was read last, over all management servers."""
    read_at: datetime | None
    drifted_since: datetime | None
    repairs: int
    """How often the value was written again since the device last showed the right one."""
    status_code: int | None
    error: str | None
    error_text: str | None
    answered_at: datetime | None


@dataclass(frozen=True, slots=True)
class DevicePolicies:
    """All policies of a device that somebody wants or that we have set."""

    policies: tuple[PolicyView, ...]
    """By name."""
    problems: tuple[str, ...]
    """Ways in which the wanted values contradict or lack one another."""
    until: datetime | None
    """When time alone changes what is wanted, as the end of a pause does."""


def device_policies(
    connection: Connection,
    device_pk: int,
    now: datetime,
    *,
    approvals: bool | None,
    above: Mapping[str, Valued] | None = None,
    below: Mapping[str, Valued] | None = None,
) -> DevicePolicies:
    """The policies of a device; the arguments are those of `mdm.policies.effective.desired_policies`."""
    merged = merged_policies(connection, device_pk, now, approvals=approvals, above=above, below=below)
    known, build = known_policies(connection, device_pk)
    refused = refused_by_build(connection, device_pk, now)
    names = merged.winners.keys() | {name for name, each in known.items() if each.ours}
    if approvals is None:
        # Left as it is on the device, unless a profile wants it.
        names -= {REQUIRE_UPDATE_APPROVAL} - merged.winners.keys()
    views = []
    for name in sorted(names):
        each = known.get(name)
        lacking = name in refused and (each is None or each.value is None)
        if each is not None and each.lacks(build, now) is not None:
            lacking = True
        views.append(_view(name, merged, each, lacking=lacking))
    return DevicePolicies(tuple(views), merged.problems, merged.until)


def show_claim(name: str, claim: Claim) -> ClaimView:
    """A claim as IT reads it."""
    return ClaimView(shown(name, claim.value), claim.source, claim.profile, claim.rank, claim.group_id)


def _view(name: str, merged: Merged, known: Known | None, *, lacking: bool) -> PolicyView:
    claim = merged.winners.get(name)
    status = _status(claim, known, lacking=lacking)
    return PolicyView(
        name=name,
        wanted=None if claim is None else show_claim(name, claim),
        losers=tuple(show_claim(name, each) for each in merged.losers.get(name, ())),
        conflict=name in merged.conflicts,
        status=status,
        in_force=status == _IN_FORCE,
        reason_text=_reason(name, status, claim, known),
        set_value=_shown(name, known.value if known else None),
        set_source=known.source if known else None,
        shown_value=_shown(name, known.read_value if known else None),
        read_at=known.read_at if known else None,
        drifted_since=known.drifted_at if known else None,
        repairs=known.repairs if known else 0,
        status_code=known.status_code if known else None,
        error=known.error if known else None,
        error_text=explain(known.error) if known else None,
        answered_at=known.at if known and known.status_code is not None else None,
    )


def _shown(name: str, text: str | None) -> int | str | None:
    return None if text is None else shown(name, text)


_IN_FORCE: Final = "in_force"
_WAITING: Final = "waiting"
_DRIFTED: Final = "drifted"
_RESETTING: Final = "resetting"


def _status(claim: Claim | None, known: Known | None, *, lacking: bool) -> str:
    if lacking:
        return UNSUPPORTED
    if claim is None:
        return _RESETTING
    if known is None or known.status == UNSUPPORTED or (known.status == SET and known.value != claim.value):
        return _WAITING
    if known.status == SET and known.drifted_at is not None:
        return _DRIFTED
    return _IN_FORCE if known.confirmed else known.status


def _reason(name: str, status: str, claim: Claim | None, known: Known | None) -> str | None:
    """One sentence for every status but `in_force`."""
    if status == _IN_FORCE:
        return None
    if status == _RESETTING:
        code = known.status_code if known is not None and known.status in {FAILED, UNSUPPORTED} else None
        answer = "" if code is None else f" It answered {code} last."
        return f"Nobody wants a value any more; the device is told to reset it in its next session.{answer}"
    if status == _DRIFTED and known is not None and claim is not None:
        return _drift(name, claim, known)
    return {
        UNSUPPORTED: _lacking(known),
        _WAITING: "The device is told in its next session.",
        SENT: "The device was told and has not answered; it is told again in its next session.",
        FAILED: f"The device answered {known.status_code if known else None}; it is told again in its next session.",
        SET: "The device took the value; whether it is in effect is read in its next session.",
    }[status]


def _lacking(known: Known | None) -> str:
    if known is not None and known.status == UNSUPPORTED:
        return f"The device's Windows does not have this policy: it answered {known.status_code}."
    return "Another device with the same build and edition of Windows does not have this policy; this one is not asked."


_MERGES: Final = {
    Merge.LAST: "the one written last",
    Merge.LOWEST: "the lowest value",
    Merge.HIGHEST: "the highest value",
}


def _drift(name: str, claim: Claim, known: Known) -> str:
    has = "no value" if known.read_value is None else known.read_value
    sentence = f"The device took {known.value} and shows {has}."
    if not claim.repair:
        return f"{sentence} Its profile says to report that, and not to repair it."
    if known.repairs == 0:
        return f"{sentence} It is told again in its next session."
    merge = POLICIES[name].merge
    wins = "" if merge is None else f" Of several servers' values Windows takes {_MERGES[merge]}."
    return (
        f"{sentence} Writing it again has not helped so far ({known.repairs}): another management server or a "
        f"local setting seems to win.{wins}"
    )
