"""How often somebody may try: so many failures for one user name and for one address in a quarter of an hour.

Each try is counted as a failure before it is looked at, in a transaction of its own, and taken back when it
succeeds; so a hundred tries at once are a hundred tries. Names are counted whether or not they exist.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Final

from sqlalchemy import case, delete, select, update
from sqlmodel import col

from mdm.storage.statements import insert_ignore
from mdm.storage.tables import EnrolmentFailure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection

__all__ = ["WINDOW", "address_key", "count_try", "forget_tries", "name_key", "take_back"]

WINDOW: Final = timedelta(minutes=15)
"""Failures are counted together for so long, and whoever has too many waits until that is over."""
NAME_TRIES: Final = 10
"""Some, because tries under way count until they succeed, and one person may enrol several devices at a time."""
ADDRESS_TRIES: Final = 100
"""More, because a whole site may enrol from behind one address; successes do not count."""


def name_key(username_key: str) -> str:
    """The key of a user name."""
    return hashlib.sha256(f"name {username_key}".encode()).hexdigest()


def address_key(address: str) -> str:
    """The key of a network address: of IPv6, the network of a site."""
    return hashlib.sha256(f"address {_site(address)}".encode()).hexdigest()


def count_try(conn: Connection, keys: Mapping[str, int], *, now: datetime) -> bool:
    """Count one more try for each key and its limit; False where one has had too many already, which counts nothing.

    Also forgets what is too old to matter.
    """
    table = EnrolmentFailure
    conn.execute(delete(table).where(col(table.since) <= now - WINDOW))
    for key in sorted(keys):  # in one order, so that two tries cannot wait for each other
        conn.execute(insert_ignore(table, conn).values(key=key, failures=0, since=now))
    rows = conn.execute(
        select(col(table.key), col(table.failures))
        .where(col(table.key).in_(keys))
        .order_by(col(table.key))
        .with_for_update()
    )
    if any(failures >= keys[key] for key, failures in rows):
        return False
    conn.execute(update(table).where(col(table.key).in_(keys)).values(failures=col(table.failures) + 1))
    return True


def take_back(conn: Connection, keys: Mapping[str, int]) -> None:
    """Take back one try of each key: it has succeeded, and no failure is forgotten by that."""
    table = EnrolmentFailure
    conn.execute(
        update(table)
        .where(col(table.key).in_(keys))
        .values(failures=case((col(table.failures) > 0, col(table.failures) - 1), else_=0))
    )


def forget_tries(conn: Connection, key: str) -> None:
    """Let somebody try again at once."""
    conn.execute(delete(EnrolmentFailure).where(col(EnrolmentFailure.key) == key))


def _site(address: str) -> str:
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or found.packed[:8].hex())
    return str(found)
