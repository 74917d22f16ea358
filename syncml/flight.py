"""Commands on their way to a device: how a wish becomes a command, and how its Status and Results find it again.

One `Sent` stands for one request. The items of one command share its CmdID; a group has a `Sent` of its own,
in front of those of its members. Devices answer in several shapes: one Status for all items or one for each,
with or without MsgRef, Results in one piece or many (RepPro 7.1.16, 7.5.12; MS-MDM 2.2.7).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from syncml.errors import LocalProtocolError
from syncml.exchange import ATOMIC, ITEMS, SEQUENCE, Answer, Bundle, Request
from syncml.messages import (
    Add,
    Atomic,
    Delete,
    Exec,
    Get,
    Item,
    Location,
    Meta,
    Replace,
)
from syncml.messages import Sequence as SequenceCommand
from syncml.status import StatusCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from syncml.exchange import Wish
    from syncml.messages import Command, Status

__all__ = [
    "Heard",
    "Part",
    "Sent",
    "answers",
    "carry",
    "find",
    "find_by_uri",
    "item_of",
    "launch",
    "note_status",
    "owner",
    "part_of",
]

Part: TypeAlias = "tuple[int, str | None, str | None, str | None]"
"""One item of Results as it is kept: index into the commands in flight, LocURI, Format, Data."""

Heard: TypeAlias = "tuple[int, Item]"
"""The same as it has just come."""

_FAILED: Final = 400


@dataclass(frozen=True, slots=True)
class Sent:
    """A request in flight and what has been heard of it so far."""

    msg_id: str
    cmd_id: str
    request: Request | None
    """None for the Atomic or Sequence around the ones that follow."""
    group: int | None = None
    """Index of the group it is in."""
    atomic: bool = False
    """True for an Atomic."""
    status: int | None = None
    original_error: str | None = None
    spoiled: bool = False
    """True: an object in its Results broke off, so what is left must not pass for the whole."""

    def to_json(self) -> list[Any]:
        """The row as JSON values; `from_json` is its inverse."""
        request = self.request
        return [
            self.msg_id,
            self.cmd_id,
            None
            if request is None
            else [request.verb, request.loc_uri, request.format, request.type, request.data],
            self.group,
            self.atomic,
            self.status,
            self.original_error,
            self.spoiled,
        ]

    @classmethod
    def from_json(cls, value: Sequence[Any]) -> Sent:
        """Read what `to_json` wrote; TypeError or ValueError if it is something else."""
        msg_id, cmd_id, request, *rest = value
        return cls(msg_id, cmd_id, None if request is None else Request(*request), *rest)


_Verb: TypeAlias = Add | Delete | Exec | Get | Replace

_VERBS: Final[Mapping[str, type[_Verb]]] = {
    "Add": Add,
    "Delete": Delete,
    "Exec": Exec,
    "Get": Get,
    "Replace": Replace,
}


def launch(wish: Wish, msg_id: str, cmd_id: int, index: int) -> tuple[Command, list[Sent], int]:
    """The command for a wish with CmdIDs from `cmd_id`, its rows from `index` on, and the next free CmdID.

    Raises LocalProtocolError for a wish that Windows is known to refuse: a verb that is not a server's, an empty
    bundle, items of several verbs, a Get or a group inside an Atomic, a node twice in one Atomic.
    """
    pad = _Pad(msg_id, cmd_id, index)
    command = pad.command(wish, None)
    return command, pad.rows, pad.next_id


class _Pad:
    """The accumulators of one `launch`."""

    def __init__(self, msg_id: str, cmd_id: int, index: int) -> None:
        self.msg_id = msg_id
        self.next_id = cmd_id
        self.index = index
        self.rows: list[Sent] = []

    def command(self, wish: Wish, group: int | None) -> Command:
        cmd_id = str(self.next_id)
        self.next_id += 1
        if isinstance(wish, Request):
            self.rows.append(Sent(self.msg_id, cmd_id, wish, group))
            return _verb(wish.verb)(cmd_id=cmd_id, items=(item_of(wish),))
        if not wish.requests:
            raise LocalProtocolError(f"an empty {wish.kind}")
        if wish.kind == ITEMS:
            requests = _of_one_verb(wish)
            self.rows.extend(Sent(self.msg_id, cmd_id, request, group) for request in requests)
            return _verb(requests[0].verb)(cmd_id=cmd_id, items=tuple(item_of(each) for each in requests))
        if wish.kind == ATOMIC:
            _check_atomic(wish)
        elif wish.kind != SEQUENCE or group is not None:
            raise LocalProtocolError(f"no {wish.kind} can be sent here")
        here = self.index + len(self.rows)
        self.rows.append(Sent(self.msg_id, cmd_id, None, group, atomic=wish.kind == ATOMIC))
        inner = tuple([self.command(each, here) for each in wish.requests])
        if wish.kind == ATOMIC:
            return Atomic(cmd_id=cmd_id, commands=inner)
        return SequenceCommand(cmd_id=cmd_id, commands=inner)


def _of_one_verb(bundle: Bundle) -> list[Request]:
    requests = [each for each in bundle.requests if isinstance(each, Request)]
    verbs = {request.verb for request in requests}
    if len(requests) < len(bundle.requests) or len(verbs) > 1 or "Exec" in verbs:
        raise LocalProtocolError("the items of one command are requests of one verb, and Exec has one item")
    return requests


def _check_atomic(bundle: Bundle) -> None:
    """Refuse what Windows answers with a rollback of everything (MS-MDM 2.2.7.2, oma-dm-protocol-support)."""
    seen: set[str] = set()
    for request in _flat(bundle.requests):
        if request.verb == "Get":
            raise LocalProtocolError("an Atomic cannot hold a Get")
        if request.loc_uri in seen:
            raise LocalProtocolError(f"an Atomic cannot hold {request.loc_uri} twice")
        seen.add(request.loc_uri)


def _flat(wishes: Iterable[Wish]) -> Iterable[Request]:
    for wish in wishes:
        if isinstance(wish, Request):
            yield wish
        elif wish.kind == ITEMS:
            yield from _flat(wish.requests)
        else:
            raise LocalProtocolError(f"an Atomic cannot hold a {wish.kind}")


def _verb(name: str) -> type[_Verb]:
    try:
        return _VERBS[name]
    except KeyError:
        raise LocalProtocolError(f"a server does not send {name}") from None


def carry(request: Request, item: Item, msg_id: str, cmd_id: str) -> tuple[Command, Sent]:
    """The command that carries one chunk of a request's value, and its row."""
    return _verb(request.verb)(cmd_id=cmd_id, items=(item,)), Sent(msg_id, cmd_id, request)


