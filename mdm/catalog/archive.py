"""Writing the catalogue into an archive, for a site that reaches no upstream: all of it, or a selection.

A selection by product or classification takes with it what the selected updates are made of and need, through
any number of levels, and always the whole category list. Reading goes page by page, in short transactions: the
service may go on meanwhile, and what it adds after its page was read is for the next archive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from sqlalchemy import func, literal, or_, select, tuple_

from mdm.catalog.archive_format import ArchiveWriter
from mdm.catalog.eula_bytes import file_of_text
from mdm.catalog.ids import among, chunks, rows_among
from mdm.catalog.relations import of_kind
from mdm.storage.statements import table_of
from mdm.storage.tables import Category, EulaText, RevisionCategory, RevisionRelation, UpdateRevision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from sqlalchemy import Connection, Row, Select

    from mdm.catalog.archive_format import Manifest
    from mdm.catalog.signing import SigningKey
    from mdm.storage.engine import Database

__all__ = ["Exported", "Selection", "export_catalogue"]

_PAGE_BYTES: Final = 8 * 1024 * 1024
"""Compressed documents read at a time."""

_revision = table_of(UpdateRevision)
_relation = table_of(RevisionRelation)
_revision_category = table_of(RevisionCategory)
_category = table_of(Category)
_text = table_of(EulaText)

_needs = (
    select(_relation.c.target_id)
    .distinct()
    .where(among(_relation.c.update_id), or_(of_kind("bundles"), of_kind("requires")))
)


@dataclass(frozen=True, slots=True)
class Selection:
    """What to export: updates of any of the products and any of the classifications; empty ones do not matter."""

    products: tuple[str, ...] = ()
    classifications: tuple[str, ...] = ()
    since: datetime | None = None
    """Only what this site has got at that moment or later: for a site that has the rest already."""

    @property
    def document(self) -> dict[str, Any]:
        """The selection as the manifest tells it."""
        told = {
            "products": list(self.products),
            "classifications": list(self.classifications),
            "since": None if self.since is None else self.since.isoformat(),
        }
        return {name: value for name, value in told.items() if value}


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export has written."""

    manifest: Manifest
    texts_left_out: int
    """Licence texts whose file cannot be made again from what is stored."""


def export_catalogue(
    database: Database,
    file: BinaryIO,
    key: SigningKey,
    selection: Selection,
    *,
    now: datetime,
    progress: Callable[[int], None] = lambda _revisions: None,
) -> Exported:
    """Write an archive and return what is in it; `progress` is told how many revisions are written so far."""
    writer = ArchiveWriter(file, now)
    upstreams: set[str] = set()
    eulas: set[str] = set()
    done = 0
    with database.read() as connection:
        order = _updates(connection, selection)
    for ids in order:
        for row in _revisions(database, ids, selection):
            upstreams.add(row.upstream_url)
            if row.eula_id is not None:
                eulas.add(row.eula_id)
            members = {
                "id": row.update_id,
                "revision": row.revision_number,
                "upstream": row.upstream_url,
            }
            writer.add("revisions", members, row.original)
            done += 1
        progress(done)
    left_out = _write_eulas(database, writer, eulas | _fetched_since(database, selection.since))
    manifest = writer.finish(key, selection=selection.document, upstreams=upstreams)
    return Exported(manifest, left_out)


# --- selecting ------------------------------------------------------------------------------------------


def _updates(connection: Connection, selection: Selection) -> list[list[str]]:
    """The ids of what to export, some hundreds at a time: categories first, for others belong to them."""
    categories = set(connection.scalars(select(_category.c.id)))
    if selection.products or selection.classifications:
        found = _closure(connection, _selected(connection, selection))
    else:
        found = set(connection.scalars(select(_revision.c.update_id).where(_revision.c.is_latest)))
    return [*chunks(categories), *chunks(found - categories)]


def _selected(connection: Connection, selection: Selection) -> set[str]:
    """The updates that are in one of the products, if any are given, and in one of the classifications."""
    found: set[str] | None = None
    for wanted in (selection.products, selection.classifications):
        if wanted:
            statement = (
                select(_revision_category.c.update_id)
                .where(_revision_category.c.category_id.in_(wanted))
                .distinct()
            )
            members = set(connection.scalars(statement))
            found = members if found is None else found & members
    return found or set()


