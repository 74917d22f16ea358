"""A snapshot is what the device said, in whatever form it said it, and never more."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csp.guid import guid_segment
from csp.queries import confirm_installed, state_queries
from csp.snapshot import (
    MAX_ENTRIES,
    MAX_NAMES,
    MAX_PROBLEMS,
    UpdateEntry,
    UpdateList,
    UpdateSnapshot,
    _Addresses,
    _path_of,
)
from syncml.exchange import Answer, Request
from syncml.messages import Item, Location, Meta

if TYPE_CHECKING:
    from collections.abc import Callable

CSP = "./Vendor/MSFT/Update"
ONE = "a317dafe-baf4-453f-b232-a7075efae36e"
TWO = "b0322158-c3c2-44eb-8a31-d14a9fec450e"

LIST_NAMES = {
    UpdateList.INSTALLABLE: "InstallableUpdates",
    UpdateList.INSTALLED: "InstalledUpdates",
    UpdateList.FAILED: "FailedUpdates",
    UpdateList.PENDING_REBOOT: "PendingRebootUpdates",
    UpdateList.APPROVED: "ApprovedUpdates",
}


def item(path: str, data: str | None = None, wire_format: str | None = None) -> Item:
    """One item of Results; the path is below the Update CSP."""
    uri = path if path.lstrip().startswith("./") else f"{CSP}/{path}"
    return Item(source=Location(uri), meta=Meta(format=wire_format) if wire_format else None, data=data)


def get(path: str, *items: Item, status: int | None = 200, query: str = "?list=StructData") -> Answer:
    """The answer to a Get below the Update CSP."""
    return Answer(Request("Get", f"{CSP}/{path}{query}"), status, items)


def read(*answers: Answer) -> UpdateSnapshot:
    """Read answers that must bring no problem."""
    snapshot = UpdateSnapshot.from_answers(answers)
    assert snapshot.problems == ()
    return snapshot


def test_the_documented_answer_is_read() -> None:
    """StructData in the documented shape: the node, each GUID, its leaves, in pre-order."""
    snapshot = read(
        get(
            "InstallableUpdates",
            item("InstallableUpdates", wire_format="node"),
            item(f"InstallableUpdates/{ONE}", wire_format="node"),
            item(f"InstallableUpdates/{ONE}/Type", "1", "int"),
            item(f"InstallableUpdates/{ONE}/RevisionNumber", "200", "int"),
        ),
        get(
            "LastSuccessfulScanTime", item("LastSuccessfulScanTime", "2026-11-20T08:00:00Z", "time"), query=""
        ),
    )
    assert snapshot == UpdateSnapshot(
        lists={UpdateList.INSTALLABLE: {ONE: UpdateEntry(ONE, revision_number=200, update_type=1)}},
        last_successful_scan_time="2026-11-20T08:00:00Z",
    )


def test_every_leaf_has_its_field() -> None:
    """All five lists with all leaves of the tree, in one session."""
    snapshot = read(
        get(
            "FailedUpdates",
            item(f"FailedUpdates/{ONE}/HResult", "-2145124318", "int"),
            item(f"FailedUpdates/{ONE}/State", "256", "int"),
            item(f"FailedUpdates/{ONE}/RevisionNumber", "201", "int"),
        ),
        get(
            "PendingRebootUpdates",
            item(f"PendingRebootUpdates/{ONE}/InstalledTime", "2026-11-19T22:01:02Z", "time"),
            item(f"PendingRebootUpdates/{ONE}/RevisionNumber", "202", "int"),
        ),
        get("ApprovedUpdates", item(f"ApprovedUpdates/{ONE}/ApprovedTime", "0", "time")),
        get("InstalledUpdates", item(f"InstalledUpdates/{ONE}/RevisionNumber", "203", "int")),
        get("InstallableUpdates", item(f"InstallableUpdates/{ONE}/Type", "2", "int")),
    )
    assert snapshot.lists == {
        UpdateList.FAILED: {
            ONE: UpdateEntry(ONE, revision_number=201, hresult=0x80240022, failure_state=256),
        },
        UpdateList.PENDING_REBOOT: {
            ONE: UpdateEntry(ONE, revision_number=202, installed_time="2026-11-19T22:01:02Z"),
        },
        UpdateList.APPROVED: {ONE: UpdateEntry(ONE, approved_time="0")},
        UpdateList.INSTALLED: {ONE: UpdateEntry(ONE, revision_number=203)},
        UpdateList.INSTALLABLE: {ONE: UpdateEntry(ONE, update_type=2)},
    }


@pytest.mark.parametrize("leaf", ["Status", "State", "STATE", "status"])
def test_the_failure_state_is_read_under_both_names(leaf: str) -> None:
    """The DDF calls the leaf `Status`, the newer page `State`, and the node is case-insensitive."""
    snapshot = read(get("FailedUpdates", item(f"FailedUpdates/{ONE}/{leaf}", "16", "int")))
    assert snapshot.lists[UpdateList.FAILED][ONE].failure_state == 16


@pytest.mark.parametrize("text", ["-2145124318", "2149842978", "0x80240022", " 0X80240022\n"])
def test_hresults_are_one_number(text: str) -> None:
    """Signed, unsigned and hexadecimal HResults are normalised."""
    snapshot = read(get("FailedUpdates", item(f"FailedUpdates/{ONE}/hresult", text, "int")))
    assert snapshot.lists[UpdateList.FAILED][ONE].hresult == 0x80240022


@pytest.mark.parametrize(
    "uri",
    [
        f"{CSP}/InstalledUpdates/{ONE}",
        f"{CSP}/InstalledUpdates/{guid_segment(ONE)}",
        f"./Device/Vendor/MSFT/Update/InstalledUpdates/%7B{ONE.upper()}%7D",
        f"./Device/Vendor/MSFT/Update/InstalledUpdates/{{{ONE}}}",
        f"./vendor/msft/update/installedupdates/%7B {ONE.upper()}%7D",
        f"\n  {CSP}/InstalledUpdates/{ONE}\n",
        f"{CSP}/InstalledUpdates/{ONE}?list=StructData",
    ],
)
def test_addresses_come_in_any_form(uri: str) -> None:
    """Device prefix, case, GUID form, blanks and an echoed query make no difference."""
    assert read(get("InstalledUpdates", item(uri))).lists == {UpdateList.INSTALLED: {ONE: UpdateEntry(ONE)}}


def test_results_name_the_target_on_some_clients() -> None:
    """An item with Target instead of Source is read as well."""
    answer = get("InstalledUpdates", Item(target=Location(f"{CSP}/InstalledUpdates/{ONE}")))
    assert read(answer).lists == {UpdateList.INSTALLED: {ONE: UpdateEntry(ONE)}}


@pytest.mark.parametrize(
    "answer",
    [
        get("InstalledUpdates", item("InstalledUpdates", wire_format="node")),
        get("InstalledUpdates", item("InstalledUpdates", "", "node")),
        get("InstalledUpdates", item("InstalledUpdates", " \n"), query=""),
    ],
)
def test_an_empty_list_is_present_and_empty(answer: Answer) -> None:
    """200 with only the list's own item, with empty Data or none, means there are no such updates."""
    assert read(answer).lists == {UpdateList.INSTALLED: {}}


