"""The settings of the management server on a virtual device."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from csp.dmclient import DMCLIENT_TREE, PROVIDER
from csp.polling import POLL_NODES, poll_requests, taken
from csp.push import push_queries, read_push, set_pfn
from csp.tree import Access
from csp.unenrolment import unenrol
from mdm.lab.dmclient import provision, setting_row, sync_version_of
from mdm.lab.tree import DeviceTree
from mdm.lab.versions import Build
from mdm.lab.windows import Habits, Windows
from syncml.exchange import Answer, Request
from syncml.messages import Add, Atomic, Delete, Exec, Get, Item, Location, Meta, Replace

if TYPE_CHECKING:
    from syncml.client import Outcome

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
AT = "./Device/Vendor/MSFT/DMClient/Provider/Contoso"
OLD_UNENROLL = "./Vendor/MSFT/DMClient/Unenroll"
CHANNEL = "https://db5p.notify.windows.com/?token=abc"
VERBS = {"Add": Add, "Delete": Delete, "Exec": Exec, "Get": Get, "Replace": Replace}
DOCUMENT = {
    "Poll/NumberOfFirstRetries": "5",
    "Poll/IntervalForFirstSetOfRetries": "3",
    "Poll/PollOnLogin": "true",
    "UPN": "user@example.test",
    "EntDeviceName": "PC-1",
    "EntDMID": "5f6f",
    "SyncApplicationVersion": "3.0",
}


def enrolled(build: str = "26100.4652", document: dict[str, str] | None = None, **habits: str) -> DeviceTree:
    """A device whose enrolment's document said this."""
    windows = Windows(lambda _: (), Habits(**habits))  # type: ignore[arg-type]
    provision(windows, Build.parse(build), DOCUMENT if document is None else document)
    return DeviceTree(windows, Build.parse(build), {}, provider_id="Contoso")


def item(name: str, data: str | None = None, format_: str | None = None) -> Item:
    """One Item; a name that is no address is below the server."""
    uri = name if name.startswith(".") else f"{AT}/{name}"
    return Item(target=Location(uri), data=data, meta=Meta(format=format_) if format_ else None)


def run(
    tree: DeviceTree, verb: str, name: str, data: str | None = None, format_: str | None = None
) -> Outcome:
    """Execute one command with one item."""
    return tree.execute(VERBS[verb](cmd_id="5", items=(item(name, data, format_),)), NOON)


def value(tree: DeviceTree, name: str) -> tuple[str | None, str | None]:
    """Format and Data of what a Get brings."""
    (found,) = run(tree, "Get", name).items
    return found.meta.format if found.meta else None, found.data


CASES = [
    # what the document set
    ("Get", "Poll/NumberOfFirstRetries", None, None, 200),
    ("Get", "poll/numberoffirstretries", None, None, 200),
    ("Get", "Poll", None, None, 200),
    ("Get", "EntDMID", None, None, 200),
    ("Get", "UPN", None, None, 200),
    ("Get", "./Vendor/MSFT/DMClient/Provider/contoso/UPN", None, None, 200),
    # what it did not
    ("Get", "Poll/NumberOfSecondRetries", None, None, 404),
    ("Get", "HelpWebsite", None, None, 404),
    ("Get", "./Vendor/MSFT/DMClient/Provider/Other/UPN", None, None, 404),
    # changes
    ("Replace", "Poll/NumberOfFirstRetries", "int", "8", 200),
    ("Replace", "Poll/NumberOfSecondRetries", "int", "0", 200),
    ("Replace", "Poll/NumberOfFirstRetries", None, "8", 415),
    ("Replace", "Poll/NumberOfFirstRetries", "chr", "8", 415),
    ("Replace", "Poll/NumberOfFirstRetries", "int", "-1", 500),
    ("Replace", "Poll/NumberOfFirstRetries", "int", "2147483648", 500),
    ("Replace", "Poll/NumberOfFirstRetries", "int", None, 500),
    ("Replace", "Poll/PollOnLogin", "bool", "false", 200),
    ("Replace", "Poll/PollOnLogin", "bool", "yes", 500),
    ("Replace", "Poll/NoSuchNumber", "int", "1", 404),
    ("Replace", "Poll", "node", None, 405),
    ("Replace", "./Vendor/MSFT/DMClient/Provider/Other/UPN", None, "x", 404),
    ("Add", "UPN", None, "x", 418),
    ("Add", "HelpWebsite", None, "https://help.example.test", 200),
    ("Delete", "Poll/NumberOfFirstRetries", None, None, 200),
    ("Delete", "UPN", None, None, 405),
    ("Delete", "HelpWebsite", None, None, 404),
    ("Delete", "./Vendor/MSFT/DMClient/Provider/Contoso", None, None, 405),
    # push
    ("Get", "Push/ChannelURI", None, None, 404),
    ("Get", "Push/PFN", None, None, 404),
    ("Get", "Push/Status", None, None, 200),
    ("Replace", "Push/PFN", None, "Contoso.Push_abc", 200),
    ("Add", "Push/PFN", "chr", "Contoso.Push_abc", 200),
    ("Replace", "Push/ChannelURI", None, CHANNEL, 404),
    ("Replace", "Push/Status", "int", "0", 405),
    # leaving
    ("Get", "Unenroll", None, None, 200),
    ("Replace", "Unenroll", None, "Contoso", 405),
    ("Exec", "Unenroll", "chr", "Contoso", 200),
    ("Exec", "Unenroll", "chr", "whatever: it is ignored", 200),
    ("Exec", OLD_UNENROLL, "chr", "Contoso", 200),
    ("Exec", OLD_UNENROLL, "chr", "Fabrikam", 500),
    ("Exec", OLD_UNENROLL, "chr", None, 500),
    ("Exec", "UPN", None, None, 405),
    ("Exec", "Recovery/InitiateRecovery", None, None, 404),
]  # fmt: skip


