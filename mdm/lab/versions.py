"""Windows versions by build number: what a virtual device of some build has of the CSP and of the policies."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from csp.releases import RELEASES, is_in

__all__ = ["Build"]

_BUILD: Final = re.compile(r"(?:10\.0\.)?(?P<number>[0-9]{5})(?:\.(?P<ubr>[0-9]{1,5}))?")

_RELEASES: Final = {name: int(build.split(".")[2]) for name, build in RELEASES.items()}
"""Windows versions by name, and their build numbers."""


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

        Raises KeyError for a label that is no Windows version.
        """
        return is_in(since, self.number, self.ubr)
