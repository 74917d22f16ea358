"""Client against server over bytes: messages are lost, late and repeated, processes restart, nothing is done twice.

`BRIDGE_DIALOGUE_RUNS` and `BRIDGE_DIALOGUE_STEPS` make it longer than the 100 runs of 30 steps of the suite.

The service around the server is modelled in the few lines that the protocol asks of it: replies are kept by
(SessionID, MsgID), a session that does not go on must authenticate, and an open one is then abandoned.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from syncml import client
from syncml.auth import MD5, Credentials, Verdict, challenge, credential_hash, make_cred, verify
from syncml.exchange import Request
from syncml.messages import Alert, Exec, Get, Item, Location, Meta, Results, Status
from syncml.reader import read_message
from syncml.session import OPEN_PHASES, ServerState, check_header, continues, receive, refuse, respond
from syncml.status import StatusCode
from syncml.writer import write_message

if TYPE_CHECKING:
    from syncml.exchange import Answer
    from syncml.messages import Command, Message

SERVER: Final = "https://mdm.example.test/omadm"
DEVICE: Final = "B5B954E81FBCB94EB79BD08BE625F4EE"
USER, PASSWORD = "Bruce2", "OhBehave"
RUNS: Final = int(os.environ.get("BRIDGE_DIALOGUE_RUNS", "100"))
STEPS: Final = int(os.environ.get("BRIDGE_DIALOGUE_STEPS", "30"))


class Server:
    """The service's part: it keeps one session and the replies, and every process of it starts from text."""

    def __init__(self) -> None:
        """A server that knows the device and has heard nothing."""
        self.session: ServerState | None = None
        self.replies: dict[str, bytes] = {}
        self.queue: list[Request] = []
        self.answers: list[Answer] = []
        self.nonces = 0

    def restart(self) -> None:
        """Go on in another process: of the session only what JSON carries is left."""
        if self.session is not None:
            self.session = ServerState.from_json(json.loads(json.dumps(self.session.to_json())))

    def handle(self, body: bytes) -> bytes:
        """The reply to a message."""
        message = read_message(body)
        header = message.header
        assert check_header(header) is None
        key = f"{header.session_id} {header.msg_id}"
        if key not in self.replies:
            chal = None
            if not continues(self.session, header):
                nonce = b"nonce %d" % self.nonces
                known = Credentials(MD5, USER, credential_hash(USER, PASSWORD), nonce)
                verdict = verify(header.cred, header.source.loc_name, known)
                if verdict is not Verdict.ACCEPTED:
                    missing = verdict is Verdict.MISSING
                    code = StatusCode.MISSING_CREDENTIALS if missing else StatusCode.INVALID_CREDENTIALS
                    reply = refuse(message, code, server_uri=SERVER, chal=challenge(MD5, nonce))
                    return write_message(reply)
                self.abandon()
                self.nonces += 1
                chal = challenge(MD5, b"nonce %d" % self.nonces)
            reception = receive(self.session, message)
            assert reception.oddities == ()
            self.answers += reception.answers
            wanted = self.queue[:3] if reception.turn else []
            reply, self.session, sent = respond(reception, server_uri=SERVER, requests=wanted, chal=chal)
            del self.queue[:sent]
            self.replies[key] = write_message(reply)
        return self.replies[key]

    def abandon(self) -> None:
        """Leave the session; what was in flight is answered as far as it was heard."""
        if self.session is not None:
            self.answers += self.session.answers
        self.session = None


