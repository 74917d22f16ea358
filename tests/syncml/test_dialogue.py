"""Client against server over bytes: messages are lost, late and repeated, processes restart, nothing is done twice.

`BRIDGE_DIALOGUE_RUNS` and `BRIDGE_DIALOGUE_STEPS` make it longer than the 100 runs of 30 steps of the suite.

The service around the server is modelled in the few lines that the protocol asks of it: replies are kept by
(SessionID, MsgID), a session that does not go on must authenticate, and an open one is then abandoned. In some runs
each message must authenticate, and in some the device wants the server's credentials too; nonces rotate.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncml import client
from syncml.auth import (
    MD5,
    Credentials,
    Proof,
    Verdict,
    challenge,
    credential_hash,
    digest_cred,
    make_cred,
    next_nonce,
    verify,
)
from syncml.exchange import ATOMIC, ITEMS, SEQUENCE, Answer, Bundle, Request
from syncml.messages import (
    Add,
    Alert,
    Atomic,
    Exec,
    Get,
    Item,
    Location,
    Meta,
    Replace,
    Results,
    Sequence,
    Status,
)
from syncml.phases import OPEN_PHASES
from syncml.reader import read_message
from syncml.session import Sender, ServerState, check_header, continues, receive, refuse, respond
from syncml.status import StatusCode
from syncml.writer import write_message

if TYPE_CHECKING:
    from collections.abc import Iterable

    from syncml.exchange import Wish
    from syncml.flight import Part
    from syncml.messages import Chal, Command, Cred, Message
    from syncml.session import Reception

SERVER: Final = "https://mdm.example.test/omadm"
DEVICE: Final = "B5B954E81FBCB94EB79BD08BE625F4EE"
USER, PASSWORD = "Bruce2", "OhBehave"
OURS: Final = "Bridge"
OUR_HASH: Final = credential_hash(OURS, "lighthouse")
MAX_MSG_SIZE: Final = 4_096
RUNS: Final = int(os.environ.get("BRIDGE_DIALOGUE_RUNS", "100"))
STEPS: Final = int(os.environ.get("BRIDGE_DIALOGUE_STEPS", "30"))


def flat(wishes: Iterable[Wish]) -> list[Request]:
    """The requests in wishes, in document order."""
    found: list[Request] = []
    for wish in wishes:
        found += [wish] if isinstance(wish, Request) else flat(wish.requests)
    return found


class Server:
    """The service's part: it keeps one session and the replies, and every process of it starts from text."""

    def __init__(self, *, each: bool = False) -> None:
        """A server that knows the device and has heard nothing; `each`: every message needs credentials."""
        self.each = each
        self.session: ServerState | None = None
        self.kept: list[Part] = []
        """Items of Results of the package that is open."""
        self.flying: list[Wish] = []
        """What our last package asked for."""
        self.whole = True
        """False while a session goes on that we did not see the beginning of."""
        self.replies: dict[str, bytes] = {}
        self.queue: list[Wish] = []
        self.answers: list[Answer] = []
        self.nonces = 0
        self.our_nonce: bytes | None = None
        """What the device wants our next credentials made with; None until it says so."""

    def restart(self) -> None:
        """Go on in another process: of the session only what JSON carries is left."""
        if self.session is not None:
            self.session = ServerState.from_json(json.loads(json.dumps(self.session.to_json())))
        self.kept = [tuple(part) for part in json.loads(json.dumps(self.kept))]

    def handle(self, body: bytes) -> bytes:
        """The reply to a message."""
        message = read_message(body)
        header = message.header
        assert check_header(header) is None
        key = f"{header.session_id} {header.msg_id}"
        if key in self.replies:
            return self.replies[key]
        goes_on = continues(self.session, header)
        code, chal = StatusCode.OK, None
        if self.each or not goes_on:
            nonce = b"nonce %d" % self.nonces
            known = Credentials(MD5, USER, credential_hash(USER, PASSWORD), nonce)
            verdict = verify(Proof(header.cred, header.source.loc_name, body), known)
            if verdict is not Verdict.ACCEPTED:
                missing = verdict is Verdict.MISSING
                code = StatusCode.MISSING_CREDENTIALS if missing else StatusCode.INVALID_CREDENTIALS
                return write_message(refuse(message, code, server_uri=SERVER, chal=challenge(MD5, nonce)))
            self.nonces += 1
            code = StatusCode.OK if self.each else StatusCode.AUTHENTICATION_ACCEPTED
            chal = challenge(MD5, b"nonce %d" % self.nonces)
        if not goes_on:
            self.abandon()
            self.whole = any(isinstance(each, Alert) and each.data == "1201" for each in message.commands)
        reception = receive(self.session, message, self.kept)
        assert reception.oddities == () or not self.whole
        self.take_in(reception)
        wanted = self.queue[:3] if reception.turn else []
        reply, self.session, sent = respond(
            reception, server_uri=SERVER, requests=wanted, code=code, chal=chal, sender=self.sender()
        )
        if reception.turn:
            self.flying = wanted[:sent]
        del self.queue[:sent]
        self.replies[key] = write_message(reply)
        return self.replies[key]

    def take_in(self, reception: Reception) -> None:
        """Keep what the device said; what it did not look at waits again."""
        self.kept = [*self.kept, *reception.parts] if reception.state.held else []
        if reception.header_status is not None and reception.header_status.chal is not None:
            self.our_nonce = next_nonce(reception.header_status.chal)
        if reception.challenge is None:
            self.answers += reception.answers
            return
        assert {answer.status for answer in reception.answers} <= {None}
        self.queue = [*self.flying, *self.queue]
        self.flying = []

    def sender(self) -> Sender | None:
        """Our credentials, if the device has ever asked for them."""
        return None if self.our_nonce is None else Sender(OURS, digest_cred(OUR_HASH, self.our_nonce))

    def abandon(self) -> None:
        """Leave the session; of what was in flight nothing is known."""
        if self.session is not None:
            self.answers += [Answer(each.request, None) for each in self.session.sent if each.request]
        self.session, self.kept, self.flying = None, [], []


