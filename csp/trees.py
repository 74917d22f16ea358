"""All trees this product knows, by name, and the node that an address means in any of them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from csp.devdetail import DEVDETAIL_TREE
from csp.devinfo import DEVINFO_TREE
from csp.dmclient import DMCLIENT_TREE
from csp.errors import InvalidValue, quoted
from csp.guid import is_guid
from csp.policy_tree import POLICY_TREE
from csp.reboot import REBOOT_TREE
from csp.tree import GUID, UPDATE_TREE, Node, validate_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csp.locuri import LocURI

__all__ = ["TREES", "node_at", "validate"]

TREES: Final[Mapping[str, tuple[Node, ...]]] = MappingProxyType(
    {
        "update": UPDATE_TREE,
        "policy": POLICY_TREE,
        "dmclient": DMCLIENT_TREE,
        "devinfo": DEVINFO_TREE,
        "devdetail": DEVDETAIL_TREE,
        "reboot": REBOOT_TREE,
    }
)
"""Name of a tree to its rows, each parent before its children."""


def _row_names(node: Node) -> tuple[str, ...]:
    """The names of a row as `LocURI.canonical` has them, in lower case."""
    return tuple(node.path.removeprefix("./").removeprefix("Device/").lower().split("/"))


_ROWS: Final = tuple((_row_names(node), node) for tree in TREES.values() for node in tree)


def _means(pattern: str, name: str) -> bool:
    if pattern == GUID:
        return is_guid(name)
    return pattern.startswith("{") or pattern == name.lower()


def node_at(loc_uri: LocURI) -> Node | None:
    """The row of any tree that describes this address, or None if none does.

    `./Device`, case and a query make no difference. Unlike `csp.tree.find_node` it knows every tree, and each
    node by the name of its DDF only.
    """
    names = loc_uri.canonical().segments
    for row, node in _ROWS:
        if len(row) == len(names) and all(map(_means, row, names)):
            return node
    return None


def validate(loc_uri: LocURI, value: str) -> None:
    """Pass if a server may send this value to this address; otherwise InvalidValue says in one sentence why not."""
    node = node_at(loc_uri)
    if node is None:
        raise InvalidValue(f"{quoted(str(loc_uri))} is no node of a tree that is known here.")
    validate_value(node, value)
