"""The server's side of a session: each rule of OMA DM_Protocol chapters 6, 8 and 9 that it keeps."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

import syncml.session
from syncml.alerts import UNENROLL_USER_REQUEST
from syncml.auth import BASIC, MD5, challenge, make_cred
from syncml.errors import InvalidHeader, LocalProtocolError
from syncml.exchange import ATOMIC, ITEMS, SEQUENCE, Answer, Bundle, Request
from syncml.large_objects import MAX_OBJECT
from syncml.messages import (
    Add,
    Alert,
    Atomic,
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
from syncml.phases import OPEN_PHASES, Phase
from syncml.session import (
    MAX_COMMANDS,
    MAX_ODDITIES,
    AlertEvent,
    Reception,
    Sender,
    ServerState,
    check_header,
    continues,
    receive,
    refuse,
    respond,
)
from syncml.status import StatusCode
from syncml.writer import write_command, write_message

if TYPE_CHECKING:
    from collections.abc import Iterable

    from syncml.exchange import Wish
    from syncml.flight import Part
    from syncml.messages import Chal, Command

SERVER: Final = "https://mdm.example.test/omadm"
DEVICE: Final = "B5B954E81FBCB94EB79BD08BE625F4EE"
LIST: Final = "./Vendor/MSFT/Update/InstallableUpdates"
SCAN: Final = "./Vendor/MSFT/Update/LastSuccessfulScanTime"

GET_LIST: Final = Request("Get", f"{LIST}?list=StructData")
GET_SCAN: Final = Request("Get", SCAN)
ADD: Final = Request("Add", "./Vendor/MSFT/Update/ApprovedUpdates/%7b0%7d", format="node")
GET_SCAN_SAFE: Final = Request("Delete", SCAN)
POLICY: Final = Request("Replace", "./Device/Vendor/MSFT/Policy/Config/Update/X", "int", "text/plain", "7")


def header(msg_id: str = "1", session_id: str = "7", **fields: Any) -> SyncHdr:
    """The SyncHdr of a device message."""
    return SyncHdr(session_id, msg_id, **{"target": Location(SERVER), "source": Location(DEVICE), **fields})


def said(*commands: Command, msg_id: str = "1", final: bool = True, **fields: Any) -> Message:
    """A device message."""
    return Message(header(msg_id, **fields), commands, final)


def status(cmd_ref: str, data: int | str = 200, *, msg_ref: str = "1", cmd: str = "Get") -> Status:
    """What a device says to our command."""
    return Status("9", msg_ref, cmd_ref, cmd, str(data))


def leaf(uri: str, data: str | None = None, **fields: Any) -> Item:
    """An item of Results as it is kept: LocURI and Data."""
    return Item(source=Location(uri), data=data, **fields)


def results(cmd_ref: str, *items: Item, msg_ref: str = "1", source_ref: str | None = None) -> Results:
    """What a Get found."""
    return Results("9", msg_ref, cmd_ref, items, source_ref=source_ref)


def codes(reply: Message) -> list[tuple[str, str]]:
    """(Cmd, status code) of each Status in a reply."""
    return [(each.cmd, each.data) for each in reply.commands if isinstance(each, Status)]


def answered(
    state: ServerState | None, message: Message, *requests: Wish, **fields: Any
) -> tuple[Message, ServerState]:
    """The reply to a message, and the state after it."""
    reply, after, sent = respond(receive(state, message), server_uri=SERVER, requests=requests, **fields)
    assert sent == len(requests)
    return reply, after


def package(state: ServerState, *messages: Message) -> Reception:
    """What the last message of a package amounts to; all that is kept of the others is text."""
    kept: list[Part] = []
    for message in messages[:-1]:
        reception = receive(state, message)
        kept += reception.parts
        _, after, _ = respond(reception, server_uri=SERVER)
        state = stored(after)
    return receive(state, messages[-1], [tuple(part) for part in json.loads(json.dumps(kept))])


def in_flight(*requests: Wish) -> ServerState:
    """The state after package 2 with these requests, as CmdIDs 2, 3, ... of message 1."""
    return answered(None, said(), *requests)[1]


def heard(state: ServerState, *commands: Command, final: bool = True) -> Reception:
    """What message 2 with these commands amounts to."""
    return receive(state, said(*commands, msg_id="2", final=final))


def statuses(message: Message) -> list[tuple[str, str, str]]:
    """(CmdRef, Cmd, Data) of the Status of a message."""
    return [(each.cmd_ref, each.cmd, each.data) for each in message.commands if isinstance(each, Status)]


def kinds(message: Message) -> list[str]:
    """The names of the commands of a message."""
    return [type(each).__name__ for each in message.commands]


# --- the phases -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [Phase.COMPLETE, Phase.ABORTED, Phase.REFUSED])
@pytest.mark.parametrize("final", [True, False])
def test_a_closed_session_has_nothing_to_say(phase: Phase, final: bool) -> None:  # noqa: FBT001 - a case
    """No reply can be made in a closed session, whatever the message."""
    reception = receive(ServerState("7", phase), said(msg_id="2", final=final))
    with pytest.raises(LocalProtocolError):
        respond(reception, server_uri=SERVER)


# --- the header -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"session_id": "0"},
        {"session_id": "s" * 64},
        {"msg_id": "999999999"},
        {"ver_proto": "DM/1.1", "ver_dtd": "1.1"},
        {"target": Location("")},
    ],
)
def test_headers_a_session_works_with(fields: dict[str, str]) -> None:
    """SessionID is opaque, "0" is legal, DM/1.1 is spoken, and the Target need not be ours."""
    assert check_header(header(**fields)) is None


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"ver_proto": "DM/1.3"}, StatusCode.PROTOCOL_VERSION_NOT_SUPPORTED),
        ({"ver_proto": "SyncML/1.2"}, StatusCode.PROTOCOL_VERSION_NOT_SUPPORTED),
        ({"ver_proto": "", "ver_dtd": ""}, StatusCode.PROTOCOL_VERSION_NOT_SUPPORTED),
        ({"ver_dtd": "1.0"}, StatusCode.DTD_VERSION_NOT_SUPPORTED),
        ({"ver_dtd": ""}, StatusCode.DTD_VERSION_NOT_SUPPORTED),
    ],
)
def test_versions_we_do_not_speak(fields: dict[str, str], code: StatusCode) -> None:
    """An unknown VerProto is refused with 513, an unknown VerDTD with 505."""
    assert check_header(header(**fields)) is code


@pytest.mark.parametrize(
    "fields",
    [
        {"session_id": ""},
        {"session_id": "s" * 65},
        {"msg_id": ""},
        {"msg_id": "0"},
        {"msg_id": "-1"},
        {"msg_id": "+1"},
        {"msg_id": "1.0"},
        {"msg_id": "x"},
        {"msg_id": "\u0661"},
        {"msg_id": "\u00b2"},
        {"msg_id": "1000000000"},
        {"msg_id": "9" * 5000},
        {"source": Location("")},
    ],
)
def test_headers_that_cannot_be_answered(fields: dict[str, str]) -> None:
    """Without SessionID, MsgID or Source there is nobody to reply to."""
    with pytest.raises(InvalidHeader):
        check_header(header(**fields))


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize(
    ("session_id", "msg_id", "fits"),
    [("7", "4", True), ("7", "9", True), ("7", "3", False), ("8", "4", False)],
)
def test_which_messages_go_on_with_a_session(phase: Phase, session_id: str, msg_id: str, fits: bool) -> None:  # noqa: FBT001 - a case
    """Only a later message of the same session goes on with it, and only while it is open."""
    state = ServerState("7", phase, device_msg_id=3)
    assert continues(state, header(msg_id, session_id)) is (fits and phase in OPEN_PHASES)


def test_nothing_goes_on_without_a_session() -> None:
    """A first message always begins a session."""
    assert not continues(None, header())


# --- the statuses of a reply ----------------------------------------------------------------------------

DEV_INFO: Final = (leaf("./DevInfo/DevId", DEVICE), leaf("./DevInfo/Man", "VMware, Inc."))


def alert(code: int | str, *types: str | None, cmd_id: str = "3") -> Alert:
    """An Alert with one item for each type; None makes an item without Meta."""
    return Alert(
        cmd_id, str(code), tuple(Item(meta=Meta(type=each) if each else None, data="user") for each in types)
    )


LOGIN: Final = "com.microsoft/MDM/LoginStatus"
UNENROL: Final = "com.microsoft:mdm.unenrollment.userrequest"


@pytest.mark.parametrize(
    ("command", "cmd", "code"),
    [
        (alert(1200), "Alert", 200),
        (alert(1201), "Alert", 200),
        (alert(1222), "Alert", 200),
        (alert(1223), "Alert", 200),
        (alert(1225), "Alert", 200),
        (alert(1224, LOGIN), "Alert", 200),
        (alert(1224, "com.microsoft.mdm.synctype"), "Alert", 200),
        (alert(1224, "com.microsoft/MDM/AADUserToken"), "Alert", 200),
        (alert(1224, "com.microsoft/MDM/DevicePrepSync"), "Alert", 200),
        (alert(1224, "com.microsoft/MDM/BootstrapSync", "com.microsoft/MDM/OdjSync"), "Alert", 200),
        (alert(1224, "Reversed-Domain-Name:com.microsoft.mdm.requestpending"), "Alert", 200),
        (alert(1224, "com.example/unheard.of"), "Alert", 406),
        (alert(1224, LOGIN, "com.example/unheard.of"), "Alert", 406),
        (alert(1224, UNENROL), "Alert", 406),
        (alert(1224, None), "Alert", 406),
        (alert(1224), "Alert", 406),
        (alert(1226, UNENROL), "Alert", 200),
        (alert(1226, "com.example:unheard.of"), "Alert", 415),
        (alert(1226, LOGIN), "Alert", 415),
        (alert(1226, None), "Alert", 415),
        (alert(1226), "Alert", 415),
        (alert(1100), "Alert", 406),
        (alert("help"), "Alert", 406),
        (alert(""), "Alert", 406),
        (alert("9" * 5000), "Alert", 406),
        (Replace("3", DEV_INFO), "Replace", 200),
        (Replace("3", (Item(target=Location("./DevInfo/Lang"), data="en-US"),)), "Replace", 200),
        (Replace("3", ()), "Replace", 200),
        (Replace("3", (leaf("./Vendor/MSFT/Update/X", "1"),)), "Replace", 405),
        (Replace("3", (*DEV_INFO, leaf("./DevDetail/SwV", "10.0"))), "Replace", 405),
        (Replace("3", (Item(data="nowhere"),)), "Replace", 405),
        (Add("3", DEV_INFO), "Add", 405),
        (Delete("3", DEV_INFO), "Delete", 405),
        (Copy("3", DEV_INFO), "Copy", 405),
        (Exec("3", DEV_INFO), "Exec", 405),
        (Get("3", DEV_INFO), "Get", 405),
        (Atomic("3", (Replace("4", DEV_INFO),)), "Atomic", 405),
        (Sequence("3", (Replace("4", DEV_INFO),)), "Sequence", 405),
        (Unknown("Put", "3"), "Put", 400),
    ],
)
def test_every_command_gets_its_status(command: Command, cmd: str, code: int) -> None:
    """A command of a device is answered after the SyncHdr, with its name, its CmdID and the code it deserves."""
    reply, _ = answered(None, said(command, msg_id="5"))
    assert statuses(reply) == [("0", "SyncHdr", "200"), ("3", cmd, str(code))]
    assert {each.msg_ref for each in reply.commands if isinstance(each, Status)} == {"5"}


@pytest.mark.parametrize(
    ("command", "cmd"),
    [
        (alert(1201, cmd_id=""), "Alert"),
        (Replace("", DEV_INFO), "Replace"),
        (Get("", DEV_INFO), "Get"),
        (Unknown("Put", ""), "Put"),
    ],
)
def test_a_missing_cmd_id_is_a_bad_request(command: Command, cmd: str) -> None:
    """A command without CmdID is answered 400 with an empty CmdRef, and has no effect."""
    reception = receive(None, said(command))
    reply, _, _ = respond(reception, server_uri=SERVER)
    assert statuses(reply)[1:] == [("", cmd, "400")]
    assert (reception.alerts, reception.device_info, reception.aborted) == ((), (), False)


def test_statuses_and_results_get_no_status() -> None:
    """What answers our commands is not answered in turn, however little it fits."""
    reply, _ = answered(
        in_flight(GET_SCAN), said(status("2"), results("2", leaf(SCAN)), status("8"), msg_id="2")
    )
    assert statuses(reply) == [("0", "SyncHdr", "200")]


def test_the_sync_hdr_comes_first_and_numbers_rise() -> None:
    """SyncHdr is answered first with its own Target and Source, the rest in order, CmdIDs from 1 with no gap."""
    reply, _ = answered(None, said(alert(1201, cmd_id="b"), Replace("a", DEV_INFO)), GET_LIST, ADD)
    assert reply.commands[0] == Status("1", "1", "0", "SyncHdr", "200", (SERVER,), (DEVICE,))
    assert statuses(reply)[1:] == [("b", "Alert", "200"), ("a", "Replace", "200")]
    assert [each.cmd_id for each in reply.commands] == ["1", "2", "3", "4", "5"]
    assert kinds(reply) == ["Status", "Status", "Status", "Get", "Add"]


def test_an_empty_target_is_not_referred_to() -> None:
    """A device that names no Target gets no TargetRef."""
    reply, _ = answered(None, said(target=Location("")))
    assert reply.commands == (Status("1", "1", "0", "SyncHdr", "200", (), (DEVICE,)),)


def test_no_resp_silences_a_command_but_not_its_effect() -> None:
    """A command with NoResp is carried out and gets no Status."""
    reception = receive(
        None, said(replace(alert(1224, LOGIN), no_resp=True), Replace("4", DEV_INFO, no_resp=True))
    )
    assert reception.statuses == ()
    assert reception.alerts == (AlertEvent(1224, LOGIN, "user"),)
    assert reception.device_info == (("./DevInfo/DevId", DEVICE), ("./DevInfo/Man", "VMware, Inc."))


def test_no_resp_in_the_header_silences_all_but_the_header() -> None:
    """NoResp in the SyncHdr leaves one Status, for a message cannot be empty."""
    reply, _ = answered(None, said(alert(1201), Unknown("Put", "4"), no_resp=True), GET_SCAN)
    assert kinds(reply) == ["Status", "Get"]
    refusal = refuse(said(alert(1201), no_resp=True), StatusCode.MISSING_CREDENTIALS, server_uri=SERVER)
    assert statuses(refusal) == [("0", "SyncHdr", "407")]


def test_the_reply_is_addressed_to_the_device() -> None:
    """SessionID and versions are echoed, Target is the device's Source, Source is ours."""
    reply, _ = answered(None, said(session_id="0", ver_dtd="1.1", ver_proto="DM/1.1"))
    assert reply.header == SyncHdr("0", "1", Location(DEVICE), Location(SERVER), "1.1", "DM/1.1")


