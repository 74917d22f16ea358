"""The check-in: what a device is asked, what it is told, and what is remembered."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from csp.snapshot import UpdateEntry, UpdateList, UpdateSnapshot
from mdm.checkin.device_state import apply_snapshot
from mdm.checkin.service import CheckIn
from mdm.devices.timeline import list_timeline
from syncml import client
from syncml.auth import make_cred
from syncml.client import Outcome, Verdict
from syncml.errors import MalformedMessage
from syncml.messages import Alert, Get, Item, Location, Message, Meta, Status, SyncHdr
from syncml.reader import read_message

if TYPE_CHECKING:
    from conftest import Bench, ScriptedDevice

A = "a317dafe-baf4-453f-b232-a7075efae36e"
B = "b317dafe-baf4-453f-b232-a7075efae36e"
C = "c317dafe-baf4-453f-b232-a7075efae36e"
DEFENDER = "e0789628-ce08-4437-be74-2495b842f43b"
EULA = "eeeeeeee-0000-4000-8000-000000000001"
POLICY = "./Device/Vendor/MSFT/Policy/Config/Update/RequireUpdateApproval"
QUERIES = [
    "Get ./Vendor/MSFT/Update/InstallableUpdates?list=StructData",
    "Get ./Vendor/MSFT/Update/FailedUpdates?list=StructData",
    "Get ./Vendor/MSFT/Update/PendingRebootUpdates?list=StructData",
    "Get ./Vendor/MSFT/Update/ApprovedUpdates?list=StructData",
    "Get ./Vendor/MSFT/Update/LastSuccessfulScanTime",
]
INSTALLED = "Get ./Vendor/MSFT/Update/InstalledUpdates?list=StructData"


def add(guid: str) -> str:
    """The command that approves a GUID."""
    return f"Add ./Vendor/MSFT/Update/ApprovedUpdates/%7b{guid}%7d"


def states(bench: Bench) -> dict[str, str]:
    """UpdateID to state, of all devices."""
    return {row["update_id"]: row["state"] for row in bench.rows("device_update")}


def opened(device: ScriptedDevice, session_id: str = "1") -> tuple[Message, Any]:
    """Package 1 with credentials."""
    return client.begin(
        session_id=session_id,
        device_id=device.device_id,
        server_uri="https://mdm.example.test/omadm",
        device_info={"./DevInfo/DevId": device.device_id},
        cred=make_cred(device.scheme, "user", device.password, device.nonce),
        username="user",
    )


def test_first_session_reads_the_whole_tree(bench: Bench) -> None:
    """Each list is asked with its own Get, InstalledUpdates last, and the answers become rows."""
    device = bench.enrol()
    device.installable = {A: (1, 200)}
    device.failed = {B: (-2147023504, 256, 101)}
    device.installed = {C: 100}
    assert device.check_in() is Verdict.END
    assert device.asked == [*QUERIES, INSTALLED]
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
    """An approved, applicable update gets the policy and one Add; the next session says nothing more."""
    device = bench.enrol()
    device.installable = {A: (1, 200), B: (0, 100)}
    bench.catalogue(A)
    bench.catalogue(B)
    bench.approve(A)
    device.check_in()
    assert device.asked[6:] == [f"Replace {POLICY}", add(A)]
    assert device.approved == [A]
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
    assert device.asked[6:] == [f"Replace {POLICY}", add(DEFENDER)]
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


def test_failed_policy_is_tried_again_and_a_set_one_renewed_daily(sqlite_bench: Bench) -> None:
    """500 is no verdict: the next session tries again; after a day the accepted value is written again."""
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
    sqlite_bench.now += timedelta(hours=25)
    device.check_in()
    assert device.asked.count(f"Replace {POLICY}") == 3


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
    sqlite_bench.add("group_member", device_pk=1, group_id="pilot")
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


def test_challenge_then_success_renews_the_nonce(bench: Bench) -> None:
    """Without Cred: 407 and the stored nonce; with it: 212 and a nonce for the next session."""
    device = bench.enrol()
    before = bench.rows("device")[0]["auth_nonce"]
    assert device.check_in(first=False) is Verdict.END
    after = bench.rows("device")[0]["auth_nonce"]
    assert before != after
    assert device.check_in() is Verdict.END


def test_basic_authentication(sqlite_bench: Bench) -> None:
    """A device created for auth-basic is challenged for it and admitted by it."""
    device = sqlite_bench.enrol(scheme="syncml:auth-basic")
    assert device.check_in(first=False) is Verdict.END


def test_basic_without_tls_is_refused(sqlite_bench: Bench) -> None:
    """A password that anybody on the way could read proves nothing, and is not even asked for."""
    device = sqlite_bench.enrol(scheme="syncml:auth-basic")
    sqlite_bench.private = False
    before = sqlite_bench.dump()
    message, _ = opened(device)
    status = read_message(sqlite_bench.post(message)).commands[0]
    assert isinstance(status, Status)
    assert (status.data, status.chal) == ("401", None)
    assert sqlite_bench.dump() == before


def test_repeated_message_gets_the_same_bytes_and_no_second_effect(bench: Bench) -> None:
    """(device, SessionID, MsgID) seen before: the stored reply, and nothing changes."""
    device = bench.enrol()
    device.installable = {A: (1, 200)}
    bench.catalogue(A)
    bench.approve(A)
    message, state = opened(device)
    first = bench.post(message)
    before = bench.dump()
    assert bench.post(message) == first
    assert bench.dump() == before
    turn = client.receive(state, read_message(first))
    message, state = client.answer(turn, [device.carry_out(command) for command in turn.commands])
    second = bench.post(message)
    before = bench.dump()
    assert bench.post(message) == second
    assert bench.dump() == before


def test_old_package_1_is_a_new_session(sqlite_bench: Bench) -> None:
    """SessionID starts again at 0 after a boot: identical bytes after the window are not a repetition."""
    device = sqlite_bench.enrol()
    message, _ = opened(device, "0")
    sqlite_bench.post(message)
    sqlite_bench.now += timedelta(minutes=6)
    reply = read_message(sqlite_bench.post(message))
    status = reply.commands[0]
    assert isinstance(status, Status)
    assert status.data == "401"  # the nonce was used: credentials are asked for anew


def rebooted(device: ScriptedDevice) -> list[str]:
    """The commands a device with auth-basic gets at once when it says package 1 of session 0 once more."""
    message, state = opened(device, "0")
    turn = client.receive(state, read_message(device.bench.post(message)))
    asked = [device.carry_out(command) for command in turn.commands]
    message, state = client.answer(turn, asked)
    turn = client.receive(state, read_message(device.bench.post(message)))
    return [type(command).__name__ for command in turn.commands]


@pytest.mark.parametrize(("seconds", "repeated"), [(2, True), (15, False)])
def test_restarted_device_is_not_told_old_replies(
    sqlite_bench: Bench, seconds: int, *, repeated: bool
) -> None:
    """A session gone on: its package 1 is a copy on the way for seconds, and then a device that has restarted."""
    device = sqlite_bench.enrol(scheme="syncml:auth-basic")
    device.installable = {A: (1, 200)}
    sqlite_bench.catalogue(A)
    sqlite_bench.approve(A)
    assert rebooted(device) == ["Replace", "Add"]
    device.approved.append(A)
    sqlite_bench.now += timedelta(seconds=seconds)
    # What the Add and the policy came to nobody has said: the policy is still wanted, the approval is read.
    assert rebooted(device) == (["Replace", "Add"] if repeated else ["Replace"])


def test_confirmations_of_an_abandoned_session_are_asked_for_again(sqlite_bench: Bench) -> None:
    """An update that has vanished is found among the installed, even if the device went away at the question."""
    device = sqlite_bench.enrol()
    device.installable = {A: (1, 200)}
    device.check_in()
    device.installable, device.installed = {}, {A: 200}
    message, state = opened(device, "8")
    turn = client.receive(state, read_message(sqlite_bench.post(message)))
    device.nonce = turn.next_nonce or b""
    message, _ = client.answer(turn, [device.carry_out(command) for command in turn.commands])
    (question,) = [
        command for command in read_message(sqlite_bench.post(message)).commands if isinstance(command, Get)
    ]
    assert question.items[0].target is not None
    assert "InstalledUpdates/" in question.items[0].target.loc_uri
    assert states(sqlite_bench) == {}
    assert device.check_in() is Verdict.END
    assert states(sqlite_bench) == {A: "installed"}


def test_package_1_after_a_challenge_goes_on_with_no_older_session(sqlite_bench: Bench) -> None:
    """After a restart session "0" is challenged and repeated with MsgID 2: it is new, though an older "0" is open."""
    device = sqlite_bench.enrol()
    message, _ = opened(device, "0")
    sqlite_bench.post(message)  # never heard of again: the device restarts without its new nonce
    message, state = client.begin(
        session_id="0",
        device_id="DEV1",
        server_uri="https://mdm.example.test/omadm",
        device_info={"./DevInfo/DevId": "DEV1"},
    )
    turn = client.receive(state, read_message(sqlite_bench.post(message)))
    assert turn.status == 407
    cred = make_cred(device.scheme, "user", device.password, turn.next_nonce or b"")
    message, state = client.retry(turn, cred, "user")
    turn = client.receive(state, read_message(sqlite_bench.post(message)))
    assert (turn.status, turn.verdict) == (212, Verdict.COMMANDS)
    assert [f"Get {c.items[0].target.loc_uri}" for c in turn.commands] == [*QUERIES, INSTALLED]  # type: ignore[union-attr]


@pytest.mark.parametrize("minutes", [0, 31])
def test_failures_of_an_older_session_0_are_not_held_against_a_new_one(
    sqlite_bench: Bench, minutes: int
) -> None:
    """Each boot has a session "0": a success, or half an hour, ends the count of wrong credentials in it."""
    device = sqlite_bench.enrol()
    for _ in range(4 if minutes else 2):
        message, _ = opened(replace(device, password="wrong"), "0")
        assert status_of(sqlite_bench.post(message)) == "401"
    sqlite_bench.now += timedelta(minutes=minutes)
    message, _ = opened(device, "0")
    assert status_of(sqlite_bench.post(message)) == "212"
    assert sqlite_bench.rows("auth_failure") == []


def test_new_message_1_abandons_the_open_session(sqlite_bench: Bench) -> None:
    """What was not answered is still wanted, so the new session sends it again."""
    device = sqlite_bench.enrol()
    device.installable = {A: (1, 200)}
    sqlite_bench.catalogue(A)
    sqlite_bench.approve(A)
    message, state = opened(device)
    turn = client.receive(state, read_message(sqlite_bench.post(message)))
    device.nonce = turn.next_nonce or b""
    message, _ = client.answer(turn, [device.carry_out(command) for command in turn.commands])
    sqlite_bench.post(message)  # the reply with the Add is lost, and the device starts over
    device.sessions = 1
    device.asked.clear()
    assert device.check_in() is Verdict.END
    assert device.asked[-2:] == [f"Replace {POLICY}", add(A)]
    assert sqlite_bench.rows("dm_session")[0]["session_id"] == "2"


def test_session_survives_another_process(sqlite_bench: Bench) -> None:
    """Nothing of a session lives in the process: a second CheckIn goes on where the first stopped."""
    device = sqlite_bench.enrol()
    message, state = opened(device)
    turn = client.receive(state, read_message(sqlite_bench.post(message)))
    sqlite_bench.checkin = CheckIn(sqlite_bench.database, sqlite_bench.secrets, lambda: b"another process")
    message, state = client.answer(turn, [device.carry_out(command) for command in turn.commands])
    turn = client.receive(state, read_message(sqlite_bench.post(message)))
    assert turn.verdict is Verdict.END


def test_session_of_another_version_begins_anew(sqlite_bench: Bench) -> None:
    """A stored state this version cannot read ends the session; the device is challenged and goes on."""
    device = sqlite_bench.enrol()
    message, state = opened(device)
    turn = client.receive(state, read_message(sqlite_bench.post(message)))
    with sqlite_bench.database.write() as connection:
        connection.exec_driver_sql("""UPDATE dm_session SET state = '{"session": {}, "checkin": {}}'""")
    message, state = client.answer(turn, [device.carry_out(command) for command in turn.commands])
    assert client.receive(state, read_message(sqlite_bench.post(message))).status == 407
    device.nonce = turn.next_nonce or b""
    assert device.check_in() is Verdict.END


def test_idle_session_needs_credentials_again(sqlite_bench: Bench) -> None:
    """An open session that was silent for half an hour is not trusted any more."""
    device = sqlite_bench.enrol()
    message, state = opened(device)
    turn = client.receive(state, read_message(sqlite_bench.post(message)))
    sqlite_bench.now += timedelta(minutes=31)
    message, state = client.answer(turn, [device.carry_out(command) for command in turn.commands])
    before = sqlite_bench.dump()
    turn = client.receive(state, read_message(sqlite_bench.post(message)))
    assert turn.status == 407
    assert sqlite_bench.dump() == before


def test_unknown_device_is_treated_like_wrong_credentials(sqlite_bench: Bench) -> None:
    """A stranger is challenged as any device would be, always with the same nonce, and leaves no trace."""
    sqlite_bench.enrol()
    stranger = replace_device(sqlite_bench)
    before = sqlite_bench.dump()
    message, _ = client.begin(
        session_id="1", device_id="STRANGER", server_uri="https://x.test", device_info={"./DevInfo/Man": "x"}
    )
    replies = [read_message(sqlite_bench.post(message)) for _ in range(2)]
    assert replies[0] == replies[1]
    assert [c.data for c in replies[0].commands if isinstance(c, Status)] == ["407"] * 4
    signed, _ = opened(stranger)
    assert status_of(sqlite_bench.post(signed)) == "401"
    assert sqlite_bench.dump() == before


def replace_device(bench: Bench) -> ScriptedDevice:
    """A device that nobody has enrolled."""
    known = bench.enrol("OTHER")
    known.device_id = "STRANGER"
    return known


def status_of(reply: bytes) -> str:
    """The status of the SyncHdr."""
    status = read_message(reply).commands[0]
    assert isinstance(status, Status)
    return status.data


def test_wrong_credentials_are_bounded_and_change_nothing(bench: Bench) -> None:
    """401 with a challenge three times, then without; the device's row and session stay as they are."""
    device = bench.enrol()
    device.check_in()
    before = bench.dump()
    device.password = "wrong"
    challenges = []
    for n in range(1, 6):
        message, _ = opened(device, "9")
        header = replace(message.header, msg_id=str(n))
        first = read_message(bench.post(replace(message, header=header))).commands[0]
        assert isinstance(first, Status)
        assert first.data == "401"
        challenges.append(first.chal is not None)
    assert challenges == [True, True, True, False, False]
    after = bench.dump()
    assert after.pop("auth_failure") != before.pop("auth_failure")
    assert after == before
    device.password = "secret"
    refused, _ = opened(device, "9")
    assert status_of(bench.post(refused)) == "401"  # right at last, but this session has had its tries
    assert device.check_in() is Verdict.END


