"""What a virtual device says of its machine: the leaves of DevInfo and DevDetail that its Windows has."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from csp.locuri import LocURI
from csp.trees import node_at
from mdm.lab.dice import Dice

if TYPE_CHECKING:
    from mdm.lab.store import Identity
    from mdm.lab.versions import Build

__all__ = ["device_info", "hardware_facts", "serial_number"]

_EXT = "./DevDetail/Ext/Microsoft"


def device_info(identity: Identity) -> dict[str, str]:
    """What package 1 says of the device, in Windows' order."""
    return {
        "./DevInfo/DevId": identity.device_id,
        "./DevInfo/Man": identity.manufacturer,
        "./DevInfo/Mod": identity.model,
        "./DevInfo/DmV": "1.3",
        "./DevInfo/Lang": identity.language,
    }


def serial_number(identity: Identity) -> str:
    """Seven characters that belong to the machine: a new enrolment, even under another DeviceID, keeps them."""
    machine = identity.hardware_id or identity.device_id
    return Dice(0).bytes(f"serial/{machine}")[:4].hex().upper()[:7]


def hardware_facts(identity: Identity, build: Build, provider_id: str) -> dict[str, str]:
    """LocURI to value of all read-only leaves of DevInfo, DevDetail and HWDevID that a Windows of this build has."""
    facts = {
        **device_info(identity),
        "./DevDetail/URI/MaxDepth": "0",
        "./DevDetail/URI/MaxTotLen": "0",
        "./DevDetail/URI/MaxSegLen": "0",
        "./DevDetail/DevTyp": identity.model,
        "./DevDetail/OEM": identity.manufacturer,
        "./DevDetail/FwV": "1.14.0",
        "./DevDetail/SwV": str(build),
        "./DevDetail/HwV": "1.14.0",
        "./DevDetail/LrgObj": "true",
        f"{_EXT}/ProcessorArchitecture": "9",
        f"{_EXT}/ProcessorType": "8664",
        f"{_EXT}/OSPlatform": build.edition,
        f"{_EXT}/DeviceName": identity.name,
        f"{_EXT}/DNSComputerName": identity.name,
        f"{_EXT}/TotalRAM": "16384",
        f"{_EXT}/SMBIOSSerialNumber": serial_number(identity),
        f"{_EXT}/SMBIOSVersion": "1.14.0",
    }
    if identity.hardware_id:
        facts["./Vendor/MSFT/DMClient/HWDevID"] = identity.hardware_id
        provider = LocURI(("Vendor", "MSFT", "DMClient", "Provider", provider_id, "HWDevID"))
        facts[str(provider)] = identity.hardware_id
    return {uri: value for uri, value in facts.items() if build.has(_since(uri))}


@cache
def _since(uri: str) -> str:
    node = node_at(LocURI.parse(uri))
    assert node is not None, uri  # noqa: S101 - each of them stands in a DDF
    return node.since
