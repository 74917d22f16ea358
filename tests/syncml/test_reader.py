"""The reader: every shape Windows and Microsoft's samples send becomes the one typed message."""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncml.errors import LimitExceeded, LocalProtocolError, MalformedMessage, RemoteProtocolError
from syncml.limits import DEFAULT_LIMITS, Limits
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
from syncml.namespaces import METINF, SYNCML_1_1, SYNCML_1_2
from syncml.reader import read_fragment, read_header, read_message
from syncml.writer import write_message

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGE_1 = (
    '<SyncML xmlns="SYNCML:SYNCML1.2"><SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2</VerProto>'
    "<SessionID>7</SessionID><MsgID>1</MsgID>"
    "<Target><LocURI>https://mdm.example.test/omadm</LocURI></Target>"
    "<Source><LocURI>device-1</LocURI></Source></SyncHdr><SyncBody>"
    "<Alert><CmdID>2</CmdID><Data>1201</Data></Alert>"
    "<Alert><CmdID>3</CmdID><Data>1224</Data><Item><Meta>"
    '<Type xmlns="syncml:metinf">com.microsoft/MDM/LoginStatus</Type></Meta><Data>user</Data></Item></Alert>'
    "<Replace><CmdID>4</CmdID><Item><Source><LocURI>./DevInfo/DevId</LocURI></Source>"
    "<Data>device-1</Data></Item></Replace><Final/></SyncBody></SyncML>"
)

MESSAGE_1 = Message(
    SyncHdr("7", "1", Location("https://mdm.example.test/omadm"), Location("device-1")),
    (
        Alert("2", "1201"),
        Alert("3", "1224", (Item(meta=Meta(type="com.microsoft/MDM/LoginStatus"), data="user"),)),
        Replace("4", (Item(source=Location("./DevInfo/DevId"), data="device-1"),)),
    ),
)

PACKAGE_3 = (
    '<SyncML xmlns="SYNCML:SYNCML1.2"><SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2</VerProto>'
    "<SessionID>7</SessionID><MsgID>2</MsgID>"
    "<Target><LocURI>https://mdm.example.test/omadm</LocURI></Target>"
    "<Source><LocURI>device-1</LocURI><LocName>Bruce2</LocName></Source>"
    '<Cred><Meta><Format xmlns="syncml:metinf">b64</Format><Type xmlns="syncml:metinf">syncml:auth-md5</Type>'
    "</Meta><Data>Zz6EivR3yeaaENcRN6lpAQ==</Data></Cred>"
    '<Meta><MaxMsgSize xmlns="syncml:metinf">5000</MaxMsgSize></Meta></SyncHdr>'
    '<SyncBody xmlns:msft="http://schemas.microsoft.com/MobileDevice/MDM">'
    "<Status><CmdID>1</CmdID><MsgRef>1</MsgRef><CmdRef>0</CmdRef><Cmd>SyncHdr</Cmd><Data>200</Data></Status>"
    "<Status><CmdID>2</CmdID><MsgRef>1</MsgRef><CmdRef>6</CmdRef><Cmd>Get</Cmd>"
    '<Data msft:originalerror="0x86000002">500</Data></Status>'
    "<Results><CmdID>3</CmdID><MsgRef>1</MsgRef><CmdRef>7</CmdRef>"
    "<Item><Source><LocURI>./Vendor/MSFT/Update/InstallableUpdates</LocURI></Source>"
    '<Meta><Format xmlns="syncml:metinf">node</Format></Meta></Item>'
    "<Item><Source><LocURI>./Vendor/MSFT/Update/InstallableUpdates/a317dafe/Type</LocURI></Source>"
    '<Meta><Format xmlns="syncml:metinf">int</Format></Meta><Data>1</Data></Item></Results>'
    "<Final/></SyncBody></SyncML>"
)

MESSAGE_3 = Message(
    SyncHdr(
        "7",
        "2",
        Location("https://mdm.example.test/omadm"),
        Location("device-1", "Bruce2"),
        cred=Cred("Zz6EivR3yeaaENcRN6lpAQ==", Meta(format="b64", type="syncml:auth-md5")),
        meta=Meta(max_msg_size=5000),
    ),
    (
        Status("1", "1", "0", "SyncHdr", "200"),
        Status("2", "1", "6", "Get", "500", original_error="0x86000002"),
        Results(
            "3",
            "1",
            "7",
            (
                Item(source=Location("./Vendor/MSFT/Update/InstallableUpdates"), meta=Meta(format="node")),
                Item(
                    source=Location("./Vendor/MSFT/Update/InstallableUpdates/a317dafe/Type"),
                    meta=Meta(format="int"),
                    data="1",
                ),
            ),
        ),
    ),
)


def with_body(content: str) -> str:
    """A document with this SyncBody content."""
    return f'<SyncML xmlns="SYNCML:SYNCML1.2"><SyncHdr/><SyncBody>{content}</SyncBody></SyncML>'


