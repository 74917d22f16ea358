"""Results that are too long for one message."""

from __future__ import annotations

import pytest

from mdm.lab.results import RESULTS_ROOM, cut, fitting
from syncml.messages import Item, Location, Results
from syncml.writer import write_command


def results(count: int, size: int = 1_000) -> Results:
    """Results with `count` items of about `size` octets."""
    items = tuple(Item(source=Location(f"./{number}"), data="x" * size) for number in range(count))
    return Results(cmd_id="1", msg_ref="1", cmd_ref="5", items=items)


@pytest.mark.parametrize("count", [1, 10, 60, 64, 65, 200])
def test_parts_hold_every_item_in_order(count: int) -> None:
    """Nothing is lost, each part fits, and each still belongs to its Get."""
    whole = results(count)
    parts = cut(whole)
    assert tuple(item for part in parts for item in part.items) == whole.items
    assert all(len(write_command(part).encode()) <= RESULTS_ROOM for part in parts)
    assert {(part.msg_ref, part.cmd_ref) for part in parts} == {("1", "5")}


def test_what_fits_stays_whole() -> None:
    """Short Results are not cut."""
    assert cut(results(10)) == [results(10)]


def test_an_item_that_is_too_long_goes_alone() -> None:
    """It cannot be cut; it must not be lost or hold up the others either."""
    assert [len(part.items) for part in cut(results(3, RESULTS_ROOM))] == [1, 1, 1]
    assert fitting([results(1, RESULTS_ROOM), results(1)]) == 1


@pytest.mark.parametrize(("waiting", "count"), [([], 0), ([10], 1), ([10, 10, 10], 3), ([30, 30, 30], 2)])
def test_as_many_as_fit_go_together(waiting: list[int], count: int) -> None:
    """The first ones, up to the room of a message."""
    assert fitting([results(each) for each in waiting]) == count
