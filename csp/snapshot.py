"""What a device says of its updates, read from its answers to the Gets on `./Vendor/MSFT/Update`.

Reading never fails on what a device sends: what cannot be used becomes a sentence in `problems`. The one rule
that everything else serves: a list that was not read is absent, never empty, because an empty list means
"none" and would wipe what is known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import IntFlag
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NoReturn

from csp.errors import InvalidLocURI, InvalidValue, quoted
from csp.guid import find_guid, is_guid
from csp.hresult import find_hresult, parse_hresult
from csp.locuri import LocURI, unescape
from syncml.status import StatusCode, is_success

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from syncml.exchange import Answer

__all__ = ["MAX_ENTRIES", "MAX_PROBLEMS", "UpdateEntry", "UpdateList", "UpdateSnapshot"]

MAX_ENTRIES: Final = 3_000
"""GUIDs read of all lists together; a device with years of updates has a few hundred in InstalledUpdates."""

MAX_NAMES: Final = 3_000
"""Names looked at in the Data of lists' nodes, GUIDs or not."""

MAX_PROBLEMS: Final = 50
"""Sentences kept; the rest is counted in one more."""


class UpdateList(IntFlag):
    """The five lists of the Update CSP; the values are stored, so they never change."""

    INSTALLABLE = 1
    INSTALLED = 2
    FAILED = 4
    PENDING_REBOOT = 8
    APPROVED = 16


@dataclass(frozen=True, slots=True)
class UpdateEntry:
    """What one list says of one GUID; None where the device did not say (builds before 1703 say less)."""

    update_id: str
    """UpdateID, in ApprovedUpdates also a classification; lower case, no braces."""
    revision_number: int | None = None
    update_type: int | None = None
    """InstallableUpdates: 0 none, 1 security, 2 critical."""
    hresult: int | None = None
    """FailedUpdates: unsigned 32-bit HRESULT."""
    failure_state: int | None = None
    """FailedUpdates: the bit value of `State`, which the DDF calls `Status`."""
    installed_time: str | None = None
    """PendingRebootUpdates: as the device wrote it; no real value is published."""
    approved_time: str | None = None
    """ApprovedUpdates: as the device wrote it; "0" is the default."""


@dataclass(frozen=True, slots=True)
class UpdateSnapshot:
    """Everything the answers of one session say of a device's updates."""

    lists: Mapping[UpdateList, Mapping[str, UpdateEntry]] = field(default_factory=dict)
    """By list and GUID; a list is present only if its Get succeeded and brought Results."""
    nodes: Mapping[tuple[UpdateList, str], UpdateEntry | None] = field(default_factory=dict)
    """Answers to Gets of one `<List>/{guid}`: None means 404, the GUID is not in that list."""
    last_successful_scan_time: str | None = None
    """As the device wrote it; "0" means never."""
    defer_upgrade: bool | None = None
    quality_rollback_status: str | None = None
    """Result of the last rollback of a quality update; the values are not documented."""
    feature_rollback_status: str | None = None
    problems: tuple[str, ...] = ()
    """What could not be read, one sentence each, for the log and the device's page."""

    @classmethod
    def from_answers(cls, answers: Iterable[Answer]) -> UpdateSnapshot:
        """Read what was answered to Gets on the Update CSP; all other answers are passed over.

        Reads StructData (items with full LocURIs) and the plain form (child names in the Data of the node),
        in any mixture and over any number of Results. A node asked twice counts as answered last.
        """
        reading = _Reading()
        for answer in answers:
            if answer.request.verb == "Get":
                reading.take(answer)
        return reading.snapshot()


_Path = tuple[str, ...]
"""Names below `./Vendor/MSFT/Update`, lower case; GUIDs in their normal form."""

_CSP: Final = ("vendor", "msft", "update")

_LISTS: Final[Mapping[str, UpdateList]] = {
    "installableupdates": UpdateList.INSTALLABLE,
    "installedupdates": UpdateList.INSTALLED,
    "failedupdates": UpdateList.FAILED,
    "pendingrebootupdates": UpdateList.PENDING_REBOOT,
    "approvedupdates": UpdateList.APPROVED,
}

_NAMES: Final[Mapping[UpdateList, str]] = {
    UpdateList.INSTALLABLE: "InstallableUpdates",
    UpdateList.INSTALLED: "InstalledUpdates",
    UpdateList.FAILED: "FailedUpdates",
    UpdateList.PENDING_REBOOT: "PendingRebootUpdates",
    UpdateList.APPROVED: "ApprovedUpdates",
}

# Queries that bring something else than the node's children and values: a property, a serialised tree.
_OTHER_DATA: Final = re.compile(r"\?(?:prop=|list=TNDS)")