def body_of(document: str) -> tuple[Command, ...]:
    """The commands of a document."""
    return read_message(document.encode()).commands


# --- whole messages -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "message"), [(PACKAGE_1, MESSAGE_1), (PACKAGE_3, MESSAGE_3)], ids=["package 1", "package 3"]
)
def test_a_device_message_is_read_whole(document: str, message: Message) -> None:
    """Header, commands in document order and Final arrive as typed values."""
    assert read_message(document.encode()) == message


def _prefixed(document: str) -> str:
    """The same document with prefixes of its own for both namespaces."""
    plain = document.replace(' xmlns="syncml:metinf"', "").replace(' xmlns="SYNCML:SYNCML1.2"', "")
    names = re.sub(r"<(/?)(Format|Type|MaxMsgSize)\b", r"<\1mi:\2", plain)
    names = re.sub(r"<(/?)([A-Z])", r"<\1s:\2", names)
    return names.replace("<s:SyncML", '<s:SyncML xmlns:s="SYNCML:SYNCML1.2" xmlns:mi="syncml:metinf"', 1)


def _spaced(document: str) -> str:
    """The same document, indented, with white space around every token but the Data of Items."""
    text = re.sub(
        r"(<(?:CmdID|LocURI|MsgID|SessionID|VerDTD|Format[^>]*|Type[^>]*)>)([^<]*)<",
        r"\1\r\n\t \2 \n<",
        document,
    )
    return text.replace("><", ">\n  <")  # fmt: skip


