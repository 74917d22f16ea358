"""A retiring device at its sessions: told to leave and nothing else, until it says that it has left."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from mdm.audit import Origin
from mdm.devices.departure import cancel_retirement, retire
from mdm.devices.registry import delete_device
from mdm.devices.timeline import list_timeline
from syncml.auth import BASIC, MAC, MD5
from syncml.client import Outcome, Verdict
from syncml.errors import RemoteProtocolError
from syncml.messages import Alert, Exec, Item, Meta, Status
from syncml.reader import read_message

if TYPE_CHECKING:
    from conftest import Bench, ScriptedDevice

    from syncml.messages import Message

ORIGIN = Origin("client:test")
A = "a317dafe-baf4-453f-b232-a7075efae36e"
NEWER = "./Vendor/MSFT/DMClient/Provider/CSPBridge/Unenroll"
OLDER = "./Vendor/MSFT/DMClient/Unenroll"
LEFT = "com.microsoft:mdm.unenrollment.userrequest"


@pytest.fixture
def bench(bench: Bench) -> Bench:
    """A check-in that knows what it is called on its devices."""
    bench.checkin = replace(bench.checkin, provider_id="CSPBridge")
    return bench


def leave(bench: Bench, **values: Any) -> None:
    """Retire the device DEV1."""
    with bench.database.write() as conn:
        retire(conn, ORIGIN, "id-DEV1", now=bench.now, **values)


def gone(meta: Meta | None = None) -> Alert:
    """What a device says that leaves."""
    return Alert(cmd_id="9", data="1226", items=(Item(meta=meta or Meta(type=LEFT, format="int"), data="1"),))


def with_alert(message: Message, alert: Alert) -> Message:
    """Package 1 with one alert more."""
    return replace(message, commands=(*message.commands, alert))


def abort(bench: Bench, device: ScriptedDevice, session_id: str) -> Any:
    """A session of a device that carries the command out: it says nothing more in it. Returns the reply."""
    message, state = device.begin(session_id)
    reply = device.post(message)
    device.hear(state, reply)
    return read_message(reply.body)


def timeline(bench: Bench) -> list[tuple[str, dict[str, Any]]]:
    """The device's events, oldest first, without the alerts."""
    with bench.database.read() as conn:
        return [(each.kind, each.detail) for each in reversed(list_timeline(conn, 1)) if each.kind != "alert"]


def row(bench: Bench) -> dict[str, Any]:
    """The only device."""
    (found,) = bench.rows("device")
    return found


@pytest.mark.parametrize("scheme", [MD5, BASIC, MAC])
@pytest.mark.parametrize("each_message", [True, False])
def test_the_whole_way_out(bench: Bench, scheme: str, each_message: bool) -> None:  # noqa: FBT001 - a case
    """Told in package 2 with nothing beside it; no answer; package 1 of the next session says it; then refused."""
    device = bench.enrol(scheme=scheme, each_message=each_message)
    device.installable = {A: (1, 200)}
    bench.catalogue(A)
    bench.approve(A)
    leave(bench)
    with capture_logs() as logs:
        reply = abort(bench, device, "1")
    told = bench.now
    commands = [each for each in reply.commands if not isinstance(each, Status)]
    assert commands == [
        Exec(
            cmd_id=commands[0].cmd_id,
            items=(Item(target=commands[0].items[0].target, meta=Meta(format="chr"), data="CSPBridge"),),
        )
    ]
    assert commands[0].items[0].target.loc_uri == NEWER
    assert reply.final
    assert (row(bench)["retire_told_at"], row(bench)["unenrolled_at"]) == (told, None)
    device.proving = True
    message, state = device.begin("2")
    message = with_alert(message, gone())
    with capture_logs() as more:
        answered = device.post(message)
    last = read_message(answered.body)
    assert last.final
    assert all(isinstance(each, Status) and each.data in {"200", "212"} for each in last.commands)
    assert row(bench)["unenrolled_at"] == bench.now
    assert [kind for kind, _ in timeline(bench)] == ["retire_requested", "retire_told", "unenrolled"]
    assert timeline(bench)[-1][1] == {"by": "server"}
    assert [each for each in (*logs, *more) if each["log_level"] != "info"] == []
    # a lost answer is given again, and a new session is not begun
    assert device.post(message).body == answered.body
    device.hear(state, answered)
    device.proving = True
    before = bench.dump()
    status = read_message(device.post(device.begin("3")[0]).body).commands[0]
    assert isinstance(status, Status)
    assert (status.data, status.chal) == ("401", None)
    assert bench.dump() == before


