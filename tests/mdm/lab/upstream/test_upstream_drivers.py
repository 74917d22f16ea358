"""Drivers and driver sets as Microsoft Update offers them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mdm.lab.documents import Document, Identity
from mdm.lab.upstream_drivers import DriverSet

if TYPE_CHECKING:
    from conftest import Peer, Reply, StartPeer

AUDIO, FIRMWARE = (
    Identity("aaaaaaaa-0000-4000-8000-000000000001", 1),
    Identity("aaaaaaaa-0000-4000-8000-000000000002", 1),
)
SYSTEM = "bbbbbbbb-0000-4000-8000-000000000001"
OTHER_SYSTEM = "bbbbbbbb-0000-4000-8000-000000000002"
COMPUTER = "cccccccc-0000-4000-8000-000000000001"
SET = DriverSet(
    "dddddddd-0000-4000-8000-000000000001", frozenset({COMPUTER}), "<DriverSet a='1'>&amp;</DriverSet>"
)


def driver(identity: Identity, *hardware_ids: str) -> Document:
    """A Driver document of one system."""
    return Document(
        *identity,
        "<driver/>",
        update_type="Driver",
        categories=frozenset({SYSTEM}),
        hardware_ids=frozenset(hardware_ids),
    )


@pytest.fixture
def microsoft(start_peer: StartPeer) -> Peer:
    """A peer of Microsoft Update with two drivers."""
    return start_peer(driver(AUDIO, "hdaudio\\x"), driver(FIRMWARE, "uefi\\y", "uefi\\z"), flavour="mu")


def ids(array: str, item: str, values: dict[str, bool]) -> str:
    """An array of ids with their Delta flags."""
    inner = "".join(
        f"<{item}><Id>{key}</Id><Delta>{str(delta).lower()}</Delta></{item}>" for key, delta in values.items()
    )
    return f"<{array}>{inner}</{array}>"


def drivers(
    peer: Peer,
    pnp: dict[str, bool],
    *,
    systems: dict[str, bool] | None = None,
    computers: dict[str, bool] | None = None,
    anchor: str | None = None,
) -> Reply:
    """GetDriverIdList."""
    filters = (
        "<DssProtocolVersion/>",
        f"<Anchor>{anchor}</Anchor>" if anchor else "",
        ids("Categories", "IdAndDelta", systems or {}),
        ids("ComputerIds", "IdAndDelta", computers or {}),
        ids("PnpHardwareIds", "HardwareIdAndDelta", pnp),
    )
    return peer.call("GetDriverIdList", f"{peer.cookie()}<filter>{''.join(filters)}</filter>")


def set_data(peer: Peer, *guids: str) -> Reply:
    """GetDriverSetData."""
    inner = "".join(f"<guid>{each}</guid>" for each in guids)
    return peer.call("GetDriverSetData", f"{peer.cookie()}<driverSets>{inner}</driverSets>")


def guids(reply: Reply, array: str) -> list[str | None]:
    """The items of an array of guid."""
    return [each.text for each in reply.body.iterfind(f".//{{*}}{array}/{{*}}guid")]


def test_drivers_are_found_by_hardware(microsoft: Peer) -> None:
    """In any letter case; none are asked for, none are listed; ids nobody knows are ignored."""
    assert drivers(microsoft, {"HDAUDIO\\X": False, "PCI\\NONE": False}).identities() == [AUDIO]
    assert drivers(microsoft, {"uefi\\z": False, "hdaudio\\x": False}).identities() == [AUDIO, FIRMWARE]
    assert drivers(microsoft, {}).identities() == []


def test_systems_leave_out_drivers_of_others(microsoft: Peer) -> None:
    """An empty list is any system."""
    assert drivers(microsoft, {"hdaudio\\x": False}, systems={SYSTEM: False}).identities() == [AUDIO]
    assert drivers(microsoft, {"hdaudio\\x": False}, systems={OTHER_SYSTEM: False}).identities() == []


def test_an_anchor_leaves_what_is_new(microsoft: Peer) -> None:
    """Unless a hardware id or a system is new to the client."""
    anchor = drivers(microsoft, {}).text("Anchor")
    both = {"hdaudio\\x": True, "uefi\\y": True}
    assert drivers(microsoft, both, anchor=anchor).identities() == []
    assert drivers(microsoft, both | {"uefi\\y": False}, anchor=anchor).identities() == [FIRMWARE]
    assert drivers(microsoft, both, anchor=anchor, systems={SYSTEM: False}).identities() == [AUDIO, FIRMWARE]
    new = Identity(AUDIO.update_id, 2)
    microsoft.server.publish(driver(new, "hdaudio\\x"))
    assert drivers(microsoft, both, anchor=anchor).identities() == [new]


def test_sets_are_found_by_computer(microsoft: Peer) -> None:
    """New ones and removed ones since the anchor; their data on request."""
    before = drivers(microsoft, {}).text("Anchor")
    microsoft.server.offer_driver_set(SET)
    offered = drivers(microsoft, {}, computers={COMPUTER: True}, anchor=before)
    assert guids(offered, "NewDriverSets") == [SET.driver_set_id]
    anchor = offered.text("Anchor")
    again = drivers(microsoft, {}, computers={COMPUTER: True}, anchor=anchor)
    assert guids(again, "NewDriverSets") == guids(again, "RemovedDriverSets") == []
    newly = drivers(microsoft, {}, computers={COMPUTER: False}, anchor=anchor)
    assert guids(newly, "NewDriverSets") == [SET.driver_set_id]
    assert guids(drivers(microsoft, {}), "NewDriverSets") == []
    assert set_data(microsoft, SET.driver_set_id).texts("DriverSetXml") == [SET.xml]
    microsoft.server.remove_driver_set(SET.driver_set_id)
    gone = drivers(microsoft, {}, computers={COMPUTER: True}, anchor=anchor)
    assert guids(gone, "RemovedDriverSets") == [SET.driver_set_id]
    assert set_data(microsoft, SET.driver_set_id).fault == ("InvalidParameters", "driverSets")


def test_a_full_list_may_come_without_an_anchor(start_peer: StartPeer) -> None:
    """As Microsoft Update's does at times; a delta always has one."""
    peer = start_peer(driver(AUDIO, "hdaudio\\x"), flavour="mu", driver_anchors=False)
    full = drivers(peer, {"hdaudio\\x": False})
    assert full.identities() == [AUDIO]
    assert full.texts("Anchor") == []
    anchor = peer.revisions("<GetConfig>true</GetConfig><Get63LanguageOnly>false</Get63LanguageOnly>").text(
        "Anchor"
    )
    assert drivers(peer, {}, anchor=anchor).texts("Anchor")


