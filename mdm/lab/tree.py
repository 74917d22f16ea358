"""The management tree of a virtual device: executes DM commands the way Windows does, on what Windows has.

Nothing is stored here. What the Update CSP, the update policies and DMClient show is made from `Windows` for each
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
    500     a value outside the policy's range; in an Atomic anything but Add, Delete, Exec, Replace, and a Replace
            of what was added in it
    507     an Atomic of which a command failed: 216 for those undone (516 if that failed), 215 for those not reached

From SyncApplicationVersion 3.0 on a failure carries the HRESULT behind it, as Windows since 1903 does it.
Sources: MS-MDM 3.1.5, RepPro 1.2.1, TND 1.2.1, Update CSP and its DDF, Policy CSP Update, DMClient CSP.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from csp.dmclient import validate as validate_setting
from csp.errors import InvalidGuid, InvalidLocURI, InvalidValue
from csp.guid import guid_of_name
from csp.locuri import LocURI, escape
from csp.policy import ACCESS, POLICIES, validate
from csp.sync_version import tells_errors
from csp.tree import Access, Scope, find_node
from mdm.lab.dmclient import client_branch, setting_row, sync_version_of
from mdm.lab.nodes import fact_leaf, root
from mdm.lab.original_errors import ILLEGAL_IN_A_TRANSACTION, ORIGINAL_ERRORS
from mdm.lab.properties import PROPERTIES, value_of
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

    from mdm.lab.nodes import Branch, Leaf
    from mdm.lab.versions import Build
    from mdm.lab.windows import Windows
    from syncml.messages import Command

__all__ = ["DeviceTree"]


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
    sets_version: bool = False
    """True for SyncApplicationVersion."""
    setting: str | None = None
    """Path of a setting of the management server, below Provider/{id}."""
    ends_management: bool = False
    """True for Unenroll."""


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
# The DDF has Delete, too; but "once you set the value to 2.0, it will not go back to 1.0" (DMClient CSP).
_SYNC_VERSION: Final = _Rule(Access.ADD | Access.GET | Access.REPLACE, "chr", sets_version=True)
_UNENROLL: Final = _Rule(Access.EXEC | Access.GET, "null", ends_management=True)
_CLIENT: Final = ("vendor", "msft", "dmclient")
_LISTINGS: Final = frozenset({None, "Struct", "StructData"})
_ROLLBACKS: Final = {"qualityupdate": "quality", "featureupdate": "feature"}


class DeviceTree:
    """One device's tree; it lives as long as the `Windows` it shows."""

    def __init__(
        self, windows: Windows, build: Build, facts: Mapping[str, str], *, provider_id: str = "CSPBridge"
    ) -> None:
        """`facts` are LocURIs of read-only leaves, e.g. `./DevInfo/Man`, with their values.

        `provider_id` is the name of the management server, below `./Vendor/MSFT/DMClient/Provider`.
        """
        self.windows = windows
        self._build = build
        self._facts = {LocURI.parse(uri).segments: fact_leaf(uri, value) for uri, value in facts.items()}
        self._provider_id = provider_id
        self._provider = (*_CLIENT, "provider", _normal(provider_id))
        self.begin_session()

    def begin_session(self) -> None:
        """Speak from here on the SyncApplicationVersion that was written last: it holds from the next session on."""
        self._tells_errors = tells_errors(self.windows.state.sync_version)

    def execute(self, command: Command, now: datetime) -> Outcome:
        """Carry out one command; never raises on what a server sent."""
        if not command.cmd_id or isinstance(command, Unknown):
            return Outcome(StatusCode.BAD_REQUEST, inner=_not_executed(command).inner)
        if isinstance(command, Atomic):
            return self._atomic(command, now)
        if isinstance(command, Sequence):
            return self._sequence(command, now)
        if isinstance(command, (Add, Delete, Exec, Get, Replace)):
            return self._items(command, now)
        assert isinstance(command, (Alert, Copy)), command  # noqa: S101 - the client passes no Status or Results
        if isinstance(command, Alert) and command.data == str(int(AlertCode.NO_END_OF_DATA)):
            # The server misses the end of an object: it has been told all there is, and asks again if it must.
            return Outcome(StatusCode.OK)
        # Copy is not supported (MS-MDM 3.1.7.1), and no user is there to be asked by an Alert.
        return Outcome(StatusCode.OPTIONAL_FEATURE_NOT_SUPPORTED)

    # --- groups ------------------------------------------------------------------------------------------

    def _sequence(self, sequence: Sequence, now: datetime) -> Outcome:
        """200 once begun; what follows an alert that nobody confirms is not executed (DM_Protocol 11)."""
        outcomes: list[Outcome] = []
        for command in sequence.commands:
            outcomes.append(self.execute(command, now))
            stops = self.windows.habits.stops_sequences or isinstance(command, Alert)
            if stops and not is_success(outcomes[-1].status):
                break
        rest = map(_not_executed, sequence.commands[len(outcomes) :])
        return Outcome(StatusCode.OK, inner=(*outcomes, *rest))

    def _atomic(self, atomic: Atomic, now: datetime) -> Outcome:
        """All or nothing (MS-MDM 2.2.7.3); the state being one value, undoing is putting it back."""
        before = self.windows.state
        outcomes: list[Outcome] = []
        added: set[tuple[str, ...]] = set()
        for command in atomic.commands:
            outcome = self._inside(command, added, now)
            outcomes.append(outcome)
            if not is_success(outcome.status):
                break
            if isinstance(command, Add):
                added |= _addresses(command)
        else:
            return Outcome(StatusCode.OK, inner=tuple(outcomes))
        *done, failed = outcomes
        status = StatusCode.ATOMIC_ROLL_BACK_FAILED
        if self.windows.habits.undoes_atomics:
            self.windows.state = before
            status = StatusCode.ATOMIC_ROLLED_BACK
        rest = [_not_executed(command) for command in atomic.commands[len(outcomes) :]]
        undone = self._outcome(status)
        items = tuple(
            (uri, int(undone.status), undone.original_error) if is_success(code) else (uri, code, error)
            for uri, code, error in failed.items_status
        )
        inner = (*(undone for _ in done), replace(failed, items_status=items), *rest)
        return replace(self._outcome(StatusCode.ATOMIC_FAILED), inner=inner)

    def _inside(self, command: Command, added: set[tuple[str, ...]], now: datetime) -> Outcome:
        """One command of an Atomic, in which the addresses in `added` were added before."""
        legal = isinstance(command, (Add, Delete, Exec, Replace, Unknown)) or not command.cmd_id
        if legal and not (isinstance(command, Replace) and added & _addresses(command)):
            return self.execute(command, now)
        return Outcome(
            StatusCode.COMMAND_FAILED,
            original_error=ILLEGAL_IN_A_TRANSACTION if self._tells_errors else None,
            inner=_not_executed(command).inner,
        )

    def _items(self, command: _ItemCommand, now: datetime) -> Outcome:
        """One Status for the command, and where its items differ, one for each of them (MS-MDM 2.2.4.3)."""
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
        outcome = replace(self._outcome(failed[0] if failed else StatusCode.OK), items=tuple(found))
        if len(set(statuses)) == 1:
            return outcome
        each = (
            (_named(item), int(status), self._outcome(status).original_error)
            for item, status in zip(command.items, statuses, strict=True)
        )
        return replace(outcome, items_status=tuple(each))

    def _outcome(self, status: StatusCode) -> Outcome:
        """The status, with the error behind it if the session's version has that."""
        return Outcome(status, original_error=ORIGINAL_ERRORS.get(status) if self._tells_errors else None)

    # --- one item ----------------------------------------------------------------------------------------

    def _get(self, item: Item) -> tuple[StatusCode, list[Item]]:  # noqa: PLR0911 - the checks, in their order
        uri, is_query_known = _target(item)
        if uri is None:
            return StatusCode.BAD_REQUEST, []
        rule = self._rule(uri)
        if rule is None or not rule.known:
            return StatusCode.NOT_FOUND, []
        if Access.GET not in rule.access or _user_scope(uri):
            return StatusCode.COMMAND_NOT_ALLOWED, []
        found = self._find(uri)
        if found is None:
            return StatusCode.NOT_FOUND, []
        if not is_query_known or uri.listing not in _LISTINGS or uri.prop not in {None, *PROPERTIES}:
            return StatusCode.OPTIONAL_FEATURE_NOT_SUPPORTED, []
        names, node = found
        # Results name the node in the form of the request, without its query.
        base = LocURI(uri.segments[: len(uri.segments) - len(names)] + names)
        if uri.prop is not None:
            return StatusCode.OK, [self._property(uri.prop, base, node)]
        if uri.query is None:
            return StatusCode.OK, [_item(base, node, data=True, children=True)]
        data = uri.listing == "StructData"
        return StatusCode.OK, [_item(at, each, data=data) for at, each in _walk(base, node)]

    def _property(self, prop: str, at: LocURI, node: Branch | Leaf) -> Item:
        """The Item of a property, without Meta, since all properties are text (TND 7.4)."""
        named = replace(at, query=f"prop={prop}") if self.windows.habits.names_properties else at
        value = value_of(prop, at, "node" if isinstance(node, dict) else node.format)
        return Item(source=Location(str(named)), data=value or None)

    def _change(self, command: Add | Delete | Exec | Replace, item: Item, now: datetime) -> StatusCode:
        uri, is_query_known = _target(item)
        if uri is None:
            return StatusCode.BAD_REQUEST
        rule = self._rule(uri)
        if rule is None:
            return StatusCode.NOT_FOUND
        if not rule.known or _user_scope(uri):
            return StatusCode.COMMAND_NOT_ALLOWED
        exists = self._find(uri) is not None
        if uri.query is not None or not is_query_known:
            return _change_of_query(uri, exists=exists, is_known=is_query_known)
        return _refusal(command, rule, exists=exists) or self._carry_out(command, uri, rule, item, now)

    def _carry_out(
        self, command: Add | Delete | Exec | Replace, uri: LocURI, rule: _Rule, item: Item, now: datetime
    ) -> StatusCode:
        if isinstance(command, Exec):
            return self._run(uri, rule, item, now)
        if isinstance(command, Delete):
            self._remove(rule, now)
            return StatusCode.OK
        format_ = _format(command, item)
        if rule.sets_version:
            return self._write_version(item, format_)
        if rule.setting is not None:
            return self._write_setting(rule.setting, rule.format, item, format_)
        if rule.policy is not None:
            return self._write_policy(rule.policy, item, format_, now)
        return self._approve(uri, item, format_, now)

    def _run(self, uri: LocURI, rule: _Rule, item: Item, now: datetime) -> StatusCode:
        if rule.ends_management:
            return self._unenrol(uri, item)
        self.windows.roll_back(_ROLLBACKS[uri.segments[-1].lower()], now)
        return StatusCode.OK

    def _remove(self, rule: _Rule, now: datetime) -> None:
        if rule.setting is not None:
            self.windows.unset_setting(rule.setting)
            return
        assert rule.policy is not None, rule  # noqa: S101 - of what takes Delete all else is permanent
        self.windows.unset_policy(rule.policy, now)

    def _unenrol(self, uri: LocURI, item: Item) -> StatusCode:
        """End the management; the older node names the server in its data, the newer one in its path."""
        if len(uri.canonical().segments) == len(_CLIENT) + 1 and item.data != self._provider_id:
            return StatusCode.COMMAND_FAILED
        self.windows.leave()
        return StatusCode.OK

    def _write_setting(self, name: str, wanted: str, item: Item, format_: str) -> StatusCode:
        """Any value that the DDF allows by itself; what Windows makes of odd combinations is not known."""
        if format_ != wanted:
            return StatusCode.UNSUPPORTED_MEDIA_TYPE_OR_FORMAT
        value = item.data or ""
        try:
            validate_setting(name, value)
        except InvalidValue:
            return StatusCode.COMMAND_FAILED
        self.windows.set_setting(name, value)
        return StatusCode.OK

    def _write_version(self, item: Item, format_: str) -> StatusCode:
        """A version this build knows and that is not below the one it has."""
        if format_ != _SYNC_VERSION.format:
            return StatusCode.UNSUPPORTED_MEDIA_TYPE_OR_FORMAT
        state = self.windows.state
        version = sync_version_of(item.data, state.sync_version, self._build.max_sync_version)
        if version is None:
            return StatusCode.COMMAND_FAILED
        self.windows.set_sync_version(version)
        return StatusCode.OK

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
        if (rule := self._client_rule(tuple(map(_normal, canonical.segments)))) is not None:
            return rule
        key = tuple(name.lower() for name in canonical.segments)
        for area, access in ((_CONFIG, ACCESS), (_RESULT, Access.GET)):
            if key[:-1] == area:
                return self._policy_rule(canonical.segments[-1], access)
        found = self._find(canonical)
        if found is None:
            return None
        return _INTERIOR if isinstance(found[1], dict) else _FACT

    def _client_rule(self, key: tuple[str, ...]) -> _Rule | None:
        """The rule of a node that servers write or execute below DMClient; None for any other address."""
        depth = len(self._provider)
        name = "/".join(key[depth:]) if key[:depth] == self._provider else None
        if name == "unenroll" or key == (*_CLIENT, "unenroll"):
            return _UNENROLL
        if name == "syncapplicationversion":
            return _SYNC_VERSION
        found = None if name is None else setting_row(name)
        if found is None or not self._build.has(found[1].since):
            return None
        path, row = found
        return _Rule(row.access, row.format, permanent=row.scope is Scope.PERMANENT, setting=path)

    def _policy_rule(self, name: str, access: Access) -> _Rule:
        policy = next((each for each in POLICIES.values() if each.name.lower() == name.lower()), None)
        if policy is None or not self._build.has(policy.since):
            return _Rule(access, "chr", permanent=False, known=False)
        return _Rule(access, policy.format, permanent=False, policy=policy.name)

    def _find(self, uri: LocURI) -> tuple[tuple[str, ...], Branch | Leaf] | None:
        """The node at this address and its names as the tree writes them, or None."""
        node: Branch | Leaf = root(
            self.windows,
            self._build,
            self._facts,
            client_branch(self.windows, self._build, self._provider_id),
        )
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


