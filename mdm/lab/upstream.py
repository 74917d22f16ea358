"""A virtual WSUS on a real socket: `UpstreamServer` for tests and the demo, `csp-bridge upstream serve` to play with.

with UpstreamServer(build_catalogue(seed=1, now=now)) as server:
    client = UpstreamClient(server.url, ...)
    server.publish(document)
    assert server.calls("GetUpdateData") == 1
"""

from __future__ import annotations

import signal
import socket
import threading
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

import uvicorn

from mdm.clock import utc_now
from mdm.commands.base import CommandError
from mdm.lab.generate import build_catalogue
from mdm.lab.upstream_app import RequestRecord, VirtualUpstream
from mdm.lab.upstream_options import UpstreamOptions
from mdm.log import UVICORN_OPTIONS

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime

    from starlette.applications import Starlette

    from mdm.lab.catalogue import Catalogue
    from mdm.lab.documents import Document, Identity

__all__ = ["RequestRecord", "UpstreamOptions", "UpstreamServer", "add_parser", "serve_upstream"]

_WSUS_PORT = 8530
_START_SECONDS = 10
_STOP_SECONDS = 10
_TICK_SECONDS = 0.5


class UpstreamServer:
    """A virtual upstream serving a catalogue from a thread of its own; every method may be called while it runs."""

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        options: UpstreamOptions | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """Port 0 takes a free one, and keeps it if the server is stopped and started again."""
        self._host = host
        self._port = port
        self._upstream = VirtualUpstream(catalogue.documents, options or UpstreamOptions(), clock)
        self._running: tuple[uvicorn.Server, threading.Thread] | None = None

    # --- running ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Listen and serve; returns when requests are answered.

        Raises OSError if the port cannot be had, TimeoutError if the server does not come up.
        """
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.create_server((self._host, self._port), family=family)
        self._port = listener.getsockname()[1]
        ready = threading.Event()

        @asynccontextmanager
        async def lifespan(_app: Starlette) -> AsyncIterator[None]:
            ready.set()
            yield

        config = uvicorn.Config(
            self._upstream.app(lifespan),
            http="httptools",
            ws="none",
            lifespan="on",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
            **UVICORN_OPTIONS,
        )
        server = uvicorn.Server(config)
        # a daemon, so that a test that fails before it stops the server does not hang the run
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="upstream", daemon=True
        )
        thread.start()
        self._running = server, thread
        if not ready.wait(_START_SECONDS):
            raise TimeoutError("the virtual upstream did not start")

    def stop(self) -> None:
        """Stop serving and give the port back; what was published stays."""
        if self._running is not None:
            server, thread = self._running
            server.should_exit = True
            thread.join(_STOP_SECONDS)
            self._running = None

    def wait(self) -> None:
        """Return when the server has stopped; in the main thread a signal may interrupt it."""
        # A signal that arrives on another thread does not wake a join: its handler runs when the join ends.
        while self._running is not None and self._running[1].is_alive():
            self._running[1].join(_TICK_SECONDS)

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop."""
        self.stop()

    @property
    def url(self) -> str:
        """The base URL to give a client, without a slash at the end."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    # --- what a test may see and change -----------------------------------------------------------------

    @property
    def requests(self) -> tuple[RequestRecord, ...]:
        """Every request so far, in the order they were answered."""
        return tuple(self._upstream.requests)

    def calls(self, operation: str) -> int:
        """How often an operation was asked for."""
        return sum(record.operation == operation for record in self.requests)

    @property
    def options(self) -> UpstreamOptions:
        """The switches; setting them arms `fail_next` and `faults` anew."""
        return self._upstream.options

    @options.setter
    def options(self, options: UpstreamOptions) -> None:
        self._upstream.options = options

    def publish(self, document: Document) -> None:
        """Offer a revision from now on: it is newer than every anchor given out."""
        self._upstream.store.publish(document, self._upstream.clock())

    def withdraw(self, identity: Identity) -> None:
        """Stop offering a revision; raises KeyError if it is not offered."""
        self._upstream.store.withdraw(identity)

    def bump_generation(self) -> None:
        """Behave as if the database had been replaced: every anchor given out so far means ServerChanged."""
        self._upstream.bump_generation()


# --- the command ----------------------------------------------------------------------------------------


def serve_upstream(
    host: str = "127.0.0.1",
    port: int = _WSUS_PORT,
    seed: int = 1,
    *,
    options: UpstreamOptions | None = None,
    announce: Callable[[str], object] = print,
) -> None:
    """Serve a generated catalogue until SIGINT or SIGTERM; to be called from the main thread.

    Raises OSError if the port cannot be had.
    """
    catalogue = build_catalogue(seed, utc_now())
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with (
            suppress(KeyboardInterrupt),
            UpstreamServer(catalogue, host=host, port=port, options=options) as server,
        ):
            announce(
                f"Virtual upstream at {server.url}: {len(catalogue.documents)} revisions, "
                f"{len(catalogue.visible())} updates an administrator would see (seed {seed})."
            )
            server.wait()
    finally:
        signal.signal(signal.SIGTERM, previous)


def add_parser(subparsers: Any) -> None:
    """Add `upstream serve`."""
    parser = subparsers.add_parser("upstream", help="run a simulated WSUS")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    serve = verbs.add_parser(
        "serve", help="serve a generated catalogue over the WSUS server-to-server protocol"
    )
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    serve.add_argument(
        "--port", type=int, default=_WSUS_PORT, help="port, 0 for a free one (default %(default)s)"
    )
    serve.add_argument("--seed", type=int, default=1, help="another number is another catalogue (default 1)")
    serve.add_argument(
        "--missing",
        choices=["wsus", "mu"],
        default="wsus",
        help="how an unknown revision is answered: as WSUS or as Microsoft Update does (default wsus)",
    )
    serve.add_argument(
        "--compress",
        choices=["auto", "always", "never"],
        default="auto",
        help="which documents are sent as cabinets (default auto: the long ones)",
    )
    serve.set_defaults(func=_serve)


def _serve(args: argparse.Namespace) -> int:
    options = UpstreamOptions(missing=args.missing, compress=args.compress)
    try:
        serve_upstream(args.host, args.port, args.seed, options=options)
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]  # the address is in parentheses, and in our own words
        raise CommandError(f"Cannot listen on {args.host} port {args.port}: {reason}.") from None
    return 0