@pytest.mark.parametrize(
    "data",
    [
        f"{ONE}/{TWO}",
        f"{guid_segment(ONE)}/%7B{TWO.upper()}%7D",
        f"/{ONE}//{TWO}/",
        f"{ONE}/{TWO}/{ONE}",
        f" {ONE} / {TWO} ",
    ],
)
@pytest.mark.parametrize("wire_format", ["node", None])
def test_the_plain_form_gives_the_names(data: str, wire_format: str | None) -> None:
    """Child names joined by `/`, with Format node or without, are the entries."""
    snapshot = read(get("ApprovedUpdates", item("ApprovedUpdates", data, wire_format), query=""))
    assert snapshot.lists == {UpdateList.APPROVED: {ONE: UpdateEntry(ONE), TWO: UpdateEntry(TWO)}}


def test_both_forms_mix() -> None:
    """Names in the Data of interior nodes are no obstacle to the leaves that follow."""
    snapshot = read(
        get(
            "InstallableUpdates",
            item("InstallableUpdates", f"{ONE}/{TWO}", "node"),
            item(f"InstallableUpdates/{ONE}", "Type/RevisionNumber", "node"),
            item(f"InstallableUpdates/{ONE}/Type", "1", "int"),
        )
    )
    assert snapshot.lists == {
        UpdateList.INSTALLABLE: {ONE: UpdateEntry(ONE, update_type=1), TWO: UpdateEntry(TWO)}
    }


def test_repeated_items_are_merged() -> None:
    """Real clients repeat a LocURI: the later value counts, and an empty one takes nothing away."""
    snapshot = read(
        get(
            "InstallableUpdates",
            item("InstallableUpdates"),
            item(f"InstallableUpdates/{ONE}/RevisionNumber", "1"),
            item(f"InstallableUpdates/{ONE}/Type", "2"),
            item("InstallableUpdates"),
            item(f"InstallableUpdates/{ONE}"),
            item(f"InstallableUpdates/{guid_segment(ONE)}/RevisionNumber", "2"),
            item(f"InstallableUpdates/{ONE}/Type"),
            item(f"InstallableUpdates/{ONE}/Type", ""),
        )
    )
    assert snapshot.lists == {
        UpdateList.INSTALLABLE: {ONE: UpdateEntry(ONE, revision_number=2, update_type=2)}
    }