def test_it_is_told_again_at_each_session_until_it_leaves(bench: Bench) -> None:
    """Also one that says 200 and stays; a command it does not answer is no failure and no warning."""
    device = bench.enrol()
    leave(bench)
    with capture_logs() as logs:
        for number in (1, 2):
            abort(bench, device, str(number))
            bench.now += timedelta(hours=8)
        device.sessions = 2
        assert device.check_in() is Verdict.END
        assert device.check_in() is Verdict.END
    assert device.asked == [f"Exec {NEWER}"] * 2
    assert [each for each in logs if each["log_level"] != "info"] == []
    assert [kind for kind, _ in timeline(bench)] == ["retire_requested", "retire_told"]
    assert row(bench)["unenrolled_at"] is None
    assert row(bench)["retire_told_at"] > row(bench)["retire_requested_at"]


@pytest.mark.parametrize("status", [404, 405])
def test_a_windows_without_the_node_is_told_the_older_way(bench: Bench, status: int) -> None:
    """In the same session; other refusals are told on the timeline and not worked around."""
    device = bench.enrol()
    device.answers = {NEWER: Outcome(status)}
    leave(bench)
    device.check_in()
    assert device.asked == [f"Exec {NEWER}", f"Exec {OLDER}"]


def test_a_refusal_is_told(bench: Bench) -> None:
    """Once a day, as that of any command."""
    device = bench.enrol()
    device.answers = {NEWER: Outcome(403)}
    leave(bench)
    device.check_in()
    device.check_in()
    assert device.asked == [f"Exec {NEWER}"] * 2
    assert [detail["status"] for kind, detail in timeline(bench) if kind == "command_failed"] == [403]


def test_asked_in_the_middle_of_a_session(bench: Bench) -> None:
    """What was asked is still heard; what comes next is the command to leave."""
    device = bench.enrol()
    message, state = device.begin()
    turn = device.say(message, state)
    leave(bench)
    message, state = device.answer(turn)
    turn = device.say(message, state)
    assert [each.items[0].target.loc_uri for each in turn.commands] == [NEWER]
    assert row(bench)["state_read_at"] is not None


def test_counted_as_gone_in_the_middle_of_a_session(bench: Bench) -> None:
    """Where the first message has proved the session, the next one would need no proof: it is refused all the same."""
    device = bench.enrol(each_message=False)
    message, state = device.begin()
    turn = device.say(message, state)
    leave(bench, at_once=True)
    before = bench.dump()
    message, state = device.answer(turn)
    first = read_message(device.post(message).body).commands[0]
    assert isinstance(first, Status)
    assert (first.data, first.chal) == ("401", None)
    assert bench.dump() == before


def test_a_session_and_a_retirement_at_the_same_time(bench: Bench) -> None:
    """One comes after the other: whichever is first, the device is gone and no session is left of it."""
    devices = [bench.enrol(f"DEV{number}") for number in range(6)]
    moment, barrier = bench.now, Barrier(2 * len(devices))

    def retire_one(device: ScriptedDevice) -> None:
        barrier.wait(30)
        with bench.database.write() as conn:
            retire(conn, ORIGIN, f"id-{device.device_id}", at_once=True, now=moment)

    def check_in(device: ScriptedDevice) -> Verdict:
        barrier.wait(30)
        return device.check_in()

    with ThreadPoolExecutor(2 * len(devices)) as pool:
        retired = [pool.submit(retire_one, device) for device in devices]
        sessions = [pool.submit(check_in, device) for device in devices]
        assert [each.result(60) for each in retired] == [None] * len(devices)
        assert {each.result(60) for each in sessions} <= {Verdict.END, Verdict.REFUSED}
    assert {each["unenrolled_at"] for each in bench.rows("device")} == {moment}
    assert not any(each["open"] for each in bench.rows("dm_session"))


