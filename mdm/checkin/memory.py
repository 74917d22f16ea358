"""What a check-in remembers from message to message of one session, besides the protocol's own state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from csp.sync_version import SyncVersions
    from syncml.exchange import Request

__all__ = ["MAX_ASKED_AGAIN", "Memory"]

_LIST = "?list=StructData"

MAX_ASKED_AGAIN = 10
"""Times a session asks for the same lists again because not all that they say could be written at once."""


class Memory:
    """Grows with each message of a session; `dump` and `load` keep it in the session's row."""

    def __init__(self) -> None:
        """A new session remembers nothing."""
        self.queries_done = False
        self.user_scope = False
        """The session is for the user's scope: a command on the device's would get 405 (MS-MDM 3.2.5.1.5)."""
        self.attempted: list[str] = []
        self.confirm: list[str] = []
        self.counts: dict[str, int] = {}
        self.proved = False
        """The device has accepted our credentials for the whole session (212)."""
        self.distrusted = 0
        """How often the device has refused our credentials."""
        self.version: str | None = None
        """SyncApplicationVersion, as the device said it in this session."""
        self.newest_version: str | None = None
        """MaxSyncApplicationVersion, likewise."""
        self.unenrol_unknown = False
        """The device has no node for the newer form of the command to leave."""

    @classmethod
    def load(cls, value: Mapping[str, Any]) -> Memory:
        """Read what `dump` wrote; KeyError or TypeError if it is something else."""
        memory = cls()
        memory.queries_done = value["queries_done"]
        memory.user_scope = value["user_scope"]
        memory.attempted = value["attempted"]
        memory.confirm = value["confirm"]
        memory.counts = value["counts"]
        memory.proved = value["proved"]
        memory.distrusted = value["distrusted"]
        memory.version = value["version"]
        memory.newest_version = value["newest_version"]
        memory.unenrol_unknown = value["unenrol_unknown"]
        return memory

    @classmethod
    def after(cls, abandoned: Memory | None) -> Memory:
        """A new session asks what an abandoned one did not get to know: the rows no longer say what vanished."""
        memory = cls()
        if abandoned is not None:
            memory.confirm = list(abandoned.confirm)
        return memory

    def dump(self) -> dict[str, Any]:
        """All of it, as JSON values."""
        return {
            "queries_done": self.queries_done,
            "user_scope": self.user_scope,
            "attempted": self.attempted,
            "confirm": self.confirm,
            "counts": self.counts,
            "proved": self.proved,
            "distrusted": self.distrusted,
            "version": self.version,
            "newest_version": self.newest_version,
            "unenrol_unknown": self.unenrol_unknown,
        }

    def note_versions(self, said: SyncVersions) -> None:
        """Keep what the device has just said of its version of the session protocol."""
        self.version = said.current or self.version
        self.newest_version = said.ceiling or self.newest_version

    def count(self, name: str, by: int = 1) -> None:
        """Add to a figure of the session's line in the log."""
        self.counts[name] = self.counts.get(name, 0) + by

    def without_attempted(self, requests: Iterable[Request]) -> tuple[Request, ...]:
        """Those of the requests that have not been sent in this session."""
        done = set(self.attempted)
        return tuple(request for request in requests if _name(request) not in done)

    def sent(self, requests: tuple[Request, ...]) -> None:
        """Remember that they went out."""
        self.count("commands", len(requests))
        self.attempted += [_name(request) for request in requests]

    def ask_again(self, postponed: int) -> None:
        """Ask for the lists once more in this session: of what they say, so many rows are not written yet."""
        self.count("rows_postponed", postponed)
        if self.counts.get("lists_asked_again", 0) < MAX_ASKED_AGAIN:
            self.count("lists_asked_again")
            self.attempted = [name for name in self.attempted if not name.endswith(_LIST)]
            self.queries_done = False

    def not_looked_at(self, requests: Iterable[Request]) -> None:
        """Forget that they went out: the device refused the message around them."""
        names = {_name(request) for request in requests}
        self.attempted = [name for name in self.attempted if name not in names]
        self.queries_done = False


def _name(request: Request) -> str:
    return f"{request.verb} {request.loc_uri}"
