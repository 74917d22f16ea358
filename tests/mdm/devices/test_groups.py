"""Groups: names, definitions, members by hand, the built-in ones, and what may not be done."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from mdm.audit import Origin
from mdm.devices.groups import (
    GroupDefinition,
    GroupView,
    add_member,
    change_group,
    change_members,
    create_group,
    delete_group,
    get_group,
    groups_of,
    list_groups,
    lock_groups,
    read_definition,
    remove_member,
)
from mdm.devices.refresh import Freshness, refresh_memberships
from mdm.devices.tags import set_tags
from mdm.errors import Conflict, Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Bench
    from sqlalchemy import Connection

ORIGIN = Origin(actor="client:test")
EMPTY = GroupDefinition()
KIOSKS = GroupDefinition(rule={"tag": "kiosk"})


def make(bench: Bench, name: str, definition: GroupDefinition = EMPTY, *members: str) -> GroupView:
    """A new group."""
    with bench.database.write() as conn:
        return create_group(conn, ORIGIN, name=name, definition=definition, members=members, now=bench.now)


def change(bench: Bench, group: GroupView, definition: GroupDefinition, name: str | None = None) -> GroupView:
    """A group defined anew."""
    with bench.database.write() as conn:
        return change_group(
            conn, ORIGIN, group.id, name=name or group.name, definition=definition, now=bench.now
        )


def refresh(bench: Bench) -> None:
    """Work out what is behind."""
    with bench.database.write() as conn:
        refresh_memberships(conn)


def members(bench: Bench, *groups: GroupView) -> list[set[int]]:
    """The primary keys of each group's devices, as the check-in reads them."""
    rows = bench.rows("group_member")
    return [{row["device_pk"] for row in rows if row["group_id"] == group.id} for group in groups]


def audited(bench: Bench) -> list[tuple[str, Any, Any]]:
    """What the trail says of groups: action, before and after."""
    return [
        (row["action"], row["before"], row["after"])
        for row in bench.rows("audit_entry", "seq")
        if row["object_type"] == "group"
    ]


def test_groups_come_by_name_and_page_by_page(bench: Bench) -> None:
    """The built-in ones are among them; one counts every device, the other those in no group."""
    bench.enrol("DEV1")
    bench.enrol("DEV2")
    zebra, alpha = make(bench, "zebra"), make(bench, "Alpha", GroupDefinition(), "id-DEV1")
    refresh(bench)
    with bench.database.read() as conn:
        everything = list_groups(conn, after=None, limit=10)
        first = list_groups(conn, after=None, limit=1)
        rest = list_groups(conn, after=first[0].name, limit=10)
    assert {group.name for group in everything} == {"All devices", "Unassigned", "zebra", "Alpha"}
    assert first + rest == everything
    builtin = {group.id: group.device_count for group in everything if group.builtin}
    assert builtin == {"all-devices": 2, "unassigned": 1}
    counts = {group.id: (group.device_count, group.static_count) for group in everything}
    assert (counts[zebra.id], counts[alpha.id]) == ((0, 0), (1, 1))


def test_a_name_is_given_once(bench: Bench) -> None:
    """The conflict names the group that has it; whether one is made or renamed."""
    pilots, others = make(bench, "pilots"), make(bench, "others")
    for attempt in (lambda: make(bench, "pilots"), lambda: change(bench, others, KIOSKS, "pilots")):
        with pytest.raises(Conflict) as caught:
            attempt()
        assert caught.value.code == "group_exists"
        assert caught.value.members == {"existing": pilots.id}
    with bench.database.read() as conn:
        assert get_group(conn, others.id) == others


