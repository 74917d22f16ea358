"""The device's side of a session: what Windows sends, and what it makes of a server's reply."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncml.auth import BASIC, MAC, MD5, challenge, make_cred
from syncml.client import (
    TRANSITIONS,
    ClientPhase,
    ClientState,
    Outcome,
    Turn,
    Verdict,
    answer,
    begin,
    distrust,
    receive,
    retry,
)
from syncml.errors import LocalProtocolError
from syncml.messages import (
    Add,
    Alert,
    Atomic,
    Chal,
    Copy,
    Delete,
    Exec,
    Get,
    Item,
    Location,
    Message,
    Meta,
    Replace,
    Results,
    Sequence,
    Status,
    SyncHdr,
    Unknown,
)
from syncml.status import StatusCode
from syncml.writer import write_message

if TYPE_CHECKING:
    from collections.abc import Iterable

    from syncml.messages import Command

SERVER: Final = "https://mdm.example.test/omadm"
DEVICE: Final = "B5B954E81FBCB94EB79BD08BE625F4EE"
INFO: Final = {"./DevInfo/DevId": DEVICE, "./DevInfo/Man": "VMware, Inc."}
SCAN: Final = Item(target=Location("./Vendor/MSFT/Update/LastSuccessfulScanTime"))
CRED: Final = make_cred(MD5, "Bruce2", "OhBehave", b"Nonce")
CHAL: Final = challenge(MD5, b"Nonce")
LARGE: Final = Location("./Vendor/MSFT/Example/Large")
CHUNK: Final = Replace(
    "2", (Item(target=LARGE, meta=Meta(format="chr", size=7), data="one ", more_data=True),)
)
LAST: Final = Replace("2", (Item(target=LARGE, meta=Meta(format="chr"), data="two"),))
BODY: Final[tuple[Command, ...]] = (
    Alert("", "1201"),
    Alert("", "1224", (Item(meta=Meta(type="com.microsoft/MDM/LoginStatus"), data="user"),)),
    Replace(
        "",
        (
            Item(source=Location("./DevInfo/DevId"), data=DEVICE),
            Item(source=Location("./DevInfo/Man"), data="VMware, Inc."),
        ),
    ),
)


def opened(**fields: Any) -> tuple[Message, ClientState]:
    """Package 1 of session 7, and the state after it."""
    return begin(session_id="7", device_id=DEVICE, server_uri=SERVER, device_info=INFO, **fields)


def replied(
    *commands: Command,
    code: int | str = 200,
    chal: Chal | None = None,
    msg_id: str = "1",
    session_id: str = "7",
    final: bool = True,
) -> Message:
    """A server's reply: the Status of the SyncHdr, then the commands."""
    first = Status("1", "1", "0", "SyncHdr", str(code), chal=chal)
    header = SyncHdr(session_id, msg_id, Location(DEVICE), Location(SERVER))
    return Message(header, (first, *commands), final)


def turned(*commands: Command, state: ClientState | None = None, msg_id: str = "1") -> Turn:
    """What the device makes of a reply with these commands."""
    return receive(state or opened()[1], replied(*commands, msg_id=msg_id))


def numbers(message: Message) -> list[str]:
    """The CmdIDs of a message."""
    return [each.cmd_id for each in message.commands]


def unnumbered(commands: Iterable[Command]) -> tuple[Command, ...]:
    """The commands as they were before they had CmdIDs."""
    return tuple(replace(each, cmd_id="") for each in commands)


# --- the table ------------------------------------------------------------------------------------------

TABLE: Final = """
            challenged refused aborted commands chunk   next    end
    opening opening    failed  failed  working  working working done
    working working    failed  failed  working  working working done
    done    -          -       -       -        -       -       -
    failed  -          -       -       -        -       -       -
"""

REPLIES: Final = {
    Verdict.CHALLENGED: replied(code=407, chal=CHAL),
    Verdict.REFUSED: replied(code=513),
    Verdict.ABORTED: replied(Alert("2", "1223")),
    Verdict.COMMANDS: replied(Get("2", (SCAN,))),
    Verdict.CHUNK: replied(CHUNK, final=False),
    Verdict.NEXT: replied(Alert("2", "1222")),
    Verdict.END: replied(),
}


def cells(table: str) -> list[tuple[str, str, str]]:
    """(row, column, cell) of a table in text."""
    first, *rows = (line.split() for line in table.strip().splitlines())
    return [(row[0], column, cell) for row in rows for column, cell in zip(first, row[1:], strict=True)]


