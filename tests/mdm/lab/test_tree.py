"""The management tree of a virtual device: what Windows answers to each command."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csp.classifications import DEFINITION_UPDATES, SECURITY_UPDATES
from csp.locuri import LocURI
from csp.plan import Desired, Reported, plan
from csp.policy import POLICIES, policy_uri, result_uri
from csp.queries import confirm_installed, state_queries
from csp.snapshot import UpdateList, UpdateSnapshot
from csp.sync_version import queries, raise_request, read
from csp.tree import UPDATE_TREE, Access
from mdm.lab.catalogue import OfferedUpdate
from mdm.lab.tree import DeviceTree
from mdm.lab.versions import Build
from mdm.lab.windows import REQUIRE_UPDATE_APPROVAL, Habits, Pace, Windows
from syncml.client import answer, begin, receive
from syncml.exchange import Answer, Request
from syncml.messages import (
    Add,
    Alert,
    Atomic,
    Copy,
    Delete,
    Exec,
    Get,
    Item,
    Location,
    Message,
    Meta,
    Replace,
    Sequence,
    Status,
    Unknown,
)

if TYPE_CHECKING:
    from syncml.client import Outcome
    from syncml.messages import Command

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
PACE = Pace(*[timedelta(hours=1)] * 4)
INSTALLED, PENDING, FAILED, FRESH = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "1abc")
UPDATE = "./Vendor/MSFT/Update"
CONFIG = "./Device/Vendor/MSFT/Policy/Config/Update"
PROVIDER = "./Vendor/MSFT/DMClient/Provider/CSPBridge"
VERSION = f"{PROVIDER}/SyncApplicationVersion"
VERBS = {"Add": Add, "Delete": Delete, "Exec": Exec, "Get": Get, "Replace": Replace}


def offer(update_id: str, *, reboot: bool = False) -> OfferedUpdate:
    """An update as a scan finds it."""
    return OfferedUpdate(
        update_id=update_id,
        revision_number=200,
        title="An update",
        kb=None,
        classification_id=SECURITY_UPDATES,
        eula_id=None,
        type=1,
        needs_reboot=reboot,
        supersedes=(),
    )


def device(build: str = "26100.4652", provider_id: str = "CSPBridge", **habits: bool) -> DeviceTree:
    """A device with one update in each list."""
    updates = [offer(INSTALLED), offer(PENDING, reboot=True), offer(FAILED), offer(FRESH)]
    windows = Windows(lambda _: updates, Habits(pace=PACE, failing={FAILED: 0x800F0922}, **habits))
    windows.set_policy(REQUIRE_UPDATE_APPROVAL, "1", NOON)
    windows.advance(NOON)
    for guid in (INSTALLED, PENDING, FAILED):
        windows.approve(guid, "2026-11-21T12:00:00Z", NOON)
    windows.hurry(NOON)
    facts = {"./DevInfo/Man": "Contoso", "./DevInfo/Mod": "Virtual", "./DevDetail/SwV": build}
    return DeviceTree(windows, Build.parse(build), facts, provider_id=provider_id)


def item(uri: str, data: str | None = None, format_: str | None = None) -> Item:
    """One Item of a command."""
    return Item(target=Location(uri), data=data, meta=Meta(format=format_) if format_ else None)


def run(
    tree: DeviceTree, verb: str, uri: str, data: str | None = None, format_: str | None = None
) -> Outcome:
    """Execute one command with one item."""
    return tree.execute(VERBS[verb](cmd_id="5", items=(item(uri, data, format_),)), NOON)


def shown(outcome: Outcome) -> list[tuple[str, str | None, str | None]]:
    """LocURI, Format and Data of each item of the Results."""
    return [
        (each.source.loc_uri if each.source else "", each.meta.format if each.meta else None, each.data)
        for each in outcome.items
    ]


CASES = [
    # Add
    ("Add", f"{UPDATE}/ApprovedUpdates/%7b{FRESH}%7d", "node", None, 200),
    ("Add", f"{UPDATE}/ApprovedUpdates/%7b{FRESH}%7d", None, None, 200),
    ("Add", f"./Device/Vendor/MSFT/Update/ApprovedUpdates/{FRESH.upper()}", None, None, 200),
    ("Add", f"{UPDATE}/ApprovedUpdates/{{{FRESH}}}", None, None, 200),
    ("Add", f"{UPDATE}/ApprovedUpdates/{DEFINITION_UPDATES}", "node", None, 200),
    ("Add", f"{UPDATE}/ApprovedUpdates/{FRESH}/ApprovedTime", "time", "2026-11-20T00:00:00Z", 200),
    ("Add", f"{UPDATE}/ApprovedUpdates/%7b{INSTALLED}%7d", "node", None, 418),
    ("Add", f"{UPDATE}/ApprovedUpdates/%7B{INSTALLED.upper()}%7D", None, None, 418),
    ("Add", f"{UPDATE}/ApprovedUpdates", "node", None, 418),
    ("Add", f"{UPDATE}/ApprovedUpdates/{INSTALLED}/ApprovedTime", "time", "0", 418),
    ("Add", f"{UPDATE}/ApprovedUpdates/{FRESH}", "int", "1", 415),
    ("Add", f"{UPDATE}/ApprovedUpdates/{FRESH}/ApprovedTime", "chr", "0", 415),
    ("Add", f"{UPDATE}/ApprovedUpdates/not-a-guid", "node", None, 404),
    ("Add", f"{UPDATE}/InstalledUpdates/{FRESH}", "node", None, 405),
    ("Add", f"{UPDATE}/Nonsense", None, None, 404),
    ("Add", f"{CONFIG}/AllowAutoUpdate", "int", "3", 200),
    ("Add", f"{CONFIG}/RequireUpdateApproval", "int", "1", 418),
    # Replace
    ("Replace", f"{UPDATE}/ApprovedUpdates/{INSTALLED}", "node", None, 405),
    ("Replace", f"{UPDATE}/LastSuccessfulScanTime", "time", "0", 405),
    ("Replace", f"{CONFIG}/RequireUpdateApproval", "int", "0", 200),
    ("Replace", "./Vendor/MSFT/Policy/Config/Update/allowautoupdate", "int", "3", 200),
    ("Replace", f"{CONFIG}/AllowAutoUpdate", None, "3", 415),
    ("Replace", f"{CONFIG}/AllowAutoUpdate", "chr", "3", 415),
    ("Replace", f"{CONFIG}/AllowAutoUpdate", "int", "99", 500),
    ("Replace", f"{CONFIG}/AllowAutoUpdate", "int", None, 500),
    ("Replace", f"{CONFIG}/PauseQualityUpdatesStartTime", None, "2026-11-21", 200),
    ("Replace", f"{CONFIG}/NoSuchPolicy", "int", "1", 405),
    ("Replace", "./Device/Vendor/MSFT/Policy/Result/Update/AllowAutoUpdate", "int", "3", 405),
    ("Replace", "./DevInfo/Man", None, "Fabrikam", 405),
    # Delete
    ("Delete", f"{CONFIG}/RequireUpdateApproval", None, None, 200),
    ("Delete", f"{CONFIG}/AllowAutoUpdate", None, None, 404),
    ("Delete", f"{UPDATE}/ApprovedUpdates", None, None, 405),
    ("Delete", f"{UPDATE}/ApprovedUpdates/{INSTALLED}", None, None, 405),
    ("Delete", f"{UPDATE}/ApprovedUpdates/{FRESH}", None, None, 404),
    ("Delete", UPDATE, None, None, 405),
    # Exec
    ("Exec", f"{UPDATE}/Rollback/QualityUpdate", "null", None, 200),
    ("Exec", f"{UPDATE}/Rollback/FeatureUpdate", "null", None, 200),
    ("Exec", f"{UPDATE}/Rollback", None, None, 405),
    ("Exec", "./Vendor/MSFT/Reboot/RebootNow", "null", None, 404),
    # Get
    ("Get", UPDATE, None, None, 200),
    ("Get", f"{UPDATE}/LastSuccessfulScanTime", None, None, 200),
    ("Get", f"{UPDATE}/Rollback/QualityUpdate", None, None, 405),
    ("Get", f"{UPDATE}/InstalledUpdates/{FRESH}", None, None, 404),
    ("Get", f"{UPDATE}/InstallableUpdates?list=Struct", None, None, 200),
    ("Get", f"{UPDATE}/InstallableUpdates?list=TNDS", None, None, 406),
    ("Get", f"{UPDATE}/InstallableUpdates?list=Everything", None, None, 406),
    ("Get", f"{UPDATE}/InstalledUpdates/{FRESH}?list=TNDS", None, None, 404),
    ("Get", f"{UPDATE}/InstalledUpdates/{FRESH}?list=Everything", None, None, 404),
    # properties
    ("Get", f"{UPDATE}/InstallableUpdates?prop=Name", None, None, 200),
    *(
        (("Get", f"{UPDATE}?prop={name}", None, None, 406))
        for name in ("ACL", "Size", "Title", "TStamp", "VerNo")
    ),
    ("Get", f"{UPDATE}?prop=format", None, None, 406),
    ("Get", f"{UPDATE}?prop=", None, None, 406),
    ("Get", f"{UPDATE}/Nonsense?prop=Name", None, None, 404),
    ("Get", f"{UPDATE}/InstalledUpdates/{FRESH}?prop=ACL", None, None, 404),
    ("Get", f"{CONFIG}/AllowAutoUpdate?prop=Format", None, None, 404),
    ("Get", f"{CONFIG}/NoSuchPolicy?prop=Format", None, None, 404),
    ("Get", f"{UPDATE}/Rollback/QualityUpdate?prop=Format", None, None, 405),
    ("Get", "./User/Vendor/MSFT/Update?prop=Name", None, None, 405),
    ("Replace", f"{CONFIG}/RequireUpdateApproval?prop=Name", None, "Other", 405),
    ("Replace", f"{CONFIG}/RequireUpdateApproval?prop=Format", None, "chr", 405),
    ("Add", f"{UPDATE}?prop=Type", None, "text/plain", 405),
    ("Delete", f"{CONFIG}/RequireUpdateApproval?prop=Name", None, None, 405),
    ("Replace", f"{UPDATE}?prop=ACL", None, "Get=*", 406),
    ("Replace", f"{UPDATE}?prop=Title", None, "Updates", 406),
    ("Replace", f"{UPDATE}?everything", None, "x", 406),
    ("Replace", f"{CONFIG}/AllowAutoUpdate?prop=Name", None, "Other", 404),
    ("Add", f"{UPDATE}/ApprovedUpdates/{FRESH}?prop=Name", None, None, 404),
    # the session's version
    ("Get", VERSION, None, None, 200),
    ("Get", f"{PROVIDER}/maxsyncapplicationversion", None, None, 200),
    ("Get", "./Device/Vendor/MSFT/DMClient?list=StructData", None, None, 200),
    ("Get", "./Vendor/MSFT/DMClient/Provider/Other/SyncApplicationVersion", None, None, 404),
    ("Get", f"{PROVIDER}/EntDMID", None, None, 404),
    ("Replace", VERSION, None, "3.0", 200),
    ("Replace", VERSION, "chr", "3", 200),
    ("Replace", VERSION, None, "1.0", 200),
    ("Replace", VERSION, None, "0.9", 500),
    ("Replace", VERSION, None, "5.1", 500),
    ("Replace", VERSION, None, "3.x", 500),
    ("Replace", VERSION, None, None, 500),
    ("Replace", VERSION, "int", "3", 415),
    ("Add", VERSION, None, "3.0", 418),
    ("Delete", VERSION, None, None, 405),
    ("Exec", VERSION, None, None, 405),
    ("Replace", f"{PROVIDER}/MaxSyncApplicationVersion", None, "9.0", 405),
    ("Replace", "./Vendor/MSFT/DMClient/Provider/Other/SyncApplicationVersion", None, "3.0", 404),
    ("Get", f"{CONFIG}/AllowAutoUpdate", None, None, 404),
    ("Get", f"{CONFIG}/NoSuchPolicy", None, None, 404),
    ("Get", "./Vendor/MSFT/Nothing", None, None, 404),
    ("Get", "./DevInfo/Man/Below", None, None, 404),
    ("Get", "./DevInfo", None, None, 200),
    # scope and addresses
    ("Get", "./User/Vendor/MSFT/Update", None, None, 405),
    ("Add", f"./User/Vendor/MSFT/Update/ApprovedUpdates/{FRESH}", None, None, 405),
    ("Get", "./User", None, None, 404),
    ("Add", f"{UPDATE}/ApprovedUpdates/{FRESH}?list=Struct", None, None, 405),
    ("Get", "Vendor/MSFT/Update", None, None, 400),
    ("Add", "", None, None, 400),
]


@pytest.mark.parametrize(("verb", "uri", "format_", "data", "status"), CASES)
def test_each_command_gets_windows_status(
    verb: str, uri: str, format_: str | None, data: str | None, status: int
) -> None:
    """The status of each verb on each kind of node, as the CSP pages and the DDF give it."""
    tree = device()
    before = tree.windows.state
    outcome = run(tree, verb, uri, data, format_)
    assert outcome.status == status
    if status >= 300 or verb == "Get":
        assert tree.windows.state is before
    if status >= 300:
        assert outcome.items == ()


@pytest.mark.parametrize("node", UPDATE_TREE, ids=lambda node: node.path)
def test_no_node_of_the_csp_takes_what_the_ddf_denies(node: object) -> None:
    """Every verb a node's AccessType lacks is answered 405, on the node that is there."""
    tree = device()
    path = node.path.replace("{guid}", INSTALLED)  # type: ignore[attr-defined]
    for name, guid in (("Failed", FAILED), ("Installable", FRESH), ("PendingReboot", PENDING)):
        if f"{name}Updates" in path:
            path = path.replace(INSTALLED, guid)
    path = path.replace(f"{FAILED}/Status", f"{FAILED}/State")
    for verb in VERBS:
        allowed = Access[verb.upper()] in node.access  # type: ignore[attr-defined]
        status = run(tree, verb, path, "0", "null").status
        if not allowed:
            assert status == 405, (verb, path)
        else:
            # ApprovedUpdates is permanent, so the Delete of its DDF has no effect.
            assert status == {"Get": 200, "Add": 418, "Exec": 200, "Delete": 405}[verb], (verb, path)


