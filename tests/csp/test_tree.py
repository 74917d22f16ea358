"""The Update tree is complete, consistent, and found by any form of an address."""

from __future__ import annotations

from dataclasses import replace

import pytest

from csp.errors import InvalidValue
from csp.locuri import LocURI
from csp.tree import (
    GUID,
    UPDATE_TREE,
    Access,
    Node,
    Occurrence,
    Scope,
    children_of,
    find_node,
    validate_value,
)
from csp.values import Range

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


def test_children_of_another_tree_are_its_own() -> None:
    """`children_of` looks in the rows it is given."""
    child = replace(ROOT, path=f"{ROOT.path}/New")
    assert children_of(ROOT, [ROOT, child, replace(ROOT, path=f"{child.path}/Below")]) == (child,)


@pytest.mark.parametrize(
    ("access", "allowed", "sentence"),
    [
        (Access.GET, Range(0, 7), "Update can only be read."),
        (Access.GET | Access.DELETE, None, "Update can only be read."),
        (Access.EXEC, None, "Update takes no value from a server."),
        (Access.ADD, Range(0, 7), "Update is '8', but must be a whole number from 0 to 7."),
        (Access.GET | Access.REPLACE, Range(0, 8), None),
        (Access.EXEC, Range(0, 8), None),
    ],
)
def test_a_value_is_checked_before_it_is_sent(
    access: Access, allowed: Range | None, sentence: str | None
) -> None:
    """A node that takes values takes those of its rule; every refusal is one sentence."""
    node = replace(ROOT, access=access, allowed=allowed)
    if sentence is None:
        validate_value(node, "8")
        return
    with pytest.raises(InvalidValue) as caught:
        validate_value(node, "8")
    assert caught.value.detail == sentence
