"""The check-in: what a device is asked, what it is told, and what is remembered."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from sqlalchemy import event
from structlog.testing import capture_logs

from csp.snapshot import UpdateEntry, UpdateList, UpdateSnapshot
from mdm.checkin import device_state
from mdm.checkin.device_state import MAX_CHANGES, apply_snapshot
from mdm.checkin.memory import MAX_ASKED_AGAIN
from mdm.checkin.service import CheckIn
from mdm.devices.timeline import list_timeline
from mdm.errors import Unavailable
from syncml import client
from syncml.client import Outcome, Verdict
from syncml.errors import MalformedMessage
from syncml.messages import Alert, Get, Item, Location, Meta, Status
from syncml.reader import read_message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Bench, ScriptedDevice
    from sqlalchemy import Connection

    from syncml.messages import Message

A = "a317dafe-baf4-453f-b232-a7075efae36e"
B = "b317dafe-baf4-453f-b232-a7075efae36e"
C = "c317dafe-baf4-453f-b232-a7075efae36e"
DEFENDER = "e0789628-ce08-4437-be74-2495b842f43b"
EULA = "eeeeeeee-0000-4000-8000-000000000001"
POLICY = "./Device/Vendor/MSFT/Policy/Config/Update/RequireUpdateApproval"
READ_POLICY = "Get ./Device/Vendor/MSFT/Policy/Result/Update/RequireUpdateApproval"
QUERIES = [
    "Get ./Vendor/MSFT/Update/InstallableUpdates?list=StructData",
    "Get ./Vendor/MSFT/Update/FailedUpdates?list=StructData",
    "Get ./Vendor/MSFT/Update/PendingRebootUpdates?list=StructData",
    "Get ./Vendor/MSFT/Update/ApprovedUpdates?list=StructData",
    "Get ./Vendor/MSFT/Update/LastSuccessfulScanTime",
]
INSTALLED = "Get ./Vendor/MSFT/Update/InstalledUpdates?list=StructData"
IDENTITY = [
    "Get ./DevDetail/SwV",
    "Get ./DevDetail/Ext/Microsoft/OSPlatform",
    "Get ./DevDetail/Ext/Microsoft/DNSComputerName",
    "Get ./DevDetail/Ext/Microsoft/SMBIOSSerialNumber",
]
FIRST = 6 + len(IDENTITY)
"""Questions of a first session."""


def add(guid: str) -> str:
    """The command that approves a GUID."""
    return f"Add ./Vendor/MSFT/Update/ApprovedUpdates/%7b{guid}%7d"


def states(bench: Bench) -> dict[str, str]:
    """UpdateID to state, of all devices."""
    return {row["update_id"]: row["state"] for row in bench.rows("device_update")}


def test_first_session_reads_the_whole_tree(bench: Bench) -> None:
    """Each list is asked with its own Get, InstalledUpdates last of them, and the answers become rows."""
    device = bench.enrol()
    device.installable = {A: (1, 200)}
    device.failed = {B: (-2147023504, 256, 101)}
    device.installed = {C: 100}
    assert device.check_in() is Verdict.END
    assert device.asked == [*QUERIES, INSTALLED, *IDENTITY]
    assert states(bench) == {A: "installable", B: "failed", C: "installed"}
    failed = next(row for row in bench.rows("device_update") if row["update_id"] == B)
    assert (failed["hresult"], failed["failure_state"], failed["revision_number"]) == (0x80070570, 256, 101)
    (row,) = bench.rows("device")
    assert row["manufacturer"] == "Contoso"
    assert row["login_status"] == "user"
    assert row["last_scan_time"] == "2026-11-21T08:00:00Z"
    assert row["state_read_at"] is not None
    assert row["installed_read_at"] is not None


def test_what_devices_report_is_needed(bench: Bench) -> None:
    """Every reported revision without metadata waits for the next sync, once."""
    device = bench.enrol()
    device.installable = {A: (1, 200)}
    device.check_in()
    device.check_in()
    assert [(r["update_id"], r["revision_number"], r["state"]) for r in bench.rows("needed_revision")] == [
        (A, 200, "queued")
    ]


def test_installed_updates_are_read_at_most_daily(sqlite_bench: Bench) -> None:
    """The second session leaves InstalledUpdates out; a day later it is asked again."""
    device = sqlite_bench.enrol()
    device.check_in()
    device.asked.clear()
    device.check_in()
    assert INSTALLED not in device.asked
    sqlite_bench.now += timedelta(hours=25)
    device.check_in()
    assert INSTALLED in device.asked


def test_approved_and_applicable_is_delivered_once(bench: Bench) -> None:
    """An approved, applicable update gets the policy and one Add; the next session reads the policy back, and then there is nothing."""
    device = bench.enrol()
    device.installable = {A: (1, 200), B: (0, 100)}
    bench.catalogue(A)
    bench.catalogue(B)
    bench.approve(A)
    device.check_in()
    assert device.asked[FIRST:] == [f"Replace {POLICY}", add(A)]
    assert device.approved == [A]
    device.asked.clear()
    device.check_in()
    assert device.asked == [*QUERIES, READ_POLICY]
    device.asked.clear()
    device.check_in()
    assert device.asked == QUERIES


def test_not_applicable_is_not_delivered(sqlite_bench: Bench) -> None:
    """An update that no scan of the device offered is not approved there; only the policy goes."""
    device = sqlite_bench.enrol()
    sqlite_bench.catalogue(A)
    sqlite_bench.approve(A)
    device.check_in()
    assert device.approved == []


def test_classification_goes_as_its_guid(bench: Bench) -> None:
    """A classification approval is one Add of the classification's GUID, whatever is installable."""
    device = bench.enrol()
    bench.approve(DEFENDER, "classification")
    device.check_in()
    assert device.asked[FIRST:] == [f"Replace {POLICY}", add(DEFENDER)]
    device.asked.clear()
    device.check_in()
    assert device.asked == [*QUERIES, READ_POLICY]
    device.asked.clear()
    device.check_in()
    assert device.asked == QUERIES