def test_an_approval_is_read_back_in_windows_form() -> None:
    """Whatever form the Add used, ApprovedUpdates shows lower case without braces, and when."""
    tree = device()
    assert run(tree, "Add", f"{UPDATE}/ApprovedUpdates/%7B{FRESH.upper()}%7D").status == 200
    (_, format_, names), *_ = shown(run(tree, "Get", f"{UPDATE}/ApprovedUpdates"))
    assert format_ == "node"
    assert names == "/".join(sorted([INSTALLED, PENDING, FAILED, FRESH]))
    uri = f"{UPDATE}/ApprovedUpdates/{FRESH}/ApprovedTime"
    assert shown(run(tree, "Get", uri)) == [(uri, "time", "2026-11-21T12:00:00Z")]


def test_adding_the_time_approves_too() -> None:
    """An Add below a missing node makes the node (implicit add), with the time it was given."""
    tree = device()
    run(tree, "Add", f"{UPDATE}/ApprovedUpdates/{FRESH}/ApprovedTime", "2026-11-20T00:00:00Z", "time")
    assert tree.windows.state.approved[FRESH] == "2026-11-20T00:00:00Z"
    run(tree, "Add", f"{UPDATE}/ApprovedUpdates/{DEFINITION_UPDATES}/ApprovedTime", None, "time")
    assert tree.windows.state.approved[DEFINITION_UPDATES] == "0"


