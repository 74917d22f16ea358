"""Hostile documents over HTTP: refused in HTTP or in SyncML, never 5xx, and without a trace in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from mdm.checkin.endpoint import MEDIA_TYPE, omadm_route
from syncml.client import Verdict
from syncml.errors import RemoteProtocolError
from syncml.limits import DEFAULT_LIMITS
from syncml.messages import Item, Location, Message, Meta, Results, Status, SyncHdr
from syncml.reader import read_header, read_message
from syncml.session import MAX_COMMANDS
from syncml.writer import write_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Bench, ScriptedDevice

    from syncml import client

SERVER: Final = "https://mdm.example.test/omadm"
NS: Final = "SYNCML:SYNCML1.2"
LIMIT: Final = DEFAULT_LIMITS.bytes
MOST: Final = DEFAULT_LIMITS.commands
TEXT: Final = DEFAULT_LIMITS.text - 4_096


def header(session_id: str = "1", msg_id: str = "1", device_id: str = "DEV1", more: str = "") -> str:
    """A SyncHdr."""
    return (
        f"<SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2</VerProto><SessionID>{session_id}</SessionID>"
        f"<MsgID>{msg_id}</MsgID><Target><LocURI>{SERVER}</LocURI></Target>"
        f"<Source><LocURI>{device_id}</LocURI></Source>{more}</SyncHdr>"
    )


def document(body: str, *, head: str | None = None, prolog: str = "", namespace: str = NS) -> bytes:
    """A whole message around the content of its SyncBody."""
    head = header() if head is None else head
    root = f'<SyncML xmlns="{namespace}">{head}<SyncBody>{body}<Final/></SyncBody></SyncML>'
    return f"{prolog}{root}".encode()


def alerts(count: int) -> str:
    """That many Alerts 1224 of an unknown type."""
    one = "<Alert><CmdID>{}</CmdID><Data>1224</Data></Alert>"
    return "".join(one.format(n) for n in range(2, count + 2))


ALERT: Final = "<Alert><CmdID>2</CmdID><Data>1201</Data></Alert>"
LAUGHS: Final = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))

BAD: Final[dict[str, bytes]] = {
    "billion laughs": document("&a9;", prolog=f'<!DOCTYPE x [<!ENTITY a0 "ha">{LAUGHS}]>'),
    "quadratic blow-up": document("&a;" * 10_000, prolog=f'<!DOCTYPE x [<!ENTITY a "{"x" * 40_000}">]>'),
    "external entity": document("&x;", prolog='<!DOCTYPE x [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
    "external entity over HTTP": document(
        "&x;", prolog='<!DOCTYPE x [<!ENTITY x SYSTEM "http://127.0.0.1:1/">]>'
    ),
    "parameter entity": document("", prolog='<!DOCTYPE x [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]>'),
    "external DTD": document("", prolog='<!DOCTYPE SyncML SYSTEM "file:///etc/passwd">'),
    "DOCTYPE without entities": document("", prolog="<!DOCTYPE SyncML>"),
    "ATTLIST default": document(ALERT, prolog='<!DOCTYPE SyncML [<!ATTLIST Data a CDATA "evil">]>'),
    "30,000 deep": document("<Atomic>" * 30_000 + "</Atomic>" * 30_000),
    "100,000 deep, one letter": b"<a>" * 100_000,
    "deep Atomic nesting, one too deep": document("<Atomic>" * 31 + "</Atomic>" * 31),
    "deep Item markup": document(f"<Add><Item><Data>{'<b>' * 40}{'</b>' * 40}</Data></Item></Add>"),
    "60,000 attributes": document("<Alert {}/>".format(" ".join(f'a{n}=""' for n in range(50_000)))),
    "17 attributes": document("<Alert {}/>".format(" ".join(f'a{n}=""' for n in range(17)))),
    "16 attributes on each element": document(
        "<a {}/>".format(" ".join(f'b{n}=""' for n in range(16))) * 4_000
    ),
    "20,000 namespaces": document("<Alert {}/>".format(" ".join(f'xmlns:a{n}="u"' for n in range(20_000)))),
    "500,000 siblings": b"<a>" + b"<b/>" * 125_000 + b"</a>",
    "20,001 elements in the body": document("<b/>" * 20_001),
    "5,000 alerts": document(alerts(5_000)),
    "19,000 unknown commands": document("<b/>" * 19_000),
    "3,900 Results": document(
        "<Results><CmdID>2</CmdID><CmdRef>9</CmdRef><Item><Data>x</Data></Item></Results>" * 3_900
    ),
    "Atomic of 2,001 commands": document(f"<Atomic>{'<b/>' * 2_001}</Atomic>"),
    "20,000 items": document(f"<Replace><CmdID>2</CmdID>{'<Item/>' * 20_000}</Replace>"),
    "text of 300,000 characters": document(f"<Alert><Data>{'x' * 300_000}</Data></Alert>"),
    "white space of 500 KB": document(" " * 500_000),
    "12 MB of text": document("x" * 12_000_000),
    "name of 200,000 characters": document(f"<{'n' * 200_000}/>"),
    "namespace of 200,000 characters": document(f'<a xmlns="{"n" * 200_000}"/>'),
    "attribute of 500,000 characters, unclosed": document(f'<a b="{"n" * 500_000}')[:-60],
    "comment without an end": document(f"<!-- {'-' * 400_000}"),
    "instruction without an end": document(f"<?x {'?' * 400_000}"),
    "CDATA without an end": document(f"<![CDATA[{']' * 400_000}"),
    "markup that grows when it is read": document(
        f'<Add><Item><Data xmlns:p="{"u" * 200}">{"<p:a/>" * 19_000}</Data></Item></Add>'
    ),
    "UTF-16": document("").decode().encode("utf-16"),
    "UTF-16 without a mark": document("").decode().encode("utf-16-be"),
    "UTF-32": document("").decode().encode("utf-32"),
    "UTF-16 label": document("", prolog='<?xml version="1.0" encoding="UTF-16"?>'),
    "UTF-7 label": document("+ADw-a/+AD4-", prolog='<?xml version="1.0" encoding="UTF-7"?>'),
    "EBCDIC label": document("", prolog='<?xml version="1.0" encoding="cp037"?>'),
    "broken UTF-8": document("\x7f").replace(b"\x7f", b"\xc3\x28"),
    "overlong UTF-8": document("\x7f").replace(b"\x7f", b"\xc0\xbc"),
    "surrogate": document("\x7f").replace(b"\x7f", b"\xed\xa0\x80"),
    "NUL": document("\0"),
    "NUL by reference": document("&#0;"),
    "vertical tab": document("\x0b"),
    "two byte order marks": b"\xef\xbb\xbf" * 2 + document(""),
    "UTF-16 mark before UTF-8": b"\xff\xfe" + document(""),
    "wrong namespace": document(ALERT, namespace="urn:example:not-syncml"),
    "XHTML": b'<html xmlns="http://www.w3.org/1999/xhtml"/>',
    "no header": document("", head=""),
    "two headers": document("", head=header() * 2),
    "SessionID of 100,000 characters": document("", head=header(session_id="9" * 100_000)),
    "SessionID of 65 characters": document("", head=header(session_id="9" * 65)),
    "MsgID of 100,000 digits": document("", head=header(msg_id="9" * 100_000)),
    "MsgID of ten digits": document("", head=header(msg_id="9" * 10)),
    "MsgID negative": document("", head=header(msg_id="-1")),
    "MsgID in other digits": document("", head=header(msg_id="١")),
    "MaxMsgSize of 100,000 digits": document(
        "", head=header(more=f"<Meta><MaxMsgSize>{'9' * 100_000}</MaxMsgSize></Meta>")
    ),
    "one byte too many": document("x").replace(b">x<", b">" + b"x" * LIMIT + b"<"),
}
"""Not a message any reply could be addressed to: 400 or 413."""

COSTLY: Final[dict[str, bytes]] = {
    "byte order mark": b"\xef\xbb\xbf" + document(ALERT),
    "alerts": document(alerts(MOST)),
    "alerts without CmdID": document("<Alert><Data>1</Data></Alert>" * MOST),
    "unknown commands": document("<b/>" * MOST),
    "items": document(f"<Replace><CmdID>2</CmdID>{'<Item/>' * DEFAULT_LIMITS.items}</Replace>"),
    "Results of two items each": document(
        f"<Results><CmdID>2</CmdID><CmdRef>9</CmdRef>{'<Item><Data>x</Data></Item>' * 2}</Results>" * MOST
    ),
    "Statuses": document(
        "<Status><CmdID>2</CmdID><MsgRef>1</MsgRef><CmdRef>9</CmdRef><Cmd>Get</Cmd></Status>" * MOST
    ),
    "deep Atomic nesting, just not too deep": document("<Atomic>" * 29 + "</Atomic>" * 29),
    "many Atomics, each deep": document(("<Atomic>" * 28 + "</Atomic>" * 28) * (MOST // 28)),
    "white space": document(" " * TEXT),
    "text as long as it may be": document(f"<Alert><CmdID>2</CmdID><Data>{'9' * TEXT}</Data></Alert>"),
    "16 attributes on each element": document(
        "<a {}/>".format(" ".join(f'b{n}=""' for n in range(16))) * (MOST - 10)
    ),
    "a long device id": document(ALERT, head=header(device_id="D" * TEXT)),
    "a long Cred": document(ALERT, head=header(more=f"<Cred><Data>{'Q' * TEXT}</Data></Cred>")),
    "Cred of another script": document(ALERT, head=header(more="<Cred><Data>パスワード</Data></Cred>")),
    "a long version": document(ALERT).replace(b"DM/1.2", b"D" * TEXT),
}
"""Messages without proof of identity, as expensive as the limits allow: answered in SyncML, changing nothing."""


@pytest.fixture
def device(sqlite_bench: Bench) -> ScriptedDevice:
    """A device the bridge knows, and that proves itself once a session: its floods need not be signed."""
    return sqlite_bench.enrol(each_message=False)


@pytest.fixture
def http(sqlite_bench: Bench, device: ScriptedDevice) -> Iterator[TestClient]:
    """A client of an application that has the device endpoint only."""
    with TestClient(Starlette(routes=[omadm_route(sqlite_bench.checkin)])) as test_client:
        yield test_client


def post(http: TestClient, body: bytes) -> tuple[int, bytes]:
    """The answer."""
    response = http.post("/omadm", content=body, headers={"content-type": MEDIA_TYPE})
    return response.status_code, response.content


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_message_is_refused(http: TestClient, sqlite_bench: Bench, name: str) -> None:
    """400 or 413 with a short sentence; 407 where it is the body that goes too far, which no stranger's is read for."""
    before = sqlite_bench.dump()
    status, content = post(http, BAD[name])
    assert status == (413 if len(BAD[name]) > LIMIT else status)
    if has_header(BAD[name]) and status == 200:
        (first,) = read_message(content).commands
        assert isinstance(first, Status)
        assert first.data == "407"
    else:
        assert status in {400, 413}
        assert len(content) < 300
    assert b"root:" not in content
    assert sqlite_bench.dump() == before


