"""The writer: one canonical form for each message, read back as the same message, or a refusal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncml.errors import LocalProtocolError
from syncml.limits import Limits
from syncml.messages import (
    Add,
    Alert,
    Atomic,
    Chal,
    Command,
    Copy,
    Cred,
    Delete,
    Exec,
    Extension,
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
from syncml.namespaces import METINF, SYNCML_1_2
from syncml.reader import read_fragment, read_message
from syncml.writer import write_command, write_message

HEADER = SyncHdr("7", "1", Location("device-1"), Location("https://mdm.example.test/omadm"))
HEADER_TEXT = (
    "<SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2</VerProto><SessionID>7</SessionID><MsgID>1</MsgID>"
    "<Target><LocURI>device-1</LocURI></Target>"
    "<Source><LocURI>https://mdm.example.test/omadm</LocURI></Source></SyncHdr>"
)
MSFT = "http://schemas.microsoft.com/MobileDevice/MDM"

ITEM = Item(target=Location("./a"))
ITEM_TEXT = "<Item><Target><LocURI>./a</LocURI></Target></Item>"
EVERYTHING = Meta("int", "text/plain", "fatal", 5, "Tm9uY2U=", 6, 7, (Extension("EMI", METINF, "x"),))
EVERYTHING_TEXT = (
    '<Meta><Format xmlns="syncml:metinf">int</Format><Type xmlns="syncml:metinf">text/plain</Type>'
    '<Mark xmlns="syncml:metinf">fatal</Mark><Size xmlns="syncml:metinf">5</Size>'
    '<NextNonce xmlns="syncml:metinf">Tm9uY2U=</NextNonce><MaxMsgSize xmlns="syncml:metinf">6</MaxMsgSize>'
    '<MaxObjSize xmlns="syncml:metinf">7</MaxObjSize><EMI xmlns="syncml:metinf">x</EMI></Meta>'
)

# Every command with nothing optional and with everything, in DTD order
CANONICAL: list[tuple[Command, str]] = [
    (Get("1", (ITEM,)), f"<Get><CmdID>1</CmdID>{ITEM_TEXT}</Get>"),
    *[
        (
            verb("1", (ITEM, ITEM), Meta(), no_resp=True, extra=(Extension("Archive"), Extension("Lang"))),
            (f"<{verb.__name__}><CmdID>1</CmdID><NoResp/><Meta></Meta>{ITEM_TEXT}{ITEM_TEXT}<Archive/><Lang/>"
            f"</{verb.__name__}>"),
        )
        for verb in (Add, Copy, Delete, Get, Replace)
    ],
    (Exec("1", (ITEM,)), f"<Exec><CmdID>1</CmdID>{ITEM_TEXT}</Exec>"),
    (
        Exec("1", (ITEM,), Meta(), no_resp=True, correlator="c", extra=(Extension("X"),)),
        f"<Exec><CmdID>1</CmdID><NoResp/><Meta></Meta><Correlator>c</Correlator>{ITEM_TEXT}<X/></Exec>",
    ),
    (
        Atomic("1", (Get("2", (ITEM,)), Sequence("3", (Alert("4", "1222"),)))),
        (f"<Atomic><CmdID>1</CmdID><Get><CmdID>2</CmdID>{ITEM_TEXT}</Get>"
        "<Sequence><CmdID>3</CmdID><Alert><CmdID>4</CmdID><Data>1222</Data></Alert></Sequence></Atomic>"),
    ),
    (
        Sequence("1", (Get("2", (ITEM,)),), Meta(), no_resp=True),
        f"<Sequence><CmdID>1</CmdID><NoResp/><Meta></Meta><Get><CmdID>2</CmdID>{ITEM_TEXT}</Get></Sequence>",
    ),
    (Alert("1", ""), "<Alert><CmdID>1</CmdID><Data></Data></Alert>"),
    (
        Alert("1", "1226", (Item(), ITEM), "c", no_resp=True, extra=(Extension("X"),)),
        ("<Alert><CmdID>1</CmdID><NoResp/><Data>1226</Data><Correlator>c</Correlator>"
        f"<Item></Item>{ITEM_TEXT}<X/></Alert>"),
    ),
    (
        Status("1", "2", "0", "SyncHdr", "200"),
        "<Status><CmdID>1</CmdID><MsgRef>2</MsgRef><CmdRef>0</CmdRef><Cmd>SyncHdr</Cmd><Data>200</Data></Status>",
    ),
    (
        Status(
            "1", "2", "", "Get", "407", ("t", "u"), ("s",), Cred("c"),
            Chal(Meta("b64", "syncml:auth-md5", next_nonce="n")), (ITEM,), '"0x1"', (Extension("X"),),
        ),
        ("<Status><CmdID>1</CmdID><MsgRef>2</MsgRef><CmdRef></CmdRef><Cmd>Get</Cmd><TargetRef>t</TargetRef>"
        "<TargetRef>u</TargetRef><SourceRef>s</SourceRef><Cred><Meta></Meta><Data>c</Data></Cred>"
        '<Chal><Meta><Format xmlns="syncml:metinf">b64</Format><Type xmlns="syncml:metinf">syncml:auth-md5</Type>'
        '<NextNonce xmlns="syncml:metinf">n</NextNonce></Meta></Chal>'
        f'<Data xmlns:msft="{MSFT}" msft:originalerror="&quot;0x1&quot;">407</Data>{ITEM_TEXT}<X/></Status>'),
    ),
    (
        Results("1", "2", "3", (ITEM,)),
        f"<Results><CmdID>1</CmdID><MsgRef>2</MsgRef><CmdRef>3</CmdRef>{ITEM_TEXT}</Results>",
    ),
    (
        Results("1", "2", "3", (ITEM,), "Get", Meta(), "t", "s", (Extension("X"),)),
        ("<Results><CmdID>1</CmdID><MsgRef>2</MsgRef><CmdRef>3</CmdRef><Cmd>Get</Cmd><Meta></Meta>"
        f"<TargetRef>t</TargetRef><SourceRef>s</SourceRef>{ITEM_TEXT}<X/></Results>"),
    ),
    (
        Add("1", (
            Item(
                Location("t", "n", (Extension("Filter"),)), Location("s"), EVERYTHING, "d", more_data=True,
                extra=(Extension("SourceParent", children=(Extension("LocURI", text="p"),)),),
            ),
        )),
        ("<Add><CmdID>1</CmdID><Item><Target><LocURI>t</LocURI><LocName>n</LocName><Filter/></Target>"
        f"<Source><LocURI>s</LocURI></Source>{EVERYTHING_TEXT}<Data>d</Data><MoreData/>"
        "<SourceParent><LocURI>p</LocURI></SourceParent></Item></Add>"),
    ),
    (Add("1", (Item(data=""),)), "<Add><CmdID>1</CmdID><Item><Data></Data></Item></Add>"),
    (
        Add("<&>\"'", (Item(data=" <a b='&amp;'>]]>\r\n\t"),)),
        "<Add><CmdID>&lt;&amp;&gt;\"'</CmdID><Item><Data> &lt;a b='&amp;amp;'&gt;]]&gt;&#13;\n\t</Data></Item></Add>",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("command", "text"), CANONICAL)
def test_a_command_is_written_in_dtd_order(command: Command, text: str) -> None:
    """Known children stand as the DTD orders them, unknown ones behind; text is escaped, never CDATA."""
    assert write_command(command) == text


@pytest.mark.parametrize(("command", "text"), CANONICAL)
def test_a_written_command_is_read_as_itself(command: Command, text: str) -> None:
    """The same table, read."""
    assert read_fragment(text.encode()) == command


@pytest.mark.parametrize(("command", "_text"), CANONICAL)
def test_a_command_survives_in_a_message(command: Command, _text: str) -> None:
    """Inside a document too, where namespaces are inherited, each command is read as itself."""
    message = Message(HEADER, (command,))
    assert read_message(write_message(message)) == message


def test_a_message_is_written_whole() -> None:
    """XML declaration, namespace, header, commands in the order given, Final."""
    message = Message(HEADER, (Alert("1", "1222"), Get("2", (ITEM,)), Alert("3", "1223")))
    assert write_message(message).decode() == (
        f'<?xml version="1.0" encoding="UTF-8"?><SyncML xmlns="SYNCML:SYNCML1.2">{HEADER_TEXT}<SyncBody>'
        f"<Alert><CmdID>1</CmdID><Data>1222</Data></Alert><Get><CmdID>2</CmdID>{ITEM_TEXT}</Get>"
        "<Alert><CmdID>3</CmdID><Data>1223</Data></Alert><Final/></SyncBody></SyncML>"
    )


def test_a_message_may_leave_final_to_the_next() -> None:
    """Without Final the package goes on."""
    written = write_message(Message(HEADER, (), final=False))
    assert written.endswith(b"</SyncHdr><SyncBody></SyncBody></SyncML>")


def test_a_header_is_written_whole() -> None:
    """Every field of SyncHdr in DTD order."""
    header = SyncHdr(
        "00F0", "2", Location("t", "server"), Location("s", "Bruce2"), "1.1", "DM/1.1", "https://r",
        no_resp=True, cred=Cred("d", Meta(type="syncml:auth-md5")), meta=Meta(max_msg_size=5000),
        extra=(Extension("X", SYNCML_1_2),),
    )  # fmt: skip
    message = Message(header, ())
    text = (
        "<SyncHdr><VerDTD>1.1</VerDTD><VerProto>DM/1.1</VerProto><SessionID>00F0</SessionID><MsgID>2</MsgID>"
        "<Target><LocURI>t</LocURI><LocName>server</LocName></Target>"
        "<Source><LocURI>s</LocURI><LocName>Bruce2</LocName></Source><RespURI>https://r</RespURI><NoResp/>"
        '<Cred><Meta><Type xmlns="syncml:metinf">syncml:auth-md5</Type></Meta><Data>d</Data></Cred>'
        '<Meta><MaxMsgSize xmlns="syncml:metinf">5000</MaxMsgSize></Meta><X/></SyncHdr>'
    )
    assert text.encode() in write_message(message)
    assert read_message(write_message(message)) == message


def test_the_prefix_of_originalerror_is_declared_once_and_only_if_used() -> None:
    """SyncBody declares `msft`, as Windows does, when a Status has an original error."""
    plain = Status("1", "1", "1", "Get", "200")
    failed = replace(plain, data="500", original_error="0x86000002")
    assert b"msft" not in write_message(Message(HEADER, (plain,)))
    written = write_message(Message(HEADER, (plain, failed, failed))).decode()
    assert written.count("xmlns:msft") == 1
    assert f'<SyncBody xmlns:msft="{MSFT}"><Status>' in written
    assert '<Data msft:originalerror="0x86000002">500</Data>' in written


@pytest.mark.parametrize("cmd_id", ["a1b2c3d4-0000-4000-8000-000000000000", "01", "-1", "\u00e9"])
def test_any_other_cmd_id_is_good(cmd_id: str) -> None:
    """A CmdID is an opaque string."""
    assert read_fragment(write_command(Alert(cmd_id, "1222")).encode()) == Alert(cmd_id, "1222")


REFUSED: list[tuple[Command, str]] = [
    *[(Alert(cmd_id, "1222"), "Alert needs a CmdID") for cmd_id in ("", "0", " ", " 0\n")],
    (Get("", (ITEM,)), "Get needs a CmdID"),
    (Atomic("1", (Get("0", (ITEM,)),)), "Get needs a CmdID"),
    *[(verb("1", ()), f"{verb.__name__} '1' has no items") for verb in (Add, Copy, Delete, Get, Replace)],
    (Results("1", "1", "1", ()), "Results '1' has no items"),
    (Exec("1", ()), "Exec '1' has 0 items, not 1"),
    (Exec("1", (ITEM, ITEM)), "Exec '1' has 2 items, not 1"),
    (Atomic("1", ()), "Atomic '1' is empty"),
    (Sequence("1", ()), "Sequence '1' is empty"),
    (Atomic("1", (Sequence("2", ()),)), "Sequence '2' is empty"),
    (Atomic("1", (Get("2", (ITEM,)),), extra=(Extension("X"),)), "nothing but commands"),
    (Sequence("1", (Status("2", "1", "1", "Get", "200"),)), "holds an answer"),
    (Atomic("1", (Results("2", "1", "1", (ITEM,)),)), "holds an answer"),
    *[
        (Status("1", "1", "1", "Get", data), "Status '1' needs a code")
        for data in ("", "ok", "-1", "2.0", " 200", "\u0662\u0660\u0660", "200\n")
    ],
    (Unknown("Map", "1"), "'Map' is no command"),
    (Atomic("1", (Unknown("x" * 5_000 + "\n"),)), "is no command"),
    (Add("1", (Item(meta=Meta(size=-1)),)), "Size is not a size"),
    (Add("1", (ITEM,), Meta(max_msg_size=10**19)), "MaxMsgSize is not a size"),
    (Add("1", (ITEM,), Meta(max_obj_size=10**5_000)), "MaxObjSize is not a size"),
    (Add("1", (ITEM,), extra=(Extension("a b"),)), "extension 'a b' is not XML"),
]


@pytest.mark.parametrize(("command", "detail"), REFUSED)
def test_what_the_protocol_forbids_is_refused(command: Command, detail: str) -> None:
    """The caller's fault is named; alone and in a message."""
    for write in (lambda: write_command(command), lambda: write_message(Message(HEADER, (command,)))):
        with pytest.raises(LocalProtocolError) as refused:
            write()
        assert detail in str(refused.value)
        assert len(str(refused.value)) < 150


