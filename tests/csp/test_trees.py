"""Every tree is well made, and any address finds the one row that describes it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csp.errors import InvalidValue
from csp.locuri import LocURI
from csp.tree import GUID, UPDATE_TREE, Access, Node, find_node
from csp.trees import TREES, node_at, validate

ID = "a317dafe-baf4-453f-b232-a7075efae36e"
ROWS = [node for tree in TREES.values() for node in tree]

rows = pytest.mark.parametrize("node", ROWS, ids=lambda node: node.path)


def uri(text: str) -> LocURI:
    """An address as it stands on the wire."""
    return LocURI.parse(text)


def test_the_trees_are_those_of_the_product() -> None:
    """Each has a name, and the first row of each is a root."""
    assert {name: tree[0].path for name, tree in TREES.items()} == {
        "update": "./Vendor/MSFT/Update",
        "policy": "./Device/Vendor/MSFT/Policy/Config/Update",
        "dmclient": "./User/Vendor/MSFT/DMClient",
        "devinfo": "./DevInfo",
        "devdetail": "./DevDetail",
        "reboot": "./Device/Vendor/MSFT/Reboot",
    }


def test_every_row_explains_itself_in_one_sentence() -> None:
    """For IT, in plain characters that any terminal shows."""
    wrong = [
        node.path
        for node in ROWS
        if not re.fullmatch(r"\S(?:(?!\. ).)*\S\.", node.description) or not node.description.isascii()
    ]
    assert wrong == []


def test_every_row_is_well_made() -> None:
    """Its format is one of DDF's, it can be done something with, and Replace means that values have a rule."""
    names: dict[str, set[str]] = {}
    for node in ROWS:
        names.setdefault(node.parent, set()).add(node.name)
    for node in ROWS:
        assert node.format in {"node", "chr", "int", "bool", "time", "null"}, node
        assert node.access, node
        assert not (node.access & Access.REPLACE and node.allowed is None), node
        assert {need.name for need in node.needs} <= names[node.parent] - {node.name}, node


@rows
def test_every_row_finds_itself(node: Node) -> None:
    """The address of a row, with names for the wildcards, leads back to it."""
    path = node.path.replace(GUID, f"%7b{ID}%7d").replace("{ProviderID}", "Example%20MDM")
    assert node_at(uri(path)) is node


@pytest.mark.parametrize("node", UPDATE_TREE, ids=lambda node: node.path)
def test_the_update_tree_is_found_by_both(node: Node) -> None:
    """`find_node` and `node_at` agree where both look."""
    address = uri(node.path.replace(GUID, ID))
    assert find_node(address) is node_at(address) is node


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("./Vendor/MSFT/Reboot/RebootNow", "./Device/Vendor/MSFT/Reboot/RebootNow"),
        ("./vendor/msft/policy/result/update/productversion?prop=Format", "Result/Update/ProductVersion"),
        (
            f"./Vendor/MSFT/DMClient/Provider/{ID}/UPN",
            "./Device/Vendor/MSFT/DMClient/Provider/{ProviderID}/UPN",
        ),
        ("./Vendor/MSFT/DMClient/Unenroll", "./Device/Vendor/MSFT/DMClient/Unenroll"),
        (
            "./User/Vendor/MSFT/DMClient/Provider/x/FirstSyncStatus/IsSyncDone",
            "./User/Vendor/MSFT/DMClient/Provider/{ProviderID}/FirstSyncStatus/IsSyncDone",
        ),
    ],
)
def test_an_address_is_found_in_any_form(text: str, path: str) -> None:
    """Prefix, case and query make no difference; a server may have any name, also a GUID."""
    node = node_at(uri(text))
    assert node is not None
    assert node.path.endswith(path)


@pytest.mark.parametrize(
    "text",
    [
        "./Vendor",
        "./DevInfo/Nothing",
        "./DevInfo/DevId/Nothing",
        "./User/Vendor/MSFT/Reboot",
        "./Vendor/MSFT/Update/ApprovedUpdates/abc",
        "./User/Vendor/MSFT/DMClient/Provider/x/UPN",
    ],
)
def test_what_no_tree_has_is_not_found(text: str) -> None:
    """Other addresses, and names that are not GUIDs where one must stand, have no row."""
    assert node_at(uri(text)) is None
    with pytest.raises(InvalidValue) as caught:
        validate(uri(text), "x")
    assert caught.value.detail == f"'{text}' is no node of a tree that is known here."


@given(
    st.lists(
        st.sampled_from(["Vendor", "MSFT", "Update", "DevInfo", "{guid}", ID, "é"]), min_size=1, max_size=8
    )
)
def test_any_address_is_found_or_not(names: list[str]) -> None:
    """No address raises, and what is found is as deep as what was asked for."""
    node = node_at(LocURI(tuple(names)))
    assert node is None or node.path.removeprefix("./").count("/") + 1 == len(names)


def test_a_value_is_checked_by_its_address() -> None:
    """What the row allows passes, anything else is one sentence."""
    address = uri("./Vendor/MSFT/Policy/Config/Update/ActiveHoursStart")
    validate(address, "8")
    with pytest.raises(InvalidValue) as caught:
        validate(address, "24")
    assert caught.value.detail == "ActiveHoursStart is '24', but must be a whole number from 0 to 23."
