"""Bytes of a SyncML document to typed messages, as Windows and Microsoft's samples really write them.

Children are found by name, in any order (the specifications' own examples break their DTD). Of a child that
may stand once the first counts and later ones are dropped. Tokens (CmdID, LocURI, codes) lose surrounding
white space, the Data of an Item never does. Text where only elements belong is ignored.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, TypeAlias

from syncml.errors import LimitExceeded, MalformedMessage
from syncml.extensions import read_extensions
from syncml.limits import DEFAULT_LIMITS, HEADER_LIMITS, Limits
from syncml.messages import (
    Add,
    Alert,
    Atomic,
    Chal,
    Command,
    Copy,
    Cred,
    Delete,
    Exec,
    Extension,
    Get,
    Item,
    Location,
    Message,
    Meta,
    Replace,
    Results,
    Sequence,
    Status,
    SyncHdr,
    Unknown,
)
from syncml.namespaces import METINF_LIKE, ORIGINAL_ERROR, SYNCML_LIKE
from syncml.xmltree import SPACE, Element, parse, pieces, split_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["read_fragment", "read_header", "read_message"]

_Found: TypeAlias = "dict[str, list[Element]]"

_NUMBER = re.compile(r"[0-9]{1,19}")  # 19 digits hold any 64-bit length; int() of more takes quadratic time


def read_message(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Message:
    """The message in `data`, a whole SyncML document.

    Absent header fields are read as "". Raises `MalformedMessage` for what is not a SyncML document, and
    `LimitExceeded` for what is larger than `limits`; nothing else (RepPro 1.2.1 chapter 7, MS-MDM 2.2).
    """
    return _message(parse(data, limits), _Room(limits))


def read_header(data: bytes, limits: Limits = HEADER_LIMITS) -> SyncHdr:
    """The SyncHdr of the message in `data`, without reading on: what it takes to know who speaks.

    Costs the same however large the message is. A message that `read_message` reads has this very header.
    Raises as `read_message`, though only for what stands before the end of the header.
    """
    return _header(_only(_inside(parse(data, limits, until="SyncHdr")), "SyncHdr"))


def read_fragment(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Message | Command | tuple[Command, ...]:
    """What `data` holds by its root: a Message (SyncML), its commands (SyncBody), or one command.

    The specifications show most commands without the document around them. Raises as `read_message`.
    """
    root, room = parse(data, limits), _Room(limits)
    if root.tag in _SYNC_BODY:
        return _body(root, room)[0]
    if root.tag in _COMMANDS:
        return _COMMANDS[root.tag](root, room)
    return _message(root, room)


class _Room:
    """What one message may still hold."""

    __slots__ = ("_commands", "_items", "limits")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._commands = limits.commands
        self._items = limits.items

    def take_commands(self, many: int) -> None:
        """Count commands before they are read; raises LimitExceeded."""
        self._commands -= many
        if self._commands < 0:
            raise LimitExceeded(f"more than {self.limits.commands} commands")

    def take_items(self, many: int) -> None:
        """Count Items before they are read; raises LimitExceeded."""
        self._items -= many
        if self._items < 0:
            raise LimitExceeded(f"more than {self.limits.items} Items")


def _inside(root: Element) -> _Found:
    """What stands in the document."""
    if root.tag not in _ROOT:
        raise MalformedMessage(f"the root element is {_shown(root)}, not SyncML")
    return _children(root, _SYNCML)[0]


def _message(root: Element, room: _Room) -> Message:
    found = _inside(root)
    header, body = (_only(found, name) for name in ("SyncHdr", "SyncBody"))
    commands, final = _body(body, room)
    return Message(_header(header), commands, final)


def _only(found: _Found, name: str) -> Element:
    """The one child of that name; two would let two readers see two messages."""
    elements = found.get(name, ())
    if len(elements) != 1:
        raise MalformedMessage(f"SyncML needs one {name}, not {len(elements)}")
    return elements[0]


def _shown(element: Element) -> str:
    """The element's name for an error, short and in one line."""
    namespace, name = split_name(element.tag)
    return ascii(f"{{{namespace[:40]}}}{name[:40]}" if namespace else name[:40])