def test_the_table_names_every_phase_and_verdict() -> None:
    """Nothing is left out of the table below: each phase has a cell for each verdict."""
    assert {(phase, verdict) for phase, verdict, _ in cells(TABLE)} == {
        (phase.value, verdict.value) for phase in ClientPhase for verdict in Verdict
    }
    assert set(TRANSITIONS) == set(ClientPhase)
    assert set(REPLIES) == set(Verdict)


@pytest.mark.parametrize(("phase", "verdict", "after"), cells(TABLE))
def test_every_phase_and_verdict_has_its_outcome(phase: str, verdict: str, after: str) -> None:
    """A reply of each kind leads where the table says, or comes after the end, which is our own mistake."""
    state = replace(opened()[1], phase=ClientPhase(phase))
    reply = REPLIES[Verdict(verdict)]
    if after == "-":
        with pytest.raises(LocalProtocolError, match=f"over \\({phase}\\)"):
            receive(state, reply)
    else:
        turn = receive(state, reply)
        assert turn.verdict is Verdict(verdict)
        assert turn.state.phase is ClientPhase(after)


# --- package 1 ------------------------------------------------------------------------------------------


def test_package_1_is_what_windows_sends() -> None:
    """Alert 1201, LoginStatus and DevInfo in this order, CmdIDs from 2, MsgID 1, no Cred, no Meta, Final."""
    message, state = opened()
    assert message.header == SyncHdr("7", "1", Location(SERVER), Location(DEVICE))
    assert unnumbered(message.commands) == BODY
    assert numbers(message) == ["2", "3", "4"]
    assert message.final
    assert (state.phase, state.msg_id, state.challenges) == (ClientPhase.OPENING, 1, 0)


def test_further_alerts_stand_before_dev_info() -> None:
    """An unenrolment is told between LoginStatus and DevInfo, as in a captured session."""
    unenrol = Alert(
        "", "1226", (Item(meta=Meta(type="com.microsoft:mdm.unenrollment.userrequest"), data="1"),)
    )
    message, _ = opened(alerts=[unenrol], login_status="none")
    assert unnumbered(message.commands)[2] == unenrol
    assert [type(each).__name__ for each in message.commands] == ["Alert", "Alert", "Alert", "Replace"]
    assert message.commands[1] == Alert(
        "3", "1224", (Item(meta=Meta(type="com.microsoft/MDM/LoginStatus"), data="none"),)
    )
    assert numbers(message) == ["2", "3", "4", "5"]


def test_package_1_may_authenticate() -> None:
    """With a Cred the header carries it and names the user; the name alone is for a MAC around the message."""
    message, _ = opened(cred=CRED, username="Bruce2")
    assert message.header.cred == CRED
    assert message.header.source == Location(DEVICE, "Bruce2")
    assert opened(username="Bruce2")[0].header == replace(message.header, cred=None)
    assert opened()[0].header.source == Location(DEVICE)


def test_the_size_we_take_is_said() -> None:
    """MaxMsgSize stands in the header of package 1."""
    assert opened(max_msg_size=4096)[0].header.meta == Meta(max_msg_size=4096)