def test_an_empty_list_is_there_and_empty() -> None:
    """An interior node without children answers 200 with empty Data, and in StructData with its own item only."""
    windows = Windows(lambda _: (), Habits())
    tree = DeviceTree(windows, Build(26100), {})
    uri = f"{UPDATE}/InstalledUpdates"
    assert shown(run(tree, "Get", uri)) == [(uri, "node", "")]
    assert shown(run(tree, "Get", f"{uri}?list=StructData")) == [(uri, "node", None)]
    assert shown(run(tree, "Get", f"{UPDATE}/LastSuccessfulScanTime"))[0][2] == "0"


def test_struct_data_is_the_subtree_in_pre_order() -> None:
    """The node first, then each child with its leaves: full LocURIs without the query, Meta unless chr."""
    uri = f"{UPDATE}/InstallableUpdates"
    answer = shown(run(device(), "Get", f"{uri}?list=StructData"))
    assert answer == [
        (uri, "node", None),
        (f"{uri}/{FAILED}", "node", None),
        (f"{uri}/{FAILED}/Type", "int", "1"),
        (f"{uri}/{FAILED}/RevisionNumber", "int", "200"),
        (f"{uri}/{FRESH}", "node", None),
        (f"{uri}/{FRESH}/Type", "int", "1"),
        (f"{uri}/{FRESH}/RevisionNumber", "int", "200"),
    ]
    plain = shown(run(device(), "Get", f"{uri}?list=Struct"))
    assert plain == [(at, format_, None) for at, format_, _ in answer]


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (f"./Device/Vendor/MSFT/Update/InstalledUpdates/%7B{INSTALLED.upper()}%7D/RevisionNumber",
         f"./Device/Vendor/MSFT/Update/InstalledUpdates/{INSTALLED}/RevisionNumber"),
        (f"./Vendor/MSFT/update/installedupdates/{INSTALLED}/RevisionNumber  ",
         f"./Vendor/MSFT/Update/InstalledUpdates/{INSTALLED}/RevisionNumber"),
    ],
)  # fmt: skip
def test_results_keep_the_prefix_of_the_request(asked: str, answered: str) -> None:
    """./Device stays if it was asked for; names come back as the tree writes them."""
    assert shown(run(device(), "Get", asked)) == [(answered, "int", "200")]


