"""Commands in flight: how wishes become commands, and how every shape of answer finds its request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncml.errors import LocalProtocolError
from syncml.exchange import ATOMIC, ITEMS, SEQUENCE, Answer, Bundle, Request
from syncml.flight import (
    Sent,
    answers,
    carry,
    find,
    find_by_uri,
    item_of,
    launch,
    note_status,
    owner,
    part_of,
)
from syncml.messages import (
    Add,
    Atomic,
    Delete,
    Exec,
    Extension,
    Get,
    Item,
    Location,
    Meta,
    Replace,
    Sequence,
    Status,
)
from syncml.writer import write_command

if TYPE_CHECKING:
    from collections.abc import Iterable

    from syncml.exchange import Wish
    from syncml.messages import Command

A, B, C, D = (Request("Replace", f"./{name}", "chr", data=name) for name in "ABCD")
GET_A, GET_B = Request("Get", "./A?list=StructData"), Request("Get", "./B")


def item(request: Request) -> Item:
    """The item of a request of A, B, C or D."""
    return Item(target=Location(request.loc_uri), meta=Meta(format="chr"), data=request.data)


def launched(*wishes: Wish, msg_id: str = "4", cmd_id: int = 3) -> tuple[list[Command], list[Sent]]:
    """The commands of wishes that stand in one message, and their rows."""
    commands: list[Command] = []
    rows: list[Sent] = []
    for wish in wishes:
        command, new, cmd_id = launch(wish, msg_id, cmd_id, len(rows))
        commands.append(command)
        rows += new
    return commands, rows


def rows_of(*wishes: Wish) -> list[Sent]:
    """What is in flight after these wishes, as CmdIDs 3, 4, ... of message 4."""
    return launched(*wishes)[1]


def flat(wishes: Iterable[Wish]) -> list[Request]:
    """The requests in wishes, in document order."""
    found: list[Request] = []
    for wish in wishes:
        found += [wish] if isinstance(wish, Request) else flat(wish.requests)
    return found


def status(code: int, *uris: str, error: str | None = None) -> Status:
    """A Status with these TargetRefs."""
    return Status("9", "4", "3", "Replace", str(code), tuple(uris), original_error=error)


def told(rows: list[Sent]) -> list[int | None]:
    """The status of each request."""
    return [each.status for each in answers(rows, (), finished=True)]


# --- wishes to commands ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "command"),
    [
        (Request("Add", "./A", "node"), Add("3", (Item(target=Location("./A"), meta=Meta(format="node")),))),
        (Request("Delete", "./A"), Delete("3", (Item(target=Location("./A")),))),
        (
            Request("Exec", "./A", type="text/plain"),
            Exec("3", (Item(target=Location("./A"), meta=Meta(type="text/plain")),)),
        ),
        (Request("Get", "./A"), Get("3", (Item(target=Location("./A")),))),
        (A, Replace("3", (item(A),))),
    ],
)
def test_a_request_is_one_command(request_: Request, command: Command) -> None:
    """Each verb of a server becomes its command, with one item, one row and one CmdID."""
    assert launch(request_, "4", 3, 0) == (command, [Sent("4", "3", request_)], 4)


def test_items_share_a_command() -> None:
    """Several items of one verb are one command with one CmdID, and a row for each."""
    assert launch(Bundle(ITEMS, (A, B)), "4", 3, 0) == (
        Replace("3", (item(A), item(B))),
        [Sent("4", "3", A), Sent("4", "3", B)],
        4,
    )


def test_a_sequence_has_a_row_of_its_own() -> None:
    """It stands in front of its members, which know where it is, also behind other commands in the message."""
    commands, rows = launched(C, Bundle(SEQUENCE, (A, GET_B)))
    assert commands[1] == Sequence("4", (Replace("5", (item(A),)), Get("6", (Item(target=Location("./B")),))))
    assert rows == [
        Sent("4", "3", C),
        Sent("4", "4", None),
        Sent("4", "5", A, group=1),
        Sent("4", "6", GET_B, group=1),
    ]


def test_an_atomic_may_stand_in_a_sequence_and_hold_items() -> None:
    """CmdIDs rise through the nesting; each member knows the group next to it."""
    wish = Bundle(SEQUENCE, (Bundle(ATOMIC, (A, Bundle(ITEMS, (B, C)))), D))
    command, rows, next_id = launch(wish, "4", 3, 0)
    assert command == Sequence(
        "3",
        (
            Atomic("4", (Replace("5", (item(A),)), Replace("6", (item(B), item(C))))),
            Replace("7", (item(D),)),
        ),
    )
    assert rows == [
        Sent("4", "3", None),
        Sent("4", "4", None, group=0, atomic=True),
        Sent("4", "5", A, group=1),
        Sent("4", "6", B, group=1),
        Sent("4", "6", C, group=1),
        Sent("4", "7", D, group=0),
    ]
    assert next_id == 8


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        (Request("Copy", "./A"), "does not send Copy"),
        (Request("get", "./A"), "does not send get"),
        (Bundle(ATOMIC, ()), "empty Atomic"),
        (Bundle(SEQUENCE, ()), "empty Sequence"),
        (Bundle(ITEMS, ()), "empty Items"),
        (Bundle(SEQUENCE, (A, Bundle(ATOMIC, ()))), "empty Atomic"),
        (Bundle(ITEMS, (A, GET_B)), "of one verb"),
        (Bundle(ITEMS, (Bundle(ITEMS, (A,)), A)), "of one verb"),
        (Bundle(ITEMS, (Request("Exec", "./A"), Request("Exec", "./B"))), "Exec has one item"),
        (Bundle(ITEMS, (Request("Copy", "./A"), Request("Copy", "./B"))), "does not send Copy"),
        (Bundle(ATOMIC, (A, GET_B)), "cannot hold a Get"),
        (Bundle(ATOMIC, (Bundle(ITEMS, (GET_A, GET_B)),)), "cannot hold a Get"),
        (Bundle(ATOMIC, (A, B, Request("Delete", "./A"))), "./A twice"),
        (Bundle(ATOMIC, (A, Bundle(ITEMS, (B, A)))), "./A twice"),
        (Bundle(ATOMIC, (Bundle(ATOMIC, (A,)),)), "cannot hold a Atomic"),
        (Bundle(ATOMIC, (Bundle(SEQUENCE, (A,)),)), "cannot hold a Sequence"),
        (Bundle(SEQUENCE, (Bundle(SEQUENCE, (A,)),)), "no Sequence can be sent here"),
        (Bundle("Parallel", (A,)), "no Parallel can be sent here"),
    ],
)
def test_what_windows_would_refuse_is_not_sent(wish: Wish, sentence: str) -> None:
    """A verb that is no server's, an empty group, mixed items, and what undoes a whole Atomic are our own mistakes."""
    with pytest.raises(LocalProtocolError, match=sentence):
        launch(wish, "4", 3, 0)


