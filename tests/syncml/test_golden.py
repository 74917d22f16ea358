"""The golden messages: each is read, written and read again, and gets the reply that expected.toml states."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from csp.snapshot import UpdateList, UpdateSnapshot
from syncml import client, errors
from syncml.auth import BASIC, MAC, MD5, Credentials, Proof, Verdict, credential_hash, next_nonce, verify
from syncml.errors import LocalProtocolError, RemoteProtocolError
from syncml.exchange import Bundle, Request
from syncml.messages import Alert, Meta, Replace, Status
from syncml.phases import Phase
from syncml.reader import read_message
from syncml.session import ServerState, check_header, continues, receive, refuse, respond
from syncml.status import StatusCode
from syncml.writer import write_message

if TYPE_CHECKING:
    from syncml.exchange import Answer, Wish
    from syncml.flight import Part
    from syncml.messages import Message
    from syncml.session import Reception

GOLDEN: Final = Path(__file__).parents[1] / "golden"
EXPECTED: Final[dict[str, dict[str, Any]]] = tomllib.loads(
    (GOLDEN / "expected.toml").read_text(encoding="utf-8")
)
SERVER: Final = "https://dm.bridge.example/omadm"

READABLE: Final = [name for name, want in EXPECTED.items() if "error" not in want]
BROKEN: Final = [name for name, want in EXPECTED.items() if "error" in want]
FROM_DEVICE: Final = [
    name for name in READABLE if "verdict" not in EXPECTED[name] or "scheme" in EXPECTED[name]
]
ANSWERED: Final = [name for name in FROM_DEVICE if "refuse" not in EXPECTED[name]]
WITH_CRED: Final = [name for name in READABLE if "scheme" in EXPECTED[name]]
FROM_SERVER: Final = [name for name in READABLE if name not in FROM_DEVICE]

OPENING: Final = (
    b'<SyncML xmlns="SYNCML:SYNCML1.2"><SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2</VerProto>'
    b"<SessionID>7</SessionID><MsgID>1</MsgID><Target><LocURI>https://dm.bridge.example/omadm</LocURI></Target>"
    b"<Source><LocURI>0F3C9A7E51D24B6688AA10B2C3D4E5F6</LocURI></Source></SyncHdr><SyncBody>"
    b"<Alert><CmdID>2</CmdID><Data>1201</Data></Alert><Final/></SyncBody></SyncML>"
)
"""Package 1 before the messages that answer commands: its reply has two Statuses, so commands begin at CmdID 3."""


def golden(name: str) -> Message:
    """The message in a file."""
    return read_message((GOLDEN / name).read_bytes())


def statuses(message: Message) -> list[str]:
    """`code Cmd` of each Status."""
    return [f"{each.data} {each.cmd}" for each in message.commands if isinstance(each, Status)]


def told(answer: Answer) -> str:
    """`status items`, as expected.toml writes it."""
    return f"{'unknown' if answer.status is None else answer.status} {len(answer.items)}"


def wish(line: str | dict[str, list[Any]], value: str | None = None) -> Wish:
    """A request, `verb LocURI`, or a bundle of them."""
    if isinstance(line, str):
        verb, uri = line.split(" ", 1)
        return Request(verb, uri, data=value)
    ((kind, inner),) = line.items()
    return Bundle(kind, tuple(wish(each) for each in inner))


def opened(want: dict[str, Any]) -> ServerState:
    """The state after package 1 of one Alert and the commands that `in_flight` names."""
    opening = read_message(OPENING)
    value = None
    if "large" in want:
        value = "x" * want["large"]
        opening = replace(opening, header=replace(opening.header, meta=Meta(max_msg_size=4096)))
    wishes = [wish(line, value) for line in want["in_flight"]]
    reply, state, sent = respond(receive(None, opening), server_uri=SERVER, requests=wishes)
    assert sent == len(wishes)
    assert [each.cmd_id for each in reply.commands[:3]] == ["1", "2", "3"]
    assert (state.phase is Phase.SENDING) is ("large" in want)
    return state


def reception(name: str) -> Reception:
    """What the server makes of a message after all that came before it; between two messages it is text."""
    want = EXPECTED[name]
    state: ServerState | None = opened(want) if "in_flight" in want else None
    kept: list[Part] = []
    for earlier in want.get("after", ()):
        heard = reception(earlier)
        kept += heard.parts
        _, state, _ = respond(heard, server_uri=SERVER)
    message = golden(name)
    if state is not None:
        state = ServerState.from_json(json.loads(json.dumps(state.to_json())))
        assert continues(state, message.header)
    return receive(state, message, [tuple(part) for part in json.loads(json.dumps(kept))])


def test_every_file_has_its_expectation() -> None:
    """The table and the folder name the same messages, numbered without a gap, and none is there twice."""
    files = sorted(path.name for path in GOLDEN.glob("*.xml"))
    assert sorted(EXPECTED) == files
    assert [name[:3] for name in files] == [f"{n:03}" for n in range(1, len(files) + 1)]
    assert len({(GOLDEN / name).read_bytes() for name in files}) == len(files) > 215
    assert set(BROKEN) | set(ANSWERED) | set(FROM_SERVER) | {
        name for name in READABLE if "refuse" in EXPECTED[name]
    } == set(files)


@pytest.mark.parametrize("name", READABLE)
def test_read_written_and_read_again(name: str) -> None:
    """Nothing is lost on the way through the writer; what no one may send is refused there instead."""
    message = golden(name)
    if EXPECTED[name].get("unwritable"):
        with pytest.raises(LocalProtocolError):
            write_message(message)
        return
    written = write_message(message)
    assert read_message(written) == message
    assert write_message(read_message(written)) == written


@pytest.mark.parametrize("name", ANSWERED)
def test_the_reply_to_a_device(name: str) -> None:
    """The reply has the stated Statuses, Alerts and Final, is numbered from 1, and can be read back."""
    want = EXPECTED[name]
    assert check_header(golden(name).header) is None
    heard = reception(name)
    reply, state, _ = respond(heard, server_uri=SERVER)
    assert statuses(reply) == want["statuses"]
    assert reply.final is want["final"]
    assert [each.data for each in reply.commands if isinstance(each, Alert)] == want.get("alerts", [])
    assert [each.cmd_id for each in reply.commands] == [str(n) for n in range(1, len(reply.commands) + 1)]
    sending = want.get("sending", False)
    assert len(reply.commands) == len(want["statuses"]) + len(want.get("alerts", ())) + sending
    assert heard.sending is sending
    assert isinstance(reply.commands[-1], Replace) is sending
    assert read_message(write_message(reply)) == reply
    assert ServerState.from_json(json.loads(json.dumps(state.to_json()))) == state
    assert len(heard.oddities) == want.get("oddities", 0), heard.oddities
    assert heard.aborted is want.get("aborted", False)
    assert heard.unenrolling is want.get("unenrolling", False)


@pytest.mark.parametrize("name", ANSWERED)
def test_what_is_heard_of_a_device(name: str) -> None:
    """Answers, alerts, DevInfo and values are those the message states, where expected.toml looks at them."""
    want, heard = EXPECTED[name], reception(name)
    assert [told(answer) for answer in heard.answers] == want.get("answers", [])
    assert (heard.challenge is not None) is want.get("challenged", False)
    if "next_nonce" in want:
        assert heard.header_status is not None
        assert next_nonce(heard.header_status.chal) == want["next_nonce"].encode()
    if "events" in want:
        parts = [(str(alert.code), alert.type, alert.data) for alert in heard.alerts]
        assert [" ".join(filter(None, each)) for each in parts] == want["events"]
    if "device_info" in want:
        assert len(heard.device_info) == want["device_info"]
    if "max_msg_size" in want:
        assert heard.state.max_msg_size == want["max_msg_size"]
    if "original_error" in want:
        assert [answer.original_error for answer in heard.answers] == [want["original_error"]]
    if "value" in want:
        assert [item.data for answer in heard.answers for item in answer.items] == [want["value"]]
    if "updates" in want:
        snapshot = UpdateSnapshot.from_answers(heard.answers)
        assert list(snapshot.lists[UpdateList.INSTALLABLE]) == want["updates"]
        assert snapshot.problems == ()


@pytest.mark.parametrize("name", FROM_DEVICE)
def test_a_device_that_is_refused(name: str) -> None:
    """Refusing gives every command the one code (400 where the CmdID is missing) and keeps the session shut."""
    message, want = golden(name), EXPECTED[name]
    code = check_header(message.header)
    assert (None if code is None else int(code)) == want.get("refuse")
    reply = refuse(message, code or StatusCode.MISSING_CREDENTIALS, server_uri=SERVER)
    assert reply.final
    assert read_message(write_message(reply)) == reply
    if code is not None:
        assert statuses(reply) == want["statuses"]
    else:
        assert {line[:3] for line in statuses(reply)} <= {"407", "400"}
        assert statuses(reply)[0] == "407 SyncHdr"


@pytest.mark.parametrize("name", WITH_CRED)
def test_the_credentials_of_a_device(name: str) -> None:
    """Cred, LocName and nonce give the stated verdict."""
    want, header = EXPECTED[name], golden(name).header
    known = Credentials(
        scheme=want["scheme"],
        username=want["username"],
        hash=credential_hash(want["username"], want["password"]),
        nonce=want.get("nonce", "").encode(),
    )
    proof = Proof(header.cred, header.source.loc_name, (GOLDEN / name).read_bytes())
    assert verify(proof, known).value == want["verdict"]


@pytest.mark.parametrize("name", FROM_SERVER)
def test_a_server_message(name: str) -> None:
    """It is written byte for byte as in the file, and a client takes it for what is stated."""
    want, message = EXPECTED[name], golden(name)
    assert write_message(message) == (GOLDEN / name).read_bytes().rstrip(b"\n")
    opening, state = client.begin(
        session_id=message.header.session_id,
        device_id=message.header.target.loc_uri,
        server_uri=SERVER,
        device_info={},
    )
    assert opening.header.target.loc_uri == message.header.source.loc_uri
    for earlier in want.get("after", ()):
        _, state = client.answer(client.receive(state, golden(earlier)))
    turn = client.receive(state, message)
    assert turn.verdict.value == want["verdict"]
    assert turn.status == want["reply_code"]
    assert [type(command).__name__ for command in turn.commands] == want.get("commands", [])
    if "nonce" in want:
        assert turn.next_nonce == want["nonce"].encode()
        assert turn.challenge == (MAC if "mac" in name else MD5)
    if want["verdict"] == "challenged":
        assert turn.challenge == (BASIC if "basic" in name else MD5)
    if "server_nonce" in want:
        stored = credential_hash("bridge", "lighthouse")
        known = Credentials(MD5, "bridge", stored, want["server_nonce"].encode())
        proof = Proof(message.header.cred, message.header.source.loc_name)
        assert verify(proof, known) is Verdict.ACCEPTED
    if "repeated" in want:
        (command,) = turn.commands
        assert isinstance(command, Replace)
        assert [item.data for item in command.items] == [want["repeated"] * 150]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_message(name: str) -> None:
    """Exactly the stated error is raised, with a short sentence of one line that says why."""
    want = EXPECTED[name]
    with pytest.raises(RemoteProtocolError) as caught:
        check_header(golden(name).header)
    assert type(caught.value) is getattr(errors, want["error"])
    assert want.get("detail", "") in caught.value.detail
    assert len(caught.value.detail) < 200
    assert caught.value.detail.isprintable()