def test_our_messages_are_counted_with_the_device_s() -> None:
    """Our MsgID begins with the device's first, rises by one, and is never below that of what it answers."""
    reply, state = answered(None, said(msg_id="2"), GET_SCAN)
    assert reply.header.msg_id == "2"
    reply, state = answered(state, said(msg_id="3"), GET_SCAN)
    assert reply.header.msg_id == "3"
    reply, state = answered(state, said(msg_id="8"), GET_SCAN)
    assert reply.header.msg_id == "8"
    assert (state.session_id, state.server_msg_id, state.device_msg_id) == ("7", 8, 8)
    assert [each.msg_id for each in state.sent] == ["8"]


# --- what a device says of itself -----------------------------------------------------------------------


def test_alerts_are_reported_item_by_item() -> None:
    """Each item of an Alert is one event with its type and data; an Alert without items is one too."""
    odd = Alert("4", "1224", (Item(meta=Meta(type=LOGIN), data="user"), Item(data=None)))
    reception = receive(None, said(alert(1201), odd))
    assert reception.alerts == (
        AlertEvent(1201),
        AlertEvent(1224, LOGIN, "user"),
        AlertEvent(1224, None, None),
    )


def test_an_alert_that_is_none_is_an_oddity() -> None:
    """An unknown alert code is told to the log, shortened, and to nobody else."""
    reception = receive(None, said(alert("x" * 400)))
    assert reception.alerts == ()
    assert len(reception.oddities) == 1
    assert "x" * 17 not in reception.oddities[0]