def test_old_builds_say_less() -> None:
    """Before 1703 only InstallableUpdates had RevisionNumber: what is missing is None, without a problem."""
    snapshot = read(
        get(
            "FailedUpdates",
            item("FailedUpdates", wire_format="node"),
            item(f"FailedUpdates/{ONE}", wire_format="node"),
            item(f"FailedUpdates/{ONE}/HResult", "0", "int"),
        )
    )
    assert snapshot.lists == {UpdateList.FAILED: {ONE: UpdateEntry(ONE, hresult=0)}}


def test_the_greatest_values_are_read() -> None:
    """The bounds themselves are legal: 2^31-1 and 256 characters."""
    snapshot = read(
        get(
            "PendingRebootUpdates",
            item(f"PendingRebootUpdates/{ONE}/RevisionNumber", "2147483647"),
            item(f"PendingRebootUpdates/{ONE}/InstalledTime", "9" * 256),
        )
    )
    entry = UpdateEntry(ONE, revision_number=2147483647, installed_time="9" * 256)
    assert snapshot.lists == {UpdateList.PENDING_REBOOT: {ONE: entry}}


def test_new_builds_may_say_more() -> None:
    """A leaf nobody has documented yet is passed over."""
    snapshot = read(get("InstalledUpdates", item(f"InstalledUpdates/{ONE}/Novelty", "x")))
    assert snapshot.lists == {UpdateList.INSTALLED: {ONE: UpdateEntry(ONE)}}


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (get("FailedUpdates", status=404), "FailedUpdates: the device has no such node (404)."),
        (get("FailedUpdates", status=406), "FailedUpdates: the device answered 406."),
        (get("FailedUpdates", status=500), "FailedUpdates: the device answered 500."),
        (get("FailedUpdates", status=213), "FailedUpdates: the device answered 213."),
        (get("FailedUpdates", item("FailedUpdates"), status=500), "FailedUpdates: the device answered 500."),
        (get("FailedUpdates", status=None), "FailedUpdates: the device did not answer."),
        (get("FailedUpdates"), "FailedUpdates: the device answered 200 without Results for it."),
    ],
)
def test_a_list_that_was_not_read_is_absent(answer: Answer, problem: str) -> None:
    """No failure may look like an empty list."""
    snapshot = UpdateSnapshot.from_answers([answer])
    assert snapshot == UpdateSnapshot(problems=(problem,))


def test_one_failure_hides_no_other_list() -> None:
    """Each Get stands for itself."""
    snapshot = UpdateSnapshot.from_answers(
        [get("FailedUpdates", status=500), get("InstalledUpdates", item("InstalledUpdates"))]
    )
    assert set(snapshot.lists) == {UpdateList.INSTALLED}


@pytest.mark.parametrize(
    ("stray", "name"),
    [
        (item(f"InstalledUpdates/{ONE}"), f"'{CSP}/InstalledUpdates/{ONE}'"),
        (item("./DevDetail/SwV", "10.0.19045"), "'./DevDetail/SwV'"),
        (item(CSP), f"'{CSP}'"),
        (item("./Vendor/MSFT/Update/FailedUpdates/%zz"), "'./Vendor/MSFT/Update/FailedUpdates/%zz'"),
        (Item(data="lost"), "''"),
    ],
)
def test_items_that_were_not_asked_for_are_ignored(stray: Item, name: str) -> None:
    """An item outside the asked subtree changes nothing, and is named."""
    snapshot = UpdateSnapshot.from_answers([get("FailedUpdates", item("FailedUpdates"), stray)])
    assert snapshot.lists == {UpdateList.FAILED: {}}
    assert snapshot.problems == (f"FailedUpdates: an item for {name} was not asked for and is ignored.",)


def test_nothing_but_strays_is_no_answer() -> None:
    """If no item lies in the subtree, the list was not read."""
    snapshot = UpdateSnapshot.from_answers([get("FailedUpdates", item("InstalledUpdates"))])
    assert snapshot.lists == {}
    assert len(snapshot.problems) == 2


