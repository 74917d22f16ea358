"""A virtual device over real sockets: against a served bridge, and against a server that does as it is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from csp.classifications import SECURITY_UPDATES
from mdm.lab.catalogue import OfferedUpdate
from mdm.lab.device import (
    MEDIA_TYPE,
    Interruption,
    Patience,
    SessionEnd,
    SessionReport,
    VirtualDevice,
)
from mdm.lab.enrol import enrol
from mdm.lab.manners import MESSAGE_SIZE, SYNC_TYPE_ALERT, UNENROL_ALERT, UNKNOWN_ALERT, Manners, Terms
from mdm.lab.store import Account, DeviceRecord, DeviceStore, Identity
from mdm.lab.windows import Habits
from syncml.auth import challenge
from syncml.messages import (
    Add,
    Alert,
    Atomic,
    Get,
    Item,
    Location,
    Message,
    Results,
    Status,
    SyncHdr,
    Unknown,
)
from syncml.reader import read_message
from syncml.writer import write_message

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx2

    from syncml.messages import Command

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
DEVICE_ID = "B5B954E81FBCB94EB79BD08BE625F4EE"
UPDATE = "./Vendor/MSFT/Update"
IMPATIENT = Patience(attempts=3, first_wait=0.5, longest_wait=8, timeout=5)
Answer = tuple[int, dict[str, str], bytes]


def offers(count: int) -> list[OfferedUpdate]:
    """Updates as a scan finds them."""
    return [
        OfferedUpdate(
            update_id=f"00000000-0000-4000-8000-{number:012d}",
            revision_number=200,
            title=f"Update {number}",
            kb=None,
            classification_id=SECURITY_UPDATES,
            eula_id=None,
            type=1,
            needs_reboot=False,
            supersedes=(),
        )
        for number in range(count)
    ]


def device(
    state_dir: Path, url: str, http: httpx2.Client, *, nonce: bytes | None = b"first", **options: Any
) -> VirtualDevice:
    """A device whose waits are noted in `waits`, not waited."""
    record = DeviceRecord(
        Identity(DEVICE_ID, "PC-1", "10.0.26100.4652"),
        Account(f"{url}/omadm", options.pop("scheme", "syncml:auth-md5"), "user", "password"),
        nonce,
    )
    found = options.pop("offers", [])
    options = {"patience": IMPATIENT, "sleep": lambda _: None} | options
    return VirtualDevice(record, DeviceStore(state_dir), lambda _: found, http=http, **options)


def respond(
    *commands: Command,
    status: int = 200,
    nonce: bytes | None = None,
    scheme: str = "syncml:auth-md5",
    **header: str,
) -> Callable[[bytes], Answer]:
    """A server's answer: a Status for the SyncHdr, then these commands."""

    def answer(body: bytes) -> Answer:
        asked = read_message(body).header
        first = Status(
            cmd_id="1",
            msg_ref=asked.msg_id,
            cmd_ref="0",
            cmd="SyncHdr",
            data=str(status),
            chal=challenge(scheme, nonce) if nonce is not None else None,
        )
        reply = Message(
            SyncHdr(
                session_id=header.get("session_id", asked.session_id),
                msg_id=asked.msg_id,
                target=asked.source,
                source=asked.target,
            ),
            (first, *commands),
        )
        return 200, {"Content-Type": MEDIA_TYPE}, write_message(reply)

    return answer


def get(cmd_id: str, uri: str) -> Get:
    """A Get of one node."""
    return Get(cmd_id, (Item(target=Location(uri)),))


# --- against a bridge -----------------------------------------------------------------------------------


def enrolled(served: Any, state_dir: Path, http: httpx2.Client, **options: Any) -> VirtualDevice:
    """A device the bridge knows."""
    identity = Identity(f"E{abs(hash(str(state_dir))):031X}"[:32], "PC-1", "10.0.26100.4652")
    made = enrol(served.api(http), identity, options.pop("terms", None))
    record = made.record(identity)
    found = options.pop("offers", offers(3))
    return VirtualDevice(record, DeviceStore(state_dir), lambda _: found, http=http, **options)