def test_a_chunk_is_carried_by_the_verb_of_its_request() -> None:
    """The command has the chunk for its item; the row stands for the whole request."""
    chunk = Item(target=Location("./A"), data="piece", more_data=True)
    assert carry(A, chunk, "4", "3") == (Replace("3", (chunk,)), Sent("4", "3", A))
    with pytest.raises(LocalProtocolError, match="does not send Copy"):
        carry(Request("Copy", "./A"), chunk, "4", "3")


@pytest.mark.parametrize(
    ("format_", "type_", "meta"),
    [
        (None, None, None),
        ("int", None, Meta(format="int")),
        (None, "text/plain", Meta(type="text/plain")),
        ("int", "text/plain", Meta(format="int", type="text/plain")),
    ],
)
def test_meta_is_there_only_if_needed(format_: str | None, type_: str | None, meta: Meta | None) -> None:
    """Format and Type each make a Meta; neither makes none."""
    assert item_of(Request("Add", "./A", format_, type_)) == Item(target=Location("./A"), meta=meta)


# --- answers to rows ------------------------------------------------------------------------------------


def test_an_answer_is_found_by_its_numbers() -> None:
    """CmdRef must be that of the command, MsgRef that of the message or missing."""
    rows = rows_of(A, Bundle(ITEMS, (B, C)))
    assert find(rows, "4", "3", absent="") == [0]
    assert find(rows, "", "4", absent="") == [1, 2]
    assert find(rows, "1", "4", absent="1") == [1, 2]
    assert find(rows, "1", "4", absent="") == []
    assert find(rows, "4", "5", absent="") == []


def test_results_are_found_by_what_they_name() -> None:
    """Only Gets are looked for, without the query of either side."""
    rows = rows_of(Request("Add", "./A"), GET_A, Bundle(SEQUENCE, (GET_B,)))
    assert find_by_uri(rows, ["./A"]) == [1]
    assert find_by_uri(rows, ["./B?prop=Type", "./A", "./C"]) == [1, 3]
    assert find_by_uri(rows, []) == []