@pytest.mark.parametrize(
    "character", ["\0", "\x01", "\x08", "\x0b", "\x0c", "\x1f", "\ud800", "\ufffe", "\uffff"]
)
def test_a_character_outside_xml_is_refused(character: str) -> None:
    """Control characters, lone surrogates and the two non-characters are named by their code point."""
    message = Message(HEADER, (Add("1", (Item(data=f"a{character}b"),)),))
    with pytest.raises(LocalProtocolError, match=rf"U\+{ord(character):04X}$"):
        write_message(message)
    with pytest.raises(LocalProtocolError, match=rf"U\+{ord(character):04X}$"):
        write_command(Alert(character, "1222"))
    with pytest.raises(LocalProtocolError):
        write_message(Message(replace(HEADER, session_id=character), ()))


@pytest.mark.parametrize("character", ["\t", "\n", "\r", " ", "\x7f", "\x85", "\u2028", "\ud7ff", "\ue000", "\ufffd", "\U0010ffff"])  # fmt: skip
def test_a_character_of_xml_survives(character: str) -> None:
    """The edges of what XML carries are written and read the same, CR and line separators too."""
    message = Message(HEADER, (Add("1", (Item(data=f"{character}x{character}"),)),))
    assert read_message(write_message(message)) == message


def test_groups_nest_no_deeper_than_a_reader_follows() -> None:
    """A group in a group in a group ends in an error, not in a crash."""
    command: Command = Get("1", (ITEM,))
    for _ in range(2_000):
        command = Sequence("1", (command,))
    with pytest.raises(LocalProtocolError, match="groups nested more than 32 deep"):
        write_command(command)


