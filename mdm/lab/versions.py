"""Windows versions by build number: what a virtual device of some build has of the CSP and of the policies."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from csp.releases import RELEASES

__all__ = ["Build"]

_BUILD: Final = re.compile(r"(?:10\.0\.)?(?P<number>[0-9]{5})(?:\.(?P<ubr>[0-9]{1,5}))?")
_SINCE: Final = re.compile(r"(?P<release>[^+]+)(?:\+(?P<ubr>[0-9]+))?")

_RELEASES: Final = {name: int(build.split(".")[2]) for name, build in RELEASES.items()}
"""Windows versions by name, and their build numbers."""

_ONE_SERVICING: Final = (
    frozenset({18362, 18363}),
    frozenset(range(19041, 19046)),
)
"""Builds that share their cumulative updates, and so their build revisions (UBR)."""


@dataclass(frozen=True, slots=True)
class Build:
    """A Windows 10 or 11 build, and what it knows."""

    number: int
    ubr: int = 0
    """Update build revision: grows with each cumulative update."""

    @classmethod
    def parse(cls, text: str) -> Build:
        """Read `10.0.26100.4652`, `26100.4652` or `26100`; raises ValueError for anything else."""
        match = _BUILD.fullmatch(text)
        if match is None:
            raise ValueError(f"not a Windows build: {text!r}")
        return cls(int(match["number"]), int(match["ubr"] or 0))

    def __str__(self) -> str:
        """As `./DevDetail/SwV` shows it: `10.0.26100.4652`."""
        return f"10.0.{self.number}.{self.ubr}"

    @property
    def edition(self) -> str:
        """As `./DevDetail/Ext/Microsoft/OSPlatform` names it: every virtual device has an Enterprise."""
        return f"Windows {11 if self.number >= _RELEASES['W11 21H2'] else 10} Enterprise"

    @property
    def reports_revisions(self) -> bool:
        """True if Failed-, Installed- and PendingRebootUpdates have RevisionNumber leaves (since 1703)."""
        return self.number >= _RELEASES["1703"]

    @property
    def failure_leaf(self) -> str:
        """`State` or `Status`: the DDF of 1803 and the page of 2023 call one leaf by two names.

        Where Windows changed is not published; here Windows 10 has the old name and Windows 11 the new one.
        """
        return "State" if self.number >= _RELEASES["W11 21H2"] else "Status"

    @property
    def max_sync_version(self) -> str:
        """MaxSyncApplicationVersion: the newest session protocol it knows (DMClient CSP, MS-MDM 3.2.5.1.3).

        2.0 is what Windows 10 began with, and 3.0 came with 1903. Of the others only their number is
        published: 5.0 belongs to the sessions of several users, which came with Windows 11.
        """
        if self.number >= _RELEASES["W11 21H2"]:
            return "5.0"
        return "3.0" if self.number >= _RELEASES["1903"] else "2.0"

    def has(self, since: str) -> bool:
        """True if something that exists since `1607`, or since `W11 21H2 / 2004+546 / 1909+1110`, is there.

        The entry of the newest release that is not newer than this build decides; with a `+n`, on that
        release itself, by the build revision. Raises KeyError for a label that is no Windows version.
        """
        entries = [match for part in since.split(" / ") if (match := _SINCE.fullmatch(part))]
        first = {_RELEASES[entry["release"]]: int(entry["ubr"] or 0) for entry in entries}
        reached = [number for number in first if number <= self.number]
        if not reached:
            return False
        nearest = max(reached)
        if not _same_servicing(nearest, self.number):
            return True
        return self.ubr >= first[nearest]


def _same_servicing(one: int, other: int) -> bool:
    return one == other or any({one, other} <= builds for builds in _ONE_SERVICING)