_NUMBER: Final = re.compile(r"[0-9]{1,10}")
_HIGHEST: Final = (1 << 31) - 1
_LONGEST: Final = 256
_TRUTH: Final = {"true": True, "1": True, "false": False, "0": False}


def _find_number(text: str) -> int | None:
    """A Format int that counts something, 0 to 2^31-1; None for a text that is none."""
    if not _NUMBER.fullmatch(text):
        return None
    number = int(text)
    return number if number <= _HIGHEST else None


def _refuse_number(text: str) -> NoReturn:
    raise InvalidValue(f"{quoted(text)} is not a number from 0 to {_HIGHEST}.")


def _find_text(text: str) -> str | None:
    """The text, or None for one that is too long."""
    return text if len(text) <= _LONGEST else None


def _text(text: str) -> str:
    """A time or a status, kept as written: Microsoft publishes no real value of either."""
    if len(text) > _LONGEST:
        raise InvalidValue(f"{quoted(text)} has more than {_LONGEST} characters.")
    return text


def _truth(text: str) -> bool:
    """A Format bool; Windows writes `true` and `True`, the DDF's default is `0`."""
    if text.lower() not in _TRUTH:
        raise InvalidValue(f"{quoted(text)} is neither true nor false.")
    return _TRUTH[text.lower()]


@dataclass(frozen=True, slots=True)
class _Leaf:
    """One kind of value below a GUID."""

    name: str
    field: str
    """Of `UpdateEntry`."""
    find: Callable[[str], int | str | None]
    """Its reader; None for a text that is no such value: thousands may be none, and an exception is dear."""
    refuse: Callable[[str], object]
    """Raises InvalidValue, with a sentence, for a text of which `find` makes None."""


# `Status` and `State` are one leaf under two names.
_LEAVES: Final[Mapping[str, _Leaf]] = {
    leaf.name.lower(): leaf
    for leaf in (
        _Leaf("RevisionNumber", "revision_number", _find_number, _refuse_number),
        _Leaf("Type", "update_type", _find_number, _refuse_number),
        _Leaf("HResult", "hresult", find_hresult, parse_hresult),
        _Leaf("Status", "failure_state", _find_number, _refuse_number),
        _Leaf("State", "failure_state", _find_number, _refuse_number),
        _Leaf("InstalledTime", "installed_time", _find_text, _text),
        _Leaf("ApprovedTime", "approved_time", _find_text, _text),
    )
}

_SPELT: Final[Mapping[str, str]] = {leaf.name: key for key, leaf in _LEAVES.items()}
"""How leaves compare, by how Windows writes them."""

# The same for the nodes outside the lists, by path.
_SINGLES: Final[Mapping[_Path, tuple[str, str, Callable[[str], bool | str]]]] = {
    ("lastsuccessfulscantime",): ("LastSuccessfulScanTime", "last_successful_scan_time", _text),
    ("deferupgrade",): ("DeferUpgrade", "defer_upgrade", _truth),
    ("rollback", "qualityupdatestatus"): ("Rollback/QualityUpdateStatus", "quality_rollback_status", _text),
    ("rollback", "featureupdatestatus"): ("Rollback/FeatureUpdateStatus", "feature_rollback_status", _text),
}


# The longest address in the Update tree has seven names and less than 150 characters, everything escaped.
_LONGEST_URI: Final = 512
_MOST_STEPS: Final = 16

_PLAIN: Final = re.compile(r"[^*.%?/\s\ud800-\udfff][^%?/\s\ud800-\udfff]*")
"""Names that mean themselves in a LocURI, whatever stands before and behind them."""
_PLAIN_PATH: Final = re.compile(r"[0-9A-Za-z_-]+(?:/[0-9A-Za-z_-]+)*")
"""The same of several, in the letters that Windows uses."""
_SHORTER_THAN_GUIDS: Final = 35
_ESCAPED: Final = re.compile(r"(?:[0-9A-Za-z{} -]|%[0-9A-Fa-f]{2})*(?:[0-9A-Za-z}]|%7[dD])")
"""Names of which some characters are escaped, GUIDs in most of their forms among them."""

_MOST_STRAY: Final = 100
"""Items that were not asked for, after which an answer is no answer."""


def _normal(name: str) -> str:
    """A node name in the form that compares: GUIDs bare, everything in lower case."""
    return find_guid(name) or name.lower()


def _path_of(loc_uri: str) -> _Path | None:
    """The path below the Update CSP, or None for any other address and for what is no LocURI."""
    try:
        names = LocURI.parse(loc_uri.strip()).canonical().segments
    except InvalidLocURI:
        return None
    path = tuple(_normal(name) for name in names)
    return path[len(_CSP) :] if path[: len(_CSP)] == _CSP else None


