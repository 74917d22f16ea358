"""What a virtual device says of its machine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mdm.lab.hardware import device_info, hardware_facts, serial_number
from mdm.lab.store import Identity
from mdm.lab.versions import Build

PC = Identity("B5B954E81FBCB94EB79BD08BE625F4EE", "PC-1", "10.0.26100.4652", "Dell Inc.", "Latitude 5450")
ENROLLED = replace(PC, hardware_id="8F" * 32)
EXT = "./DevDetail/Ext/Microsoft"


def test_package_1_says_the_five_leaves_in_windows_order() -> None:
    """DevId first, the version of the client before the language."""
    assert list(device_info(PC).items()) == [
        ("./DevInfo/DevId", PC.device_id),
        ("./DevInfo/Man", "Dell Inc."),
        ("./DevInfo/Mod", "Latitude 5450"),
        ("./DevInfo/DmV", "1.3"),
        ("./DevInfo/Lang", "en-US"),
    ]


@pytest.mark.parametrize(
    ("build", "serial", "dns", "bios"),
    [
        ("10.0.26100.4652", True, True, True),
        ("10.0.19045.6000", True, True, True),
        ("10.0.19041.100", True, True, False),
        ("10.0.17763.1", True, False, False),
        ("10.0.17134.1", False, False, False),
        ("10.0.14393.7606", False, False, False),
    ],
)
def test_a_leaf_is_there_since_the_release_that_brought_it(
    build: str, *, serial: bool, dns: bool, bios: bool
) -> None:
    """1809 brought the serial number, 2004 the name in the network, updates of 2021 the version of the BIOS."""
    facts = hardware_facts(PC, Build.parse(build), "CSPBridge")
    assert facts["./DevDetail/SwV"] == build
    assert facts[f"{EXT}/DeviceName"] == "PC-1"
    assert (f"{EXT}/SMBIOSSerialNumber" in facts) is serial
    assert (facts.get(f"{EXT}/DNSComputerName") == "PC-1") is dns
    assert (f"{EXT}/SMBIOSVersion" in facts) is bios


def test_a_machine_keeps_its_serial_number() -> None:
    """It belongs to the hardware: another DeviceID on the same machine has the same, another machine another."""
    assert serial_number(ENROLLED) == serial_number(replace(ENROLLED, device_id="0" * 32))
    assert serial_number(ENROLLED) != serial_number(replace(ENROLLED, hardware_id="8E" * 32))
    assert serial_number(PC) != serial_number(ENROLLED)
    assert len(serial_number(PC)) == 7


def test_only_an_enrolled_machine_shows_its_hardware_id() -> None:
    """Below the server and, since 1709, beside it; the server's name is escaped in the address."""
    new, old = Build.parse("26100"), Build.parse("14393")
    own = {uri for uri, value in hardware_facts(ENROLLED, new, "A B").items() if value == "8F" * 32}
    assert own == {"./Vendor/MSFT/DMClient/HWDevID", "./Vendor/MSFT/DMClient/Provider/A%20B/HWDevID"}
    below = {uri for uri in hardware_facts(ENROLLED, old, "A B") if uri.endswith("HWDevID")}
    assert below == {"./Vendor/MSFT/DMClient/Provider/A%20B/HWDevID"}
    assert not any("HWDevID" in uri for uri in hardware_facts(PC, new, "A B"))
