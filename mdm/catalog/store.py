"""Writing the catalogue: revisions with all that hangs on them, and the queue of what devices need.

Everything here is idempotent: a revision is stored once, whole, in the caller's transaction, so that a run
that was killed goes on where it stopped. Revisions are never changed afterwards but for `is_latest`,
`classification_id` and `download_size`, which depend on others. The list that administrators search
(`mdm.catalog.listing`) is brought up to date in the same transaction.
"""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import bindparam, func, select, update

from mdm.approvals.versions import facts_changed
from mdm.catalog.eula_files import note_eulas
from mdm.catalog.ids import among, chunks, rows_among
from mdm.catalog.listing import list_again, superseded_again
from mdm.catalog.metadata import MetadataReader, ParsedRevision
from mdm.catalog.relations import of_kind
from mdm.catalog.sizes import refresh_sizes
from mdm.catalog.supersedence import VISIBLE_TYPES
from mdm.storage.statements import insert_ignore, table_of
from mdm.storage.tables import (
    Category,
    NeededRevision,
    RevisionCategory,
    RevisionRelation,
    RevisionText,
    UpdateRevision,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.catalog.metadata import EulaFile
    from mdm.upstream.messages import UpdateIdentity

__all__ = [
    "FAILED_RETRY",
    "NOT_OFFERED_RETRY",
    "Delivery",
    "Stored",
    "enqueue_needed",
    "mark_needed",
    "resolve_classifications",
    "store_revisions",
    "stored_revisions",
]

FAILED_RETRY: Final = timedelta(hours=1)
NOT_OFFERED_RETRY: Final = timedelta(hours=24)

_LEVEL: Final = 1
"""Of compression: the quickest, for a twentieth more of the database's bytes that originals are."""
CLASSIFICATION: Final = "UpdateClassification"
"""The CategoryType of a classification."""

_revision = table_of(UpdateRevision)
_relation = table_of(RevisionRelation)
_text = table_of(RevisionText)
_revision_category = table_of(RevisionCategory)
_category = table_of(Category)
_needed = table_of(NeededRevision)

_numbers = select(_revision.c.update_id, _revision.c.revision_number).where(among(_revision.c.update_id))
_queued = select(_needed.c.update_id, _needed.c.revision_number).where(among(_needed.c.update_id))
_superseded_by_highest = (
    select(_relation.c.target_id)
    .distinct()
    .join(
        _revision,
        (_revision.c.update_id == _relation.c.update_id)
        & (_revision.c.revision_number == _relation.c.revision_number)
        & _revision.c.is_latest,
    )
    .where(of_kind("supersedes"), among(_relation.c.update_id))
)
_classifications = select(_category.c.id).where(
    among(_category.c.id), _category.c.category_type == CLASSIFICATION
)


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
        # half a surrogate pair is not well-formed, which is for the parser to say
        return cls.read([document.encode(errors="surrogatepass")])

    @classmethod
    def read(cls, pieces: Iterable[bytes]) -> Delivery:
        """Read a document in UTF-8 of which no more than a piece need be in memory; raises as `of` does."""
        reader = MetadataReader()
        packer = zlib.compressobj(_LEVEL)
        packed = bytearray()
        for piece in pieces:
            reader.feed(piece)
            packed += packer.compress(piece)
        return cls(reader.close(), bytes(packed + packer.flush()))


@dataclass(frozen=True, slots=True)
class Stored:
    """What a batch brought that was not there before."""

    new: frozenset[UpdateIdentity] = frozenset()
    """Of updates that were not stored in any revision."""
    revised: frozenset[UpdateIdentity] = frozenset()
    """Further revisions of updates that were."""
    expired: frozenset[UpdateIdentity] = frozenset()
    """Those of them by which an update has expired: now its highest revision, and not published."""

    @property
    def identities(self) -> frozenset[UpdateIdentity]:
        """All that was stored."""
        return self.new | self.revised


def stored_revisions(
    connection: Connection, update_ids: Collection[str], *, lock: bool = False
) -> dict[str, set[int]]:
    """Return which revisions of these updates are stored; ids without any are absent.

    `lock` holds their rows until the end of a write transaction.
    """
    stored: dict[str, set[int]] = {}
    statement = _numbers.with_for_update() if lock else _numbers
    for update_id, number in rows_among(connection, statement, update_ids):
        stored.setdefault(update_id, set()).add(number)
    return stored


def store_revisions(
    connection: Connection,
    deliveries: Iterable[Delivery],
    *,
    url_of: Callable[[EulaFile], str | None],
    upstream_url: str,
    now: datetime,
) -> Stored:
    """Store revisions and return those that are new; `url_of` says where a licence text can be fetched.

    Afterwards `is_latest` stands on the highest revision of each update and on no other, updates whose
    classification has become known have it, and the list shows what is visible and superseded.
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
        return Stored()
    revisions = [delivery.revision for delivery in fresh]
    highest = _highest(revisions, stored)
    new_categories = _store_categories(connection, revisions)
    no_longer = _superseded_before(connection, highest, stored)
    _demote(connection, highest, stored)
    _insert_revisions(connection, fresh, highest, upstream_url=upstream_url, now=now)
    note_eulas(connection, revisions, url_of, now)
    refresh_sizes(connection, highest)
    if new_categories:
        resolve_classifications(connection)
    _list(connection, highest, stored, no_longer)
    facts_changed(connection)
    known = frozenset(each.identity for each in revisions if each.identity.update_id in stored)
    return Stored(
        new=frozenset(each.identity for each in revisions) - known,
        revised=known,
        expired=frozenset(each.identity for each in highest.values() if each.publication_state == "Expired"),
    )


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
    ids = {update_id for update_id, _ in wanted}
    known: set[tuple[str, int]] = set()
    for update_id, revision_number in rows_among(connection, _numbers, ids):
        known |= {(update_id, revision_number), (update_id, 0)}
    known.update((update_id, number) for update_id, number in rows_among(connection, _queued, ids))
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


def _highest(revisions: Iterable[ParsedRevision], stored: dict[str, set[int]]) -> dict[str, ParsedRevision]:
    """Those of the revisions that are higher than every other of their update."""
    highest: dict[str, ParsedRevision] = {}
    for revision in sorted(revisions, key=lambda each: each.identity):
        update_id, number = revision.identity.update_id, revision.identity.revision_number
        if number > max(stored.get(update_id, {-1})):
            highest[update_id] = revision
    return highest


def _store_categories(connection: Connection, revisions: Iterable[ParsedRevision]) -> bool:
    """Bring the category table to the highest revision of each category; return whether there was any."""
    rows = [
        {
            "id": revision.identity.update_id,
            "revision_number": revision.identity.revision_number,
            "category_type": revision.category_type,
            "title": revision.title,
            "parent_id": revision.parent_id,
        }
        for revision in sorted(revisions, key=lambda each: each.identity)
        if revision.update_type == "Category"
    ]
    if not rows:
        return False
    connection.execute(insert_ignore(_category, connection), rows)
    connection.execute(
        update(_category)
        .where(_category.c.id == bindparam("key"), _category.c.revision_number < bindparam("number"))
        .values({name: bindparam(f"new_{name}") for name in rows[0] if name != "id"}),
        [
            {
                "key": row["id"],
                "number": row["revision_number"],
                **{f"new_{name}": value for name, value in row.items() if name != "id"},
            }
            for row in rows
        ],
    )
    return True


def _superseded_before(
    connection: Connection, highest: Iterable[str], stored: dict[str, set[int]]
) -> set[str]:
    """What the revisions that are about to be replaced supersede: their successors may no longer."""
    replaced = (update_id for update_id in highest if update_id in stored)
    return {target_id for (target_id,) in rows_among(connection, _superseded_by_highest, replaced)}


def _demote(connection: Connection, highest: Iterable[str], stored: dict[str, set[int]]) -> None:
    """Take `is_latest` from revisions that a fresh one is higher than."""
    for chunk in chunks(update_id for update_id in highest if update_id in stored):
        connection.execute(
            update(_revision)
            .where(_revision.c.update_id.in_(chunk), _revision.c.is_latest)
            .values(is_latest=False)
        )


def _list(
    connection: Connection,
    highest: dict[str, ParsedRevision],
    stored: dict[str, set[int]],
    no_longer: set[str],
) -> None:
    """Bring the list up to date where these highest revisions have changed it."""
    supersedes = {
        relation.target_id
        for revision in highest.values()
        for relation in revision.relations
        if relation.kind == "supersedes"
    }
    # parts of bundles and categories, most of a catalogue, are listed nowhere
    list_again(
        connection,
        (key for key, revision in highest.items() if revision.explicitly_deployable or key in stored),
    )
    if supersedes or no_longer:
        superseded_again(connection, supersedes | no_longer)


def _insert_revisions(
    connection: Connection,
    fresh: list[Delivery],
    highest: dict[str, ParsedRevision],
    *,
    upstream_url: str,
    now: datetime,
) -> None:
    classifications = _known_classifications(connection, fresh)
    rows = [
        {
            **_revision_row(delivery.revision),
            "is_latest": highest.get(delivery.revision.identity.update_id) is delivery.revision,
            "classification_id": _classification(delivery.revision, classifications),
            "original": delivery.original,
            "upstream_url": upstream_url,
            "fetched_at": now,
        }
        for delivery in fresh
    ]
    connection.execute(insert_ignore(_revision, connection), rows)
    revisions = [delivery.revision for delivery in fresh]
    relations = [
        {
            **_key(revision),
            "kind": relation.kind,
            "clause": relation.clause,
            "target_id": relation.target_id,
            "target_revision": relation.target_revision,
        }
        for revision in revisions
        for relation in revision.relations
    ]
    categories = [
        {**_key(revision), "category_id": category_id}
        for revision in revisions
        for category_id in revision.categories
    ]
    texts = [
        {**_key(revision), "language": text.language, "title": text.title, "description": text.description}
        for revision in revisions
        for text in revision.other_texts
    ]
    for table, values in ((_relation, relations), (_revision_category, categories), (_text, texts)):
        if values:
            connection.execute(insert_ignore(table, connection), values)


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
        "language": text.language if text is not None else None,
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
        "download_size": revision.max_download_size,
        "support_url": revision.support_url,
        "more_info_url": revision.more_info_url,
        "driver": asdict(revision.driver) if revision.driver is not None else None,
    }


def _known_classifications(connection: Connection, fresh: Iterable[Delivery]) -> set[str]:
    named = {category for delivery in fresh for category in delivery.revision.categories}
    return {category_id for (category_id,) in rows_among(connection, _classifications, named)}


def _classification(revision: ParsedRevision, classifications: set[str]) -> str | None:
    if revision.update_type not in VISIBLE_TYPES:
        return None
    return min(classifications.intersection(revision.categories), default=None)