@pytest.mark.parametrize(
    ("command", "leaves"),
    [
        (alert(1226, UNENROL), True),
        (alert(1224, UNENROL), False),
        (alert(1226, LOGIN), False),
        (alert(1201), False),
    ],
)
def test_unenrolment_is_the_generic_alert(command: Alert, leaves: bool) -> None:  # noqa: FBT001 - a case
    """The user has left management only if Alert 1226 says so."""
    assert receive(None, said(command)).unenrolling is leaves


def test_dev_info_is_reported() -> None:
    """DevInfo items are reported in order, an absent Data as an empty value, by Source or Target."""
    items = (leaf("./DevInfo/DevId", DEVICE), Item(target=Location("./DevInfo/Mod"), data=None))
    reception = receive(None, said(Replace("4", items)))
    assert reception.device_info == (("./DevInfo/DevId", DEVICE), ("./DevInfo/Mod", ""))


def test_a_replace_of_anything_else_is_not_believed() -> None:
    """One item outside DevInfo spoils the whole Replace."""
    reception = receive(None, said(Replace("4", (*DEV_INFO, leaf("./Vendor/X", "1")))))
    assert reception.device_info == ()


# --- answers to our commands ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "command"),
    [
        (GET_SCAN, Get("2", (Item(target=Location(SCAN)),))),
        (ADD, Add("2", (Item(target=Location(ADD.loc_uri), meta=Meta(format="node")),))),
        (
            POLICY,
            Replace(
                "2",
                (
                    Item(
                        target=Location(POLICY.loc_uri), meta=Meta(format="int", type="text/plain"), data="7"
                    ),
                ),
            ),
        ),
        (Request("Delete", "./X"), Delete("2", (Item(target=Location("./X")),))),
        (
            Request("Exec", "./X", type="text/plain", data="x"),
            Exec("2", (Item(target=Location("./X"), meta=Meta(type="text/plain"), data="x"),)),
        ),
    ],
)
def test_each_verb_becomes_its_command(request_: Request, command: Command) -> None:
    """A request becomes one command with one item, with Meta only if it has Format or Type."""
    reply, state = answered(None, said(), request_)
    assert reply.commands[1:] == (command,)
    assert reply.final
    assert state.phase is Phase.AWAITING
    assert state.unanswered == (request_,)


@pytest.mark.parametrize("verb", ["Copy", "Atomic", "Alert", "get", ""])
def test_other_verbs_are_not_sent(verb: str) -> None:
    """A request for any other verb is our own mistake."""
    with pytest.raises(LocalProtocolError, match="does not send"):
        answered(None, said(), Request(verb, "./X"))


def test_answers_come_in_the_order_of_the_commands() -> None:
    """Status and Results are matched by CmdRef; what was not answered is unknown."""
    state = in_flight(ADD, GET_SCAN, POLICY, GET_LIST)
    late = replace(status("4", 405, cmd="Replace"), original_error="0x86000002")
    reception = heard(
        state, late, status("3"), results("3", leaf(SCAN, "2026-11-21")), status("2", 418, cmd="Add")
    )
    assert reception.answers == (
        Answer(ADD, 418),
        Answer(GET_SCAN, 200, (leaf(SCAN, "2026-11-21"),)),
        Answer(POLICY, 405, (), "0x86000002"),
        Answer(GET_LIST, None),
    )
    assert reception.turn
    assert reception.oddities == ()
    assert reception.state.sent == ()


def test_the_status_of_our_header_is_no_answer() -> None:
    """CmdRef 0 means our SyncHdr and matches no command."""
    reception = heard(in_flight(GET_SCAN), status("0", cmd="SyncHdr"))
    assert reception.answers == (Answer(GET_SCAN, None),)
    assert reception.oddities == ()


@pytest.mark.parametrize(
    ("stray", "oddity"),
    [
        (status("7"), "Status for 'Get' CmdRef '7': nothing is in flight"),
        (status("2", msg_ref="5"), "Status for 'Get' CmdRef '2': nothing is in flight"),
        (status(""), "Status for 'Get' CmdRef '': nothing is in flight"),
        (status("2", "x"), "Status CmdRef '2' has no status code"),
        (status("2", ""), "Status CmdRef '2' has no status code"),
        (status("2", "20000"), "Status CmdRef '2' has no status code"),
        (status("2", "\u0662\u0660\u0660"), "Status CmdRef '2' has no status code"),
        (results("7", leaf("./Elsewhere", "1")), "Results CmdRef '7': nothing is in flight"),
        (results("2", leaf("./Elsewhere", "1"), msg_ref="5"), "Results CmdRef '2': nothing is in flight"),
        (results("7", Item(data="1")), "Results CmdRef '7': nothing is in flight"),
    ],
)
def test_answers_to_nothing_are_oddities(stray: Status | Results, oddity: str) -> None:
    """What fits no command in flight is told to the log and changes nothing."""
    reception = heard(in_flight(GET_SCAN), stray)
    assert reception.oddities == (oddity,)
    assert reception.answers == (Answer(GET_SCAN, None),)


def test_what_goes_to_the_log_is_short() -> None:
    """A peer cannot fill the log with a long CmdRef or Cmd."""
    long = "x" * 1000
    reception = heard(
        in_flight(GET_SCAN),
        status(long, cmd=long + "\n"),
        results(long, leaf("./Elsewhere")),
        status("2", long),
    )
    assert len(reception.oddities) == 3
    assert all(len(oddity) < 100 for oddity in reception.oddities)


def second_round() -> ServerState:
    """A session in whose second message GET_SCAN and GET_LIST are in flight as CmdIDs 2 and 3."""
    state = in_flight(ADD)
    return answered(state, said(status("2", cmd="Add"), msg_id="2"), GET_SCAN, GET_LIST)[1]


@pytest.mark.parametrize("msg_ref", ["2", "1"])
def test_results_may_leave_msg_ref_out(msg_ref: str) -> None:
    """Results without MsgRef, which reads as 1, belong to the Get with that CmdRef in a later message too."""
    found = results("2", leaf("./Elsewhere", "x"), msg_ref=msg_ref)
    reception = receive(second_round(), said(status("2", msg_ref="2"), found, msg_id="3"))
    assert reception.answers[0] == Answer(GET_SCAN, 200, (leaf("./Elsewhere", "x"),))


@pytest.mark.parametrize(("msg_ref", "code"), [("2", 200), ("", 200), ("1", None)])
def test_a_status_needs_its_msg_ref(msg_ref: str, code: int | None) -> None:
    """A Status of an earlier message is not taken for one of this; one without MsgRef is."""
    reception = receive(second_round(), said(status("2", msg_ref=msg_ref), msg_id="3"))
    assert reception.answers[0].status == code


@pytest.mark.parametrize("cmd_ref", ["1", "8"])
def test_results_are_matched_by_loc_uri_if_need_be(cmd_ref: str) -> None:
    """Results whose CmdRef fits nothing belong to the Get of their LocURI, without its ?list=."""
    found = results(cmd_ref, leaf(LIST), leaf(f"{LIST}/a", "1"))
    reception = receive(second_round(), said(status("3", msg_ref="2"), found, msg_id="3"))
    assert reception.answers[1] == Answer(GET_LIST, 200, (leaf(LIST), leaf(f"{LIST}/a", "1")))
    assert reception.oddities == ()


def test_only_a_get_is_found_by_loc_uri() -> None:
    """An Add of the same LocURI gets no Results for it."""
    state = in_flight(Request("Add", SCAN), GET_SCAN)
    reception = heard(state, results("8", leaf(SCAN, "1")))
    assert reception.answers == (
        Answer(Request("Add", SCAN), None),
        Answer(GET_SCAN, None, (leaf(SCAN, "1"),)),
    )


def test_items_without_source_take_that_of_the_results() -> None:
    """SourceRef of the Results stands for the Source an item lacks, for matching too."""
    found = results("8", Item(data="1"), leaf("./Other", "2"), source_ref=SCAN)
    reception = heard(in_flight(GET_SCAN), status("2"), found)
    assert reception.answers == (Answer(GET_SCAN, 200, (leaf(SCAN, "1"), leaf("./Other", "2"))),)


