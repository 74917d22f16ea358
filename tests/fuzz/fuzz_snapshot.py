"""Target: what a device may answer to the Gets on its Update tree, into the snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shapes import GUIDS, LISTS, Choices, text

from csp.guid import parse_guid
from csp.snapshot import MAX_ENTRIES, MAX_PROBLEMS, UpdateSnapshot
from syncml.errors import RemoteProtocolError
from syncml.exchange import Answer, Request
from syncml.messages import Item, Location, Meta, Results
from syncml.reader import read_message

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["NAME", "answers", "run"]

NAME: Final = "snapshot"
_LEAVES: Final = ("Type", "RevisionNumber", "HResult", "State", "InstalledTime", "ApprovedTime", "New", "A/B")
_QUERIES: Final = ("?list=StructData", "", "?list=Struct", "?prop=ACL", "?list=TNDS+Prop", "?")
_STATUSES: Final = (200, 404, None, 500, 213, 0)
_INT_END: Final = 1 << 32


def answers(data: bytes) -> list[Answer]:
    """The answers under test: the Results of the message in `data`, or some that it decides about."""
    if data.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<"):
        return list(_read(data))
    choices = Choices(data)
    return [_made(choices) for _ in range(1 + choices.below(6))]


def run(data: bytes) -> None:
    """Raises for anything at all that escapes, and for a snapshot that its readers could not believe."""
    told = answers(data)
    snapshot = UpdateSnapshot.from_answers(told)
    assert snapshot == UpdateSnapshot.from_answers(told)
    assert len(snapshot.problems) <= MAX_PROBLEMS + 1
    assert all(problem.isprintable() for problem in snapshot.problems), snapshot.problems
    entries = [entry for entries in snapshot.lists.values() for entry in entries.items()]
    entries += [(guid, entry) for (_, guid), entry in snapshot.nodes.items() if entry is not None]
    for guid, entry in entries:
        assert guid == entry.update_id == parse_guid(guid)
        for number in (entry.revision_number, entry.update_type, entry.hresult, entry.failure_state):
            assert number is None or 0 <= number < _INT_END
    assert all(len(entries) <= MAX_ENTRIES for entries in snapshot.lists.values())
    good = {
        answer.request.loc_uri.partition("?")[0].rpartition("/")[2].lower()
        for answer in told
        if answer.request.verb == "Get" and answer.status is not None and answer.items
    }
    for which in snapshot.lists:
        # a list nobody answered with items is absent, never empty
        assert f"{(which.name or '').replace('_', '').lower()}updates" in good, which


def _read(data: bytes) -> Iterator[Answer]:
    try:
        message = read_message(data)
    except RemoteProtocolError:
        return
    for command in message.commands:
        if isinstance(command, Results):
            for name in LISTS:
                request = Request("Get", f"./Vendor/MSFT/Update/{name}?list=StructData")
                yield Answer(request, 200, command.items)


def _made(choices: Choices) -> Answer:
    base = f"./Vendor/MSFT/Update/{choices.pick(LISTS)}"
    if choices.rarely():
        base += f"/{choices.pick(GUIDS)}"
    elif choices.rarely():
        base = text(choices)
    verb = "Get" if not choices.rarely() else "Add"
    items = [_item(choices, base) for _ in range(choices.below(8))]
    return Answer(Request(verb, base + choices.pick(_QUERIES)), choices.pick(_STATUSES), tuple(items))


def _item(choices: Choices, base: str) -> Item:
    uri = base
    if choices.below(4):
        uri += f"/{choices.pick(GUIDS) if not choices.rarely() else text(choices)}"
        if choices.below(4):
            uri += f"/{choices.pick(_LEAVES)}"
    if choices.rarely():
        uri = uri.replace(
            "./Vendor", choices.pick(("./Device/Vendor", "./vendor", "/Vendor", ".//Vendor")), 1
        )
    place = None if choices.rarely() else Location(uri)
    data = None if choices.rarely() else text(choices)
    if choices.rarely():
        data = "/".join(choices.pick(GUIDS) for _ in range(choices.below(5)))
    target = choices.rarely()
    return Item(
        target=place if target else None, source=None if target else place, meta=Meta(format="int"), data=data
    )
