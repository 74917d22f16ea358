"""A fleet in a database: groups, devices, what they reported, and plans and rollouts made by the product's own code."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, select, update
from sqlmodel import SQLModel

from mdm.audit import Origin
from mdm.rollouts import actions
from mdm.rollouts.plans import create_plan
from mdm.rollouts.store import load, start_rollout
from mdm.rollouts.worker import RolloutWorker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mdm.rollouts.rings import Ring
    from mdm.rollouts.stages import Rollout
    from mdm.storage.engine import Database

UPDATE = "11111111-0000-4000-8000-000000000001"
OTHER = "11111111-0000-4000-8000-000000000002"
APPROVED = 16


@dataclass
class Fleet:
    """Devices of a test, on SQLite and on PostgreSQL, and its clock."""

    database: Database
    now: datetime
    devices: dict[str, int] = field(default_factory=dict)
    """Public id to primary key."""
    numbers: Any = field(default_factory=lambda: count(1))

    @property
    def worker(self) -> RolloutWorker:
        """A worker that remembers nothing: each call is a process of its own."""
        return RolloutWorker(self.database, lambda: self.now)

    def add(self, table: str, **values: Any) -> None:
        """Insert one row."""
        with self.database.write() as connection:
            connection.execute(insert(SQLModel.metadata.tables[table]), values)

    def rows(self, table: str, *order: str) -> list[dict[str, Any]]:
        """All rows of a table."""
        found = SQLModel.metadata.tables[table]
        with self.database.read() as connection:
            result = connection.execute(select(found).order_by(*(found.c[name] for name in order)))
            return [dict(row) for row in result.mappings()]

    def group(self, *group_ids: str) -> None:
        """Make groups without a definition."""
        for group_id in group_ids:
            self.add("device_group", id=group_id, name=group_id, builtin=False, created_at=self.now)

    def enrol(self, number: int, *group_ids: str, **values: Any) -> list[str]:
        """Enrol so many devices and put them into the groups."""
        made = []
        for _ in range(number):
            name = f"dev_{next(self.numbers)}"
            self.add(
                "device",
                **{
                    "id": name,
                    "device_id": name,
                    "name": name,
                    "created_at": self.now,
                    "auth_scheme": "syncml:auth-md5",
                    "auth_username": "user",
                    "auth_verifier": b"",
                    "auth_nonce": "",
                    "last_checkin_at": self.now,
                    "membership_version": 1,
                    **values,
                },
            )
            self.devices[name] = next(row["pk"] for row in self.rows("device") if row["id"] == name)
            for group_id in group_ids:
                self.add("group_member", device_pk=self.devices[name], group_id=group_id)
            made.append(name)
        return made

    def tell(
        self, devices: Sequence[str], state: str, update_id: str = UPDATE, lists: int = APPROVED
    ) -> None:
        """Devices check in and say that an update is in that state, from now on."""
        table, device = SQLModel.metadata.tables["device_update"], SQLModel.metadata.tables["device"]
        with self.database.write() as connection:
            for name in devices:
                key = {"device_pk": self.devices[name], "update_id": update_id}
                connection.execute(
                    table.delete().where(
                        table.c.device_pk == key["device_pk"], table.c.update_id == key["update_id"]
                    )
                )
                connection.execute(insert(table), {**key, "lists": lists, "state": state, "since": self.now})
                connection.execute(
                    update(device).where(device.c.pk == key["device_pk"]).values(last_checkin_at=self.now)
                )

    def catalogue(self, update_id: str = UPDATE, **values: Any) -> None:
        """Store the metadata of an update."""
        defaults: dict[str, Any] = {
            "update_id": update_id,
            "revision_number": 200,
            "is_latest": True,
            "update_type": "Software",
            "title": f"Update {update_id[-4:]}",
            "kb_all": [],
            "publication_state": "Published",
            "explicitly_deployable": True,
            "can_uninstall": False,
            "original": b"",
            "upstream_url": "http://upstream.test",
            "fetched_at": self.now,
        }
        self.add("update_revision", **{**defaults, **values})

    def plan(self, *rings: Ring, name: str = "Rings") -> str:
        """Make a plan; returns its id."""
        with self.database.write() as connection:
            return create_plan(connection, Origin("ann"), name=name, rings=rings, now=self.now).id

    def start(self, *rings: Ring, updates: Sequence[str] = (UPDATE,), name: str = "November") -> str:
        """Start a rollout through rings; returns its id."""
        plan_id = self.plan(*rings, name=f"Rings of {name} {next(self.numbers)}")
        with self.database.write() as connection:
            return start_rollout(
                connection, Origin("ann"), plan_id=plan_id, update_ids=list(updates), name=name, now=self.now
            ).id

    def load(self, rollout_id: str) -> Rollout:
        """The rollout as it is now."""
        with self.database.read() as connection:
            return load(connection, rollout_id)

    def act(self, name: str, rollout_id: str, actor: str = "bob", **values: Any) -> Rollout:
        """Somebody does something with a rollout."""
        with self.database.write() as connection:
            result: Rollout = getattr(actions, name)(
                connection, Origin(actor), rollout_id, now=self.now, **values
            )
            return result

    def look(self, after: timedelta = timedelta(0)) -> int:
        """Time goes by, and a worker that has just been started looks; returns how many changes it made."""
        self.now += after
        return self.worker.run_pending(self.now)

    def events(self, rollout_id: str) -> list[str]:
        """`kind:stage` of each line of the timeline."""
        return [
            f"{row['kind']}:{row['stage']}"
            for row in self.rows("rollout_event", "seq")
            if row["rollout_id"] == rollout_id
        ]

    def versions(self) -> dict[str, int]:
        """How often each group's intent has changed."""
        return {row["id"]: row["intent_version"] for row in self.rows("device_group")}


@pytest.fixture
def fleet(database: Database, now: datetime) -> Fleet:
    """An empty fleet with the groups `test`, `pilot` and `broad`."""
    made = Fleet(database, now)
    made.group("test", "pilot", "broad")
    return made


@pytest.fixture
def sqlite_fleet(sqlite_database: Database, now: datetime) -> Fleet:
    """The same on SQLite, where the kind of database makes no difference."""
    made = Fleet(sqlite_database, now)
    made.group("test", "pilot", "broad")
    return made