def test_items_keep_what_a_tree_reader_needs() -> None:
    """LocURI, Format and Data survive; an item without any is kept as nothing."""
    full = Item(
        target=Location("./T"),
        source=Location(SCAN, "a name"),
        meta=Meta(format="int", type="text/plain", size=1),
        data="1",
    )
    reception = heard(in_flight(GET_SCAN), status("2"), results("2", full, Item(meta=Meta(type="x"))))
    assert reception.answers[0].items == (leaf(SCAN, "1", meta=Meta(format="int")), Item())


def test_a_code_may_have_four_digits() -> None:
    """Codes of the application ranges (1100-1599) are codes."""
    assert heard(in_flight(POLICY), status("2", 1234, cmd="Replace")).answers == (Answer(POLICY, 1234),)


def test_a_second_status_replaces_the_first() -> None:
    """In progress (101) is followed by the outcome, and the outcome counts."""
    reception = heard(in_flight(POLICY), status("2", 101, cmd="Replace"), status("2", cmd="Replace"))
    assert reception.answers == (Answer(POLICY, 200),)


# --- packages of several messages -----------------------------------------------------------------------


def test_a_package_that_goes_on_is_answered_with_1222() -> None:
    """Without Final the reply has Status and Alert 1222, no other command and no Final; answers wait."""
    reception = heard(in_flight(GET_LIST), status("2"), results("2", leaf(LIST)), final=False)
    assert not reception.turn
    assert reception.answers == ()
    reply, state, sent = respond(reception, server_uri=SERVER)
    assert reply.commands[1:] == (Alert("2", "1222"),)
    assert not reply.final
    assert sent == 0
    assert state.phase is Phase.RECEIVING


def test_no_command_is_sent_while_the_device_speaks() -> None:
    """Requests before the device's Final are our own mistake."""
    with pytest.raises(LocalProtocolError, match="not finished"):
        answered(None, said(final=False), GET_SCAN)


def test_struct_data_over_three_messages_is_one_answer() -> None:
    """Results of one Get are collected over messages in document order and given when Final comes."""
    reception = package(
        in_flight(GET_LIST, GET_SCAN),
        said(status("2"), results("2", leaf(LIST), leaf(f"{LIST}/a")), msg_id="2", final=False),
        said(results("2", leaf(f"{LIST}/a/Type", "1")), msg_id="3", final=False),
        said(results("2", leaf(f"{LIST}/b")), status("3", 404), msg_id="4"),
    )
    assert reception.turn
    assert reception.parts == ()
    assert [answer.status for answer in reception.answers] == [200, 404]
    assert [item.source.loc_uri for item in reception.answers[0].items if item.source] == [
        LIST,
        f"{LIST}/a",
        f"{LIST}/a/Type",
        f"{LIST}/b",
    ]


def test_items_of_an_open_package_are_the_callers_to_keep() -> None:
    """The state holds how much has come, not what; a message's own items are handed out with it."""
    first = said(
        status("2"), results("2", leaf(LIST, "1"), Item(meta=Meta(format="int"))), msg_id="2", final=False
    )
    reception = receive(in_flight(GET_LIST), first)
    assert reception.parts == ((0, LIST, None, "1"), (0, None, "int", None))
    assert reception.state.held == 64 + 2 * 160 + len(LIST) + 1 + 3
    _, state, _ = respond(reception, server_uri=SERVER)
    second = receive(state, said(results("2", leaf(LIST, "2")), msg_id="3", final=False))
    assert second.parts == ((0, LIST, None, "2"),)
    last = receive(state, said(msg_id="4"), reception.parts)
    assert last.answers == (Answer(GET_LIST, 200, (leaf(LIST, "1"), Item(meta=Meta(format="int")))),)
    assert last.state.held == 0


def test_the_status_of_our_1222_is_not_that_of_a_command() -> None:
    """CmdIDs of our later messages start anew: the Status for Alert 1222 must not answer a Get of that number."""
    state = in_flight(GET_LIST, GET_SCAN)
    alive = alert(1224, "Reversed-Domain-Name:com.microsoft.mdm.requestpending")
    reply, state = answered(state, said(alive, msg_id="2", final=False))
    assert reply.commands[-1] == Alert("3", "1222")
    reception = receive(state, said(status("3", msg_ref="2", cmd="Alert"), msg_id="3"))
    assert reception.answers == (Answer(GET_LIST, None), Answer(GET_SCAN, None))
    assert reception.oddities == ()


def test_a_large_object_is_put_together() -> None:
    """The chunks of one item are joined over messages; the first one's Format counts (OMA DM_Protocol)."""
    chunk = leaf(LIST, "one ", meta=Meta(format="chr", size=13), more_data=True)
    reception = package(
        in_flight(GET_LIST),
        said(status("2"), results("2", leaf("./A", "a"), chunk), msg_id="2", final=False),
        said(results("2", leaf(LIST, "two ", more_data=True)), msg_id="3", final=False),
        said(results("2", leaf(LIST, "three"), leaf("./B", "b")), msg_id="4"),
    )
    whole = leaf(LIST, "one two three", meta=Meta(format="chr"))
    assert reception.answers == (Answer(GET_LIST, 200, (leaf("./A", "a"), whole, leaf("./B", "b"))),)


@pytest.mark.parametrize(
    "items",
    [
        (leaf(LIST, "half", meta=Meta(size=9), more_data=True),),
        (leaf(LIST, "half", meta=Meta(size=9), more_data=True), leaf("./Other", "x")),
        (leaf(LIST, "half", meta=Meta(size=9), more_data=True), leaf("./Other", "x", more_data=True)),
    ],
)
def test_half_an_object_is_no_answer(items: tuple[Item, ...]) -> None:
    """A value that broke off makes the Get unanswered, whatever its Status: it must not pass for the value."""
    reception = heard(in_flight(GET_LIST), status("2"), results("2", *items))
    assert reception.answers == (Answer(GET_LIST, None),)


def test_an_object_may_have_no_data() -> None:
    """Chunks without Data add nothing."""
    items = (leaf(LIST, meta=Meta(size=0), more_data=True), leaf(LIST))
    assert heard(in_flight(GET_LIST), status("2"), results("2", *items)).answers == (
        Answer(GET_LIST, 200, (leaf(LIST, ""),)),
    )


def test_a_chunk_is_acknowledged_with_213() -> None:
    """Results get no Status but for their chunks: 213, then Alert 1222 for the next one."""
    state = in_flight(GET_LIST)
    chunk = leaf(LIST, "one ", meta=Meta(size=7), more_data=True)
    reply, state = answered(state, said(status("2"), results("2", chunk), msg_id="2", final=False))
    assert codes(reply) == [("SyncHdr", "200"), ("Results", "213")]
    assert reply.commands[-1] == Alert("3", "1222")
    reply, _ = answered(state, said(results("2", leaf(LIST, "two")), msg_id="3"))
    assert codes(reply) == [("SyncHdr", "200")]


@pytest.mark.parametrize(
    ("size", "code"), [(None, "411"), (99, "424"), (MAX_OBJECT + 1, "416")], ids=["none", "wrong", "too big"]
)
def test_a_bad_size_refuses_the_object_and_spoils_the_answer(size: int | None, code: str) -> None:
    """411 without Size, 416 above what is kept, 424 for another length; the Get counts as unanswered."""
    state = in_flight(GET_LIST)
    chunk = leaf(LIST, "one ", meta=Meta(size=size), more_data=True)
    _, state = answered(state, said(status("2"), results("2", chunk), msg_id="2", final=False))
    state = stored(state)
    reception = receive(state, said(results("2", leaf(LIST, "two")), msg_id="3"))
    assert reception.answers == (Answer(GET_LIST, None),)
    reply, _, _ = respond(reception, server_uri=SERVER)
    assert codes(reply)[1:] == [("Results", code)]


def test_an_object_that_breaks_off_is_told_with_1225() -> None:
    """Something new between two chunks ends the object: Alert 1225 names it, and the Get is unanswered."""
    state = in_flight(GET_LIST)
    chunk = leaf(LIST, "one ", meta=Meta(size=7), more_data=True)
    _, state = answered(state, said(status("2"), results("2", chunk), msg_id="2", final=False))
    reply, state = answered(state, said(results("2", leaf("./Other", "x")), msg_id="3", final=False))
    assert reply.commands[-2:] == (
        Alert("2", "1225", items=(Item(source=Location(LIST)),)),
        Alert("3", "1222"),
    )
    assert receive(state, said(msg_id="4")).answers == (Answer(GET_LIST, None),)