@dataclass
class Device:
    """The device's part: it carries commands out once, and may spread its answers over messages."""

    nonce: bytes = b""
    sessions: int = 0
    state: client.ClientState | None = None
    outbox: bytes = b""
    """The message that waits for its reply, empty between sessions."""
    owed: list[Results] = field(default_factory=list)
    """Results still to be sent in this package."""
    done: dict[str, client.Outcome] = field(default_factory=dict)
    """What carrying out each command came to, by LocURI."""

    def begin(self, *, authenticate: bool) -> None:
        """Open a session, whatever became of the one before."""
        self.owed = []
        message, self.state = client.begin(
            session_id=str(self.sessions),
            device_id=DEVICE,
            server_uri=SERVER,
            device_info={"./DevInfo/DevId": DEVICE},
            cred=make_cred(MD5, USER, PASSWORD, self.nonce) if authenticate else None,
            username=USER if authenticate else None,
        )
        self.sessions += 1
        self.outbox = write_message(message)

    def take(self, reply: bytes, *, spread: bool, silent: bool) -> None:
        """Read the reply to our message and prepare the next one, if any is due."""
        assert self.state is not None
        message = read_message(reply)
        turn = client.receive(self.state, message)
        assert message.final is (turn.verdict is not client.Verdict.NEXT)
        self.outbox = b""
        if turn.next_nonce is not None:
            self.nonce = turn.next_nonce
        if turn.verdict is client.Verdict.CHALLENGED:
            cred = make_cred(MD5, USER, PASSWORD, self.nonce)
            self.send(*client.retry(turn, cred, USER))
        elif turn.verdict is client.Verdict.COMMANDS:
            outcomes = [self.carry_out(command) for command in turn.commands]
            self.owed = []
            if spread:
                outcomes = self.spread(turn, outcomes)
            self.send(*client.answer(turn, outcomes, final=not spread))
        elif turn.verdict is client.Verdict.NEXT:
            more: list[Command] = []
            if spread:
                # Some devices acknowledge Alert 1222, with the CmdID it has in a message of no commands.
                more.append(Status("", turn.server_msg_id, message.commands[-1].cmd_id, "Alert", "200"))
            if self.owed:
                more.append(self.owed.pop(0))
            if silent:
                pending = "Reversed-Domain-Name:com.microsoft.mdm.requestpending"
                more.append(Alert("", "1224", (Item(meta=Meta(type=pending), data="1"),)))
            self.send(*client.answer(turn, more=more, final=not (self.owed or silent)))
        else:
            assert turn.verdict is client.Verdict.END

    def send(self, message: Message, state: client.ClientState) -> None:
        """Keep the message until its reply comes."""
        self.outbox, self.state = write_message(message), state

    def carry_out(self, command: Command) -> client.Outcome:
        """Do what one command asks; doing the same thing twice fails the test."""
        assert isinstance(command, (Get, Exec))
        target = command.items[0].target
        assert target is not None
        uri = target.loc_uri
        assert uri not in self.done
        if isinstance(command, Exec):
            outcome = client.Outcome(500, original_error="0x86000002")
        else:
            base, _, _ = uri.partition("?")
            items = (
                Item(source=Location(base), meta=Meta(format="node")),
                Item(source=Location(f"{base}/Name"), data=f"<é & {base}>"),
                Item(source=Location(f"{base}/Empty")),
            )
            outcome = client.Outcome(200, items)
        self.done[uri] = outcome
        return outcome

    def spread(self, turn: client.Turn, outcomes: list[client.Outcome]) -> list[client.Outcome]:
        """Keep the items back for later messages: the first ones together, the value in two chunks."""
        spread = []
        for command, outcome in zip(turn.commands, outcomes, strict=True):
            if outcome.items:
                first, value, last = outcome.items
                text = value.data or ""
                size = Meta(size=len(text.encode()))
                chunks = (
                    (first, Item(source=value.source, meta=size, data=text[:4], more_data=True)),
                    (Item(source=value.source, data=text[4:]), last),
                )
                self.owed += [Results("", turn.server_msg_id, command.cmd_id, items) for items in chunks]
            spread.append(client.Outcome(outcome.status, original_error=outcome.original_error))
        return spread


class Dialogue:
    """Requests on one side, a device on the other, and a network between that does what it likes."""

    def __init__(self) -> None:
        """Both sides are new to each other."""
        self.server = Server()
        self.device = Device()
        self.given: list[Request] = []
        self.seen: list[tuple[bytes, bytes]] = []
        """Messages of this session that were accepted, with the replies they got."""
        self.late: list[bytes] = []
        """Messages that are still on their way, while the device has gone on to others or sends them again."""

    def step(self, kind: str, number: int) -> None:
        """Let one thing happen; `number` decides about its details."""
        if kind == "give":
            self.give(1 + number, "Exec" if number % 3 else "Get")
        elif kind == "restart":
            self.restart()
        elif kind == "repeat" and self.seen:
            self.repeat(*self.seen[number % len(self.seen)])
        elif kind == "delay" and self.device.outbox:
            self.late.append(self.device.outbox)
        elif kind == "overtake" and self.late:
            # any of them: the order in which they were sent says nothing about the order in which they come
            self.arrive(self.late.pop(number % len(self.late)))
        elif kind == "begin" or not self.device.outbox:
            self.seen = []
            self.device.begin(authenticate=number % 2 == 0)
        elif kind == "lose reply":
            self.deliver(self.device.outbox)
        else:
            self.device.take(self.deliver(self.device.outbox), spread=kind == "spread", silent=number == 0)

    def give(self, number: int, verb: str) -> None:
        """The service wants something more of the device."""
        for _ in range(number):
            uri = f"./Vendor/Node{len(self.given)}"
            request = Request(verb, f"{uri}?list=StructData" if verb == "Get" else uri)
            self.given.append(request)
            self.server.queue.append(request)

    def restart(self) -> None:
        """Another process of the server takes over."""
        before = self.server.session
        self.server.restart()
        assert self.server.session == before

    def repeat(self, body: bytes, reply: bytes) -> None:
        """An earlier message of the session arrives once more: the same bytes come back, and nothing changes."""
        before = (self.server.session, list(self.server.queue), list(self.server.answers))
        assert self.server.handle(body) == reply
        assert (self.server.session, self.server.queue, self.server.answers) == before

    def arrive(self, body: bytes) -> None:
        """A late message arrives, and no one waits for its reply: only credentials or its turn give it effect."""
        before = (self.server.session, list(self.server.queue), list(self.server.answers), self.server.nonces)
        header = read_message(body).header
        session = self.server.session
        known = f"{header.session_id} {header.msg_id}" in self.server.replies
        its_turn = (
            session is not None
            and session.phase in OPEN_PHASES
            and session.session_id == header.session_id
            and session.device_msg_id + 1 == int(header.msg_id)
        )
        expected = not known and (header.cred is not None or its_turn)
        reply = self.deliver(body)
        after = (self.server.session, self.server.queue, self.server.answers, self.server.nonces)
        accepted = reply in self.server.replies.values()
        assert expected or after == before
        assert accepted or after == before

    def deliver(self, body: bytes) -> bytes:
        """Bring a message to the server, whether or not the reply will arrive."""
        reply = self.server.handle(body)
        if reply in self.server.replies.values() and (body, reply) not in self.seen:
            self.seen.append((body, reply))
        return reply

    def check(self) -> None:
        """Every request waits, or was answered once and truly, or is known to be unanswered."""
        server, device = self.server, self.device
        server.abandon()
        told = [answer.request for answer in server.answers]
        assert told + server.queue == self.given
        for answer in server.answers:
            if answer.status is None:
                assert answer.items == ()
                continue
            outcome = device.done[answer.request.loc_uri]
            assert answer.status == outcome.status
            assert answer.original_error == outcome.original_error
            assert answer.items == outcome.items