def test_unknown_metadata_holds_an_approval(bench: Bench) -> None:
    """Without metadata nobody knows of a EULA: nothing is sent until it is stored, unless explicitly allowed."""
    device = bench.enrol()
    device.installable = {A: (1, 200), B: (1, 200)}
    bench.approve(A)
    bench.approve(B, allow_without_metadata=True)
    device.check_in()
    assert device.approved == [B]
    bench.catalogue(A)
    device.check_in()
    assert device.approved == [B, A]


def test_unaccepted_eula_holds_an_approval(bench: Bench) -> None:
    """Approving accepts the EULA, so nothing goes out before somebody has."""
    device = bench.enrol()
    device.installable = {A: (1, 200)}
    bench.add("eula", id=EULA, first_seen_at=bench.now)
    bench.catalogue(A, eula_id=EULA)
    bench.approve(A)
    device.check_in()
    assert device.approved == []
    bench.add(
        "eula_acceptance",
        id="acceptance",
        eula_id=EULA,
        locale="en",
        text_sha256="0" * 64,
        accepted_by="test",
        accepted_at=bench.now,
    )
    device.check_in()
    assert device.approved == [A]


def test_classification_with_an_open_eula_is_held(sqlite_bench: Bench) -> None:
    """A classification's GUID would accept every EULA in it."""
    device = sqlite_bench.enrol()
    sqlite_bench.add("eula", id=EULA, first_seen_at=sqlite_bench.now)
    sqlite_bench.catalogue(A, eula_id=EULA, classification_id=DEFENDER)
    sqlite_bench.approve(DEFENDER, "classification")
    device.check_in()
    assert device.approved == []


def test_expired_update_is_held(sqlite_bench: Bench) -> None:
    """What Microsoft has withdrawn is not delivered."""
    device = sqlite_bench.enrol()
    device.installable = {A: (1, 200)}
    sqlite_bench.catalogue(A, publication_state="Expired")
    sqlite_bench.approve(A)
    device.check_in()
    assert device.approved == []


def test_revoked_approval_is_not_delivered(sqlite_bench: Bench) -> None:
    """A revoked approval is no intent any more."""
    device = sqlite_bench.enrol()
    device.installable = {A: (1, 200)}
    sqlite_bench.catalogue(A)
    sqlite_bench.approve(A, revoked_at=sqlite_bench.now)
    device.check_in()
    assert device.approved == []


