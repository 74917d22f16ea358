"""Large objects: chunks joined and checked, and values of ours cut into them."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncml.exchange import Request
from syncml.large_objects import MAX_OBJECT, Chunk, Joined, Outgoing, join
from syncml.messages import Add, Item, Location, Meta
from syncml.status import StatusCode
from syncml.writer import write_command
from syncml.xmltree import escape

if TYPE_CHECKING:
    from collections.abc import Iterable

A, B = Location("./A"), Location("./B")


def first(data: str | None, size: int | None, source: Location = A) -> Item:
    """A first chunk."""
    return Item(
        source=source, meta=Meta(format="chr", type="text/plain", size=size), data=data, more_data=True
    )


def opened(data: str = "one", size: int = 6) -> Chunk:
    """An object that waits for its next chunk."""
    chunk = join(None, "Results", [first(data, size)], owner=3).open
    assert chunk is not None
    return chunk


def test_items_without_chunks_pass() -> None:
    """What is not chunked is not touched, and demands no status."""
    items = (Item(source=A, data="x"), Item(target=B))
    assert join(None, "Results", items) == Joined(items, None)


def test_the_first_chunk_is_kept() -> None:
    """It carries Size, Format and Type; the rest will not repeat them."""
    joined = join(None, "Results", [Item(source=B), first("one", 6)], owner=3)
    assert joined.items == (Item(source=B),)
    assert joined.code is StatusCode.CHUNKED_ITEM_ACCEPTED
    assert joined.open == Chunk("Results", "./A", None, 6, "chr", "text/plain", ("one",), 3, owner=3)


def test_the_last_chunk_makes_the_object() -> None:
    """The object has the first chunk's Meta, without Size, and demands no status any more."""
    middle = join(opened(size=9), "Results", [Item(source=A, data="two", more_data=True)])
    assert middle.code is StatusCode.CHUNKED_ITEM_ACCEPTED
    joined = join(middle.open, "Results", [Item(source=A, data="end"), Item(source=B)])
    whole = Item(source=A, meta=Meta(format="chr", type="text/plain"), data="onetwoend")
    assert joined == Joined((whole, Item(source=B)), None)


def test_a_target_is_kept_too() -> None:
    """Objects are told apart by Source and Target."""
    item = Item(target=B, meta=Meta(size=2), data="x", more_data=True)
    chunk = join(None, "Alert", [item]).open
    assert chunk is not None
    assert not chunk.belongs("Alert", Item(source=B))
    assert join(chunk, "Alert", [Item(target=B, data="y")]).items == (Item(target=B, meta=Meta(), data="xy"),)


@pytest.mark.parametrize("size", [4, 5])
def test_octets_or_characters(size: int) -> None:
    """RepPro counts octets, samples count characters: either proves the object whole."""
    joined = join(opened("caf", size), "Results", [Item(source=A, data="é")])
    assert [item.data for item in joined.items] == ["café"]


def test_another_length_is_a_mismatch() -> None:
    """424, and no item."""
    joined = join(opened(size=7), "Results", [Item(source=A, data="two")])
    assert joined == Joined((), None, StatusCode.SIZE_MISMATCH)


@pytest.mark.parametrize(
    ("item", "code"),
    [
        (first("one", None), StatusCode.SIZE_REQUIRED),
        (Item(source=A, data="one", more_data=True), StatusCode.SIZE_REQUIRED),
        (first("one", MAX_OBJECT + 1), StatusCode.REQUESTED_SIZE_TOO_BIG),
    ],
)
def test_a_refused_object_leaves_no_tail(item: Item, code: StatusCode) -> None:
    """Its later chunks are swallowed under the same status: the last one must not pass for an item."""
    joined = join(None, "Results", [item])
    assert joined.code is code
    joined = join(joined.open, "Results", [Item(source=A, data="two", more_data=True)])
    assert joined.code is code
    joined = join(joined.open, "Results", [Item(source=A, data="end")])
    assert joined == Joined((), None, code)


def test_an_object_that_grows_past_the_bound_is_dropped() -> None:
    """An announced size is a claim; what counts is what comes."""
    part = "x" * MAX_OBJECT
    joined = join(opened("", 9), "Results", [Item(source=A, data=part, more_data=True)])
    assert joined.code is StatusCode.CHUNKED_ITEM_ACCEPTED
    joined = join(joined.open, "Results", [Item(source=A, data="x", more_data=True)])
    assert joined.code is StatusCode.REQUESTED_SIZE_TOO_BIG
    assert joined.open is not None
    assert (joined.open.parts, joined.open.length) == ((), 0)


def test_something_new_breaks_it() -> None:
    """Another item of the same command, or another object of any, ends it."""
    for verb, item in (("Results", Item(source=B)), ("Alert", first("x", 9, B))):
        joined = join(opened(), verb, [item])
        assert joined.broken == (opened(),)


def test_a_command_of_another_kind_may_come_between() -> None:
    """An Alert without chunks leaves the open Results alone."""
    joined = join(opened(), "Alert", [Item(data="1")])
    assert joined == Joined((Item(data="1"),), opened())