def test_a_cancelled_retirement_leaves_no_trace_in_sessions(bench: Bench) -> None:
    """The next one asks and tells everything again."""
    device = bench.enrol()
    leave(bench)
    device.check_in()
    with bench.database.write() as conn:
        cancel_retirement(conn, ORIGIN, "id-DEV1", now=bench.now)
    device.asked.clear()
    device.check_in()
    assert f"Exec {NEWER}" not in device.asked
    assert len(device.asked) > 5


def test_without_a_name_there_it_is_told_nothing(bench: Bench) -> None:
    """Nothing else either: it waits, and is not said to have been told."""
    bench.checkin = replace(bench.checkin, provider_id=None)
    device = bench.enrol()
    leave(bench)
    assert device.check_in() is Verdict.END
    assert device.asked == []
    assert row(bench)["retire_told_at"] is None


def test_another_session_that_is_abandoned_is_still_warned_of(bench: Bench) -> None:
    """Queries without an answer are no farewell."""
    device = bench.enrol()
    abort(bench, device, "1")
    leave(bench)
    with capture_logs() as logs:
        abort(bench, device, "2")
    assert "dm_session_abandoned" in [each["event"] for each in logs]


def test_a_session_goes_on_in_another_process(bench: Bench) -> None:
    """That the newer node is missing is remembered with the session."""
    device = bench.enrol()
    device.answers = {NEWER: Outcome(405), OLDER: Outcome(405)}
    leave(bench)
    message, state = device.begin()
    for expected in ([NEWER], [OLDER], []):
        turn = device.say(message, state)
        assert [each.items[0].target.loc_uri for each in turn.commands] == expected
        bench.checkin = replace(bench.checkin)
        if expected:
            message, state = device.answer(turn)
    assert turn.verdict is Verdict.END


@pytest.mark.parametrize(
    "meta", [Meta(type=LEFT, format="int"), Meta(type=LEFT), Meta(type=LEFT, format="chr")]
)
def test_the_alert_in_its_forms(bench: Bench, meta: Meta) -> None:
    """By its type alone: a user's own unenrolment and that of a work account are told alike."""
    device = bench.enrol()
    message, _ = device.begin()
    synctype = Alert(
        cmd_id="8", data="1224", items=(Item(meta=Meta(type="com.microsoft.mdm.synctype"), data="user"),)
    )
    reply = read_message(device.post(with_alert(with_alert(message, synctype), gone(meta))).body)
    assert all(isinstance(each, Status) and each.data == "200" for each in reply.commands)
    assert timeline(bench)[-1] == ("unenrolled", {"by": "user"})


def test_a_package_that_goes_on_after_the_alert_is_heard_out(bench: Bench) -> None:
    """Without commands at its end."""
    device = bench.enrol(each_message=False)
    message, state = device.begin()
    device.hear(state, device.post(replace(with_alert(message, gone()), final=False)))
    assert row(bench)["unenrolled_at"] is not None
    header = replace(message.header, msg_id="2", cred=None)
    reply = read_message(bench.post(replace(message, header=header, commands=())))
    assert all(isinstance(each, Status) for each in reply.commands)
    assert len([kind for kind, _ in timeline(bench) if kind == "unenrolled"]) == 1


