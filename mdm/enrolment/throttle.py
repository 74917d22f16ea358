"""How often somebody may try: so many failures for one user name and for one address in a quarter of an hour.

Each try of a password is counted as a failure before it is looked at, in a transaction of its own, and taken back
when it succeeds; so a hundred tries at once are a hundred tries. Names are counted whether or not they exist. Of
secrets that nobody guesses only failures are counted, or all devices of a site would wait for one row.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import case, delete, or_, select, update
from sqlmodel import col

from mdm.storage.statements import insert_ignore
from mdm.storage.tables import EnrolmentFailure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

__all__ = ["WINDOW", "address_key", "count_try", "forget_tries", "is_locked", "name_key", "take_back"]

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

    Also forgets what is too old to matter, or lies in a future that a wrong clock has seen.
    """
    table = EnrolmentFailure
    for key in sorted(keys):  # in the order of `_held`
        conn.execute(insert_ignore(table, conn).values(key=key, failures=0, since=now))
    held = _held(conn, keys)
    over = [row.key for row in held if not now - WINDOW < row.since <= now + WINDOW]
    free = all(row.failures < keys[row.key] for row in held if row.key not in over)
    mine = col(table.key).in_(keys)
    if free:
        conn.execute(update(table).where(mine).values(failures=col(table.failures) + 1))
        conn.execute(update(table).where(col(table.key).in_(over)).values(failures=1, since=now))
    else:  # whoever is locked out cannot fill the table with names
        conn.execute(delete(table).where(mine, col(table.failures) == 0))
    _forget_old(conn, now)
    return free


def is_locked(conn: Connection, key: str, limit: int, *, now: datetime) -> bool:
    """Whether a key has had too many tries already, which `count_try` would tell too; nothing is counted or held."""
    table = EnrolmentFailure
    failures = conn.scalar(
        select(col(table.failures)).where(
            col(table.key) == key, col(table.since) > now - WINDOW, col(table.since) <= now + WINDOW
        )
    )
    return failures is not None and failures >= limit


def take_back(conn: Connection, keys: Mapping[str, int]) -> None:
    """Take back one try of each key: it has succeeded, and no failure is forgotten by that."""
    table = EnrolmentFailure
    _held(conn, keys)
    conn.execute(
        update(table)
        .where(col(table.key).in_(keys))
        .values(failures=case((col(table.failures) > 0, col(table.failures) - 1), else_=0))
    )


def forget_tries(conn: Connection, key: str) -> None:
    """Let somebody try again at once."""
    conn.execute(delete(EnrolmentFailure).where(col(EnrolmentFailure.key) == key))


def _forget_old(conn: Connection, now: datetime) -> None:
    """Last in its transaction, and without waiting: whoever holds a row looks at its time himself."""
    table = EnrolmentFailure
    old = (
        select(col(table.key))
        .where(or_(col(table.since) <= now - WINDOW, col(table.since) > now + WINDOW))
        .with_for_update(skip_locked=True)
    )
    conn.execute(delete(table).where(col(table.key).in_(old)))


def _held(conn: Connection, keys: Mapping[str, int]) -> Sequence[Row[*tuple[Any, ...]]]:
    """The rows of the keys, held in one order, so that two tries cannot wait for each other."""
    table = EnrolmentFailure
    return conn.execute(
        select(col(table.key), col(table.failures), col(table.since))
        .where(col(table.key).in_(keys))
        .order_by(col(table.key))
        .with_for_update()
    ).all()


def _site(address: str) -> str:
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or found.packed[:8].hex())
    return str(found)