@pytest.mark.parametrize("challenged", [False, True])
@pytest.mark.parametrize(
    "terms",
    [
        Terms(auth, each, server)
        for auth in ("syncml:auth-md5", "syncml:auth-basic", "syncml:auth-MAC")
        for each in (True, False)
        for server in (None, "syncml:auth-md5", "syncml:auth-MAC")
    ],
    ids=str,
)
def test_sessions_with_a_bridge_are_completed(
    served: Any, state_dir: Path, http: httpx2.Client, terms: Terms, *, challenged: bool
) -> None:
    """Session after session, with credentials at once or when asked, and a new nonce each time."""
    wire: list[tuple[bytes, bytes]] = []
    pc = enrolled(served, state_dir, http, terms=terms, manners=Manners(challenged=challenged), wire=wire)
    reports, nonces = [], set()
    for _ in range(3):
        reports.append(pc.check_in(NOW))
        nonces.add(pc.record.nonce)
    assert [(report.end, report.session_id, report.resends) for report in reports] == [
        (SessionEnd.COMPLETE, str(number), 0) for number in range(3)
    ]
    least = 3 if challenged else 2
    # the first session has one message more: it raises the version that the others tell errors with
    assert [report.messages for report in reports] == [least + 1, least, least]
    assert [command.status for command in reports[0].commands] == [200] * 13
    assert [command.verb for command in reports[0].commands] == ["Get"] * 12 + ["Replace"]
    assert reports[0].commands[-1].loc_uri.endswith("/SyncApplicationVersion")
    assert len(wire) == sum(report.messages for report in reports)
    assert len(nonces) == (1 if terms.auth.endswith("basic") else 3)


@pytest.mark.parametrize("scheme", ["syncml:auth-md5", "syncml:auth-MAC"])
def test_a_server_that_has_lost_the_nonce_proves_itself_anew(
    served: Any, state_dir: Path, http: httpx2.Client, scheme: str
) -> None:
    """Its commands are refused with a challenge, come again with the new nonce, and are carried out once."""
    manners = Manners(suspicious=True)
    wire: list[tuple[bytes, bytes]] = []
    terms = Terms(server_auth=scheme)
    pc = enrolled(served, state_dir, http, terms=terms, manners=manners, wire=wire)
    for messages in (4, 3):
        wire.clear()
        report = pc.check_in(NOW)
        assert (report.end, report.messages) == (SessionEnd.COMPLETE, messages)
        asked = [(command.verb, command.loc_uri) for command in report.commands]
        assert len(asked) == len(set(asked)) >= 5
        refusal = read_message(wire[1][0]).commands
        assert {each.data for each in refusal if isinstance(each, Status)} == {"401"}


def test_a_server_with_another_password_is_given_nothing(
    served: Any, state_dir: Path, http: httpx2.Client
) -> None:
    """The device carries out nothing, and the bridge gives up after its tries instead of asking for ever."""
    pc = enrolled(served, state_dir, http, terms=Terms(server_auth="syncml:auth-md5"))
    pc.record = replace(pc.record, account=replace(pc.record.account, server_password="wrong"))
    report = pc.check_in(NOW)
    assert (report.end, report.commands) == (SessionEnd.COMPLETE, ())
    api = served.api(http)
    (known,) = [each for each in api.every("/devices") if each["device_id"] == pc.device_id]
    kinds = [event["kind"] for event in api.every(f"/devices/{known['id']}/timeline")]
    assert "distrusted" in kinds


def test_package_1_is_what_windows_sends(served: Any, state_dir: Path, http: httpx2.Client) -> None:
    """No XML declaration, CmdIDs from 2, Alert 1201, LoginStatus, DevInfo; the Target has no query."""
    wire: list[tuple[bytes, bytes]] = []
    pc = enrolled(served, state_dir, http, wire=wire)
    pc.check_in(NOW)
    body = wire[0][0]
    assert body.startswith(b'<SyncML xmlns="SYNCML:SYNCML1.2"><SyncHdr><VerDTD>1.2</VerDTD>')
    message = read_message(body)
    assert message.header.target.loc_uri == pc.record.account.server_uri
    assert [(type(each).__name__, each.cmd_id) for each in message.commands] == [
        ("Alert", "2"), ("Alert", "3"), ("Replace", "4"),
    ]  # fmt: skip
    assert message.final