# --- what a refusal says ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "status", "challenge"),
    [
        ("unknown", "407", True),
        ("unknown, with credentials", "401", True),
        ("deleted, with credentials", "401", True),
        ("no credentials", "407", True),
        ("no certificate", "407", False),
        ("wrong credentials", "401", True),
        ("wrong credentials, too often", "401", False),
        ("said that it has left", "401", False),
        ("counted as gone", "401", False),
        ("auth-basic without TLS", "401", False),
        ("another protocol", "513", False),
        ("another version of messages", "505", False),
    ],
)
def test_what_each_refusal_answers(
    bench: Bench,
    case: str,
    status: str,
    challenge: bool,  # noqa: FBT001 - a case
) -> None:
    """Statuses and nothing else: no refusal tells a device to leave, nor writes that it has."""
    device = bench.enrol(scheme=BASIC if "basic" in case else MD5)
    other = bench.enrol("DEV2")
    bench.private = "basic" not in case
    other.device_id = "DEV2"
    prepare(bench, device, case)
    message, _ = device.begin("7")
    if case in {"unknown", "unknown, with credentials"}:
        message = replace(message, header=with_source(message, "NOBODY"))
    if case in {"unknown", "no credentials"}:
        message = replace(message, header=replace(message.header, cred=None, source=message.header.source))
    if case == "another protocol":
        message = replace(message, header=replace(message.header, ver_proto="DM/2.0"))
    if case == "another version of messages":
        message = replace(message, header=replace(message.header, ver_dtd="2.0"))
    reply = read_message(bench.post(message))
    assert reply.final
    assert all(isinstance(each, Status) for each in reply.commands)
    first = reply.commands[0]
    assert isinstance(first, Status)
    assert (first.data, first.chal is not None) == (status, challenge)
    assert {each.data for each in reply.commands if isinstance(each, Status)} == {status}
    (untouched,) = [each for each in bench.rows("device") if each["device_id"] == "DEV2"]
    assert untouched["unenrolled_at"] is None
    assert untouched["last_checkin_at"] is None


def prepare(bench: Bench, device: ScriptedDevice, case: str) -> None:
    """Bring the device into the state that is refused."""
    if case == "deleted, with credentials":
        with bench.database.write() as conn:
            delete_device(conn, ORIGIN, "id-DEV1", now=bench.now)
    elif case.startswith("wrong credentials"):
        device.password = "guess"
        for number in range(4 if "often" in case else 0):
            device.post(device.begin(str(number + 1))[0])
    elif case == "said that it has left":
        message, state = device.begin("6")
        device.hear(state, device.post(with_alert(message, gone())))
    elif case == "no certificate":
        with bench.database.write() as conn:
            conn.exec_driver_sql("UPDATE device SET certificate_required = true WHERE device_id = 'DEV1'")
    elif case == "counted as gone":
        leave(bench, at_once=True)


def with_source(message: Message, device_id: str) -> Any:
    """The header of a device of another name."""
    return replace(message.header, source=replace(message.header.source, loc_uri=device_id))


def test_a_deleted_device_gives_up_at_once(bench: Bench) -> None:
    """Two messages a poll: the second challenge is the first one again, which ends it (DM_Protocol 9)."""
    device = bench.enrol()
    device.check_in()
    with bench.database.write() as conn:
        delete_device(conn, ORIGIN, "id-DEV1", now=bench.now)
    before = bench.dump()
    for session in ("8", "9"):
        nonces = []
        for _ in range(2):
            message, state = device.begin(session)
            turn = device.hear(state, device.post(message))
            assert turn.verdict is Verdict.CHALLENGED
            nonces.append(turn.next_nonce)
        assert nonces[0] == nonces[1]
    assert bench.dump() == before


def test_garbage_tells_nobody_to_leave(bench: Bench) -> None:
    """What is no message gets no reply that a device could take for one."""
    bench.enrol()
    before = bench.dump()
    with pytest.raises(RemoteProtocolError):
        bench.post(b"<SyncML/>")
    assert bench.dump() == before