@dataclass
class Device:
    """The device's part: it carries commands out once, and may spread its answers over messages."""

    each: bool = False
    """The server wants credentials in each message."""
    strict: bool = False
    """It wants the server's in each message too."""
    nonce: bytes = b""
    server_nonces: int = 0
    sessions: int = 0
    state: client.ClientState | None = None
    outbox: bytes = b""
    """The message that waits for its reply, empty between sessions."""
    owed: list[Results] = field(default_factory=list)
    """Results still to be sent in this package."""
    done: dict[str, client.Outcome] = field(default_factory=dict)
    """What carrying out each request came to, by LocURI."""
    values: dict[str, str | None] = field(default_factory=dict)
    """What was written, by LocURI."""

    def begin(self, *, authenticate: bool) -> None:
        """Open a session, whatever became of the one before."""
        self.owed = []
        message, self.state = client.begin(
            session_id=str(self.sessions),
            device_id=DEVICE,
            server_uri=SERVER,
            device_info={"./DevInfo/DevId": DEVICE},
            cred=self.cred() if authenticate else None,
            username=USER if authenticate else None,
            max_msg_size=MAX_MSG_SIZE,
        )
        self.sessions += 1
        self.outbox = write_message(message)

    def cred(self) -> Cred:
        """Credentials with the nonce that the server gave us last."""
        return make_cred(MD5, USER, PASSWORD, self.nonce)

    def take(self, reply: bytes, *, spread: bool, silent: bool) -> None:
        """Read the reply to our message and prepare the next one, if any is due."""
        assert self.state is not None
        assert len(reply) <= MAX_MSG_SIZE
        message = read_message(reply)
        turn = client.receive(self.state, message)
        assert message.final is (turn.verdict not in {client.Verdict.NEXT, client.Verdict.CHUNK})
        self.outbox = b""
        if turn.next_nonce is not None:
            self.nonce = turn.next_nonce
        if turn.verdict is client.Verdict.CHALLENGED:
            self.send(*client.retry(turn, self.cred(), USER))
            return
        cred, name = (self.cred(), USER) if self.each else (None, None)
        judged = self.judge(message)
        if judged is not Verdict.ACCEPTED and turn.verdict in {client.Verdict.COMMANDS, client.Verdict.CHUNK}:
            missing = judged is Verdict.MISSING
            code = StatusCode.MISSING_CREDENTIALS if missing else StatusCode.INVALID_CREDENTIALS
            self.send(*client.distrust(turn, code, self.challenge(), cred=cred, username=name))
            return
        if turn.verdict is client.Verdict.END:
            return
        outcomes: list[client.Outcome] = []
        if turn.verdict is client.Verdict.NEXT:
            more, final = self.go_on(turn, message, acknowledge=spread, silent=silent)
        else:
            assert turn.verdict in {client.Verdict.COMMANDS, client.Verdict.CHUNK}
            outcomes = [self.carry_out(command) for command in turn.commands]
            more, final, self.owed = [], not spread, []
            if spread:
                outcomes = self.spread(turn, outcomes)
        if self.strict:
            self.server_nonces += 1
        chal = self.challenge() if self.strict else None
        self.send(*client.answer(turn, outcomes, more=more, final=final, cred=cred, username=name, chal=chal))

    def go_on(
        self, turn: client.Turn, message: Message, *, acknowledge: bool, silent: bool
    ) -> tuple[list[Command], bool]:
        """What our next message of an open package holds, and whether it is the last one."""
        more: list[Command] = []
        if acknowledge:
            # Some devices acknowledge Alert 1222, with the CmdID it has in a message of no commands.
            more.append(Status("", turn.server_msg_id, message.commands[-1].cmd_id, "Alert", "200"))
        if self.owed:
            more.append(self.owed.pop(0))
        if silent:
            pending = "Reversed-Domain-Name:com.microsoft.mdm.requestpending"
            more.append(Alert("", "1224", (Item(meta=Meta(type=pending), data="1"),)))
        return more, not (self.owed or silent)

    def judge(self, message: Message) -> Verdict:
        """What the server's credentials are worth, to a device that cares."""
        if not self.strict:
            return Verdict.ACCEPTED
        known = Credentials(MD5, OURS, OUR_HASH, b"ours %d" % self.server_nonces)
        return verify(Proof(message.header.cred, message.header.source.loc_name), known)

    def challenge(self) -> Chal:
        """What the server's next credentials must be made with."""
        return challenge(MD5, b"ours %d" % self.server_nonces)

    def send(self, message: Message, state: client.ClientState) -> None:
        """Keep the message until its reply comes."""
        self.outbox, self.state = write_message(message), state

    def carry_out(self, command: Command) -> client.Outcome:
        """Do what one command asks: a Sequence up to its first failure, an Atomic all or nothing."""
        if isinstance(command, Sequence):
            outcomes: list[client.Outcome] = []
            for inner in command.commands:
                stopped = bool(outcomes) and outcomes[-1].status not in {200, 404}
                outcomes.append(self.leave(inner, 215) if stopped else self.carry_out(inner))
            return client.Outcome(200, inner=tuple(outcomes))
        if isinstance(command, Atomic):
            failed = [n for n, inner in enumerate(command.commands) if isinstance(inner, Exec)]
            if not failed:
                inside = tuple(self.carry_out(inner) for inner in command.commands)
                return client.Outcome(200, inner=inside)
            codes = (216 if n < failed[0] else 215 for n in range(len(command.commands)))
            inside = tuple(
                self.carry_out(inner) if n == failed[0] else self.leave(inner, code)
                for n, (inner, code) in enumerate(zip(command.commands, codes, strict=True))
            )
            return client.Outcome(507, inner=inside)
        assert isinstance(command, (Get, Exec, Replace))
        results = [(uri_of(item), self.do(command, item)) for item in command.items]
        found = tuple(item for _, outcome in results for item in outcome.items)
        if len(results) == 1:
            return results[0][1]
        told = tuple((uri, outcome.status, outcome.original_error) for uri, outcome in results)
        return client.Outcome(200, found, items_status=told)

    def do(self, command: Get | Exec | Replace, item: Item) -> client.Outcome:
        """Do what one item asks; doing the same thing twice fails the test."""
        uri = uri_of(item)
        base, _, _ = uri.partition("?")
        assert uri not in self.done
        if isinstance(command, Exec):
            outcome = client.Outcome(500, original_error="0x86000002")
        elif len(command.items) > 1 and int(base[-1]) % 2:
            outcome = client.Outcome(404, original_error="0x86000001")
        elif isinstance(command, Replace):
            self.values[uri] = item.data
            outcome = client.Outcome(200)
        else:
            items = (
                Item(source=Location(base), meta=Meta(format="node")),
                Item(source=Location(f"{base}/Name"), data=f"<é & {base}>"),
                Item(source=Location(f"{base}/Empty")),
            )
            outcome = client.Outcome(200, items)
        self.done[uri] = outcome
        return outcome

    def leave(self, command: Command, code: int) -> client.Outcome:
        """Say that a command was undone or not begun, and everything in it."""
        if isinstance(command, (Atomic, Sequence)):
            return client.Outcome(code, inner=tuple(self.leave(inner, code) for inner in command.commands))
        assert isinstance(command, (Get, Exec, Replace))
        for item in command.items:
            assert uri_of(item) not in self.done
            self.done[uri_of(item)] = client.Outcome(code)
        return client.Outcome(code)

    def spread(self, turn: client.Turn, outcomes: list[client.Outcome]) -> list[client.Outcome]:
        """Keep the items back for later messages: the first ones together, a value in two chunks."""
        spread = []
        for command, outcome in zip(turn.commands, outcomes, strict=True):
            if outcome.items:
                first, value, *last = outcome.items
                text = value.data or ""
                size = Meta(size=len(text.encode()))
                chunks = (
                    (first, Item(source=value.source, meta=size, data=text[:4], more_data=True)),
                    (Item(source=value.source, data=text[4:]), *last),
                )
                self.owed += [Results("", turn.server_msg_id, command.cmd_id, items) for items in chunks]
            spread.append(replace(outcome, items=()))
        return spread


