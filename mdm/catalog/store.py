"""Writing the catalogue: revisions with all that hangs on them, and the queue of what devices need.

Everything here is idempotent: a revision is stored once, whole, in the caller's transaction, so that a run
that was killed goes on where it stopped. Revisions are never changed afterwards but for `is_latest` and
`classification_id`, which depend on others.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import bindparam, func, or_, select, update

from mdm.catalog.metadata import ParsedRevision, parse_metadata
from mdm.storage.statements import insert_ignore, table_of
from mdm.storage.tables import (
    Category,
    Eula,
    EulaText,
    NeededRevision,
    RevisionCategory,
    RevisionRelation,
    UpdateRevision,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.catalog.metadata import EulaFile
    from mdm.upstream.messages import UpdateIdentity

__all__ = [
    "FAILED_RETRY",
    "NOT_OFFERED_RETRY",
    "Delivery",
    "enqueue_needed",
    "mark_needed",
    "resolve_classifications",
    "store_revisions",
    "stored_revisions",
]

FAILED_RETRY: Final = timedelta(hours=1)
NOT_OFFERED_RETRY: Final = timedelta(hours=24)

CLASSIFICATION: Final = "UpdateClassification"
"""The CategoryType of a classification."""
VISIBLE_TYPES: Final = ("Software", "Driver")
"""The UpdateTypes an administrator sees; the others are the catalogue's own machinery."""

_CHUNK: Final = 500
"""Ids in one IN list: far below the databases' bounds on parameters."""