def test_a_group_by_rule_fills_by_and_by(bench: Bench) -> None:
    """Its definition is there at once; its figures say how many devices are still to be asked."""
    bench.enrol("DEV1")
    bench.enrol("DEV2")
    refresh(bench)
    with bench.database.write() as conn:
        set_tags(conn, ORIGIN, "id-DEV2", ["kiosk"], now=bench.now)
    group = make(bench, "kiosks", KIOSKS)
    assert (group.rule, group.include, group.exclude) == ({"tag": "kiosk"}, (), ())
    assert (group.device_count, group.freshness) == (0, Freshness(2, bench.now))
    refresh(bench)
    assert members(bench, group) == [{2}]
    with bench.database.read() as conn:
        assert get_group(conn, group.id).freshness == Freshness(0, bench.now)
        assert groups_of(conn, [1, 2]) == {1: ("all-devices", "unassigned"), 2: ("all-devices", group.id)}


def test_groups_in_groups_and_exclusions(bench: Bench) -> None:
    """All but the kiosks, and those of them that were put in by hand in vain."""
    for number in (1, 2, 3):
        bench.enrol(f"DEV{number}")
    with bench.database.write() as conn:
        set_tags(conn, ORIGIN, "id-DEV2", ["kiosk"], now=bench.now)
    kiosks = make(bench, "kiosks", KIOSKS)
    rest = make(bench, "rest", GroupDefinition(None, ("all-devices",), (kiosks.id,)), "id-DEV2")
    outer = make(bench, "outer", GroupDefinition(None, (rest.id, kiosks.id, rest.id)))
    refresh(bench)
    assert members(bench, kiosks, rest, outer) == [{2}, {1, 3}, {1, 2, 3}]
    assert outer.include == tuple(sorted((rest.id, kiosks.id)))
    with bench.database.read() as conn:
        view = get_group(conn, rest.id)
    assert (view.static_count, view.device_count) == (1, 2)


def test_a_change_is_audited_with_before_and_after(bench: Bench) -> None:
    """What is the same changes nothing; a name alone puts no device behind."""
    bench.enrol("DEV1")
    group = make(bench, "kiosks", KIOSKS)
    refresh(bench)
    assert change(bench, group, KIOSKS).freshness.devices_behind == 0
    renamed = change(bench, group, KIOSKS, "booths")
    assert (renamed.name, renamed.freshness.devices_behind) == ("booths", 0)
    definition = GroupDefinition({"name": "k*"}, ("all-devices",))
    assert change(bench, renamed, definition).freshness.devices_behind == 1
    plain = change(bench, renamed, GroupDefinition())
    assert (plain.rule, plain.include) == (None, ())
    (created, *changes) = audited(bench)
    members_of = {"name": "kiosks", "rule": {"tag": "kiosk"}, "include": [], "exclude": []}
    assert created == ("group.create", None, {**members_of, "members": []})
    kiosk, wide, plainly = members_of["rule"], {"name": "k*"}, ["all-devices"]
    assert changes == [
        ("group.change", {"name": "kiosks"}, {"name": "booths"}),
        ("group.change", {"rule": kiosk, "include": []}, {"rule": wide, "include": plainly}),
        ("group.change", {"rule": wide, "include": plainly}, {"rule": None, "include": []}),
    ]


def test_groups_in_a_circle_are_refused_with_the_path(bench: Bench) -> None:
    """Over any number of groups, by inclusion and exclusion, and of a group with itself."""
    first = make(bench, "first")
    second = make(bench, "second", GroupDefinition(include=(first.id,)))
    third = make(bench, "third", GroupDefinition(exclude=(second.id,)))
    with pytest.raises(Conflict) as caught:
        change(bench, first, GroupDefinition(include=(third.id,)))
    assert caught.value.code == "group_cycle"
    path = caught.value.members["path"]
    assert path[0] == path[-1]
    assert set(path) == {first.id, second.id, third.id}
    with pytest.raises(Conflict) as caught:
        change(bench, first, GroupDefinition(exclude=(first.id,)))
    assert caught.value.members == {"path": [first.id, first.id]}