def has_header(body: bytes) -> bool:
    """True if the message begins as one."""
    try:
        read_header(body)
    except RemoteProtocolError:
        return False
    return True


@pytest.mark.parametrize("name", COSTLY)
def test_what_proves_nothing_changes_nothing(http: TestClient, sqlite_bench: Bench, name: str) -> None:
    """Answered in SyncML with 401, 407 or a version status; only the count of wrong credentials may change."""
    assert len(COSTLY[name]) <= LIMIT
    before = sqlite_bench.dump()
    status, content = post(http, COSTLY[name])
    if has_header(COSTLY[name]):
        assert status == 200
        assert reply_status(content).data in {"401", "407", "513"}
        assert len(content) < 64 * 1024, "a stranger gets little back"
    else:
        assert status == 413
    after = sqlite_bench.dump()
    failures = after.pop("auth_failure")
    assert before.pop("auth_failure") == []
    assert len(failures) <= 1
    assert after == before


def reply_status(content: bytes) -> Status:
    """The Status for the SyncHdr; a reply to thousands of commands may be longer than we would read."""
    head = content[: content.index(b"</Status>") + len(b"</Status>")]
    message = read_message(head + b"<Final/></SyncBody></SyncML>")
    status = message.commands[0]
    assert isinstance(status, Status)
    return status


