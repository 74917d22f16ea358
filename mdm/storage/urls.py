"""Database URLs as administrators write them, made into what SQLAlchemy wants."""

from __future__ import annotations

from typing import Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

__all__ = ["parse_database_url"]

_DRIVERS: Final = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}


def parse_database_url(text: str) -> URL:
    """Read `sqlite:///<path>` or `postgresql://…` (also `postgres://`, as hosting platforms write it).

    Raises ValueError with a sentence that never repeats the URL, which may hold a password.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError("must look like sqlite:///path or postgresql://user@host/name") from None
    drivername = _DRIVERS.get(url.drivername)
    if drivername is None:
        raise ValueError(f"names the database {url.drivername}; only sqlite and postgresql are supported")
    if drivername == "sqlite" and (url.database in {None, "", ":memory:"} or "mode" in url.query):
        # Readers and the writer have connections of their own: each would see a memory of its own.
        raise ValueError("must name a file: the database cannot live in memory")
    return url.set(drivername=drivername)