def test_already_approved_on_the_device_is_done(sqlite_bench: Bench) -> None:
    """418 on an Add is success: the approval counts as delivered."""
    device = sqlite_bench.enrol()
    device.installable = {A: (1, 200)}
    device.answers["./Vendor/MSFT/Update/ApprovedUpdates?list=StructData"] = Outcome(500)
    device.approved = [A]
    sqlite_bench.catalogue(A)
    sqlite_bench.approve(A)
    device.check_in()
    (row,) = sqlite_bench.rows("device_update")
    assert row["lists"] & 16
    assert row["approve_status"] is None


def test_refused_approval_is_remembered_and_not_repeated_in_the_session(sqlite_bench: Bench) -> None:
    """An Add the device refuses is tried once a session, and its status and HRESULT are kept."""
    device = sqlite_bench.enrol()
    device.installable = {A: (1, 200)}
    uri = add(A).removeprefix("Add ")
    device.answers[uri] = Outcome(500, original_error="0x86000002")
    sqlite_bench.catalogue(A)
    sqlite_bench.approve(A)
    device.check_in()
    assert device.asked.count(add(A)) == 1
    (row,) = sqlite_bench.rows("device_update")
    assert (row["approve_status"], row["approve_error"]) == (500, "0x86000002")
    del device.answers[uri]
    device.check_in()
    (row,) = sqlite_bench.rows("device_update")
    assert row["approve_status"] is None
    assert device.approved == [A]


def test_refused_classification_leaves_a_row_with_its_status(sqlite_bench: Bench) -> None:
    """A refusal is kept although the device never named the GUID."""
    device = sqlite_bench.enrol()
    device.answers[add(DEFENDER).removeprefix("Add ")] = Outcome(425)
    sqlite_bench.approve(DEFENDER, "classification")
    device.check_in()
    (row,) = sqlite_bench.rows("device_update")
    assert (row["update_id"], row["lists"], row["approve_status"]) == (DEFENDER, 0, 425)


@pytest.mark.parametrize("status", [404, 405, 406])
def test_unsupported_policy_is_remembered(sqlite_bench: Bench, status: int) -> None:
    """A device that does not know RequireUpdateApproval is not asked again; approvals still go."""
    device = sqlite_bench.enrol()
    device.answers[POLICY] = Outcome(status)
    device.installable = {A: (1, 200)}
    sqlite_bench.catalogue(A)
    sqlite_bench.approve(A)
    device.check_in()
    device.check_in()
    assert device.asked.count(f"Replace {POLICY}") == 1
    (row,) = sqlite_bench.rows("device_policy")
    assert (row["name"], row["status"], row["status_code"]) == (
        "RequireUpdateApproval",
        "unsupported",
        status,
    )
    assert device.approved == [A]


def test_failed_policy_is_tried_again_and_a_set_one_read_back_daily(sqlite_bench: Bench) -> None:
    """500 is no verdict: the next session tries again; what was accepted is read, and not written, daily."""
    device = sqlite_bench.enrol()
    device.answers[POLICY] = Outcome(500)
    device.installable = {A: (1, 200)}
    sqlite_bench.catalogue(A)
    sqlite_bench.approve(A)
    device.check_in()
    assert sqlite_bench.rows("device_policy")[0]["status"] == "failed"
    device.answers.clear()
    device.check_in()
    assert sqlite_bench.rows("device_policy")[0]["status"] == "set"
    device.check_in()
    assert device.asked.count(f"Replace {POLICY}") == 2
    assert device.asked.count(READ_POLICY) == 1
    sqlite_bench.now += timedelta(hours=25)
    device.check_in()
    assert device.asked.count(f"Replace {POLICY}") == 2
    assert device.asked.count(READ_POLICY) == 2


def test_policy_can_be_left_alone(sqlite_bench: Bench) -> None:
    """With the setting off, RequireUpdateApproval is IT's own business."""
    sqlite_bench.checkin = replace(sqlite_bench.checkin, manage_policy=False)
    device = sqlite_bench.enrol()
    sqlite_bench.approve(DEFENDER, "classification")
    device.check_in()
    assert f"Replace {POLICY}" not in device.asked