# --- what a reply amounts to ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "reply", "verdict", "status"),
    [
        ("nothing to do", replied(), Verdict.END, 200),
        ("authenticated", replied(code=212, chal=CHAL), Verdict.END, 212),
        ("a command", replied(Get("2", (SCAN,))), Verdict.COMMANDS, 200),
        ("a command after authentication", replied(Get("2", (SCAN,)), code=212), Verdict.COMMANDS, 212),
        ("something unknown", replied(Unknown("Put", "2")), Verdict.COMMANDS, 200),
        ("a dialogue with the user", replied(Alert("2", "1101")), Verdict.COMMANDS, 200),
        ("a chunk", replied(CHUNK, final=False), Verdict.CHUNK, 200),
        ("a chunk, and a command", replied(Get("3", (SCAN,)), CHUNK, final=False), Verdict.CHUNK, 200),
        ("a chunk, and no more", replied(CHUNK), Verdict.COMMANDS, 200),
        ("an object of ours that broke off", replied(Alert("2", "1225")), Verdict.COMMANDS, 200),
        ("go on", replied(Alert("2", "1222")), Verdict.NEXT, 200),
        ("go on, and a command", replied(Alert("2", "1222"), Get("3", (SCAN,))), Verdict.COMMANDS, 200),
        ("results of ours", replied(Results("2", "1", "2", ())), Verdict.END, 200),
        ("an abort", replied(Alert("2", "1223"), Get("3", (SCAN,))), Verdict.ABORTED, 200),
        ("no credentials", replied(code=407, chal=CHAL), Verdict.CHALLENGED, 407),
        ("wrong credentials", replied(code=401, chal=CHAL), Verdict.CHALLENGED, 401),
        ("no way to authenticate", replied(code=407), Verdict.REFUSED, 407),
        ("no more tries", replied(code=401), Verdict.REFUSED, 401),
        ("another version", replied(Get("2", (SCAN,)), code=513), Verdict.REFUSED, 513),
        ("busy", replied(code=503), Verdict.REFUSED, 503),
        ("another session", replied(Get("2", (SCAN,)), session_id="8"), Verdict.REFUSED, 200),
        ("no code", replied(code=""), Verdict.REFUSED, 0),
        ("no number", replied(code="-200"), Verdict.REFUSED, 0),
        ("digits beyond ASCII", replied(code="\u0662\u0660\u0660"), Verdict.REFUSED, 0),
        ("four digits", replied(code="1200"), Verdict.REFUSED, 1200),
        ("five digits", replied(code="20000"), Verdict.REFUSED, 0),
        ("a number without end", replied(code="2" * 5000), Verdict.REFUSED, 0),
    ],
)
def test_verdicts(case: str, reply: Message, verdict: Verdict, status: int) -> None:
    """Each reply amounts to one thing, told by its header's Status, its alerts and its commands."""
    turn = receive(opened()[1], reply)
    assert (turn.verdict, turn.status) == (verdict, status), case


def test_a_reply_without_a_header_status_refuses() -> None:
    """A reply that says nothing of our SyncHdr is no base to work on."""
    header = SyncHdr("7", "1", Location(DEVICE), Location(SERVER))
    reply = Message(header, (Status("1", "1", "2", "Alert", "200"), Get("2", (SCAN,))))
    turn = receive(opened()[1], reply)
    assert (turn.verdict, turn.status, turn.next_nonce) == (Verdict.REFUSED, 0, None)


def test_commands_come_in_document_order() -> None:
    """Statuses, Results and the alerts that steer the session are no commands; all the rest is, in order."""
    get, add, put, ask = Get("3", (SCAN,)), Add("4", (SCAN,)), Unknown("Put", "5"), Alert("7", "1100")
    turn = turned(get, Status("2", "1", "2", "Alert", "200"), add, Alert("6", "1222"), put, ask)
    assert turn.commands == (get, add, put, ask)
    assert turn.server_msg_id == "1"


@pytest.mark.parametrize(
    ("chal", "scheme", "nonce"),
    [
        (CHAL, MD5, b"Nonce"),
        (challenge(BASIC, b""), BASIC, None),
        (Chal(Meta(type=f" {MD5}\n", next_nonce=" Tm9u\nY2U= ")), MD5, b"Nonce"),
        (Chal(Meta(type=MD5, next_nonce="")), MD5, b""),
        (Chal(Meta(type=MD5, next_nonce="Tm9u*")), MD5, None),
        (Chal(Meta(type=MD5, next_nonce="Tm9uY2U\u00e9")), MD5, None),
        (Chal(Meta(type="  ")), None, None),
        (Chal(Meta()), None, None),
        (None, None, None),
    ],
)
def test_what_a_challenge_says(chal: Chal | None, scheme: str | None, nonce: bytes | None) -> None:
    """Scheme and nonce are read from the Chal of the SyncHdr's Status; a nonce that is none is left out."""
    turn = receive(opened()[1], replied(code=212, chal=chal))
    assert (turn.challenge, turn.next_nonce) == (scheme, nonce)


# --- authentication -------------------------------------------------------------------------------------


