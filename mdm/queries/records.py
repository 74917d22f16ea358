"""The catalogue as records that criteria are asked of: listed updates by their highest revision, the newest first."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, func, select

from mdm.catalog.search import LACKED_STATES
from mdm.catalog.store import CLASSIFICATION
from mdm.queries.criteria import UpdateRecord
from mdm.storage.statements import table_of
from mdm.storage.tables import (
    Category,
    DeviceUpdate,
    ListedUpdate,
    RevisionCategory,
    RevisionText,
    UpdateRevision,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from sqlalchemy import Connection, Select, Table

__all__ = ["Categories", "Found", "read_records", "walk"]

_BATCH: Final = 500
"""Updates read together: their ids stand in one IN list."""

_listed = table_of(ListedUpdate)
_revision = table_of(UpdateRevision)
_revision_category = table_of(RevisionCategory)
_text = table_of(RevisionText)
_category = table_of(Category)
_device_update = table_of(DeviceUpdate)


@dataclass(frozen=True, slots=True)
class Found:
    """An update and where it stands in the list."""

    position: int
    eula_id: str | None
    record: UpdateRecord


@dataclass(frozen=True, slots=True)
class Categories:
    """The category list: what belongs to what, and what each is called."""

    belongs_to: Mapping[str, frozenset[str]]
    """Each category that is no classification, with itself and with all that it belongs to: family and company."""
    titles: Mapping[str, str]
    classifications: frozenset[str]

    @classmethod
    def load(cls, connection: Connection) -> Categories:
        """Read all of them; there are some thousands."""
        rows = connection.execute(
            select(_category.c.id, _category.c.parent_id, _category.c.title, _category.c.category_type)
        ).all()
        parents = {row.id: row.parent_id for row in rows}
        classifications = frozenset(row.id for row in rows if row.category_type == CLASSIFICATION)
        return cls(
            belongs_to={each: _line(each, parents) for each in parents.keys() - classifications},
            titles={row.id: row.title for row in rows},
            classifications=classifications,
        )

    def products(self, category_ids: Sequence[str]) -> frozenset[str]:
        """These without classifications, and with everything that they belong to."""
        return frozenset().union(
            *(self.belongs_to.get(each, (each,)) for each in category_ids if each not in self.classifications)
        )


def _line(category_id: str, parents: Mapping[str, str | None]) -> frozenset[str]:
    """A category with what it belongs to, and what that belongs to; a ring ends where it began."""
    found: set[str] = set()
    following: str | None = category_id
    while following is not None and following not in found:
        found.add(following)
        following = parents.get(following)
    return frozenset(found)


def walk(
    reading: Callable[[], AbstractContextManager[Connection]], as_of: datetime, *, batch: int = _BATCH
) -> Iterator[list[Found]]:
    """Yield all listed updates, the newest first, some hundreds at a time, each read in a transaction of `reading`."""
    after: int | None = None
    with reading() as connection:
        categories = Categories.load(connection)
    while True:
        with reading() as connection:
            found = read_records(connection, categories, as_of=as_of, after=after, limit=batch)
        if not found:
            return
        yield found
        after = found[-1].position


def read_records(
    connection: Connection, categories: Categories, *, as_of: datetime, after: int | None, limit: int
) -> list[Found]:
    """At most `limit` listed updates below the position `after`, the newest first."""
    statement = (
        select(
            _listed.c.position,
            _listed.c.superseded_at,
            _revision.c.update_id,
            _revision.c.update_type,
            _revision.c.language,
            _revision.c.title,
            _revision.c.description,
            _revision.c.kb_all,
            _revision.c.msrc_severity,
            _revision.c.security_bulletin,
            _revision.c.created,
            _revision.c.publication_state,
            _revision.c.eula_id,
            _revision.c.classification_id,
            _revision.c.reboot_behavior,
            _revision.c.download_size,
        )
        .join(_revision, and_(_revision.c.update_id == _listed.c.update_id, _revision.c.is_latest))
        .order_by(_listed.c.position.desc())
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(_listed.c.position < after)
    rows = connection.execute(statement).all()
    ids = [row.update_id for row in rows]
    in_categories = _grouped(connection, _of_latest(_revision_category, "category_id", ids))
    languages = _grouped(connection, _of_latest(_text, "language", ids))
    needed = _needed(connection, ids)
    return [
        Found(
            row.position,
            row.eula_id,
            _record(
                row,
                as_of=as_of,
                categories=categories,
                category_ids=in_categories.get(row.update_id, []),
                languages=languages.get(row.update_id, []),
                needed_by=needed.get(row.update_id, 0),
            ),
        )
        for row in rows
    ]


def _record(
    row: Any,
    *,
    as_of: datetime,
    categories: Categories,
    category_ids: Sequence[str],
    languages: Sequence[str],
    needed_by: int,
) -> UpdateRecord:
    return UpdateRecord(
        update_id=row.update_id,
        title=row.title,
        as_of=as_of,
        update_type=row.update_type,
        description=row.description,
        classification_id=row.classification_id,
        categories=categories.products(category_ids),
        severity=row.msrc_severity,
        kb_all=frozenset(row.kb_all),
        bulletin=row.security_bulletin,
        languages=frozenset(each for each in (row.language, *languages) if each is not None),
        created=row.created,
        superseded=row.superseded_at is not None,
        expired=row.publication_state == "Expired",
        needed_by=needed_by,
        size=row.download_size,
        reboot=row.reboot_behavior,
        names=categories.titles,
    )


def _of_latest(table: Table, column: str, update_ids: Sequence[str]) -> Select[Any]:
    """What hangs on the highest revisions of these updates, in a table of its own."""
    return (
        select(table.c.update_id, table.c[column])
        .join(
            _revision,
            and_(
                _revision.c.update_id == table.c.update_id,
                _revision.c.revision_number == table.c.revision_number,
                _revision.c.is_latest,
            ),
        )
        .where(table.c.update_id.in_(update_ids))
    )


def _grouped(connection: Connection, statement: Select[Any]) -> dict[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for update_id, value in connection.execute(statement):
        found[update_id].append(value)
    return found


def _needed(connection: Connection, update_ids: Sequence[str]) -> dict[str, int]:
    """How many devices lack each of them; those that nobody lacks are absent."""
    rows = connection.execute(
        select(_device_update.c.update_id, func.count())
        .where(_device_update.c.update_id.in_(update_ids), _device_update.c.state.in_(LACKED_STATES))
        .group_by(_device_update.c.update_id)
    )
    return {update_id: count for update_id, count in rows}  # noqa: C416 - a Row is not typed as a pair
