"""A bench with profiles, groups, and devices that are in them and say what the test lets them say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert

from mdm.policies.state import record_policies
from mdm.storage.statements import table_of
from mdm.storage.tables import GroupMember
from syncml.exchange import Answer, Request
from syncml.messages import Item

if TYPE_CHECKING:
    from datetime import datetime

    from conftest import Bench

CONFIG = "./Device/Vendor/MSFT/Policy/Config/Update/"
RESULT = "./Device/Vendor/MSFT/Policy/Result/Update/"


@dataclass
class Fleet:
    """Devices with policies, over a bench."""

    bench: Bench

    @property
    def now(self) -> datetime:
        """The bench's clock."""
        return self.bench.now

    @now.setter
    def now(self, moment: datetime) -> None:
        self.bench.now = moment

    def add_device(self, pk: int, *groups: str, **values: Any) -> None:
        """A device in these groups, which are made if there are none."""
        self.bench.add(
            "device",
            pk=pk,
            id=f"dev_{pk}",
            device_id=f"DEV{pk}",
            name=f"dev{pk}",
            created_at=self.now,
            auth_scheme="syncml:auth-md5",
            auth_username="u",
            auth_verifier=b"x",
            auth_nonce="x",
            **values,
        )
        for group in groups:
            self.add_group(group)
            with self.bench.database.write() as connection:
                connection.execute(insert(table_of(GroupMember)), {"device_pk": pk, "group_id": group})

    def add_group(self, group: str) -> None:
        """A group, if there is none."""
        if group not in {row["id"] for row in self.bench.rows("device_group")}:
            self.bench.add("device_group", id=group, name=f"Group {group}", created_at=self.now)

    def add_profile(
        self, profile_id: str, settings: dict[str, str], *, drift: str = "repair", **ranks: int
    ) -> None:
        """A profile for groups, by rank; `everybody` stands for the group of all devices."""
        self.bench.add(
            "policy_profile",
            id=profile_id,
            name=f"Profile {profile_id}",
            settings=settings,
            drift=drift,
            created_at=self.now,
            changed_at=self.now,
        )
        for group, rank in ranks.items():
            group_id = "all-devices" if group == "everybody" else group
            self.add_group(group_id)
            self.bench.add("policy_assignment", profile_id=profile_id, group_id=group_id, rank=rank)

    def unassign(self) -> None:
        """Take every profile from every group."""
        self.run("DELETE FROM policy_assignment")

    def run(self, statement: str) -> None:
        """One statement in a transaction of its own."""
        with self.bench.database.write() as connection:
            connection.exec_driver_sql(statement)

    def hear(self, pk: int, *told: tuple[Any, ...]) -> bool:
        """Write down what a device said: verb, policy, status and perhaps a value; the clock moves a second."""
        self.now += timedelta(seconds=1)
        answers = [answer(*each) for each in told]
        with self.bench.database.write() as connection:
            return record_policies(connection, pk, answers, self.now)


def answer(
    verb: str, name: str, status: int | None, value: str | None = None, error: str | None = None
) -> Answer:
    """What a device says to a command on a policy."""
    if verb == "Get":
        return Answer(Request("Get", RESULT + name), status, () if value is None else (Item(data=value),))
    return Answer(Request(verb, CONFIG + name, data=value), status, original_error=error)


@pytest.fixture
def fleet(bench: Bench) -> Fleet:
    """On SQLite and on PostgreSQL."""
    return Fleet(bench)


@pytest.fixture
def sqlite_fleet(sqlite_bench: Bench) -> Fleet:
    """On SQLite, where the kind of database makes no difference."""
    return Fleet(sqlite_bench)