def test_failures_have_a_signed_hresult() -> None:
    """HResult has Format int: 32 bits with a sign; the state's leaf is called State on Windows 11."""
    uri = f"{UPDATE}/FailedUpdates"
    assert shown(run(device(), "Get", f"{uri}?list=StructData"))[1:] == [
        (f"{uri}/{FAILED}", "node", None),
        (f"{uri}/{FAILED}/HResult", "int", "-2146498270"),
        (f"{uri}/{FAILED}/State", "int", "256"),
        (f"{uri}/{FAILED}/RevisionNumber", "int", "200"),
    ]


def test_an_old_build_says_less() -> None:
    """Before 1703: no RevisionNumber but in InstallableUpdates, the leaf Status, no Rollback, fewer policies."""
    tree = device("14393.7606")
    answers = {
        name: [
            (uri.rpartition("/")[2], data)
            for uri, format_, data in shown(run(tree, "Get", f"{UPDATE}/{name}Updates?list=StructData"))
            if format_ != "node"
        ]
        for name in ("Failed", "Installed", "PendingReboot")
    }
    assert answers == {
        "Failed": [("HResult", "-2146498270"), ("Status", "256")],
        "Installed": [],
        "PendingReboot": [("InstalledTime", "2026-11-21T12:00:00Z")],
    }
    assert run(tree, "Get", f"{UPDATE}/InstalledUpdates/{INSTALLED}/RevisionNumber").status == 404
    assert run(tree, "Get", f"{UPDATE}/Rollback").status == 404
    assert run(tree, "Exec", f"{UPDATE}/Rollback/QualityUpdate").status == 404
    assert "Rollback" not in str(shown(run(tree, "Get", UPDATE)))
    late = f"{CONFIG}/ConfigureDeadlineForQualityUpdates"
    assert run(tree, "Replace", late, "2", "int").status == 405
    assert run(tree, "Replace", f"{CONFIG}/RequireUpdateApproval", "0", "int").status == 200


def test_policies_read_back_what_was_set_and_what_is_in_effect() -> None:
    """Config has what this enrolment set; Result has that or the default, on builds that know the policy."""
    tree = device()
    assert run(tree, "Replace", policy_uri("DeferFeatureUpdatesPeriodInDays"), "30", "int").status == 200
    assert shown(run(tree, "Get", CONFIG))[0][2] == "RequireUpdateApproval/DeferFeatureUpdatesPeriodInDays"
    assert shown(run(tree, "Get", result_uri("DeferFeatureUpdatesPeriodInDays"))) == [
        (result_uri("DeferFeatureUpdatesPeriodInDays"), "int", "30")
    ]
    assert shown(run(tree, "Get", result_uri("ActiveHoursStart")))[0][2] == "8"
    assert run(tree, "Get", result_uri("TargetReleaseVersion")).status == 404
    assert shown(run(tree, "Get", f"{UPDATE}/DeferUpgrade"))[0][1:] == ("bool", "true")
    assert run(tree, "Delete", policy_uri("DeferFeatureUpdatesPeriodInDays")).status == 200
    assert shown(run(tree, "Get", f"{UPDATE}/DeferUpgrade"))[0][1:] == ("bool", "false")


