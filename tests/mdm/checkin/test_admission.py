"""Who may speak: proofs that are due in each message, nonces, repetitions, and what strangers get."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, update

from mdm.checkin.admission import SESSION_IDLE
from mdm.storage.statements import table_of
from mdm.storage.tables import DmSession
from syncml import client
from syncml.auth import BASIC, MAC, MD5, credential_hash, make_cred, make_mac
from syncml.client import Verdict
from syncml.messages import Alert, Location, Message, Status, SyncHdr
from syncml.reader import read_message
from syncml.writer import write_message

if TYPE_CHECKING:
    from conftest import Bench, ScriptedDevice

    from mdm.checkin.delivery import Reply
    from syncml.client import ClientState, Turn

A = "a317dafe-baf4-453f-b232-a7075efae36e"
SERVER = "https://mdm.example.test/omadm"
STALE = "credentials made with the nonce before: a reply was lost"
SCHEMES = pytest.mark.parametrize("scheme", [BASIC, MD5, MAC])
EACH = pytest.mark.parametrize("each_message", [True, False], ids=["each", "once"])


def header_status(reply: Reply | bytes) -> Status:
    """The Status for the SyncHdr."""
    status = read_message(reply if isinstance(reply, bytes) else reply.body).commands[0]
    assert isinstance(status, Status)
    return status


def code(reply: Reply | bytes) -> str:
    """The status of the SyncHdr."""
    return header_status(reply).data


def told_nothing(reply: Reply) -> bool:
    """True if the reply holds no command and no value, only refusals."""
    return all(isinstance(command, Status) for command in read_message(reply.body).commands)


def untouched(bench: Bench) -> dict[str, list[dict[str, Any]]]:
    """Every row but the counts of wrong credentials."""
    rows = bench.dump()
    del rows["auth_failure"]
    return rows


def working(device: ScriptedDevice) -> tuple[Message, ClientState, Turn]:
    """A session in which the device has been asked its lists: its answer, not sent yet."""
    message, state = device.begin()
    turn = device.say(message, state)
    assert turn.verdict is Verdict.COMMANDS
    return *device.answer(turn), turn


def test_deciding_takes_two_reads(bench: Bench) -> None:
    """One of the device, and one of all that is remembered of it: session, reply and wrong credentials."""
    device = bench.enrol()
    message, _, _ = working(device)
    statements: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_rest: object) -> None:
        if any(
            f"FROM {table}" in statement for table in ("device", "dm_session", "dm_reply", "auth_failure")
        ):
            statements.append(statement)

    engine = bench.database._reader
    event.listen(engine, "before_cursor_execute", note)
    try:
        refused = bench.post(replace(message, header=replace(message.header, cred=None)))
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert code(refused) == "407"
    assert len(statements) == 2


# --- each message, or once a session --------------------------------------------------------------------


@EACH
def test_a_challenge_and_then_the_session(bench: Bench, each_message: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Without Cred 407 and the stored nonce; with it 200 and a nonce for each message, or 212 and one for later."""
    device = bench.enrol(each_message=each_message)
    assert device.check_in(first=False) is Verdict.END
    assert device.statuses == ([407, 200, 200] if each_message else [407, 212, 200])
    # what was given last is what the bridge waits for, in this session or in the next
    device.statuses.clear()
    assert device.check_in() is Verdict.END
    assert device.statuses == ([200, 200] if each_message else [212, 200])


def test_each_message_uses_up_its_nonce(bench: Bench) -> None:
    """The reply to each message brings another nonce, and the one before it is remembered, no more."""
    device = bench.enrol()
    message, _, _ = working(device)
    first = bench.rows("device")[0]
    device.post(message)
    (row,) = bench.rows("device")
    assert row["auth_nonce_before"] == first["auth_nonce"] != row["auth_nonce"]


