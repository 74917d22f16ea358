"""The tree `./DevInfo` as data: what every device says of itself in package 1 (DDF of the DevInfo CSP)."""

from __future__ import annotations

from typing import Final

from csp.tree import Access, Node, Occurrence, Scope

__all__ = ["DEVINFO_TREE"]

_ROOT: Final = "./DevInfo"
_SINCE: Final = "1511"


def _node(path: str, format_: str, description: str) -> Node:
    return Node(path, format_, Access.GET, Occurrence.ONE, Scope.PERMANENT, _SINCE, None, description)


DEVINFO_TREE: Final[tuple[Node, ...]] = (
    _node(_ROOT, "node", "What a device says of itself at the start of each session."),
    _node(
        f"{_ROOT}/DevId", "chr", "Identifier of the device, the same in every session and in its enrolment."
    ),
    _node(f"{_ROOT}/Man", "chr", "Manufacturer, or Unknown."),
    _node(f"{_ROOT}/Mod", "chr", "Model, or Unknown."),
    _node(f"{_ROOT}/DmV", "chr", "Version of the management client, which is not that of the protocol."),
    _node(f"{_ROOT}/Lang", "chr", "Language of the user interface, such as en-US."),
    _node(f"{_ROOT}/Ext", "node", "What Microsoft adds to the standard object."),
    _node(f"{_ROOT}/Ext/ICCID", "chr", "Number of the SIM card in the first cellular adapter."),
)
"""All read only and always there."""
