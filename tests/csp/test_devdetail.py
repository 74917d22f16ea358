"""`./DevDetail` is read only but for two names of the computer."""

from __future__ import annotations

import pytest

from csp.devdetail import DEVDETAIL_TREE
from csp.errors import InvalidValue
from csp.tree import Access, Scope, validate_value

BY_NAME = {node.name: node for node in DEVDETAIL_TREE}


def test_what_the_bridge_reads_is_described() -> None:
    """Build and edition, by which updates are chosen, are there in every Windows that has the tree."""
    assert BY_NAME["SwV"].path == "./DevDetail/SwV"
    assert BY_NAME["OSPlatform"].path == "./DevDetail/Ext/Microsoft/OSPlatform"
    assert {BY_NAME[name].since for name in ("SwV", "OSPlatform")} == {"1511"}
    assert len(DEVDETAIL_TREE) == len(BY_NAME) == 36


def test_two_nodes_can_be_written() -> None:
    """Replace is allowed on the names of the computer and nowhere else; nothing can be added or deleted."""
    assert [node.name for node in DEVDETAIL_TREE if node.access != Access.GET] == [
        "DeviceName",
        "DNSComputerName",
    ]
    assert BY_NAME["DNSComputerName"].access == Access.GET | Access.REPLACE


def test_what_depends_on_the_wireless_connection_comes_and_goes() -> None:
    """Its addresses are dynamic; all else is permanent."""
    assert {node.name for node in DEVDETAIL_TREE if node.scope is Scope.DYNAMIC} == {
        "WlanIPv4Address",
        "WlanIPv6Address",
        "WlanDnsSuffix",
        "WlanSubnetMask",
    }


@pytest.mark.parametrize("name", ["PC-17", "a" * 63, "Shop%RAND:6%", "%SERIAL%"])
def test_a_computer_name_passes(name: str) -> None:
    """Up to 63 characters, and the two macros."""
    validate_value(BY_NAME["DNSComputerName"], name)


@pytest.mark.parametrize("name", ["", "a" * 64, "my computer", "pc.example", "%RAND%", "%USER%"])
def test_what_is_no_computer_name_is_explained(name: str) -> None:
    """Too long, other characters, and macros that Windows does not have."""
    with pytest.raises(InvalidValue, match=r"^DNSComputerName is .*, but must be 1 to 63 letters"):
        validate_value(BY_NAME["DNSComputerName"], name)