def test_too_many_ids_are_refused(microsoft: Peer) -> None:
    """450 hardware ids, 200 computers, 100 sets."""
    assert drivers(microsoft, {f"a{n}": False for n in range(450)}).identities() == []
    assert drivers(microsoft, {f"a{n}": False for n in range(451)}).fault == ("InvalidParameters", "filter")
    computers = {f"cccccccc-0000-4000-8000-{n:012}": False for n in range(201)}
    assert drivers(microsoft, {}, computers=computers).fault == ("InvalidParameters", "filter")
    assert set_data(microsoft, *list(computers)[:101]).fault == ("TooManyIds", "")
    assert set_data(microsoft).fault == ("InvalidParameters", "driverSets")


def test_the_version_must_be_sent(microsoft: Peer) -> None:
    """Empty as it is, DssProtocolVersion may not be left out."""
    reply = microsoft.call("GetDriverIdList", f"{microsoft.cookie()}<filter><Categories/></filter>")
    assert reply.fault == ("InvalidParameters", "filter")


def test_a_wsus_has_no_driver_service(peer: Peer) -> None:
    """It says so as ASP.NET does, without an ErrorCode."""
    assert drivers(peer, {}).fault == (None, None)
    assert set_data(peer, COMPUTER).fault == (None, None)
