"""`./DevInfo` is eight nodes that can only be read."""

from __future__ import annotations

import pytest

from csp.devinfo import DEVINFO_TREE
from csp.errors import InvalidValue
from csp.tree import Access, Occurrence, Scope, validate_value


def test_the_nodes_are_those_of_package_1_and_one_more() -> None:
    """What a device sends at the start of a session is described, and the extension."""
    assert [node.path for node in DEVINFO_TREE] == [
        "./DevInfo",
        *(f"./DevInfo/{name}" for name in ("DevId", "Man", "Mod", "DmV", "Lang", "Ext", "Ext/ICCID")),
    ]


def test_a_server_changes_none_of_them() -> None:
    """All are permanent, there once, and refuse a value."""
    for node in DEVINFO_TREE:
        assert (node.access, node.occurrence, node.scope) == (
            Access.GET,
            Occurrence.ONE,
            Scope.PERMANENT,
        )
        with pytest.raises(InvalidValue, match=rf"^{node.name} can only be read\.$"):
            validate_value(node, "x")
