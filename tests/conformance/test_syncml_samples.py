"""Messages of real devices, real servers and the specifications: read, written, read again, validated."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lxml import etree

from syncml.alerts import LOGIN_STATUS, SYNC_TYPE
from syncml.errors import MalformedMessage
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
)
from syncml.reader import read_fragment, read_message
from syncml.writer import write_command, write_message

if TYPE_CHECKING:
    from collections.abc import Iterable

SHARED = Path(__file__).parents[2].parent / "shared" / "data"

pytestmark = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the sample messages are not beside this checkout"
)

# Microsoft's pages show these two without the SyncHdr a SyncML document must have
WITHOUT_HEADER = {"msdocs-device-update-management-1.xml", "msdocs-policy-replace-admx.xml"}
NAMES = sorted(path.name for path in SHARED.glob("syncml/*.xml"))
READABLE = [name for name in NAMES if name not in WITHOUT_HEADER]

# What OMA DM allows and its DTD does not say: a SyncBody shortened to nothing, and Cmd in Results
OUTSIDE_THE_DTD = {
    "msmdm-4-device-pkg3-results.xml",
    "oma-auth-basic-1-device-nocred.xml",
    "oma-auth-basic-3-device-cred.xml",
    "oma-auth-md5-1-device-cred.xml",
}
IN_THE_DTD = [name for name in READABLE if name not in OUTSIDE_THE_DTD]

AROUND = SyncHdr("1", "1", Location("device-1"), Location("https://mdm.example.test/omadm"))


def sample(name: str) -> bytes:
    """The bytes of a sample."""
    return (SHARED / "syncml" / name).read_bytes()


def as_message(name: str) -> Message:
    """The sample as a whole message; a fragment gets a header of ours."""
    found = read_fragment(sample(name))
    if isinstance(found, Message):
        return found
    return Message(AROUND, found if isinstance(found, tuple) else (found,))


def test_every_sample_of_the_index_is_here() -> None:
    """A sample that is added later is not forgotten."""
    index = (SHARED / "syncml" / "INDEX.md").read_text()
    assert sorted(set(re.findall(r"^\| (\S+\.xml)", index, re.MULTILINE))) == NAMES
    assert set(NAMES) >= WITHOUT_HEADER | OUTSIDE_THE_DTD


@pytest.mark.parametrize("name", READABLE)
def test_a_sample_is_read_written_and_read_the_same(name: str) -> None:
    """Nothing a sample says is lost, and the canonical form is a fixed point."""
    message = as_message(name)
    written = write_message(message)
    assert read_message(written) == message
    assert write_message(read_message(written)) == written


@pytest.mark.parametrize("name", READABLE)
def test_each_command_of_a_sample_survives_alone(name: str) -> None:
    """The same for every single command, as a fragment."""
    for command in as_message(name).commands:
        assert read_fragment(write_command(command).encode()) == command


@pytest.mark.parametrize("name", sorted(WITHOUT_HEADER))
def test_a_sample_without_header_is_malformed(name: str) -> None:
    """The error says what is missing."""
    for read in (read_message, read_fragment):
        with pytest.raises(MalformedMessage, match=r"^SyncML needs one SyncHdr, not 0$"):
            read(sample(name))


@pytest.mark.parametrize("name", sorted(WITHOUT_HEADER))
def test_the_command_in_a_malformed_sample_is_read(name: str) -> None:
    """The Replace inside is odd, but readable: xmlns undone, three CmdIDs, blanks in LocURI, Meta first."""
    body = re.search(rb"<SyncBody>.*</SyncBody>", sample(name), re.DOTALL)
    assert body
    (command,) = read_fragment(body[0])  # type: ignore[misc]
    assert isinstance(command, Replace)
    uris = [item.target.loc_uri for item in command.items if item.target]
    if name == "msdocs-policy-replace-admx.xml":
        assert command.cmd_id == "2"
        assert uris == ["./Device/Vendor/MSFT/Policy/Config/AppVirtualization/PublishingAllowServer2"]
        assert command.items[0].meta == Meta(format="chr", type="text/plain")
        assert command.items[0].data is None  # its value stands in the Item without a Data element
    else:
        policies = ("AllowUpdateService", "RequireDeferUpgrade", "RequireUpdateApproval")
        assert command.cmd_id == "1"
        assert uris == [f"./Vendor/MSFT/Policy/Config/Update/{policy}" for policy in policies]
        assert [item.meta for item in command.items] == [Meta(format="int", type="text/plain")] * 3
        assert [item.data for item in command.items] == ["0"] * 3


@pytest.fixture(scope="module")
def dtd() -> etree.DTD:
    """The grammar of OMA DM 1.2 messages."""
    return etree.DTD(str(SHARED / "dtd" / "syncml-dm12.dtd"))


def assert_valid(dtd: etree.DTD, document: bytes) -> None:
    """Fail with the grammar's own words."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    valid = dtd.validate(etree.fromstring(document, parser))
    assert valid, str(dtd.error_log)


