"""The list an administrator sees: one row for each visible update, derived from its highest revision.

Everything that a list is filtered, searched and ordered by is in this narrow table, in the transaction that
changes it. The documents, some of which fill megabytes, are not looked at.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, select

from mdm.catalog.ids import among, chunks, rows_among
from mdm.catalog.supersedence import older_than, superseded_since, visible
from mdm.catalog.words import (
    CURRENT,
    EXPIRED,
    NO_EULA,
    PUBLISHED,
    SUPERSEDED,
    category_facet,
    eula_facet,
    kb_facet,
    severity_facet,
    type_facet,
    words_of,
)
from mdm.storage.statements import table_of, upsert
from mdm.storage.tables import ListedUpdate, RevisionCategory, UpdateRevision

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection

__all__ = ["list_again", "position_of", "superseded_again"]

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Positions count seconds from here: 31 bits of them last until 2068."""
_TIE_BITS: Final = 32
_SECONDS_MAX: Final = 2**31 - 1

_revision = table_of(UpdateRevision)
_revision_category = table_of(RevisionCategory)
_listed = table_of(ListedUpdate)

_visible = select(
    _revision.c.update_id,
    _revision.c.update_type,
    _revision.c.title,
    _revision.c.description,
    _revision.c.kb_all,
    _revision.c.msrc_severity,
    _revision.c.security_bulletin,
    _revision.c.created,
    _revision.c.publication_state,
    _revision.c.eula_id,
    _revision.c.driver,
).where(*visible(_revision), among(_revision.c.update_id))
_of_highest = (
    select(_revision_category.c.update_id, _revision_category.c.category_id)
    .join(
        _revision,
        (_revision.c.update_id == _revision_category.c.update_id)
        & (_revision.c.revision_number == _revision_category.c.revision_number)
        & _revision.c.is_latest,
    )
    .where(among(_revision_category.c.update_id))
)
_rows_held = select(_listed).where(among(_listed.c.update_id))
_dates_held = select(_listed.c.update_id, _listed.c.superseded_at).where(among(_listed.c.update_id))
_at = select(_listed.c.position, _listed.c.update_id).where(among(_listed.c.position))


def position_of(created: datetime | None, update_id: str) -> int:
    """Return where an update stands in the list: by its CreationDate, then by its id; without a date last."""
    seconds = 0 if created is None else int((created - _EPOCH).total_seconds())
    return (min(max(seconds, 0), _SECONDS_MAX) << _TIE_BITS) | int(update_id[:8], 16)


def list_again(connection: Connection, update_ids: Iterable[str]) -> None:
    """Bring the rows of these updates up to date: made, changed or removed as their highest revision says."""
    wanted = set(update_ids)
    rows = _rows(connection, wanted)
    held = {row.update_id: row for row in rows_among(connection, _rows_held, wanted)}
    gone = held.keys() - rows.keys()
    moved = {key for key in rows.keys() & held.keys() if held[key].position != rows[key]["position"]}
    for chunk in chunks(gone | moved):
        connection.execute(delete(_listed).where(_listed.c.update_id.in_(chunk)))
    changed = [
        row for key, row in rows.items() if key in moved or key not in held or _differs(row, held[key])
    ]
    _place(connection, changed)


def superseded_again(connection: Connection, update_ids: Iterable[str]) -> None:
    """Bring up to date whether what these updates supersede, near or far, and they themselves, are superseded."""
    affected = older_than(connection, update_ids)
    held: dict[str, datetime | None] = dict(rows_among(connection, _dates_held, affected))
    since = superseded_since(connection, held)
    list_again(connection, {key for key, moment in held.items() if moment != since.get(key)})


# --- rows -----------------------------------------------------------------------------------------------


def _differs(row: Mapping[str, Any], held: Any) -> bool:
    return (row["words"], row["superseded_at"]) != (held.words, held.superseded_at)


def _rows(connection: Connection, update_ids: set[str]) -> dict[str, dict[str, Any]]:
    """What the rows of the visible ones among these updates ought to be."""
    found = list(rows_among(connection, _visible, update_ids))
    categories = _categories(connection, [row.update_id for row in found])
    since = superseded_since(connection, (row.update_id for row in found))
    rows: dict[str, dict[str, Any]] = {}
    for row in found:
        superseded_at = since.get(row.update_id)
        facets = _facets(row, categories.get(row.update_id, ()), superseded=superseded_at is not None)
        rows[row.update_id] = {
            "position": position_of(row.created, row.update_id),
            "update_id": row.update_id,
            "superseded_at": superseded_at,
            "words": " ".join((*_words(row), *facets)),
        }
    return rows


def _words(row: Any) -> tuple[str, ...]:
    driver = row.driver or {}
    return words_of(
        row.title,
        *(f"KB{number}" for number in row.kb_all),
        row.security_bulletin,
        *(value for value in driver.values() if isinstance(value, str)),
        *driver.get("hardware_ids", ()),
        row.description,
    )


def _facets(row: Any, categories: Iterable[str], *, superseded: bool) -> Iterable[str]:
    yield type_facet(row.update_type)
    yield SUPERSEDED if superseded else CURRENT
    yield EXPIRED if row.publication_state == "Expired" else PUBLISHED
    yield eula_facet(row.eula_id) if row.eula_id is not None else NO_EULA
    if row.msrc_severity is not None:
        yield severity_facet(row.msrc_severity)
    yield from map(kb_facet, row.kb_all)
    yield from map(category_facet, categories)


def _categories(connection: Connection, update_ids: Iterable[str]) -> dict[str, list[str]]:
    categories: dict[str, list[str]] = {}
    for update_id, category_id in rows_among(connection, _of_highest, update_ids):
        categories.setdefault(update_id, []).append(category_id)
    return categories


def _place(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Write rows, each at its position or at the next that is free."""
    if not rows:
        return
    taken = _taken(connection, (row["position"] for row in rows))
    for row in rows:
        while taken.setdefault(row["position"], row["update_id"]) != row["update_id"]:
            row["position"] += 1
            taken = _taken(connection, [row["position"]]) | taken
    connection.execute(
        upsert(ListedUpdate, connection, key=("update_id",), update=("position", "superseded_at", "words")),
        rows,
    )


def _taken(connection: Connection, positions: Iterable[int]) -> dict[int, str]:
    """Which updates stand at these positions."""
    return dict(rows_among(connection, _at, positions))