@pytest.mark.parametrize(
    ("items", "problem"),
    [
        ([item("FailedUpdates/abc")], "FailedUpdates: 'abc' is not a GUID and is ignored."),
        (
            [item("FailedUpdates/%257b" + ONE + "%257d")],
            f"FailedUpdates: '%7b{ONE}%7d' is not a GUID and is ignored.",
        ),
        ([item("FailedUpdates", f"{ONE}/x")], "FailedUpdates: 'x' is not a GUID and is ignored."),
        ([item("FailedUpdates", f"{ONE}/%zz")], "FailedUpdates: '%zz' is not a GUID and is ignored."),
        (
            [item(f"FailedUpdates/{ONE}/State/Deep", "1")],
            f"FailedUpdates/{ONE}: 'state/deep' is deeper than the tree and is ignored.",
        ),
        (
            [item(f"FailedUpdates/{ONE}/State", "many")],
            f"FailedUpdates/{ONE}/State: 'many' is not a number from 0 to 2147483647.",
        ),
        (
            [item(f"FailedUpdates/{ONE}/RevisionNumber", "-1")],
            f"FailedUpdates/{ONE}/RevisionNumber: '-1' is not a number from 0 to 2147483647.",
        ),
        (
            [item(f"FailedUpdates/{ONE}/RevisionNumber", "2147483648")],
            f"FailedUpdates/{ONE}/RevisionNumber: '2147483648' is not a number from 0 to 2147483647.",
        ),
        (
            [item(f"FailedUpdates/{ONE}/HResult", "0x123456789")],
            f"FailedUpdates/{ONE}/HResult: 4886718345 does not fit the 32 bits of an HRESULT.",
        ),
        (
            [item(f"FailedUpdates/{ONE}/HResult", "E_FAIL")],
            f"FailedUpdates/{ONE}/HResult: 'E_FAIL' is not an HRESULT.",
        ),
        (
            [item(f"FailedUpdates/{ONE}/InstalledTime", "9" * 257)],
            f"FailedUpdates/{ONE}/InstalledTime: '{'9' * 119}…' has more than 256 characters.",
        ),
    ],
)
def test_one_bad_value_spoils_nothing_else(items: list[Item], problem: str) -> None:
    """The bad value is named and left out; the other updates and leaves of the list are read."""
    good = [item(f"FailedUpdates/{ONE}"), item(f"FailedUpdates/{TWO}/State", "16")]
    snapshot = UpdateSnapshot.from_answers([get("FailedUpdates", *items, *good)])
    assert snapshot.lists == {
        UpdateList.FAILED: {ONE: UpdateEntry(ONE), TWO: UpdateEntry(TWO, failure_state=16)},
    }
    assert snapshot.problems == (problem,)


def guids(count: int) -> list[str]:
    """That many different GUIDs."""
    return [f"{number:08x}-0000-4000-8000-000000000000" for number in range(count)]


def test_a_list_of_the_greatest_length_is_read() -> None:
    """The cap itself is allowed, and leaves of known entries still count after it."""
    many = guids(MAX_ENTRIES)
    snapshot = read(
        get(
            "InstalledUpdates",
            item("InstalledUpdates", "/".join(many)),
            item(f"InstalledUpdates/{many[0]}/RevisionNumber", "7"),
        )
    )
    assert len(snapshot.lists[UpdateList.INSTALLED]) == MAX_ENTRIES
    assert snapshot.lists[UpdateList.INSTALLED][many[0]].revision_number == 7


def test_longer_lists_are_not_read_and_said_so() -> None:
    """Beyond the cap of all lists together a list counts as unread: what is not in one has left it."""
    many = guids(MAX_ENTRIES + 2)
    pending = [item("PendingRebootUpdates", "/".join(many[:2]))]
    items = [item(f"InstalledUpdates/{guid}") for guid in many]
    items.append(item(f"InstalledUpdates/{many[-1]}/RevisionNumber", "7"))
    node = get(f"FailedUpdates/{many[0]}", item(f"FailedUpdates/{many[0]}/HResult", "1"))
    snapshot = UpdateSnapshot.from_answers(
        [get("PendingRebootUpdates", *pending), get("InstalledUpdates", *items), node]
    )
    assert list(snapshot.lists[UpdateList.PENDING_REBOOT]) == many[:2]
    assert UpdateList.INSTALLED not in snapshot.lists
    assert not snapshot.nodes
    assert snapshot.problems == (
        f"InstalledUpdates: more than {MAX_ENTRIES} updates in all: this list is not read.",
        f"FailedUpdates: more than {MAX_ENTRIES} updates in all: this list is not read.",
    )


def test_names_are_bounded() -> None:
    """Of names in the plain form, however short and however many Items they come in, only so many are read."""
    many = guids(10)
    rubbish = "/".join(["x"] * (MAX_NAMES - 10))
    items = [item("InstalledUpdates", rubbish), item("InstalledUpdates", "/".join([*many, "y", "z"]))]
    later = get("FailedUpdates", item("FailedUpdates", many[0]))
    snapshot = UpdateSnapshot.from_answers([get("InstalledUpdates", *items), later])
    assert not snapshot.lists
    # the names that are none, and the two lists that are not read
    assert snapshot.problems[-1] == f"{MAX_NAMES - 10 - MAX_PROBLEMS + 2} more problems are not listed."


def test_the_last_name_that_fits_is_read_and_the_next_is_told() -> None:
    """The cap cuts between names, never in one."""
    many = guids(MAX_NAMES + 1)
    exact = UpdateSnapshot.from_answers(
        [get("InstalledUpdates", item("InstalledUpdates", "/".join(many[:-1])))]
    )
    assert list(exact.lists[UpdateList.INSTALLED]) == many[:-1]
    assert exact.problems == ()
    beyond = UpdateSnapshot.from_answers([get("InstalledUpdates", item("InstalledUpdates", "/".join(many)))])
    assert not beyond.lists
    assert beyond.problems == (
        f"InstalledUpdates: more than {MAX_NAMES} names in all: this list is not read.",
    )


