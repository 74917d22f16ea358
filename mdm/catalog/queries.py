"""Reading the catalogue for administrators: what an update is, and where its metadata stands.

An administrator sees Software and Drivers that are explicitly deployable, each by its highest revision. An
update that is only part of a bundle, or that a device reported and no upstream has described yet, can still
be asked for by its GUID.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import Text, and_, cast, exists, func, select

from mdm.catalog.store import CLASSIFICATION, VISIBLE_TYPES
from mdm.storage.statements import table_of
from mdm.storage.tables import (
    Category,
    DeviceUpdate,
    EulaAcceptance,
    NeededRevision,
    RevisionCategory,
    RevisionRelation,
    UpdateRevision,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Row, Select

__all__ = [
    "CategoryView",
    "Reference",
    "SourceState",
    "UpdateView",
    "get_update",
    "list_classifications",
    "list_products",
    "list_updates",
]

SourceState = Literal["synced", "queued", "not_offered", "failed", "unknown"]

PRODUCT: Final = "Product"
_KB: Final = re.compile(r"(?:KB)?([0-9]{1,10})", re.ASCII | re.IGNORECASE)
_UNSYNCED_ORDER: Final[tuple[SourceState, ...]] = ("queued", "failed", "not_offered")
"""Of several reported revisions of an update without metadata, which one's state is told."""

_revision = table_of(UpdateRevision)
_relation = table_of(RevisionRelation)
_revision_category = table_of(RevisionCategory)
_category = table_of(Category)
_acceptance = table_of(EulaAcceptance)
_needed = table_of(NeededRevision)
_device_update = table_of(DeviceUpdate)
_newer = _revision.alias("newer")


@dataclass(frozen=True, slots=True)
class Reference:
    """A classification or product an update belongs to."""

    id: str
    title: str


@dataclass(frozen=True, slots=True)
class UpdateView:
    """An update by its highest stored revision; without metadata, only what devices reported of it."""

    update_id: str
    source_state: SourceState
    """`synced`; without metadata `queued`, `not_offered`, `failed`, or `unknown` if it was never asked for."""
    source_error: str | None = None
    """Why there is no metadata, in one sentence."""
    revision_number: int | None = None
    """Of the metadata; without metadata the highest a device reported."""
    update_type: str | None = None
    """`Software` or `Driver`."""
    title: str | None = None
    description: str | None = None
    kb: str | None = None
    """Digits of the first KB article; `kb_all` has all of them."""
    kb_all: tuple[str, ...] = ()
    severity: str | None = None
    """MSRC severity: `Critical`, `Important`, `Moderate`, `Low`."""
    bulletin: str | None = None
    classification: Reference | None = None
    products: tuple[Reference, ...] = ()
    created: datetime | None = None
    publication_state: str | None = None
    """`Published` or `Expired`."""
    explicitly_deployable: bool | None = None
    """False for what is installed only as part of a bundle."""
    eula_id: str | None = None
    eula_accepted: bool | None = None
    """None if there is no EULA."""
    supersedes: tuple[str, ...] = ()
    superseded_by: tuple[str, ...] = ()
    """By updates that are themselves published and visible."""
    reboot_behavior: str | None = None
    can_uninstall: bool | None = None
    max_download_size: int | None = None
    """Bytes; of a bundle often 0."""
    support_url: str | None = None
    more_info_url: str | None = None


@dataclass(frozen=True, slots=True)
class CategoryView:
    """A classification or product with the number of visible updates in it."""

    id: str
    title: str
    updates: int


def get_update(connection: Connection, update_id: str) -> UpdateView | None:
    """Return an update, stored or only reported; None for a GUID nobody knows, or that is no update."""
    rows = connection.execute(
        select(_revision).where(_revision.c.update_id == update_id, _revision.c.is_latest)
    ).all()
    if rows:
        views = _views(connection, [row for row in rows if row.update_type in VISIBLE_TYPES])
        return next(iter(views), None)
    return _reported(connection, update_id)