def item_of(request: Request) -> Item:
    """The request as the Item of a command."""
    meta = None
    if request.format is not None or request.type is not None:
        meta = Meta(format=request.format, type=request.type)
    return Item(target=Location(request.loc_uri), meta=meta, data=request.data)


def find(sent: Sequence[Sent], msg_ref: str, cmd_ref: str, *, absent: str) -> list[int]:
    """Indexes of the rows a Status or Results speaks of; `absent` is how the reader writes a missing MsgRef.

    Devices leave it out of Results (default "1", RepPro 7.1.16) even when the Get came in a later message.
    Any other MsgRef must be right: the CmdIDs of our next messages start at 1 again.
    """
    return [
        index
        for index, each in enumerate(sent)
        if each.cmd_id == cmd_ref and msg_ref in {each.msg_id, absent}
    ]


def find_by_uri(sent: Sequence[Sent], uris: Iterable[str]) -> list[int]:
    """Indexes of the Gets that asked for one of these LocURIs: Results of some senders name no command."""
    wanted = {_bare(uri) for uri in uris}
    return [
        index
        for index, each in enumerate(sent)
        if each.request is not None and each.request.verb == "Get" and _bare(each.request.loc_uri) in wanted
    ]


def owner(sent: Sequence[Sent], rows: Sequence[int], uri: str | None) -> int:
    """Which of a command's rows an item of its Results belongs to: the one whose LocURI it stands below.

    The nearest one counts, should a command ask for a node and for one below it; the first when there is none.
    """
    best, length = rows[0], -1
    for index in rows:
        base = _uri(sent[index]) or ""
        if uri is not None and f"{_bare(uri)}/".startswith(f"{base}/") and len(base) > length:
            best, length = index, len(base)
    return best