def test_failures_of_one_device_take_one_row(sqlite_bench: Bench) -> None:
    """However many SessionIDs an attacker makes up, the table does not grow."""
    device = sqlite_bench.enrol()
    device.password = "wrong"
    for session in range(5):
        message, _ = opened(device, str(session))
        sqlite_bench.post(message)
    assert len(sqlite_bench.rows("auth_failure")) == 1


def test_forged_session_id_changes_nothing(sqlite_bench: Bench) -> None:
    """A message of a session that does not exist must prove itself."""
    device = sqlite_bench.enrol()
    message, state = opened(device)
    turn = client.receive(state, read_message(sqlite_bench.post(message)))
    forged, _ = client.answer(turn, [device.carry_out(command) for command in turn.commands])
    forged = replace(forged, header=replace(forged.header, session_id="666"))
    before = sqlite_bench.dump()
    assert status_of(sqlite_bench.post(forged)) == "407"
    assert sqlite_bench.dump() == before


def test_message_after_the_end_must_prove_itself(sqlite_bench: Bench) -> None:
    """A complete session is closed: its SessionID opens nothing any more."""
    device = sqlite_bench.enrol()
    device.check_in()
    late = Message(
        header=SyncHdr("1", "9", Location("https://x.test"), Location("DEV1")),
        commands=(Alert(cmd_id="1", data="1201"),),
    )
    before = sqlite_bench.dump()
    assert status_of(sqlite_bench.post(late)) == "407"
    assert sqlite_bench.dump() == before