def _body(body: Element, room: _Room) -> tuple[tuple[Command, ...], bool]:
    """The commands of a SyncBody, and whether Final stands among them."""
    found, rest = _children(body, _FINAL)
    return _commands(rest, room), "Final" in found


def _commands(elements: list[Element], room: _Room) -> tuple[Command, ...]:
    room.take_commands(len(elements))
    return tuple([_command(element, room) for element in elements])


def _command(element: Element, room: _Room) -> Command:
    """The command, or `Unknown` for an element that is none in OMA DM (DS has Map, Move, Put, Search, Sync)."""
    read = _COMMANDS.get(element.tag)
    if read is None:
        found, _ = _children(element, _CMD_ID)
        namespace, name = split_name(element.tag)
        return Unknown(name, _token(found, "CmdID") or "", namespace)
    return read(element, room)


_ItemCommand: TypeAlias = "type[Add | Copy | Delete | Get | Replace]"


def _item_command(verb: _ItemCommand, element: Element, room: _Room) -> Command:
    found, rest = _children(element, _ITEM_COMMAND)
    return verb(
        cmd_id=_token(found, "CmdID") or "",
        items=_items(found, room),
        meta=_first_meta(found),
        no_resp="NoResp" in found,
        extra=read_extensions(rest),
    )


def _exec(element: Element, room: _Room) -> Exec:
    found, rest = _children(element, _EXEC)
    return Exec(
        cmd_id=_token(found, "CmdID") or "",
        items=_items(found, room),
        meta=_first_meta(found),
        no_resp="NoResp" in found,
        correlator=_token(found, "Correlator"),
        extra=read_extensions(rest),
    )


def _group(verb: type[Atomic | Sequence], element: Element, room: _Room) -> Atomic | Sequence:
    found, rest = _children(element, _GROUP)
    return verb(
        cmd_id=_token(found, "CmdID") or "",
        commands=_commands(rest, room),
        meta=_first_meta(found),
        no_resp="NoResp" in found,
    )


def _alert(element: Element, room: _Room) -> Alert:
    found, rest = _children(element, _ALERT)
    return Alert(
        cmd_id=_token(found, "CmdID") or "",
        data=_token(found, "Data") or "",
        items=_items(found, room),
        correlator=_token(found, "Correlator"),
        no_resp="NoResp" in found,
        extra=read_extensions(rest),
    )


def _status(element: Element, room: _Room) -> Status:
    found, rest = _children(element, _STATUS)
    original_error = None
    if "Data" in found:
        original_error = found["Data"][0].get(ORIGINAL_ERROR)
    chal = None
    if "Chal" in found:
        chal = Chal(_first_meta(_children(found["Chal"][0], _CHAL)[0]) or Meta())
    return Status(
        cmd_id=_token(found, "CmdID") or "",
        msg_ref=_token(found, "MsgRef") or "",
        cmd_ref=_token(found, "CmdRef") or "",
        cmd=_token(found, "Cmd") or "",
        data=_token(found, "Data") or "",
        target_refs=tuple([_reference(ref) for ref in found.get("TargetRef", ())]),
        source_refs=tuple([_reference(ref) for ref in found.get("SourceRef", ())]),
        cred=_cred(found),
        chal=chal,
        items=_items(found, room),
        original_error=None if original_error is None else original_error.strip(SPACE),
        extra=read_extensions(rest),
    )


def _results(element: Element, room: _Room) -> Results:
    """A Results; MsgRef and CmdRef default to "1" (RepPro 1.2.1 7.5.11)."""
    found, rest = _children(element, _RESULTS)
    msg_ref, cmd_ref = _token(found, "MsgRef"), _token(found, "CmdRef")
    return Results(
        cmd_id=_token(found, "CmdID") or "",
        msg_ref="1" if msg_ref is None else msg_ref,
        cmd_ref="1" if cmd_ref is None else cmd_ref,
        items=_items(found, room),
        cmd=_token(found, "Cmd"),
        meta=_first_meta(found),
        target_ref=_reference(found["TargetRef"][0]) if "TargetRef" in found else None,
        source_ref=_reference(found["SourceRef"][0]) if "SourceRef" in found else None,
        extra=read_extensions(rest),
    )


