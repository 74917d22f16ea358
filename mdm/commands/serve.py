"""`csp-bridge serve`: the service in one process, on the loopback unless told otherwise."""

from __future__ import annotations

import signal
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import structlog
import uvicorn

from mdm.app import build_app
from mdm.commands.base import (
    CommandError,
    add_data_dir,
    key_file,
    open_database,
    prepare_schema,
    settings_of,
)
from mdm.errors import Unavailable
from mdm.heap import settle_heap
from mdm.log import UVICORN_OPTIONS, configure_logging
from mdm.storage.secrets import SecretBox

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from mdm.settings import Settings
    from mdm.storage.engine import Database

__all__ = ["add_parser"]

log = structlog.get_logger(__name__)

_BACKLOG: Final = 2048
_MAX_CONNECTIONS: Final = 2000
"""Connections and requests under way at once; the next is answered 503 by the server itself."""
_KEEP_ALIVE: Final = 15
"""Seconds an idle connection stays open; a device session has pauses of a few."""
_GRACE: Final = 20
"""Seconds requests under way get after SIGTERM."""


def add_parser(subparsers: Any) -> None:
    """Add `serve`."""
    parser = subparsers.add_parser("serve", help="run the service")
    add_data_dir(parser)
    parser.add_argument("--host", help="address to listen on (BRIDGE_HOST, or 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for a free one (BRIDGE_PORT, or 8480)")
    parser.set_defaults(func=_serve)


def _serve(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    configure_logging(settings.log_format, settings.log_level)
    with open_database(settings) as database:
        _prepare(database)
        box = SecretBox.from_file(key_file(settings))
        listener = _listen(settings.host, settings.port)
        try:
            config = _uvicorn_config(build_app(settings, database, box), settings)
            settle_heap()
            _Server(config, _url(listener)).run(sockets=[listener])
        finally:
            listener.close()
    log.info("stopped")
    return 0


def _prepare(database: Database) -> None:
    try:
        prepare_schema(database)
    except Unavailable as error:
        if database.dialect == "sqlite":
            raise
        # A server that is away comes back: until then /readyz says so, and no restart is needed.
        log.warning("database_unavailable", reason=error.detail)


def _uvicorn_config(app: Any, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="on",
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        limit_concurrency=_MAX_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_GRACE,
        backlog=_BACKLOG,
        log_level="warning",  # `ready`, `request` and `stopped` are ours
        **UVICORN_OPTIONS,
    )


def _listen(host: str, port: int) -> socket.socket:
    """Take the port before anything starts, so that one in use is a plain error."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (")[0]
        raise CommandError(f"Cannot listen on {host} port {port}: {reason}.") from None


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """uvicorn that says where it is once requests are answered, and returns when it was told to stop."""

    def __init__(self, config: uvicorn.Config, url: str) -> None:
        super().__init__(config)
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and log the URL."""
        await super().startup(sockets)
        log.info("ready", url=self._url)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGINT and SIGTERM; uvicorn's own raises them again afterwards, before the database is closed."""
        previous = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