def uri_of(item: Item) -> str:
    """The LocURI that an item of a command asks about."""
    assert item.target is not None
    return item.target.loc_uri


SHAPES: Final = ("Get", "Exec", "Replace", ITEMS, "Gets", ATOMIC, "Failing", SEQUENCE, "Large", "Get")
"""What a server may want: a verb, or a bundle of requests."""


class Dialogue:
    """Requests on one side, a device on the other, and a network between that does what it likes."""

    def __init__(self, *, each: bool = False, strict: bool = False) -> None:
        """Both sides are new to each other."""
        self.server = Server(each=each)
        self.device = Device(each=each, strict=strict)
        self.nodes = 0
        self.given: list[Wish] = []
        self.seen: list[tuple[bytes, bytes]] = []
        """Messages of this session that were accepted, with the replies they got."""
        self.late: list[bytes] = []
        """Messages that are still on their way, while the device has gone on to others or sends them again."""

    def step(self, kind: str, number: int) -> None:
        """Let one thing happen; `number` decides about its details."""
        if kind == "give":
            self.give(1 + number % 3, SHAPES[number])
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

    def give(self, number: int, shape: str) -> None:
        """The service wants something more of the device."""
        for _ in range(number):
            wish = self.wish(shape)
            self.given.append(wish)
            self.server.queue.append(wish)

    def wish(self, shape: str) -> Wish:
        """Something to want of nodes that no one has wanted anything of."""
        if shape == ITEMS:
            return Bundle(ITEMS, (self.request("Replace"), self.request("Replace"), self.request("Replace")))
        if shape == "Gets":
            return Bundle(ITEMS, (self.request("Get"), self.request("Get"), self.request("Get")))
        if shape == ATOMIC:
            return Bundle(ATOMIC, (self.request("Replace"), self.request("Replace")))
        if shape == "Failing":
            return Bundle(ATOMIC, (self.request("Replace"), self.request("Exec"), self.request("Replace")))
        if shape == SEQUENCE:
            inside = (self.request("Get"), self.wish(ATOMIC), self.wish("Failing"), self.wish("Gets"))
            return Bundle(SEQUENCE, inside)
        return self.request(shape)

    def request(self, shape: str) -> Request:
        """A request about the next node; a large one has a value that fits into no message."""
        uri = f"./Vendor/Node{self.nodes}"
        self.nodes += 1
        if shape == "Get":
            return Request("Get", f"{uri}?list=StructData")
        if shape == "Exec":
            return Request("Exec", uri)
        return Request("Replace", uri, "chr", data=f"<{uri} & é>" * (200 if shape == "Large" else 1))

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
        known = f"{header.session_id} {header.msg_id}" in self.server.replies
        its_turn = continues(self.server.session, header) and not self.server.each
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
        assert told + flat(server.queue) == flat(self.given)
        for answer in server.answers:
            if answer.status is None:
                assert answer.items == ()
                continue
            outcome = device.done[answer.request.loc_uri]
            assert answer.status == outcome.status
            assert answer.original_error == outcome.original_error
            assert answer.items == outcome.items
            if answer.request.verb == "Replace" and answer.status == 200:
                assert device.values[answer.request.loc_uri] == answer.request.data
        assert set(device.values) == {uri for uri in device.values if device.done[uri].status == 200}


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
@given(
    st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 9)), min_size=STEPS, max_size=STEPS),
    st.booleans(),
    st.booleans(),
)
def test_every_request_is_answered_once_or_known_to_be_unanswered(
    steps: list[tuple[str, int]],
    each: bool,  # noqa: FBT001 - a case
    strict: bool,  # noqa: FBT001 - a case
) -> None:
    """After any steps of talk, loss, delay, repetition and restart no request is lost, doubled or misreported."""
    dialogue = Dialogue(each=each, strict=strict)
    dialogue.give(3, "Get")
    for shape in ("Large", SEQUENCE, "Gets"):
        dialogue.give(1, shape)
    for kind, number in steps:
        dialogue.step(kind, number)
    dialogue.check()


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("each", [False, True])
def test_a_dialogue_without_trouble_leaves_nothing_unknown(each: bool, strict: bool) -> None:  # noqa: FBT001 - a case
    """Every shape of wish is answered, whoever must prove himself and how often."""
    dialogue = Dialogue(each=each, strict=strict)
    for shape in SHAPES:
        dialogue.give(2, shape)
    dialogue.device.begin(authenticate=False)
    for number in range(100):
        if dialogue.device.outbox:
            dialogue.step("spread" if number % 3 else "exchange", number % 5)
            dialogue.restart()
    assert dialogue.device.outbox == b""
    assert dialogue.server.queue == []
    assert None not in {answer.status for answer in dialogue.server.answers}
    assert set(dialogue.device.done) == {request.loc_uri for request in flat(dialogue.given)}
    dialogue.check()


