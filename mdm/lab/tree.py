"""The management tree of a virtual device: executes DM commands the way Windows does, on what Windows has.

Nothing is stored here. What the Update CSP and the update policies show is made from `Windows` for each
command, and what a command changes goes back there, so the lists cannot disagree with what the device does.

    status  when
    ------  ----
    200     done; a Get brings Items, an empty list an empty Data
    400     no target, no LocURI, no CmdID, not a command
    404     no such node, or a policy this enrolment has not set
    405     the node does not take this command (DDF AccessType), the build lacks the policy, ./User
    406     a ?list= or ?prop= that Windows has not, Copy, a user alert
    415     a Format that is not the node's
    418     Add of what is there
    500     a value outside the policy's range; in an Atomic anything but Add, Delete, Exec, Replace
    507     an Atomic of which a command failed: 216 for those undone, 215 for those not reached

Sources: MS-MDM 3.1.5, RepPro 1.2.1, TND 1.2.1, Update CSP and its DDF, Policy CSP Update.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from csp.errors import InvalidGuid, InvalidLocURI, InvalidValue
from csp.guid import guid_of_name
from csp.locuri import LocURI, escape
from csp.policy import ACCESS, POLICIES, validate
from csp.tree import Access, Scope, find_node
from mdm.lab.windows_state import iso_time
from syncml.alerts import AlertCode
from syncml.client import Outcome
from syncml.messages import (
    Add,
    Alert,
    Atomic,
    Copy,
    Delete,
    Exec,
    Get,
    Item,
    Location,
    Meta,
    Replace,
    Sequence,
    Unknown,
)
from syncml.status import StatusCode, is_success

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from mdm.lab.versions import Build
    from mdm.lab.windows import Windows
    from syncml.messages import Command

__all__ = ["Branch", "DeviceTree", "Leaf"]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A node with a value."""

    value: str
    format: str = "chr"


