"""What should not be said to a bridge: the right status, a log line, and not one row changed."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from mdm.clock import utc_now
from mdm.lab.device import MEDIA_TYPE
from syncml.auth import make_cred
from syncml.client import answer, begin, receive
from syncml.limits import DEFAULT_LIMITS
from syncml.messages import Add, Get, Results, Status
from syncml.reader import read_message
from syncml.writer import write_message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mdm.lab.device import VirtualDevice
    from syncml.messages import Message

pytestmark = pytest.mark.e2e

Rows = dict[str, list[tuple[Any, ...]]]


def dump(stage: Any) -> Rows:
    """Every row of every table, but for when tokens were last used."""
    with closing(
        sqlite3.connect(f"file:{stage.bridge.data_dir}/bridge.sqlite3?mode=ro", uri=True)
    ) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: sorted(database.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr)  # noqa: S608 - its own names
            for name in names
            if name != "api_token"
        }


class Log:
    """The lines the bridge writes from here on."""

    def __init__(self, stage: Any) -> None:
        """Remember how long the log is."""
        self._path = stage.bridge.log_path
        self._start = self._path.stat().st_size

    def events(self) -> list[dict[str, Any]]:
        """The new lines, without those of the request log."""
        text = self._path.read_bytes()[self._start :].decode()
        return [line for line in map(json.loads, text.splitlines()) if line["event"] != "request"]


def post(stage: Any, body: bytes, content_type: str | None = MEDIA_TYPE) -> httpx2.Response:
    """Send bytes to the device endpoint."""
    headers = {} if content_type is None else {"Content-Type": content_type}
    response: httpx2.Response = stage.http.post(f"{stage.bridge.url}/omadm", content=body, headers=headers)
    return response


def package_1(device: VirtualDevice, *, password: str | None = None, session_id: str = "7") -> Message:
    """Package 1 of a device, with a Cred if a password is given."""
    account = device.record.account
    cred = None
    if password is not None:
        cred = make_cred(account.scheme, account.username, password, device.record.nonce or b"")
    message, _ = begin(
        session_id=session_id,
        device_id=device.device_id,
        server_uri=account.server_uri,
        device_info={"./DevInfo/DevId": device.device_id},
        cred=cred,
        username=account.username,
    )
    return message


def header_status(response: httpx2.Response) -> Status:
    """The Status for the SyncHdr in a reply."""
    assert response.status_code == 200
    assert response.headers["Content-Type"] == MEDIA_TYPE
    first = read_message(response.content).commands[0]
    assert isinstance(first, Status)
    assert first.cmd_ref == "0"
    return first


@pytest.fixture(scope="module")
def device(stage: Any) -> VirtualDevice:
    """A device that has checked in once."""
    _, found = stage.enrol()
    assert found.check_in(utc_now()).ok
    checked: VirtualDevice = found
    return checked


@pytest.fixture
def untouched(stage: Any) -> Iterator[None]:
    """Whatever the test sends, no row is different afterwards."""
    before = dump(stage)
    yield
    assert dump(stage) == before


def with_dtd(body: bytes) -> bytes:
    """The same document with an entity in a DTD."""
    declaration, rest = body.split(b"?>", 1)
    return declaration + b'?><!DOCTYPE SyncML [<!ENTITY a "aaaa">]>' + rest


WELL_FORMED = b'<SyncML xmlns="SYNCML:SYNCML1.2">'
DEEP = b"<a>" * 40 + b"</a>" * 40

NO_MESSAGE = [
    ("nothing", lambda _: b"", 400, "no element"),
    ("cut off", lambda body: body[:-20], 400, "no element"),
    ("crossed tags", lambda body: body.replace(b"</SyncHdr>", b"</SyncBody>"), 400, "mismatched"),
    ("two roots", lambda body: body + b"<x/>", 400, "junk"),
    ("a DTD", with_dtd, 400, "DOCTYPE"),
    ("UTF-16", lambda body: body.decode().replace("UTF-8", "UTF-16").encode("utf-16"), 400, "UTF-8"),
    ("no SyncML", lambda _: b"<html/>", 400, "SyncML"),
    ("no SyncHdr", lambda _: WELL_FORMED + b"<SyncBody/></SyncML>", 400, "SyncHdr"),
    ("no SessionID", lambda body: body.replace(b"<SessionID>7</SessionID>", b""), 400, "SessionID"),
    ("no MsgID", lambda body: body.replace(b"<MsgID>1</MsgID>", b"<MsgID>0</MsgID>"), 400, "MsgID"),
    ("too large", lambda body: body + b" " * DEFAULT_LIMITS.bytes, 413, "larger than"),
    ("too deep", lambda body: body.replace(b"<SyncBody>", b"<SyncBody>" + DEEP), 413, "open elements"),
    ("too long", lambda body: body.replace(b"user<", b"u" * 300_000 + b"<"), 413, "text"),
]


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("spoil", "status", "why"), [case[1:] for case in NO_MESSAGE], ids=[c[0] for c in NO_MESSAGE]
)
def test_what_is_no_message_is_an_http_error(
    stage: Any, device: VirtualDevice, spoil: Any, status: int, why: str
) -> None:
    """Malformed, with a DTD, too large or too deep: 400 or 413, one line with the reason, even with good credentials."""
    body = write_message(package_1(device, password=device.record.account.password))
    log = Log(stage)
    assert post(stage, spoil(body)).status_code == status
    (event,) = log.events()
    assert (event["event"], event["level"], event["http_status"]) == ("dm_rejected", "warning", status)
    assert why.lower() in event["why"].lower()


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    "content_type", [None, "text/xml", "application/vnd.syncml.dm+wbxml", "application/json"]
)
def test_another_content_type_is_refused(stage: Any, device: VirtualDevice, content_type: str | None) -> None:
    """WBXML included: 415, whatever the body is."""
    log = Log(stage)
    body = write_message(package_1(device, password=device.record.account.password))
    assert post(stage, body, content_type).status_code == 415
    (event,) = log.events()
    assert (event["event"], event["http_status"]) == ("dm_rejected", 415)


@pytest.mark.usefixtures("untouched")
def test_another_method_is_refused(stage: Any) -> None:
    """The endpoint has POST only."""
    assert stage.http.get(f"{stage.bridge.url}/omadm").status_code == 405


def as_stranger(message: Message) -> Message:
    """The same message from a device nobody enrolled."""
    header = message.header
    return replace(message, header=replace(header, source=replace(header.source, loc_uri="F" * 32)))


def shape(response: httpx2.Response) -> list[tuple[str, str, str, bool]]:
    """What a refusal says, but for names and nonces."""
    commands = read_message(response.content).commands
    assert all(isinstance(command, Status) for command in commands)
    return [
        (status.cmd_ref, status.cmd, status.data, status.chal is not None)
        for status in commands
        if isinstance(status, Status)
    ]


@pytest.mark.usefixtures("untouched")
def test_a_stranger_is_answered_like_an_acquaintance(stage: Any, device: VirtualDevice) -> None:
    """Without credentials nobody learns which devices exist: 407 with a challenge, and no command."""
    log = Log(stage)
    message = package_1(device)
    known, unknown = (post(stage, write_message(each)) for each in (message, as_stranger(message)))
    assert shape(known) == shape(unknown)
    assert shape(known) == [
        ("0", "SyncHdr", "407", True),
        ("2", "Alert", "407", False),
        ("3", "Alert", "407", False),
        ("4", "Replace", "407", False),
    ]
    assert [(event["event"], event["why"]) for event in log.events()] == [
        ("dm_refused", "no credentials"), ("dm_refused", "unknown device"),
    ]  # fmt: skip


@pytest.mark.usefixtures("untouched")
def test_a_stranger_with_credentials_is_refused(stage: Any, device: VirtualDevice) -> None:
    """Somebody's good credentials under another name: 401, and nothing is written about the name."""
    log = Log(stage)
    message = as_stranger(package_1(device, password=device.record.account.password))
    first = header_status(post(stage, write_message(message)))
    assert first.data == "401"
    assert [(event["event"], event["why"]) for event in log.events()] == [("dm_refused", "unknown device")]


