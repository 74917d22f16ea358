"""Who is in a group and why, and who would be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update

from mdm.audit import Origin
from mdm.devices import members
from mdm.devices.groups import GroupDefinition, create_group, read_definition
from mdm.devices.members import DeviceName, list_members, preview_group
from mdm.devices.membership import Reason
from mdm.devices.refresh import refresh_memberships
from mdm.devices.tags import set_tags
from mdm.storage.statements import table_of
from mdm.storage.tables import Device

if TYPE_CHECKING:
    import pytest
    from conftest import Bench

    from mdm.devices.members import MemberView, Preview

ORIGIN = Origin(actor="client:test")


def define(bench: Bench, name: str, definition: GroupDefinition, *devices: str) -> str:
    """A group, worked out; its id."""
    with bench.database.write() as conn:
        group = create_group(conn, ORIGIN, name=name, definition=definition, members=devices, now=bench.now)
        refresh_memberships(conn)
    return group.id


def listed(bench: Bench, group_id: str, *, after: int | None = None, limit: int = 10) -> list[MemberView]:
    """The members of a group."""
    with bench.database.read() as conn:
        return [member for _, member in list_members(conn, group_id, after=after, limit=limit)]


def preview(bench: Bench, definition: GroupDefinition) -> Preview:
    """What a definition would come to."""
    with bench.database.read() as conn:
        return preview_group(conn, read_definition(conn, definition), now=bench.now)


def fleet(bench: Bench) -> None:
    """Three devices: a kiosk, one of an old build, and one that has said nothing."""
    for number in (1, 2, 3):
        bench.enrol(f"DEV{number}")
    with bench.database.write() as conn:
        set_tags(conn, ORIGIN, "id-DEV1", ["kiosk"], now=bench.now)
        device = table_of(Device)
        conn.execute(update(device).where(device.c.pk == 1).values(os_version="10.0.26100.1"))
        conn.execute(update(device).where(device.c.pk == 2).values(os_version="10.0.19045.1"))


def test_each_member_comes_with_its_reasons(bench: Bench) -> None:
    """By hand, by rule, through a group, or because the bridge itself says so."""
    fleet(bench)
    kiosks = define(bench, "kiosks", GroupDefinition({"tag": "kiosk"}))
    group = define(bench, "some", GroupDefinition({"name": "dev1"}, (kiosks,)), "id-DEV1", "id-DEV2")
    assert [
        (member.id, member.device_id, member.name, member.reasons) for member in listed(bench, group)
    ] == [
        ("id-DEV1", "DEV1", "dev1", (Reason("static"), Reason("rule"), Reason("group", kiosks))),
        ("id-DEV2", "DEV2", "dev2", (Reason("static"),)),
    ]
    for builtin, ids in (("all-devices", ["id-DEV1", "id-DEV2", "id-DEV3"]), ("unassigned", ["id-DEV3"])):
        found = listed(bench, builtin)
        assert [member.id for member in found] == ids
        assert {member.reasons for member in found} == {(Reason("builtin"),)}
    assert [member.behind for member in listed(bench, "all-devices")] == [False] * 3


def test_members_come_page_by_page(bench: Bench) -> None:
    """In order of enrolment."""
    fleet(bench)
    group = define(bench, "everybody", GroupDefinition({"name": "*"}))
    with bench.database.read() as conn:
        ((key, first),) = list_members(conn, group, after=None, limit=1)
    assert first.id == "id-DEV1"
    assert [member.id for member in listed(bench, group, after=key)] == ["id-DEV2", "id-DEV3"]
    assert listed(bench, group, after=3) == []


def test_a_member_that_is_about_to_leave_says_so(bench: Bench) -> None:
    """Its row is still there, the reasons are those of now."""
    fleet(bench)
    group = define(bench, "kiosks", GroupDefinition({"tag": "kiosk"}))
    with bench.database.write() as conn:
        conn.exec_driver_sql("UPDATE groups_version SET version = version + 1")
        conn.exec_driver_sql("DELETE FROM device_tag")
    (member,) = listed(bench, group)
    assert (member.reasons, member.behind) == ((), True)


def test_a_preview_asks_every_device_and_stores_nothing(bench: Bench) -> None:
    """How many match, which those are, and for how many it cannot be said."""
    fleet(bench)
    kiosks = define(bench, "kiosks", GroupDefinition({"tag": "kiosk"}))
    before = bench.dump()
    new = preview(bench, GroupDefinition({"os_build": {"at_least": "26100"}}))
    assert (new.matching, new.unknown, new.of, new.as_of) == (1, 1, 3, bench.now)
    assert new.devices == (DeviceName("id-DEV1", "DEV1", "dev1"),)
    old = preview(bench, GroupDefinition({"not": {"os_build": {"at_least": "26100"}}}, (), (kiosks,)))
    assert (old.matching, old.unknown, old.devices) == (1, 1, (DeviceName("id-DEV2", "DEV2", "dev2"),))
    rest = preview(bench, GroupDefinition(None, ("all-devices",), (kiosks,)))
    assert (rest.matching, rest.unknown) == (2, 0)
    excluded = preview(bench, GroupDefinition({"edition": "*"}, (), (kiosks,)))
    assert (excluded.matching, excluded.unknown) == (0, 2)
    assert bench.dump() == before


def test_a_preview_of_many_devices_names_the_first(
    sqlite_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are counted, in pieces."""
    monkeypatch.setattr(members, "_PIECE", 40)
    sqlite_bench.enrol("DEV0")
    device = table_of(Device)
    with sqlite_bench.database.write() as conn:
        (first,) = conn.execute(select(device)).mappings()
        rows = [{**first, "pk": n, "id": f"id-{n}", "device_id": f"D{n}"} for n in range(2, 101)]
        conn.execute(insert(device), rows)
    found = preview(sqlite_bench, GroupDefinition({"name": "dev0"}))
    assert (found.matching, found.of, len(found.devices)) == (100, 100, members.SHOWN)
    assert [each.id for each in found.devices[:3]] == ["id-DEV0", "id-2", "id-3"]