def test_vanished_update_is_looked_for_among_the_installed(bench: Bench) -> None:
    """An update that leaves InstallableUpdates is asked for by name, so that `installed` is evidence, not a guess."""
    device = bench.enrol()
    device.installable = {A: (1, 200), B: (0, 100)}
    bench.catalogue(A)
    bench.approve(A)
    device.check_in()
    device.installable = {}
    device.installed = {A: 200}
    device.asked.clear()
    device.check_in()
    assert device.asked == [
        *QUERIES,
        READ_POLICY,
        f"Get ./Vendor/MSFT/Update/InstalledUpdates/%7b{A}%7d?list=StructData",
        f"Get ./Vendor/MSFT/Update/InstalledUpdates/%7b{B}%7d?list=StructData",
    ]
    assert states(bench) == {A: "installed"}


def test_pending_reboot_then_installed(sqlite_bench: Bench) -> None:
    """The states follow the device's lists: installable, pending_reboot, installed."""
    device = sqlite_bench.enrol()
    device.installable = {A: (1, 200)}
    device.check_in()
    device.installable, device.pending = {}, {A: 200}
    device.check_in()
    assert states(sqlite_bench) == {A: "pending_reboot"}
    device.pending, device.installed = {}, {A: 200}
    device.check_in()
    assert states(sqlite_bench) == {A: "installed"}


def test_revision_is_that_of_the_list_that_decides(sqlite_bench: Bench) -> None:
    """Installed in one revision and installable in the next: the one to install is shown and fetched."""
    device = sqlite_bench.enrol()
    device.installable = {A: (1, 201)}
    device.installed = {A: 200}
    device.check_in()
    (row,) = sqlite_bench.rows("device_update")
    assert (row["state"], row["revision_number"]) == ("installable", 201)


def test_unasked_node_that_is_not_installed_clears_the_bit(sqlite_bench: Bench) -> None:
    """A 404 on InstalledUpdates/{guid} is evidence: the update is not installed."""
    sqlite_bench.enrol()
    with sqlite_bench.database.write() as connection:
        for entry in (UpdateEntry(A), None, None):
            snapshot = UpdateSnapshot(nodes={(UpdateList.INSTALLED, A): entry})
            apply_snapshot(connection, 1, snapshot, sqlite_bench.now)
    assert sqlite_bench.rows("device_update") == []


def test_failed_get_changes_nothing(sqlite_bench: Bench) -> None:
    """A list that could not be read keeps its rows: unknown is not empty."""
    device = sqlite_bench.enrol()
    device.installable = {A: (1, 200)}
    device.check_in()
    read_at = sqlite_bench.rows("device")[0]["state_read_at"]
    device.installable = {}
    device.answers["./Vendor/MSFT/Update/InstallableUpdates?list=StructData"] = Outcome(500)
    device.check_in()
    assert states(sqlite_bench) == {A: "installable"}
    assert sqlite_bench.rows("device")[0]["state_read_at"] == read_at


def test_group_membership_decides(sqlite_bench: Bench) -> None:
    """An approval for a group reaches its members only."""
    inside, outside = sqlite_bench.enrol("IN"), sqlite_bench.enrol("OUT")
    for device in (inside, outside):
        device.installable = {A: (1, 200)}
    sqlite_bench.catalogue(A)
    sqlite_bench.add("device_group", id="pilot", name="Pilot", builtin=False, created_at=sqlite_bench.now)
    sqlite_bench.add("static_member", device_pk=1, group_id="pilot")
    sqlite_bench.add(
        "approval",
        id="1",
        target_type="update",
        target_id=A,
        action="approve",
        allow_without_metadata=False,
        created_at=sqlite_bench.now,
        created_by="test",
    )
    sqlite_bench.add("approval_group", approval_id="1", group_id="pilot")
    inside.check_in()
    outside.check_in()
    assert (inside.approved, outside.approved) == ([A], [])