Branch: TypeAlias = "dict[str, Branch | Leaf]"
"""An interior node: its children by name, unescaped."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """What may be done with a node, be it there or not."""

    access: Access
    format: str
    permanent: bool = True
    policy: str | None = None
    """Name of the policy, below Policy/Config/Update."""
    known: bool = True
    """False for a policy this build or edition has not."""


_VERBS: Final[Mapping[type, Access]] = {
    Add: Access.ADD,
    Delete: Access.DELETE,
    Exec: Access.EXEC,
    Get: Access.GET,
    Replace: Access.REPLACE,
}
_ItemCommand: TypeAlias = Add | Delete | Exec | Get | Replace

_APPROVED_DEPTH: Final = 5
"""Segments of Vendor/MSFT/Update/ApprovedUpdates/{guid}."""
_CONFIG: Final = ("vendor", "msft", "policy", "config", "update")
_RESULT: Final = ("vendor", "msft", "policy", "result", "update")
_INTERIOR: Final = _Rule(Access.GET, "node")
_FACT: Final = _Rule(Access.GET, "chr")
_ROLLBACKS: Final = {"qualityupdate": "quality", "featureupdate": "feature"}


class DeviceTree:
    """One device's tree; it lives as long as the `Windows` it shows."""

    def __init__(self, windows: Windows, build: Build, facts: Mapping[str, str]) -> None:
        """`facts` are LocURIs of read-only chr leaves outside the CSPs, e.g. `./DevInfo/Man`, with their values."""
        self.windows = windows
        self._build = build
        self._facts = {LocURI.parse(uri).segments: value for uri, value in facts.items()}

    def execute(self, command: Command, now: datetime) -> Outcome:
        """Carry out one command; never raises on what a server sent."""
        if not command.cmd_id or isinstance(command, Unknown):
            return Outcome(StatusCode.BAD_REQUEST, inner=_not_executed(command).inner)
        if isinstance(command, Atomic):
            return self._atomic(command, now)
        if isinstance(command, Sequence):
            return Outcome(StatusCode.OK, inner=tuple(self.execute(each, now) for each in command.commands))
        if isinstance(command, (Add, Delete, Exec, Get, Replace)):
            return self._items(command, now)
        assert isinstance(command, (Alert, Copy)), command  # noqa: S101 - the client passes no Status or Results
        if isinstance(command, Alert) and command.data == str(int(AlertCode.NO_END_OF_DATA)):
            # The server misses the end of an object: it has been told all there is, and asks again if it must.
            return Outcome(StatusCode.OK)
        # Copy is not supported (MS-MDM 3.1.7.1), and no user is there to be asked by an Alert.
        return Outcome(StatusCode.OPTIONAL_FEATURE_NOT_SUPPORTED)

    # --- groups ------------------------------------------------------------------------------------------

    def _atomic(self, atomic: Atomic, now: datetime) -> Outcome:
        """All or nothing (MS-MDM 2.2.7.3); the state being one value, undoing is putting it back."""
        before = self.windows.state
        outcomes: list[Outcome] = []
        for command in atomic.commands:
            if isinstance(command, (Add, Delete, Exec, Replace, Unknown)) or not command.cmd_id:
                outcome = self.execute(command, now)
            else:
                outcome = Outcome(StatusCode.COMMAND_FAILED, inner=_not_executed(command).inner)
            outcomes.append(outcome)
            if not is_success(outcome.status):
                break
        else:
            return Outcome(StatusCode.OK, inner=tuple(outcomes))
        self.windows.state = before
        *done, failed = outcomes
        undone = [_with_status(outcome, StatusCode.ATOMIC_ROLLED_BACK) for outcome in done]
        rest = [_not_executed(command) for command in atomic.commands[len(outcomes) :]]
        return Outcome(StatusCode.ATOMIC_FAILED, inner=(*undone, failed, *rest))

    def _items(self, command: _ItemCommand, now: datetime) -> Outcome:
        """One Status for the command: that of its first item that failed, else 200."""
        found: list[Item] = []
        statuses: list[StatusCode] = []
        for item in command.items:
            if isinstance(command, Get):
                status, items = self._get(item)
                found += items
            else:
                status = self._change(command, item, now)
            statuses.append(status)
        if not statuses:
            return Outcome(StatusCode.BAD_REQUEST)
        failed = [status for status in statuses if not is_success(status)]
        return Outcome(failed[0] if failed else StatusCode.OK, items=tuple(found))

    # --- one item ----------------------------------------------------------------------------------------

    def _get(self, item: Item) -> tuple[StatusCode, list[Item]]:  # noqa: PLR0911 - the checks, in their order
        uri, status = _target(item)
        if uri is None:
            return status, []
        rule = self._rule(uri)
        if rule is None or not rule.known:
            return StatusCode.NOT_FOUND, []
        if Access.GET not in rule.access or _user_scope(uri):
            return StatusCode.COMMAND_NOT_ALLOWED, []
        if uri.query is not None and uri.listing not in {"Struct", "StructData"}:
            return StatusCode.OPTIONAL_FEATURE_NOT_SUPPORTED, []
        found = self._find(uri)
        if found is None:
            return StatusCode.NOT_FOUND, []
        names, node = found
        # Results name the node in the form of the request, without its query.
        base = LocURI(uri.segments[: len(uri.segments) - len(names)] + names)
        if uri.query is None:
            return StatusCode.OK, [_item(base, node, data=True, children=True)]
        data = uri.listing == "StructData"
        return StatusCode.OK, [_item(at, each, data=data) for at, each in _walk(base, node)]

    def _change(  # noqa: PLR0911 - the checks, in their order
        self, command: Add | Delete | Exec | Replace, item: Item, now: datetime
    ) -> StatusCode:
        uri, status = _target(item)
        if uri is None:
            return status
        rule = self._rule(uri)
        if rule is None:
            return StatusCode.NOT_FOUND
        if not rule.known or uri.query is not None or _user_scope(uri):
            return StatusCode.COMMAND_NOT_ALLOWED
        exists = self._find(uri) is not None
        if isinstance(command, Delete) and not exists:
            return StatusCode.NOT_FOUND
        if _VERBS[type(command)] not in rule.access or (isinstance(command, Delete) and rule.permanent):
            return StatusCode.COMMAND_NOT_ALLOWED
        if isinstance(command, Add) and exists:
            return StatusCode.ALREADY_EXISTS
        if isinstance(command, Exec):
            self.windows.roll_back(_ROLLBACKS[uri.segments[-1].lower()], now)
            return StatusCode.OK
        if rule.policy is None:
            return self._approve(uri, item, _format(command, item), now)
        if isinstance(command, Delete):
            self.windows.unset_policy(rule.policy, now)
            return StatusCode.OK
        return self._write_policy(rule.policy, item, _format(command, item), now)

    def _write_policy(self, name: str, item: Item, format_: str, now: datetime) -> StatusCode:
        if format_ != POLICIES[name].format:
            return StatusCode.UNSUPPORTED_MEDIA_TYPE_OR_FORMAT
        value = item.data or ""
        try:
            validate(name, value)
        except InvalidValue:
            return StatusCode.COMMAND_FAILED
        self.windows.set_policy(name, value, now)
        return StatusCode.OK

    def _approve(self, uri: LocURI, item: Item, format_: str, now: datetime) -> StatusCode:
        """Add of ApprovedUpdates/{guid}, with or without Format; or of its ApprovedTime, which makes both."""
        segments = uri.canonical().segments
        guid = guid_of_name(segments[_APPROVED_DEPTH - 1])
        if len(segments) == _APPROVED_DEPTH:
            if format_ not in {"chr", "node"}:
                return StatusCode.UNSUPPORTED_MEDIA_TYPE_OR_FORMAT
            self.windows.approve(guid, iso_time(now), now)
            return StatusCode.OK
        if format_ != "time":
            return StatusCode.UNSUPPORTED_MEDIA_TYPE_OR_FORMAT
        self.windows.approve(guid, item.data or "0", now)
        return StatusCode.OK

    # --- what there is -----------------------------------------------------------------------------------

    def _rule(self, uri: LocURI) -> _Rule | None:
        """What may be done at this address; None where no node can be."""
        canonical = _without_user(uri).canonical()
        node = find_node(canonical)
        if node is not None:
            if not self._build.has(node.since):
                return None
            return _Rule(node.access, node.format, permanent=node.scope is Scope.PERMANENT)
        key = tuple(name.lower() for name in canonical.segments)
        for area, access in ((_CONFIG, ACCESS), (_RESULT, Access.GET)):
            if key[:-1] == area:
                return self._policy_rule(canonical.segments[-1], access)
        found = self._find(canonical)
        if found is None:
            return None
        return _INTERIOR if isinstance(found[1], dict) else _FACT

    def _policy_rule(self, name: str, access: Access) -> _Rule:
        policy = next((each for each in POLICIES.values() if each.name.lower() == name.lower()), None)
        if policy is None or not self._build.has(policy.since):
            return _Rule(access, "chr", permanent=False, known=False)
        return _Rule(access, policy.format, permanent=False, policy=policy.name)

    def _find(self, uri: LocURI) -> tuple[tuple[str, ...], Branch | Leaf] | None:
        """The node at this address and its names as the tree writes them, or None."""
        node: Branch | Leaf = self._root()
        names: list[str] = []
        for asked in uri.canonical().segments:
            if not isinstance(node, dict):
                return None
            wanted = _normal(asked)
            name = next((name for name in node if _normal(name) == wanted), None)
            if name is None:
                return None
            names.append(name)
            node = node[name]
        return tuple(names), node

    def _root(self) -> Branch:
        root: Branch = {}
        for segments, value in self._facts.items():
            branch = root
            for name in segments[:-1]:
                below = branch.setdefault(name, {})
                assert isinstance(below, dict), segments  # noqa: S101 - facts are leaves, none below another
                branch = below
            branch[segments[-1]] = Leaf(value)
        policies = self.windows.state.policies
        config: Branch = {name: Leaf(value, POLICIES[name].format) for name, value in policies.items()}
        result: Branch = {
            name: Leaf(policies.get(name, policy.default or ""), policy.format)
            for name, policy in POLICIES.items()
            if (name in policies or policy.default is not None) and self._build.has(policy.since)
        }
        root["Vendor"] = {
            "MSFT": {
                "Policy": {"Config": {"Update": config}, "Result": {"Update": result}},
                "Update": self._update(),
            }
        }
        return root

    def _update(self) -> Branch:
        windows, state = self.windows, self.windows.state
        deferred = state.policies.get("DeferFeatureUpdatesPeriodInDays", "0") != "0"
        update: Branch = {
            "ApprovedUpdates": {
                guid: {"ApprovedTime": Leaf(at, "time")} for guid, at in sorted(state.approved.items())
            },
            "FailedUpdates": {
                job.update.update_id: {
                    "HResult": _int(_signed(job.hresult or 0)),
                    self._build.failure_leaf: _int(job.failure or 0),
                    **self._revision(job.update.revision_number),
                }
                for job in windows.failed()
            },
            "InstalledUpdates": {
                job.update.update_id: self._revision(job.update.revision_number)
                for job in windows.installed()
            },
            "InstallableUpdates": {
                job.update.update_id: {
                    "Type": _int(job.update.type),
                    "RevisionNumber": _int(job.update.revision_number),
                }
                for job in windows.installable()
            },
            "PendingRebootUpdates": {
                job.update.update_id: {
                    "InstalledTime": Leaf(iso_time(job.installed_at) if job.installed_at else "0", "time"),
                    **self._revision(job.update.revision_number),
                }
                for job in windows.pending_reboot()
            },
            "LastSuccessfulScanTime": Leaf(iso_time(state.last_scan) if state.last_scan else "0", "time"),
            "DeferUpgrade": Leaf("true" if deferred else "false", "bool"),
        }
        if self._build.has("1803"):
            update["Rollback"] = {
                "QualityUpdate": Leaf("", "null"),
                "FeatureUpdate": Leaf("", "null"),
                "QualityUpdateStatus": Leaf(state.rollbacks.get("quality", "")),
                "FeatureUpdateStatus": Leaf(state.rollbacks.get("feature", "")),
            }
        return update

    def _revision(self, number: int) -> Branch:
        return {"RevisionNumber": _int(number)} if self._build.reports_revisions else {}