def test_a_wrong_digest_costs_its_address_time_and_the_device_nothing(stage: Any) -> None:
    """401 with a challenge twice, then without; nothing but the count is written, and elsewhere the device is welcome."""
    _, device = stage.enrol()
    assert device.check_in(utc_now()).ok
    before = dump(stage)
    log = Log(stage)
    guesses = ["wrong", "wrong", "wrong", "wrong", device.record.account.password]
    statuses = [
        header_status(post(stage, write_message(package_1(device, password=guess, session_id="66"))))
        for guess in guesses
    ]
    assert [status.data for status in statuses] == ["401"] * 5
    assert [status.chal is None for status in statuses] == [False, False, True, True, True]
    assert [event["why"] for event in log.events()] == [
        *["wrong credentials"] * 3,
        *["too many wrong credentials from this address"] * 2,
    ]
    after = dump(stage)
    assert [row[1:3] for row in after.pop("auth_failure")] == [("127.0.0.1", 3)]
    assert before.pop("auth_failure") == []
    assert after == before
    elsewhere = httpx2.HTTPTransport(local_address="127.0.0.2")
    with httpx2.Client(transport=elsewhere, trust_env=False, timeout=60) as http:
        message = package_1(device, password=device.record.account.password)
        assert header_status(post(replace(stage, http=http), write_message(message))).data == "200"