@pytest.mark.parametrize(
    ("uri", "index"),
    [
        ("./A", 0),
        ("./A/x/y", 0),
        ("./A?list=Struct", 0),
        ("./B", 1),
        ("./B/A", 1),
        ("./A/B", 2),
        ("./A/B/x", 2),
        ("./A/Bx", 0),
        ("./Bx", 0),
        ("./C", 0),
        (None, 0),
    ],
)
def test_an_item_belongs_to_the_nearest_node_asked_for(uri: str | None, index: int) -> None:
    """Of a node and one below it the lower takes what is its own; the first row takes what fits none."""
    rows = rows_of(Bundle(ITEMS, (GET_A, GET_B, Request("Get", "./A/B"))))
    assert owner(rows, [0, 1, 2], uri) == index
    rows = rows_of(Bundle(ITEMS, (Request("Get", "./A/B"), GET_B, GET_A)))
    if uri not in {"./C", "./Bx", None}:
        assert owner(rows, [0, 1, 2], uri) == 2 - index


def test_a_group_owns_what_fits_nothing() -> None:
    """Results that name the CmdID of a group have a row all the same."""
    assert owner(rows_of(Bundle(SEQUENCE, (GET_A,))), [0], "./A") == 0


# --- statuses -------------------------------------------------------------------------------------------


def test_one_status_may_be_for_all_items() -> None:
    """A Status that names no item is for each of the command's."""
    rows = rows_of(Bundle(ITEMS, (A, B)), C)
    note_status(rows, [0, 1], status(200), 200)
    assert told(rows) == [200, 200, None]


def test_each_item_may_have_its_status() -> None:
    """TargetRef says which; several may share one, and errors stay with theirs (RepPro 7.5.12)."""
    rows = rows_of(Bundle(ITEMS, (A, B, C)))
    note_status(rows, [0, 1, 2], status(200, "./A", "./C"), 200)
    note_status(rows, [0, 1, 2], status(405, "./B?prop=ACL", error="0x86000002"), 405)
    assert answers(rows, (), finished=True) == (
        Answer(A, 200),
        Answer(B, 405, (), "0x86000002"),
        Answer(C, 200),
    )


def test_what_was_said_of_an_item_stands() -> None:
    """A Status for the whole command, before or after, is for the items of which nothing was said."""
    rows = rows_of(Bundle(ITEMS, (A, B, C)))
    note_status(rows, [0, 1, 2], status(418, "./B"), 418)
    note_status(rows, [0, 1, 2], status(200), 200)
    note_status(rows, [0, 1, 2], status(500), 500)
    assert told(rows) == [200, 418, 200]
    note_status(rows, [0, 1, 2], status(404, "./A"), 404)
    assert told(rows) == [404, 418, 200]


def test_a_target_ref_that_names_none_of_them_is_for_all() -> None:
    """Devices write odd things there; the CmdRef is what counts."""
    rows = rows_of(Bundle(ITEMS, (A, B)))
    note_status(rows, [0, 1], status(404, "./Elsewhere"), 404)
    assert told(rows) == [404, 404]


@pytest.mark.parametrize("uris", [(), ("./A",), ("./Elsewhere",)])
def test_a_command_of_one_item_takes_every_status(uris: tuple[str, ...]) -> None:
    """In progress is followed by the outcome, whatever TargetRef says."""
    rows = rows_of(A)
    note_status(rows, [0], status(101, *uris), 101)
    note_status(rows, [0], status(200, *uris), 200)
    assert told(rows) == [200]


def test_a_group_has_a_status_too() -> None:
    """It has no LocURI, and is not an answer to any request."""
    rows = rows_of(Bundle(ATOMIC, (A,)))
    note_status(rows, [0], status(200, "./A"), 200)
    assert rows[0].status == 200
    assert told(rows) == [None]


# --- answers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "inner", "heard"),
    [
        (200, (200, 200, 200), [200, 200, 200]),
        (None, (200, 405, None), [200, 405, None]),
        (507, (216, 405, 215), [216, 405, 215]),
        (507, (200, 405, None), [216, 405, 215]),
        (507, (202, 101, 418), [216, 216, 418]),
        (507, (None, None, None), [215, 215, 215]),
        (507, (516, 405, 215), [516, 405, 215]),
        (500, (200, None, None), [216, 215, 215]),
        (400, (200, None, None), [216, 215, 215]),
        (399, (200, None, None), [200, None, None]),
        (215, (215, None, None), [215, None, None]),
    ],
)
def test_what_stands_in_a_failed_atomic_was_not_done(
    group: int | None, inner: tuple[int | None, ...], heard: list[int | None]
) -> None:
    """Rolled back where it seemed done, not executed where nothing was said; its own refusal stays."""
    rows = rows_of(Bundle(ATOMIC, (A, B, C)), D)
    for index, code in enumerate((group, *inner, 200)):
        if code is not None:
            note_status(rows, [index], status(code), code)
    assert told(rows) == [*heard, 200]