values = st.builds(
    lambda piece, times: piece * times,
    st.text(
        st.sampled_from(" \t\r\n<>&\"'é漢\U0001f600x]")
        | st.characters(codec="utf-8", exclude_categories=["Cc"])
    ).filter(lambda piece: not set(piece) & {"\ufffe", "\uffff"}),
    st.integers(0, 2_000),
)


@settings(max_examples=max(RUNS, 50))
@given(
    room=st.integers(4_096, 20_000),
    wanted=st.lists(st.tuples(st.sampled_from(["Add", "Replace", "Exec"]), values), min_size=1, max_size=4),
    restart=st.booleans(),
)
def test_any_value_reaches_a_device_of_any_room(
    room: int,
    wanted: list[tuple[str, str]],
    restart: bool,  # noqa: FBT001 - a case
) -> None:
    """No message is longer than the device's MaxMsgSize, and what the device joins is exactly the value."""
    server = Server()
    requests = [Request(verb, f"./Node{n}", "chr", data=data) for n, (verb, data) in enumerate(wanted)]
    server.queue = [*requests]
    message, state = client.begin(
        session_id="7",
        device_id=DEVICE,
        server_uri=SERVER,
        device_info={"./DevInfo/DevId": DEVICE},
        cred=make_cred(MD5, USER, PASSWORD, b"nonce 0"),
        username=USER,
        max_msg_size=room,
    )
    written: list[tuple[str, str | None]] = []
    while True:
        reply = server.handle(write_message(message))
        assert len(reply) <= room
        if restart:
            server.restart()
        turn = client.receive(state, read_message(reply))
        if turn.verdict is client.Verdict.END:
            break
        for command in turn.commands:
            assert isinstance(command, (Add, Replace, Exec))
            written += [(type(command).__name__, item.data) for item in command.items]
        message, state = client.answer(turn, [client.Outcome(200)] * len(turn.commands))
    assert written == wanted
    assert server.answers == [Answer(request, 200) for request in requests]


def test_a_whole_session_without_trouble() -> None:
    """Challenge, statuses, answers spread over messages, more commands than fit in one, and an empty end."""
    server, device = Server(), Device()
    given = [Request("Get", f"./Vendor/Node{n}?list=StructData") for n in range(7)]
    server.queue = [*given]
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
