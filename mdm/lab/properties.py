"""The properties of a node that Windows answers for: what a Get with `?prop=` brings (TND 1.2.1 chapter 7).

Name, Format and Type are there for every node. ACL is not, because Windows has no access control lists
(MS-MDM 3.1.7.1), and Size, Title, TStamp and VerNo are a device's own choice (TND 7.2), which this one has not made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from csp.trees import node_at

if TYPE_CHECKING:
    from csp.locuri import LocURI

__all__ = ["PROPERTIES", "value_of"]

PROPERTIES: Final = frozenset({"Format", "Name", "Type"})
"""The properties a Get is answered with; any other gets 406 (TND 7.3)."""

_LEAF_TYPE: Final = "text/plain"


def value_of(prop: str, at: LocURI, format_: str) -> str:
    """The value of one of `PROPERTIES` of the node at this address; empty where an interior node has no type."""
    if prop == "Name":
        return at.segments[-1]
    if prop == "Format":
        return format_
    if format_ != "node":
        return _LEAF_TYPE
    row = node_at(at)
    return (row.mime if row is not None else None) or ""