def opened(http: TestClient, device: ScriptedDevice) -> client.Turn:
    """A session in which the device has been asked its lists."""
    message, state = device.begin()
    _, content = post(http, write_message(message))
    turn = device.hear(state, content)
    assert turn.verdict is Verdict.COMMANDS
    return turn


def many_results(turn: client.Turn) -> bytes:
    """Thousands of Results for one Get."""
    get = turn.commands[0].cmd_id
    one = "<Results><CmdID>{}</CmdID><MsgRef>{}</MsgRef><CmdRef>{}</CmdRef><Item><Source><LocURI>./Vendor/MSFT/Update/InstallableUpdates/{:08x}-0000-4000-8000-000000000000</LocURI></Source></Item></Results>"
    body = "".join(one.format(n + 9, turn.server_msg_id, get, n) for n in range(MOST - 1))
    status = f"<Status><CmdID>1</CmdID><MsgRef>1</MsgRef><CmdRef>{get}</CmdRef><Cmd>Get</Cmd><Data>200</Data></Status>"
    return document(status + body, head=header(msg_id="2"))


def nonsense_items(turn: client.Turn) -> bytes:
    """One Results of thousands of items that are no GUIDs and no values."""
    get = turn.commands[0].cmd_id
    items = tuple(
        Item(
            source=Location(f"./Vendor/MSFT/Update/InstallableUpdates/{n}/Type"),
            meta=Meta(format="int"),
            data="x",
        )
        for n in range(DEFAULT_LIMITS.items - 10)
    )
    head = SyncHdr("1", "2", Location(SERVER), Location("DEV1"))
    results = Results("3", turn.server_msg_id, get, items)
    status = Status("2", turn.server_msg_id, get, "Get", "200")
    return write_message(Message(head, (status, results)))


