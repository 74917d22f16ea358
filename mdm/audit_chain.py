"""The audit trail as a chain: each entry's hash covers all its fields and the hash of the entry before it.

Whoever changes, removes, swaps or adds an entry in the database breaks the chain at that place. The hashes hold
no secret, so whoever can write to the database can also compute a whole new chain: against that helps only a
hash that was noted outside of it (`verify(noted=...)`). `docs/audit.md` promises the form to third parties, who
check exports without us: it never changes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, select
from sqlmodel import col

from mdm.errors import NotFound
from mdm.storage.statements import table_of
from mdm.storage.tables import AuditEntry, AuditHead

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Connection

__all__ = [
    "GENESIS",
    "Break",
    "Link",
    "UnreadableEntryError",
    "Verdict",
    "canonical",
    "entry_hash",
    "export_entries",
    "plain",
    "verify",
]

GENESIS: Final = "0" * 64
"""What stands in the place of the hash before the first entry."""

_PAGE: Final = 1000
"""Entries read by one statement: the trail may be longer than memory, and statements have a time limit."""

_UNREADABLE: Final = (TypeError, ValueError, RecursionError)
"""What reading a value raises that the bridge cannot have written; SQLite stores anything in any column."""

_NOT_OURS: Final = "A field of this entry cannot be read, so it is not what the bridge wrote."
_NOTED_MISSING: Final = "The entry noted is missing: the chain was written anew without it."

_entry: Final = table_of(AuditEntry)
_HASHED: Final = (
    *("seq", "at", "actor", "action", "object_type", "object_id", "detail", "before", "after"),
    *("request_id", "remote_addr"),
)
_NAMES: Final = (*_HASHED, "hash")
_ENTRIES: Final = select(*(_entry.c[name] for name in _NAMES)).order_by(_entry.c.seq)


class UnreadableEntryError(Exception):
    """An entry holds what the bridge cannot have written, so it has no form to be exported in."""

    def __init__(self, seq: int) -> None:
        """`seq` is the entry's number."""
        super().__init__(f"Audit entry {seq} cannot be read, so it is not what the bridge wrote.")
        self.seq = seq


@dataclass(frozen=True, slots=True)
class Link:
    """A place in the chain: an entry's number and its hash."""

    seq: int
    hash: str


@dataclass(frozen=True, slots=True)
class Break:
    """The first place where the chain does not hold."""

    seq: int
    """The entry concerned, which may be a missing one."""
    reason: str
    """What is wrong with it, in a sentence."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found."""

    checked: int
    """Entries that hold together."""
    last: Link | None
    """The last of them."""
    head: Link | None
    """The end of the chain as the bridge keeps it beside the entries."""
    fault: Break | None
    complete: bool
    """Whether the end was reached; a fault ends the work before it."""


# --- the form -------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """The value as it comes back from storage: JSON, with times as texts.

    Raises TypeError for anything else, and ValueError for a number that JSON lacks.
    """
    return json.loads(json.dumps(value, default=_time_text, allow_nan=False))


def canonical(value: Any) -> str:
    """The one text of a JSON value: ASCII, members sorted, no spaces.

    ASCII, because a name of a file that is not UTF-8 must not keep a change from being recorded.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def entry_hash(fields: Mapping[str, Any], previous: str) -> str:
    """The SHA-256 of an entry with these columns (a `hash` among them is left out) behind the hash `previous`."""
    return hashlib.sha256(canonical(_document(fields, previous)).encode("ascii")).hexdigest()


def _document(fields: Mapping[str, Any], previous: str) -> dict[str, Any]:
    """What the hash is made of, as an export shows it."""
    shown = {name: fields[name] for name in _HASHED}
    shown["at"] = _time_text(shown["at"])
    shown["previous"] = previous
    return shown


def _time_text(moment: Any) -> str:
    """RFC 3339 in UTC with `Z`, with microseconds if there are any.

    The same as the API shows today, and not shared with it: this form may never change.
    """
    if not isinstance(moment, datetime):
        msg = f"{type(moment).__name__} has no form in the audit trail"
        raise TypeError(msg)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone cannot be recorded")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


# --- verification ---------------------------------------------------------------------------------------


def verify(
    conn: Connection, *, after: int | None = None, limit: int | None = None, noted: Link | None = None
) -> Verdict:
    """Recompute the chain and name the first place where it does not hold.

    `after` begins behind an entry, whose hash is then believed; raises NotFound if there is no such entry.
    `limit` bounds the entries looked at. `noted` is a place that must be in the chain with this very hash.
    """
    head = _head(conn)
    last = None if after is None else _link(conn, after)
    if after is not None and last is None:
        raise NotFound(f"There is no audit entry {after} to begin behind.")
    checked = 0
    try:
        for row in _walk(conn, after, limit):
            fault = _fault(row, last, head, noted)
            if fault is not None:
                return Verdict(checked, last, head, fault, complete=False)
            last = Link(row["seq"], row["hash"])
            checked += 1
    except UnreadableEntryError as error:
        return Verdict(checked, last, head, Break(error.seq, _NOT_OURS), complete=False)
    if limit is not None and checked == limit:
        return Verdict(checked, last, head, None, complete=False)
    fault = _fault_of_end(last, head, noted)
    return Verdict(checked, last, head, fault, complete=True)