def test_a_sequence_that_stopped_says_nothing_of_its_members() -> None:
    """In order is not all or nothing: what was done was done, and what has no Status is unknown."""
    rows = rows_of(Bundle(SEQUENCE, (A, B, C)))
    for index, code in ((0, 500), (1, 200), (2, 405)):
        note_status(rows, [index], status(code), code)
    assert told(rows) == [200, 405, None]


def test_only_the_group_next_to_it_undoes_a_command() -> None:
    """An Atomic in a Sequence undoes its own members alone."""
    rows = rows_of(Bundle(SEQUENCE, (A, Bundle(ATOMIC, (B,)), C)))
    for index, code in ((0, 200), (1, 200), (2, 507), (3, 200), (4, 200)):
        note_status(rows, [index], status(code), code)
    assert told(rows) == [200, 216, 200]


def test_parts_become_the_items_of_their_request() -> None:
    """In order, over all of them, with no more than LocURI, Format and Data."""
    rows = rows_of(GET_A, GET_B)
    note_status(rows, [0], status(200), 200)
    note_status(rows, [1], status(200), 200)
    full = Item(
        target=Location("./T"),
        source=Location("./A", "a name"),
        meta=Meta(format="int", type="text/plain", size=1),
        data="1",
    )
    parts = [
        part_of(0, full),
        part_of(1, Item(meta=Meta(type="x"))),
        part_of(0, Item(source=Location("./A/b"))),
    ]
    assert parts == [(0, "./A", "int", "1"), (1, None, None, None), (0, "./A/b", None, None)]
    assert answers(rows, parts, finished=True) == (
        Answer(
            GET_A,
            200,
            (Item(source=Location("./A"), meta=Meta(format="int"), data="1"), Item(source=Location("./A/b"))),
        ),
        Answer(GET_B, 200, (Item(),)),
    )


_URIS = st.none() | st.builds(
    Location,
    st.sampled_from(["./A", "./A/b"]),
    st.none() | st.just("a name"),
    st.just(()) | st.just((Extension("x"),)),
)
_METAS = st.none() | st.builds(
    Meta, format=st.none() | st.sampled_from(["int", "node"]), type=st.none() | st.just("text/plain")
)


@given(
    st.lists(
        st.builds(
            Item,
            target=_URIS,
            source=_URIS,
            meta=_METAS,
            data=st.none() | st.just("1"),
            more_data=st.booleans(),
            extra=st.just(()) | st.just((Extension("x"),)),
        ),
        max_size=6,
    )
)
def test_what_came_last_means_no_more_than_what_came_before(items: list[Item]) -> None:
    """Items are answered alike whether they stood in the last message of a package or in an earlier one."""
    rows = [Sent("4", "3", GET_A, status=200)]
    kept = answers(rows, [part_of(0, each) for each in items], finished=True)
    assert answers(rows, (), [(0, each) for each in items], finished=True) == kept


def test_an_item_that_says_no_more_than_is_kept_is_not_made_anew() -> None:
    """Nearly all are: a list of thousands costs no second Item each."""
    plain = Item(source=Location("./A"), meta=Meta(format="int"), data="1")
    items = [plain, Item(source=Location("./A")), Item(source=Location("./B"), meta=plain.meta)]
    rows = [Sent("4", "3", GET_A, status=200)]
    (answer,) = answers(rows, (), [(0, each) for each in items], finished=True)
    assert [id(each) for each in answer.items] == [id(each) for each in items]


def test_half_a_list_is_no_answer() -> None:
    """A Get has none while its package is open, nor if a value broke off; other commands have theirs."""
    rows = rows_of(GET_A, A)
    for index in (0, 1):
        note_status(rows, [index], status(200), 200)
    assert answers(rows, [(0, "./A", None, "1")], finished=False) == (Answer(GET_A, None), Answer(A, 200))
    spoiled = Sent("4", "3", GET_A, status=200, spoiled=True)
    assert answers([spoiled], [(0, "./A", None, "1")], finished=True) == (Answer(GET_A, None),)


