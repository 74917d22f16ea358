"""How a check-in knows that nothing has changed for a device: a version of each group's intent, and one of all facts.

Whoever changes what devices of some groups should get raises the versions of these groups in the same transaction;
whoever changes what the catalogue or the licence ledger says raises the version of the facts. A device keeps the
versions that its last plan was made with (`plan_key`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import update

from mdm.storage.statements import table_of
from mdm.storage.tables import DeviceGroup, FactsVersion

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

__all__ = ["facts_changed", "intent_changed"]

_group = table_of(DeviceGroup)
_facts = table_of(FactsVersion)


def intent_changed(conn: Connection, group_ids: Iterable[str]) -> None:
    """From the commit on, devices of these groups are planned for anew; `all-devices` means every device."""
    # In one order everywhere, so that two changes never wait for each other in a circle.
    for group_id in sorted(set(group_ids)):
        conn.execute(
            update(_group).where(_group.c.id == group_id).values(intent_version=_group.c.intent_version + 1)
        )


def facts_changed(conn: Connection) -> None:
    """From the commit on, every device is planned for anew at its next check-in."""
    conn.execute(update(_facts).values(version=_facts.c.version + 1))
