"""Nodes of the management tree as data, and the first tree made of them: `./Vendor/MSFT/Update`.

Two sources describe the Update CSP and differ: the DDF (Windows 10 1803, MIME `com.microsoft/1.1/MDM/Update`)
and the Update CSP page of 2023-11-16. Where they do, the row takes the union and its comment names the
difference. `Replace` is allowed on no node of it. Device scope only. The other trees are in modules of their
own and together in `csp.trees`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag, StrEnum, auto
from typing import TYPE_CHECKING, Final

from csp.errors import InvalidValue, quoted
from csp.guid import is_guid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from csp.locuri import LocURI
    from csp.values import Allowed

__all__ = [
    "GUID",
    "UPDATE_TREE",
    "Access",
    "Merge",
    "Need",
    "Node",
    "Occurrence",
    "Scope",
    "children_of",
    "find_node",
    "validate_value",
]

GUID: Final = "{guid}"
"""The segment of a `Node.path` that stands for any GUID, in any of its forms."""


class Access(IntFlag):
    """Commands a node accepts (DDF AccessType); any other answers 405."""

    ADD = auto()
    DELETE = auto()
    EXEC = auto()
    GET = auto()
    REPLACE = auto()


class Occurrence(StrEnum):
    """How often a node stands under its parent (DDF Occurrence)."""

    ONE = "One"
    ZERO_OR_ONE = "ZeroOrOne"
    ZERO_OR_MORE = "ZeroOrMore"


class Scope(StrEnum):
    """Whether commands can make and remove the node (DDF Scope)."""

    PERMANENT = "Permanent"
    DYNAMIC = "Dynamic"


class Merge(StrEnum):
    """Which value wins when several providers set a node (DDF ConflictResolution)."""

    LAST = "LastWrite"
    LOWEST = "LowestValueMostSecure"
    HIGHEST = "HighestValueMostSecure"


@dataclass(frozen=True, slots=True)
class Need:
    """What a node beside this one must be, or it has no effect (DDF DependencyBehavior)."""

    name: str
    """Name of the other node, which has the same parent."""
    values: tuple[int, ...] = ()
    """One of these; empty means any value."""
    absent: bool = False
    """True if the other node must not be set at all."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a tree; a node whose name is in braces stands for all of its kind."""

    path: str
    """From the root `.` on, unescaped; `{guid}` stands for any GUID, any other name in braces for any name."""
    format: str
    """`node`, `int`, `chr`, `bool`, `time` or `null`."""
    access: Access
    occurrence: Occurrence
    scope: Scope
    since: str
    """Windows versions that have it, by the names of `csp.releases`; `+n` is the build revision it came with."""
    default: str | None
    """What an unconfigured device has, as the DDF writes it."""
    description: str
    """What it is for, in one sentence for IT."""
    other_name: str | None = None
    """Last segment in the newer source, where the two sources call one node by two names."""
    allowed: Allowed | None = None
    """What may be written into it, or what it may show; None where a server writes nothing."""
    merge: Merge | None = None
    """None where the source does not say."""
    needs: tuple[Need, ...] = ()
    mime: str | None = None
    """The type of an interior node that has one, with the version of its CSP."""
    ignores_case: bool = False
    """True where the DDF says that its name compares without case."""

    @property
    def name(self) -> str:
        """The last segment."""
        return self.path.rpartition("/")[2]

    @property
    def parent(self) -> str:
        """The path without the last segment."""
        return self.path.rpartition("/")[0]


_ADD, _DELETE, _EXEC, _GET = Access.ADD, Access.DELETE, Access.EXEC, Access.GET
_ONE, _ZERO_OR_ONE, _ZERO_OR_MORE = Occurrence.ONE, Occurrence.ZERO_OR_ONE, Occurrence.ZERO_OR_MORE
_PERMANENT, _DYNAMIC = Scope.PERMANENT, Scope.DYNAMIC

_ROOT: Final = "./Vendor/MSFT/Update"
_APPROVED: Final = f"{_ROOT}/ApprovedUpdates"
_FAILED: Final = f"{_ROOT}/FailedUpdates"
_INSTALLED: Final = f"{_ROOT}/InstalledUpdates"
_INSTALLABLE: Final = f"{_ROOT}/InstallableUpdates"
_PENDING: Final = f"{_ROOT}/PendingRebootUpdates"
_ROLLBACK: Final = f"{_ROOT}/Rollback"

_REVISION: Final = "RevisionNumber of the UpdateIdentity."