def _target(item: Item) -> tuple[LocURI | None, StatusCode]:
    """The address an item names, or the status that refuses it."""
    text = item.target.loc_uri if item.target else ""
    try:
        return LocURI.parse(text), StatusCode.OK
    except InvalidLocURI:
        # A good path with a query nobody knows asks for a feature; anything else is no address.
        try:
            LocURI.parse(text.partition("?")[0])
        except InvalidLocURI:
            return None, StatusCode.BAD_REQUEST
        return None, StatusCode.OPTIONAL_FEATURE_NOT_SUPPORTED


def _user_scope(uri: LocURI) -> bool:
    return uri.segments[0] == "User"


def _without_user(uri: LocURI) -> LocURI:
    return LocURI(uri.segments[1:]) if _user_scope(uri) and len(uri.segments) > 1 else uri


def _normal(name: str) -> str:
    """What two names of one node have in common: GUIDs in any form, other names in any case."""
    try:
        return guid_of_name(name)
    except InvalidGuid:
        return name.lower()


def _format(command: _ItemCommand, item: Item) -> str:
    """The Format of a value: the item's, else the command's, else chr (RepPro 7.3.9)."""
    for meta in (item.meta, command.meta):
        if meta is not None and meta.format:
            return meta.format.strip().lower()
    return "chr"