def child_names(turn: client.Turn) -> bytes:
    """One Data that names 6,500 GUIDs."""
    get = turn.commands[0].cmd_id
    names = "/".join(f"{n:08x}-0000-4000-8000-000000000000" for n in range(6_500))
    item = Item(source=Location("./Vendor/MSFT/Update/InstallableUpdates"), data=names)
    head = SyncHdr("1", "2", Location(SERVER), Location("DEV1"))
    status = Status("2", turn.server_msg_id, get, "Get", "200")
    return write_message(Message(head, (status, Results("3", turn.server_msg_id, get, (item,)))))


def many_statuses(turn: client.Turn) -> bytes:
    """The same Status thousands of times."""
    get = turn.commands[0].cmd_id
    one = f"<Status><CmdID>2</CmdID><MsgRef>1</MsgRef><CmdRef>{get}</CmdRef><Cmd>Get</Cmd><Data>404</Data></Status>"
    return document(one * MOST, head=header(msg_id="2"))


def odd_statuses(turn: client.Turn) -> bytes:
    """Thousands of answers to nothing that was asked: each an oddity for the log."""
    one = "<Status><CmdID>2</CmdID><MsgRef>8</MsgRef><CmdRef>8</CmdRef><Cmd>Get</Cmd></Status>"
    return document(one * MOST, head=header(msg_id=str(int(turn.server_msg_id) + 1)))


def open_objects(turn: client.Turn) -> bytes:
    """Thousands of large objects begun, none ended."""
    get = turn.commands[0].cmd_id
    one = "<Item><Source><LocURI>./{}</LocURI></Source><Meta><Size>9</Size></Meta><Data>x</Data><MoreData/></Item>"
    items = "".join(one.format(n) for n in range(DEFAULT_LIMITS.elements // 8))
    results = f"<Results><CmdID>3</CmdID><MsgRef>1</MsgRef><CmdRef>{get}</CmdRef>{items}</Results>"
    return document(results, head=header(msg_id="2")).replace(b"<Final/>", b"")


@pytest.mark.parametrize(
    "make", [many_results, nonsense_items, child_names, many_statuses, odd_statuses, open_objects]
)
def test_a_device_that_proved_itself_and_then_floods(
    http: TestClient, device: ScriptedDevice, make: Callable[[client.Turn], bytes]
) -> None:
    """The most a message may hold is answered in SyncML, and the session goes on or ends as the protocol says."""
    turn = opened(http, device)
    body = make(turn)
    assert len(body) <= LIMIT
    status, content = post(http, body)
    assert status == 200
    reply = read_message(content)
    assert reply_status(content).data == "200"
    assert len(reply.commands) <= MAX_COMMANDS + 3