def test_after_a_challenge_package_1_is_repeated() -> None:
    """Same SessionID, next MsgID, Status for the server's SyncHdr, the same commands, Cred and LocName."""
    first, state = opened(max_msg_size=4096)
    turn = receive(state, replied(code=407, chal=CHAL, msg_id="1"))
    message, state = retry(turn, CRED, "Bruce2")
    assert message.header == replace(
        first.header, msg_id="2", source=Location(DEVICE, "Bruce2"), cred=CRED, meta=Meta(max_msg_size=4096)
    )
    assert message.commands[0] == Status("1", "1", "0", "SyncHdr", "200")
    assert unnumbered(message.commands[1:]) == BODY
    assert numbers(message) == ["1", "2", "3", "4"]
    assert message.final
    assert (state.phase, state.msg_id, state.challenges) == (ClientPhase.OPENING, 2, 1)


def test_another_nonce_is_another_chance() -> None:
    """As long as the challenge changes, credentials may be tried again."""
    state = opened()[1]
    for tries, nonce in enumerate((b"a", b"b", b"c"), start=1):
        turn = receive(state, replied(code=401, chal=challenge(MD5, nonce)))
        assert turn.verdict is Verdict.CHALLENGED
        assert turn.next_nonce == nonce
        _, state = retry(turn, CRED, "Bruce2")
        assert state.challenges == tries


@pytest.mark.parametrize("chal", [CHAL, challenge(BASIC, b"")])
def test_the_same_challenge_again_ends_it(chal: Chal) -> None:
    """A repeated identical challenge means that our answer was wrong: give up (OMA DM_Protocol 9.2)."""
    turn = receive(opened()[1], replied(code=407, chal=chal))
    _, state = retry(turn, CRED, "Bruce2")
    turn = receive(state, replied(code=401, chal=chal))
    assert turn.verdict is Verdict.REFUSED
    assert turn.state.phase is ClientPhase.FAILED


@pytest.mark.parametrize("verdict", [each for each in Verdict if each is not Verdict.CHALLENGED])
def test_credentials_are_sent_only_when_asked_for(verdict: Verdict) -> None:
    """A retry without a challenge is our own mistake."""
    turn = receive(opened()[1], REPLIES[verdict])
    with pytest.raises(LocalProtocolError, match="did not ask"):
        retry(turn, CRED, "Bruce2")


def test_a_challenge_in_mid_session_repeats_the_last_message() -> None:
    """Where each message needs credentials, any of them may be asked for again, with its Final and its commands."""
    turn = turned(Get("2", (SCAN,)))
    late = Results("", "1", "2", (Item(source=Location("./A"), data="1"),))
    first, state = answer(turn, [Outcome(200)], more=[late], final=False)
    turn = receive(state, replied(code=401, chal=CHAL, msg_id="2"))
    message, state = retry(turn, CRED, "Bruce2")
    assert (message.header.msg_id, message.header.cred, message.final) == ("3", CRED, False)
    assert message.commands[0] == Status("1", "2", "0", "SyncHdr", "200")
    assert message.commands[1:] == first.commands[1:]
    assert (state.phase, state.challenges) == (ClientPhase.WORKING, 1)


def test_a_mac_needs_no_cred() -> None:
    """The proof stands around the message: the header has the name alone."""
    message, _ = retry(receive(opened()[1], replied(code=407, chal=challenge(MAC, b"n"))), None, "Bruce2")
    assert (message.header.cred, message.header.source) == (None, Location(DEVICE, "Bruce2"))


def test_each_message_may_have_credentials() -> None:
    """With 200 instead of 212 they come with every message, and the server's own are judged in the Status."""
    turn = receive(opened()[1], replied(Get("2", (SCAN,)), chal=CHAL))
    assert (turn.status, turn.next_nonce) == (200, b"Nonce")
    ours = challenge(MD5, b"for the server")
    message, _ = answer(
        turn, [Outcome(200)], cred=CRED, username="Bruce2", code=StatusCode.AUTHENTICATION_ACCEPTED, chal=ours
    )
    assert message.header.cred == CRED
    assert message.header.source == Location(DEVICE, "Bruce2")
    assert message.commands[0] == Status("1", "1", "0", "SyncHdr", "212", chal=ours)


