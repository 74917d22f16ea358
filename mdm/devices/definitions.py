"""The definitions of groups in the database, and their version: one number that rises with each change.

Who changes a definition holds the version's row until the commit (`lock_definitions`); who works out memberships
shares it (`share_definitions`), so that no group goes or changes meanwhile. Rows of devices are locked before it,
never after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select, update

from mdm.devices.membership import Definition, Definitions
from mdm.devices.rules import parse_rule
from mdm.storage.statements import table_of
from mdm.storage.tables import DeviceGroup, GroupLink, GroupsVersion

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

__all__ = [
    "current_version",
    "load_definitions",
    "lock_definitions",
    "raise_version",
    "read_definitions",
    "share_definitions",
]

_group = table_of(DeviceGroup)
_link = table_of(GroupLink)
_version = table_of(GroupsVersion)


def current_version(conn: Connection) -> int:
    """The version of the definitions."""
    return int(conn.execute(select(_version.c.version)).scalar_one())


def lock_definitions(conn: Connection) -> None:
    """Keep everybody else from changing definitions, and from working out memberships, until the commit."""
    conn.execute(select(_version.c.version).with_for_update())


def share_definitions(conn: Connection) -> int:
    """Keep everybody from changing definitions until the commit; returns their version."""
    return int(conn.execute(select(_version.c.version).with_for_update(read=True)).scalar_one())


def raise_version(conn: Connection, now: datetime) -> None:
    """From here on every device's memberships are to be worked out anew."""
    conn.execute(update(_version).values(version=_version.c.version + 1, changed_at=now))


def read_definitions(conn: Connection) -> dict[str, Definition]:
    """The definition of each group but the built-in ones."""
    links: dict[tuple[str, str], set[str]] = {}
    for group_id, kind, other_id in conn.execute(select(_link)):
        links.setdefault((group_id, kind), set()).add(other_id)
    rows = conn.execute(select(_group.c.id, _group.c.rule).where(_group.c.builtin.is_(False)))
    return {
        row.id: Definition(
            rule=None if row.rule is None else parse_rule(row.rule),
            include=frozenset(links.get((row.id, "include"), ())),
            exclude=frozenset(links.get((row.id, "exclude"), ())),
        )
        for row in rows
    }


def load_definitions(conn: Connection) -> Definitions:
    """The definitions, ready to be asked."""
    return Definitions.of(read_definitions(conn))