def test_a_rollback_leaves_its_result() -> None:
    """Exec is accepted whatever comes of it; the Status leaf tells, and is empty before."""
    tree = device()
    status = f"{UPDATE}/Rollback/QualityUpdateStatus"
    assert shown(run(tree, "Get", status)) == [(status, None, None)]
    run(tree, "Exec", f"{UPDATE}/Rollback/QualityUpdate", format_="null")
    assert "not paused" in str(shown(run(tree, "Get", status))[0][2])
    actions = shown(run(tree, "Get", f"{UPDATE}/Rollback?list=StructData"))
    assert (f"{UPDATE}/Rollback/QualityUpdate", "null", None) in actions


def test_facts_are_read_only_leaves() -> None:
    """DevInfo and DevDetail answer Gets, in any case of their names."""
    tree = device()
    assert shown(run(tree, "Get", "./devinfo/MAN")) == [("./DevInfo/Man", None, "Contoso")]
    assert shown(run(tree, "Get", "./DevInfo"))[0][2] == "Man/Mod"
    assert run(tree, "Add", "./DevInfo/Man", "x").status == 405


def approve(cmd_id: str, guid: str) -> Add:
    """The Add that approves."""
    return Add(cmd_id=cmd_id, items=(item(f"{UPDATE}/ApprovedUpdates/{guid}"),))


def policy(cmd_id: str, name: str, value: str) -> Replace:
    """The Replace that sets a policy, its Format once for the command."""
    return Replace(cmd_id=cmd_id, items=(item(f"{CONFIG}/{name}", value),), meta=Meta(format="int"))


def statuses(outcome: Outcome) -> list[int]:
    """The status of a group and those inside it."""
    return [int(outcome.status), *(int(inner.status) for inner in outcome.inner)]


def test_an_atomic_takes_effect_as_a_whole() -> None:
    """All commands succeed: 200 for each, and all has happened."""
    tree = device()
    atomic = Atomic("1", (policy("2", "AllowAutoUpdate", "3"), approve("3", FRESH)))
    assert statuses(tree.execute(atomic, NOON)) == [200, 200, 200]
    assert tree.windows.state.policies["AllowAutoUpdate"] == "3"
    assert FRESH in tree.windows.state.approved


get = Get("3", (item(UPDATE),))


@pytest.mark.parametrize(
    ("failing", "inner"),
    [
        (policy("3", "NoSuchPolicy", "1"), 405),
        (approve("3", INSTALLED), 418),
        (get, 500),
        (Alert("3", "1100"), 500),
        (Unknown("Move", "3"), 400),
        (Atomic("3", (approve("4", FRESH),)), 500),
        (Sequence("3", (approve("4", FRESH),)), 500),
        (approve("", FRESH), 400),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_atomic_is_undone_by_one_failure(failing: Command, inner: int) -> None:
    """The failed command keeps its status, those before it get 216, those after it 215, the Atomic 507."""
    tree = device()
    before = tree.windows.state
    group = Sequence("6", (approve("7", DEFINITION_UPDATES),))
    atomic = Atomic("1", (policy("2", "AllowAutoUpdate", "3"), failing, approve("5", FRESH), group))
    outcome = tree.execute(atomic, NOON)
    assert statuses(outcome) == [507, 216, inner, 215, 215]
    assert [int(each.status) for each in outcome.inner[3].inner] == [215]
    inside = failing.commands if isinstance(failing, (Atomic, Sequence)) else ()
    assert [int(each.status) for each in outcome.inner[1].inner] == [215] * len(inside)
    assert tree.windows.state is before


def test_an_atomic_that_cannot_be_undone_stays() -> None:
    """Where undoing fails, what was done is answered 516 and stays; what was not reached did not happen."""
    tree = device(undoes_atomics=False)
    atomic = Atomic(
        "1", (approve("2", FRESH), policy("3", "NoSuchPolicy", "1"), policy("4", "AllowAutoUpdate", "3"))
    )
    assert statuses(tree.execute(atomic, NOON)) == [507, 516, 405, 215]
    assert FRESH in tree.windows.state.approved
    assert "AllowAutoUpdate" not in tree.windows.state.policies


def test_an_atomic_does_not_replace_what_it_added() -> None:
    """A Replace of a node that the same Atomic added is 500, whatever form its address has."""
    tree = device()
    before = tree.windows.state
    added = Add("2", (item(f"{CONFIG}/AllowAutoUpdate", "3", "int"),))
    again = Replace("3", (item("./Vendor/MSFT/Policy/Config/Update/allowautoupdate", "4", "int"),))
    assert statuses(tree.execute(Atomic("1", (added, again)), NOON)) == [507, 216, 500]
    assert tree.windows.state is before
    other = policy("3", "ScheduledInstallDay", "1")
    assert statuses(tree.execute(Atomic("1", (added, other)), NOON)) == [200, 200, 200]


def test_a_sequence_goes_on_in_order() -> None:
    """A Sequence is 200 once begun; each command has its own status and a Get its own items."""
    outcome = device().execute(Sequence("1", (approve("2", FRESH), approve("3", FRESH), get)), NOON)
    assert statuses(outcome) == [200, 200, 418, 200]
    assert outcome.inner[2].items


def test_a_sequence_ends_at_a_question_nobody_answers() -> None:
    """Nobody confirms an alert of the server, so what it was to allow is not executed, groups with all in them."""
    tree = device()
    group = Atomic("5", (approve("6", FRESH),))
    outcome = tree.execute(Sequence("1", (Alert("2", "1101"), approve("3", FRESH), group)), NOON)
    assert statuses(outcome) == [200, 406, 215, 215]
    assert statuses(outcome.inner[2]) == [215, 215]
    assert FRESH not in tree.windows.state.approved


def test_a_sequence_may_end_at_any_failure() -> None:
    """Devices differ in whether they go on after a failure; the habit has both."""
    sequence = Sequence("1", (approve("2", INSTALLED), approve("3", FRESH)))
    assert statuses(device().execute(sequence, NOON)) == [200, 418, 200]
    assert statuses(device(stops_sequences=True).execute(sequence, NOON)) == [200, 418, 215]


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (Unknown("Move", "4"), 400),
        (Unknown("Move"), 400),
        (Get("", (item(UPDATE),)), 400),
        (Get("4", ()), 400),
        (Get("4", (Item(),)), 400),
        (Copy("4", (item(UPDATE),)), 406),
        (Alert("4", "1100"), 406),
    ],
)
def test_what_is_no_command_is_refused(command: Command, status: int) -> None:
    """A missing CmdID, item, target or known name is 400; what Windows does not do is 406."""
    assert device().execute(command, NOON).status == status