def _name(text: str) -> str | None:
    """The node name that a piece of a LocURI is, as it compares; None where that takes a look at the whole."""
    if _PLAIN.fullmatch(text):
        return _normal(text)
    if "%" not in text or not _ESCAPED.fullmatch(text):
        return None
    try:
        return _normal(unescape(text))
    except InvalidLocURI:
        return None


def _tail(text: str) -> _Path | None:
    """The same for what stands behind a child."""
    if len(text) <= _SHORTER_THAN_GUIDS and _PLAIN_PATH.fullmatch(text):
        return tuple(text.lower().split("/"))
    names = []
    for each in text.split("/"):
        name = _name(each)
        if name is None:
            return None
        names.append(name)
    return tuple(names)


class _Addresses:
    """Reads the LocURIs of one answer: of each that continues what was asked for, only what is new is looked at."""

    def __init__(self, asked: _Path) -> None:
        self._asked = asked
        self._prefix = ""
        """What was asked for, as the device writes it, with a slash; empty until it is known."""
        self._steps_left = 0
        """Slashes that may stand behind a child of it and the slash after that."""
        self._last: tuple[str | None, str] = (None, "")
        """The child heard of last, as the device writes it and as it compares."""

    def below(self, loc_uri: str) -> _Path | None:
        """The path below what was asked for; None for an address that was not."""
        if len(loc_uri) > _LONGEST_URI:
            return None
        prefix = self._prefix
        if prefix and loc_uri.startswith(prefix):
            path = self._read(loc_uri[len(prefix) :])
            if path is not None:
                return path
        if loc_uri.count("/") > _MOST_STEPS:
            return None
        whole = _path_of(loc_uri)
        if whole is None or whole[: len(self._asked)] != self._asked:
            return None
        path = whole[len(self._asked) :]
        before = loc_uri.rsplit("/", len(path))[0] if path else loc_uri
        if "?" not in loc_uri and before == before.rstrip():
            self._prefix = f"{before}/"
            self._steps_left = _MOST_STEPS - self._prefix.count("/") - 1
        return path

    def _read(self, rest: str) -> _Path | None:
        """The names in the rest of an address; None where that takes a look at the whole."""
        child, _, deeper = rest.partition("/")
        if child != self._last[0]:
            name = find_guid(child) or _name(child)
            if name is None:
                return None
            self._last = child, name
        if not deeper:
            return (self._last[1],) if len(child) == len(rest) else None
        if deeper in _SPELT:
            return self._last[1], _SPELT[deeper]
        tail = _tail(deeper) if deeper.count("/") <= self._steps_left else None
        return None if tail is None else (self._last[1], *tail)