VARIANTS: dict[str, Callable[[str], str]] = {
    "XML declaration": lambda d: f'<?xml version="1.0" encoding="UTF-8"?>{d}',
    "byte order mark": lambda d: f"\ufeff{d}",
    "SYNCML1.1": lambda d: d.replace("SYNCML1.2", "SYNCML1.1"),
    "no namespace": lambda d: d.replace(' xmlns="SYNCML:SYNCML1.2"', ""),
    "no metinf namespace": lambda d: d.replace(' xmlns="syncml:metinf"', ""),
    "no namespace at all": lambda d: re.sub(r' xmlns="[^"]*"', "", d),
    "metinf declared on Meta": lambda d: re.sub(
        r"<Meta>", '<Meta xmlns="SYNCML:SYNCML1.2" xmlns:x="syncml:metinf">', d
    ),
    "namespace undone in the body": lambda d: d.replace("<SyncBody", '<SyncBody xmlns=""'),
    "prefixes": _prefixed,
    "another prefix for originalerror": lambda d: d.replace("msft:", "ms:").replace(":msft=", ":ms="),
    "white space": _spaced,
    "comments": lambda d: d.replace("><", "><!-- x --><").replace("</", "<!-- x --></"),
    "CDATA": lambda d: re.sub(r">([^<>]+)<", r"><![CDATA[\1]]><", d),
    "character references": lambda d: re.sub(
        r">([^<>]+)<", lambda m: ">" + "".join(f"&#{ord(c)};" for c in m[1]) + "<", d
    ),
    "Meta before Source": lambda d: re.sub(r"(<Source><LocURI>[^<]*</LocURI></Source>)(<Meta>.*?</Meta>)", r"\2\1", d),
    "Data first": lambda d: re.sub(r"(<Item>)((?:(?!</Item>).)*)(<Data>[^<]*</Data>)", r"\1\3\2", d),
    "CmdID last": lambda d: re.sub(r"(<CmdID>\d+</CmdID>)(.*?)(</(?:Alert|Replace|Status|Results)>)", r"\2\1\3", d),
    "Final first": lambda d: d.replace("<Final/>", "").replace("<SyncBody>", "<SyncBody><Final/>").replace(
        'MobileDevice/MDM">', 'MobileDevice/MDM"><Final/>'
    ),
    "body before header": lambda d: re.sub(r"(<SyncHdr>.*</SyncHdr>)(<SyncBody.*</SyncBody>)", r"\2\1", d),
    "attributes nobody asked for": lambda d: d.replace("<CmdID>", "<CmdID a='1'>").replace("<Item>", "<Item b=''>"),
    "stray text": lambda d: d.replace("<Item>", "<Item>stray").replace("<SyncBody>", "<SyncBody>stray"),
    "a second of each token": lambda d: re.sub(
        r"(<(VerDTD|SessionID|MsgID|LocURI|CmdID|MsgRef|CmdRef|Cmd|Data|Format|Type)\b[^>]*>[^<]*</\2>)",
        r"\1<\2>9</\2>", d,
    ),
    "a second Meta": lambda d: d.replace("</Meta>", "</Meta><Meta><Type>no</Type><Format>no</Format></Meta>"),
    "unknown child of SyncML": lambda d: d.replace("</SyncHdr>", "</SyncHdr><Extra>1</Extra>"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("document", "message"), [(PACKAGE_1, MESSAGE_1), (PACKAGE_3, MESSAGE_3)], ids=["package 1", "package 3"]
)
@pytest.mark.parametrize("vary", VARIANTS.values(), ids=VARIANTS)
def test_a_variant_in_spelling_is_the_same_message(
    vary: Callable[[str], str], document: str, message: Message
) -> None:
    """Namespaces, prefixes, order, layout and notation of text do not change what is read."""
    assert any(vary(each) != each for each in (PACKAGE_1, PACKAGE_3))
    assert read_message(vary(document).encode()) == message


def test_a_message_without_final_is_not_the_last() -> None:
    """Final is what ends a package."""
    assert read_message(PACKAGE_1.replace("<Final/>", "").encode()) == replace(MESSAGE_1, final=False)


def test_a_foreign_final_is_no_final() -> None:
    """A Final of another namespace is an element like any other that is no command."""
    message = read_message(with_body('<x:Final xmlns:x="urn:x"/>').encode())
    assert message.commands == (Unknown("Final", "", "urn:x"),)
    assert not message.final


@pytest.mark.parametrize("header", ["<SyncHdr/>", "<SyncHdr></SyncHdr>", "<SyncHdr> <!-- --> </SyncHdr>"])
def test_an_empty_header_has_empty_fields(header: str) -> None:
    """The local MDM API of Windows writes an empty SyncHdr; whether a session can use it is not decided here."""
    message = read_message(f"<SyncML>{header}<SyncBody/></SyncML>".encode())
    assert message == Message(SyncHdr("", "", Location(""), Location(""), "", ""), (), final=False)


def test_a_header_is_read_whole() -> None:
    """Every field of SyncHdr has its place, opaque as the peer wrote it."""
    document = (
        '<SyncML xmlns="SYNCML:SYNCML1.2"><SyncHdr><VerDTD>1.1</VerDTD><VerProto>DM/1.1</VerProto>'
        "<SessionID>00F0</SessionID><MsgID>x</MsgID><Target><LocURI>t</LocURI><Filter>f</Filter></Target>"
        "<Source><LocURI>s</LocURI><LocName/></Source><RespURI> https://r </RespURI><NoResp/>"
        "<Cred><Data>d</Data></Cred><Meta/><New>n</New></SyncHdr><SyncBody/></SyncML>"
    )
    assert read_message(document.encode()).header == SyncHdr(
        "00F0",
        "x",
        Location("t", extra=(Extension("Filter", SYNCML_1_2, "f"),)),
        Location("s", ""),
        "1.1",
        "DM/1.1",
        resp_uri="https://r",
        no_resp=True,
        cred=Cred("d"),
        meta=Meta(),
        extra=(Extension("New", SYNCML_1_2, "n"),),
    )


MALFORMED = [
    ("<SyncBody/>", "the root element is 'SyncBody', not SyncML"),
    ("<Get/>", "the root element is 'Get', not SyncML"),
    ("<syncml/>", "the root element is 'syncml', not SyncML"),
    ('<SyncML xmlns="urn:x"><SyncHdr/><SyncBody/></SyncML>', "'{urn:x}SyncML', not SyncML"),
    ('<SyncML xmlns="syncml:syncml1.2"><SyncHdr/><SyncBody/></SyncML>', "'{syncml:syncml1.2}SyncML'"),
    ('<SyncML xmlns="syncml:metinf"><SyncHdr/><SyncBody/></SyncML>', "'{syncml:metinf}SyncML'"),
    (f'<\u00e9{"x" * 100} xmlns="&#10;"/>', r"'{\n}\xe9xxx"),
    ("<SyncML/>", "SyncML needs one SyncHdr, not 0"),
    ("<SyncML><SyncHdr/></SyncML>", "SyncML needs one SyncBody, not 0"),
    ("<SyncML><SyncBody/></SyncML>", "SyncML needs one SyncHdr, not 0"),
    ("<SyncML><SyncHdr/><SyncHdr/><SyncBody/></SyncML>", "SyncML needs one SyncHdr, not 2"),
    ("<SyncML><SyncHdr/><SyncBody/><SyncBody/></SyncML>", "SyncML needs one SyncBody, not 2"),
    ('<SyncML><SyncHdr/><SyncBody xmlns="urn:x"/></SyncML>', "SyncML needs one SyncBody, not 0"),
    ("<SyncML><SyncHdr/><SyncBody></SyncML>", "mismatched tag at 1:"),
    ("", "no element found"),
    ("<!DOCTYPE SyncML><SyncML><SyncHdr/><SyncBody/></SyncML>", "DOCTYPE"),
]


@pytest.mark.parametrize(("document", "detail"), MALFORMED)
def test_what_is_no_syncml_document_is_malformed(document: str, detail: str) -> None:
    """A wrong root, a missing or a second header or body, and broken XML are named in one sentence."""
    with pytest.raises(MalformedMessage) as refused:
        read_message(document.encode())
    assert detail in refused.value.detail
    assert len(refused.value.detail) < 120
    assert refused.value.detail.isascii()


# --- commands -------------------------------------------------------------------------------------------

_ITEM_COMMANDS: list[type[Add | Copy | Delete | Get | Replace]] = [Add, Copy, Delete, Get, Replace]


@pytest.mark.parametrize("verb", _ITEM_COMMANDS)
def test_a_command_with_items_is_read_whole(verb: type[Add | Copy | Delete | Get | Replace]) -> None:
    """Add, Copy, Delete, Get and Replace share their fields; what they do not know is kept."""
    name = verb.__name__
    fragment = (
        f"<{name}><Meta><Format>int</Format></Meta><Item/><NoResp/><Archive/><Item><Data>1</Data></Item>"
        f"<CmdID> 5 </CmdID><Cred><Data>x</Data></Cred></{name}>"
    )
    assert read_fragment(fragment.encode()) == verb(
        "5",
        (Item(), Item(data="1")),
        Meta(format="int"),
        no_resp=True,
        extra=(Extension("Archive"), Extension("Cred", children=(Extension("Data", text="x"),))),
    )


COMMANDS: list[tuple[str, Command]] = [
    ("<Get/>", Get("", ())),
    ("<Get><CmdID/></Get>", Get("", ())),
    ("<Get><CmdID>1</CmdID><CmdID>2</CmdID></Get>", Get("1", ())),
    ("<Get><Item><CmdID>1</CmdID></Item></Get>", Get("", (Item(extra=(Extension("CmdID", text="1"),)),))),
    (
        "<Exec><CmdID>e</CmdID><NoResp/><Meta/><Correlator> c </Correlator><Item/><X/></Exec>",
        Exec("e", (Item(),), Meta(), no_resp=True, correlator="c", extra=(Extension("X"),)),
    ),
    (
        "<Alert><CmdID>1</CmdID><NoResp/><Data> 1226\n</Data><Correlator>c</Correlator><Item/><Meta/></Alert>",
        Alert("1", "1226", (Item(),), "c", no_resp=True, extra=(Extension("Meta"),)),
    ),
    ("<Alert/>", Alert("", "")),
    (
        (
            "<Atomic><CmdID>1</CmdID><NoResp/><Meta/><Add><CmdID>2</CmdID></Add><Map><CmdID>3</CmdID></Map>"
            "<Sequence><CmdID>4</CmdID><Get><CmdID>5</CmdID></Get></Sequence></Atomic>"
        ),
        Atomic(
            "1",
            (Add("2", ()), Unknown("Map", "3"), Sequence("4", (Get("5", ()),))),
            Meta(),
            no_resp=True,
        ),
    ),
    ("<Sequence><Final/></Sequence>", Sequence("", (Unknown("Final"),))),
    ("<Status/>", Status("", "", "", "", "")),
    (
        (
            "<Status><CmdID>1</CmdID><MsgRef>2</MsgRef><CmdRef>3</CmdRef><Cmd>Add</Cmd>"
            "<TargetRef> ./a </TargetRef><TargetRef><LocURI> ./b </LocURI></TargetRef><TargetRef/>"
            "<SourceRef>./c</SourceRef><SourceRef>\n<LocURI/>\n</SourceRef>"
            "<Cred><Meta><Type>t</Type></Meta><Data> d </Data></Cred><Data> 418 </Data><Item/><X/></Status>"
        ),
        Status(
            "1",
            "2",
            "3",
            "Add",
            "418",
            ("./a", "./b", ""),
            ("./c", ""),
            cred=Cred("d", Meta(type="t")),
            items=(Item(),),
            extra=(Extension("X"),),
        ),
    ),
    (
        "<Status><Chal><Meta><Type>syncml:auth-md5</Type><NextNonce>Tm9uY2U=</NextNonce></Meta></Chal></Status>",
        Status("", "", "", "", "", chal=Chal(Meta(type="syncml:auth-md5", next_nonce="Tm9uY2U="))),
    ),
    ("<Status><Chal/><Cred/></Status>", Status("", "", "", "", "", cred=Cred(""), chal=Chal(Meta()))),
    (
        '<Status xmlns:m="http://schemas.microsoft.com/MobileDevice/MDM"><Data m:originalerror=" 0x1 ">500</Data></Status>',
        Status("", "", "", "", "500", original_error="0x1"),
    ),
    ('<Status><Data originalerror="0x1">500</Data></Status>', Status("", "", "", "", "500")),
    ("<Results/>", Results("", "1", "1", ())),
    ("<Results><MsgRef/><CmdRef/></Results>", Results("", "", "", ())),
    (
        (
            "<Results><CmdID>1</CmdID><MsgRef>2</MsgRef><CmdRef>3</CmdRef><Cmd>Get</Cmd><Meta/>"
            "<TargetRef>t</TargetRef><SourceRef><LocURI>s</LocURI></SourceRef><Item/><X/></Results>"
        ),
        Results("1", "2", "3", (Item(),), "Get", Meta(), "t", "s", (Extension("X"),)),
    ),
]


@pytest.mark.parametrize(("fragment", "command"), COMMANDS)
def test_a_command_is_read_whole(fragment: str, command: Command) -> None:
    """Each command's fields, its defaults when they are absent, and its unknown children."""
    assert read_fragment(fragment.encode()) == command


ITEMS = [
    ("", Item()),
    ("<Target/>", Item(target=Location(""))),
    ("<Target>./a</Target>", Item(target=Location(""))),
    ("<Target><LocURI> ./a?list=StructData\n</LocURI></Target>", Item(target=Location("./a?list=StructData"))),
    ("<Target><LocURI>./ a</LocURI></Target>", Item(target=Location("./ a"))),
    ("<Source><LocName>n</LocName><X/></Source>", Item(source=Location("", "n", (Extension("X"),)))),
    ("<Data/>", Item(data="")),
    ("<Data></Data>", Item(data="")),
    ("<Data> \n x \t</Data>", Item(data=" \n x \t")),
    ("<Data>\u00a0\u2028</Data>", Item(data="\u00a0\u2028")),
    ("<Data>&lt;a b=&quot;&amp;amp;&quot;/&gt;</Data>", Item(data='<a b="&amp;"/>')),
    ("<Data><![CDATA[<a/>]]></Data>", Item(data="<a/>")),
    ("<Data><!-- none --></Data>", Item(data="")),
    ("<Data>x<!-- and -->y</Data>", Item(data="xy")),
    ("<MoreData/>", Item(more_data=True)),
    ("<SourceParent><LocURI>p</LocURI></SourceParent>", Item(
        extra=(Extension("SourceParent", children=(Extension("LocURI", text="p"),)),)
    )),
    # Meta
    ("<Meta/>", Item(meta=Meta())),
    ("<Meta>text</Meta>", Item(meta=Meta())),
    ("<Meta><Type/></Meta>", Item(meta=Meta(type=""))),
    ("<Meta><Mark> fatal </Mark><Size> 007 </Size></Meta>", Item(meta=Meta(mark="fatal", size=7))),
    ("<Meta><MaxObjSize>9999999999999999999</MaxObjSize></Meta>", Item(meta=Meta(max_obj_size=10**19 - 1))),
    ('<Meta><Anchor xmlns="syncml:metinf"><Next>1</Next></Anchor></Meta>', Item(
        meta=Meta(extra=(Extension("Anchor", METINF, "", (), (Extension("Next", METINF, "1"),)),))
    )),
    ('<Meta><Format xmlns="urn:x">int</Format></Meta>', Item(meta=Meta(extra=(Extension("Format", "urn:x", "int"),)))),
    # Type beside Meta (MS-MDM 3.2.5.1.5)
    ('<Meta/><Type xmlns="syncml:metinf"> t </Type>', Item(meta=Meta(type="t"))),
    ("<X/><Type>t</Type><Y/>", Item(meta=Meta(type="t"), extra=(Extension("X"), Extension("Y")))),
    ("<Meta><Format>int</Format></Meta><Type>t</Type>", Item(meta=Meta(format="int", type="t"))),
    ("<Meta><Type>a</Type></Meta><Type>b</Type>", Item(meta=Meta(type="a"), extra=(Extension("Type", text="b"),))),
    ('<Type xmlns="urn:x">t</Type>', Item(extra=(Extension("Type", "urn:x", "t"),))),
]  # fmt: skip


@pytest.mark.parametrize(("content", "item"), ITEMS)
def test_an_item_is_read_whole(content: str, item: Item) -> None:
    """Tokens are trimmed, Data is not; an empty Data is not a missing one."""
    assert read_fragment(f"<Get><Item>{content}</Item></Get>".encode()) == Get("", (item,))


MARKUP = [
    ("<a/>", "<a/>"),
    ("<a></a>", "<a/>"),
    (" <a b='1'>x</a> y ", ' <a b="1">x</a> y '),
    ("&lt;<a/>&amp;", "&lt;<a/>&amp;"),
    ("<a>&lt;&#13;</a>", "<a>&lt;&#13;</a>"),
    ("<a><![CDATA[<b/>]]></a>", "<a>&lt;b/&gt;</a>"),
    ("<a/><!-- x --><b/>", "<a/><b/>"),
    ('<a xmlns="urn:x"><b/></a>', '<a xmlns="urn:x"><b/></a>'),
    ('<p:a xmlns:p="urn:x" p:b="1"/>', '<a xmlns="urn:x" xmlns:n1="urn:x" n1:b="1"/>'),
    ("<m:a/>", '<a xmlns="urn:outside"/>'),
    ('<a xmlns=""/>', '<a xmlns=""/>'),
]


@pytest.mark.parametrize(("content", "data"), MARKUP)
def test_markup_in_data_is_kept_as_text(content: str, data: str) -> None:
    """Unescaped XML in Data becomes XML text that stands alone: its namespaces come with it."""
    document = with_body(f"<Add><Item xmlns:m='urn:outside'><Data>{content}</Data></Item></Add>")
    assert body_of(document) == (Add("", (Item(data=data),)),)


def test_markup_in_data_is_limited_like_text() -> None:
    """Repeating a namespace for each element cannot make a small message large."""
    limits = replace(DEFAULT_LIMITS, text=40)
    exactly = with_body("<Add><Item><Data>" + "<a/>" * 10 + "</Data></Item></Add>")
    assert read_message(exactly.encode(), limits).commands == (Add("", (Item(data="<a/>" * 10),)),)
    with pytest.raises(LimitExceeded, match="more than 40 characters of markup in one Data"):
        read_message(exactly.replace("</Data>", "x</Data>").encode(), limits)
    amplified = "<Add><Item xmlns:m='" + "u" * 250 + "'><Data>" + "<m:a/>" * 10_000 + "</Data></Item></Add>"
    with pytest.raises(LimitExceeded, match="markup"):
        read_message(with_body(amplified).encode())


@pytest.mark.parametrize("name", ["Size", "MaxMsgSize", "MaxObjSize"])
@pytest.mark.parametrize(
    "text", ["", "x", "-1", "+1", "1.0", "0x10", "1 000", "\u0661", "1_000", "1" * 20, "1" * 5_000]
)
def test_a_size_that_is_no_number_is_malformed(name: str, text: str) -> None:
    """The element is named; the text is quoted shortly and in ASCII."""
    document = with_body(f'<Get><Meta><{name} xmlns="syncml:metinf">{text}</{name}></Meta></Get>')
    with pytest.raises(MalformedMessage, match=f"^{name} is not a number: '") as refused:
        read_message(document.encode())
    assert len(refused.value.detail) < 60
    assert refused.value.detail.isascii()


@pytest.mark.parametrize(
    "name", ["Map", "Move", "Put", "Search", "Sync", "Foo", "get", "CmdID", "SyncHdr", "Item"]
)
def test_an_element_that_is_no_dm_command_is_unknown(name: str) -> None:
    """Commands of Data Synchronization and inventions are kept with their CmdID, to be answered 400."""
    content = f"<{name}><CmdID> 5 </CmdID><Item/></{name}><Get><CmdID>6</CmdID></Get><{name}/>"
    expected = (Unknown(name, "5", SYNCML_1_2), Get("6", ()), Unknown(name, "", SYNCML_1_2))
    assert body_of(with_body(content)) == expected


def test_a_command_of_another_namespace_is_unknown() -> None:
    """Get of a foreign vocabulary is not our Get, nor is its CmdID ours."""
    content = (
        '<x:Get xmlns:x="urn:x"><x:CmdID>1</x:CmdID></x:Get><x:Get xmlns:x="urn:x"><CmdID>2</CmdID></x:Get>'
    )
    assert body_of(with_body(content)) == (Unknown("Get", "", "urn:x"), Unknown("Get", "2", "urn:x"))


def test_namespaces_may_change_inside_a_message() -> None:
    """Microsoft's sample undoes the namespace on a Replace inside a SYNCML1.1 document."""
    document = (
        f'<SyncML xmlns="{SYNCML_1_1}"><SyncHdr/><SyncBody><Replace xmlns=""><CmdID>1</CmdID><Item><Meta>'
        "<Format>int</Format></Meta><Target><LocURI>./a </LocURI></Target><Data>0</Data></Item>"
        "<CmdID>2</CmdID></Replace></SyncBody></SyncML>"
    )
    item = Item(Location("./a"), meta=Meta(format="int"), data="0")
    assert body_of(document) == (Replace("1", (item,)),)


# --- fragments ------------------------------------------------------------------------------------------


def test_a_fragment_is_read_by_its_root() -> None:
    """A document gives a Message, a SyncBody its commands, a command itself, with or without namespace."""
    assert read_fragment(PACKAGE_1.encode()) == MESSAGE_1
    body = re.search(r"<SyncBody>.*</SyncBody>", PACKAGE_1)
    assert body
    assert read_fragment(body[0].encode()) == MESSAGE_1.commands
    assert read_fragment(b'<Get xmlns="SYNCML:SYNCML1.2"><CmdID>1</CmdID></Get>') == Get("1", ())
    assert read_fragment(b"<SyncBody/>") == ()


@pytest.mark.parametrize("fragment", ["<Map/>", "<Item/>", "<SyncHdr/>", '<Get xmlns="urn:x"/>', "<SyncML/>"])
def test_a_fragment_of_anything_else_is_malformed(fragment: str) -> None:
    """Only SyncML, SyncBody and the commands can be a fragment's root."""
    with pytest.raises(MalformedMessage):
        read_fragment(fragment.encode())


@pytest.mark.parametrize("read", [read_message, read_fragment])
def test_the_limits_given_are_the_limits_kept(read: Callable[[bytes, Limits], object]) -> None:
    """Both functions pass their limits to the parser."""
    document = PACKAGE_1.encode()
    read(document, replace(DEFAULT_LIMITS, bytes=len(document)))
    with pytest.raises(LimitExceeded, match="bytes"):
        read(document, replace(DEFAULT_LIMITS, bytes=len(document) - 1))


@pytest.mark.parametrize(
    ("group", "around"),
    [("{}", 0), ("<Atomic>{}</Atomic>", 1), ("<Sequence><Atomic>{}</Atomic></Sequence>", 2)],
)
def test_commands_are_counted_in_all(group: str, around: int) -> None:
    """A document may hold so many commands and not one more, those around others included; Final is none."""
    limits = replace(DEFAULT_LIMITS, commands=3)
    document = f"<SyncBody>{group}<Final/></SyncBody>"
    read_fragment(document.format("<Map/>" * (3 - around)).encode(), limits)
    with pytest.raises(LimitExceeded, match="more than 3 commands"):
        read_fragment(document.format("<Map/>" * (4 - around)).encode(), limits)


def test_items_are_counted_in_all() -> None:
    """A document may hold so many Items and not one more, whatever commands they stand in."""
    limits = replace(DEFAULT_LIMITS, items=3)
    document = "<SyncBody><Get><Item/></Get><Alert><Item/></Alert><Atomic><Add>{}</Add></Atomic></SyncBody>"
    read_fragment(document.format("<Item/>").encode(), limits)
    with pytest.raises(LimitExceeded, match="more than 3 Items"):
        read_fragment(document.format("<Item/><Item/>").encode(), limits)


def test_a_thousand_updates_fit_into_one_message() -> None:
    """The largest answer a device is known to give: two Items for each update, as Windows writes them."""
    guid = "{:08x}-0000-4000-8000-000000000000"
    node, leaf = (
        f"<Item><Source><LocURI>./Vendor/MSFT/Update/InstalledUpdates/{guid}{name}</LocURI></Source><Meta>"
        f'<Format xmlns="syncml:metinf">{form}</Format>{more}</Meta>{data}</Item>'
        for name, form, more, data in (
            ("", "node", "", ""),
            ("/RevisionNumber", "int", '<Type xmlns="syncml:metinf">text/plain</Type>', "<Data>200</Data>"),
        )
    )
    items = "".join((node + leaf).format(number, number) for number in range(1_000))
    body = f"<Results><CmdID>2</CmdID><MsgRef>1</MsgRef><CmdRef>7</CmdRef>{items}</Results><Final/>"
    document = re.sub("<SyncBody>.*</SyncBody>", f"<SyncBody>{body}</SyncBody>", PACKAGE_1).encode()
    (results,) = read_message(document).commands
    assert isinstance(results, Results)
    assert len(results.items) == 2_000
    assert results.items[-1].meta == Meta("int", "text/plain")


# --- the header alone -----------------------------------------------------------------------------------


def test_the_header_is_read_without_the_rest() -> None:
    """What stands behind it costs nothing and need not even be XML."""
    document = PACKAGE_1.encode()
    assert read_header(document) == MESSAGE_1.header
    end = document.index(b"</SyncHdr>") + len(b"</SyncHdr>")
    assert read_header(document[:end] + b"<b/>" * 100_000 + b"&<") == MESSAGE_1.header


def test_the_header_is_that_of_the_message_wherever_it_stands() -> None:
    """A header behind the body is found, as long as the body is as small as an opening's."""
    root, header, body = re.fullmatch("(<SyncML.*?>)(.*</SyncHdr>)(.*)</SyncML>", PACKAGE_1).groups()  # type: ignore[union-attr]
    swapped = f"{root}{body}{header}</SyncML>"
    assert read_header(swapped.encode()) == read_message(swapped.encode()).header == MESSAGE_1.header
    with pytest.raises(LimitExceeded, match="elements"):
        read_header(swapped.replace("<SyncBody>", f"<SyncBody>{'<b/>' * 2_000}").encode())


def test_an_inner_element_of_that_name_is_not_the_header() -> None:
    """Only a child of the root is."""
    document = PACKAGE_1.replace("<SyncHdr>", "<x><SyncHdr/></x><SyncHdr>")
    assert read_header(document.encode()) == MESSAGE_1.header


@pytest.mark.parametrize(
    "document",
    [
        "<SyncHdr/>",
        "<a><SyncHdr/></a>",
        '<SyncML xmlns="SYNCML:SYNCML1.2"><SyncBody/></SyncML>',
        '<SyncML xmlns="SYNCML:SYNCML1.2"><SyncHdr xmlns="urn:x"/></SyncML>',
        '<SyncML xmlns="SYNCML:SYNCML1.2"><SyncHdr>',
        "<!DOCTYPE a><SyncML/>",
    ],
)
def test_what_has_no_header_is_malformed(document: str) -> None:
    """No header to read is no message to answer."""
    with pytest.raises(MalformedMessage):
        read_header(document.encode())


@given(st.sampled_from([PACKAGE_1, PACKAGE_3]), st.integers(0, 2_000), st.binary(max_size=3))
def test_a_message_has_the_header_that_was_read_alone(document: str, at: int, piece: bytes) -> None:
    """The two ways to read never see two different headers, whatever a peer sends."""
    data = document.encode()
    data = data[:at] + piece + data[at + len(piece) :]
    try:
        message = read_message(data)
    except RemoteProtocolError:
        with contextlib.suppress(RemoteProtocolError):
            read_header(data)
    else:
        assert read_header(data) == message.header


def test_short_metas_are_one_value_and_long_ones_are_not_kept() -> None:
    """Equal Metas share a value unless a peer could pile up text that way."""
    one = '<Get><CmdID>2</CmdID><Meta><Type xmlns="syncml:metinf">{}</Type></Meta></Get>'

    def meta(text: str) -> Meta | None:
        command = read_fragment(one.format(text).encode())
        assert isinstance(command, Get)
        return command.meta

    assert meta("a") is meta("a")
    assert meta("a" * 200) == meta("a" * 200)
    assert meta("a" * 200) is not meta("a" * 200)


# --- fuzz -----------------------------------------------------------------------------------------------

_TAGS = re.compile(rb"(<[^>]*>)")
_SEEDS = [_TAGS.split(document.encode()) for document in (PACKAGE_1, PACKAGE_3)]
_WORDS = [
    b"",
    b"<",
    b"]]>",
    b"<![CDATA[",
    b"<!--",
    b"&lt;",
    b"&#0;",
    b"\0",
    b"\xff",
    b"<!DOCTYPE SyncML>",
    b'xmlns=""',
]
_NAMES = st.sampled_from(
    [
        "SyncHdr",
        "SyncBody",
        "Final",
        "CmdID",
        "Meta",
        "Item",
        "Data",
        "Type",
        "Size",
        "Target",
        "Source",
        "LocURI",
        "TargetRef",
        "Chal",
        "Cred",
        "NoResp",
        "MoreData",
        "Correlator",
        "Filter",
        "Map",
        "p:x",
        "xml:x",
        "Add",
        "Alert",
        "Atomic",
        "Copy",
        "Delete",
        "Exec",
        "Get",
        "Replace",
        "Results",
        "Sequence",
        "Status",
    ]
)
_ATTRIBUTES = st.sampled_from(
    [
        "",
        ' xmlns=""',
        ' xmlns="syncml:metinf"',
        ' xmlns="urn:x"',
        ' a="&#13;"',
        ' p:b="&lt;"',
        ' p:originalerror="0x1"',
    ]
)
_TEXT = st.sampled_from(
    ["", " ", "1", "200", "x&amp;&lt;", "<![CDATA[<a/>]]>", "<!-- -->", "\u00e9", "&#13;\n"]
)


def _element(name: str, attributes: str, content: list[str]) -> str:
    return f"<{name}{attributes}>{''.join(content)}</{name}>"


_TREES = st.recursive(
    _TEXT,
    lambda inner: st.builds(_element, _NAMES, _ATTRIBUTES, st.lists(inner, max_size=5)),
    max_leaves=40,
)


def read_or_refuse(document: bytes) -> None:
    """Read the document both ways; what is read and can be written must be read again the same."""
    for read in (read_message, read_fragment):
        try:
            found = read(document)
        except RemoteProtocolError:
            continue
        if isinstance(found, Message):
            try:
                written = write_message(found)
            except LocalProtocolError:
                continue  # the peer left out what a message of ours must have
            again = read_message(written)
            assert again == found
            assert write_message(again) == written


@given(st.binary(max_size=300))
@example(b"")
@example("<a/>".encode("utf-16"))
def test_arbitrary_bytes_raise_only_documented_errors(document: bytes) -> None:
    """No bytes make the reader raise anything but `RemoteProtocolError`."""
    read_or_refuse(document)


@given(st.data())
def test_a_damaged_message_raises_only_documented_errors(data: st.DataObject) -> None:
    """Tags and texts of a good message deleted, doubled, exchanged or replaced are read or refused."""
    parts = list(data.draw(st.sampled_from(_SEEDS)))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(parts) - 1))
        other = data.draw(st.integers(0, len(parts) - 1))
        match data.draw(st.sampled_from(["delete", "double", "exchange", "replace", "cut"])):
            case "delete":
                parts[place] = b""
            case "double":
                parts[place] += parts[place]
            case "exchange":
                parts[place], parts[other] = parts[other], parts[place]
            case "replace":
                parts[place] = data.draw(st.sampled_from(_WORDS) | st.binary(max_size=8))
            case "cut":
                parts[place] = parts[place][: data.draw(st.integers(0, 20))]
    read_or_refuse(b"".join(parts))


@given(st.lists(_TREES, max_size=6), st.lists(_TREES, max_size=4))
def test_any_well_formed_tree_is_read_or_refused(body: list[str], header: list[str]) -> None:
    """Elements of the vocabulary in any nesting give a message that survives being written, or an error."""
    read_or_refuse(
        f'<SyncML xmlns="SYNCML:SYNCML1.2" xmlns:p="http://schemas.microsoft.com/MobileDevice/MDM">'
        f"<SyncHdr>{''.join(header)}</SyncHdr><SyncBody>{''.join(body)}</SyncBody></SyncML>".encode()
    )