_revision = table_of(UpdateRevision)
_relation = table_of(RevisionRelation)
_revision_category = table_of(RevisionCategory)
_category = table_of(Category)
_eula = table_of(Eula)
_eula_text = table_of(EulaText)
_needed = table_of(NeededRevision)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A revision ready to be stored: what was read from the document, and the document compressed.

    Compressed at once, because a batch of a hundred documents need not fit in memory.
    """

    revision: ParsedRevision
    original: bytes

    @classmethod
    def of(cls, document: str) -> Delivery:
        """Read a document; raises MetadataError for one that cannot be used."""
        return cls(parse_metadata(document), zlib.compress(document.encode()))


def stored_revisions(
    connection: Connection, update_ids: Collection[str], *, lock: bool = False
) -> dict[str, set[int]]:
    """Return which revisions of these updates are stored; ids without any are absent.

    `lock` holds their rows until the end of a write transaction.
    """
    stored: dict[str, set[int]] = {}
    statement = select(_revision.c.update_id, _revision.c.revision_number)
    if lock:
        statement = statement.with_for_update()
    for chunk in _chunks(update_ids):
        for row in connection.execute(statement.where(_revision.c.update_id.in_(chunk))):
            stored.setdefault(row.update_id, set()).add(row.revision_number)
    return stored


def store_revisions(
    connection: Connection,
    deliveries: Iterable[Delivery],
    *,
    url_of: Callable[[EulaFile], str | None],
    upstream_url: str,
    now: datetime,
) -> frozenset[UpdateIdentity]:
    """Store revisions and return those that are new; `url_of` says where a licence text can be fetched.

    Afterwards `is_latest` stands on the highest revision of each update and on no other, and updates whose
    classification has become known have it.
    """
    offered = {delivery.revision.identity: delivery for delivery in deliveries}
    # locked, because is_latest is decided from what is read here
    stored = stored_revisions(connection, {identity.update_id for identity in offered}, lock=True)
    fresh = [
        delivery
        for identity, delivery in offered.items()
        if identity.revision_number not in stored.get(identity.update_id, ())
    ]
    if not fresh:
        return frozenset()
    new_categories = _store_categories(connection, fresh)
    _demote(connection, fresh, stored)
    _insert_revisions(connection, fresh, stored, upstream_url=upstream_url, now=now)
    _store_eulas(connection, fresh, url_of, now)
    if new_categories:
        resolve_classifications(connection)
    return frozenset(delivery.revision.identity for delivery in fresh)


def resolve_classifications(connection: Connection) -> int:
    """Give every update its classification where the category list has come to know it; return how many."""
    found = (
        select(func.min(_category.c.id))
        .join(_revision_category, _revision_category.c.category_id == _category.c.id)
        .where(
            _category.c.category_type == CLASSIFICATION,
            _revision_category.c.update_id == _revision.c.update_id,
            _revision_category.c.revision_number == _revision.c.revision_number,
        )
        .correlate(_revision)
    )
    resolved = connection.execute(
        update(_revision)
        .where(
            _revision.c.classification_id.is_(None),
            _revision.c.update_type.in_(VISIBLE_TYPES),
            found.scalar_subquery().is_not(None),
        )
        .values(classification_id=found.scalar_subquery())
    )
    return resolved.rowcount


def enqueue_needed(connection: Connection, pairs: Iterable[tuple[str, int]], now: datetime) -> int:
    """Ask for the metadata of revisions that devices reported; return how many were not asked for before.

    A pair is (UpdateID, RevisionNumber); number 0, from builds that do not report it, is any revision. What is
    stored already is left out, and a row that exists is left alone.
    """
    wanted = set(pairs)
    stored = select(_revision.c.update_id, _revision.c.revision_number)
    queued = select(_needed.c.update_id, _needed.c.revision_number)
    known: set[tuple[str, int]] = set()
    for chunk in _chunks({update_id for update_id, _ in wanted}):
        for row in connection.execute(stored.where(_revision.c.update_id.in_(chunk))):
            known |= {(row.update_id, row.revision_number), (row.update_id, 0)}
        for row in connection.execute(queued.where(_needed.c.update_id.in_(chunk))):
            known.add((row.update_id, row.revision_number))
    rows = [
        {
            "update_id": update_id,
            "revision_number": revision_number,
            "state": "queued",
            "first_reported_at": now,
            "attempts": 0,
        }
        for update_id, revision_number in sorted(wanted - known)
    ]
    if rows:
        # another device may report the same at this moment: whoever comes second changes nothing
        connection.execute(insert_ignore(NeededRevision, connection), rows)
    return len(rows)


def mark_needed(
    connection: Connection,
    identities: Iterable[UpdateIdentity],
    state: Literal["synced", "not_offered", "failed"],
    now: datetime,
    error: str | None = None,
) -> None:
    """Note how an attempt at needed revisions ended, and when the next may be made.

    `error` is a sentence for the administrator: why there is no metadata, or which revision stands in.
    """
    retry = {"synced": None, "not_offered": now + NOT_OFFERED_RETRY, "failed": now + FAILED_RETRY}[state]
    statement = (
        update(_needed)
        .where(_needed.c.update_id == bindparam("id"), _needed.c.revision_number == bindparam("number"))
        .values(
            state=state,
            attempts=_needed.c.attempts + 1,
            last_attempt_at=now,
            next_attempt_at=retry,
            error=error,
        )
    )
    rows = [{"id": identity.update_id, "number": identity.revision_number} for identity in identities]
    if rows:
        connection.execute(statement, rows)


# --- parts of store_revisions ---------------------------------------------------------------------------


def _store_categories(connection: Connection, fresh: Iterable[Delivery]) -> bool:
    """Bring the category table to the highest revision of each category; return whether there was any."""
    newest: dict[str, ParsedRevision] = {}
    for delivery in fresh:
        revision = delivery.revision
        held = newest.get(revision.identity.update_id)
        if revision.update_type == "Category" and (held is None or held.identity < revision.identity):
            newest[revision.identity.update_id] = revision
    for update_id, revision in newest.items():
        values = {
            "revision_number": revision.identity.revision_number,
            "category_type": revision.category_type,
            "title": revision.title,
            "parent_id": revision.parent_id,
        }
        connection.execute(insert_ignore(_category, connection), {"id": update_id, **values})
        connection.execute(
            update(_category)
            .where(
                _category.c.id == update_id,
                _category.c.revision_number < revision.identity.revision_number,
            )
            .values(values)
        )
    return bool(newest)


def _demote(connection: Connection, fresh: Iterable[Delivery], stored: dict[str, set[int]]) -> None:
    """Take `is_latest` from revisions that a fresh one is higher than."""
    rows = [
        {"id": identity.update_id, "number": identity.revision_number}
        for identity in (delivery.revision.identity for delivery in fresh)
        if identity.update_id in stored and identity.revision_number > max(stored[identity.update_id])
    ]
    if rows:
        connection.execute(
            update(_revision)
            .where(
                _revision.c.update_id == bindparam("id"),
                _revision.c.revision_number < bindparam("number"),
                _revision.c.is_latest,
            )
            .values(is_latest=False),
            rows,
        )


def _insert_revisions(
    connection: Connection,
    fresh: list[Delivery],
    stored: dict[str, set[int]],
    *,
    upstream_url: str,
    now: datetime,
) -> None:
    highest = {update_id: max(revisions) for update_id, revisions in stored.items()}
    for delivery in fresh:
        update_id, number = delivery.revision.identity.update_id, delivery.revision.identity.revision_number
        highest[update_id] = max(number, highest.get(update_id, number))
    classifications = _known_classifications(connection, fresh)
    rows = [
        {
            **_revision_row(delivery.revision),
            "is_latest": delivery.revision.identity.revision_number
            == highest[delivery.revision.identity.update_id],
            "classification_id": _classification(delivery.revision, classifications),
            "original": delivery.original,
            "upstream_url": upstream_url,
            "fetched_at": now,
        }
        for delivery in fresh
    ]
    connection.execute(insert_ignore(_revision, connection), rows)
    relations = [
        {
            **_key(delivery.revision),
            "kind": relation.kind,
            "clause": relation.clause,
            "target_id": relation.target_id,
            "target_revision": relation.target_revision,
        }
        for delivery in fresh
        for relation in delivery.revision.relations
    ]
    categories = [
        {**_key(delivery.revision), "category_id": category_id}
        for delivery in fresh
        for category_id in delivery.revision.categories
    ]
    if relations:
        connection.execute(insert_ignore(_relation, connection), relations)
    if categories:
        connection.execute(insert_ignore(_revision_category, connection), categories)


def _key(revision: ParsedRevision) -> dict[str, Any]:
    return {
        "update_id": revision.identity.update_id,
        "revision_number": revision.identity.revision_number,
    }


def _revision_row(revision: ParsedRevision) -> dict[str, Any]:
    text = revision.text
    return {
        **_key(revision),
        "update_type": revision.update_type,
        "title": revision.title,
        "description": text.description if text is not None else None,
        "kb": next(iter(revision.kb_articles), None),
        "kb_all": list(revision.kb_articles),
        "msrc_severity": revision.msrc_severity,
        "security_bulletin": revision.security_bulletin,
        "created": revision.created,
        "publication_state": revision.publication_state,
        "explicitly_deployable": revision.explicitly_deployable,
        "eula_id": revision.eula_id,
        "handler": revision.handler,
        "reboot_behavior": revision.reboot_behavior,
        "can_uninstall": revision.can_uninstall,
        "max_download_size": revision.max_download_size,
        "support_url": revision.support_url,
        "more_info_url": revision.more_info_url,
    }


def _known_classifications(connection: Connection, fresh: Iterable[Delivery]) -> set[str]:
    named = {category for delivery in fresh for category in delivery.revision.categories}
    known: set[str] = set()
    for chunk in _chunks(named):
        known.update(
            connection.scalars(
                select(_category.c.id).where(
                    _category.c.id.in_(chunk), _category.c.category_type == CLASSIFICATION
                )
            )
        )
    return known


def _classification(revision: ParsedRevision, classifications: set[str]) -> str | None:
    if revision.update_type not in VISIBLE_TYPES:
        return None
    return min(classifications.intersection(revision.categories), default=None)


def _store_eulas(
    connection: Connection,
    fresh: Iterable[Delivery],
    url_of: Callable[[EulaFile], str | None],
    now: datetime,
) -> None:
    """Note the licences of these revisions and where their texts are.

    A EulaID's text is fetched once and then kept whatever later updates say, because it is what people have
    accepted; until then the newest information about a file is the one that counts.
    """
    for delivery in fresh:
        eula_id = delivery.revision.eula_id
        if eula_id is None:
            continue
        connection.execute(insert_ignore(_eula, connection), {"id": eula_id, "first_seen_at": now})
        for file in delivery.revision.eula_files:
            url = url_of(file)
            values = {
                "file_sha1": file.sha1,
                "file_sha256": file.sha256,
                "url": url,
                "error": None if url else "The upstream names no URL for this text.",
            }
            key = {"eula_id": eula_id, "locale": _locale(file)}
            connection.execute(insert_ignore(_eula_text, connection), {**key, **values})
            connection.execute(
                update(_eula_text)
                .where(
                    _eula_text.c.eula_id == eula_id,
                    _eula_text.c.locale == key["locale"],
                    _eula_text.c.text.is_(None),
                    or_(_eula_text.c.file_sha1 != file.sha1, _eula_text.c.url.is_(None)),
                )
                .values(values)
            )


def _locale(file: EulaFile) -> str:
    """The language, with the country a text is for as a private subtag of BCP 47: `en-x-deu`."""
    return file.language if file.geo_id is None else f"{file.language}-x-{file.geo_id.lower()}"


def _chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(sorted(set(ids)))
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk
