"""A virtual upstream in a process of its own, so that what it costs is not taken for its client's cost."""

from __future__ import annotations

import multiprocessing
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from mdm.lab.bulk import BulkCatalogue
from mdm.lab.catalogue import Catalogue
from mdm.lab.upstream import UpstreamServer

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from mdm.lab.upstream_options import UpstreamOptions

__all__ = ["UpstreamProcess"]

_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 10


@dataclass(frozen=True, slots=True)
class _Order:
    """What to serve; it goes to the other process."""

    seed: int
    size: int
    big_document: bool
    released: int | None
    options: UpstreamOptions | None


class UpstreamProcess:
    """A bulk catalogue served on a free port of the loopback by another process; a context manager."""

    def __init__(
        self,
        size: int,
        *,
        seed: int = 1,
        big_document: bool = False,
        released: int | None = None,
        options: UpstreamOptions | None = None,
    ) -> None:
        """For the arguments see BulkCatalogue and UpstreamServer."""
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        order = _Order(seed, size, big_document, released, options)
        self._process = spawn.Process(target=_serve, args=(theirs, order), name="upstream", daemon=True)
        self._theirs = theirs
        self.url = ""
        """Known once it is started."""

    def __enter__(self) -> Self:
        """Start; raises TimeoutError if it does not come up."""
        self._process.start()
        self._theirs.close()
        if not self._pipe.poll(_START_SECONDS):
            self._process.kill()
            raise TimeoutError("the virtual upstream did not start")
        self.url = self._pipe.recv()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop."""
        self._pipe.close()
        self._process.join(_STOP_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def calls(self, operation: str) -> int:
        """How often an operation was asked for."""
        return int(self._ask("calls", operation))

    def release(self, blocks: int) -> None:
        """Publish the next blocks of the catalogue."""
        self._ask("release", blocks)

    def _ask(self, method: str, argument: object) -> Any:
        self._pipe.send((method, argument))
        return self._pipe.recv()


def _serve(pipe: Connection, order: _Order) -> None:
    """Serve, and do what comes through the pipe, until its other end is closed."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # of a terminal it goes to every process; ours is ended by the pipe
    bulk = BulkCatalogue(order.seed, order.size, big_document=order.big_document)
    with UpstreamServer(
        Catalogue((), ()), bulk=bulk, released=order.released, options=order.options
    ) as server:
        pipe.send(server.url)
        while True:
            try:
                method, argument = pipe.recv()
            except EOFError:
                return
            pipe.send(getattr(server, method)(argument))
