"""The tree `./DevDetail` as data: what a device says of itself when asked (DDF of the DevDetail CSP)."""

from __future__ import annotations

from typing import Final

from csp.tree import Access, Node, Occurrence, Scope
from csp.values import AnyText, Text

__all__ = ["DEVDETAIL_TREE"]

_ROOT: Final = "./DevDetail"
_URI: Final = f"{_ROOT}/URI"
_EXT: Final = f"{_ROOT}/Ext"
_MS: Final = f"{_EXT}/Microsoft"
_OLDEST: Final = "1511"

_WRITABLE: Final = Access.GET | Access.REPLACE
# 63 is the longest label of the DNS; the macros stand for characters that the device puts in.
_DNS_NAME: Final = Text(
    r"([0-9A-Za-z-]|%RAND:[0-9]{1,2}%|%SERIAL%){1,63}",
    "1 to 63 letters, digits and hyphens, with %RAND:n% for n random digits and %SERIAL% for the serial number",
)


def _node(
    path: str, format_: str, description: str, *, since: str = _OLDEST, scope: Scope = Scope.PERMANENT
) -> Node:
    return Node(path, format_, Access.GET, Occurrence.ONE, scope, since, None, description)


# fmt: off
DEVDETAIL_TREE: Final[tuple[Node, ...]] = (
    _node(_ROOT, "node", "What a device says of itself when asked."),
    _node(_URI, "node", "Limits of the addresses that the device understands."),
    _node(f"{_URI}/MaxDepth", "chr", "Most names in an address, or 0 for no limit."),
    _node(f"{_URI}/MaxTotLen", "chr", "Most characters in an address, or 0 for no limit."),
    _node(f"{_URI}/MaxSegLen", "chr", "Most characters in one name of an address, or 0 for no limit."),
    _node(f"{_ROOT}/DevTyp", "chr", "Product name that the manufacturer gave the device."),
    _node(f"{_ROOT}/OEM", "chr", "Manufacturer of the device."),
    _node(f"{_ROOT}/FwV", "chr", "Version of the firmware, which is the BIOS on a computer."),
    _node(f"{_ROOT}/SwV", "chr", "Windows build with its revision, such as 10.0.26100.4652."),
    _node(f"{_ROOT}/HwV", "chr", "Version of the hardware, which is the BIOS on a computer."),
    _node(f"{_ROOT}/LrgObj", "bool", "Whether the device takes and sends values in several messages."),
    _node(_EXT, "node", "What manufacturers add to the standard object."),
    _node(_MS, "node", "What Microsoft adds to the standard object."),
    _node(f"{_MS}/MobileID", "chr", "Subscriber number in the cellular network, absent without one."),
    _node(f"{_MS}/RadioSwV", "chr", "Version of the radio's software."),
    _node(f"{_MS}/Resolution", "chr", "Width and height of the screen, such as 1920x1080."),
    _node(f"{_MS}/CommercializationOperator", "chr", "Mobile operator that sold the device, absent without one."),
    _node(f"{_MS}/ProcessorArchitecture", "int", "Architecture of the processor as Windows numbers it."),
    _node(f"{_MS}/ProcessorType", "int", "Type of the processor as Windows numbers it in SYSTEM_INFO."),
    _node(f"{_MS}/OSPlatform", "chr", "Name of the Windows edition, such as Windows 11 Enterprise."),
    _node(f"{_MS}/LocalTime", "chr", "Local time of the device in ISO 8601."),
    Node(f"{_MS}/DeviceName", "chr", _WRITABLE, Occurrence.ONE, Scope.PERMANENT, _OLDEST, None,
         "Name that the user gave the device, which desktops do not let a server replace.", allowed=AnyText()),
    Node(f"{_MS}/DNSComputerName", "chr", _WRITABLE, Occurrence.ONE, Scope.PERMANENT, "2004", None,
         "Name of the computer in the network, which changes at the next restart.", allowed=_DNS_NAME),
    _node(f"{_MS}/TotalStorage", "int", "Megabytes on the first internal drive, on mobile devices only."),
    _node(f"{_MS}/FreeStorage", "int", "Free megabytes on the first internal drive."),
    _node(f"{_MS}/TotalRAM", "int", "Megabytes of memory that Windows can use."),
    _node(f"{_MS}/SMBIOSSerialNumber", "chr", "Serial number of the device.", since="1809"),
    _node(f"{_MS}/SMBIOSVersion", "chr", "Version of the BIOS.",
          since="W11 21H2 / 2004+1387 / 20H2+1387 / 21H1+1387 / 21H2+1387"),
    _node(f"{_MS}/SystemSKU", "chr", "Stock number that the manufacturer gave the model."),
    _node(f"{_EXT}/WLANMACAddress", "chr", "Hardware address of the wireless connection in use."),
    _node(f"{_EXT}/VoLTEServiceSetting", "bool", "Whether calls over LTE are on, which only operators' servers see."),
    _node(f"{_EXT}/WlanIPv4Address", "chr", "IPv4 address of the wireless connection in use.", scope=Scope.DYNAMIC),
    _node(f"{_EXT}/WlanIPv6Address", "chr", "IPv6 address of the wireless connection in use.", scope=Scope.DYNAMIC),
    _node(f"{_EXT}/WlanDnsSuffix", "chr", "DNS suffix of the wireless connection in use.", scope=Scope.DYNAMIC),
    _node(f"{_EXT}/WlanSubnetMask", "chr", "Subnet mask of the wireless connection in use.", scope=Scope.DYNAMIC),
    _node(f"{_EXT}/DeviceHardwareData", "chr", "Hardware hash of the device in base64, as Autopilot takes it.",
          since="1703"),
)
# fmt: on
"""Read only but for two names; a leaf without a value answers 404."""