@pytest.mark.parametrize("strays", [100, 101])
def test_an_answer_about_something_else_is_no_answer(strays: int) -> None:
    """A few stray items are passed over; with too many of them the list counts as not read."""
    items = [item("InstalledUpdates"), *(item(f"FailedUpdates/{n}") for n in range(strays))]
    snapshot = UpdateSnapshot.from_answers([get("InstalledUpdates", *items)])
    assert (UpdateList.INSTALLED in snapshot.lists) is (strays == 100)


_URIS = st.lists(
    st.sampled_from(
        [
            *("a3174b1c-0bad-4000-8000-000000000001", "{a3174b1c-0bad-4000-8000-000000000001}"),
            *("%7bA3174B1C-0BAD-4000-8000-000000000001%7d", "%7B A3174B1C-0BAD-4000-8000-000000000001 %7D"),
            *(
                "Type",
                "type",
                "%54ype",
                "",
                " ",
                "*",
                "..",
                "%2e",
                "%",
                "%zz",
                "%ffa",
                "%ff",
                "a?b",
                "Type?list=Struct",
            ),
            *("Type ", "猫", "a%2fb", "InstalledUpdates", "?prop=ACL", "x" * 500),
        ]
    ),
    max_size=4,
)


@given(
    base=st.sampled_from(
        ["./Vendor/MSFT/Update/InstalledUpdates", " ./Device/Vendor/MSFT/Update/%49nstalledUpdates"]
    ),
    addresses=st.lists(_URIS, max_size=6),
)
def test_addresses_mean_what_they_mean_alone(base: str, addresses: list[list[str]]) -> None:
    """What was heard before never changes how a LocURI is read: the shortcut takes the same way."""
    asked = ("installedupdates",)
    reading = _Addresses(asked)
    for names in addresses:
        uri = "/".join([base, *names])
        whole = _path_of(uri) if len(uri) <= 512 else None
        assert reading.below(uri) == (None if whole is None or whole[:1] != asked else whole[1:])


@pytest.mark.parametrize("name", ["%ffa", "%", "a?b", "..", "", "%2e%2e", " "])
def test_what_is_no_name_is_none_after_a_good_one_either(name: str) -> None:
    """The shortcut refuses what the rules of LocURIs refuse."""
    reading = _Addresses(("installedupdates",))
    assert reading.below(f"{CSP}/InstalledUpdates/{ONE}") == (ONE,)
    assert reading.below(f"{CSP}/InstalledUpdates/{name}") is None
    assert reading.below(f"{CSP}/InstalledUpdates/{ONE}/{name}x/{name}") is None
    assert reading.below(f"{CSP}/InstalledUpdates/{ONE}") == (ONE,)


def test_an_escaped_name_behind_a_child_is_read() -> None:
    """A device may escape what needs no escape, at any depth."""
    reading = _Addresses(("installedupdates",))
    assert reading.below(f"{CSP}/InstalledUpdates/{ONE}") == (ONE,)
    address = f"{CSP}/InstalledUpdates/{ONE}/Revision%4Eumber/A%2Fb"
    assert reading.below(address) == _path_of(address)[1:] == (ONE, "revisionnumber", "a/b")  # type: ignore[index]


@pytest.mark.parametrize("uri", ["./Vendor/MSFT/Update/".ljust(513, "x"), "./Vendor/MSFT/Update" + "/x" * 14])
def test_an_address_no_device_has_is_none(uri: str) -> None:
    """Longer or deeper than anything in the tree: not worth taking apart."""
    assert _path_of(uri[:-2]) is not None
    assert _Addresses(()).below(uri) is None


def test_problems_are_bounded() -> None:
    """A device that sends rubbish by the thousand gets a bounded list and a count."""
    items = [item(f"FailedUpdates/x{number}") for number in range(MAX_PROBLEMS + 7)]
    snapshot = UpdateSnapshot.from_answers([get("FailedUpdates", *items)])
    assert len(snapshot.problems) == MAX_PROBLEMS + 1
    assert snapshot.problems[-1] == "7 more problems are not listed."


@pytest.mark.parametrize(("leaf", "text"), [("Type", "many"), ("HResult", "0x100000000"), ("a/b", "1")])
def test_problems_of_values_are_bounded_too(leaf: str, text: str) -> None:
    """Of values that cannot be read, too, some are told and the others counted."""
    guids = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(MAX_PROBLEMS + 7)]
    items = [item(f"FailedUpdates/{guid}/{leaf}", text) for guid in guids]
    snapshot = UpdateSnapshot.from_answers([get("FailedUpdates", *items)])
    assert snapshot.lists == {UpdateList.FAILED: {guid: UpdateEntry(guid) for guid in guids}}
    assert len(snapshot.problems) == MAX_PROBLEMS + 1
    assert snapshot.problems[-1] == "7 more problems are not listed."