def test_a_missing_end_of_data_is_noted() -> None:
    """Alert 1225 asks no user anything: it is taken note of."""
    assert device().execute(Alert("4", "1225"), NOON).status == 200


def test_a_group_without_cmd_id_is_not_begun() -> None:
    """A group that cannot be answered is refused, and what is in it is not executed."""
    tree = device()
    outcome = tree.execute(Atomic("", (approve("2", FRESH),)), NOON)
    assert statuses(outcome) == [400, 215]
    assert FRESH not in tree.windows.state.approved


def test_items_that_differ_have_a_status_each() -> None:
    """Each item is told by the address it was asked with; a Get still brings what it found."""
    tree = device()
    uris = (f"{UPDATE}/LastSuccessfulScanTime", f"{UPDATE}/Nonsense", "./DevInfo/Man")
    outcome = tree.execute(Get("4", tuple(map(item, uris))), NOON)
    assert outcome.status == 404
    assert outcome.items_status == ((uris[0], 200, None), (uris[1], 404, None), (uris[2], 200, None))
    assert [at for at, *_ in shown(outcome)] == [uris[0], uris[2]]


@pytest.mark.parametrize(("uri", "status"), [(UPDATE, 200), (f"{UPDATE}/Nonsense", 404)])
def test_items_that_agree_share_one_status(uri: str, status: int) -> None:
    """Where all items came to the same, one Status says it."""
    outcome = device().execute(Get("4", (item(uri), item(f"{uri}?list=Struct"))), NOON)
    assert (outcome.status, outcome.items_status) == (status, ())


def test_items_are_told_one_by_one_in_the_message() -> None:
    """The client writes one Status with a TargetRef for each item."""
    uris = ("./DevInfo/Man", f"{UPDATE}/Nonsense")
    command = Get("4", tuple(map(item, uris)))
    message = answered(device(), command)
    found = [status for status in message.commands if isinstance(status, Status) and status.cmd_ref == "4"]
    assert [(status.target_refs, status.data) for status in found] == [
        ((uris[0],), "200"),
        ((uris[1],), "404"),
    ]


@pytest.mark.parametrize(("undoes", "status"), [(True, 216), (False, 516)])
def test_items_that_were_done_in_a_failed_atomic_are_undone(undoes: bool, status: int) -> None:  # noqa: FBT001 - a parameter of the table
    """An item that had succeeded is undone with the rest, and says so beside the one that failed."""
    tree = device(undoes_atomics=undoes)
    uris = (f"{CONFIG}/AllowAutoUpdate", f"{CONFIG}/NoSuchPolicy")
    both = Replace("2", tuple(item(uri, "3", "int") for uri in uris))
    outcome = tree.execute(Atomic("1", (both,)), NOON)
    assert statuses(outcome) == [507, 405]
    assert outcome.inner[0].items_status == ((uris[0], status, None), (uris[1], 405, None))
    assert ("AllowAutoUpdate" in tree.windows.state.policies) is not undoes


UPDATE_TYPE = "com.microsoft/1.1/MDM/Update"