@pytest.mark.usefixtures("untouched")
def test_a_version_nobody_speaks_is_refused(stage: Any, device: VirtualDevice) -> None:
    """DM/2.0 gets 513 on the SyncHdr and nothing else."""
    log = Log(stage)
    message = package_1(device, password=device.record.account.password)
    message = replace(message, header=replace(message.header, ver_proto="DM/2.0"))
    assert header_status(post(stage, write_message(message))).data == "513"
    assert [event["event"] for event in log.events()] == ["dm_refused"]


def test_a_forged_session_changes_nothing(stage: Any) -> None:
    """In the middle of a session somebody else speaks for the device: 407, and the session goes on untouched."""
    _, device = stage.enrol()
    device.advance(utc_now())
    account = device.record.account
    opening, state = begin(
        session_id="7",
        device_id=device.device_id,
        server_uri=account.server_uri,
        device_info={"./DevInfo/DevId": device.device_id},
        cred=make_cred(account.scheme, account.username, account.password, device.record.nonce),
        username=account.username,
    )
    turn = receive(state, read_message(post(stage, write_message(opening)).content))
    outcomes = [device.tree.execute(command, utc_now()) for command in turn.commands]
    cred = make_cred(account.scheme, account.username, account.password, turn.next_nonce or b"")
    message, state = answer(turn, outcomes, cred=cred, username=account.username)
    empty = answer(turn, [replace(outcome, items=outcome.items[:1]) for outcome in outcomes])[0]
    before = dump(stage)
    log = Log(stage)
    forged = [
        # another session's number, in the middle and from the start
        replace(empty, header=replace(empty.header, session_id="8")),
        replace(package_1(device, session_id="8")),
        # this session's number, and its next message or one of its past
        empty,
        replace(empty, header=replace(empty.header, msg_id="1")),
    ]
    codes = []
    for each in forged:
        response = post(stage, write_message(each))
        codes.append(header_status(response).data)
        assert not any(
            isinstance(command, (Get, Results)) for command in read_message(response.content).commands
        )
    assert codes == ["407"] * 4
    assert [event["event"] for event in log.events()] == ["dm_refused"] * 4
    assert dump(stage) == before
    # the device itself goes on, and its whole list arrives
    turn = receive(state, read_message(post(stage, write_message(message)).content))
    assert sum(isinstance(command, Add) for command in turn.commands) == 3