class _Reading:
    """The snapshot while it is being read."""

    def __init__(self) -> None:
        self._lists: dict[UpdateList, Mapping[str, UpdateEntry]] = {}
        self._nodes: dict[tuple[UpdateList, str], UpdateEntry | None] = {}
        self._singles: dict[str, Any] = {}
        self._problems: list[str] = []
        self._unsaid = 0
        self._entries_left = MAX_ENTRIES
        self._names_left = MAX_NAMES

    def snapshot(self) -> UpdateSnapshot:
        if self._unsaid:
            self._problems.append(f"{self._unsaid} more problems are not listed.")
        return UpdateSnapshot(
            lists=MappingProxyType(self._lists),
            nodes=MappingProxyType(self._nodes),
            problems=tuple(self._problems),
            **self._singles,
        )

    def take(self, answer: Answer) -> None:
        """Read one answer to a Get, if it is about something a snapshot holds."""
        path = _path_of(answer.request.loc_uri)
        if not path or _OTHER_DATA.search(answer.request.loc_uri):
            return
        if path in _SINGLES:
            self._take_single(path, answer)
        elif path[0] in _LISTS and len(path) == 1:
            self._take_list(_LISTS[path[0]], answer)
        elif path[0] in _LISTS and len(path) == 2 and is_guid(path[1]):  # noqa: PLR2004 - <List>/{guid}
            self._take_node(_LISTS[path[0]], path[1], answer)

    def _problem(self, about: str, what: str, text: str | None = None) -> None:
        """Note one; `text`, in quotation marks, stands before `what`. Cheap where nothing more is noted."""
        if self._listens():
            sentence = what if text is None else f"{quoted(text)} {what}"
            self._problems.append(f"{about}: {sentence}")

    def _listens(self) -> bool:
        """Whether a problem would be noted; if not, it is counted, and need not be put into words."""
        if len(self._problems) < MAX_PROBLEMS:
            return True
        self._unsaid += 1
        return False

    def _take_list(self, kind: UpdateList, answer: Answer) -> None:
        name = _NAMES[kind]
        values = self._values(name, (name.lower(),), answer)
        if values is None:
            return
        entries = self._entries(name, values)
        # What is not in a list has left it: half a list must not pass for the list.
        if entries is not None:
            self._lists[kind] = MappingProxyType(entries)

    def _take_node(self, kind: UpdateList, guid: str, answer: Answer) -> None:
        name = f"{_NAMES[kind]}/{guid}"
        if answer.status == StatusCode.NOT_FOUND:
            self._nodes[kind, guid] = None
            return
        values = self._values(name, (_NAMES[kind].lower(), guid), answer)
        if values is not None:
            entries = self._entries(_NAMES[kind], [((guid, *path), text) for path, text in values])
            if entries is not None:
                self._nodes[kind, guid] = entries[guid]

    def _take_single(self, asked: _Path, answer: Answer) -> None:
        name, field_name, read = _SINGLES[asked]
        for path, text in self._values(name, asked, answer) or ():
            if path:
                self._problem(name, f"it has no nodes below it, but {quoted('/'.join(path))} came.")
            elif text:
                try:
                    self._singles[field_name] = read(text)
                except InvalidValue as error:
                    self._problem(name, error.detail)

    def _values(self, name: str, asked: _Path, answer: Answer) -> list[tuple[_Path, str]] | None:
        """The path below `asked` and the Data of every usable item; None if the node was not read."""
        if answer.status is None:
            self._problem(name, "the device did not answer.")
            return None
        if answer.status == StatusCode.NOT_FOUND:
            self._problem(name, "the device has no such node (404).")
            return None
        if not is_success(answer.status):
            self._problem(name, f"the device answered {answer.status}.")
            return None
        values = []
        stray = 0
        below = _Addresses(asked).below
        for item in answer.items:
            location = item.source or item.target
            loc_uri = location.loc_uri if location else ""
            path = below(loc_uri)
            if path is None:
                self._problem(name, f"an item for {quoted(loc_uri)} was not asked for and is ignored.")
                stray += 1
                if stray > _MOST_STRAY:
                    self._problem(
                        name, f"more than {_MOST_STRAY} items were not asked for: none is believed."
                    )
                    return None
            else:
                text = item.data
                values.append((path, text.strip() if text else ""))
        if not values:
            self._problem(name, f"the device answered {answer.status} without Results for it.")
            return None
        return values

    def _entries(self, name: str, values: Iterable[tuple[_Path, str]]) -> dict[str, UpdateEntry] | None:
        """The entries of a list, from items that may repeat, come in any order, or lack their parents.

        None if there are more than are read.
        """
        found: dict[str, dict[str, Any]] = {}
        for path, text in values:
            for guid in path[:1] or self._child_names(text):
                fields = found.get(guid)
                if fields is None:
                    if not is_guid(guid):
                        self._problem(name, "is not a GUID and is ignored.", guid)
                        continue
                    if self._entries_left == 0:
                        self._problem(name, f"more than {MAX_ENTRIES} updates in all: this list is not read.")
                        return None
                    self._entries_left -= 1
                    fields = found[guid] = {}
                if len(path) > 1:
                    self._leaf(name, path, text, fields)
        if self._names_left < 0:
            self._problem(name, f"more than {MAX_NAMES} names in all: this list is not read.")
            return None
        return {guid: UpdateEntry(guid, **fields) for guid, fields in found.items()}

    def _child_names(self, text: str) -> Iterator[str]:
        """The names in the Data of an interior node: empty in StructData, `a/b/c` in the plain form (TND 6)."""
        names = text.split("/", max(0, self._names_left)) if text else []
        self._names_left -= len(names)
        if self._names_left < 0:
            names.pop()  # all the rest in one piece
        for child in filter(None, names):
            try:
                yield _normal(unescape(child))
            except InvalidLocURI:
                yield child  # not a GUID either: the caller says so, with the text as it came

    def _leaf(self, name: str, path: _Path, text: str, fields: dict[str, Any]) -> None:
        """Read one value into the fields; a leaf without a value leaves them as they are.

        A leaf this package does not know belongs to a newer Windows and is passed over.
        """
        if len(path) > 2:  # noqa: PLR2004 - {guid}/<leaf>
            if self._listens():
                guid, *rest = path
                self._problem(f"{name}/{guid}", "is deeper than the tree and is ignored.", "/".join(rest))
            return
        leaf = _LEAVES.get(path[1])
        if not text or leaf is None:
            return
        value = leaf.find(text)
        if value is not None:
            fields[leaf.field] = value
        elif self._listens():
            try:
                leaf.refuse(text)
            except InvalidValue as error:
                self._problem(f"{name}/{path[0]}/{leaf.name}", error.detail)
