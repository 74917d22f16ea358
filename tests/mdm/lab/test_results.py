"""Packages that are too long for one message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.lab.results import chunks, packed
from syncml.large_objects import join
from syncml.messages import Item, Location, Meta, Results, Status
from syncml.writer import write_command

ROOM = 64 * 1024


def results(count: int, size: int = 1_000, cmd_ref: str = "5") -> Results:
    """Results with `count` items of about `size` octets."""
    items = tuple(Item(source=Location(f"./{number}"), data="x" * size) for number in range(count))
    return Results(cmd_id="1", msg_ref="1", cmd_ref=cmd_ref, items=items)


def status(cmd_ref: str) -> Status:
    """The Status of a command."""
    return Status(cmd_id="1", msg_ref="1", cmd_ref=cmd_ref, cmd="Get", data="200")


def octets(part: tuple[object, ...]) -> int:
    """Of the commands of one message."""
    return sum(len(write_command(command).encode()) for command in part)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 10, 60, 63, 64, 65, 200])
def test_parts_hold_every_item_in_order(count: int) -> None:
    """Nothing is lost, each part fits, and each still belongs to its Get."""
    whole = results(count)
    parts = packed([whole], ROOM)
    assert tuple(item for (part,) in parts for item in part.items) == whole.items  # type: ignore[union-attr]
    assert all(octets(part) <= ROOM for part in parts)
    assert len(parts) == -(-count // 62)


def test_what_fits_stays_whole() -> None:
    """Short Results are not cut, and Statuses stand where they stood."""
    commands = (status("2"), results(3, cmd_ref="2"), status("3"), results(3, cmd_ref="3"))
    assert packed(commands, ROOM) == [commands]


def test_a_package_of_nothing_is_one_message() -> None:
    """An answer without commands is still an answer."""
    assert packed([], ROOM) == [()]


def test_an_item_that_is_too_long_goes_alone() -> None:
    """It cannot be cut; it must not be lost or hold up the others either."""
    parts = packed([results(3, ROOM), status("9")], ROOM)
    assert [len(part) for part in parts] == [1, 1, 1, 1]


def test_statuses_need_several_messages_too() -> None:
    """They come apart between two commands, whatever else there is."""
    statuses = [status(str(number)) for number in range(100)]
    parts = packed(statuses, 2_000)
    assert len(parts) >= 5
    assert all(octets(part) <= 2_000 for part in parts)
    assert [each for part in parts for each in part] == statuses


def test_a_long_value_is_cut_into_chunks() -> None:
    """Size in the first, MoreData in all but the last, each the last of its message; what follows goes on there."""
    item = Item(source=Location("./Big"), meta=Meta(format="time"), data="2026-11-21")
    parts = packed([results(1, 3), Results("1", "1", "6", (item, Item(source=Location("./b"))))], ROOM, 4)
    assert [[len(each.items) for each in part] for part in parts] == [[1, 1], [1], [2]]  # type: ignore[union-attr]
    sent = [each.items[0] for each in (parts[0][1], parts[1][0], parts[2][0])]  # type: ignore[union-attr]
    assert [each.data for each in sent] == ["2026", "-11-", "21"]
    assert [each.more_data for each in sent] == [True, True, False]
    assert [each.meta.size if each.meta else 0 for each in sent] == [10, None, None]
    assert {each.meta.format for each in sent if each.meta} == {"time"}


@given(st.text(), st.integers(1, 20))
def test_chunks_are_what_a_server_joins(data: str, longest: int) -> None:
    """The server's own code puts them together again, Size and all, whatever the characters."""
    whole = Item(source=Location("./Big"), data=data)
    before, found = None, []
    for chunk in chunks(whole, longest):
        assert len(chunk.data or "") <= longest
        joined = join(before, "Results", [chunk])
        before = joined.open
        found += joined.items
        assert joined.code is None or chunk.more_data
    assert [each.data for each in found] == [data]
    assert before is None
