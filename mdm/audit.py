"""The audit trail: each change of the service's own state appends one entry in the transaction of the change.

Entries wait until the transaction commits and are appended as the last thing before that, because the end of the
chain can be held by one transaction at a time. So changes wait for each other only while they commit, and a
transaction that holds the end needs nothing else any more: no deadlock can contain it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import bindparam, event, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import col

from mdm.audit_chain import entry_hash, plain
from mdm.errors import Unavailable
from mdm.storage.statements import table_of
from mdm.storage.tables import AuditEntry, AuditHead

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection

__all__ = ["AuditView", "Origin", "list_entries", "record"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asks for a change, and through which request."""

    actor: str
    """`client:<token name>` over REST, `command-line` for the program's own commands."""
    token_id: str | None = None
    """Tells apart tokens of the same name."""
    request_id: str | None = None
    remote_addr: str | None = None


@dataclass(frozen=True, slots=True)
class AuditView:
    """One entry of the trail."""

    seq: int
    at: datetime
    actor: str
    action: str
    object_type: str
    object_id: str
    detail: Mapping[str, Any]
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    request_id: str | None
    remote_addr: str | None
    hash: str


def record(
    conn: Connection,
    origin: Origin,
    *,
    now: datetime,
    action: str,
    object_type: str,
    object_id: str,
    detail: Mapping[str, Any] | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Append one entry when the transaction commits; what is undone, a savepoint included, leaves none.

    `before` and `after` are the object's members, None where it does not exist; of two, only what differs is
    kept. All three mappings hold JSON values and times, and never a secret.
    """
    members = dict(detail or {})
    if origin.token_id is not None:
        members["token_id"] = origin.token_id
    old, new = plain(before), plain(after)
    if old is not None and new is not None:
        same = {name for name in old.keys() & new.keys() if old[name] == new[name]}
        old, new = ({name: each[name] for name in each if name not in same} for each in (old, new))
    _waiting_on(conn).entries.append(
        {
            "at": now,
            "actor": origin.actor,
            "action": action,
            "object_type": object_type,
            "object_id": object_id,
            "detail": plain(members),
            "before": old,
            "after": new,
            "request_id": origin.request_id,
            "remote_addr": origin.remote_addr,
        }
    )


def list_entries(
    conn: Connection,
    *,
    before: int | None,
    limit: int,
    actor: str | None = None,
    action: str | None = None,
    object_type: str | None = None,
    object_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[AuditView]:
    """At most `limit` entries older than the sequence number `before`, newest first.

    `since` is the first moment wanted, `until` the first one that is not.
    """
    query = select(
        col(AuditEntry.seq),
        col(AuditEntry.at),
        col(AuditEntry.actor),
        col(AuditEntry.action),
        col(AuditEntry.object_type),
        col(AuditEntry.object_id),
        col(AuditEntry.detail),
        col(AuditEntry.before),
        col(AuditEntry.after),
        col(AuditEntry.request_id),
        col(AuditEntry.remote_addr),
        col(AuditEntry.hash),
    )
    if before is not None:
        query = query.where(col(AuditEntry.seq) < before)
    for column, wanted in (
        (col(AuditEntry.actor), actor),
        (col(AuditEntry.action), action),
        (col(AuditEntry.object_type), object_type),
        (col(AuditEntry.object_id), object_id),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    if since is not None:
        query = query.where(col(AuditEntry.at) >= since)
    if until is not None:
        query = query.where(col(AuditEntry.at) < until)
    rows = conn.execute(query.order_by(col(AuditEntry.seq).desc()).limit(limit))
    return [AuditView(**row) for row in rows.mappings()]


# --- appending ------------------------------------------------------------------------------------------


class _Waiting:
    """The entries of one connection's transaction, until it commits."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self._marks: list[int] = []
        """How many entries each open savepoint found, the innermost last; SQLAlchemy warns of any other order."""

    def listen(self, conn: Connection) -> None:
        """Follow the connection's transactions."""
        event.listen(conn, "commit", self._commit)
        event.listen(conn, "rollback", self._rollback)
        event.listen(conn, "savepoint", self._savepoint)
        event.listen(conn, "rollback_savepoint", self._rollback_savepoint)
        event.listen(conn, "release_savepoint", self._release_savepoint)

    def _commit(self, conn: Connection) -> None:
        """Append them; what this raises undoes the whole change."""
        entries, self.entries, self._marks = self.entries, [], []
        if entries:
            _append(conn, entries)

    def _rollback(self, _conn: Connection) -> None:
        self.entries, self._marks = [], []

    def _savepoint(self, _conn: Connection, _name: None) -> None:
        self._marks.append(len(self.entries))

    def _rollback_savepoint(self, _conn: Connection, _name: str, _context: None) -> None:
        # One that has no mark began before the first entry.
        del self.entries[self._marks.pop() if self._marks else 0 :]

    def _release_savepoint(self, _conn: Connection, _name: str, _context: None) -> None:
        if self._marks:
            self._marks.pop()


_head: Final = table_of(AuditHead)
_END: Final = select(_head.c.seq, _head.c.hash).with_for_update()
_APPEND: Final = insert(table_of(AuditEntry))
_MOVE: Final = update(_head).values(seq=bindparam("new_seq"), hash=bindparam("new_hash"))

_waiting: Final[WeakKeyDictionary[Connection, _Waiting]] = WeakKeyDictionary()


def _waiting_on(conn: Connection) -> _Waiting:
    """The connection's entries; a `Connection` belongs to one thread and, from `Database`, to one transaction."""
    found = _waiting.get(conn)
    if found is None:
        found = _waiting[conn] = _Waiting()
        found.listen(conn)
    return found


def _append(conn: Connection, entries: list[dict[str, Any]]) -> None:
    """Link the entries to the end of the chain, which is locked from here to the end of the commit."""
    head = conn.execute(_END).one_or_none()
    if head is None:
        raise Unavailable(
            "Nothing can be changed, because the audit trail has lost the row in audit_head that says where it "
            "ends: somebody has changed the database. csp-bridge audit verify looks at the rest."
        )
    seq, last = head.seq, head.hash
    for entry in entries:
        seq += 1
        last = entry_hash(entry | {"seq": seq}, last)
        entry.update(seq=seq, hash=last)
    try:
        conn.execute(_APPEND, entries)
    except IntegrityError as error:
        raise Unavailable(
            f"Nothing can be changed, because the audit trail holds entries behind {head.seq}, where it ends: "
            "somebody has changed the database. csp-bridge audit verify says more."
        ) from error
    conn.execute(_MOVE, {"new_seq": seq, "new_hash": last})