@pytest.mark.parametrize(("verb", "name", "format_", "data", "status"), CASES)
def test_each_command_gets_windows_status(
    verb: str, name: str, format_: str | None, data: str | None, status: int
) -> None:
    """The status of each verb on each kind of setting; a refusal changes nothing."""
    tree = enrolled()
    before = tree.windows.state
    assert run(tree, verb, name, data, format_).status == status
    if status >= 300 or verb == "Get":
        assert tree.windows.state is before


def test_a_device_shows_what_its_enrolment_set() -> None:
    """With the DDF's formats, and the version of the sessions from the first one on."""
    tree = enrolled()
    shown = {name: value(tree, name) for name in DOCUMENT}
    assert shown == {
        "Poll/NumberOfFirstRetries": ("int", "5"),
        "Poll/IntervalForFirstSetOfRetries": ("int", "3"),
        "Poll/PollOnLogin": ("bool", "true"),
        "UPN": (None, "user@example.test"),
        "EntDeviceName": (None, "PC-1"),
        "EntDMID": (None, "5f6f"),
        "SyncApplicationVersion": (None, "3.0"),
    }
    assert run(tree, "Get", "Nonsense").original_error == "0x86000002"


def test_a_written_setting_is_read_back_by_its_own_name() -> None:
    """However the address was spelt; and what is deleted is gone."""
    tree = enrolled()
    assert run(tree, "Replace", "POLL/numberofsecondretries", "8", "int").status == 200
    assert tree.windows.settings["Poll/NumberOfSecondRetries"] == "8"
    assert value(tree, "Poll/NumberOfSecondRetries") == ("int", "8")
    run(tree, "Delete", "Poll/NumberOfSecondRetries")
    assert run(tree, "Get", "Poll/NumberOfSecondRetries").status == 404


@pytest.mark.parametrize(("document", "version"), [({}, "1.0"), ({"SyncApplicationVersion": "5.0"}, "1.0")])
def test_an_old_windows_takes_no_version_it_does_not_know(document: dict[str, str], version: str) -> None:
    """1607 knows 2.0; without a word in the document it speaks what Windows begins with."""
    assert enrolled("14393", document).windows.state.sync_version == version


@pytest.mark.parametrize(
    ("text", "expected"), [("3.0", "3.0"), ("2", "2.0"), ("1.0", None), ("9.0", None), ("x", None), (None, None)]
)  # fmt: skip
def test_a_version_never_goes_back(text: str | None, expected: str | None) -> None:
    """Between the one it has and the newest it knows."""
    assert sync_version_of(text, "2.0", "5.0") == expected


def test_a_name_no_ddf_has_is_shown_as_text() -> None:
    """A document may say more than this Windows knows; nobody can change it."""
    tree = enrolled(document={"Novelty": "1", "upn": "a@example.test"})
    assert value(tree, "Novelty") == (None, "1")
    assert run(tree, "Replace", "Novelty", "2").status == 405
    assert tree.windows.settings == {"Novelty": "1", "UPN": "a@example.test"}


def test_a_setting_is_there_since_the_release_that_brought_it() -> None:
    """1709 brought the days after which a device without contact leaves."""
    name = "NumberOfDaysAfterLostContactToUnenroll"
    assert run(enrolled("16299"), "Replace", name, "30", "int").status == 200
    assert run(enrolled("15063"), "Replace", name, "30", "int").status == 404