@SCHEMES
def test_a_message_without_its_proof_is_challenged_and_the_session_goes_on(bench: Bench, scheme: str) -> None:
    """A device that leaves out its credentials once gets 407, shows them, and its answers count."""
    device = bench.enrol(scheme=scheme)
    device.installable = {A: (1, 200)}
    message, state = device.begin()
    turn = device.say(message, state)
    device.proving = False
    message, state = device.answer(turn)
    before = bench.dump()
    turn = device.say(message, state)
    assert (turn.status, turn.verdict) == (407, Verdict.CHALLENGED)
    assert bench.dump() == before
    device.proving = True
    message, state = client.retry(turn, device.cred(), "user")
    assert message.header.msg_id == "3"
    turn = device.say(message, state)
    assert (turn.status, turn.verdict) == (200, Verdict.END)
    assert [row["state"] for row in bench.rows("device_update")] == ["installable"]
    assert bench.rows("dm_session")[0]["session_id"] == "1"
    assert bench.rows("auth_failure") == []


def test_once_a_session_binds_it_to_its_number(sqlite_bench: Bench) -> None:
    """After 212 the SessionID and the next MsgID are all the proof there is; a message seen before changes nothing."""
    device = sqlite_bench.enrol(each_message=False)
    message, state, _ = working(device)
    assert message.header.cred is None
    reply = device.post(message)
    assert code(reply) == "200"
    assert header_status(reply).chal is None
    before = sqlite_bench.dump()
    other = replace(message, commands=message.commands[:1])
    assert device.post(other) == reply
    assert sqlite_bench.dump() == before
    assert device.hear(state, reply).verdict is Verdict.END


# --- repetitions ----------------------------------------------------------------------------------------