def test_a_long_answer_comes_in_several_messages(served: Any, state_dir: Path, http: httpx2.Client) -> None:
    """Results beyond one message's room follow in the same package; the bridge reads all of them."""
    wire: list[tuple[bytes, bytes]] = []
    pc = enrolled(served, state_dir, http, offers=offers(240), wire=wire)
    report = pc.check_in(NOW)
    assert report.ok
    requests = [read_message(body) for body, _ in wire]
    assert [message.final for message in requests] == [True, *[False] * (len(requests) - 3), True, True]
    assert len(requests) > 4
    assert max(len(body) for body, _ in wire) < MESSAGE_SIZE + 2_000
    api = served.api(http)
    (known,) = [each for each in api.every("/devices") if each["device_id"] == pc.device_id]
    assert sum(1 for _ in api.every(f"/devices/{known['id']}/updates", state="installable")) == 240


def test_a_wrong_password_is_refused(served: Any, state_dir: Path, http: httpx2.Client) -> None:
    """The challenge after a wrong digest is answered once; the same one again ends the session."""
    pc = enrolled(served, state_dir, http)
    pc.record = replace(pc.record, account=replace(pc.record.account, password="wrong"))
    report = pc.check_in(NOW)
    assert report.end is SessionEnd.REFUSED
    assert (report.messages, report.commands, report.detail) == (2, (), "SyncML status 401")
    assert not report.ok


def test_a_device_goes_on_from_its_file(served: Any, state_dir: Path, http: httpx2.Client) -> None:
    """Another process with the same state directory is the same device: nonce, sessions, updates, policies."""
    pc = enrolled(served, state_dir, http)
    pc.check_in(NOW)
    pc.windows.set_policy("AllowAutoUpdate", "3", NOW)
    pc.save()
    record = DeviceStore(state_dir).load(pc.device_id)
    assert record is not None
    again = VirtualDevice(record, DeviceStore(state_dir), lambda _: (), http=http)
    assert again.record == pc.record
    report = again.check_in(NOW)
    assert (report.end, report.session_id, report.messages) == (SessionEnd.COMPLETE, "1", 2)


def installable(served: Any, http: httpx2.Client, pc: VirtualDevice) -> dict[str, Any]:
    """What the bridge was told of each update of a device."""
    api = served.api(http)
    (known,) = [each for each in api.every("/devices") if each["device_id"] == pc.device_id]
    return {row["update_id"]: row for row in api.every(f"/devices/{known['id']}/updates")}


MANNERS = {
    "small messages": Manners(message_size=4_096),
    "long values": Manners(longest_value=5),
    "an opening in two parts": Manners(opens_in_parts=True),
    "an opening in two parts, challenged": Manners(opens_in_parts=True, challenged=True),
    "keep-alives": Manners(pending=3),
    "alerts": Manners(login_status="none", alerts=(SYNC_TYPE_ALERT, UNKNOWN_ALERT)),
    "all of it": Manners(
        challenged=True,
        message_size=4_096,
        longest_value=7,
        opens_in_parts=True,
        pending=1,
        login_status="others",
        alerts=(SYNC_TYPE_ALERT, UNKNOWN_ALERT),
    ),
}


@pytest.mark.parametrize("scheme", ["syncml:auth-md5", "syncml:auth-basic", "syncml:auth-MAC"])
@pytest.mark.parametrize("name", MANNERS)
def test_a_bridge_understands_all_manners(
    served: Any, state_dir: Path, http: httpx2.Client, name: str, scheme: str
) -> None:
    """However a device speaks, the bridge knows the same of it afterwards, and says nothing before its Final."""
    manners = MANNERS[name]
    wire: list[tuple[bytes, bytes]] = []
    pc = enrolled(served, state_dir, http, offers=offers(60), manners=manners, wire=wire, terms=Terms(scheme))
    report = pc.check_in(NOW)
    assert report.ok, report
    told = installable(served, http, pc)
    assert {row["state"] for row in told.values()} == {"installable"}
    assert {row["revision_number"] for row in told.values()} == {200}
    assert len(told) == 60
    longest = manners.message_size or MESSAGE_SIZE + 2_000
    for body, reply in wire:
        request, answer = read_message(body), read_message(reply)
        assert len(body) <= longest
        assert answer.final is (request.final or answer.commands[0].data in {"401", "407"})  # type: ignore[union-attr]
        if not answer.final:
            alerts = [each.data for each in answer.commands if isinstance(each, Alert)]
            assert alerts == ["1222"]
            assert all(isinstance(each, (Alert, Status)) for each in answer.commands)


