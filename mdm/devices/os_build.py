"""Windows builds as devices write them (`10.0.26100.4652`, ./DevDetail/SwV) and as people do (`26100`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["OsBuild"]

_BUILD: Final = re.compile(r"(?:10\.0\.)?(?P<number>[0-9]{4,6})(?:\.(?P<revision>[0-9]{1,6}))?")


@dataclass(frozen=True, slots=True)
class OsBuild:
    """A build, or all revisions of one."""

    number: int
    revision: int | None = None
    """Grows with each cumulative update; None: not given."""

    @classmethod
    def read(cls, text: str) -> OsBuild | None:
        """Read `10.0.26100.4652`, `26100.4652`, `10.0.26100` or `26100`; None for anything else."""
        match = _BUILD.fullmatch(text)
        if match is None:
            return None
        revision = match["revision"]
        return cls(int(match["number"]), None if revision is None else int(revision))

    @property
    def order(self) -> tuple[int, int]:
        """What builds are compared by; without a revision it stands before all of its revisions."""
        return self.number, self.revision or 0

    def covers(self, other: OsBuild) -> bool:
        """True if `other` is this build, or one of its revisions where none is given."""
        return self.number == other.number and self.revision in {None, other.revision}