def test_wrong_definitions_name_what_is_wrong(bench: Bench) -> None:
    """By JSON pointer, and nothing is made."""
    before = bench.dump()
    with pytest.raises(Invalid) as caught:
        make(bench, "g", GroupDefinition({"tag": ""}))
    assert [error.pointer for error in caught.value.errors] == ["/rule/tag"]
    with pytest.raises(Invalid) as caught:
        make(bench, "g", GroupDefinition(None, ("all-devices", "grp_x", "unassigned"), ("all-devices",)))
    assert [(error.pointer, error.code) for error in caught.value.errors] == [
        ("/include/1", "unknown_group"),
        ("/include/2", "not_nestable"),
        ("/exclude/0", "invalid_value"),
    ]
    with pytest.raises(Invalid) as caught:
        make(bench, "g", GroupDefinition(), "dev_nowhere")
    assert [(error.pointer, error.code) for error in caught.value.errors] == [
        ("/members/0", "unknown_device")
    ]
    assert bench.dump() == before
    with bench.database.read() as conn:
        read = read_definition(conn, GroupDefinition({"tag": "x"}, ("all-devices",)))
    assert (read.include, read.exclude) == ({"all-devices"}, frozenset())


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
        assert groups_of(conn, [1]) == {1: ("all-devices", "unassigned")}
    assert [action for action, _, _ in audited(bench)] == [
        "group.create",
        "group.add_device",
        "group.remove_device",
    ]


def test_who_is_taken_out_stays_if_the_rule_says_so(bench: Bench) -> None:
    """Only the hand is taken back."""
    bench.enrol("DEV1")
    group = make(bench, "everybody", GroupDefinition({"name": "*"}), "id-DEV1")
    with bench.database.write() as conn:
        remove_member(conn, ORIGIN, group.id, "id-DEV1", now=bench.now)
        view = get_group(conn, group.id)
    assert (view.static_count, view.device_count) == (0, 1)


def test_many_members_at_once(bench: Bench) -> None:
    """All of them or none; the trail has those that were not there before."""
    for number in range(4):
        bench.enrol(f"DEV{number}")
    group = make(bench, "pilots", GroupDefinition(), "id-DEV0", "id-DEV1")
    with bench.database.write() as conn:
        view = change_members(
            conn,
            ORIGIN,
            group.id,
            add=["id-DEV1", "id-DEV2", "id-DEV2"],
            remove=["id-DEV0", "id-DEV3"],
            now=bench.now,
        )
    assert (view.device_count, view.static_count) == (2, 2)
    assert members(bench, group) == [{2, 3}]
    assert audited(bench)[-1] == ("group.change_members", {"members": ["id-DEV0"]}, {"members": ["id-DEV2"]})
    before = bench.dump()
    with bench.database.write() as conn:
        change_members(conn, ORIGIN, group.id, add=["id-DEV1"], now=bench.now)
    for lists, errors in (
        (
            {"add": ["id-DEV0", "x"], "remove": ["y"]},
            [("/add/1", "unknown_device"), ("/remove/0", "unknown_device")],
        ),
        ({"add": ["id-DEV0"], "remove": ["id-DEV1", "id-DEV0"]}, [("/remove/1", "contradiction")]),
    ):
        with pytest.raises(Invalid) as caught, bench.database.write() as conn:
            change_members(conn, ORIGIN, group.id, **lists, now=bench.now)
        assert [(error.pointer, error.code) for error in caught.value.errors] == errors
    assert bench.dump() == before


def test_an_unknown_device_is_in_no_group(bench: Bench) -> None:
    """Both operations say that the device does not exist."""
    group = make(bench, "pilots")
    for operation in (add_member, remove_member):
        with pytest.raises(NotFound) as caught, bench.database.write() as conn:
            operation(conn, ORIGIN, group.id, "dev_nowhere", now=bench.now)
        assert caught.value.code == "not_found"