def test_confirmations_of_an_abandoned_session_are_asked_for_again(sqlite_bench: Bench) -> None:
    """An update that has vanished is found among the installed, even if the device went away at the question."""
    device = sqlite_bench.enrol()
    device.installable = {A: (1, 200)}
    device.check_in()
    device.installable, device.installed = {}, {A: 200}
    message, state = device.begin("8")
    turn = device.say(message, state)
    message, _ = device.answer(turn)
    (question,) = [
        command for command in read_message(sqlite_bench.post(message)).commands if isinstance(command, Get)
    ]
    assert question.items[0].target is not None
    assert "InstalledUpdates/" in question.items[0].target.loc_uri
    assert states(sqlite_bench) == {}
    assert device.check_in() is Verdict.END
    assert states(sqlite_bench) == {A: "installed"}


def test_new_message_1_abandons_the_open_session(sqlite_bench: Bench) -> None:
    """What was not answered is still wanted, so the new session sends it again."""
    device = sqlite_bench.enrol()
    device.installable = {A: (1, 200)}
    sqlite_bench.catalogue(A)
    sqlite_bench.approve(A)
    message, state = device.begin()
    turn = device.say(message, state)
    message, _ = device.answer(turn)
    sqlite_bench.post(message)  # the reply with the Add is lost, and the device starts over
    device.sessions = 1
    device.asked.clear()
    assert device.check_in() is Verdict.END
    assert device.asked[-2:] == [f"Replace {POLICY}", add(A)]
    assert sqlite_bench.rows("dm_session")[0]["session_id"] == "2"


def test_session_survives_another_process(sqlite_bench: Bench) -> None:
    """Nothing of a session lives in the process: a second CheckIn goes on where the first stopped."""
    device = sqlite_bench.enrol()
    message, state = device.begin()
    turn = device.say(message, state)
    sqlite_bench.checkin = CheckIn(sqlite_bench.database, sqlite_bench.secrets, lambda: b"another process")
    message, state = device.answer(turn)
    turn = device.say(message, state)
    assert turn.verdict is Verdict.END


def status_of(reply: bytes) -> str:
    """The status of the SyncHdr."""
    status = read_message(reply).commands[0]
    assert isinstance(status, Status)
    return status.data


def test_unenrolling_device_gets_no_commands(sqlite_bench: Bench) -> None:
    """After the user's unenrolment alert only statuses are sent."""
    device = sqlite_bench.enrol()
    gone = Item(meta=Meta(type="com.microsoft:mdm.unenrollment.userrequest", format="int"), data="1")
    message, _ = device.begin("1", Alert(cmd_id="1", data="1226", items=(gone,)))
    reply = read_message(sqlite_bench.post(message))
    assert reply.final
    assert all(isinstance(command, Status) for command in reply.commands)


def timeline(bench: Bench) -> list[tuple[str, dict[str, Any]]]:
    """(kind, detail) of the only device's events, newest first."""
    with bench.database.read() as connection:
        return [(event.kind, event.detail) for event in list_timeline(connection, 1)]


def test_unenrolled_device_is_answered_no_more(bench: Bench) -> None:
    """Its last message gets its answer, and a repetition the same bytes; its credentials open nothing after."""
    device = bench.enrol()
    gone = Item(meta=Meta(type="com.microsoft:mdm.unenrollment.userrequest", format="int"), data="1")
    message, _ = device.begin()
    message = replace(message, commands=(*message.commands, Alert(cmd_id="9", data="1226", items=(gone,))))
    reply = bench.post(message)
    assert bench.rows("device")[0]["unenrolled_at"] == bench.now
    assert timeline(bench)[0] == ("unenrolled", {"by": "user"})
    assert bench.post(message) == reply
    device.hear(device.begin()[1], reply)
    before = bench.dump()
    again, _ = device.begin("2")
    first = read_message(bench.post(again)).commands[0]
    assert isinstance(first, Status)
    assert (first.data, first.chal) == ("401", None)
    assert bench.dump() == before