def list_updates(
    connection: Connection,
    *,
    classification: str | None = None,
    product: str | None = None,
    severity: str | None = None,
    kb: str | None = None,
    superseded: bool | None = None,
    needed_only: bool = False,
    q: str | None = None,
    after: str | None = None,
    limit: int = 50,
) -> tuple[UpdateView, ...]:
    """Return visible updates in the order of their ids, those after the id `after`.

    `kb` is written with or without "KB"; `needed_only` keeps what a device lacks (installable or failed); `q` is
    part of the title in any case.
    """
    statement = select(_revision).where(*_visible(_revision))
    for condition in _conditions(classification, product, severity, kb, q):
        statement = statement.where(condition)
    if superseded is not None:
        statement = statement.where(_is_superseded() if superseded else ~_is_superseded())
    if needed_only:
        statement = statement.where(
            exists().where(
                _device_update.c.update_id == _revision.c.update_id,
                _device_update.c.state.in_(("installable", "failed")),
            )
        )
    if after is not None:
        statement = statement.where(_revision.c.update_id > after)
    rows = connection.execute(statement.order_by(_revision.c.update_id).limit(limit)).all()
    return tuple(_views(connection, rows))


def list_classifications(connection: Connection) -> tuple[CategoryView, ...]:
    """Return the classifications of the category list by title, with their numbers of visible updates."""
    matching = and_(_revision.c.classification_id == _category.c.id, *_visible(_revision))
    statement = (
        select(_category.c.id, _category.c.title, func.count(_revision.c.update_id))
        .join(_revision, matching, isouter=True)
        .where(_category.c.category_type == CLASSIFICATION)
    )
    return _category_views(connection, statement)


def list_products(connection: Connection) -> tuple[CategoryView, ...]:
    """Return the products of the category list by title, with their numbers of visible updates."""
    matching = and_(
        _revision.c.update_id == _revision_category.c.update_id,
        _revision.c.revision_number == _revision_category.c.revision_number,
        *_visible(_revision),
    )
    statement = (
        select(_category.c.id, _category.c.title, func.count(_revision.c.update_id))
        .join(_revision_category, _revision_category.c.category_id == _category.c.id, isouter=True)
        .join(_revision, matching, isouter=True)
        .where(_category.c.category_type == PRODUCT)
    )
    return _category_views(connection, statement)


# --- conditions -----------------------------------------------------------------------------------------


def _visible(revision: Any) -> tuple[ColumnElement[bool], ...]:
    return (
        revision.c.is_latest,
        revision.c.explicitly_deployable,
        revision.c.update_type.in_(VISIBLE_TYPES),
    )


def _conditions(
    classification: str | None, product: str | None, severity: str | None, kb: str | None, q: str | None
) -> Iterable[ColumnElement[bool]]:
    if classification is not None:
        yield _revision.c.classification_id == classification
    if product is not None:
        yield exists().where(
            _revision_category.c.update_id == _revision.c.update_id,
            _revision_category.c.revision_number == _revision.c.revision_number,
            _revision_category.c.category_id == product,
        )
    if severity is not None:
        yield func.lower(_revision.c.msrc_severity) == severity.lower()
    if kb is not None:
        number = _KB.fullmatch(kb.strip())
        # a list of digit strings as JSON text: the quotes keep 504 from matching 5040
        yield cast(_revision.c.kb_all, Text).contains(f'"{number[1] if number else "none"}"')
    if q is not None:
        yield _revision.c.title.icontains(q, autoescape=True)


def _superseding() -> tuple[ColumnElement[bool], ...]:
    """How a relation and the revision it is written in make something superseded (metadata notes section 5)."""
    return (
        _relation.c.kind == "supersedes",
        _newer.c.update_id == _relation.c.update_id,
        _newer.c.revision_number == _relation.c.revision_number,
        _newer.c.publication_state != "Expired",
        *_visible(_newer),
    )


def _is_superseded() -> ColumnElement[bool]:
    return exists().where(_relation.c.target_id == _revision.c.update_id, *_superseding())


# --- views ----------------------------------------------------------------------------------------------


def _reported(connection: Connection, update_id: str) -> UpdateView | None:
    """What is known of an update without metadata, if a device has named it."""
    rows = connection.execute(
        select(_needed.c.revision_number, _needed.c.state, _needed.c.error).where(
            _needed.c.update_id == update_id
        )
    ).all()
    number = max((row.revision_number for row in rows), default=0) or None
    for state in _UNSYNCED_ORDER:
        for row in rows:
            if row.state == state:
                return UpdateView(update_id, state, row.error, revision_number=number)
    reported = select(_device_update.c.update_id).where(_device_update.c.update_id == update_id)
    if connection.scalar(reported.limit(1)) is None:
        return None
    return UpdateView(update_id, "unknown", revision_number=number)