@pytest.mark.parametrize("code", [StatusCode.INVALID_CREDENTIALS, StatusCode.MISSING_CREDENTIALS])
def test_a_server_that_did_not_prove_itself_is_not_obeyed(code: StatusCode) -> None:
    """Every command gets the code, nothing is carried out, and the Chal says what we want to see."""
    ours = challenge(MD5, b"for the server")
    turn = turned(
        Get("2", (SCAN,)), Atomic("3", (Add("4", (SCAN,)),)), replace(CHUNK, cmd_id="5"), msg_id="3"
    )
    message, state = distrust(turn, code, ours, cred=CRED, username="Bruce2")
    text = str(int(code))
    assert message.commands == (
        Status("1", "3", "0", "SyncHdr", text, chal=ours),
        Status("2", "3", "2", "Get", text),
        Status("3", "3", "3", "Atomic", text),
        Status("4", "3", "5", "Replace", text),
    )
    assert (message.final, message.header.cred, message.header.source.loc_name) == (True, CRED, "Bruce2")
    assert (state.phase, state.msg_id) == (ClientPhase.WORKING, 2)


def test_an_object_of_a_distrusted_server_begins_anew() -> None:
    """Its first chunk is not kept: the next one is the first again."""
    turn = receive(opened()[1], replied(CHUNK, final=False))
    message, state = distrust(turn, StatusCode.MISSING_CREDENTIALS, CHAL)
    assert message.final
    assert [each.data for each in message.commands if isinstance(each, Status)] == ["407", "407"]
    again = receive(state, replied(CHUNK, final=False))
    assert again.refused == ((CHUNK, 213),)
    turn = receive(answer(again)[1], replied(LAST))
    assert [command.items[0].data for command in turn.commands if isinstance(command, Replace)] == ["one two"]


@pytest.mark.parametrize(
    "verdict", [each for each in Verdict if each not in {Verdict.COMMANDS, Verdict.CHUNK}]
)
def test_only_commands_are_distrusted(verdict: Verdict) -> None:
    """A server that sent none waits for no answer."""
    with pytest.raises(LocalProtocolError, match="waits for no answer"):
        distrust(receive(opened()[1], REPLIES[verdict]), StatusCode.MISSING_CREDENTIALS, CHAL)


# --- large objects of the server ------------------------------------------------------------------------


def test_a_large_object_is_put_together() -> None:
    """Each chunk is answered 213 and Alert 1222 without Final; with the last one the command is whole."""
    turn = receive(opened()[1], replied(CHUNK, final=False))
    assert (turn.commands, turn.refused) == ((), ((CHUNK, 213),))
    message, state = answer(turn)
    assert message.commands == (
        Status("1", "1", "0", "SyncHdr", "200"),
        Status("2", "1", "2", "Replace", "213"),
        Alert("3", "1222"),
    )
    assert not message.final
    turn = receive(state, replied(LAST, msg_id="2"))
    assert turn.verdict is Verdict.COMMANDS
    assert turn.commands == (Replace("2", (Item(target=LARGE, meta=Meta(format="chr"), data="one two"),)),)
    message, _ = answer(turn, [Outcome(200)])
    assert message.commands[1:] == (Status("2", "2", "2", "Replace", "200"),)
    assert message.final


@pytest.mark.parametrize("verb", [Add, Exec, Replace])
def test_every_verb_with_a_value_comes_in_chunks(verb: type[Add | Exec | Replace]) -> None:
    """What may carry Data may carry it in pieces."""
    _, state = answer(receive(opened()[1], replied(verb("2", CHUNK.items), final=False)))
    turn = receive(state, replied(verb("2", LAST.items)))
    assert [command.items[0].data for command in turn.commands if isinstance(command, verb)] == ["one two"]


def test_what_stands_beside_a_chunk_is_carried_out() -> None:
    """A command before the first chunk has its outcome in the same message; the order is ours."""
    turn = receive(opened()[1], replied(Get("3", (SCAN,)), CHUNK, final=False))
    message, _ = answer(turn, [Outcome(200)])
    told = [(each.cmd, each.data) for each in message.commands if isinstance(each, Status)]
    assert told == [("SyncHdr", "200"), ("Replace", "213"), ("Get", "200")]


def test_an_object_of_another_length_is_not_carried_out() -> None:
    """424, and nothing is left of it."""
    _, state = answer(receive(opened()[1], replied(CHUNK, final=False)))
    short = replace(LAST, items=(replace(LAST.items[0], data="2"),))
    turn = receive(state, replied(short))
    assert (turn.verdict, turn.commands, turn.refused) == (Verdict.COMMANDS, (), ((short, 424),))
    message, state = answer(turn)
    assert message.commands[1:] == (Status("2", "1", "2", "Replace", "424"),)
    assert message.final
    assert state.chunk is None