def test_long_values_come_in_chunks(served: Any, state_dir: Path, http: httpx2.Client) -> None:
    """Values in chunks of six characters: 213 for each chunk but the last, and the whole arrives."""
    wire: list[tuple[bytes, bytes]] = []
    pc = enrolled(served, state_dir, http, manners=Manners(longest_value=6), wire=wire)
    assert pc.check_in(NOW).ok
    items = [
        item
        for body, _ in wire
        for each in read_message(body).commands
        if isinstance(each, Results)
        for item in each.items
        if item.source == Location(f"{UPDATE}/LastSuccessfulScanTime")
    ]
    assert [item.data for item in items] == ["2026-1", "1-21T1", "2:00:0", "0Z"]
    assert [item.more_data for item in items] == [True, True, True, False]
    answers = [
        each.data
        for _, reply in wire
        for each in read_message(reply).commands
        if isinstance(each, Status) and each.cmd == "Results"
    ]
    # the time in 4 chunks, the build (10.0.26100.4652) in 3, the edition (Windows 11 Enterprise) in 4, the serial
    # number (7 characters) in 2
    assert answers == ["213"] * (3 + 2 + 3 + 1)
    api = served.api(http)
    (known,) = [each for each in api.every("/devices") if each["device_id"] == pc.device_id]
    view = api.get(f"/devices/{known['id']}")
    assert view["last_scan_time"] == "2026-11-21T12:00:00Z"
    assert (view["os_version"], view["os_edition"]) == ("10.0.26100.4652", "Windows 11 Enterprise")


def test_alerts_are_answered_one_by_one(served: Any, state_dir: Path, http: httpx2.Client) -> None:
    """What the bridge knows gets 200, a client event nobody knows 406; who is logged on is kept."""
    wire: list[tuple[bytes, bytes]] = []
    manners = Manners(login_status="others", alerts=(SYNC_TYPE_ALERT, UNKNOWN_ALERT))
    pc = enrolled(served, state_dir, http, manners=manners, wire=wire)
    assert pc.check_in(NOW).ok
    statuses = [
        (each.cmd, each.data) for each in read_message(wire[0][1]).commands if isinstance(each, Status)
    ]
    assert statuses == [
        ("SyncHdr", "200"), ("Alert", "200"), ("Alert", "200"), ("Alert", "200"), ("Alert", "406"),
        ("Replace", "200"),
    ]  # fmt: skip


def test_a_user_who_leaves_is_told_nothing_more(served: Any, state_dir: Path, http: httpx2.Client) -> None:
    """The unenrolment alert stands in one package 1; the bridge takes note and sends no command."""
    pc = enrolled(served, state_dir, http)
    report = pc.check_in(NOW, alerts=(UNENROL_ALERT,))
    assert (report.end, report.messages, report.commands) == (SessionEnd.COMPLETE, 1, ())


@pytest.mark.parametrize("heard", [True, False])
@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_session_is_broken_off_and_begun_anew(
    served: Any, state_dir: Path, http: httpx2.Client, after: int, *, heard: bool
) -> None:
    """Whether the last answer was carried out or not: the next session comes to the same."""
    pc = enrolled(served, state_dir, http)
    report = pc.check_in(NOW, interruption=Interruption(after, heard))
    if report.messages == 3 and heard:
        assert report.end is SessionEnd.COMPLETE  # that answer had no command: nothing was left to break off
    else:
        assert (report.end, report.messages, report.ok) == (SessionEnd.ABANDONED, after, False)
    assert pc.check_in(NOW).ok
    assert len(installable(served, http, pc)) == 3


def test_a_reboot_begins_with_session_0_and_what_is_stored(
    served: Any, state_dir: Path, http: httpx2.Client
) -> None:
    """What was not saved is gone, what waited for a restart is installed, and the bridge takes "0" again."""
    pc = enrolled(served, state_dir, http, offers=[replace(offers(1)[0], needs_reboot=True)])
    assert [pc.check_in(NOW).session_id for _ in range(2)] == ["0", "1"]
    pc.windows.hurry(NOW)
    pc.save()
    pc.windows.set_policy("AllowAutoUpdate", "3", NOW)
    before = pc.record
    pc.reboot(NOW)
    assert pc.windows.state.policies == {}
    assert [job.update.update_id for job in pc.windows.installed()] == [offers(1)[0].update_id]
    assert pc.record.nonce == before.nonce
    assert DeviceStore(state_dir).load(pc.device_id) == pc.record
    report = pc.check_in(NOW)
    assert (report.end, report.session_id) == (SessionEnd.COMPLETE, "0")
    assert {row["state"] for row in installable(served, http, pc).values()} == {"installed"}


