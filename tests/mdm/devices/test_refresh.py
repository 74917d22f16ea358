"""Memberships kept up to date: at once where something changes, by and by for the rest, and cheaply when nothing did."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from sqlalchemy import event, insert, select, update

from mdm.audit import Origin
from mdm.devices.groups import GroupDefinition, create_group, groups_of
from mdm.devices.refresh import (
    Freshness,
    count_behind,
    ensure_current,
    freshness,
    lock_device,
    recompute,
    refresh_memberships,
)
from mdm.storage.statements import table_of
from mdm.storage.tables import Device, DeviceTag, GroupMember

if TYPE_CHECKING:
    from conftest import Bench
    from sqlalchemy import Connection

ORIGIN = Origin(actor="client:test")


def define(bench: Bench, name: str, rule: dict[str, object] | None = None) -> str:
    """A group by rule; its id."""
    with bench.database.write() as conn:
        return create_group(conn, ORIGIN, name=name, definition=GroupDefinition(rule), now=bench.now).id


def note(conn: Connection) -> list[str]:
    """The statements a connection runs from here on, by their first word."""
    statements: list[str] = []

    def heard(_conn: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement.split(maxsplit=1)[0])

    event.listen(conn, "before_cursor_execute", heard)
    return statements


def test_a_device_that_is_up_to_date_costs_one_read(bench: Bench) -> None:
    """Each check-in asks; nothing is written."""
    bench.enrol()
    with bench.database.write() as conn:
        assert ensure_current(conn, 1)
        statements = note(conn)
        assert not ensure_current(conn, 1)
    assert statements == ["SELECT"]


def test_a_device_follows_new_definitions_and_new_facts(bench: Bench) -> None:
    """Whoever wrote the fact, and whether or not anybody said so."""
    bench.enrol()
    with bench.database.write() as conn:
        ensure_current(conn, 1)
    group = define(bench, "new", {"os_build": {"at_least": "26100"}})
    with bench.database.write() as conn:
        assert ensure_current(conn, 1)
        assert groups_of(conn, [1]) == {1: ("all-devices", "unassigned")}
        conn.execute(update(table_of(Device)).values(os_version="10.0.26100.1"))
        assert ensure_current(conn, 1)
        assert groups_of(conn, [1]) == {1: ("all-devices", group)}
        conn.execute(update(table_of(Device)).values(os_version="10.0.19045.1"))
        assert ensure_current(conn, 1)
        assert groups_of(conn, [1]) == {1: ("all-devices", "unassigned")}


def test_the_rest_is_worked_out_step_by_step(bench: Bench) -> None:
    """Those that are behind, a few at a time, until none is."""
    for number in range(5):
        bench.enrol(f"DEV{number}")
    with bench.database.read() as conn:
        assert freshness(conn) == Freshness(5, None)
    steps = []
    while True:
        with bench.database.write() as conn:
            steps.append(refresh_memberships(conn, 2))
        if steps[-1] == 0:
            break
    assert steps == [2, 2, 1, 0]
    group = define(bench, "odd", {"name": "*[13]"})
    other = define(bench, "some", {"any": [{"name": "dev1"}, {"name": "dev3"}]})
    with bench.database.write() as conn:
        assert count_behind(conn) == 5
        assert refresh_memberships(conn) == 5
        assert count_behind(conn) == 0
        assert groups_of(conn, [2, 3]) == {2: ("all-devices", other), 3: ("all-devices", "unassigned")}
        members = select(table_of(GroupMember).c.device_pk).where(table_of(GroupMember).c.group_id == group)
        assert conn.scalars(members).all() == []


def test_only_what_differs_is_written(bench: Bench) -> None:
    """A device whose groups stay as they are gets its mark and nothing else."""
    bench.enrol()
    define(bench, "nobody", {"tag": "nobody"})
    with bench.database.write() as conn:
        recompute(conn, [1])
        before = conn.execute(select(table_of(GroupMember))).all()
        statements = note(conn)
        recompute(conn, [1])
        recompute(conn, [])
        assert conn.execute(select(table_of(GroupMember))).all() == before
    assert set(statements) == {"SELECT", "UPDATE"}
    assert statements.count("UPDATE") == 1


def test_a_fleet_is_worked_out_in_pieces(sqlite_bench: Bench) -> None:
    """More devices than stand in one statement, each with facts of its own."""
    device, tag = table_of(Device), table_of(DeviceTag)
    sqlite_bench.enrol("DEV0")
    with sqlite_bench.database.write() as conn:
        (first,) = conn.execute(select(device)).mappings()
        conn.execute(
            insert(device),
            [{**first, "pk": n, "id": f"id-{n}", "device_id": f"D{n}"} for n in range(2, 1_203)],
        )
        conn.execute(insert(tag), [{"device_pk": n, "tag": "even"} for n in range(2, 1_203, 2)])
    group = define(sqlite_bench, "even", {"tag": "even"})
    with sqlite_bench.database.write() as conn:
        assert refresh_memberships(conn, 10_000) == 1_202
        rows = conn.execute(select(table_of(GroupMember))).all()
    assert {row.device_pk for row in rows if row.group_id == group} == set(range(2, 1_203, 2))
    assert len(rows) == 1_202


def test_devices_somebody_holds_are_left_to_them(bench: Bench) -> None:
    """A refresh waits for no check-in; SQLite lets nobody write beside it at all."""
    bench.enrol("DEV1")
    bench.enrol("DEV2")
    if bench.database.dialect == "sqlite":
        with bench.database.write() as conn:
            assert refresh_memberships(conn) == 2
        return
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with bench.database.write() as conn:
            assert lock_device(conn, "id-DEV1") == 1
            held.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    with bench.database.write() as conn:
        assert refresh_memberships(conn) == 1
        assert count_behind(conn) == 1
    done.set()
    thread.join()
    with bench.database.write() as conn:
        assert lock_device(conn, "id-nowhere") is None
        assert refresh_memberships(conn) == 1
