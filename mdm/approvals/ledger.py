"""The ledger of licences: who accepted which text, when, from where and for whom.

Its rows are only ever added, and the texts they name are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select, tuple_

from mdm.approvals.acceptance import acceptance_holds
from mdm.storage.statements import table_of
from mdm.storage.tables import EulaAcceptance

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import Connection, Select

__all__ = ["Acceptance", "acceptances_of", "list_acceptances", "oldest_acceptances"]

_PAGE: Final = 500
"""Rows read by one statement of an export."""

_acceptance = table_of(EulaAcceptance)

_ROWS: Final = select(
    _acceptance.c.id,
    _acceptance.c.eula_id,
    _acceptance.c.locale,
    _acceptance.c.geo_id,
    _acceptance.c.text_sha256,
    _acceptance.c.accepted_by,
    _acceptance.c.by_machine,
    _acceptance.c.organization,
    _acceptance.c.accepted_at,
    _acceptance.c.remote_addr,
    _acceptance.c.request_id,
    acceptance_holds().label("holds"),
)
_place: Final = tuple_(_acceptance.c.accepted_at, _acceptance.c.id)
_OLDEST_FIRST: Final = _ROWS.order_by(_acceptance.c.accepted_at, _acceptance.c.id)
_NEWEST_FIRST: Final = _ROWS.order_by(_acceptance.c.accepted_at.desc(), _acceptance.c.id.desc())


@dataclass(frozen=True, slots=True)
class Acceptance:
    """One row of the ledger."""

    id: str
    eula_id: str
    locale: str
    geo_id: str | None
    """With `locale` the text that was shown."""
    text_sha256: str
    accepted_by: str
    """`client:<token name>` for a program."""
    by_machine: bool
    """A program accepted it, as a setting allowed; False: a person who was signed in."""
    organization: str | None
    """In whose name, as the setting was then."""
    accepted_at: datetime
    remote_addr: str | None
    """Where the request came from."""
    request_id: str | None
    """The X-Request-Id of that request, which the audit trail and the log have too."""
    holds: bool
    """False once the text has been replaced by another."""


def acceptances_of(conn: Connection, eula_id: str) -> tuple[Acceptance, ...]:
    """Every acceptance of one EULA, oldest first."""
    return tuple(_read(conn, _OLDEST_FIRST.where(_acceptance.c.eula_id == eula_id)))


def list_acceptances(
    conn: Connection, *, eula_id: str | None = None, before: tuple[datetime, str] | None, limit: int
) -> list[Acceptance]:
    """At most `limit` acceptances, newest first, from the one behind `before` (its time and id) on."""
    query = _NEWEST_FIRST.limit(limit)
    if eula_id is not None:
        query = query.where(_acceptance.c.eula_id == eula_id)
    if before is not None:
        query = query.where(_place < before)
    return _read(conn, query)


def oldest_acceptances(conn: Connection) -> Iterator[Acceptance]:
    """The whole ledger, oldest first, read in pieces: for an export."""
    query = _OLDEST_FIRST.limit(_PAGE)
    rows = _read(conn, query)
    while rows:
        yield from rows
        rows = _read(conn, query.where(_place > (rows[-1].accepted_at, rows[-1].id)))


def _read(conn: Connection, query: Select[Any]) -> list[Acceptance]:
    return [
        Acceptance(**{**row, "geo_id": row["geo_id"] or None, "holds": bool(row["holds"])})
        for row in conn.execute(query).mappings()
    ]