def test_a_command_alone_measures_as_in_a_message() -> None:
    """What a caller counts with `write_command` is what the command adds to a message."""
    failed = Status("3", "1", "1", "Get", "500", original_error="0x86000002")
    commands = (Get("1", (ITEM,)), Add("2", (replace(ITEM, meta=Meta("int"), data="\u00e9&"),)), failed)
    measured = sum(len(write_command(command).encode()) for command in commands)
    empty = len(write_message(Message(HEADER, ())))
    assert len(write_message(Message(HEADER, commands))) == empty + measured


# --- properties -----------------------------------------------------------------------------------------

_CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff", min_codepoint=0x20)
_TEXT = st.text(_CHARACTERS | st.sampled_from("\t\n\r<>&\"']"), max_size=12)
_TOKENS = _TEXT.map(lambda text: text.strip(" \t\r\n"))
_CMD_IDS = _TOKENS.map(lambda text: f"{text}1")
_CODES = st.integers(100, 599).map(str)
_SIZES = st.integers(0, 10**19 - 1)


def _few(values: st.SearchStrategy[Any], least: int = 0) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(values, min_size=least, max_size=1 + least).map(tuple)


def _optionally(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


_EXTENSION_NAMES = st.from_regex(r"X[A-Za-z0-9_.\-\u00e9]{0,5}", fullmatch=True)
_NAMESPACES = st.sampled_from(["", SYNCML_1_2, METINF, "urn:x", "urn:<&> \u00e9"])
_ATTRIBUTES = st.dictionaries(
    st.builds(
        lambda namespace, name: f"{{{namespace}}}{name}" if namespace else name, _NAMESPACES, _EXTENSION_NAMES
    ),
    _TEXT,
    max_size=3,
).map(lambda attributes: tuple(attributes.items()))
_EXTENSIONS = st.recursive(
    st.builds(Extension, _EXTENSION_NAMES, _NAMESPACES, _TEXT, _ATTRIBUTES),
    lambda inner: st.builds(Extension, _EXTENSION_NAMES, _NAMESPACES, _TEXT, _ATTRIBUTES, _few(inner)),
    max_leaves=4,
)
_EXTRA = st.just(()) | st.just(()) | _few(_EXTENSIONS)
_LOCATIONS = st.builds(Location, _TOKENS, _optionally(_TOKENS), _EXTRA)
_METAS = st.builds(
    Meta,
    *[_optionally(_TOKENS)] * 3,
    _optionally(_SIZES),
    _optionally(_TOKENS),
    _optionally(_SIZES),
    _optionally(_SIZES),
    _EXTRA,
)
_CREDS = st.builds(Cred, _TOKENS, _METAS)
_ITEMS = st.builds(
    Item,
    _optionally(_LOCATIONS),
    _optionally(_LOCATIONS),
    _optionally(_METAS),
    _optionally(_TEXT),
    st.booleans(),
    _EXTRA,
)
_ITEM_FIELDS = (_CMD_IDS, _few(_ITEMS, 1), _optionally(_METAS), st.booleans())
_PLAIN = st.one_of(
    *[st.builds(verb, *_ITEM_FIELDS, _EXTRA) for verb in (Add, Copy, Delete, Get, Replace)],
    st.builds(
        Exec, _CMD_IDS, st.tuples(_ITEMS), _optionally(_METAS), st.booleans(), _optionally(_TOKENS), _EXTRA
    ),
    st.builds(Alert, _CMD_IDS, _TOKENS, _few(_ITEMS), _optionally(_TOKENS), st.booleans(), _EXTRA),
)
_GROUPED = st.recursive(
    _PLAIN,
    lambda inner: st.one_of(
        *[
            st.builds(group, _CMD_IDS, _few(inner, 1), _optionally(_METAS), st.booleans())
            for group in (Atomic, Sequence)
        ]
    ),
    max_leaves=4,
)
_STATUSES = st.builds(
    Status,
    _CMD_IDS,
    _TOKENS,
    _TOKENS,
    _TOKENS,
    _CODES,
    _few(_TOKENS),
    _few(_TOKENS),
    _optionally(_CREDS),
    _optionally(st.builds(Chal, _METAS)),
    _few(_ITEMS),
    _optionally(_TOKENS),
    _EXTRA,
)
_RESULTS = st.builds(
    Results, _CMD_IDS, _TOKENS, _TOKENS, _few(_ITEMS, 1), *[_optionally(each) for each in (_TOKENS, _METAS, _TOKENS, _TOKENS)], _EXTRA,
)  # fmt: skip
COMMANDS = _GROUPED | _STATUSES | _RESULTS
HEADERS = st.builds(
    SyncHdr,
    _TOKENS,
    _TOKENS,
    _LOCATIONS,
    _LOCATIONS,
    _TOKENS,
    _TOKENS,
    _optionally(_TOKENS),
    st.booleans(),
    _optionally(_CREDS),
    _optionally(_METAS),
    _EXTRA,
)
MESSAGES = st.builds(Message, HEADERS, st.lists(COMMANDS, max_size=3).map(tuple), st.booleans())


@given(MESSAGES)
def test_a_written_message_is_read_as_itself(message: Message) -> None:
    """read(write(m)) == m for every message the protocol allows."""
    assert read_message(write_message(message)) == message


@given(MESSAGES)
def test_the_canonical_form_is_a_fixed_point(message: Message) -> None:
    """write(read(write(m))) == write(m), in UTF-8, without CDATA and without a bare CR."""
    written = write_message(message)
    assert write_message(read_message(written)) == written
    assert b"<![CDATA[" not in written
    assert b"\r" not in written
    written.decode()


@given(COMMANDS)
def test_a_command_alone_is_read_as_itself(command: Command) -> None:
    """The fragment needs nothing from the document around it."""
    assert read_fragment(write_command(command).encode()) == command


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_text_is_carried_or_refused(data: str, cmd_id: str) -> None:
    """Whatever the caller puts in, it arrives unchanged (but for white space around tokens) or nothing is sent."""
    message = Message(HEADER, (Add(cmd_id, (Item(data=data),)),))
    try:
        written = write_message(message)
    except LocalProtocolError:
        return
    expected = replace(message, commands=(Add(cmd_id.strip(" \t\r\n"), (Item(data=data),)),))
    assert read_message(written, Limits()) == expected