def test_package_in_parts_is_answered_with_1222(sqlite_bench: Bench) -> None:
    """While Final has not come: Status and Alert 1222, no command; the parts' answers count together."""
    device = sqlite_bench.enrol()
    device.installable = {A: (1, 200)}
    message, state = opened(device)
    turn = client.receive(state, read_message(sqlite_bench.post(message)))
    outcomes = [device.carry_out(command) for command in turn.commands]
    whole, state = client.answer(turn, outcomes)
    part_1 = replace(whole, commands=whole.commands[:3], final=False)
    reply = read_message(sqlite_bench.post(part_1))
    assert not reply.final
    assert [type(c).__name__ for c in reply.commands] == ["Status", "Alert"]
    assert sqlite_bench.rows("device_update") == []
    rest = replace(
        whole,
        header=replace(whole.header, msg_id="3"),
        commands=(replace(whole.commands[0], msg_ref=reply.header.msg_id), *whole.commands[3:]),
    )
    reply = read_message(sqlite_bench.post(rest))
    assert reply.final
    assert states(sqlite_bench) == {A: "installable"}


def test_unenrolling_device_gets_no_commands(sqlite_bench: Bench) -> None:
    """After the user's unenrolment alert only statuses are sent."""
    device = sqlite_bench.enrol()
    message, _ = client.begin(
        session_id="1",
        device_id="DEV1",
        server_uri="https://x.test",
        device_info={"./DevInfo/Man": "Contoso"},
        alerts=(
            Alert(
                cmd_id="1",
                data="1226",
                items=(
                    Item(
                        meta=Meta(type="com.microsoft:mdm.unenrollment.userrequest", format="int"), data="1"
                    ),
                ),
            ),
        ),
        cred=make_cred(device.scheme, "user", "secret", device.nonce),
        username="user",
    )
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
    message, _ = opened(device)
    message = replace(message, commands=(*message.commands, Alert(cmd_id="9", data="1226", items=(gone,))))
    reply = bench.post(message)
    assert bench.rows("device")[0]["unenrolled_at"] == bench.now
    assert timeline(bench)[0] == ("unenrolled", {"by": "user"})
    assert bench.post(message) == reply
    device.nonce = client.receive(opened(device)[1], read_message(reply)).next_nonce or b""
    before = bench.dump()
    again, _ = opened(device, "2")
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
    message, _ = opened(device)
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
    message, _ = opened(device)
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
    message, _ = opened(device)
    assert read_message(sqlite_bench.post(message)).header.source.loc_uri == "https://mdm.example.test/omadm"
    sqlite_bench.checkin = replace(sqlite_bench.checkin, server_uri="https://public.test/omadm")
    message, _ = opened(device, "2")
    assert read_message(sqlite_bench.post(message)).header.source.loc_uri == "https://public.test/omadm"


def test_oddities_and_snapshot_problems_do_not_stop_a_session(sqlite_bench: Bench) -> None:
    """Nonsense in an answer costs that leaf, not the session."""
    device = sqlite_bench.enrol()
    base = "./Vendor/MSFT/Update/InstallableUpdates"
    nonsense = Item(source=Location(f"{base}/not-a-guid/Type"), data="x")
    device.answers[f"{base}?list=StructData"] = Outcome(200, (nonsense,))
    assert device.check_in() is Verdict.END
    message, state = opened(device, "5")
    turn = client.receive(state, read_message(sqlite_bench.post(message)))
    gets = [c for c in turn.commands if isinstance(c, Get)]
    stray, _ = client.answer(
        turn,
        [device.carry_out(c) for c in gets],
        more=(Status(cmd_id="1", msg_ref="1", cmd_ref="99", cmd="Get", data="200"),),
    )
    assert read_message(sqlite_bench.post(stray)).final
