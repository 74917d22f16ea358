"""Every complete device message on record gets a reply that the grammar of OMA DM 1.2 accepts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from lxml import etree

from syncml.auth import BASIC, MD5, challenge
from syncml.exchange import Request
from syncml.messages import Status
from syncml.reader import read_message
from syncml.session import check_header, receive, refuse, respond
from syncml.status import StatusCode
from syncml.writer import write_message

if TYPE_CHECKING:
    from syncml.messages import Message

DATA: Final = Path(__file__).parents[2].parent / "shared" / "data"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the captured messages are not here")

DEVICE_MESSAGES: Final = (
    "fleet-mdmtest-start-session.xml",
    "msdocs-dmclient-1.xml",
    "msmdm-4-device-pkg1.xml",
    "msmdm-4-device-pkg3-results.xml",
    "oma-auth-basic-1-device-nocred.xml",
    "oma-auth-basic-3-device-cred.xml",
    "oma-auth-md5-1-device-cred.xml",
    "oma-protocol-example-01.xml",
    "oma-protocol-example-03.xml",
    "oma-protocol-example-05.xml",
    "poc-s1-m1-device-pkg1.xml",
    "win10-19043-s1-m1-device-pkg1.xml",
)

REQUESTS: Final = (
    Request("Get", "./Vendor/MSFT/Update/InstallableUpdates?list=StructData"),
    Request("Add", "./Vendor/MSFT/Update/ApprovedUpdates/%7b0%7d", format="node"),
    Request("Replace", "./Device/Vendor/MSFT/Policy/Config/Update/X", "int", "text/plain", "7"),
    Request("Exec", "./Vendor/MSFT/Update/Rollback/QualityUpdate", format="null"),
    Request("Delete", "./Vendor/MSFT/Update/ApprovedUpdates/%7b1%7d"),
)


@pytest.fixture(scope="module")
def grammar() -> etree.DTD:
    """The grammar of OMA DM 1.2 messages."""
    return etree.DTD(str(DATA / "dtd" / "syncml-dm12.dtd"))


def recorded(name: str) -> Message:
    """A message on record."""
    return read_message((DATA / "syncml" / name).read_bytes())


def conforms(grammar: etree.DTD, message: Message) -> bool:
    """True if the message, as written, is valid; the error log tells pytest why not."""
    valid = grammar.validate(etree.fromstring(write_message(message)))
    assert valid, grammar.error_log
    return valid


def test_no_device_message_is_left_out() -> None:
    """The list above has every file whose name says that a device wrote it."""
    named = {path.name for path in (DATA / "syncml").glob("*.xml") if "-device" in path.name}
    assert named - {"msdocs-device-update-management-1.xml"} <= set(DEVICE_MESSAGES)


def test_the_grammar_can_refuse(grammar: etree.DTD) -> None:
    """The grammar is in force: a Status without its MsgRef is not valid."""
    assert not grammar.validate(etree.fromstring("<Status><CmdID>1</CmdID></Status>"))


@pytest.mark.parametrize("name", DEVICE_MESSAGES)
@pytest.mark.parametrize("scheme", [None, MD5, BASIC])
def test_the_reply_is_valid(name: str, scheme: str | None, grammar: etree.DTD) -> None:
    """The reply conforms, with and without authentication, with commands if the device has finished."""
    message = recorded(name)
    assert check_header(message.header) is None
    reception = receive(None, message)
    chal = None if scheme is None else challenge(scheme, b"next")
    requests = REQUESTS if reception.turn else ()
    reply, _, sent = respond(reception, server_uri="https://mdm.test/omadm", requests=requests, chal=chal)
    assert sent == len(requests)
    assert conforms(grammar, reply)


@pytest.mark.parametrize("name", DEVICE_MESSAGES)
def test_the_refusal_is_valid(name: str, grammar: etree.DTD) -> None:
    """A challenge to the same message conforms, and every command of it has its Status."""
    message = recorded(name)
    chal = challenge(MD5, b"Nonce")
    reply = refuse(message, StatusCode.MISSING_CREDENTIALS, server_uri="https://mdm.test/omadm", chal=chal)
    assert conforms(grammar, reply)
    commands = [each for each in message.commands if type(each).__name__ in {"Alert", "Replace"}]
    refused = [each.cmd_ref for each in reply.commands if isinstance(each, Status) and each.data == "407"]
    assert refused == ["0", *(each.cmd_id for each in commands)]


def test_we_answer_windows_as_a_deployed_server_does() -> None:
    """Package 1 of Windows 10 gets the reply it accepted from a deployed server, but for the two references."""
    message = recorded("win10-19043-s1-m1-device-pkg1.xml")
    theirs = recorded("win10-19043-s1-m1-server-final.xml")
    ours, _, _ = respond(receive(None, message), server_uri=message.header.target.loc_uri)
    assert ours.header == theirs.header
    assert ours.final == theirs.final
    assert [plain(each) for each in ours.commands] == list(theirs.commands)


def plain(command: object) -> Status:
    """The Status without TargetRef and SourceRef, which that server leaves out."""
    assert isinstance(command, Status)
    return Status(command.cmd_id, command.msg_ref, command.cmd_ref, command.cmd, command.data)