@pytest.mark.parametrize("status", [200, 404])
def test_the_last_of_two_answers_counts(status: int) -> None:
    """The same list read twice: the newer list replaces the older, a failure leaves it."""
    snapshot = UpdateSnapshot.from_answers(
        [
            get("InstalledUpdates", item(f"InstalledUpdates/{ONE}")),
            get("InstalledUpdates", item(f"InstalledUpdates/{TWO}"), status=status),
        ]
    )
    expected = TWO if status == 200 else ONE
    assert snapshot.lists == {UpdateList.INSTALLED: {expected: UpdateEntry(expected)}}


def test_one_update_is_found() -> None:
    """The answer to `<List>/{guid}` goes into `nodes`, not into the list."""
    answer = Answer(
        confirm_installed(ONE),
        200,
        (
            item(f"InstalledUpdates/{ONE}", wire_format="node"),
            item(f"InstalledUpdates/{ONE}/RevisionNumber", "3"),
        ),
    )
    assert read(answer) == UpdateSnapshot(
        nodes={(UpdateList.INSTALLED, ONE): UpdateEntry(ONE, revision_number=3)},
    )


def test_one_update_is_found_in_the_plain_form() -> None:
    """The names of its leaves in Data say only that it is there."""
    answer = get(
        f"InstalledUpdates/{ONE}", item(f"InstalledUpdates/{ONE}", "RevisionNumber", "node"), query=""
    )
    assert read(answer).nodes == {(UpdateList.INSTALLED, ONE): UpdateEntry(ONE)}


def test_one_update_is_not_there() -> None:
    """404 on `<List>/{guid}` is an answer: the update is not in that list."""
    answer = Answer(confirm_installed(ONE), 404)
    assert read(answer) == UpdateSnapshot(nodes={(UpdateList.INSTALLED, ONE): None})


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (500, f"InstalledUpdates/{ONE}: the device answered 500."),
        (200, f"InstalledUpdates/{ONE}: the device answered 200 without Results for it."),
        (None, f"InstalledUpdates/{ONE}: the device did not answer."),
    ],
)
def test_one_update_stays_unknown(status: int | None, problem: str) -> None:
    """Any other failure says nothing about it."""
    snapshot = UpdateSnapshot.from_answers([Answer(confirm_installed(ONE), status)])
    assert snapshot == UpdateSnapshot(problems=(problem,))


def test_another_update_is_no_answer() -> None:
    """Items of another GUID were not asked for."""
    snapshot = UpdateSnapshot.from_answers(
        [Answer(confirm_installed(ONE), 200, (item(f"InstalledUpdates/{TWO}"),))]
    )
    assert snapshot.nodes == {}
    assert len(snapshot.problems) == 2


@pytest.mark.parametrize(
    ("path", "data", "expected"),
    [
        ("LastSuccessfulScanTime", "0", UpdateSnapshot(last_successful_scan_time="0")),
        (
            "LastSuccessfulScanTime",
            " 2026-11-20T08:00:00Z ",
            UpdateSnapshot(last_successful_scan_time="2026-11-20T08:00:00Z"),
        ),
        ("lastsuccessfulscantime", "not a time", UpdateSnapshot(last_successful_scan_time="not a time")),
        ("LastSuccessfulScanTime", "", UpdateSnapshot()),
        ("LastSuccessfulScanTime", None, UpdateSnapshot()),
        ("DeferUpgrade", "true", UpdateSnapshot(defer_upgrade=True)),
        ("DeferUpgrade", "True", UpdateSnapshot(defer_upgrade=True)),
        ("DeferUpgrade", "1", UpdateSnapshot(defer_upgrade=True)),
        ("DeferUpgrade", "false", UpdateSnapshot(defer_upgrade=False)),
        ("DeferUpgrade", "0", UpdateSnapshot(defer_upgrade=False)),
        ("Rollback/QualityUpdateStatus", "done", UpdateSnapshot(quality_rollback_status="done")),
        ("Rollback/FeatureUpdateStatus", "done", UpdateSnapshot(feature_rollback_status="done")),
        # what a snapshot does not hold is passed over
        ("Rollback", "QualityUpdateStatus", UpdateSnapshot()),
        ("FailedUpdates/abc", "x", UpdateSnapshot()),
        (f"FailedUpdates/{ONE}/HResult", "1", UpdateSnapshot()),
        ("Novelty", "1", UpdateSnapshot()),
    ],
)
def test_single_values_are_read(path: str, data: str | None, expected: UpdateSnapshot) -> None:
    """Times and results are kept as written, booleans in Windows' spellings, no value is None."""
    assert read(get(path, item(path, data), query="")) == expected


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (
            get("DeferUpgrade", item("DeferUpgrade", "maybe"), query=""),
            "DeferUpgrade: 'maybe' is neither true nor false.",
        ),
        (
            get("LastSuccessfulScanTime", item("LastSuccessfulScanTime", "x" * 300), query=""),
            f"LastSuccessfulScanTime: '{'x' * 119}…' has more than 256 characters.",
        ),
        (
            get("LastSuccessfulScanTime", item("LastSuccessfulScanTime/Deep/Er", "x"), query=""),
            "LastSuccessfulScanTime: it has no nodes below it, but 'deep/er' came.",
        ),
        (
            get("LastSuccessfulScanTime", status=500, query=""),
            "LastSuccessfulScanTime: the device answered 500.",
        ),
        (
            get("Rollback/QualityUpdateStatus", status=404, query=""),
            "Rollback/QualityUpdateStatus: the device has no such node (404).",
        ),
    ],
)
def test_single_values_that_were_not_read_are_none(answer: Answer, problem: str) -> None:
    """Failures and rubbish leave the field None and say so."""
    assert UpdateSnapshot.from_answers([answer]) == UpdateSnapshot(problems=(problem,))


