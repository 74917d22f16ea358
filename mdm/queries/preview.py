"""What criteria match now, asked of the whole catalogue; nothing is written."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mdm.queries.records import walk

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.queries.criteria import Criterion, UpdateRecord

__all__ = ["SHOWN", "QueryPreview", "ShownUpdate", "preview_criteria", "sentence"]

SHOWN: Final = 50
"""Updates named in a preview."""


@dataclass(frozen=True, slots=True)
class ShownUpdate:
    """An update, in brief, and why the criteria say what they say of it."""

    update_id: str
    title: str
    kb: tuple[str, ...]
    created: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class QueryPreview:
    """What criteria come to."""

    matching: int
    unknown: int
    """Updates of which the catalogue does not say what the criteria ask; they do not match."""
    of: int
    """All listed updates."""
    as_of: datetime
    updates: tuple[ShownUpdate, ...]
    """The newest of those that match."""
    unknown_updates: tuple[ShownUpdate, ...]
    """The newest of those for which it is unknown."""


def preview_criteria(conn: Connection, criterion: Criterion, *, now: datetime) -> QueryPreview:
    """Ask the criteria of every listed update."""
    counts: dict[bool | None, int] = {True: 0, False: 0, None: 0}
    shown: dict[bool | None, list[ShownUpdate]] = {True: [], None: []}
    for batch in walk(lambda: nullcontext(conn), now):
        for found in batch:
            answer = criterion.holds(found.record)
            counts[answer] += 1
            if answer in shown and len(shown[answer]) < SHOWN:
                shown[answer].append(_shown(found.record, criterion.because(found.record)))
    return QueryPreview(
        matching=counts[True],
        unknown=counts[None],
        of=sum(counts.values()),
        as_of=now,
        updates=tuple(shown[True]),
        unknown_updates=tuple(shown[None]),
    )


def _shown(record: UpdateRecord, reason: str) -> ShownUpdate:
    """The update in brief, with a phrase made into a sentence."""
    kb = tuple(sorted(record.kb_all))
    return ShownUpdate(record.update_id, record.title, kb, record.created, sentence(reason))


def sentence(phrase: str) -> str:
    """The phrase with a capital and a full stop."""
    return f"{phrase[:1].upper()}{phrase[1:]}."
