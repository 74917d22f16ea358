"""Groups and maintenance windows in a database, in short."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mdm.audit import Origin
from mdm.devices.groups import create_group
from mdm.devices.refresh import refresh_memberships
from mdm.windows.definition import WindowDefinition
from mdm.windows.store import WindowView, create_window

if TYPE_CHECKING:
    from conftest import Bench

ORIGIN = Origin(actor="client:test")


@dataclass
class Calendar:
    """A bench with windows on it."""

    bench: Bench

    def define(self, name: str = "sundays", *group_ids: str, **members: Any) -> WindowDefinition:
        """Sundays from ten in the evening, for four hours, for all devices, unless told."""
        values: dict[str, Any] = {
            "pattern": {"type": "weekly", "days": ["sunday"]},
            "start": "22:00",
            "duration_minutes": 240,
            "zone": "UTC",
            **members,
        }
        return WindowDefinition(name=name, group_ids=group_ids or ("all-devices",), **values)

    def window(self, name: str = "sundays", *group_ids: str, **members: Any) -> WindowView:
        """Make a window, a second after the one before: of several the oldest wins in places."""
        self.bench.now += timedelta(seconds=1)
        with self.bench.database.write() as conn:
            return create_window(conn, ORIGIN, self.define(name, *group_ids, **members), now=self.bench.now)

    def group(self, name: str, *device_ids: str) -> str:
        """Make a group of these devices; its id comes back."""
        with self.bench.database.write() as conn:
            made = create_group(conn, ORIGIN, name=name, members=device_ids, now=self.bench.now)
            refresh_memberships(conn)
        return made.id

    def versions(self) -> dict[str, int]:
        """How often the intent of each group has changed."""
        return {row["id"]: row["intent_version"] for row in self.bench.rows("device_group")}


@pytest.fixture
def calendar(bench: Bench) -> Calendar:
    """On SQLite and on PostgreSQL."""
    return Calendar(bench)