def test_final_ends_an_object() -> None:
    """A server that closes its package sends no more of the object, and the session goes on without it."""
    _, state = answer(receive(opened()[1], replied(CHUNK, final=False)))
    turn = receive(state, replied(Get("2", (SCAN,)), msg_id="2"))
    assert (turn.verdict, turn.state.chunk) == (Verdict.COMMANDS, None)
    assert receive(state, replied(msg_id="2")).verdict is Verdict.END


def test_a_challenge_between_two_chunks_loses_none() -> None:
    """The message that asked for the next chunk is repeated, and the object goes on."""
    _, state = answer(receive(opened()[1], replied(CHUNK, final=False)))
    turn = receive(state, replied(code=401, chal=CHAL, msg_id="2", final=False))
    message, state = retry(turn, CRED, "Bruce2")
    assert message.commands[-1] == Alert("3", "1222")
    assert not message.final
    turn = receive(state, replied(LAST, msg_id="3"))
    assert [command.items[0].data for command in turn.commands if isinstance(command, Replace)] == ["one two"]


# --- package 3# --- package 3 ------------------------------------------------------------------------------------------


def test_answers_follow_the_order_of_the_commands() -> None:
    """Status for the SyncHdr, a Status per command, Results right after the Status of their Get, CmdIDs from 1."""
    found = (Item(source=Location("./A"), data="1"),)
    turn = turned(Replace("5", (SCAN,)), Get("6", (SCAN,)), Add("7", (SCAN,)), Unknown("Put", ""), msg_id="3")
    outcomes = [Outcome(200), Outcome(200, found), Outcome(500, original_error="0x86000002"), Outcome(400)]
    message, state = answer(turn, outcomes)
    assert message.commands == (
        Status("1", "3", "0", "SyncHdr", "200"),
        Status("2", "3", "5", "Replace", "200"),
        Status("3", "3", "6", "Get", "200"),
        Results("4", "3", "6", found),
        Status("5", "3", "7", "Add", "500", original_error="0x86000002"),
        Status("6", "3", "", "Put", "400"),
    )
    assert message.header == SyncHdr("7", "2", Location(SERVER), Location(DEVICE))
    assert message.final
    assert (state.phase, state.msg_id) == (ClientPhase.WORKING, 2)


@pytest.mark.parametrize("group", [Atomic, Sequence])
def test_a_group_is_answered_before_what_it_holds(group: type[Atomic | Sequence]) -> None:
    """The group's Status comes first, then those of the commands inside, with the server's CmdIDs."""
    nested = Sequence("6", (Delete("7", (SCAN,)),))
    turn = turned(group("4", (Add("5", (SCAN,)), nested)), Exec("8", (SCAN,)))
    inner = (Outcome(216), Outcome(215, inner=(Outcome(215),)))
    message, _ = answer(turn, [Outcome(507, inner=inner), Outcome(202)])
    told = [(each.cmd_ref, each.cmd, each.data) for each in message.commands if isinstance(each, Status)]
    assert told == [
        ("0", "SyncHdr", "200"),
        ("4", group.__name__, "507"),
        ("5", "Add", "216"),
        ("6", "Sequence", "215"),
        ("7", "Delete", "215"),
        ("8", "Exec", "202"),
    ]
    assert numbers(message) == ["1", "2", "3", "4", "5", "6"]


def test_each_item_may_have_its_status() -> None:
    """Where items differ there is one Status each, with TargetRef, and Results after them."""
    turn = turned(Get("5", (SCAN, Item(target=Location("./B")))))
    found = (Item(source=Location("./B"), data="1"),)
    each = (("./A", 404, None), ("./B", 200, None), ("./C", 500, "0x86000002"))
    message, _ = answer(turn, [Outcome(200, found, items_status=each)])
    assert message.commands[1:] == (
        Status("2", "1", "5", "Get", "404", ("./A",)),
        Status("3", "1", "5", "Get", "200", ("./B",)),
        Status("4", "1", "5", "Get", "500", ("./C",), original_error="0x86000002"),
        Results("5", "1", "5", found),
    )


