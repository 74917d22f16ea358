"""`csp-bridge serve`: the service in one process, on the loopback unless told otherwise."""

from __future__ import annotations

import asyncio
import signal
import socket
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog
import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from mdm.app import build_app
from mdm.clock import utc_now
from mdm.commands.base import (
    CommandError,
    add_data_dir,
    open_database,
    prepare_schema,
    secret_box,
    settings_of,
)
from mdm.errors import Unavailable
from mdm.heap import settle_heap
from mdm.log import UVICORN_OPTIONS, configure_logging
from mdm.tls.errors import TlsError
from mdm.tls.forwarded import ClientCertificates, TrustedProxies
from mdm.tls.protocol import TlsHttpProtocol
from mdm.tls.refusals import Refusals
from mdm.tls.server import reload_certificate, tls_context
from mdm.tls.trust import ClientTrust

if TYPE_CHECKING:
    import argparse
    import ssl
    from collections.abc import Callable, Iterator

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
    parser.add_argument(
        "--tls",
        action="store_const",
        const=True,
        help="speak TLS, with a self-signed certificate unless --tls-cert names another (BRIDGE_TLS)",
    )
    for option, setting, text in (
        ("--tls-cert", "tls_cert_file", "PEM file of the server's certificate; turns TLS on"),
        ("--tls-key", "tls_key_file", "PEM file of its key, unless the certificate's file holds it"),
        (
            "--tls-client-ca",
            "tls_client_ca_file",
            "PEM file of the authorities that issue devices' certificates",
        ),
    ):
        parser.add_argument(
            option, dest=setting, type=Path, metavar="FILE", help=f"{text} (BRIDGE_{setting.upper()})"
        )
    parser.set_defaults(func=_serve)


def _serve(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    configure_logging(settings.log_format, settings.log_level)
    with open_database(settings) as database:
        _prepare(database)
        box = secret_box(settings)
        refusals = Refusals()
        context = _tls(settings, refusals)
        listener = _listen(settings.host, settings.port)
        try:
            app = _behind_proxies(build_app(settings, database, box), settings, refusals)
            on_hangup = None if context is None else partial(_reload, context, settings)
            settle_heap()
            url = _url(listener, "http" if context is None else "https")
            with _trusting(database, context):
                _Server(_uvicorn_config(app, context), url, on_hangup).run(sockets=[listener])
        finally:
            listener.close()
    log.info("stopped")
    return 0


@contextmanager
def _trusting(database: Database, context: ssl.SSLContext | None) -> Iterator[None]:
    """The certificates of our own authority are accepted meanwhile, from the first connection on if there is one."""
    if context is None:
        yield
        return
    trust = ClientTrust(database, context)
    try:
        trust.work()
    except Unavailable as error:
        log.warning("database_unavailable", reason=error.detail)
    trust.start()
    try:
        yield
    finally:
        trust.stop()


def _prepare(database: Database) -> None:
    try:
        prepare_schema(database)
    except Unavailable as error:
        if database.dialect == "sqlite":
            raise
        # A server that is away comes back: until then /readyz says so, and no restart is needed.
        log.warning("database_unavailable", reason=error.detail)


def _tls(settings: Settings, refusals: Refusals) -> ssl.SSLContext | None:
    try:
        return tls_context(settings, refusals, utc_now())
    except TlsError as error:
        raise CommandError(str(error)) from None


def _reload(context: ssl.SSLContext, settings: Settings) -> None:
    """Read the server's certificate again; one that cannot be used leaves the old one in its place."""
    try:
        reload_certificate(context, settings, utc_now())
    except TlsError as error:
        log.error("tls_certificate_not_reloaded", why=str(error))  # noqa: TRY400 - the sentence says it all
    else:
        log.info("tls_certificate_reloaded")


def _behind_proxies(app: Any, settings: Settings, refusals: Refusals) -> Any:
    """The application with what proxies say put into the scope: first who the peer is, then for whom he speaks."""
    proxies = settings.trusted_proxies
    if proxies:
        app = ProxyHeadersMiddleware(app, trusted_hosts=proxies)
    return ClientCertificates(app, TrustedProxies(proxies), refusals)


def _uvicorn_config(app: Any, context: ssl.SSLContext | None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=TlsHttpProtocol,
        ssl_context_factory=None if context is None else lambda _config, _default: context,
        ws="none",
        lifespan="on",
        server_header=False,
        proxy_headers=False,  # `_behind_proxies` does that
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


def _url(listener: socket.socket, scheme: str) -> str:
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


class _Server(uvicorn.Server):
    """uvicorn that says where it is once requests are answered, and returns when it was told to stop."""

    def __init__(self, config: uvicorn.Config, url: str, on_hangup: Callable[[], None] | None) -> None:
        super().__init__(config)
        self._url = url
        self._on_hangup = on_hangup

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and log the URL; from then on SIGHUP does what it was made for, if anything."""
        await super().startup(sockets)
        if self._on_hangup is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._on_hangup)
        log.info("ready", url=self._url)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop, and give SIGHUP back."""
        await super().shutdown(sockets)
        if self._on_hangup is not None:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)

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
