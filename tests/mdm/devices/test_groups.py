"""Groups: names, members, the built-in one, and what may not be deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mdm.audit import Origin
from mdm.devices.groups import (
    GroupView,
    add_member,
    create_group,
    delete_group,
    get_group,
    groups_of,
    list_groups,
    lock_groups,
    remove_member,
)
from mdm.errors import Conflict, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Bench
    from sqlalchemy import Connection

ORIGIN = Origin(actor="client:test")


def make(bench: Bench, name: str) -> GroupView:
    """A new group."""
    with bench.database.write() as conn:
        return create_group(conn, ORIGIN, name=name, now=bench.now)


def test_groups_come_by_name_and_page_by_page(bench: Bench) -> None:
    """The built-in group is one of them and counts every device."""
    bench.enrol("DEV1")
    bench.enrol("DEV2")
    zebra, alpha = make(bench, "zebra"), make(bench, "Alpha")
    with bench.database.read() as conn:
        everything = list_groups(conn, after=None, limit=10)
        first = list_groups(conn, after=None, limit=1)
        rest = list_groups(conn, after=first[0].name, limit=10)
    assert {group.name for group in everything} == {"All devices", "zebra", "Alpha"}
    assert first + rest == everything
    builtin = next(group for group in everything if group.builtin)
    assert (builtin.id, builtin.device_count) == ("all-devices", 2)
    assert zebra in everything
    assert alpha in everything


def test_a_name_is_given_once(bench: Bench) -> None:
    """The conflict names the group that has it."""
    pilots = make(bench, "pilots")
    with pytest.raises(Conflict) as caught:
        make(bench, "pilots")
    assert caught.value.code == "group_exists"
    assert caught.value.members == {"existing": pilots.id}


def test_membership_is_idempotent_and_audited_once(bench: Bench) -> None:
    """Putting a member in again, or taking a stranger out, changes nothing."""
    bench.enrol("DEV1")
    group = make(bench, "pilots")
    for _ in range(2):
        with bench.database.write() as conn:
            add_member(conn, ORIGIN, group.id, "id-DEV1", now=bench.now)
    with bench.database.read() as conn:
        assert get_group(conn, group.id).device_count == 1
        assert groups_of(conn, [1]) == {1: ("all-devices", group.id)}
    for _ in range(2):
        with bench.database.write() as conn:
            remove_member(conn, ORIGIN, group.id, "id-DEV1", now=bench.now)
    with bench.database.read() as conn:
        assert get_group(conn, group.id).device_count == 0
    actions = [row["action"] for row in bench.rows("audit_entry", "seq")]
    assert actions == ["group.create", "group.add_device", "group.remove_device"]


def test_an_unknown_device_is_in_no_group(bench: Bench) -> None:
    """Both operations say that the device does not exist."""
    group = make(bench, "pilots")
    for operation in (add_member, remove_member):
        with pytest.raises(NotFound) as caught, bench.database.write() as conn:
            operation(conn, ORIGIN, group.id, "dev_nowhere", now=bench.now)
        assert caught.value.code == "not_found"


@pytest.mark.parametrize(
    "operation",
    [
        lambda conn, group, now: delete_group(conn, ORIGIN, group, now=now),
        lambda conn, group, now: add_member(conn, ORIGIN, group, "id-DEV1", now=now),
        lambda conn, group, now: remove_member(conn, ORIGIN, group, "id-DEV1", now=now),
    ],
    ids=["delete", "add", "remove"],
)
def test_the_builtin_group_cannot_be_changed(
    sqlite_bench: Bench, operation: Callable[[Connection, str, object], None]
) -> None:
    """Every device is in it, whatever anybody asks; and a group that is not there says so."""
    sqlite_bench.enrol("DEV1")
    with pytest.raises(Conflict) as refused, sqlite_bench.database.write() as conn:
        operation(conn, "all-devices", sqlite_bench.now)
    assert refused.value.code == "group_builtin"
    with pytest.raises(NotFound) as unknown, sqlite_bench.database.write() as conn:
        operation(conn, "grp_nowhere", sqlite_bench.now)
    assert unknown.value.code == "group_not_found"
    assert unknown.value.members == {"group_id": "grp_nowhere"}


def test_a_group_in_use_cannot_be_deleted(bench: Bench) -> None:
    """An active approval keeps its group; a revoked one does not."""
    group = make(bench, "pilots")
    bench.add(
        "approval",
        id="apr_1",
        target_type="update",
        target_id="a317dafe-baf4-453f-b232-a7075efae36e",
        action="approve",
        allow_without_metadata=False,
        created_at=bench.now,
        created_by="test",
    )
    bench.add("approval_group", approval_id="apr_1", group_id=group.id)
    with pytest.raises(Conflict) as caught, bench.database.write() as conn:
        delete_group(conn, ORIGIN, group.id, now=bench.now)
    assert caught.value.code == "group_in_use"
    assert caught.value.members == {"approvals": ["apr_1"]}
    with bench.database.write() as conn:
        conn.exec_driver_sql("UPDATE approval SET revoked_at = '2026-11-21 12:00:00.000000'")
        delete_group(conn, ORIGIN, group.id, now=bench.now)
    with pytest.raises(NotFound), bench.database.read() as conn:
        get_group(conn, group.id)


def test_locking_names_the_first_unknown_group(bench: Bench) -> None:
    """Groups that exist pass; of several unknown ones the first by id is named."""
    group = make(bench, "pilots")
    with bench.database.write() as conn:
        lock_groups(conn, [group.id, "all-devices", group.id])
    with pytest.raises(NotFound) as caught, bench.database.write() as conn:
        lock_groups(conn, ["zz", group.id, "aa"])
    assert caught.value.members == {"group_id": "aa"}
