"""The Update tree is complete, consistent, and found by any form of an address."""

from __future__ import annotations

import pytest

from csp.locuri import LocURI
from csp.tree import GUID, UPDATE_TREE, Access, Node, Occurrence, Scope, children_of, find_node

ROOT = UPDATE_TREE[0]
ID = "a317dafe-baf4-453f-b232-a7075efae36e"


def find(text: str) -> Node | None:
    """The row for an address on the wire."""
    return find_node(LocURI.parse(text))


@pytest.mark.parametrize("node", UPDATE_TREE, ids=lambda node: node.path)
def test_every_row_finds_itself(node: Node) -> None:
    """The address of a row, with a GUID for the wildcard, leads back to it."""
    assert find(node.path.replace(GUID, f"%7b{ID}%7d")) is node


@pytest.mark.parametrize("node", UPDATE_TREE, ids=lambda node: node.path)
def test_every_row_is_consistent(node: Node) -> None:
    """Interior nodes are exactly those with children, wildcards are dynamic, and Replace is allowed nowhere."""
    assert (node.format == "node") == (bool(children_of(node)))
    assert Access.REPLACE not in node.access
    assert (Access.EXEC in node.access) == (node.format == "null")
    assert (node.scope is Scope.DYNAMIC) == (GUID in node.path)
    assert (node.occurrence is Occurrence.ZERO_OR_MORE) == (node.name == GUID)
    assert node.since in {"1507", "1703", "1803"}
    assert node.description.endswith(".")


def test_children_make_the_whole_tree() -> None:
    """Walking from the root reaches each of the 27 rows once, in their order."""

    def walk(node: Node) -> list[Node]:
        return [node, *(found for child in children_of(node) for found in walk(child))]

    assert tuple(walk(ROOT)) == UPDATE_TREE
    assert len(UPDATE_TREE) == 27


@pytest.mark.parametrize(
    "text",
    [
        f"./Vendor/MSFT/Update/ApprovedUpdates/{ID}",
        f"./Device/Vendor/MSFT/Update/ApprovedUpdates/{ID.upper()}",
        f"./vendor/msft/update/approvedupdates/%7B{ID.upper()}%7D",
        f"./Vendor/MSFT/Update/ApprovedUpdates/%7b{ID}%7d?list=StructData",
    ],
)
def test_an_approval_is_found_in_any_form(text: str) -> None:
    """Prefix, case, GUID form and query make no difference."""
    node = find(text)
    assert node is not None
    assert node.path == "./Vendor/MSFT/Update/ApprovedUpdates/{guid}"
    assert node.access == Access.ADD | Access.GET


@pytest.mark.parametrize("name", ["Status", "State", "STATE"])
def test_the_failure_state_has_two_names(name: str) -> None:
    """`Status` of the DDF and `State` of the newer page are one row."""
    node = find(f"./Vendor/MSFT/Update/FailedUpdates/{ID}/{name}")
    assert node is not None
    assert (node.name, node.other_name) == ("Status", "State")


@pytest.mark.parametrize(
    "text",
    [
        "./Vendor/MSFT",
        "./Vendor/MSFT/Policy",
        "./User/Vendor/MSFT/Update",
        "./Vendor/MSFT/Update/UpdateServiceUrl",
        "./Vendor/MSFT/Update/ApprovedUpdates/abc",
        "./Vendor/MSFT/Update/ApprovedUpdates/%7bguid%7d",
        f"./Vendor/MSFT/Update/ApprovedUpdates/{ID}/Type",
        f"./Vendor/MSFT/Update/{ID}",
    ],
)
def test_what_the_csp_lacks_is_not_found(text: str) -> None:
    """Other CSPs, the user's tree, and names that are not GUIDs where one must stand have no row."""
    assert find(text) is None


def test_a_leaf_has_no_children() -> None:
    """`children_of` a leaf is empty, also where another path starts with its name."""
    quality = find("./Vendor/MSFT/Update/Rollback/QualityUpdate")
    assert quality is not None
    assert children_of(quality) == ()