@pytest.mark.parametrize(
    ("uri", "name", "format_", "type_"),
    [
        (UPDATE, "Update", "node", UPDATE_TYPE),
        ("./Device/vendor/msft/update", "Update", "node", UPDATE_TYPE),
        (f"{UPDATE}/InstalledUpdates", "InstalledUpdates", "node", None),
        (f"{UPDATE}/InstalledUpdates/%7b{INSTALLED.upper()}%7d", INSTALLED, "node", None),
        (f"{UPDATE}/InstallableUpdates/{FRESH}/Type", "Type", "int", "text/plain"),
        (f"{UPDATE}/LastSuccessfulScanTime", "LastSuccessfulScanTime", "time", "text/plain"),
        (f"{CONFIG}/RequireUpdateApproval", "RequireUpdateApproval", "int", "text/plain"),
        ("./Vendor/MSFT", "MSFT", "node", None),
        ("./DevInfo/man", "Man", "chr", "text/plain"),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_properties_tell_name_format_and_type(
    uri: str,
    name: str,
    format_: str,
    type_: str | None,
    named: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    """A property is one Item of text without Meta, whose Source has the suffix or, by habit, has it not."""
    tree = device(names_properties=named)
    for prop, value in (("Name", name), ("Format", format_), ("Type", type_)):
        (result,) = run(tree, "Get", f"{uri}?prop={prop}").items
        assert (result.data, result.meta) == (value, None)
        assert result.source is not None
        at = LocURI.parse(result.source.loc_uri)
        assert at.prop == (prop if named else None)
        assert at.without_query().canonical().segments[-1] == name


def test_a_property_does_not_tell_what_is_in_a_leaf() -> None:
    """The value of the node itself is in no property."""
    results = [
        run(device(), "Get", f"./DevInfo/Man?prop={prop}").items for prop in ("Name", "Format", "Type")
    ]
    assert "Contoso" not in [result.data for (result,) in results]


@pytest.mark.parametrize(
    ("build", "most"),
    [("10240", "2.0"), ("17763", "2.0"), ("18362", "3.0"), ("19045", "3.0"), ("26100", "5.0")],
)
def test_the_newest_version_is_that_of_the_build(build: str, most: str) -> None:
    """Windows before 1903 knows nothing above 2.0 and refuses it."""
    tree = device(build)
    assert shown(run(tree, "Get", f"{PROVIDER}/MaxSyncApplicationVersion"))[0][1:] == (None, most)
    assert run(tree, "Replace", VERSION, "3.0").status == (500 if most == "2.0" else 200)


def test_the_version_does_not_go_back() -> None:
    """Once raised it stays, as the DMClient CSP says."""
    tree = device()
    assert shown(run(tree, "Get", VERSION))[0][2] == "1.0"
    assert run(tree, "Replace", VERSION, "3").status == 200
    assert run(tree, "Replace", VERSION, "2.0").status == 500
    assert shown(run(tree, "Get", VERSION))[0][2] == "3.0"


def test_the_server_is_found_by_its_name() -> None:
    """The ProviderID of the enrolment is the node's name, whatever characters it has."""
    tree = device(provider_id="Contoso {MDM}")
    assert (
        run(tree, "Get", "./Vendor/MSFT/DMClient/Provider/contoso%20%7bmdm%7d/SyncApplicationVersion").status
        == 200
    )
    assert run(tree, "Get", VERSION).status == 404


def test_the_bridge_raises_the_version_once() -> None:
    """Asked, raised and asked again: after the Replace there is nothing left to raise."""
    tree = device()
    before = read([ask(tree, query) for query in queries("CSPBridge")], "CSPBridge")
    request = raise_request("CSPBridge", before.current, before.ceiling)
    assert request is not None
    assert ask(tree, request).status == 200
    after = read([ask(tree, query) for query in queries("CSPBridge")], "CSPBridge")
    assert (before.current, after.current, after.ceiling) == ("1.0", "3.0", "5.0")
    assert raise_request("CSPBridge", after.current, after.ceiling) is None


ERRORS = [
    (Get("3", (item(f"{UPDATE}/Nonsense"),)), 404, "0x86000002"),
    (policy("3", "NoSuchPolicy", "1"), 405, "0x86000011"),
    (Get("3", (item(f"{UPDATE}?prop=ACL"),)), 406, "0x86000013"),
    (Replace("3", (item(f"{CONFIG}/AllowAutoUpdate", "3"),)), 415, "0x86000001"),
    (policy("3", "AllowAutoUpdate", "99"), 500, "0x80070057"),
    (approve("3", INSTALLED), 418, None),
    (approve("3", FRESH), 200, None),
    (Get("3", ()), 400, None),
]


@pytest.mark.parametrize(("command", "status", "error"), ERRORS)
def test_failures_tell_their_hresult_from_the_next_session_on(
    command: Command, status: int, error: str | None
) -> None:
    """A status carries the error behind it once a session has begun with version 3.0, and not before."""
    tree = device()
    run(tree, "Replace", VERSION, "3.0")
    kept = tree.windows.state
    assert tree.execute(command, NOON).original_error is None
    tree.windows.state = kept
    tree.begin_session()
    outcome = tree.execute(command, NOON)
    assert (outcome.status, outcome.original_error) == (status, error)


def test_a_device_that_restarts_still_tells_errors() -> None:
    """The version is part of what a device remembers."""
    tree = device()
    run(tree, "Replace", VERSION, "3.0")
    again = DeviceTree(tree.windows, Build.parse("26100.4652"), {})
    assert run(again, "Get", f"{UPDATE}/Nonsense").original_error == "0x86000002"


def test_an_older_version_tells_no_errors() -> None:
    """With 2.0, all that a Windows before 1903 knows, a status stays a bare number."""
    tree = device("17763")
    assert run(tree, "Replace", VERSION, "2.0").status == 200
    tree.begin_session()
    assert run(tree, "Get", f"{UPDATE}/Nonsense").original_error is None


@pytest.mark.parametrize(("undoes", "undone"), [(True, (216, None)), (False, (516, "0x86000009"))])
def test_errors_in_an_atomic_stand_where_they_happened(undoes: bool, undone: tuple[int, str | None]) -> None:  # noqa: FBT001 - a parameter of the table
    """The command that failed tells why, the Atomic that something did; what was undone or not reached did not fail."""
    tree = device(undoes_atomics=undoes)
    run(tree, "Replace", VERSION, "3.0")
    tree.begin_session()
    outcome = tree.execute(Atomic("1", (approve("2", FRESH), get, approve("4", INSTALLED))), NOON)
    assert outcome.original_error == "0x86000005"
    assert [(each.status, each.original_error) for each in outcome.inner] == [
        undone,
        (500, "0x86000003"),
        (215, None),
    ]


def test_errors_of_items_stand_with_their_item() -> None:
    """Where items differ, each has its own error."""
    tree = device()
    run(tree, "Replace", VERSION, "3.0")
    tree.begin_session()
    outcome = tree.execute(Get("4", (item("./DevInfo/Man"), item("./DevInfo/Nobody"))), NOON)
    assert outcome.items_status == (("./DevInfo/Man", 200, None), ("./DevInfo/Nobody", 404, "0x86000002"))


def answered(tree: DeviceTree, *commands: Command) -> Message:
    """The message in which a device tells a server what came of its commands."""
    opening, state = begin(
        session_id="1", device_id="DEV1", server_uri="https://mdm.example.test/omadm", device_info={}
    )
    header = replace(opening.header, target=opening.header.source, source=opening.header.target)
    ok = Status(cmd_id="1", msg_ref="1", cmd_ref="0", cmd="SyncHdr", data="200")
    turn = receive(state, Message(header=header, commands=(ok, *commands), final=True))
    return answer(turn, [tree.execute(command, NOON) for command in turn.commands])[0]


def ask(tree: DeviceTree, request: Request) -> Answer:
    """What the device answers to a request of the bridge."""
    command = VERBS[request.verb](cmd_id="1", items=(item(request.loc_uri, request.data, request.format),))
    outcome = tree.execute(command, NOON)
    return Answer(request, int(outcome.status), outcome.items)


@pytest.mark.parametrize("build", ["26100.4652", "19045.5000", "14393.7606"])
def test_the_bridge_reads_the_tree_as_it_is(build: str) -> None:
    """The bridge's own queries, answered by the tree, give back exactly the device's lists."""
    tree = device(build)
    snapshot = UpdateSnapshot.from_answers(ask(tree, request) for request in state_queries(installed=True))
    assert snapshot.problems == ()
    assert {kind: set(entries) for kind, entries in snapshot.lists.items()} == {
        UpdateList.INSTALLABLE: {FAILED, FRESH},
        UpdateList.INSTALLED: {INSTALLED},
        UpdateList.FAILED: {FAILED},
        UpdateList.PENDING_REBOOT: {PENDING},
        UpdateList.APPROVED: {INSTALLED, PENDING, FAILED},
    }
    failed = snapshot.lists[UpdateList.FAILED][FAILED]
    assert (failed.hresult, failed.failure_state) == (0x800F0922, 256)
    single = UpdateSnapshot.from_answers(ask(tree, confirm_installed(guid)) for guid in (INSTALLED, FRESH))
    assert single.nodes[UpdateList.INSTALLED, INSTALLED] is not None
    assert single.nodes[UpdateList.INSTALLED, FRESH] is None


def test_the_bridges_plan_is_taken_as_it_is() -> None:
    """Every command of a plan is done by the device, and the next plan is empty."""
    tree = device()
    desired = Desired(
        updates=frozenset({FRESH}),
        classifications=frozenset({DEFINITION_UPDATES}),
        policies={"RequireUpdateApproval": "1", "PauseFeatureUpdatesStartTime": "2026-11-21"},
    )
    requests = plan(desired, Reported(installable=frozenset({FRESH})))
    assert [ask(tree, request).status for request in requests] == [200] * 4
    state = tree.windows.state
    again = Reported(
        installable=frozenset({FRESH}), approved=frozenset(state.approved), policies=state.policies
    )
    assert plan(desired, again) == ()


NAMES = (
    "a Device User Vendor MSFT Update Policy Config Result ApprovedUpdates AllowAutoUpdate Rollback "
    f"QualityUpdate DMClient Provider CSPBridge SyncApplicationVersion ?list=StructData ?prop=Name ?prop=ACL {{}} % ü "
    f"{FRESH} {INSTALLED}"
).split()
names = st.sampled_from(NAMES)


@given(
    verb=st.sampled_from(sorted(VERBS)),
    path=st.lists(names, max_size=7),
    data=st.none() | st.text(max_size=5),
    format_=st.none() | st.sampled_from(["int", "node", "chr", "time", "null"]),
)
def test_nothing_a_server_sends_breaks_the_tree(
    verb: str, path: list[str], data: str | None, format_: str | None
) -> None:
    """Any verb on any address gets a status, and Results name addresses below the one asked for."""
    uri = "./" + "/".join(path)
    outcome = run(device(), verb, uri, data, format_)
    assert 200 <= outcome.status < 600
    for at, _, _ in shown(outcome):
        base = LocURI.parse(uri).without_query()
        assert len(LocURI.parse(at).segments) >= len(base.segments)


def test_every_policy_can_be_set_on_the_newest_build() -> None:
    """Each released policy of the table is known to the newest build and takes its default, where it has one."""
    tree = device("26200.9999")
    for name, each in POLICIES.items():
        if each.default is not None and name != "UpdateServiceUrl" and each.since != "unreleased":
            assert run(tree, "Replace", policy_uri(name), each.default, each.format).status == 200, name