# --- storage --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        Sent("4", "3", None, atomic=True, status=507),
        Sent("4", "5", Request("Add", "./A", "int", "text/plain", "1"), group=0),
        Sent("4", "5", GET_A, status=500, original_error="0x86000002", spoiled=True),
    ],
)
def test_a_row_survives_storage(row: Sent) -> None:
    """Every field comes back from JSON as it was."""
    assert Sent.from_json(json.loads(json.dumps(row.to_json()))) == row


@pytest.mark.parametrize(
    "value", [[], ["4", "3"], ["4", "3", 5], ["4", "3", ["Get"]], ["4", "3", None, *"too many"], None]
)
def test_what_is_no_row_is_not_read(value: object) -> None:
    """A stored value that is something else raises one of the two documented errors."""
    with pytest.raises((TypeError, ValueError)):
        Sent.from_json(value)  # type: ignore[arg-type]


# --- any bundle -----------------------------------------------------------------------------------------

NODES: Final = [f"./{name}" for name in "ABCDEFGH"]
changes = st.builds(
    Request, st.sampled_from(["Add", "Replace", "Delete", "Exec"]), st.sampled_from(NODES), data=st.none()
)
gets = st.builds(Request, st.just("Get"), st.sampled_from(NODES))
requests = changes | gets
items = st.sampled_from(["Add", "Replace", "Delete"]).flatmap(
    lambda verb: st.lists(st.builds(Request, st.just(verb), st.sampled_from(NODES)), min_size=1, max_size=4)
)


def bundles(kind: str, members: st.SearchStrategy[Wish], **limits: object) -> st.SearchStrategy[Wish]:
    """Bundles of one kind."""
    return st.lists(members, min_size=1, max_size=4, **limits).map(lambda each: Bundle(kind, tuple(each)))  # type: ignore[arg-type]


atomics = bundles(ATOMIC, changes, unique_by=lambda each: each.loc_uri)
several = items.map(lambda each: Bundle(ITEMS, tuple(each))) | bundles(ITEMS, gets)
wishes = requests | several | atomics | bundles(SEQUENCE, requests | several | atomics)
codes = st.sampled_from([101, 200, 202, 213, 215, 216, 400, 405, 418, 500, 507, 516])
refs = st.lists(st.sampled_from([*NODES, "./Elsewhere"]), max_size=3)


@given(
    st.lists(wishes, min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(0, 30), codes, refs), max_size=40),
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from([*NODES, None])), max_size=20),
    st.booleans(),
)
def test_each_request_of_any_bundle_has_exactly_one_answer(
    wanted: list[Wish],
    said: list[tuple[int, int, list[str]]],
    found: list[tuple[int, str | None]],
    finished: bool,  # noqa: FBT001 - a case
) -> None:
    """In whatever order Status and Results come, missing, repeated or to nothing, each request is answered once."""
    commands, rows = launched(*wanted)
    assert all(write_command(command) for command in commands)
    for number, code, uris in said:
        note_status(rows, find(rows, "4", str(number), absent=""), status(code, *uris), code)
    parts = []
    for number, uri in found:
        candidates = find(rows, "1", str(number), absent="1")
        if candidates:
            index = owner(rows, candidates, uri)
            assert index in candidates
            parts.append(part_of(index, Item(source=Location(uri) if uri else None)))
    rows = [Sent.from_json(json.loads(json.dumps(row.to_json()))) for row in rows]
    heard = answers(rows, parts, finished=finished)
    assert [answer.request for answer in heard] == flat(wanted)
    of_groups = sum(rows[part[0]].request is None for part in parts)
    if finished:
        assert sum(len(answer.items) for answer in heard) == len(parts) - of_groups


@given(st.lists(wishes, min_size=1, max_size=5), st.integers(1, 90))
def test_cmd_ids_are_distinct_and_have_no_gap(wanted: list[Wish], first: int) -> None:
    """Every command of a message, also inside groups, has the next CmdID, and a row with it."""
    commands, rows = launched(*wanted, cmd_id=first)

    def numbered(each: Command) -> list[str]:
        inner = each.commands if isinstance(each, (Atomic, Sequence)) else ()
        return [each.cmd_id, *(number for command in inner for number in numbered(command))]

    numbers = [number for command in commands for number in numbered(command)]
    assert numbers == [str(n) for n in range(first, first + len(numbers))]
    assert list(dict.fromkeys(row.cmd_id for row in rows)) == numbers
    assert all(row.group is None or row.group < index for index, row in enumerate(rows))
