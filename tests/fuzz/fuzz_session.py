"""Target: up to five device messages into the server's session, which lives as text between them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from shapes import Choices, message

from syncml.auth import (
    MAC,
    MD5,
    Credentials,
    Proof,
    challenge,
    credential_hash,
    digest_cred,
    next_nonce,
    verify,
)
from syncml.errors import RemoteProtocolError
from syncml.exchange import ATOMIC, ITEMS, SEQUENCE, Bundle, Request
from syncml.limits import Limits
from syncml.messages import Alert, Message, Meta, Status
from syncml.phases import OPEN_PHASES, Phase
from syncml.reader import read_message
from syncml.session import (
    Sender,
    ServerState,
    check_header,
    continues,
    receive,
    refuse,
    respond,
)
from syncml.status import StatusCode
from syncml.writer import write_message

if TYPE_CHECKING:
    from collections.abc import Iterable

    from syncml.exchange import Wish
    from syncml.flight import Part

__all__ = ["NAME", "SEPARATOR", "documents", "run"]

NAME: Final = "session"
SERVER: Final = "https://dm.bridge.example/omadm"
SEPARATOR: Final = b"\xff"
"""Between two documents of one input: an octet that UTF-8 never has."""
MESSAGES: Final = 5

REPLY_LIMITS: Final = Limits(bytes=1 << 22, elements=200_000, commands=10_000)
"""A message at the limits has a reply beyond them: a Status for each command, and what we have to say."""

KNOWN: Final = Credentials(MD5, "harbour", credential_hash("harbour", "sea wall"), b"tide")
LIST: Final = Request("Get", "./Vendor/MSFT/Update/InstallableUpdates?list=StructData")
SCAN: Final = Request("Get", "./Vendor/MSFT/Update/LastSuccessfulScanTime")
ADD: Final = Request(
    "Add", "./Vendor/MSFT/Update/ApprovedUpdates/%7b5d1c0f6e-2b7a-4c39-9e84-1a2b3c4d5e6f%7d", "node"
)
POLICY: Final = Request(
    "Replace", "./Device/Vendor/MSFT/Policy/Config/Update/AllowAutoUpdate", "int", "text/plain", "2"
)
EXEC: Final = Request("Exec", "./Vendor/MSFT/Update/Rollback/QualityUpdate", "null")
LARGE: Final = Request("Replace", "./Vendor/MSFT/Example/Large", data="<é>" * 300)
ROUNDS: Final[tuple[tuple[Wish, ...], ...]] = (
    (LIST, SCAN, ADD, POLICY, EXEC),
    (Bundle(ITEMS, (LIST, SCAN)), Bundle(ATOMIC, (ADD, POLICY, EXEC))),
    (LARGE, SCAN),
    (Bundle(SEQUENCE, (ADD, Bundle(ATOMIC, (POLICY, EXEC)), Bundle(ITEMS, (SCAN, LIST)))),),
)
"""What the service wants, round by round; which one a session begins with depends on its opening."""


def documents(data: bytes) -> list[bytes]:
    """The documents under test: those in `data`, or five that it decides about."""
    if data.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<"):
        return data.split(SEPARATOR)[:MESSAGES]
    choices = Choices(data)
    return [message(choices, number) for number in range(1, MESSAGES + 1)]


def run(data: bytes) -> None:
    """Raises for anything but the documented errors, and for a reply that breaks the protocol."""
    state: ServerState | None = None
    kept: list[Part] = []
    for body in documents(data):
        try:
            heard = read_message(body)
            code = check_header(heard.header)
        except RemoteProtocolError:
            continue
        header = heard.header
        claim = Proof(header.cred, header.source.loc_name, body, header.source.loc_name)
        for scheme in (MD5, MAC):
            verify(claim, replace(KNOWN, scheme=scheme))
        if code is None:
            state = _exchange(state, heard, kept, len(body))
        if code is not None or state is None or state.server_msg_id == int(header.msg_id):
            refusal = refuse(heard, code or StatusCode.MISSING_CREDENTIALS, server_uri=SERVER)
            _check_reply(heard, refusal)
            assert refusal.final


def _exchange(state: ServerState | None, heard: Message, kept: list[Part], turn: int) -> ServerState:
    if state is not None:
        again = ServerState.from_json(json.loads(json.dumps(state.to_json())))
        assert again == state
        state = again if continues(again, heard.header) else None
    if state is None:
        kept.clear()
        if turn % 2:
            # every other device has little room, so that large objects go out in chunks
            heard = replace(heard, header=replace(heard.header, meta=Meta(max_msg_size=3_000)))
    before = () if state is None else state.sent
    reception = receive(state, heard, kept)
    kept.extend(tuple(part) for part in json.loads(json.dumps(reception.parts)))
    if not reception.state.held:
        kept.clear()
    if reception.turn or reception.aborted or reception.overflow:
        asked = [sent.request for sent in before if sent.request is not None]
        assert [answer.request for answer in reception.answers] == asked
    else:
        assert reception.answers == ()
    if reception.challenge is not None:
        assert {answer.status for answer in reception.answers} <= {None}
    wishes = ROUNDS[turn % len(ROUNDS)] if reception.turn else ()
    chal = None if state else challenge(MD5, b"next tide")
    status = reception.header_status
    nonce = None if status is None else next_nonce(status.chal)
    sender = None if nonce is None else Sender("bridge", digest_cred(KNOWN.hash, nonce))
    reply, after, count = respond(reception, server_uri=SERVER, requests=wishes, chal=chal, sender=sender)
    _check_reply(heard, reply)
    if reception.turn:
        assert [each.request for each in after.sent if each.request is not None] == _flat(wishes[:count])
    else:
        assert count == 0
    assert reply.final is (after.phase not in {Phase.RECEIVING, Phase.SENDING})
    assert (after.outgoing is not None) is (after.phase is Phase.SENDING)
    if after.phase is Phase.RECEIVING:
        last = reply.commands[-1]
        assert isinstance(last, Alert)
        assert last.data == "1222"
    if after.phase not in OPEN_PHASES:
        assert after.sent == ()
        assert after.chunk is None
    return after


def _flat(wishes: Iterable[Wish]) -> list[Request]:
    found: list[Request] = []
    for wish in wishes:
        found += [wish] if isinstance(wish, Request) else _flat(wish.requests)
    return found


def _check_reply(heard: Message, reply: Message) -> None:
    """The reply can be read as what was meant, is numbered from 1, and speaks to the sender in its session."""
    assert read_message(write_message(reply), REPLY_LIMITS) == reply
    numbers = [int(each.cmd_id) for each in reply.commands]
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 1
    first = reply.commands[0]
    assert isinstance(first, Status)
    assert (first.cmd_ref, first.msg_ref) == ("0", heard.header.msg_id)
    assert reply.header.session_id == heard.header.session_id
    assert reply.header.target.loc_uri == heard.header.source.loc_uri