def _named(item: Item) -> str:
    return item.target.loc_uri if item.target else ""


def _target(item: Item) -> tuple[LocURI | None, bool]:
    """The address an item names, None if it names none; and False if it has a query that TND does not know."""
    text = _named(item)
    try:
        return LocURI.parse(text), True
    except InvalidLocURI:
        # A good path with a query nobody knows asks for a feature; anything else is no address.
        try:
            return LocURI.parse(text.partition("?")[0]), False
        except InvalidLocURI:
            return None, False


def _refusal(command: Add | Delete | Exec | Replace, rule: _Rule, *, exists: bool) -> StatusCode | None:
    """The status that refuses the command on a node with these rules, or None if it may be carried out."""
    if isinstance(command, Delete) and not exists:
        return StatusCode.NOT_FOUND
    if _VERBS[type(command)] not in rule.access or (isinstance(command, Delete) and rule.permanent):
        return StatusCode.COMMAND_NOT_ALLOWED
    if isinstance(command, Add) and exists:
        return StatusCode.ALREADY_EXISTS
    return None


def _change_of_query(uri: LocURI, *, exists: bool, is_known: bool) -> StatusCode:
    """The refusal of a change of what a query names: properties take Get, and a Replace that no node here does."""
    if uri.prop is not None and not exists:
        return StatusCode.NOT_FOUND
    if not is_known or uri.prop not in {None, *PROPERTIES}:
        return StatusCode.OPTIONAL_FEATURE_NOT_SUPPORTED
    return StatusCode.COMMAND_NOT_ALLOWED


def _addresses(command: Add | Replace) -> set[tuple[str, ...]]:
    """What a command's items name, each in the one form that all its addresses have in common."""
    uris = (_target(item)[0] for item in command.items)
    return {tuple(map(_normal, uri.canonical().segments)) for uri in uris if uri is not None}


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


def _not_executed(command: Command) -> Outcome:
    inside = command.commands if isinstance(command, (Atomic, Sequence)) else ()
    return Outcome(StatusCode.NOT_EXECUTED, inner=tuple(map(_not_executed, inside)))