def _views(connection: Connection, rows: Sequence[Row[Any]]) -> list[UpdateView]:
    """Complete a page of revisions, with one statement for each kind of what hangs on them."""
    ids = [row.update_id for row in rows]
    if not ids:
        return []
    products = _products(connection, ids)
    supersedes = _grouped(
        connection,
        select(_relation.c.update_id, _relation.c.target_id)
        .join(
            _revision,
            and_(
                _revision.c.update_id == _relation.c.update_id,
                _revision.c.revision_number == _relation.c.revision_number,
            ),
        )
        .where(_relation.c.kind == "supersedes", _revision.c.is_latest, _relation.c.update_id.in_(ids)),
    )
    superseded_by = _grouped(
        connection,
        select(_relation.c.target_id, _newer.c.update_id).where(
            _relation.c.target_id.in_(ids), *_superseding()
        ),
    )
    classifications = _titles(connection, {row.classification_id for row in rows})
    eulas = {row.eula_id for row in rows if row.eula_id is not None}
    accepted = set(
        connection.scalars(select(_acceptance.c.eula_id).distinct().where(_acceptance.c.eula_id.in_(eulas)))
    )
    return [
        UpdateView(
            update_id=row.update_id,
            source_state="synced",
            revision_number=row.revision_number,
            update_type=row.update_type,
            title=row.title,
            description=row.description,
            kb=row.kb,
            kb_all=tuple(row.kb_all),
            severity=row.msrc_severity,
            bulletin=row.security_bulletin,
            classification=classifications.get(row.classification_id),
            products=tuple(products.get(row.update_id, ())),
            created=row.created,
            publication_state=row.publication_state,
            explicitly_deployable=row.explicitly_deployable,
            eula_id=row.eula_id,
            eula_accepted=row.eula_id in accepted if row.eula_id is not None else None,
            supersedes=tuple(supersedes.get(row.update_id, ())),
            superseded_by=tuple(superseded_by.get(row.update_id, ())),
            reboot_behavior=row.reboot_behavior,
            can_uninstall=row.can_uninstall,
            max_download_size=row.max_download_size,
            support_url=row.support_url,
            more_info_url=row.more_info_url,
        )
        for row in rows
    ]


def _products(connection: Connection, ids: Sequence[str]) -> dict[str, list[Reference]]:
    rows = connection.execute(
        select(_revision.c.update_id, _category.c.id, _category.c.title)
        .join(
            _revision_category,
            and_(
                _revision_category.c.update_id == _revision.c.update_id,
                _revision_category.c.revision_number == _revision.c.revision_number,
            ),
        )
        .join(_category, _category.c.id == _revision_category.c.category_id)
        .where(_revision.c.is_latest, _revision.c.update_id.in_(ids), _category.c.category_type == PRODUCT)
        .order_by(_category.c.title, _category.c.id)
    )
    products: dict[str, list[Reference]] = {}
    for update_id, category_id, title in rows:
        products.setdefault(update_id, []).append(Reference(category_id, title))
    return products


def _titles(connection: Connection, ids: Iterable[str | None]) -> dict[str | None, Reference]:
    rows = connection.execute(
        select(_category.c.id, _category.c.title).where(_category.c.id.in_([each for each in ids if each]))
    )
    return {category_id: Reference(category_id, title) for category_id, title in rows}


def _grouped(connection: Connection, statement: Select[Any]) -> dict[str, list[str]]:
    groups: dict[str, set[str]] = {}
    for key, value in connection.execute(statement):
        groups.setdefault(key, set()).add(value)
    return {key: sorted(values) for key, values in groups.items()}


def _category_views(connection: Connection, statement: Select[Any]) -> tuple[CategoryView, ...]:
    rows = connection.execute(
        statement.group_by(_category.c.id, _category.c.title).order_by(_category.c.title, _category.c.id)
    )
    return tuple(CategoryView(*row) for row in rows)