# --- against a server that does as it is told -----------------------------------------------------------


def test_the_request_looks_like_windows(scripted: Any, state_dir: Path, http: httpx2.Client) -> None:
    """The query on the URL only, the media type, the user agent, a correlation vector that counts sessions."""
    scripted.script += [respond(), respond()]
    pc = device(state_dir, scripted.url, http)
    assert [pc.check_in(NOW).end for _ in range(2)] == [SessionEnd.COMPLETE] * 2
    path, headers, _ = scripted.requests[0]
    assert path == "/omadm?mode=Maintenance&Platform=WoA"
    assert headers["Content-Type"] == MEDIA_TYPE
    assert headers["User-Agent"] == "MSFT OMA DM Client/1.2.0.1"
    assert headers["Client-Request-Id"] == "0"
    vectors = [request[1]["Ms-Cv"].split(".", 1) for request in scripted.requests]
    assert [count for _, count in vectors] == ["0.0.0", "0.0.1"]
    assert vectors[0][0] == vectors[1][0]


def test_a_lost_answer_is_asked_for_again(scripted: Any, state_dir: Path, http: httpx2.Client) -> None:
    """The same bytes once more, after waits that double; the session goes on as if nothing had been."""
    waits: list[float] = []
    scripted.script += [lambda _: None, lambda _: None, respond()]
    report = device(state_dir, scripted.url, http, sleep=waits.append).check_in(NOW)
    assert (report.end, report.messages, report.resends) == (SessionEnd.COMPLETE, 1, 2)
    assert waits == [0.5, 1.0]
    assert len({body for _, _, body in scripted.requests}) == 1


def test_a_server_that_is_away_ends_the_session(state_dir: Path, http: httpx2.Client) -> None:
    """After its attempts the device gives up; the next session has another SessionID."""
    pc = device(state_dir, "http://127.0.0.1:9", http)
    first, second = pc.check_in(NOW), pc.check_in(NOW)
    assert (first.end, first.session_id, first.messages) == (SessionEnd.UNREACHABLE, "0", 0)
    assert "ConnectError" in first.detail
    assert second.session_id == "1"


@pytest.mark.parametrize(
    ("headers", "waits"),
    [
        ({}, [0.5, 1.0]),
        ({"Retry-After": "3"}, [3.0, 6.0]),
        ({"Retry-After": "999"}, [8.0, 8.0]),
        ({"Retry-After": "Sat, 21 Nov 2026 12:00:00 GMT"}, [0.5, 1.0]),
    ],
)
@pytest.mark.parametrize("status", [503, 429, 500])
def test_a_busy_server_is_given_time(
    scripted: Any,
    state_dir: Path,
    http: httpx2.Client,
    status: int,
    headers: dict[str, str],
    waits: list[float],
) -> None:
    """HTTP 5xx and 429 are repeated; Retry-After in seconds makes the wait longer, up to the device's limit."""
    noted: list[float] = []
    scripted.script += [lambda _: (status, headers, b"busy"), lambda _: (status, {}, b"busy"), respond()]
    report = device(state_dir, scripted.url, http, sleep=noted.append).check_in(NOW)
    assert (report.end, report.resends) == (SessionEnd.COMPLETE, 2)
    assert noted == waits


def test_a_rejection_is_not_repeated(scripted: Any, state_dir: Path, http: httpx2.Client) -> None:
    """HTTP 4xx means that the message is wrong: the same bytes would be so again."""
    scripted.script.append(lambda _: (400, {}, b"no"))
    report = device(state_dir, scripted.url, http).check_in(NOW)
    assert (report.end, report.detail) == (SessionEnd.REJECTED, "HTTP 400 no")
    assert len(scripted.requests) == 1


@pytest.mark.parametrize("body", [b"", b"<html/>", b"<SyncML xmlns='SYNCML:SYNCML1.2'/>"])
def test_an_answer_that_is_no_message_ends_the_session(
    scripted: Any, state_dir: Path, http: httpx2.Client, body: bytes
) -> None:
    """What cannot be read ends the session with the reader's sentence, not with an exception."""
    scripted.script.append(lambda _: (200, {}, body))
    report = device(state_dir, scripted.url, http).check_in(NOW)
    assert report.end is SessionEnd.UNREADABLE
    assert report.detail