def _int(value: int) -> Leaf:
    return Leaf(str(value), "int")


def _signed(hresult: int) -> int:
    """Format int has 32 bits with a sign."""
    return hresult - (1 << 32) if hresult >= 1 << 31 else hresult


def _walk(at: LocURI, node: Branch | Leaf) -> Iterator[tuple[LocURI, Branch | Leaf]]:
    """The node, then everything below it, parents first (TND 8.4)."""
    yield at, node
    if isinstance(node, dict):
        for name, child in node.items():
            yield from _walk(at / name, child)


def _item(at: LocURI, node: Branch | Leaf, *, data: bool, children: bool = False) -> Item:
    """One Item of Results: Source, Meta unless chr, Data unless there is none."""
    if isinstance(node, dict):
        names = "/".join(map(escape, node)) if children else None
        return Item(source=Location(str(at)), meta=Meta(format="node"), data=names)
    return Item(
        source=Location(str(at)),
        meta=None if node.format == "chr" else Meta(format=node.format),
        data=node.value if data and node.value else None,
    )


def _with_status(outcome: Outcome, status: StatusCode) -> Outcome:
    return Outcome(status, inner=tuple(_with_status(inner, status) for inner in outcome.inner))


def _not_executed(command: Command) -> Outcome:
    inside = command.commands if isinstance(command, (Atomic, Sequence)) else ()
    return Outcome(StatusCode.NOT_EXECUTED, inner=tuple(map(_not_executed, inside)))