def test_each_setting_of_the_ddf_can_be_written_or_is_no_setting() -> None:
    """A leaf that servers write is known here, but for the version of the sessions; nothing else is."""
    below = f"./Device/Vendor/MSFT/DMClient/Provider/{PROVIDER}/"
    for node in DMCLIENT_TREE:
        if node.path.startswith(below):
            name = node.path.removeprefix(below)
            writable = node.format != "node" and bool(node.access & (Access.ADD | Access.REPLACE))
            known = setting_row(name.upper())
            assert (known == (name, node)) is (writable and name != "SyncApplicationVersion"), name


def test_a_channel_comes_with_the_name_of_the_server() -> None:
    """404 until Push/PFN is set, then the channel and status 0; without PFN there is none again."""
    tree = enrolled(push_channel=CHANNEL)
    assert run(tree, "Get", "Push/ChannelURI").status == 404
    assert value(tree, "Push/Status") == ("int", "4")
    run(tree, "Replace", "Push/PFN", "Contoso.Push_abc")
    assert value(tree, "Push/ChannelURI") == (None, CHANNEL)
    assert value(tree, "Push/Status") == ("int", "0")
    run(tree, "Delete", "Push/PFN")
    assert run(tree, "Get", "Push/ChannelURI").status == 404
    assert value(tree, "Push/Status") == ("int", "4")


def test_a_device_that_gets_no_channel_says_so() -> None:
    """Status 4: no channel, however often the server names itself."""
    tree = enrolled()
    run(tree, "Replace", "Push/PFN", "Contoso.Push_abc")
    assert run(tree, "Get", "Push/ChannelURI").status == 404
    assert value(tree, "Push/Status") == ("int", "4")


def test_unenroll_is_a_wish_until_it_is_told() -> None:
    """The settings are still there: the device has to say goodbye first."""
    tree = enrolled()
    before = tree.windows.state
    run(tree, "Exec", "Unenroll", "Contoso", "chr")
    assert tree.windows.state == replace(before, leaving=True)


def test_an_atomic_that_fails_takes_unenroll_back() -> None:
    """All or nothing: the wish is part of the state that is put back."""
    tree = enrolled()
    leave = Exec("2", (item("Unenroll", "Contoso", "chr"),))
    outcome = tree.execute(Atomic("1", (leave, Delete("3", (item("UPN"),)))), NOON)
    assert outcome.status == 507
    assert not tree.windows.state.leaving


def asked(tree: DeviceTree, *requests: Request) -> list[Answer]:
    """What the device answers to what the server side makes."""
    answers = []
    for request in requests:
        meta = Meta(format=request.format, type=request.type) if request.format else None
        command = VERBS[request.verb]("5", (Item(Location(request.loc_uri), data=request.data, meta=meta),))
        outcome = tree.execute(command, NOON)
        answers.append(Answer(request, int(outcome.status), outcome.items, outcome.original_error))
    return answers


def test_a_device_takes_the_schedule_that_the_server_makes() -> None:
    """All six numbers, which the device then polls by."""
    tree = enrolled()
    numbers = dict(zip(POLL_NODES, (2, 5, 3, 10, 0, 240), strict=True))
    assert taken(asked(tree, *poll_requests("Contoso", numbers)), "Contoso", numbers) == len(POLL_NODES)
    shown = {name: tree.windows.settings[f"Poll/{name}"] for name in POLL_NODES}
    assert shown == {name: str(number) for name, number in numbers.items()}


@pytest.mark.parametrize(("channel", "status"), [(CHANNEL, 0), (None, 4)])
def test_a_server_reads_the_channel_it_asked_for(channel: str | None, status: int) -> None:
    """Named, and then read in one session."""
    tree = enrolled() if channel is None else enrolled(push_channel=channel)
    answers = asked(tree, set_pfn("Contoso", "Contoso.Push_abc"), *push_queries("Contoso"))
    state = read_push(answers, "Contoso")
    assert (state.channel, state.status) == (channel, status)


@pytest.mark.parametrize("older", [False, True])
def test_both_forms_of_the_servers_unenroll_are_understood(*, older: bool) -> None:
    """With the name in the path or in the data."""
    tree = enrolled()
    asked(tree, unenrol("Contoso", older=older))
    assert tree.windows.state.leaving


def test_forgetting_leaves_an_unmanaged_windows() -> None:
    """Policies, approvals, settings and the version are gone; a new enrolment starts from its own document."""
    tree = enrolled()
    windows = tree.windows
    windows.set_policy("RequireUpdateApproval", "1", NOON)
    windows.approve("a" * 8 + "-0000-4000-8000-000000000000", "0", NOON)
    windows.leave()
    windows.forget_management(NOON)
    assert windows.state == Windows(lambda _: (), Habits()).state
    assert run(tree, "Get", "UPN").status == 404
    provision(windows, Build.parse("26100"), {"UPN": "b@example.test"})
    assert windows.settings == {"UPN": "b@example.test"}