@pytest.mark.parametrize(
    ("answer", "end"),
    [
        (respond(Alert("2", "1223")), SessionEnd.ABORTED),
        (respond(status=513), SessionEnd.REFUSED),
        (respond(session_id="other"), SessionEnd.REFUSED),
        (respond(status=401), SessionEnd.REFUSED),
        (respond(status=407, nonce=b"", scheme="syncml:auth-basic"), SessionEnd.REFUSED),
    ],
)
def test_the_server_may_end_it(
    scripted: Any, state_dir: Path, http: httpx2.Client, answer: Callable[[bytes], Answer], end: SessionEnd
) -> None:
    """An abort, a refusal, an answer to another session, a weaker scheme: the device sends nothing more."""
    scripted.script.append(answer)
    report = device(state_dir, scripted.url, http).check_in(NOW)
    assert report.end is end
    assert len(scripted.requests) == 1


def test_challenges_are_answered_a_few_times(scripted: Any, state_dir: Path, http: httpx2.Client) -> None:
    """Each new nonce is kept and tried, up to a limit; the nonce of the last one is for the next session."""
    scripted.script += [respond(status=407, nonce=bytes([number])) for number in range(9)]
    pc = device(state_dir, scripted.url, http, nonce=None)
    report = pc.check_in(NOW)
    assert (report.end, report.messages) == (SessionEnd.REFUSED, 4)
    assert DeviceStore(state_dir).load(DEVICE_ID) == pc.record
    assert pc.record.nonce == b"\x03"
    assert [read_message(body).header.cred is None for _, _, body in scripted.requests] == [
        True, False, False, False,
    ]  # fmt: skip


def test_a_challenge_in_the_middle_is_met_with_the_same_answer(
    scripted: Any, state_dir: Path, http: httpx2.Client
) -> None:
    """The message comes again with credentials: nothing is carried out twice."""
    scripted.script += [respond(get("2", UPDATE)), respond(status=401, nonce=b"new"), respond()]
    report = device(state_dir, scripted.url, http).check_in(NOW)
    assert (report.end, report.messages, len(report.commands)) == (SessionEnd.COMPLETE, 3, 1)
    before, after = (read_message(body) for _, _, body in scripted.requests[1:])
    assert after.commands[1:] == before.commands[1:]
    assert after.header.cred is not None
    assert after.header.cred != before.header.cred
    assert (before.header.msg_id, after.header.msg_id) == ("2", "3")


def test_commands_are_carried_out_and_reported(scripted: Any, state_dir: Path, http: httpx2.Client) -> None:
    """Every command is answered in order, stored before the answer is sent, and stands in the report."""
    add = Add("", (Item(target=Location(f"{UPDATE}/ApprovedUpdates/{offers(1)[0].update_id}")),))
    stored: list[Any] = []

    def look(body: bytes) -> Answer:
        record = DeviceStore(state_dir).load(DEVICE_ID)
        assert record is not None
        stored.append(set(record.windows.approved))
        return respond()(body)

    atomic = Atomic("3", (replace(add, cmd_id="4"), replace(add, cmd_id="5")))
    scripted.script += [respond(get("2", UPDATE), atomic, replace(add, cmd_id="6"), Alert("7", "1100")), look]
    report = device(state_dir, scripted.url, http, offers=offers(1)).check_in(NOW)
    assert [(each.verb, each.status) for each in report.commands] == [
        ("Get", 200), ("Atomic", 507), ("Add", 216), ("Add", 418), ("Add", 200), ("Alert", 406),
    ]  # fmt: skip
    assert report.commands[0].loc_uri == UPDATE
    assert report.commands[1].loc_uri == ""
    assert stored == [{offers(1)[0].update_id}]
    answers = read_message(scripted.requests[1][2]).commands
    assert [each.cmd_ref for each in answers if isinstance(each, Status)] == [
        "0",
        "2",
        "3",
        "4",
        "5",
        "6",
        "7",
    ]
    assert [each.cmd_ref for each in answers if isinstance(each, Results)] == ["2"]