# fmt: off
UPDATE_TREE: Final[tuple[Node, ...]] = (
    Node(_ROOT, "node", _GET, _ONE, _PERMANENT, "1507", None, "The Update CSP.",
         mime="com.microsoft/1.1/MDM/Update"),
    # Delete is in the DDF only; what it does to a permanent node is not documented.
    Node(_APPROVED, "node", _ADD | _DELETE | _GET, _ONE, _PERMANENT, "1507", None,
         "Approved updates; approving accepts the licence terms for the end user."),
    # Add is in the newer page only, but it is the Add that approves, and devices accept it. Neither source
    # has Delete: revoking is undocumented.
    Node(f"{_APPROVED}/{GUID}", "node", _ADD | _GET, _ZERO_OR_MORE, _DYNAMIC, "1507", None,
         "UpdateID of an approved update, or the GUID of an approved classification."),
    # Add is in the newer page only.
    Node(f"{_APPROVED}/{GUID}/ApprovedTime", "time", _ADD | _GET, _ZERO_OR_ONE, _DYNAMIC, "1507", "0",
         "When the update was approved."),
    Node(_FAILED, "node", _GET, _ONE, _PERMANENT, "1507", None,
         "Approved updates that failed to download or install."),
    Node(f"{_FAILED}/{GUID}", "node", _GET, _ZERO_OR_MORE, _DYNAMIC, "1507", None,
         "UpdateID of a failed update.", ignores_case=True),
    Node(f"{_FAILED}/{GUID}/HResult", "int", _GET, _ONE, _DYNAMIC, "1507", "0", "HRESULT of the failure."),
    # `Status` in the DDF, `State` in the newer page: one node, never to be addressed directly.
    Node(f"{_FAILED}/{GUID}/Status", "int", _GET, _ONE, _DYNAMIC, "1507", None,
         "How far the update got, as a bit value of UpdateStatus.", "State", ignores_case=True),
    Node(f"{_FAILED}/{GUID}/RevisionNumber", "int", _GET, _ONE, _DYNAMIC, "1703", None, _REVISION),
    Node(_INSTALLED, "node", _GET, _ONE, _PERMANENT, "1507", None, "Installed updates."),
    Node(f"{_INSTALLED}/{GUID}", "node", _GET, _ZERO_OR_MORE, _DYNAMIC, "1507", None,
         "UpdateID of an installed update."),
    Node(f"{_INSTALLED}/{GUID}/RevisionNumber", "int", _GET, _ONE, _DYNAMIC, "1703", None, _REVISION),
    Node(_INSTALLABLE, "node", _GET, _ONE, _PERMANENT, "1507", None,
         "Updates that are applicable and not installed, approved or not."),
    Node(f"{_INSTALLABLE}/{GUID}", "node", _GET, _ZERO_OR_MORE, _DYNAMIC, "1507", None,
         "UpdateID of an installable update."),
    Node(f"{_INSTALLABLE}/{GUID}/Type", "int", _GET, _ONE, _DYNAMIC, "1507", None,
         "0 none, 1 security, 2 critical."),
    Node(f"{_INSTALLABLE}/{GUID}/RevisionNumber", "int", _GET, _ONE, _DYNAMIC, "1507", None, _REVISION),
    Node(_PENDING, "node", _GET, _ONE, _PERMANENT, "1507", None,
         "Updates that are installed and wait for a restart."),
    Node(f"{_PENDING}/{GUID}", "node", _GET, _ZERO_OR_MORE, _DYNAMIC, "1507", None,
         "UpdateID of an update that waits for a restart.", ignores_case=True),
    Node(f"{_PENDING}/{GUID}/InstalledTime", "time", _GET, _ONE, _DYNAMIC, "1507", None,
         "When the update was installed."),
    Node(f"{_PENDING}/{GUID}/RevisionNumber", "int", _GET, _ONE, _DYNAMIC, "1703", None, _REVISION),
    Node(f"{_ROOT}/LastSuccessfulScanTime", "time", _GET, _ONE, _PERMANENT, "1507", "0",
         "When the device last scanned for updates with success; 0 means never.", ignores_case=True),
    Node(f"{_ROOT}/DeferUpgrade", "bool", _GET, _ONE, _PERMANENT, "1507", "0",
         "Whether upgrades are deferred to the next period.", ignores_case=True),
    # The newer page has no access types for Rollback: two actions, each with its result.
    Node(_ROLLBACK, "node", _GET, _ONE, _PERMANENT, "1803", None, "Rolling back the latest updates."),
    Node(f"{_ROLLBACK}/QualityUpdate", "null", _EXEC, _ONE, _PERMANENT, "1803", None,
         "Rolls back the latest quality update, if the device is paused and meets the conditions."),
    Node(f"{_ROLLBACK}/FeatureUpdate", "null", _EXEC, _ONE, _PERMANENT, "1803", None,
         "Rolls back the latest feature update, if the device is paused and meets the conditions."),
    Node(f"{_ROLLBACK}/QualityUpdateStatus", "chr", _GET, _ONE, _PERMANENT, "1803", None,
         "Result of the last rollback of a quality update."),
    Node(f"{_ROLLBACK}/FeatureUpdateStatus", "chr", _GET, _ONE, _PERMANENT, "1803", None,
         "Result of the last rollback of a feature update."),
)
# fmt: on


def _key(segments: tuple[str, ...]) -> tuple[str | None, ...]:
    """The segments in lower case, a GUID as None (not as `{guid}`, which a peer could send literally)."""
    return tuple(None if is_guid(name) else name.lower() for name in segments)


def _row_keys(node: Node) -> list[tuple[str | None, ...]]:
    segments = node.path.removeprefix("./").split("/")
    key = tuple(None if name == GUID else name.lower() for name in segments)
    return [key] if node.other_name is None else [key, (*key[:-1], node.other_name.lower())]


_BY_KEY: Final = {key: node for node in UPDATE_TREE for key in _row_keys(node)}


def find_node(loc_uri: LocURI) -> Node | None:
    """The row that describes this address, or None if the Update CSP has no such node.

    `./Device` and a query make no difference, nor does case: some nodes are case-insensitive in the DDF, and
    no two differ by case alone. A GUID segment may have any form.
    """
    return _BY_KEY.get(_key(loc_uri.canonical().segments))


def children_of(node: Node, tree: Iterable[Node] = UPDATE_TREE) -> tuple[Node, ...]:
    """The rows of the tree directly below this one, in its order."""
    return tuple(child for child in tree if child.parent == node.path)


def validate_value(node: Node, value: str) -> None:
    """Pass if a server may send this value to the node; otherwise InvalidValue says in one sentence why not."""
    if not node.access & (Access.ADD | Access.REPLACE | Access.EXEC):
        raise InvalidValue(f"{node.name} can only be read.")
    if node.allowed is None:
        raise InvalidValue(f"{node.name} takes no value from a server.")
    objection = node.allowed.objection(value)
    if objection is not None:
        raise InvalidValue(f"{node.name} is {quoted(value)}, but {objection}.")