KINDS: Final = (
    *("exchange",) * 8,
    *("spread",) * 4,
    *("lose reply",) * 2,
    *("repeat",) * 2,
    *("delay",) * 2,
    *("overtake",) * 2,
    *("restart",) * 2,
    *("give",) * 2,
    "begin",
)


@settings(max_examples=RUNS)
@given(st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 9)), min_size=STEPS, max_size=STEPS))
def test_every_request_is_answered_once_or_known_to_be_unanswered(steps: list[tuple[str, int]]) -> None:
    """After any steps of talk, loss, delay, repetition and restart no request is lost, doubled or misreported."""
    dialogue = Dialogue()
    dialogue.give(5, "Get")
    for kind, number in steps:
        dialogue.step(kind, number)
    dialogue.check()


def test_a_whole_session_without_trouble() -> None:
    """Challenge, statuses, answers spread over messages, more commands than fit in one, and an empty end."""
    server, device = Server(), Device()
    server.queue = [Request("Get", f"./Vendor/Node{n}?list=StructData") for n in range(7)]
    given = list(server.queue)
    device.begin(authenticate=False)
    sent: list[bytes] = []
    while device.outbox:
        sent.append(device.outbox)
        device.take(server.handle(device.outbox), spread=len(sent) == 3, silent=len(sent) == 4)
    assert server.queue == []
    assert [answer.request for answer in server.answers] == given
    assert [answer.items for answer in server.answers] == [device.done[each.loc_uri].items for each in given]
    assert server.session is not None
    assert server.session.phase not in OPEN_PHASES
    assert [read_message(body).final for body in sent] == [True] * 3 + [False] * 6 + [True] * 2
    assert device.nonce == b"nonce 1"


def test_a_late_opening_is_refused_once_its_nonce_is_used() -> None:
    """Package 1 of a session the device gave up arrives in the middle of the next one, and changes nothing."""
    dialogue = Dialogue()
    dialogue.give(4, "Get")
    dialogue.device.begin(authenticate=False)
    dialogue.device.take(dialogue.deliver(dialogue.device.outbox), spread=False, silent=False)
    late = dialogue.device.outbox  # with credentials, and never delivered
    dialogue.device.begin(authenticate=True)
    dialogue.device.take(dialogue.deliver(dialogue.device.outbox), spread=True, silent=False)
    before = dialogue.server.session
    assert before is not None
    assert len(before.sent) == 3
    reply = read_message(dialogue.server.handle(late))
    assert isinstance(reply.commands[0], Status)
    assert reply.commands[0].data == "401"
    assert dialogue.server.session == before
    dialogue.arrive(late)
    dialogue.check()


def test_a_late_opening_that_overtakes_its_successor() -> None:
    """It opens a session that no one goes on with; the device's own is challenged with the new nonce, and goes on."""
    dialogue = Dialogue()
    dialogue.give(2, "Get")
    dialogue.device.nonce = b"nonce 0"
    dialogue.device.begin(authenticate=True)
    dialogue.step("delay", 0)
    dialogue.device.begin(authenticate=True)
    dialogue.step("overtake", 0)
    assert dialogue.server.session is not None
    assert dialogue.server.session.session_id == "0"
    assert dialogue.server.queue == []
    dialogue.give(1, "Exec")
    while dialogue.device.outbox:
        dialogue.step("exchange", 1)
    assert dialogue.server.session.session_id == "1"
    assert [answer.status for answer in dialogue.server.answers] == [None, None, 500]
    dialogue.check()