def _called(names: Iterable[str], namespaces: Iterable[str] = SYNCML_LIKE) -> dict[str, str]:
    """What elements with these local names are called in the tree, in any of the namespaces; to the local name."""
    return {
        f"{{{namespace}}}{name}" if namespace else name: name for name in names for namespace in namespaces
    }


_READERS: Mapping[str, Callable[[Element, _Room], Command]] = {
    "Add": partial(_item_command, Add),
    "Alert": _alert,
    "Atomic": partial(_group, Atomic),
    "Copy": partial(_item_command, Copy),
    "Delete": partial(_item_command, Delete),
    "Exec": _exec,
    "Get": partial(_item_command, Get),
    "Replace": partial(_item_command, Replace),
    "Results": _results,
    "Sequence": partial(_group, Sequence),
    "Status": _status,
}
_COMMANDS = {called: _READERS[name] for called, name in _called(_READERS).items()}

_ROOT = _called({"SyncML"})
_SYNCML = _called({"SyncHdr", "SyncBody"})
_SYNC_BODY = _called({"SyncBody"})
_HEADER = _called(
    {"VerDTD", "VerProto", "SessionID", "MsgID", "Target", "Source", "RespURI", "NoResp", "Cred", "Meta"}
)
_FINAL = _called({"Final"})
_CMD_ID = _called({"CmdID"})
_GROUP = _called({"CmdID", "NoResp", "Meta"})
_ITEM_COMMAND = _GROUP | _called({"Item"})
_EXEC = _ITEM_COMMAND | _called({"Correlator"})
_ALERT = _called({"CmdID", "NoResp", "Data", "Correlator", "Item"})
_REFERENCES = _called({"CmdID", "MsgRef", "CmdRef", "Cmd", "TargetRef", "SourceRef", "Item"})
_STATUS = _REFERENCES | _called({"Cred", "Chal", "Data"})
_RESULTS = _REFERENCES | _called({"Meta"})
_CHAL = _called({"Meta"})
_CRED = _called({"Meta", "Data"})
_ITEM = _called({"Target", "Source", "Meta", "Data", "MoreData"})
_LOC_URI = _called({"LocURI"})
_LOCATION = _called({"LocURI", "LocName"})
_META = _called({"Format", "Type", "Mark", "Size", "NextNonce", "MaxMsgSize", "MaxObjSize"}, METINF_LIKE)
_TYPE = _called({"Type"}, METINF_LIKE)


def _header(element: Element) -> SyncHdr:
    found, rest = _children(element, _HEADER)
    return SyncHdr(
        session_id=_token(found, "SessionID") or "",
        msg_id=_token(found, "MsgID") or "",
        target=_location(found["Target"][0]) if "Target" in found else Location(""),
        source=_location(found["Source"][0]) if "Source" in found else Location(""),
        ver_dtd=_token(found, "VerDTD") or "",
        ver_proto=_token(found, "VerProto") or "",
        resp_uri=_token(found, "RespURI"),
        no_resp="NoResp" in found,
        cred=_cred(found),
        meta=_first_meta(found),
        extra=read_extensions(rest),
    )


def _items(found: _Found, room: _Room) -> tuple[Item, ...]:
    elements = found.get("Item")
    if elements is None:
        return ()
    room.take_items(len(elements))
    return tuple([_item(element, room) for element in elements])


def _item(element: Element, room: _Room) -> Item:
    if not len(element):
        return _EMPTY_ITEM
    found, rest = _firsts(element, _ITEM)
    said = found.get
    meta = None if (inner := said("Meta")) is None else _meta(inner)
    if rest and (meta is None or meta.type is None):
        meta = _adopt_type(meta, rest)
    return Item(
        None if (inner := said("Target")) is None else _location(inner),
        None if (inner := said("Source")) is None else _location(inner),
        meta,
        None if (inner := said("Data")) is None else _data(inner, room),
        "MoreData" in found,
        read_extensions(rest) if rest else (),
    )


_EMPTY_ITEM = Item()


def _adopt_type(meta: Meta | None, rest: list[Element]) -> Meta | None:
    """Take a Type out of the Item's unknown children: MS-MDM 3.2.5.1.5 prints it beside an empty Meta."""
    for position, child in enumerate(rest):
        if child.tag in _TYPE:
            del rest[position]
            return replace(meta or Meta(), type=_text(child))
    return meta