@SCHEMES
@EACH
def test_a_repeated_message_gets_the_same_bytes_and_no_second_effect(
    bench: Bench,
    scheme: str,
    each_message: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """The same bytes once more: the stored reply with its MAC, at every step of a session, and not a row changes."""
    device = bench.enrol(scheme=scheme, each_message=each_message, server_auth=MAC)
    device.installable = {A: (1, 200)}
    bench.catalogue(A)
    bench.approve(A)
    message, state = device.begin()
    while True:
        body = write_message(message)
        mac = device.mac(body)
        reply = bench.send(body, mac)
        assert reply.mac is not None
        before = bench.dump()
        assert bench.send(body, mac) == reply
        assert bench.dump() == before
        turn = device.hear(state, reply)
        if turn.verdict is Verdict.END:
            break
        message, state = device.answer(turn)
    assert device.approved == [A]
    assert [row["kind"] for row in bench.rows("device_event")].count("approval_delivered") == 1


def test_a_repetition_is_of_the_mac_too(bench: Bench) -> None:
    """With auth-MAC a body holds no secret: who knows it, or guesses it, does not get the reply it got."""
    device = bench.enrol(scheme=MAC)
    message, _ = device.begin()
    body = write_message(message)
    device.post(message)
    before = bench.dump()
    for mac, expected in ((None, "407"), ('algorithm=MD5, username="user", mac=AAAA', "401")):
        reply = bench.send(body, mac)
        assert code(reply) == expected
        assert told_nothing(reply)
    assert untouched(bench) == {name: rows for name, rows in before.items() if name != "auth_failure"}


def test_a_cred_seen_before_proves_no_other_message(bench: Bench) -> None:
    """Whoever read a message of the device has a Cred that is used up: 401, no row changes, the session goes on."""
    device = bench.enrol()
    opening, state = device.begin()
    turn = device.say(opening, state)
    message, state = device.answer(turn)
    before = bench.dump()
    for msg_id, session_id in (("2", "1"), ("7", "1"), ("1", "9")):
        header = replace(opening.header, msg_id=msg_id, session_id=session_id)
        reply = device.post(replace(message, header=header))
        assert code(reply) == "401"
        assert told_nothing(reply)
    assert bench.dump() == before
    assert device.say(message, state).verdict is Verdict.END


def test_a_message_written_anew_gets_the_reply_it_missed(bench: Bench) -> None:
    """Other words under the same MsgID, with the nonce that was right then: the stored reply, and nothing is taken in."""
    device = bench.enrol()
    message, _, turn = working(device)
    reply = device.post(message)
    before = bench.dump()
    again, _ = client.answer(turn, [client.Outcome(500)] * len(turn.commands), cred=device.cred())
    assert device.post(again) == reply
    assert bench.dump() == before
    # minutes later it asks for nothing any more, and proves nothing
    bench.now += timedelta(minutes=6)
    assert code(device.post(again)) == "401"
    assert bench.dump() == before


def test_a_reply_of_tomorrow_is_not_given_again(sqlite_bench: Bench) -> None:
    """The same package 1 after a clock that was a day ahead has been put right: it begins a session."""
    device = sqlite_bench.enrol(scheme=BASIC)
    message, _ = device.begin("0")
    right = sqlite_bench.now
    sqlite_bench.now += timedelta(days=1)
    device.post(message)
    sqlite_bench.now = right
    device.post(message)
    assert [row["sent_at"] for row in sqlite_bench.rows("dm_reply")] == [sqlite_bench.now]


def test_an_old_package_1_is_no_repetition(sqlite_bench: Bench) -> None:
    """SessionID starts again at 0 after a boot: identical bytes after the window must prove themselves."""
    device = sqlite_bench.enrol()
    message, _ = device.begin("0")
    device.post(message)
    sqlite_bench.now += timedelta(minutes=6)
    assert code(device.post(message)) == "401"


def rebooted(device: ScriptedDevice) -> list[str]:
    """The commands a device with auth-basic gets at once when it says package 1 of session 0 once more."""
    message, state = device.begin("0")
    message, state = device.answer(device.say(message, state))
    turn = device.say(message, state)
    return [type(command).__name__ for command in turn.commands]


@pytest.mark.parametrize(("seconds", "repeated"), [(2, True), (15, False)])
def test_a_restarted_device_is_not_told_old_replies(
    sqlite_bench: Bench, seconds: int, *, repeated: bool
) -> None:
    """A session gone on: its package 1 is a copy on the way for seconds, and then a device that has restarted."""
    device = sqlite_bench.enrol(scheme=BASIC, each_message=False)
    device.installable = {A: (1, 200)}
    sqlite_bench.catalogue(A)
    sqlite_bench.approve(A)
    assert rebooted(device) == ["Replace", "Add"]
    device.approved.append(A)
    device.proving = True
    sqlite_bench.now += timedelta(seconds=seconds)
    # What the Add and the policy came to nobody has said: the policy is still wanted, the approval is read.
    assert rebooted(device) == (["Replace", "Add"] if repeated else ["Replace"])


def test_a_restarted_device_that_proves_itself_begins_anew(sqlite_bench: Bench) -> None:
    """Seconds after a restart its package 1 passes for a copy; what it says then is proved, and starts a session."""
    device = sqlite_bench.enrol(scheme=BASIC)
    assert rebooted(device) == []
    device.installable = {A: (1, 200)}
    assert rebooted(device) == ["Get"] * 5  # the installed ones are known since
    assert device.check_in() is Verdict.END
    assert [row["update_id"] for row in sqlite_bench.rows("device_update")] == [A]


# --- lost replies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [1, 2, 10])
@pytest.mark.parametrize("scheme", [MD5, MAC])
def test_lost_replies_are_no_failures(bench: Bench, scheme: str, lost: int) -> None:
    """However often the answer to package 1 is lost, the device is challenged anew and never counted or shut out."""
    device = bench.enrol(scheme=scheme)
    for session in range(lost):
        message, _ = device.begin(str(session))
        device.post(message)
    assert bench.rows("auth_failure") == []
    device.sessions = lost
    assert device.check_in() is Verdict.END
    assert device.statuses == [401, 200, 200]


@pytest.mark.parametrize("scheme", [MD5, MAC])
def test_the_answer_to_a_retry_may_be_lost_too(bench: Bench, scheme: str) -> None:
    """Package 1 and its repetition with the new nonce, both answered into the void: the third try is welcome."""
    device = bench.enrol(scheme=scheme)
    message, state = device.begin("1")
    device.post(message)  # lost: the device keeps its nonce
    message, state = device.begin("2")
    turn = device.say(message, state)
    assert (turn.status, turn.verdict) == (401, Verdict.CHALLENGED)
    message, _ = client.retry(turn, device.cred(), "user")
    assert code(device.post(message)) == "200"  # lost again
    assert bench.rows("auth_failure") == []
    device.sessions = 2
    assert device.check_in() is Verdict.END
    assert device.statuses == [401, 401, 200, 200]
    assert bench.rows("auth_failure") == []


def test_two_messages_behind_is_wrong_once_and_then_well(bench: Bench) -> None:
    """A device that forgot two nonces is counted once, challenged, and cleared by its success."""
    device = bench.enrol()
    nonce = device.nonce
    message, state, _ = working(device)
    device.say(message, state)
    device.nonce = nonce
    message, state = device.begin("2")
    turn = device.say(message, state)
    assert [row["failures"] for row in bench.rows("auth_failure")] == [1]
    assert device.say(*client.retry(turn, device.cred(), "user")).verdict is Verdict.COMMANDS
    assert bench.rows("auth_failure") == []


def test_a_retry_after_a_restart_goes_on_with_no_older_session(sqlite_bench: Bench) -> None:
    """Session "0" is challenged and repeated with MsgID 2: it is new, though an older "0" is open."""
    device = sqlite_bench.enrol(each_message=False)
    message, _ = device.begin("0")
    device.post(message)  # never heard of again: the device restarts without its new nonce
    device.proving = False
    message, state = device.begin("0")
    turn = device.say(message, state)
    assert turn.status == 407
    device.proving = True
    turn = device.say(*client.retry(turn, device.cred(), "user"))
    assert (turn.status, turn.verdict) == (212, Verdict.COMMANDS)
    assert [type(command).__name__ for command in turn.commands[:6]] == ["Get"] * 6


# --- proofs that prove nothing --------------------------------------------------------------------------


def test_a_mac_of_other_bytes_is_refused(bench: Bench) -> None:
    """A MAC is of the message as it came: one letter, one byte or another message, and it is wrong."""
    device = bench.enrol(scheme=MAC)
    message, state = device.begin()
    body = write_message(message)
    mac = device.mac(body)
    before = untouched(bench)
    for other in (body.replace(b"Contoso", b"Contosa"), body + b"\n"):
        assert code(bench.send(other, mac)) == "401"
    assert untouched(bench) == before
    assert [row["failures"] for row in bench.rows("auth_failure")] == [2]
    assert device.say(message, state).verdict is Verdict.COMMANDS


@pytest.mark.parametrize(
    ("known", "shown"), [(MD5, BASIC), (MAC, BASIC), (MAC, MD5), (MD5, MAC), (BASIC, MD5)]
)
def test_a_device_cannot_choose_its_scheme(bench: Bench, known: str, shown: str) -> None:
    """The right password in another scheme is wrong, weaker or not."""
    device = bench.enrol(scheme=known)
    device.scheme = shown
    message, _ = device.begin()
    before = untouched(bench)
    status = header_status(device.post(message))
    assert status.data == "401"
    assert status.chal is not None
    assert status.chal.meta.type == known
    assert untouched(bench) == before
    assert [row["failures"] for row in bench.rows("auth_failure")] == [1]


def test_a_cred_beside_a_mac_is_refused(bench: Bench) -> None:
    """Two proofs at once are none."""
    device = bench.enrol(scheme=MAC)
    message, _ = device.begin()
    cred = make_cred(MD5, "user", "secret", device.nonce)
    before = untouched(bench)
    assert code(device.post(replace(message, header=replace(message.header, cred=cred)))) == "401"
    assert untouched(bench) == before


def test_basic_without_tls_is_refused(bench: Bench) -> None:
    """A password that anybody on the way could read proves nothing, and is not even asked for."""
    device = bench.enrol(scheme=BASIC)
    bench.private = False
    before = bench.dump()
    for device.proving in (True, False):
        message, _ = device.begin()
        status = header_status(device.post(message))
        assert (status.data, status.chal) == ("401", None)
    assert bench.dump() == before


def test_an_unknown_device_is_treated_like_wrong_credentials(sqlite_bench: Bench) -> None:
    """A stranger is challenged as any device would be, always with the same nonce, and leaves no trace."""
    stranger = sqlite_bench.enrol("OTHER")
    stranger.device_id = "STRANGER"
    before = sqlite_bench.dump()
    stranger.proving = False
    message, _ = stranger.begin()
    replies = [read_message(sqlite_bench.post(message)) for _ in range(2)]
    assert replies[0] == replies[1]
    assert [c.data for c in replies[0].commands if isinstance(c, Status)] == ["407"] * 4
    stranger.proving = True
    signed, _ = stranger.begin()
    assert code(sqlite_bench.post(signed)) == "401"
    assert sqlite_bench.dump() == before


def forgeries(device: ScriptedDevice, message: Message) -> list[tuple[Message, str | None]]:
    """What somebody may send who knows DeviceID, SessionID, the next MsgID, and what it will say: but no password."""
    header = SyncHdr("1", message.header.msg_id, Location(SERVER), Location(device.device_id))
    past = replace(header, msg_id="1")
    abort = Alert(cmd_id="2", data="1223")
    opening = replace(device, proving=False).begin()[0]
    guess = make_cred(MD5, "user", "guess", device.nonce)
    mac = make_mac("user", credential_hash("user", "guess"), device.nonce, b"")
    return [
        (replace(message, header=header), None),  # goes on
        (Message(header, (message.commands[0], abort)), None),  # ends
        (Message(past, (abort,)), None),
        (opening, None),  # asks for what package 1 got
        (replace(message, header=past), None),
        (replace(opening, header=replace(header, session_id="2", msg_id="1")), None),  # begins another
        (replace(message, header=replace(header, msg_id="99")), None),
        (replace(message, header=replace(header, cred=guess)), None),
        (replace(message, header=header), mac),
    ]


@SCHEMES
def test_a_stranger_can_neither_continue_nor_read_nor_end_a_session(bench: Bench, scheme: str) -> None:
    """In the middle of a session, from the device's own address: refused, not a row changed but the failures."""
    device = bench.enrol(scheme=scheme)
    device.installable = {A: (1, 200)}
    message, state, _ = working(device)
    for forged, mac in forgeries(device, message):
        before = untouched(bench)
        reply = bench.send(write_message(forged), mac)
        assert code(reply) in {"401", "407"}
        assert told_nothing(reply)
        assert untouched(bench) == before
    assert device.say(message, state).verdict is Verdict.END
    assert [row["update_id"] for row in bench.rows("device_update")] == [A]


def test_a_message_after_the_end_must_prove_itself(sqlite_bench: Bench) -> None:
    """A complete session is closed, also one that was proved once: its SessionID opens nothing any more."""
    device = sqlite_bench.enrol(each_message=False)
    device.check_in()
    late = Message(
        header=SyncHdr("1", "9", Location(SERVER), Location("DEV1")),
        commands=(Alert(cmd_id="1", data="1201"),),
    )
    before = sqlite_bench.dump()
    assert code(sqlite_bench.post(late)) == "407"
    assert sqlite_bench.dump() == before


def test_another_session_number_must_prove_itself(sqlite_bench: Bench) -> None:
    """A message of a session that does not exist is not of the open one."""
    device = sqlite_bench.enrol(each_message=False)
    message, _, _ = working(device)
    before = sqlite_bench.dump()
    assert code(device.post(replace(message, header=replace(message.header, session_id="666")))) == "407"
    assert sqlite_bench.dump() == before


def test_an_idle_session_is_over(sqlite_bench: Bench) -> None:
    """What was proved once is not trusted after half an hour of silence."""
    device = sqlite_bench.enrol(each_message=False)
    message, state, _ = working(device)
    sqlite_bench.now += SESSION_IDLE + timedelta(minutes=1)
    before = sqlite_bench.dump()
    assert device.say(message, state).status == 407
    assert sqlite_bench.dump() == before


@pytest.mark.parametrize(("part", "key"), [("session", "phase"), ("checkin", "attempted"), ("checkin", None)])
@EACH
def test_a_session_of_another_version_begins_anew(
    bench: Bench,
    part: str,
    key: str | None,
    each_message: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """A stored state this version cannot read ends the session; the device proves itself and begins again."""
    device = bench.enrol(each_message=each_message)
    message, state, _ = working(device)
    stored = bench.rows("dm_session")[0]["state"]
    if key is None:
        stored[part] = None
    else:
        del stored[part][key]
    with bench.database.write() as connection:
        connection.execute(update(table_of(DmSession)).values(state=stored))
    turn = device.say(message, state)
    # a message that proves itself begins the new session at once
    assert (turn.status, turn.verdict) == (
        (200, Verdict.COMMANDS) if each_message else (407, Verdict.CHALLENGED)
    )
    device.sessions = 1
    assert device.check_in() is Verdict.END