def test_timeline_tells_news_and_nothing_else(bench: Bench) -> None:
    """Changes of state, deliveries, and alerts that say something; a second session like the first adds nothing."""
    device = bench.enrol()
    device.installable = {A: (1, 200)}
    bench.catalogue(A)
    bench.approve(A)
    device.check_in()
    device.check_in()
    assert timeline(bench) == [
        ("approval_delivered", {"id": A, "status": 200}),
        ("alert", {"code": 1224, "type": "com.microsoft/MDM/LoginStatus", "data": "user"}),
    ]
    device.failed = {A: (-2147024784, 256, 200)}
    device.check_in()
    assert timeline(bench)[0] == (
        "update_state",
        {"update_id": A, "from": "installable", "to": "failed", "hresult": "0x80070070"},
    )


def test_token_in_an_alert_is_not_kept(sqlite_bench: Bench) -> None:
    """An AADUserToken is a secret; that it came is not."""
    device = sqlite_bench.enrol()
    token = Item(meta=Meta(type="com.microsoft/MDM/AADUserToken"), data="eyJhbGciOi")
    message, _ = device.begin()
    sqlite_bench.post(
        replace(message, commands=(*message.commands, Alert(cmd_id="9", data="1224", items=(token,))))
    )
    assert (
        "alert",
        {"code": 1224, "type": "com.microsoft/MDM/AADUserToken", "data": "(not kept)"},
    ) in timeline(sqlite_bench)


def test_session_of_the_user_scope_gets_no_device_commands(sqlite_bench: Bench) -> None:
    """A `user` synctype session would answer 405 to everything we ask: nothing is asked."""
    device = sqlite_bench.enrol()
    scope = Item(meta=Meta(type="com.microsoft.mdm.synctype"), data="user")
    message, _ = device.begin()
    reply = read_message(
        sqlite_bench.post(
            replace(message, commands=(*message.commands, Alert(cmd_id="9", data="1224", items=(scope,))))
        )
    )
    assert all(isinstance(command, Status) for command in reply.commands)


def test_wrong_version_is_refused_in_syncml(sqlite_bench: Bench) -> None:
    """A protocol we do not speak gets 513, an unknown DTD 505, and nothing is kept."""
    sqlite_bench.enrol()
    for field, value, expected in (("ver_proto", "DM/2.0", "513"), ("ver_dtd", "9", "505")):
        message, _ = client.begin(
            session_id="1", device_id="DEV1", server_uri="https://x.test", device_info={"./DevInfo/Man": "x"}
        )
        reply = sqlite_bench.post(replace(message, header=replace(message.header, **{field: value})))
        assert status_of(reply) == expected
    assert sqlite_bench.rows("dm_session") == []


def test_no_message_at_all_raises_the_protocol_error(sqlite_bench: Bench) -> None:
    """What cannot be answered in SyncML is the endpoint's to answer in HTTP."""
    with pytest.raises(MalformedMessage):
        sqlite_bench.post(b"<html/>")


def test_server_uri_can_be_configured(sqlite_bench: Bench) -> None:
    """The configured public address is our Source; else the address the device used."""
    device = sqlite_bench.enrol()
    message, _ = device.begin()
    assert read_message(sqlite_bench.post(message)).header.source.loc_uri == "https://mdm.example.test/omadm"
    sqlite_bench.checkin = replace(sqlite_bench.checkin, server_uri="https://public.test/omadm")
    message, _ = device.begin("2")
    assert read_message(sqlite_bench.post(message)).header.source.loc_uri == "https://public.test/omadm"


def test_oddities_and_snapshot_problems_do_not_stop_a_session(sqlite_bench: Bench) -> None:
    """Nonsense in an answer costs that leaf, not the session."""
    device = sqlite_bench.enrol()
    base = "./Vendor/MSFT/Update/InstallableUpdates"
    nonsense = Item(source=Location(f"{base}/not-a-guid/Type"), data="x")
    device.answers[f"{base}?list=StructData"] = Outcome(200, (nonsense,))
    assert device.check_in() is Verdict.END
    message, state = device.begin("5")
    turn = device.say(message, state)
    stray, _ = device.answer(
        turn, more=(Status(cmd_id="1", msg_ref="1", cmd_ref="99", cmd="Get", data="200"),)
    )
    assert read_message(sqlite_bench.post(stray)).final


# --- what the log says ----------------------------------------------------------------------------------