def test_1225_names_the_target_of_what_broke_off() -> None:
    """An object that was addressed by Target is named by Target."""
    half = Item(target=Location("./DevInfo/Man"), meta=Meta(size=9), data="half", more_data=True)
    other = Item(target=Location("./DevInfo/Mod"), data="x")
    reply, _ = answered(None, said(Replace("2", (half, other)), final=False))
    assert reply.commands[-2] == Alert("3", "1225", items=(Item(target=Location("./DevInfo/Man")),))


def test_a_keep_alive_between_two_chunks_breaks_nothing() -> None:
    """A busy device says so in the middle of an object, and then goes on with it."""
    state = in_flight(GET_LIST)
    chunk = leaf(LIST, "one ", meta=Meta(size=7), more_data=True)
    _, state = answered(state, said(status("2"), results("2", chunk), msg_id="2", final=False))
    alive = alert(1224, "Reversed-Domain-Name:com.microsoft.mdm.requestpending")
    _, state = answered(state, said(alive, msg_id="3", final=False))
    reception = receive(state, said(results("2", leaf(LIST, "two")), msg_id="4"))
    assert reception.answers == (Answer(GET_LIST, 200, (leaf(LIST, "one two"),)),)


def test_alerts_and_devinfo_come_in_chunks_too() -> None:
    """A chunked Alert or DevInfo Replace gets 213 and takes effect when it is whole."""
    big = Item(meta=Meta(type=UNENROLL_USER_REQUEST, size=2), data="1", more_data=True)
    reply, state = answered(None, said(Alert("2", "1226", items=(big,)), final=False))
    assert codes(reply)[1] == ("Alert", "213")
    rest = Item(data="1")
    info = Item(source=Location("./DevInfo/Man"), meta=Meta(size=4), data="Co", more_data=True)
    reception = receive(
        state,
        said(Alert("2", "1226", items=(rest,)), Replace("3", (info,)), msg_id="2", final=False),
    )
    assert reception.unenrolling
    assert [each.data for each in reception.statuses] == ["200", "213"]
    _, state, _ = respond(reception, server_uri=SERVER)
    last = Item(source=Location("./DevInfo/Man"), data="rp")
    assert receive(state, said(Replace("2", (last,)), msg_id="3")).device_info == (("./DevInfo/Man", "Corp"),)


# --- commands that travel together ----------------------------------------------------------------------


def test_each_item_of_a_command_is_answered() -> None:
    """One Status for each Item, by TargetRef, or one for all; Results belong to the item they stand below."""
    wish = Bundle(ITEMS, (GET_LIST, GET_SCAN))
    state = in_flight(Bundle(ITEMS, (ADD, Request("Add", "./B"))), wish)
    assert [each.cmd_id for each in state.sent] == ["2", "2", "3", "3"]
    reception = heard(
        state,
        replace(status("2", 418, cmd="Add"), target_refs=("./B",)),
        replace(status("2", 200, cmd="Add"), target_refs=(ADD.loc_uri,)),
        status("3"),
        results("3", leaf(SCAN, "2026"), leaf(LIST), leaf(f"{LIST}/a")),
    )
    assert reception.answers == (
        Answer(ADD, 200),
        Answer(Request("Add", "./B"), 418),
        Answer(GET_LIST, 200, (leaf(LIST), leaf(f"{LIST}/a"))),
        Answer(GET_SCAN, 200, (leaf(SCAN, "2026"),)),
    )


@pytest.mark.parametrize("ending", [(), (leaf(SCAN, "long"),)], ids=["cut off", "of another length"])
def test_an_item_that_broke_off_spoils_its_command(ending: tuple[Item, ...]) -> None:
    """Which of a command's items a broken value was of is not sure: no Get of the command has an answer."""
    begun = leaf(SCAN, "20", meta=Meta(size=4), more_data=True)
    reception = heard(
        in_flight(Bundle(ITEMS, (GET_LIST, GET_SCAN)), Request("Get", "./C")),
        status("2"),
        status("3"),
        results("2", leaf(LIST), begun, *ending),
    )
    assert [answer.status for answer in reception.answers] == [None, None, 200]


def test_an_atomic_that_failed() -> None:
    """What failed keeps its code, what was done is rolled back, what was not reached was not executed."""
    wish = Bundle(ATOMIC, (ADD, POLICY, GET_SCAN_SAFE))
    reception = heard(
        in_flight(wish),
        status("2", 507, cmd="Atomic"),
        status("3", 216, cmd="Add"),
        status("4", 405, cmd="Replace"),
        status("5", 215, cmd="Delete"),
    )
    assert [answer.status for answer in reception.answers] == [216, 405, 215]
    assert [answer.request for answer in reception.answers] == [ADD, POLICY, GET_SCAN_SAFE]


def test_a_bundle_counts_as_one_wish() -> None:
    """Of wishes that do not all fit whole ones wait, and a group is never torn."""
    group = Bundle(SEQUENCE, tuple(Request("Get", f"./{n}") for n in range(MAX_COMMANDS - 1)))
    reply, state, sent = respond(receive(None, said()), server_uri=SERVER, requests=[GET_SCAN, group, ADD])
    assert (kinds(reply), sent) == (["Status", "Get"], 1)
    state = stored(state)
    reply, state, sent = respond(receive(state, said(msg_id="2")), server_uri=SERVER, requests=[group, ADD])
    assert (kinds(reply), sent) == (["Status", "Sequence"], 1)
    assert len(state.unanswered) == MAX_COMMANDS - 1


# --- large objects of ours ------------------------------------------------------------------------------

LARGE: Final = Request("Replace", "./Vendor/MSFT/Example/Large", "chr", "text/plain", "<value>" * 300)


def begun(*requests: Wish) -> tuple[Message, ServerState]:
    """The reply with the first chunk of LARGE, and the state after it."""
    message = said(meta=Meta(max_msg_size=4096))
    reply, state, sent = respond(receive(None, message), server_uri=SERVER, requests=[LARGE, *requests])
    assert sent == 1
    assert state.phase is Phase.SENDING
    return reply, stored(state)


def data_of(reply: Message) -> str:
    """The piece of LARGE in a reply."""
    command = reply.commands[-1]
    assert isinstance(command, Replace)
    (item,) = command.items
    assert item.target == Location(LARGE.loc_uri)
    return item.data or ""


def test_a_value_that_fits_into_no_message_goes_out_in_chunks() -> None:
    """Chunks stand alone in messages without Final, and wait for 213 and Alert 1222; the last one has Final."""
    reply, state = begun(GET_SCAN)
    assert kinds(reply) == ["Status", "Replace"]
    assert not reply.final
    first = reply.commands[-1]
    assert isinstance(first, Replace)
    assert first.items[0].more_data
    assert first.items[0].meta == Meta(format="chr", type="text/plain", size=2100)
    value = data_of(reply)
    for msg_id in range(2, 9):
        ack = (status("2", 213, msg_ref=str(msg_id - 1), cmd="Replace"), Alert("3", "1222"))
        reception = receive(state, said(*ack, msg_id=str(msg_id), final=False))
        assert (reception.sending, reception.turn, reception.answers) == (True, False, ())
        reply, after, _ = respond(reception, server_uri=SERVER)
        state = stored(after)
        value += data_of(reply)
        if reply.final:
            break
    assert value == LARGE.data
    assert state.phase is Phase.AWAITING
    assert state.unanswered == (LARGE,)
    done = receive(state, said(status("3", 200, msg_ref=reply.header.msg_id, cmd="Replace"), msg_id="9"))
    assert done.answers == (Answer(LARGE, 200),)


def test_no_command_is_sent_between_two_chunks() -> None:
    """Requests while an object of ours is under way are our own mistake."""
    with pytest.raises(LocalProtocolError, match="not finished"):
        respond(receive(begun()[1], said(msg_id="2", final=False)), server_uri=SERVER, requests=[GET_SCAN])