@pytest.mark.parametrize("name", IN_THE_DTD)
def test_what_is_written_obeys_the_dtd(name: str, dtd: etree.DTD) -> None:
    """Also of samples that do not: their children are put in order and Meta gets its namespace."""
    assert_valid(dtd, write_message(as_message(name)))


@pytest.mark.parametrize("name", sorted(OUTSIDE_THE_DTD))
def test_the_exceptions_from_the_dtd_are_needed(name: str, dtd: etree.DTD) -> None:
    """The list of exceptions holds no sample that could be validated."""
    with pytest.raises(AssertionError):
        assert_valid(dtd, write_message(as_message(name)))


def canonical(document: bytes) -> bytes:
    """Canonical XML without layout."""
    root = etree.fromstring(document, etree.XMLParser(remove_blank_text=True, remove_comments=True))
    for element in root.iter():
        if not len(element) and element.text and not element.text.strip():
            element.text = None
    return etree.tostring(root, method="c14n")


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("win10-19043-")])
def test_a_captured_message_is_written_as_it_was_captured(name: str) -> None:
    """A real Windows device and the server it accepted write exactly what we write, layout aside."""
    assert canonical(write_message(read_message(sample(name)))) == canonical(sample(name))


def commands_of(name: str, kind: type[Command]) -> Iterable[Command]:
    """The commands of one kind in a sample."""
    return [command for command in as_message(name).commands if isinstance(command, kind)]


def test_the_captured_package_1() -> None:
    """A real first message: session alert, login status, five DevInfo items, Final, no Cred."""
    message = read_message(sample("win10-19043-s1-m1-device-pkg1.xml"))
    assert message.header == SyncHdr(
        "1",
        "1",
        Location("https://windows.fleetdm.ngrok.io/ManagementServer/MDM.svc"),
        Location("B5B954E81FBCB94EB79BD08BE625F4EE"),
    )
    session, login, devinfo = message.commands
    assert session == Alert("2", "1201")
    assert login == Alert("3", "1224", (Item(meta=Meta(type=LOGIN_STATUS), data="user"),))
    assert isinstance(devinfo, Replace)
    values = {item.source.loc_uri: item.data for item in devinfo.items if item.source}
    assert values == {
        "./DevInfo/DevId": "B5B954E81FBCB94EB79BD08BE625F4EE",
        "./DevInfo/Man": "VMware, Inc.",
        "./DevInfo/Mod": "VMware7,1",
        "./DevInfo/DmV": "1.3",
        "./DevInfo/Lang": "en-US",
    }
    assert message.final


def test_the_odd_synctype_alert() -> None:
    """Type beside an empty Meta ends up in the Meta (MS-MDM 3.2.5.1.5)."""
    assert as_message("msmdm-3.2.5.1.5-synctype-alert-odd-shape.xml").commands == (
        Alert("1", "1224", (Item(meta=Meta(type=SYNC_TYPE), data="user"),)),
    )


def test_structdata_of_an_inventory() -> None:
    """Interior nodes have a Format and no Data, leaves have Data; the order is the tree walk."""
    (results,) = commands_of("msdocs-structdata-results-inventory.xml", Results)
    assert isinstance(results, Results)
    assert (results.msg_ref, results.cmd_ref, results.cmd, len(results.items)) == ("1", "2", None, 11)
    for item in results.items:
        assert (item.meta == Meta(format="node", type="")) == (item.data is None)
    assert results.items[3].source
    assert results.items[3].source.loc_uri.endswith("/%7BB0322158-C3C2-44EB-8A31-D14A9FEC450E%7D/Version")


