"""A small catalogue that tests of queries fill by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mdm.catalog.listing import list_again

if TYPE_CHECKING:
    from conftest import Bench


@dataclass
class Shelf:
    """Updates with metadata, listed as a sync would list them."""

    bench: Bench
    ids: list[str] = field(default_factory=list)

    def put(
        self, title: str, *, days: float | None = 1, categories: tuple[str, ...] = (), **values: Any
    ) -> str:
        """Store an update that was released so many days ago; returns its id."""
        number = len(self.ids) + 1
        update_id = f"{number:08x}-0000-4000-8000-000000000000"
        created = None if days is None else self.bench.now - timedelta(days=days)
        self.bench.catalogue(update_id, title=title, created=created, **values)
        for category_id in categories:
            self.bench.add(
                "revision_category", update_id=update_id, revision_number=200, category_id=category_id
            )
        self.ids.append(update_id)
        self.list(update_id)
        return update_id

    def list(self, *update_ids: str) -> None:
        """Bring the list up to date after a change by hand."""
        with self.bench.database.write() as connection:
            list_again(connection, update_ids)

    def need(self, update_id: str, *devices: str, state: str = "installable") -> None:
        """Devices say that they lack an update; they are enrolled if they are not."""
        for device_id in devices:
            rows = {row["device_id"]: row["pk"] for row in self.bench.rows("device")}
            if device_id not in rows:
                self.bench.enrol(device_id)
                rows = {row["device_id"]: row["pk"] for row in self.bench.rows("device")}
            self.bench.add(
                "device_update",
                device_pk=rows[device_id],
                update_id=update_id,
                lists=1,
                state=state,
                since=self.bench.now,
            )

    def sync(self, run_id: str = "sync-1") -> None:
        """A sync has just succeeded."""
        self.bench.add(
            "sync_run",
            id=run_id,
            upstream_url="http://upstream.test",
            trigger="schedule",
            requested_by="schedule",
            state="succeeded",
            requested_at=self.bench.now,
            finished_at=self.bench.now,
        )


@pytest.fixture
def shelf(bench: Bench) -> Shelf:
    """An empty catalogue on SQLite and on PostgreSQL."""
    return Shelf(bench)