@pytest.mark.parametrize("final", [True, False])
@pytest.mark.parametrize(
    "acks", [(), (status("2", 213, cmd="Replace"),), (status("2", 213, msg_ref="", cmd=""),)]
)
def test_a_chunk_is_taken_if_nothing_is_said_against_it(acks: tuple[Status, ...], final: bool) -> None:  # noqa: FBT001 - a case
    """213 is what a device should say, Alert 1222 alone is what some do; Final does not end what is ours."""
    reception = heard(begun()[1], *acks, Alert("3", "1222"), final=final)
    assert (reception.sending, reception.turn) == (True, False)
    assert reception.oddities == ()


@pytest.mark.parametrize("code", [101, 405, 411, 416, 500])
def test_a_device_may_refuse_an_object_half_way(code: int) -> None:
    """Its status is the answer, the rest is not sent, and it is our turn, with or without Final."""
    refusal = replace(status("2", code, cmd="Replace"), original_error="0x1")
    reception = heard(begun()[1], refusal, final=False)
    assert (reception.sending, reception.turn) == (False, True)
    assert reception.answers == (Answer(LARGE, code, (), "0x1"),)
    reply, state, _ = respond(reception, server_uri=SERVER, requests=[GET_SCAN])
    assert (kinds(reply), reply.final, state.phase) == (["Status", "Get"], True, Phase.AWAITING)


@pytest.mark.parametrize("code", [200, 201, 202])
def test_success_of_a_piece_is_not_that_of_the_value(code: int) -> None:
    """A device that takes the first chunk for the value has not got the value: unknown, and a line for the log."""
    reception = heard(begun()[1], status("2", code, cmd="Replace"))
    assert (reception.sending, reception.turn) == (False, True)
    assert reception.answers == (Answer(LARGE, None),)
    assert reception.oddities == (f"Status {code} for a large object of which more was to come",)


def test_an_abort_ends_an_object_of_ours() -> None:
    """After Alert 1223 nothing more of it is sent, and whether it was done is unknown."""
    reception = heard(begun()[1], alert(1223), final=False)
    assert (reception.sending, reception.turn, reception.aborted) == (False, False, True)
    assert reception.answers == (Answer(LARGE, None),)
    reply, state, _ = respond(reception, server_uri=SERVER)
    assert (kinds(reply), reply.final, state.phase) == (["Status", "Status"], True, Phase.ABORTED)


def test_a_challenge_ends_an_object_of_ours() -> None:
    """A device that wants to know who we are has kept no chunk: the object begins anew."""
    chal = challenge(MD5, b"n")
    refusal = replace(status("0", 407, cmd="SyncHdr"), chal=chal)
    reception = heard(begun()[1], refusal, status("2", 407, cmd="Replace"), final=False)
    assert reception.challenge == refusal
    assert reception.answers == (Answer(LARGE, None),)
    reply, state, _ = respond(reception, server_uri=SERVER, requests=[LARGE])
    assert (LARGE.data or "").startswith(data_of(reply))
    assert state.phase is Phase.SENDING


def test_an_object_waits_for_its_own_message() -> None:
    """Behind other commands a value that does not fit is left for the next message, not cut."""
    message = said(meta=Meta(max_msg_size=4096))
    reply, state, sent = respond(receive(None, message), server_uri=SERVER, requests=[GET_SCAN, LARGE])
    assert (kinds(reply), sent, state.phase) == (["Status", "Get"], 1, Phase.AWAITING)


# --- how a session ends ---------------------------------------------------------------------------------


def test_a_reply_without_commands_completes_the_session() -> None:
    """With nothing to say the reply is Status and Final, and the session is over unacknowledged."""
    reply, state = answered(in_flight(GET_SCAN), said(status("2"), msg_id="2"))
    assert kinds(reply) == ["Status"]
    assert reply.final
    assert state.phase is Phase.COMPLETE
    assert state.sent == ()


@pytest.mark.parametrize("final", [True, False])
def test_an_abort_by_the_device_is_acknowledged(final: bool) -> None:  # noqa: FBT001 - a case
    """Alert 1223 gets its Status and Final, nothing else; no command may follow."""
    reception = heard(in_flight(ADD), alert(1223), final=final)
    assert reception.aborted
    assert not reception.turn
    reply, state, _ = respond(reception, server_uri=SERVER)
    assert statuses(reply) == [("0", "SyncHdr", "200"), ("3", "Alert", "200")]
    assert kinds(reply) == ["Status", "Status"]
    assert reply.final
    assert state.phase is Phase.ABORTED
    with pytest.raises(LocalProtocolError):
        respond(reception, server_uri=SERVER, requests=[ADD])


def test_an_abort_leaves_lists_unknown() -> None:
    """After an abort what was done is known, but a list that may be half is not."""
    state = in_flight(ADD, GET_LIST, POLICY)
    reception = heard(state, status("2", cmd="Add"), status("3"), results("3", leaf(LIST)), alert(1223))
    assert reception.answers == (Answer(ADD, 200), Answer(GET_LIST, None), Answer(POLICY, None))


@pytest.mark.parametrize(
    "piece",
    [
        leaf("./A", "x" * 600),
        leaf("./" + "x" * 600),
        leaf("./A", meta=Meta(format="x" * 600)),
    ],
)
def test_a_package_without_end_is_aborted(piece: Item, monkeypatch: pytest.MonkeyPatch) -> None:
    """When Results grow past the bound the reply is Alert 1223 with Final, whatever it was that grew."""
    monkeypatch.setattr(syncml.session, "MAX_HELD_CHARS", 1000)
    state = in_flight(ADD, GET_LIST)
    first = said(status("2", cmd="Add"), status("3"), results("3", piece), msg_id="2", final=False)
    reply, state = answered(state, first)
    assert not reply.final
    reception = receive(state, said(results("3", piece), msg_id="3", final=False))
    assert reception.overflow
    assert reception.answers == (Answer(ADD, 200), Answer(GET_LIST, None))
    assert reception.state.sent == ()
    reply, state, _ = respond(reception, server_uri=SERVER)
    assert reply.commands[1:] == (Alert("2", "1223"),)
    assert reply.final
    assert state.phase is Phase.ABORTED


def test_errors_count_towards_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """An originalerror is kept, so it is counted."""
    monkeypatch.setattr(syncml.session, "MAX_HELD_CHARS", 1000)
    long = replace(status("2", 500, cmd="Add"), original_error="x" * 1001)
    assert heard(in_flight(ADD), long, final=False).overflow


def test_oddities_are_bounded() -> None:
    """A message of nothing but answers to nothing writes 50 sentences and a count, not thousands."""
    none_in_flight = [status(str(n)) for n in range(2, 102)]
    oddities = heard(in_flight(), *none_in_flight[:MAX_ODDITIES]).oddities
    assert len(oddities) == MAX_ODDITIES
    more = heard(in_flight(), *none_in_flight).oddities
    assert more == (*oddities, "50 more oddities are not listed")


def test_broken_objects_are_told_in_bounds() -> None:
    """Of hundreds of objects begun in one message the reply names the first ones, and then asks for the next."""
    items = [
        Item(source=Location(f"./{n}"), meta=Meta(size=9), data="x", more_data=True)
        for n in range(MAX_COMMANDS + 2)
    ]
    reply, _ = answered(in_flight(GET_LIST), said(results("2", *items), msg_id="2", final=False))
    told = [each.data for each in reply.commands if isinstance(each, Alert)]
    assert told == ["1225"] * MAX_COMMANDS + ["1222"]


def test_the_bound_itself_is_within_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package is aborted when it passes the bound, not when it reaches it; an Item costs 160 and a Status 64."""
    message = (status("2"), results("2", leaf("./A", "x" * 33)))
    for bound, overflow in ((260, False), (259, True)):
        monkeypatch.setattr(syncml.session, "MAX_HELD_CHARS", bound)
        assert heard(in_flight(GET_LIST), *message, final=False).overflow is overflow


def test_a_package_that_ends_is_taken_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is for what must be kept: with Final everything is handed over."""
    monkeypatch.setattr(syncml.session, "MAX_HELD_CHARS", 10)
    reception = heard(in_flight(GET_SCAN), status("2"), results("2", leaf(SCAN, "x" * 100)))
    assert not reception.overflow
    assert reception.answers == (Answer(GET_SCAN, 200, (leaf(SCAN, "x" * 100),)),)


def test_what_an_abandoned_session_leaves() -> None:
    """Unanswered is what the device said nothing of, and a list that may be half, whatever its Status."""
    state = in_flight(ADD, POLICY, GET_LIST)
    message = said(status("2", cmd="Add"), status("4"), results("4", leaf(LIST)), msg_id="2", final=False)
    _, state = answered(state, message)
    assert state.unanswered == (POLICY, GET_LIST)