def _fault(row: Mapping[str, Any], last: Link | None, head: Link | None, noted: Link | None) -> Break | None:
    """What is wrong with the entry that comes after `last`."""
    seq, before = row["seq"], 0 if last is None else last.seq
    if noted is not None and before < noted.seq < seq:
        return Break(noted.seq, _NOTED_MISSING)
    if head is not None and seq > head.seq:
        return Break(
            seq, f"The chain ends with entry {head.seq}: something else than the bridge added this one."
        )
    reason = _fault_of_hash(row, last)
    if reason is None and noted is not None and noted.seq == seq and noted.hash != row["hash"]:
        reason = "This entry has another hash than the one noted: the chain was written anew."
    return None if reason is None else Break(seq, reason)


def _fault_of_hash(row: Mapping[str, Any], last: Link | None) -> str | None:
    try:
        computed = entry_hash(row, GENESIS if last is None else last.hash)
    except _UNREADABLE:
        return _NOT_OURS
    return None if computed == row["hash"] else _mismatch(row["seq"], 0 if last is None else last.seq)


def _mismatch(seq: int, before: int) -> str:
    if before + 1 == seq - 1:
        return f"Entry {seq - 1} is missing, or this entry was changed."
    if before + 1 < seq:
        return f"Entries {before + 1} to {seq - 1} are missing, or this entry was changed."
    return "This entry does not match its hash: it, or the entry before it, is not what the bridge wrote."


def _fault_of_end(last: Link | None, head: Link | None, noted: Link | None) -> Break | None:
    """What is wrong although all entries that are there hold together."""
    end = last or Link(0, GENESIS)
    if head is None:
        return Break(end.seq, "The bridge's note of where the chain ends (audit_head) is missing.")
    if end.seq < head.seq:
        first = end.seq + 1
        which = f"Entry {first} is" if first == head.seq else f"Entries {first} to {head.seq} are"
        return Break(first, f"{which} missing at the end of the chain.")
    if end.hash != head.hash:
        return Break(end.seq, "The chain ends with another hash than the bridge has noted in audit_head.")
    if noted is not None and noted.seq > end.seq:
        return Break(noted.seq, _NOTED_MISSING)
    return None


# --- reading --------------------------------------------------------------------------------------------


def export_entries(
    conn: Connection, *, since: datetime | None = None, until: datetime | None = None
) -> Iterator[dict[str, Any]]:
    """Each entry with the hash before it (`previous`) and its own, oldest first.

    From the first to the last entry that is not before `since` and is before `until`, with everything between
    the two: the clock is read before a transaction waits for its turn, so times need not rise with every entry, and a chain
    with holes proves nothing. Raises UnreadableEntryError.
    """
    first, last = _bounds(conn, since, until)
    if first is None or last is None:
        return
    start = conn.execute(
        select(col(AuditEntry.seq), col(AuditEntry.hash))
        .where(col(AuditEntry.seq) < first)
        .order_by(col(AuditEntry.seq).desc())
        .limit(1)
    ).one_or_none()
    after, previous = (None, GENESIS) if start is None else (start.seq, start.hash)
    for row in _walk(conn, after, None):
        if row["seq"] > last:
            return
        yield _document(row, previous) | {"hash": row["hash"]}
        previous = row["hash"]


def _bounds(
    conn: Connection, since: datetime | None, until: datetime | None
) -> tuple[int | None, int | None]:
    """The first and the last entry whose time is in the range."""
    query = select(func.min(col(AuditEntry.seq)), func.max(col(AuditEntry.seq)))
    if since is not None:
        query = query.where(col(AuditEntry.at) >= since)
    if until is not None:
        query = query.where(col(AuditEntry.at) < until)
    first, last = conn.execute(query).one()
    return first, last


def _walk(conn: Connection, after: int | None, limit: int | None) -> Iterator[dict[str, Any]]:
    """The entries behind `after` in their order, at most `limit`; raises UnreadableEntryError."""
    size = _PAGE
    left = limit
    while left is None or left > 0:
        wanted = size if left is None else min(size, left)
        try:
            rows = _page(conn, after, wanted)
        except _UNREADABLE as error:
            if wanted == 1:
                raise UnreadableEntryError(_next(conn, after)) from error
            size = 1  # one by one, to find out which it is
            continue
        yield from rows
        if len(rows) < wanted:
            return
        after = rows[-1]["seq"]
        left = None if left is None else left - len(rows)


def _page(conn: Connection, after: int | None, size: int) -> list[dict[str, Any]]:
    query = _ENTRIES.limit(size)
    if after is not None:
        query = query.where(_entry.c.seq > after)
    return [dict(zip(_NAMES, row, strict=True)) for row in conn.execute(query)]


def _next(conn: Connection, after: int | None) -> int:
    """The number alone of the entry behind `after`, which must be there."""
    query = select(_entry.c.seq).order_by(_entry.c.seq).limit(1)
    if after is not None:
        query = query.where(_entry.c.seq > after)
    return int(conn.execute(query).scalar_one())


def _link(conn: Connection, seq: int) -> Link | None:
    found = conn.scalar(select(col(AuditEntry.hash)).where(col(AuditEntry.seq) == seq))
    return None if found is None else Link(seq, found)


def _head(conn: Connection) -> Link | None:
    row = conn.execute(select(col(AuditHead.seq), col(AuditHead.hash))).one_or_none()
    return None if row is None else Link(row.seq, row.hash)