def _closure(connection: Connection, update_ids: set[str]) -> set[str]:
    """The updates with their parts and prerequisites, level by level."""
    found = set(update_ids)
    waiting = update_ids
    while waiting:
        named = {target_id for (target_id,) in rows_among(connection, _needs, waiting)}
        waiting = named - found
        found |= waiting
    return found


# --- reading --------------------------------------------------------------------------------------------


def _revisions(database: Database, ids: list[str], selection: Selection) -> Iterator[Row[Any]]:
    """Every revision of these updates, with no more than some megabytes of documents read at a time."""
    sizes = select(
        _revision.c.update_id, _revision.c.revision_number, func.length(_revision.c.original)
    ).where(_revision.c.update_id.in_(ids))
    if selection.since is not None:
        sizes = sizes.where(_revision.c.fetched_at >= selection.since)
    with database.read() as connection:
        rows: Any = connection.execute(
            sizes.order_by(_revision.c.update_id, _revision.c.revision_number)
        ).all()
    for page in _pages(rows):
        with database.read() as connection:
            found: Any = connection.execute(_documents(page)).all()
        wanted = set(page)
        yield from (row for row in found if (row.update_id, row.revision_number) in wanted)


def _documents(page: list[tuple[str, int]]) -> Select[Any]:
    """The statement for the revisions of a page, which is a run of the order of the primary key.

    Not by the pairs themselves: for `(a, b) IN (...)` SQLite reads the keys of the whole catalogue.
    """
    key = tuple_(_revision.c.update_id, _revision.c.revision_number)
    return (
        select(
            _revision.c.update_id,
            _revision.c.revision_number,
            _revision.c.upstream_url,
            _revision.c.eula_id,
            _revision.c.original,
        )
        .where(
            _revision.c.update_id.in_({update_id for update_id, _ in page}),
            # an update may have more revisions than are in this page
            key >= tuple_(*map(literal, page[0])),
            key <= tuple_(*map(literal, page[-1])),
        )
        .order_by(_revision.c.update_id, _revision.c.revision_number)
    )


def _pages(rows: Iterable[tuple[str, int, int]]) -> Iterator[list[tuple[str, int]]]:
    page: list[tuple[str, int]] = []
    size = 0
    for update_id, number, length in rows:
        if page and size + length > _PAGE_BYTES:
            yield page
            page, size = [], 0
        page.append((update_id, number))
        size += length
    if page:
        yield page


def _fetched_since(database: Database, since: datetime | None) -> set[str]:
    """Licences a text of which came after the revisions that name it: the earlier archive has those without it."""
    if since is None:
        return set()
    with database.read() as connection:
        return set(connection.scalars(select(_text.c.eula_id).where(_text.c.fetched_at >= since).distinct()))


def _write_eulas(database: Database, writer: ArchiveWriter, eula_ids: set[str]) -> int:
    """Write where the files of these licences are, then the files; return how many cannot be made again."""
    urls: dict[str, str | None] = {}
    held: list[str] = []
    columns = (_text.c.file_sha1, _text.c.url, _text.c.text_sha256)
    with database.read() as connection:
        for chunk in chunks(eula_ids):
            for row in connection.execute(select(*columns).where(_text.c.eula_id.in_(chunk))):
                urls[row.file_sha1] = row.url or urls.get(row.file_sha1)
                if row.text_sha256 is not None:
                    held.append(row.file_sha1)
    for sha1, url in sorted(urls.items()):
        if url is not None:
            writer.add("licences", {"sha1": sha1, "url": url})
    left_out = 0
    for sha1 in sorted(set(held)):
        data = _file(database, sha1)
        if data is None:
            left_out += 1
        else:
            writer.add("texts", {"sha1": sha1}, data)
    return left_out


def _file(database: Database, sha1: str) -> bytes | None:
    statement = select(_text.c.text, _text.c.text_sha256).where(
        _text.c.file_sha1 == sha1, _text.c.text.is_not(None)
    )
    with database.read() as connection:
        row = connection.execute(statement.limit(1)).first()
    return file_of_text(row.text, sha1=sha1, text_sha256=row.text_sha256) if row is not None else None
