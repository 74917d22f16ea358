"""How the bridge opens PostgreSQL: psycopg 3, checked connections, and a bound on every wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import NullPool, QueuePool, create_engine

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.engine import URL

__all__ = ["migration_engine", "pooled_engine", "reader_of"]

POOL_TIMEOUT: Final = 10.0
"""Seconds to wait for a connection of the pool."""

_CONNECTION: Final[dict[str, Any]] = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,  # milliseconds: a vanished server is noticed in ten seconds, not in fifteen minutes
    "keepalives_idle": 30,
    "application_name": "csp-bridge",
}
_SERVICE_OPTIONS: Final = (
    "-c statement_timeout=15s -c lock_timeout=5s -c idle_in_transaction_session_timeout=60s -c timezone=UTC"
)
_MIGRATION_OPTIONS: Final = "-c timezone=UTC"


def pooled_engine(url: URL, *, pool_size: int) -> Engine:
    """Return the engine of the service; a write transaction is READ COMMITTED."""
    return create_engine(
        url,
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args=_connect_args(url, _SERVICE_OPTIONS),
    )


def reader_of(engine: Engine) -> Engine:
    """Return the same pool with transactions that see one unchanging state and can write nothing."""
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def migration_engine(url: URL) -> Engine:
    """Return an engine without the service's timeouts: `Database.migrating` sets its own."""
    return create_engine(
        url,
        poolclass=NullPool,
        hide_parameters=True,
        connect_args=_connect_args(url, _MIGRATION_OPTIONS),
    )


def _connect_args(url: URL, options: str) -> dict[str, Any]:
    """Our defaults, each of which the URL's own parameters override."""
    arguments = {name: value for name, value in _CONNECTION.items() if name not in url.query}
    return arguments | {"options": f"{options} {url.query.get('options', '')}".rstrip()}
