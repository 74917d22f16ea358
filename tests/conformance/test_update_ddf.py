"""`csp.tree.UPDATE_TREE` is the DDF of the Update CSP, apart from the differences named here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

import pytest

from csp.tree import UPDATE_TREE, Access, Node

if TYPE_CHECKING:
    from collections.abc import Iterator

DDF: Final = Path(__file__).parents[2].parent / "shared" / "data" / "ddf" / "update.xml"

pytestmark = pytest.mark.skipif(not DDF.exists(), reason="the description files are not at hand")

DIFFERENCES: Final = {
    ("./Vendor/MSFT/Update/ApprovedUpdates/{guid}", "access"): (
        "Get",
        "Add Get",
        "The Update CSP page of 2023-11-16 allows Add, which is the command that approves.",
    ),
    ("./Vendor/MSFT/Update/ApprovedUpdates/{guid}/ApprovedTime", "access"): (
        "Get",
        "Add Get",
        "The Update CSP page of 2023-11-16 allows Add.",
    ),
}
"""(path, property) to what the DDF says, what our tree says, and why."""


def properties_of(node: ET.Element) -> dict[str, str]:
    """The properties of a DDF node that a row also has, as text."""

    def tags(name: str) -> str:
        return " ".join(sorted(child.tag for child in node.findall(f"DFProperties/{name}/*")))

    return {
        "format": tags("DFFormat"),
        "access": tags("AccessType"),
        "occurrence": tags("Occurrence"),
        "scope": tags("Scope"),
        "default": str(node.findtext("DFProperties/DefaultValue")),
    }


def described(node: ET.Element, parent: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Path and properties of a DDF node and all below it; the unnamed node is the GUID."""
    path = f"{parent}/{node.findtext('NodeName') or '{guid}'}"
    yield path, properties_of(node)
    for child in node.findall("Node"):
        yield from described(child, path)


def names_of(access: Access) -> str:
    """An access as the DDF writes it, sorted."""
    return " ".join(sorted(str(flag.name).title() for flag in access))


def stated(row: Node) -> dict[str, str]:
    """The same properties of one of our rows."""
    return {
        "format": row.format,
        "access": names_of(row.access),
        "occurrence": row.occurrence,
        "scope": row.scope,
        "default": str(row.default),
    }


@pytest.fixture(scope="module")
def ddf() -> dict[str, dict[str, str]]:
    """The DDF's nodes by path, in document order."""
    root = ET.parse(DDF).getroot().find("Node")  # noqa: S314 - a file of the project, no DTD is loaded
    assert root is not None
    return dict(described(root, root.findtext("Path", "")))


def test_the_tree_has_the_nodes_of_the_ddf_in_their_order(ddf: dict[str, dict[str, str]]) -> None:
    """No node is missing, added, renamed or moved."""
    assert [row.path for row in UPDATE_TREE] == list(ddf)


@pytest.mark.parametrize("row", UPDATE_TREE, ids=lambda row: row.path)
def test_every_row_is_as_described(row: Node, ddf: dict[str, dict[str, str]]) -> None:
    """Format, access, occurrence, scope and default agree, node by node."""
    ours, theirs = stated(row), ddf[row.path]
    for name, value in ours.items():
        their, our, _ = DIFFERENCES.get((row.path, name), (value, value, ""))
        assert (theirs[name], value) == (their, our), name


def test_every_named_difference_is_one(ddf: dict[str, dict[str, str]]) -> None:
    """A difference that has gone must leave the list."""
    rows = {row.path: stated(row) for row in UPDATE_TREE}
    for (path, name), (theirs, ours, reason) in DIFFERENCES.items():
        assert (ddf[path][name], rows[path][name]) == (theirs, ours)
        assert theirs != ours
        assert reason