def _data(element: Element, room: _Room) -> str:
    """The value of an Item; unescaped markup is kept as XML text (Windows samples pass documents so)."""
    if not len(element):
        return element.text or ""
    parts: list[str] = []
    left = most = room.limits.text
    for piece in pieces(element, split_name(element.tag)[0]):
        # namespaces declared far outside are repeated here, which can multiply the size of the input
        left -= len(piece)
        if left < 0:
            raise LimitExceeded(f"more than {most} characters of markup in one Data")
        parts.append(piece)
    return "".join(parts)


def _location(element: Element) -> Location:
    if len(element) == 1 and (only := element[0]).tag in _LOC_URI:
        return Location(_text(only))
    inner, rest = _children(element, _LOCATION)
    return Location(_token(inner, "LocURI") or "", _token(inner, "LocName"), read_extensions(rest))


def _reference(element: Element) -> str:
    """TargetRef or SourceRef: text in the DTD, a LocURI inside in MS-MDM 2.2.7."""
    inner, _ = _children(element, _LOCATION)
    uri = _token(inner, "LocURI")
    return _text(element) if uri is None else uri


def _cred(found: _Found) -> Cred | None:
    if "Cred" not in found:
        return None
    inner, _ = _children(found["Cred"][0], _CRED)
    return Cred(_token(inner, "Data") or "", _first_meta(inner) or Meta())


def _first_meta(found: _Found) -> Meta | None:
    return _meta(found["Meta"][0]) if "Meta" in found else None


def _meta(element: Element) -> Meta:
    """The Meta; equal ones that say little, as nearly all do, are one value."""
    said: tuple[tuple[str, str], ...]
    rest: list[Element] = []
    if len(element) == 1 and (name := _META.get((only := element[0]).tag)):  # the Format that Windows writes
        text = _text(only)
        if name in _SHARED and len(text) <= _SHORT:
            return _shared_meta(((name, text),))
        said = ((name, text),)
    else:
        found, rest = _firsts(element, _META)
        said = tuple([(name, _text(child)) for name, child in found.items()])
    if not rest and all(name in _SHARED and len(text) <= _SHORT for name, text in said):
        return _shared_meta(said)
    return _whole_meta(dict(said), read_extensions(rest))


_SHARED = frozenset({"Format", "Type", "Size"})
_SHORT = 64


@lru_cache(maxsize=256)
def _shared_meta(said: tuple[tuple[str, str], ...]) -> Meta:
    return _whole_meta(dict(said), ())


def _whole_meta(said: Mapping[str, str], extra: tuple[Extension, ...]) -> Meta:
    return Meta(
        format=said.get("Format"),
        type=said.get("Type"),
        mark=said.get("Mark"),
        size=_number(said, "Size"),
        next_nonce=said.get("NextNonce"),
        max_msg_size=_number(said, "MaxMsgSize"),
        max_obj_size=_number(said, "MaxObjSize"),
        extra=extra,
    )


def _number(said: Mapping[str, str], name: str) -> int | None:
    text = said.get(name)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise MalformedMessage(f"{name} is not a number: {text[:20]!a}")
    return int(text)


def _token(found: _Found, name: str) -> str | None:
    """Text of the first child of that name without the white space around it, None if there is no child."""
    elements = found.get(name)
    return None if elements is None else _text(elements[0])


def _text(element: Element) -> str:
    """Text before the first child, without the white space around it."""
    text = element.text
    return "" if text is None else text.strip(SPACE)


def _children(element: Element, known: Mapping[str, str]) -> tuple[_Found, list[Element]]:
    """The known children by local name, and the others; text between them is layout."""
    found: _Found = {}
    rest: list[Element] = []
    for child in element:
        name = known.get(child.tag)
        if name is None:
            rest.append(child)
        elif name in found:
            found[name].append(child)
        else:
            found[name] = [child]
    return found, rest


def _firsts(element: Element, known: Mapping[str, str]) -> tuple[dict[str, Element], list[Element]]:
    """As `_children` where each may stand once: the first counts."""
    found: dict[str, Element] = {}
    rest: list[Element] = []
    for child in element:
        name = known.get(child.tag)
        if name is None:
            rest.append(child)
        elif name not in found:
            found[name] = child
    return found, rest
