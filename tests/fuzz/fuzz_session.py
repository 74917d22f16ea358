"""Target: up to three device messages into the server's session, which lives as text between them."""

from __future__ import annotations

import json
from typing import Final

from shapes import Choices, message

from syncml.auth import MD5, Credentials, challenge, credential_hash, verify
from syncml.errors import RemoteProtocolError
from syncml.exchange import Request
from syncml.limits import Limits
from syncml.messages import Alert, Message, Status
from syncml.reader import read_message
from syncml.session import (
    OPEN_PHASES,
    Phase,
    ServerState,
    check_header,
    continues,
    receive,
    refuse,
    respond,
)
from syncml.status import StatusCode
from syncml.writer import write_message

__all__ = ["NAME", "SEPARATOR", "documents", "run"]

NAME: Final = "session"
SERVER: Final = "https://dm.bridge.example/omadm"
SEPARATOR: Final = b"\xff"
"""Between two documents of one input: an octet that UTF-8 never has."""
MESSAGES: Final = 3

REPLY_LIMITS: Final = Limits(bytes=1 << 22, elements=200_000, commands=10_000)
"""A message at the limits has a reply beyond them: a Status for each command, and what we have to say."""

KNOWN: Final = Credentials(MD5, "harbour", credential_hash("harbour", "sea wall"), b"tide")
REQUESTS: Final = (
    Request("Get", "./Vendor/MSFT/Update/InstallableUpdates?list=StructData"),
    Request("Get", "./Vendor/MSFT/Update/LastSuccessfulScanTime"),
    Request("Add", "./Vendor/MSFT/Update/ApprovedUpdates/%7b5d1c0f6e-2b7a-4c39-9e84-1a2b3c4d5e6f%7d", "node"),
    Request("Replace", "./Device/Vendor/MSFT/Policy/Config/Update/AllowAutoUpdate", "int", "text/plain", "2"),
    Request("Exec", "./Vendor/MSFT/Update/Rollback/QualityUpdate", "null"),
)


def documents(data: bytes) -> list[bytes]:
    """The documents under test: those in `data`, or three that it decides about."""
    if data.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<"):
        return data.split(SEPARATOR)[:MESSAGES]
    choices = Choices(data)
    return [message(choices, number) for number in range(1, MESSAGES + 1)]


def run(data: bytes) -> None:
    """Raises for anything but the documented errors, and for a reply that breaks the protocol."""
    state: ServerState | None = None
    for body in documents(data):
        try:
            heard = read_message(body)
            code = check_header(heard.header)
        except RemoteProtocolError:
            continue
        verify(heard.header.cred, heard.header.source.loc_name, KNOWN)
        if code is None:
            state = _exchange(state, heard)
        if code is not None or state is None or state.server_msg_id == 1:
            refusal = refuse(heard, code or StatusCode.MISSING_CREDENTIALS, server_uri=SERVER)
            _check_reply(heard, refusal)
            assert refusal.final


def _exchange(state: ServerState | None, heard: Message) -> ServerState:
    if state is not None:
        again = ServerState.from_json(json.loads(json.dumps(state.to_json())))
        assert again == state
        state = again if continues(again, heard.header) else None
    before = () if state is None else state.sent
    reception = receive(state, heard)
    if reception.turn or reception.aborted or reception.overflow:
        assert [answer.request for answer in reception.answers] == [sent.request for sent in before]
    else:
        assert reception.answers == ()
    requests = REQUESTS if reception.turn else ()
    chal = None if state else challenge(MD5, b"next tide")
    reply, after, sent = respond(reception, server_uri=SERVER, requests=requests, chal=chal)
    _check_reply(heard, reply)
    assert sent == len(after.sent) if after.phase is Phase.AWAITING else sent == 0
    assert reply.final is (after.phase is not Phase.RECEIVING)
    if after.phase is Phase.RECEIVING:
        last = reply.commands[-1]
        assert isinstance(last, Alert)
        assert last.data == "1222"
    if after.phase not in OPEN_PHASES:
        assert after.sent == ()
        assert after.chunk is None
    return after


def _check_reply(heard: Message, reply: Message) -> None:
    """The reply can be read as what was meant, is numbered from 1, and speaks to the sender in its session."""
    assert read_message(write_message(reply), REPLY_LIMITS) == reply
    assert [each.cmd_id for each in reply.commands] == [str(n) for n in range(1, len(reply.commands) + 1)]
    first = reply.commands[0]
    assert isinstance(first, Status)
    assert (first.cmd_ref, first.msg_ref) == ("0", heard.header.msg_id)
    assert reply.header.session_id == heard.header.session_id
    assert reply.header.target.loc_uri == heard.header.source.loc_uri