def test_results_without_msg_ref_belong_to_message_1() -> None:
    """An absent MsgRef means "1", and CmdRef may stand before CmdID (DM_TND example)."""
    (results,) = commands_of("oma-tnd-tree-exchange-02.xml", Results)
    assert isinstance(results, Results)
    assert (results.cmd_id, results.msg_ref, results.cmd_ref) == ("7", "1", "4")
    assert [item.meta and item.meta.format for item in results.items] == [
        "node", "node", "node", "node", "xml", None, "b64",
    ]  # fmt: skip


def test_the_challenge_with_a_nonce() -> None:
    """Chal holds the scheme and the next nonce (DM_Protocol 9.4.2)."""
    (status,) = commands_of("oma-auth-md5-2-server-212-nextnonce.xml", Status)
    assert isinstance(status, Status)
    assert status.data == "212"
    assert status.chal
    assert status.chal.meta == Meta("b64", "syncml:auth-md5", next_nonce="LG3iZQhhdmKNHg==")


def test_a_sequence_keeps_its_commands_in_order() -> None:
    """An Alert and a Replace inside, the Type with white space around it trimmed."""
    (sequence,) = commands_of("oma-protocol-example-02.xml", Sequence)
    assert isinstance(sequence, Sequence)
    alert, replace = sequence.commands
    assert alert == Alert("2", "1101", (Item(), Item(data="Do you want to add the CNN access point?")))
    assert isinstance(replace, Replace)
    assert replace.meta == Meta("b64", "application/vnd.wap.connectivity-wbxml")


def test_escaped_documents_in_data_stay_escaped_once() -> None:
    """XML in Data that holds escaped XML itself is unescaped by exactly one level."""
    message = as_message("intune-server-m6-android-omadm.xml")
    assert message.header.meta == Meta(max_msg_size=524288)
    data = [item.data for command in message.commands if not isinstance(command, Status | Get)
            for item in command.items if item.meta and item.meta.format == "xml"]  # type: ignore[union-attr]  # fmt: skip
    assert len(data) == 1
    assert data[0]
    assert data[0].startswith(
        "<CertificateRequest><ConfigurationParametersDocument>&lt;ConfigurationParameters xmlns="
    )


def test_no_sample_needs_an_extension_but_the_known_ones() -> None:
    """All elements of the samples have their place in the types."""
    unknown: list[Extension] = []
    for name in READABLE:
        message = as_message(name)
        unknown += message.header.extra
        for command in message.commands:
            unknown += getattr(command, "extra", ())
            for item in getattr(command, "items", ()):
                unknown += item.extra
                unknown += item.meta.extra if item.meta else ()
    assert unknown == []


def test_every_command_with_everything_obeys_the_dtd(dtd: etree.DTD) -> None:
    """Optional children stand where the DTD orders them, in every command and in the header."""
    meta = Meta("int", "text/plain", "fatal", 5, "Tm9uY2U=", 6, 7)
    item = Item(Location("./a", "a"), Location("./b"), meta, "<&>", more_data=True)
    plain = (
        *[verb("1", (item, item), meta, no_resp=True) for verb in (Add, Copy, Delete, Get, Replace)],
        Exec("1", (item,), meta, no_resp=True, correlator="c"),
        Alert("1", "1226", (item, item), "c", no_resp=True),
    )
    cred, chal = Cred("x", meta), Chal(meta)
    commands = (
        *plain,
        Atomic("1", (*plain, Sequence("1", plain, meta, no_resp=True)), meta, no_resp=True),
        Status("1", "1", "1", "Get", "401", ("t", "u"), ("s", "r"), cred, chal, (item, item)),
        Results("1", "1", "1", (item, item), None, meta, "t", "s"),
    )
    header = SyncHdr(
        "1", "1", Location("t", "n"), Location("s", "n"), resp_uri="r", no_resp=True, cred=cred, meta=meta
    )
    message = Message(header, commands)
    assert_valid(dtd, write_message(message))
    assert read_message(write_message(message)) == message