def test_an_unknown_command_is_answered_by_its_name(
    scripted: Any, state_dir: Path, http: httpx2.Client
) -> None:
    """Status 400 for what is no command; the report says what it was called."""

    def answer(body: bytes) -> Answer:
        status, headers, content = respond(get("2", UPDATE))(body)
        return (
            status,
            headers,
            content.replace(b"<Get><CmdID>2", b"<Fetch><CmdID>2").replace(b"</Get>", b"</Fetch>"),
        )

    scripted.script += [answer, respond()]
    report = device(state_dir, scripted.url, http).check_in(NOW)
    assert [(each.verb, each.status) for each in report.commands] == [(Unknown("Fetch").name, 400)]


def test_next_message_is_asked_for_without_end(scripted: Any, state_dir: Path, http: httpx2.Client) -> None:
    """A server that never ends the session is left after a limit."""
    scripted.script += [respond(Alert("2", "1222"))] * 300
    report = device(state_dir, scripted.url, http).check_in(NOW)
    assert (report.end, report.messages) == (SessionEnd.UNREADABLE, 200)


def test_one_large_list_is_cut_and_small_ones_share_a_message(
    scripted: Any, state_dir: Path, http: httpx2.Client
) -> None:
    """Items keep their order over all parts; as many Results as fit go together."""
    lists = ("InstallableUpdates?list=StructData", "FailedUpdates", "InstalledUpdates")
    gets = [get(str(number), f"{UPDATE}/{name}") for number, name in enumerate(lists, start=2)]
    scripted.script += [respond(*gets), *[respond(Alert("2", "1222"))] * 5, respond()]
    report = device(state_dir, scripted.url, http, offers=offers(500)).check_in(NOW)
    assert report.ok or len(scripted.requests) > 2
    results = [
        [each for each in read_message(body).commands if isinstance(each, Results)]
        for _, _, body in scripted.requests
    ]
    items = [item for each in results for part in each if part.cmd_ref == "2" for item in part.items]
    assert len(items) == 1 + 500 * 3
    assert {part.msg_ref for each in results for part in each} == {"1"}
    assert [part.cmd_ref for part in [each for each in results if each][-1]][-2:] == ["3", "4"]


def test_the_end_of_an_object_that_is_missed_is_taken_note_of(
    scripted: Any, state_dir: Path, http: httpx2.Client
) -> None:
    """Alert 1225 is answered 200, unlike alerts that would ask a user."""
    scripted.script += [respond(Alert("2", "1225"), Alert("3", "1100")), respond()]
    report = device(state_dir, scripted.url, http).check_in(NOW)
    assert [each.status for each in report.commands] == [200, 406]


def test_a_package_goes_on_after_a_command_in_between(
    scripted: Any, state_dir: Path, http: httpx2.Client
) -> None:
    """A server that speaks too early is answered in the same package, after what was to be said before."""
    manners = Manners(pending=2)
    scripted.script += [
        respond(get("2", f"{UPDATE}/DeferUpgrade")), respond(Alert("2", "1225")), respond(Alert("2", "1222")),
        respond(Alert("2", "1222")), respond(Alert("2", "1222")), respond(Alert("2", "1222")), respond(),
    ]  # fmt: skip
    report = device(state_dir, scripted.url, http, manners=manners).check_in(NOW)
    assert (report.end, report.messages) == (SessionEnd.COMPLETE, 7)
    sent = [read_message(body) for _, _, body in scripted.requests]
    assert [message.final for message in sent] == [True, *[False] * 5, True]
    refs = [
        [each.cmd_ref for each in message.commands if isinstance(each, Status)][1:] for message in sent[1:]
    ]
    assert refs == [[], [], ["2"], [], [], ["2"]]
    assert all(message.commands[0].data == "200" for message in sent[1:])  # type: ignore[union-attr]


def test_time_passes_before_a_session(scripted: Any, state_dir: Path, http: httpx2.Client) -> None:
    """A check-in lets Windows do what is due first, and stores it."""
    scripted.script.append(respond())
    pc = device(state_dir, scripted.url, http, offers=offers(2), habits=Habits())
    pc.check_in(NOW)
    record = DeviceStore(state_dir).load(DEVICE_ID)
    assert record is not None
    assert record.windows.last_scan == NOW
    assert len(record.windows.jobs) == 2


def test_a_report_is_a_value() -> None:
    """Two sessions that came to the same are equal, and only a completed one is ok."""
    one = SessionReport("d", "1", SessionEnd.ABORTED, 1, 0, ())
    assert one == replace(one)
    assert not one.ok
    assert replace(one, end=SessionEnd.COMPLETE).ok