# --- bounds on our messages -----------------------------------------------------------------------------


def test_the_number_of_commands_is_bounded() -> None:
    """At most MAX_COMMANDS go out; the caller learns how many, and the rest waits."""
    requests = [Request("Get", f"./{n}") for n in range(MAX_COMMANDS + 5)]
    reply, state, sent = respond(receive(None, said()), server_uri=SERVER, requests=requests)
    assert sent == MAX_COMMANDS
    assert len(reply.commands) == 1 + MAX_COMMANDS
    assert state.unanswered == tuple(requests[:MAX_COMMANDS])


@given(
    max_msg_size=st.integers(4_096, 16_000),
    lengths=st.lists(st.integers(0, 3_000) | st.integers(0, 40_000), min_size=1, max_size=20),
    alerts=st.integers(0, 5),
)
def test_messages_fit_the_device(max_msg_size: int, lengths: list[int], alerts: int) -> None:
    """No reply is larger than MaxMsgSize, and over the session every value goes out once and whole, in order."""
    requests = [Request("Replace", f"./{n}", data="ü<" * (size // 7)) for n, size in enumerate(lengths)]
    opening = (alert(1201, cmd_id=str(n)) for n in range(2, 2 + alerts))
    message = said(*opening, meta=Meta(max_msg_size=max_msg_size))
    state: ServerState | None = None
    delivered: list[Request] = []
    values: list[str] = []
    while True:
        reception = receive(state, message)
        waiting = requests[len(delivered) :] if reception.turn else []
        if not reception.sending:
            values.append("")
        reply, state, sent = respond(reception, server_uri=SERVER, requests=waiting)
        assert len(write_message(reply)) <= max_msg_size
        delivered += waiting[:sent]
        pieces = [each.items[0].data or "" for each in reply.commands if isinstance(each, Replace)]
        values[-1:] = [values[-1] + "".join(pieces[:1]), *pieces[1:]]
        if state.phase is Phase.COMPLETE:
            break
        assert pieces
        message = said(msg_id=str(state.device_msg_id + 1))
    assert delivered == requests
    assert values == [*(request.data for request in requests), ""]


def test_a_message_may_be_filled_to_the_last_octet() -> None:
    """A command that fits exactly goes out with the others; with one octet less it waits."""
    requests = [GET_SCAN, ADD]
    whole, _ = answered(None, said(), *requests)
    size = 2_048 + sum(len(write_command(each).encode()) for each in whole.commands)
    for octets, expected in ((size, 2), (size - 1, 1)):
        message = said(meta=Meta(max_msg_size=octets))
        assert respond(receive(None, message), server_uri=SERVER, requests=requests)[2] == expected


@pytest.mark.parametrize(
    "wish",
    [
        Request("Get", f"./{'x' * 5000}"),
        Bundle(ATOMIC, (Request("Replace", "./A", data="x" * 5000), GET_SCAN_SAFE)),
        Bundle(ITEMS, tuple(Request("Delete", f"./{n}") for n in range(200))),
    ],
    ids=["a name", "an Atomic", "items"],
)
def test_what_cannot_be_cut_goes_out_whole(wish: Wish) -> None:
    """What is too large and has no value to cut is sent as it is, alone: left for later it would wait for ever."""
    message = said(meta=Meta(max_msg_size=4096))
    _, state, sent = respond(receive(None, message), server_uri=SERVER, requests=[wish, GET_SCAN])
    assert sent == 1
    assert (state.phase, state.max_msg_size, state.outgoing) == (Phase.AWAITING, 4096, None)


def test_a_header_meta_without_size_changes_nothing() -> None:
    """MaxMsgSize of an earlier message stays in force until another is named."""
    state = in_flight(GET_SCAN)
    for meta, expected in [
        (Meta(max_obj_size=9), None),
        (Meta(max_msg_size=5000), 5000),
        (None, 5000),
        (Meta(), 5000),
        (Meta(max_msg_size=6000), 6000),
    ]:
        assert state.max_msg_size is None or state.max_msg_size == 5000
        _, state = answered(state, said(msg_id=str(state.device_msg_id + 1), meta=meta), GET_SCAN)
        assert state.max_msg_size == expected


# --- credentials ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [StatusCode.OK, StatusCode.AUTHENTICATION_ACCEPTED])
@pytest.mark.parametrize("scheme", [MD5, BASIC])
def test_an_authenticated_message_is_answered_200_or_212(scheme: str, code: StatusCode) -> None:
    """The SyncHdr's Status says whether once is enough, and carries the next nonce; the rest is as ever."""
    chal = challenge(scheme, b"next")
    reply, state = answered(None, said(alert(1201)), GET_SCAN, code=code, chal=chal)
    assert reply.commands[0] == Status(
        "1", "1", "0", "SyncHdr", str(int(code)), (SERVER,), (DEVICE,), chal=chal
    )
    assert statuses(reply)[1:] == [("3", "Alert", "200")]
    assert state.phase is Phase.AWAITING


def test_a_server_may_prove_itself() -> None:
    """Our name and credentials stand in the SyncHdr; with a MAC only the name does."""
    cred = make_cred(MD5, "Bridge", "tide", b"Nonce")
    reply, _ = answered(None, said(), GET_SCAN, sender=Sender("Bridge", cred))
    assert reply.header == SyncHdr("7", "1", Location(DEVICE), Location(SERVER, "Bridge"), cred=cred)
    reply, _ = answered(None, said(), GET_SCAN, sender=Sender("Bridge", None))
    assert reply.header == SyncHdr("7", "1", Location(DEVICE), Location(SERVER, "Bridge"))


@pytest.mark.parametrize("code", [401, 407])
def test_a_device_may_challenge_us(code: int) -> None:
    """What it says of our commands is then no answer, and it must be asked again: it looked at none of them."""
    chal = challenge(MD5, b"for the server")
    refusal = replace(status("0", code, cmd="SyncHdr"), chal=chal)
    reception = heard(
        in_flight(ADD, GET_LIST),
        refusal,
        replace(status("2", code, cmd="Add"), original_error="0x1"),
        status("3", code),
        results("3", leaf(LIST, "1")),
    )
    assert reception.challenge == reception.header_status == refusal
    assert reception.turn
    assert reception.answers == (Answer(ADD, None), Answer(GET_LIST, None))
    reply, state, sent = respond(reception, server_uri=SERVER, requests=[ADD, GET_LIST])
    assert (reply.header.msg_id, sent, state.unanswered) == ("2", 2, (ADD, GET_LIST))


@pytest.mark.parametrize("data", ["200", "212", "500", "x"])
def test_any_other_status_of_our_header_is_no_challenge(data: str) -> None:
    """It is handed out all the same, for the nonce in its Chal."""
    mine = replace(status("0", data, cmd="SyncHdr"), chal=challenge(MD5, b"next"))
    reception = heard(in_flight(ADD), mine, status("2", cmd="Add"))
    assert (reception.challenge, reception.header_status) == (None, mine)
    assert reception.answers == (Answer(ADD, 200),)


@pytest.mark.parametrize(
    ("code", "chal"),
    [
        (StatusCode.MISSING_CREDENTIALS, challenge(MD5, b"n")),
        (StatusCode.INVALID_CREDENTIALS, challenge(BASIC, b"")),
        (StatusCode.INVALID_CREDENTIALS, None),
        (StatusCode.PROTOCOL_VERSION_NOT_SUPPORTED, None),
        (StatusCode.DTD_VERSION_NOT_SUPPORTED, None),
    ],
)
def test_a_refusal_answers_every_command_alike(code: StatusCode, chal: Chal | None) -> None:
    """Every command gets the code of the refusal, answers get none, a missing CmdID stays 400, and it is Final."""
    commands = (
        status("0", cmd="SyncHdr"),
        alert(1201, cmd_id="2"),
        alert(1223, cmd_id="3"),
        Replace("4", DEV_INFO),
        results("2", leaf(SCAN)),
        Replace("", DEV_INFO),
        Unknown("Put", "5"),
        Replace("6", DEV_INFO, no_resp=True),
    )
    reply = refuse(said(*commands, msg_id="3", final=False), code, server_uri=SERVER, chal=chal)
    text = str(int(code))
    assert reply.commands[0] == Status("1", "3", "0", "SyncHdr", text, (SERVER,), (DEVICE,), chal=chal)
    assert statuses(reply)[1:] == [
        ("2", "Alert", text),
        ("3", "Alert", text),
        ("4", "Replace", text),
        ("", "Replace", "400"),
        ("5", "Put", text),
    ]
    assert [each.cmd_id for each in reply.commands] == ["1", "2", "3", "4", "5", "6"]
    assert {each.msg_ref for each in reply.commands if isinstance(each, Status)} == {"3"}
    assert reply.final
    assert (reply.header.session_id, reply.header.msg_id) == ("7", "3")


def test_an_unknown_version_is_refused_in_a_known_one() -> None:
    """A message in a version we do not speak is answered in DM/1.2."""
    message = said(ver_dtd="2.0", ver_proto="DM/2.0")
    reply = refuse(message, StatusCode.PROTOCOL_VERSION_NOT_SUPPORTED, server_uri=SERVER)
    assert (reply.header.ver_dtd, reply.header.ver_proto) == ("1.2", "DM/1.2")


# --- any session ----------------------------------------------------------------------------------------

uris = st.sampled_from([LIST, SCAN, ADD.loc_uri, "./DevInfo/Man", ""])
refs = st.sampled_from(["", "0", "1", "2", "3", "4"])
cmd_ids = st.sampled_from(["", "2", "3", "x"])
maybe_text = st.none() | st.text(max_size=6)
items = st.builds(
    Item,
    target=st.none() | st.builds(Location, uris),
    source=st.none() | st.builds(Location, uris),
    meta=st.none()
    | st.builds(
        Meta,
        format=st.sampled_from([None, "node", "int"]),
        type=maybe_text,
        size=st.none() | st.integers(0, 9),
    ),
    data=maybe_text,
    more_data=st.booleans(),
)
few_items = st.lists(items, max_size=3).map(tuple)
commands = st.one_of(
    st.builds(
        Status,
        cmd_id=cmd_ids,
        msg_ref=refs,
        cmd_ref=refs,
        cmd=st.sampled_from(["Get", "Add", "Alert", "SyncHdr"]),
        data=st.sampled_from(["200", "404", "418", "", "x"]),
        original_error=st.sampled_from([None, "0x86000002"]),
    ),
    st.builds(
        Results, cmd_id=cmd_ids, msg_ref=refs, cmd_ref=refs, items=few_items, source_ref=st.none() | uris
    ),
    st.builds(
        Alert,
        cmd_id=cmd_ids,
        data=st.sampled_from(["1201", "1222", "1223", "1224", "1226", "x"]),
        items=few_items,
        no_resp=st.booleans(),
    ),
    st.builds(Replace, cmd_id=cmd_ids, items=few_items, no_resp=st.booleans()),
    st.builds(Get, cmd_id=cmd_ids, items=few_items, no_resp=st.booleans()),
    st.builds(Unknown, name=st.just("Put"), cmd_id=cmd_ids),
)
requests = st.sampled_from(
    [
        GET_LIST,
        GET_SCAN,
        ADD,
        POLICY,
        Bundle(ITEMS, (GET_LIST, GET_SCAN)),
        Bundle(ATOMIC, (ADD, POLICY)),
        Bundle(SEQUENCE, (ADD, Bundle(ATOMIC, (POLICY,)), GET_SCAN)),
        Request("Replace", "./Large", data="<é>" * 700),
    ]
)
packages = st.lists(
    st.tuples(
        st.lists(commands, max_size=6).map(tuple),
        st.booleans(),
        st.lists(requests, max_size=3),
    ),
    min_size=1,
    max_size=8,
)


def flat(wishes: Iterable[Wish]) -> list[Request]:
    """The requests in wishes, in document order."""
    found: list[Request] = []
    for wish in wishes:
        found += [wish] if isinstance(wish, Request) else flat(wish.requests)
    return found


def stored(state: ServerState) -> ServerState:
    """The state after another process has taken it over."""
    return ServerState.from_json(json.loads(json.dumps(state.to_json())))


def test_nothing_of_a_state_is_lost_in_storage() -> None:
    """Every field of the state, of a command in flight and of an item comes back from JSON as it was."""
    opening = said(meta=Meta(max_msg_size=5000))
    _, state = answered(None, opening, POLICY, GET_LIST, ADD)
    failed = replace(status("2", 500, cmd="Replace"), original_error="0x86000002")
    kept = (leaf(LIST, meta=Meta(format="node")), Item())
    found = results("3", *kept, leaf("./A", "half", meta=Meta(size=9), more_data=True))
    reception = receive(state, said(failed, status("3"), found, msg_id="2", final=False))
    _, state, _ = respond(reception, server_uri=SERVER)
    assert stored(state) == state
    assert (state.max_msg_size, state.phase) == (5000, Phase.RECEIVING)
    assert [(each.status, each.original_error) for each in state.sent] == [
        (500, "0x86000002"),
        (200, None),
        (None, None),
    ]
    assert reception.parts == ((1, LIST, "node", None), (1, None, None, None))
    assert state.chunk is not None
    assert state.chunk.parts == ("half",)


@given(packages)
def test_another_process_can_go_on_at_any_point(
    script: list[tuple[tuple[Command, ...], bool, list[Wish]]],
) -> None:
    """Whatever a device says, nothing raises, the reply is lawful, each request has one answer, a stored state is it."""
    state: ServerState | None = None
    kept: list[Part] = []
    asked: list[Request] = []
    told: list[Answer] = []
    for msg_id, (said_commands, final, wanted) in enumerate(script, start=1):
        message = said(*said_commands, msg_id=str(msg_id), final=final, meta=Meta(max_msg_size=4096))
        reception = receive(state, message, kept)
        kept = [*kept, *reception.parts] if reception.parts or reception.state.held else []
        told += reception.answers
        assert stored(reception.state) == reception.state
        requests = wanted if reception.turn else []
        reply, state, sent = respond(reception, server_uri=SERVER, requests=requests)
        asked += flat(requests[:sent])
        check_reply(message, reply, reception, state)
        restored = stored(state)
        assert restored == state
        if state.phase not in OPEN_PHASES:
            break
        state = restored
    assert state is not None
    told += [Answer(each.request, None) for each in state.sent if each.request]
    assert [answer.request for answer in told] == asked


def check_reply(message: Message, reply: Message, reception: Reception, state: ServerState) -> None:
    """A reply is writable, numbered, and has exactly the statuses and commands its kind allows."""
    assert len(write_message(reply)) <= 4096
    numbers = [each.cmd_id for each in reply.commands]
    assert numbers[0] == "1"
    assert [int(n) for n in numbers] == sorted({int(n) for n in numbers})
    wanting = [
        each
        for each in message.commands
        if isinstance(each, Unknown) or not (isinstance(each, (Status, Results)) or each.no_resp)
    ]
    chunks = [code for cmd, code in codes(reply) if cmd == "Results"]
    assert len(statuses(reply)) == 1 + len(wanting) + len(chunks)
    rest = kinds(reply)[1 + len(wanting) + len(chunks) :]
    assert reply.final is (state.phase not in {Phase.RECEIVING, Phase.SENDING})
    assert (state.outgoing is not None) is (state.phase is Phase.SENDING)
    if reception.sending:
        assert rest == ["Replace"]
    elif reception.turn:
        assert set(rest) <= {"Get", "Add", "Replace", "Atomic", "Sequence"}
    elif reception.aborted:
        assert rest == []
    else:
        assert reply.commands[-1] == Alert(reply.commands[-1].cmd_id, "1222")
        assert rest == ["Alert"] * (1 + len(reception.broken))


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"phase": "dancing"},
        {"sent": None},
        {"sent": [{}]},
        {"sent": [["1", "2", ["Get"]]]},
        {"outgoing": [["Add"], 0]},
        {"outgoing": 5},
    ],
)
def test_what_is_no_state_is_not_read(broken: dict[str, object]) -> None:
    """A stored value that is something else raises one of the three documented errors."""
    value = {**in_flight(GET_SCAN).to_json(), **broken} if broken else {}
    with pytest.raises((KeyError, TypeError, ValueError)):
        ServerState.from_json(value)