@pytest.mark.parametrize(
    "answer",
    [
        Answer(Request("Add", f"{CSP}/ApprovedUpdates/{ONE}"), 418),
        Answer(Request("Replace", f"{CSP}/InstalledUpdates"), 405),
        Answer(Request("Get", "./DevDetail/SwV"), 404),
        Answer(Request("Get", CSP), 200, (item(CSP, "InstalledUpdates"),)),
        Answer(Request("Get", "no LocURI"), 200),
        get("InstalledUpdates", item("InstalledUpdates", "InstalledUpdates"), query="?prop=Name"),
        get("InstalledUpdates", item("InstalledUpdates", "<MgmtTree/>"), query="?list=TNDS"),
    ],
)
def test_other_answers_are_passed_over(answer: Answer) -> None:
    """Only Gets of what a snapshot holds count: no other command, node, property or serialised tree."""
    assert read(answer) == UpdateSnapshot()


def test_no_answers_say_nothing() -> None:
    """An empty session gives the empty snapshot."""
    assert read() == UpdateSnapshot()


# --- round trip: a model of a device's tree, written as a device would, reads back the same ---------------


@dataclass
class Device:
    """A device's Update tree."""

    lists: dict[UpdateList, dict[str, UpdateEntry]] = field(default_factory=dict)
    scan_time: str | None = None


identifiers = st.uuids().map(str)
counts = st.none() | st.integers(0, 2**31 - 1)
times = st.none() | st.sampled_from(["0", "2026-11-20T08:00:00Z", "20/11/2026 08:00"])
ENTRIES: dict[UpdateList, Callable[[str], st.SearchStrategy[UpdateEntry]]] = {
    UpdateList.INSTALLABLE: lambda guid: st.builds(
        UpdateEntry, st.just(guid), revision_number=counts, update_type=st.sampled_from([None, 0, 1, 2])
    ),
    UpdateList.INSTALLED: lambda guid: st.builds(UpdateEntry, st.just(guid), revision_number=counts),
    UpdateList.FAILED: lambda guid: st.builds(
        UpdateEntry,
        st.just(guid),
        revision_number=counts,
        hresult=st.none() | st.integers(0, 2**32 - 1),
        failure_state=st.none() | st.sampled_from([1 << bit for bit in range(13)]),
    ),
    UpdateList.PENDING_REBOOT: lambda guid: st.builds(
        UpdateEntry, st.just(guid), revision_number=counts, installed_time=times
    ),
    UpdateList.APPROVED: lambda guid: st.builds(UpdateEntry, st.just(guid), approved_time=times),
}


@st.composite
def devices(draw: st.DrawFn) -> Device:
    """Any device."""
    lists = {
        kind: {guid: draw(entry(guid)) for guid in draw(st.lists(identifiers, unique=True, max_size=4))}
        for kind, entry in ENTRIES.items()
    }
    return Device(lists, draw(times))