@contextmanager
def commits_failing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The disk is full whenever a transaction is to be committed."""
    write = bench.database.write

    def full(connection: Connection) -> NoReturn:
        raise Unavailable("The disk of the database is full.")

    @contextmanager
    def failing() -> Iterator[Connection]:
        with write() as connection:
            event.listen(connection, "commit", full)
            yield connection

    with monkeypatch.context() as patch:
        patch.setattr(bench.database, "write", failing)
        yield


def log_of(device: ScriptedDevice, message: Message) -> list[str]:
    """The events in the log while the bridge answers, or does not."""
    with capture_logs() as lines, suppress(Unavailable):
        device.post(message)
    return [line["event"] for line in lines]


def test_no_line_stands_for_a_commit_that_failed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Abandoned and ended sessions, oddities, odd values: said when they are true, and not before."""
    device = bench.enrol()
    base = "./Vendor/MSFT/Update/InstallableUpdates"
    device.answers[f"{base}?list=StructData"] = Outcome(
        200, (Item(source=Location(f"{base}/not-a-guid/Type"), data="x"),)
    )
    device.say(*device.begin())
    stray = Status(cmd_id="9", msg_ref="1", cmd_ref="99", cmd="Get", data="200")
    message, state = device.begin("2")
    for expected in (["dm_session_abandoned"], ["dm_snapshot_problem", "dm_oddity", "dm_session"]):
        before = bench.dump()
        with commits_failing(bench, monkeypatch):
            assert log_of(device, message) == []
        assert bench.dump() == before
        with capture_logs() as lines:
            turn = device.say(message, state)
        assert [line["event"] for line in lines] == expected
        if turn.commands:
            message, state = device.answer(turn, more=(stray,))


def test_a_refusal_that_could_not_be_counted_is_not_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line of a wrong password comes with its count, or with neither."""
    device = bench.enrol()
    wrong = replace(device, password="wrong")
    message, _ = wrong.begin()
    before = bench.dump()
    with commits_failing(bench, monkeypatch):
        assert log_of(wrong, message) == []
    assert bench.dump() == before
    assert log_of(wrong, message) == ["dm_refused"]
    assert len(bench.rows("auth_failure")) == 1


def test_the_line_of_a_session_tells_what_happened(sqlite_bench: Bench) -> None:
    """One line at its end: how it ended, and the figures an administrator asks for."""
    device = sqlite_bench.enrol()
    device.installable = {A: (1, 200)}
    sqlite_bench.catalogue(A)
    sqlite_bench.approve(A)
    with capture_logs() as lines:
        device.check_in()
    (line,) = lines
    assert (line["event"], line["end"], line["session_id"], line["seconds"]) == (
        "dm_session",
        "complete",
        "1",
        2.0,
    )
    assert (line["messages"], line["commands"], line["rows_changed"], line["approvals_accepted"]) == (
        3,
        FIRST + 2,
        1,
        1,
    )


def test_more_updates_than_are_written_at_once_are_asked_for_again(bench: Bench) -> None:
    """All of them are known at the end of the session, and only then do the lists count as read."""
    device = bench.enrol()
    device.installed = {f"{n:08x}-0000-4000-8000-000000000000": 1 for n in range(2 * MAX_CHANGES + 1)}
    assert device.check_in() is Verdict.END
    assert len(bench.rows("device_update")) == len(device.installed)
    listed = [each for each in device.asked if each.endswith("InstalledUpdates?list=StructData")]
    assert len(listed) == 3
    (row,) = bench.rows("device")
    assert row["installed_read_at"] is not None


def test_a_list_without_end_is_not_asked_for_without_end(
    sqlite_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session has so many rounds; the next one goes on, and until then the list counts as unread."""
    monkeypatch.setattr(device_state, "MAX_CHANGES", 10)
    device = sqlite_bench.enrol()
    device.installed = {f"{n:08x}-0000-4000-8000-000000000000": 1 for n in range(150)}
    assert device.check_in() is Verdict.END
    assert len(sqlite_bench.rows("device_update")) == 10 * (MAX_ASKED_AGAIN + 1)
    assert sqlite_bench.rows("device")[0]["installed_read_at"] is None
    assert device.check_in() is Verdict.END
    assert len(sqlite_bench.rows("device_update")) == 150