@given(st.text(max_size=40), st.lists(st.integers(0, 40), max_size=4), st.integers() | st.none())
def test_any_cutting_is_put_together_again(text: str, cuts: list[int], owner: int | None) -> None:
    """However an object is cut, and stored between the messages, it comes out whole."""
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(edges)]
    chunk: Chunk | None = None
    for n, piece in enumerate(pieces):
        more = n < len(pieces) - 1
        meta = Meta(format="xml", size=len(text.encode())) if n == 0 and more else None
        joined = join(chunk, "Results", [Item(source=A, meta=meta, data=piece, more_data=more)], owner)
        chunk = None if joined.open is None else Chunk.from_json(joined.open.to_json())
        assert joined.broken == ()
    assert [item.data for item in joined.items] == [text]


# --- values of ours -------------------------------------------------------------------------------------

ADD = Request("Add", "./A", "chr", "text/plain", "one two three")
ITEM = Item(target=A, meta=Meta(format="chr", type="text/plain"))


def pieces(request: Request, rooms: Iterable[int]) -> list[Item]:
    """The chunks of a value, each for the room given; the last room is used until the value is over."""
    outgoing: Outgoing | None = Outgoing(request)
    items: list[Item] = []
    rest = iter(rooms)
    room = 0
    while outgoing is not None:
        outgoing = Outgoing.from_json(json.loads(json.dumps(outgoing.to_json())))
        room = next(rest, room)
        item, outgoing = outgoing.take(ITEM, room)
        items.append(item)
    return items


def test_a_value_that_fits_is_one_piece() -> None:
    """It carries its size, and there is no more of it."""
    assert Outgoing(ADD).take(ITEM, 1_000) == (
        Item(target=A, meta=Meta(format="chr", type="text/plain", size=13), data="one two three"),
        None,
    )


def test_size_stands_in_the_first_chunk_alone() -> None:
    """Every chunk but the last has MoreData, and only the first has Size, in octets (OMA DM RepPro 7.4.6)."""
    first_, *middle, last = pieces(Request("Add", "./A", data="é" * 10), [96 + 8, 96 + 9])
    assert first_ == Item(
        target=A, meta=Meta(format="chr", type="text/plain", size=20), data="éééé", more_data=True
    )
    assert middle == [Item(target=A, meta=ITEM.meta, data="éééé", more_data=True)]
    assert last == Item(target=A, meta=ITEM.meta, data="éé")


def test_an_item_without_meta_gets_one_for_its_size() -> None:
    """A value of the default format has no Meta but in its first chunk."""
    item, _ = Outgoing(ADD).take(Item(target=A), 96 + 4)
    assert item == Item(target=A, meta=Meta(size=13), data="one ", more_data=True)


@pytest.mark.parametrize("room", [-5_000, 0, 96, 97])
def test_a_device_without_room_gets_a_character_at_a_time(room: int) -> None:
    """A piece is never empty, so that every object ends."""
    assert [item.data for item in pieces(Request("Add", "./A", data="a<é"), [room])] == ["a", "<", "é"]


def test_no_value_is_an_empty_one() -> None:
    """Nothing to send is one piece of nothing."""
    assert pieces(Request("Add", "./A"), [1_000]) == [
        Item(target=A, meta=Meta(format="chr", type="text/plain", size=0), data="")
    ]


valued = st.text(st.sampled_from('a<&é漢\U0001f600 \r\n"') | st.characters(codec="utf-8"), max_size=300)


@given(valued, st.lists(st.integers(80, 300), min_size=1, max_size=6))
def test_what_is_cut_is_joined(value: str, rooms: list[int]) -> None:
    """Cut for any rooms, stored between the pieces and joined, a value is what it was, and no piece is too long."""
    chunk: Chunk | None = None
    items = pieces(Request("Add", "./A", data=value), rooms)
    for n, item in enumerate(items):
        room = rooms[min(n, len(rooms) - 1)] - 96
        assert len(escape(item.data or "").encode()) <= room or len(item.data or "") <= 1
        joined = join(chunk, "Add", [item])
        assert (joined.open is None) is (n == len(items) - 1)
        chunk = joined.open
    assert joined.items == (Item(target=A, meta=items[-1].meta, data=value),) or len(items) == 1
    assert [item.data for item in joined.items] == [value]


@given(st.text(st.sampled_from("a<é漢"), min_size=1, max_size=300), st.integers(97, 300))
def test_the_marks_of_a_chunk_have_their_room(value: str, room: int) -> None:
    """What a chunk adds to its command, Data with its tags, Size and MoreData, is never more than the room for it."""
    item, _ = Outgoing(Request("Add", "./A", data=value)).take(ITEM, room)
    bare = write_command(Add("1", (ITEM,)))
    added = len(write_command(Add("1", (item,))).encode()) - len(bare.encode())
    assert added <= room or len(item.data or "") <= 1


@pytest.mark.parametrize(
    "value", [[], [["Add", "./A", None, None, "x"]], [["Add"], 0], [None, 0], None, ["x", 0, 0]]
)
def test_what_is_no_object_is_not_read(value: object) -> None:
    """A stored value that is something else raises one of the two documented errors."""
    with pytest.raises((TypeError, ValueError)):
        Outgoing.from_json(value)  # type: ignore[arg-type]