@dataclass
class Style:
    """How a client writes: prefix, GUID form, leaf names, numbers, and how it groups its items."""

    data: st.DataObject

    def choose(self, *options: str) -> str:
        """One of the spellings."""
        return self.data.draw(st.sampled_from(options))

    def guid(self, guid: str) -> str:
        """A GUID as a node name in a LocURI."""
        return self.choose(guid, guid.upper(), f"%7b{guid}%7d", f"%7B{guid.upper()}%7D")

    def hresult(self, value: int) -> str:
        """A Format int with the top bit set or not."""
        return self.choose(str(value), str(value - (1 << 32) if value >> 31 else value), f"0x{value:08x}")

    def leaves(self, entry: UpdateEntry) -> list[tuple[str, str, str]]:
        """Name, Format and Data of the leaves this entry has."""
        found = [
            ("RevisionNumber", "int", entry.revision_number),
            ("Type", "int", entry.update_type),
            ("HResult", "int", None if entry.hresult is None else self.hresult(entry.hresult)),
            (self.choose("State", "Status"), "int", entry.failure_state),
            ("InstalledTime", "time", entry.installed_time),
            ("ApprovedTime", "time", entry.approved_time),
        ]
        return [
            (self.choose(name, name.lower()), wire_format, str(value))
            for name, wire_format, value in found
            if value is not None
        ]

    def struct_data(self, root: str, entries: dict[str, UpdateEntry]) -> list[Item]:
        """A list as `?list=StructData` answers it, with an item or two repeated."""
        items = [item(root, wire_format="node")]
        for guid, entry in entries.items():
            uri = f"{root}/{self.guid(guid)}"
            items.append(item(uri, wire_format="node"))
            items += [
                item(f"{uri}/{name}", data, wire_format) for name, wire_format, data in self.leaves(entry)
            ]
        return items + self.data.draw(st.lists(st.sampled_from(items), max_size=2))

    def plain(self, root: str, entries: dict[str, UpdateEntry]) -> list[Item]:
        """A list as a Get without a query answers it."""
        names = "/".join(self.guid(guid) for guid in entries)
        return [item(root, names or None, self.choose("node", "") or None)]


def answer_with(
    device: Device, write: Callable[[str, dict[str, UpdateEntry]], list[Item]], prefix: str
) -> list[Answer]:
    """The device's answers to the queries of a check-in."""
    answers = []
    for query in state_queries(installed=True):
        path = query.loc_uri.partition("?")[0].removeprefix(CSP + "/")
        if path == "LastSuccessfulScanTime":
            items = [item(f"{prefix}/{path}", device.scan_time, "time")]
        else:
            kind = next(kind for kind, name in LIST_NAMES.items() if name == path)
            items = write(f"{prefix}/{path}", device.lists[kind])
        answers.append(Answer(query, 200, tuple(items)))
    return answers


@given(st.data(), devices(), st.sampled_from([CSP, "./Device/Vendor/MSFT/Update"]))
def test_any_device_is_read_back_from_struct_data(data: st.DataObject, device: Device, prefix: str) -> None:
    """Whatever spelling a client chooses, the snapshot is the device's tree."""
    answers = answer_with(device, Style(data).struct_data, prefix)
    assert read(*answers) == UpdateSnapshot(lists=device.lists, last_successful_scan_time=device.scan_time)


@given(st.data(), devices())
def test_any_device_is_read_back_from_the_plain_form(data: st.DataObject, device: Device) -> None:
    """The plain form brings the same updates, without their leaves."""
    bare = {kind: {guid: UpdateEntry(guid) for guid in entries} for kind, entries in device.lists.items()}
    answers = answer_with(device, Style(data).plain, CSP)
    assert read(*answers) == UpdateSnapshot(lists=bare, last_successful_scan_time=device.scan_time)


@given(st.data(), devices(), st.sets(st.integers(0, 5)), st.sampled_from([None, 404, 406, 500]))
def test_a_failed_get_never_gives_an_empty_list(
    data: st.DataObject, device: Device, failing: set[int], status: int | None
) -> None:
    """Exactly the lists whose Get succeeded are present, each whole, and each failure is one problem."""
    answers = [
        replace(answer, status=status, items=()) if index in failing else answer
        for index, answer in enumerate(answer_with(device, Style(data).struct_data, CSP))
    ]
    snapshot = UpdateSnapshot.from_answers(answers)
    expected = {
        kind: entries
        for kind, entries in device.lists.items()
        if any(LIST_NAMES[kind] in answer.request.loc_uri and answer.status == 200 for answer in answers)
    }
    assert snapshot.lists == expected
    assert len(snapshot.problems) == len(failing)


fragments = st.sampled_from(
    [
        "",
        ".",
        "/",
        "Vendor/MSFT/Update",
        "./Vendor/MSFT/Update/FailedUpdates",
        ONE,
        "HResult",
        "%7b",
        "%",
        "é",
        "?prop=x",
    ]
)
wild_text = st.lists(fragments | st.text(max_size=5), max_size=6).map("/".join)
wild_items = st.builds(
    Item,
    source=st.none() | st.builds(Location, wild_text),
    target=st.none() | st.builds(Location, wild_text),
    data=st.none() | wild_text,
)
wild_answers = st.builds(
    Answer,
    st.sampled_from([*state_queries(installed=True), confirm_installed(ONE)])
    | st.builds(Request, st.just("Get"), wild_text),
    st.none() | st.integers() | st.just(200),
    st.lists(wild_items, max_size=5).map(tuple),
)


@given(st.lists(wild_answers, max_size=4))
def test_no_answer_raises(answers: list[Answer]) -> None:
    """Whatever a device sends, there is a snapshot, and only lists that were asked for are in it."""
    snapshot = UpdateSnapshot.from_answers(answers)
    assert all(
        guid == entry.update_id for entries in snapshot.lists.values() for guid, entry in entries.items()
    )