@pytest.mark.parametrize("builtin", ["all-devices", "unassigned"])
@pytest.mark.parametrize(
    "operation",
    [
        lambda conn, group, now: delete_group(conn, ORIGIN, group, now=now),
        lambda conn, group, now: add_member(conn, ORIGIN, group, "id-DEV1", now=now),
        lambda conn, group, now: remove_member(conn, ORIGIN, group, "id-DEV1", now=now),
        lambda conn, group, now: change_members(conn, ORIGIN, group, add=["id-DEV1"], now=now),
        lambda conn, group, now: change_group(
            conn, ORIGIN, group, name="mine", definition=GroupDefinition(), now=now
        ),
    ],
    ids=["delete", "add", "remove", "members", "change"],
)
def test_builtin_groups_cannot_be_changed(
    sqlite_bench: Bench, operation: Callable[[Connection, str, object], None], builtin: str
) -> None:
    """Who is in them is decided, whatever anybody asks; and a group that is not there says so."""
    sqlite_bench.enrol("DEV1")
    with pytest.raises(Conflict) as refused, sqlite_bench.database.write() as conn:
        operation(conn, builtin, sqlite_bench.now)
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


def test_a_group_that_others_name_cannot_be_deleted(bench: Bench) -> None:
    """The conflict names those that do; without them it goes, and its members are unassigned in the end."""
    bench.enrol("DEV1")
    inner = make(bench, "inner", GroupDefinition(), "id-DEV1")
    outer = make(bench, "outer", GroupDefinition(include=(inner.id,), exclude=(inner.id,)))
    with pytest.raises(Conflict) as caught, bench.database.write() as conn:
        delete_group(conn, ORIGIN, inner.id, now=bench.now)
    assert (caught.value.code, caught.value.members) == ("group_named", {"groups": [outer.id]})
    with bench.database.write() as conn:
        delete_group(conn, ORIGIN, outer.id, now=bench.now)
        delete_group(conn, ORIGIN, inner.id, now=bench.now)
    assert audited(bench)[-1] == (
        "group.delete",
        {"name": "inner", "rule": None, "include": [], "exclude": [], "device_count": 1},
        None,
    )
    refresh(bench)
    assert [row["group_id"] for row in bench.rows("group_member")] == ["unassigned"]
    assert bench.rows("static_member") == bench.rows("group_link") == []


def test_locking_names_the_first_unknown_group(bench: Bench) -> None:
    """Groups that exist pass; of several unknown ones the first by id is named."""
    group = make(bench, "pilots")
    with bench.database.write() as conn:
        lock_groups(conn, [group.id, "all-devices", group.id])
    with pytest.raises(NotFound) as caught, bench.database.write() as conn:
        lock_groups(conn, ["zz", group.id, "aa"])
    assert caught.value.members == {"group_id": "aa"}


def test_many_hands_at_once(bench: Bench) -> None:
    """Members, tags, definitions and refreshes side by side: nobody waits in a circle, and all is right in the end."""
    for number in range(4):
        bench.enrol(f"DEV{number}")
    one, two = make(bench, "one", GroupDefinition({"tag": "kiosk"})), make(bench, "two")
    failures: list[BaseException] = []

    def work(number: int) -> None:
        device = f"id-DEV{number}"
        try:
            for step in range(6):
                with bench.database.write() as conn:
                    if number == 0:
                        names = {"include": (one.id,), "exclude": ()} if step % 2 else {"exclude": (one.id,)}
                        definition = GroupDefinition(None, **names)
                        change_group(conn, ORIGIN, two.id, name="two", definition=definition, now=bench.now)
                    elif number == 1:
                        change_members(
                            conn, ORIGIN, two.id, add=["id-DEV2", "id-DEV1", "id-DEV3"], now=bench.now
                        )
                    elif number == 2:
                        refresh_memberships(conn)
                    else:
                        set_tags(conn, ORIGIN, device, ["kiosk"] if step % 2 else [], now=bench.now)
        except Exception as error:  # noqa: BLE001 - handed to the asserting thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    refresh(bench)
    assert members(bench, one, two) == [{4}, {2, 3, 4}]