def note_status(sent: list[Sent], rows: Sequence[int], status: Status, code: int) -> None:
    """Write a Status down: for the items its TargetRefs name, else for all of the command.

    One that names no item does not replace what was said of an item before.
    """
    named = {_bare(ref) for ref in status.target_refs}
    matching = [index for index in rows if _uri(sent[index]) in named]
    if not matching:
        matching = [index for index in rows if len(rows) == 1 or sent[index].status is None]
    for index in matching:
        sent[index] = replace(sent[index], status=code, original_error=status.original_error)


def answers(
    sent: Sequence[Sent], parts: Iterable[Part], fresh: Iterable[Heard] = (), *, finished: bool
) -> tuple[Answer, ...]:
    """What was heard of each request; `finished` says that the package with the answers is complete.

    `parts` are what the package's earlier messages brought, `fresh` what the last one did.

    A Get of which the package or a value broke off has none, whatever its Status: half a list must not pass for
    the list. What stands in an Atomic that failed was not done, whatever its own Status says.
    """
    items: dict[int, list[Item]] = {}
    metas: dict[str | None, Meta | None] = {None: None}  # a list has thousands of items and two formats
    plain: dict[int, bool] = {}
    for index, loc_uri, format_, data in parts:
        if format_ not in metas:
            metas[format_] = Meta(format=format_)
        source = None if loc_uri is None else Location(loc_uri)
        items.setdefault(index, []).append(Item(None, source, metas[format_], data))
    for index, item in fresh:
        # one that comes in the last message means no more than one that came before
        items.setdefault(index, []).append(item if _is_plain(item, plain) else _bared(item))
    found = []
    for index, each in enumerate(sent):
        if each.request is None:
            continue
        if each.request.verb == "Get" and (each.spoiled or not finished):
            found.append(Answer(each.request, None))
            continue
        status = _in_its_group(sent, each)
        found.append(Answer(each.request, status, tuple(items.get(index, ())), each.original_error))
    return tuple(found)


def _bared(item: Item) -> Item:
    """The Item without what is not kept of it."""
    _, loc_uri, format_, data = part_of(0, item)
    source = None if loc_uri is None else Location(loc_uri)
    return Item(None, source, None if format_ is None else Meta(format=format_), data)


def _is_plain(item: Item, plain: dict[int, bool]) -> bool:
    """Whether an Item of Results says what is kept of it and nothing else, as nearly all do.

    `plain` remembers it of their Metas, for the reader gives equal ones as one value.
    """
    source, meta = item.source, item.meta
    if item.target is not None or item.extra or item.more_data:
        return False
    if source is not None and (source.loc_name is not None or source.extra):
        return False
    if meta is None:
        return True
    known = plain.get(id(meta))
    if known is None:
        known = plain[id(meta)] = meta.format is not None and meta == Meta(format=meta.format)
    return known


def _in_its_group(sent: Sequence[Sent], each: Sent) -> int | None:
    """The request's status, seen with that of the Atomic around it."""
    status = each.status
    if each.group is not None:
        group = sent[each.group]
        if group.atomic and group.status is not None and group.status >= _FAILED:
            if status is None:
                return int(StatusCode.NOT_EXECUTED)
            if status < _FAILED and status != StatusCode.NOT_EXECUTED:
                return int(StatusCode.ATOMIC_ROLLED_BACK)
    return status


def part_of(index: int, item: Item) -> Part:
    """LocURI, Format and Data: of a Results item only these carry meaning for a reader of trees."""
    return (
        index,
        item.source.loc_uri if item.source else None,
        item.meta.format if item.meta else None,
        item.data,
    )


def _uri(sent: Sent) -> str | None:
    return None if sent.request is None else _bare(sent.request.loc_uri)


def _bare(uri: str) -> str:
    return uri.partition("?")[0]