@pytest.mark.parametrize(
    ("command", "outcomes"),
    [
        (Get("2", (SCAN,)), []),
        (Get("2", (SCAN,)), [Outcome(200), Outcome(200)]),
        (Get("2", (SCAN,)), [Outcome(200, inner=(Outcome(200),))]),
        (Atomic("2", (Add("3", (SCAN,)),)), [Outcome(507)]),
        (Sequence("2", (Add("3", (SCAN,)),)), [Outcome(200, inner=(Outcome(200), Outcome(200)))]),
    ],
)
def test_each_command_has_one_outcome(command: Command, outcomes: list[Outcome]) -> None:
    """Too few or too many outcomes, outside or inside a group, are our own mistake."""
    with pytest.raises(LocalProtocolError, match="outcomes"):
        answer(turned(command), outcomes)


def test_a_package_may_take_several_messages() -> None:
    """Without Final the server answers 1222, and the rest follows in the next message, still of this session."""
    turn = turned(Get("2", (SCAN,)))
    message, state = answer(turn, [Outcome(200)], final=False)
    assert not message.final
    turn = receive(state, replied(Alert("2", "1222"), msg_id="2"))
    late = Results("", "1", "2", (Item(source=Location("./A"), data="1"),))
    message, state = answer(turn, more=[late, Alert("", "1224")])
    assert message.commands == (
        Status("1", "2", "0", "SyncHdr", "200"),
        replace(late, cmd_id="2"),
        Alert("3", "1224"),
    )
    assert (message.header.msg_id, state.msg_id) == ("3", 3)


def test_what_we_add_comes_after_the_answers() -> None:
    """Further commands are numbered on, whatever their kind."""
    more = (Add("", ()), Copy("", ()), Exec("", ()), Delete("", ()), Status("", "1", "2", "Get", "200"))
    message, _ = answer(turned(Get("2", (SCAN,))), [Outcome(200)], more=more)
    assert unnumbered(message.commands[2:]) == more
    assert numbers(message) == ["1", "2", "3", "4", "5", "6", "7"]


def test_no_unknown_command_is_sent() -> None:
    """An element that is no command is not ours to send."""
    with pytest.raises(LocalProtocolError, match="Put is no command"):
        answer(turned(Get("2", (SCAN,))), [Outcome(200)], more=[Unknown("Put")])


@pytest.mark.parametrize("verdict", [Verdict.CHALLENGED, Verdict.REFUSED, Verdict.ABORTED, Verdict.END])
def test_nothing_is_answered_unasked(verdict: Verdict) -> None:
    """After the last message of a server, after a challenge and after an abort no answer follows."""
    with pytest.raises(LocalProtocolError, match="waits for no answer"):
        answer(receive(opened()[1], REPLIES[verdict]))


@given(
    code=st.text(max_size=6) | st.sampled_from(["200", "212", "401", "407"]),
    scheme=st.none() | st.text(max_size=20),
    nonce=st.none() | st.text(max_size=20),
    alerts=st.lists(st.text(max_size=5) | st.sampled_from(["1222", "1223", "1100"]), max_size=3),
    chunks=st.lists(st.sampled_from([CHUNK, LAST, Add("3", CHUNK.items), Add("4", (SCAN,))]), max_size=3),
    state=st.sampled_from(
        [
            opened()[1],
            replace(opened()[1], phase=ClientPhase.WORKING),
            answer(receive(opened()[1], REPLIES[Verdict.CHUNK]))[1],
        ]
    ),
    final=st.booleans(),
)
def test_nothing_a_server_says_raises(
    code: str,
    scheme: str | None,
    nonce: str | None,
    alerts: list[str],
    chunks: list[Command],
    state: ClientState,
    final: bool,  # noqa: FBT001 - a case
) -> None:
    """Any reply in an open session amounts to something, and what is to be answered can be."""
    body = (*(Alert("2", data) for data in alerts), *chunks)
    chal = Chal(Meta(type=scheme, next_nonce=nonce))
    turn = receive(state, replied(*body, code=code, chal=chal, final=final))
    assert turn.state.phase is TRANSITIONS[state.phase][turn.verdict]
    if turn.verdict in {Verdict.COMMANDS, Verdict.CHUNK, Verdict.NEXT}:
        message, _ = answer(turn, [Outcome(406) for _ in turn.commands])
        assert write_message(message)
    if turn.verdict in {Verdict.COMMANDS, Verdict.CHUNK}:
        message, _ = distrust(turn, StatusCode.MISSING_CREDENTIALS, CHAL)
        assert len(message.commands) == 1 + len(turn.commands) + len(turn.refused)
    if turn.verdict is Verdict.CHALLENGED:
        assert write_message(retry(turn, CRED, "Bruce2")[0])
