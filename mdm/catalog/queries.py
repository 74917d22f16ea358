"""Reading the catalogue for administrators: what an update is, and where its metadata stands.

An administrator sees Software and Drivers that are explicitly deployable, each by its highest revision, the
newest first. An update that is only part of a bundle, or that a device reported and no upstream has described
yet, can still be asked for by its GUID.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import and_, func, select

from csp.errors import InvalidGuid
from csp.guid import parse_guid
from mdm.approvals.acceptance import eula_accepted
from mdm.catalog.ids import among, rows_among
from mdm.catalog.relations import of_kind
from mdm.catalog.search import LACKED_STATES, Question, find
from mdm.catalog.store import CLASSIFICATION
from mdm.catalog.supersedence import VISIBLE_TYPES, Chain, chain_of, visible
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
)
from mdm.storage.statements import table_of
from mdm.storage.tables import (
    Category,
    DeviceUpdate,
    Eula,
    ListedUpdate,
    NeededRevision,
    RevisionCategory,
    RevisionRelation,
    RevisionText,
    UpdateRevision,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row, Select

__all__ = [
    "CategoryView",
    "EulaState",
    "Listed",
    "Reference",
    "RevisionView",
    "SourceState",
    "TextView",
    "UpdateDetail",
    "UpdateView",
    "get_update",
    "list_classifications",
    "list_products",
    "list_updates",
]

SourceState = Literal["synced", "queued", "not_offered", "failed", "unknown"]
EulaState = Literal["none", "open", "accepted"]
"""Of an update: it has no licence, one that nobody has accepted as it is now, or an accepted one."""

PRODUCT: Final = "Product"
_KB: Final = re.compile(r"(?:KB)?([0-9]{1,10})", re.ASCII | re.IGNORECASE)
_UNSYNCED_ORDER: Final[tuple[SourceState, ...]] = ("queued", "failed", "not_offered")
"""Of several reported revisions of an update without metadata, which one's state is told."""

_revision = table_of(UpdateRevision)
_text = table_of(RevisionText)
_listed = table_of(ListedUpdate)
_relation = table_of(RevisionRelation)
_revision_category = table_of(RevisionCategory)
_category = table_of(Category)
_eula = table_of(Eula)
_needed = table_of(NeededRevision)
_device_update = table_of(DeviceUpdate)
_newer = _revision.alias("newer")
_SUMMARY: Final = [each for each in _revision.c if each.name != "original"]
"""The document itself may have megabytes."""

# What hangs on the updates of a page: asked often, and each time with the ids of one.
_summaries = select(*_SUMMARY).where(among(_revision.c.update_id), _revision.c.is_latest)
_supersedes = (
    select(_relation.c.update_id, _relation.c.target_id)
    .join(
        _revision,
        and_(
            _revision.c.update_id == _relation.c.update_id,
            _revision.c.revision_number == _relation.c.revision_number,
        ),
    )
    .where(of_kind("supersedes"), _revision.c.is_latest, among(_relation.c.update_id))
)
# how a relation and the revision it is written in make something superseded: metadata notes, section 5
_superseded_by = select(_relation.c.target_id, _newer.c.update_id).where(
    among(_relation.c.target_id),
    _relation.c.kind == "supersedes",
    _newer.c.update_id == _relation.c.update_id,
    _newer.c.revision_number == _relation.c.revision_number,
    _newer.c.publication_state != "Expired",
    *visible(_newer),
)
_superseded = select(_listed.c.update_id).where(
    among(_listed.c.update_id), _listed.c.superseded_at.is_not(None)
)
_accepted = select(_eula.c.id).where(among(_eula.c.id), eula_accepted(_eula.c.id))
_titles = select(_category.c.id, _category.c.title).where(among(_category.c.id))
_products_of = (
    select(_revision.c.update_id, _category.c.id, _category.c.title)
    .join(
        _revision_category,
        and_(
            _revision_category.c.update_id == _revision.c.update_id,
            _revision_category.c.revision_number == _revision.c.revision_number,
        ),
    )
    .join(_category, _category.c.id == _revision_category.c.category_id)
    .where(_revision.c.is_latest, among(_revision.c.update_id), _category.c.category_type == PRODUCT)
    .order_by(_category.c.title, _category.c.id)
)


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
    language: str | None = None
    """Of title and description, lower case; `all` where it is the same in every language."""
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
    """By updates that are themselves published and visible, and name this one."""
    superseded: bool | None = None
    """True also if it is superseded through other updates."""
    reboot_behavior: str | None = None
    can_uninstall: bool | None = None
    max_download_size: int | None = None
    """Bytes, as written; of a bundle often 0."""
    download_size: int | None = None
    """Bytes: that, or what the parts of a bundle come to at most; None while a part is unknown."""
    driver: dict[str, Any] | None = None
    """Of a driver: its class, maker, model, version, date and hardware ids."""
    support_url: str | None = None
    more_info_url: str | None = None


@dataclass(frozen=True, slots=True)
class TextView:
    """Title and description in one language."""

    language: str
    title: str | None
    description: str | None


@dataclass(frozen=True, slots=True)
class RevisionView:
    """One stored revision of an update: its history, newest first."""

    revision_number: int
    title: str
    created: datetime | None
    publication_state: str
    eula_id: str | None
    fetched_at: datetime


@dataclass(frozen=True, slots=True)
class UpdateDetail(UpdateView):
    """An update with all that hangs on it."""

    texts: tuple[TextView, ...] = ()
    """In every language there is, that of `title` included."""
    revisions: tuple[RevisionView, ...] = ()
    chain: Chain | None = None
    """What it supersedes and what supersedes it, through any number of updates."""
    needed_by: int = 0
    """Devices that lack it: it is installable there, or has failed."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An update in a list, and where it stands there."""

    position: int
    """Pass the last one's as `after` for the next page."""
    update: UpdateView


@dataclass(frozen=True, slots=True)
class CategoryView:
    """A classification or product with the number of visible updates in it."""

    id: str
    title: str
    updates: int


def get_update(connection: Connection, update_id: str) -> UpdateDetail | None:
    """Return an update, stored or only reported; None for a GUID nobody knows, or that is no update."""
    rows = connection.execute(
        select(*_SUMMARY).where(_revision.c.update_id == update_id, _revision.c.is_latest)
    ).all()
    if not rows:
        return _reported(connection, update_id)
    if rows[0].update_type not in VISIBLE_TYPES:
        return None
    (view,) = _views(connection, rows, language=None)
    known = {field.name: getattr(view, field.name) for field in fields(view)}
    chain = chain_of(connection, update_id)
    return UpdateDetail(
        **known | {"superseded": bool(chain.superseded_by)},
        texts=_all_texts(connection, view),
        revisions=_history(connection, update_id),
        chain=chain,
        needed_by=_needed_by(connection, update_id),
    )


def list_updates(
    connection: Connection,
    *,
    classification: str | None = None,
    product: str | None = None,
    severity: str | None = None,
    kb: str | None = None,
    superseded: bool | None = None,
    expired: bool | None = None,
    update_type: str | None = None,
    eula: EulaState | None = None,
    needed_only: bool = False,
    q: str | None = None,
    language: str | None = None,
    after: int | None = None,
    limit: int = 50,
) -> tuple[Listed, ...]:
    """Return visible updates, the newest first, those below the position `after`.

    `kb` is written with or without "KB"; `needed_only` keeps what a device lacks (installable or failed). `q` is
    words of title, description, KB articles, bulletin, CVEs and hardware ids in any order, or a whole UpdateID.
    Titles are in `language` where there are such.
    """
    groups: list[Iterable[str]] = [[category_facet(each)] for each in (classification, product) if each]
    if severity is not None:
        groups.append([severity_facet(severity)])
    if kb is not None:
        number = _KB.fullmatch(kb.strip())
        groups.append([kb_facet(number[1])] if number else [])
    if superseded is not None:
        groups.append([SUPERSEDED if superseded else CURRENT])
    if expired is not None:
        groups.append([EXPIRED if expired else PUBLISHED])
    if update_type is not None:
        groups.append([type_facet(update_type)])
    if eula is not None:
        groups.append(_eula_facets(connection, eula))
    guid = _guid(q)
    question = Question(
        text=q if guid is None else None,
        facets=[frozenset(group) for group in groups],
        update_id=guid,
        needed=needed_only,
    )
    found = find(connection, question, after=after, limit=limit)
    rows = list(rows_among(connection, _summaries, (update_id for _, update_id in found)))
    views = {view.update_id: view for view in _views(connection, rows, language=language)}
    return tuple(Listed(position, views[update_id]) for position, update_id in found)


def list_classifications(connection: Connection) -> tuple[CategoryView, ...]:
    """Return the classifications of the category list by title, with their numbers of visible updates."""
    matching = and_(_revision.c.classification_id == _category.c.id, *visible(_revision))
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
        *visible(_revision),
    )
    statement = (
        select(_category.c.id, _category.c.title, func.count(_revision.c.update_id))
        .join(_revision_category, _revision_category.c.category_id == _category.c.id, isouter=True)
        .join(_revision, matching, isouter=True)
        .where(_category.c.category_type == PRODUCT)
    )
    return _category_views(connection, statement)


# --- conditions -----------------------------------------------------------------------------------------


def _guid(text: str | None) -> str | None:
    """The UpdateID that somebody looks for, if it is one."""
    try:
        return None if text is None else parse_guid(text.strip())
    except InvalidGuid:
        return None


def _eula_facets(connection: Connection, state: EulaState) -> Iterator[str]:
    """The facets of the licences in a state; there are some dozens, which thousands of updates share."""
    if state == "none":
        yield NO_EULA
        return
    accepted = eula_accepted(_eula.c.id)
    for eula_id in connection.scalars(
        select(_eula.c.id).where(accepted if state == "accepted" else ~accepted)
    ):
        yield eula_facet(eula_id)


# --- views ----------------------------------------------------------------------------------------------


def _reported(connection: Connection, update_id: str) -> UpdateDetail | None:
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
                return UpdateDetail(
                    update_id,
                    state,
                    row.error,
                    revision_number=number,
                    needed_by=_needed_by(connection, update_id),
                )
    reported = select(_device_update.c.update_id).where(_device_update.c.update_id == update_id)
    if connection.scalar(reported.limit(1)) is None:
        return None
    return UpdateDetail(
        update_id, "unknown", revision_number=number, needed_by=_needed_by(connection, update_id)
    )


def _needed_by(connection: Connection, update_id: str) -> int:
    counted = select(func.count()).where(
        _device_update.c.update_id == update_id, _device_update.c.state.in_(LACKED_STATES)
    )
    return connection.execute(counted).scalar_one()


def _all_texts(connection: Connection, view: UpdateView) -> tuple[TextView, ...]:
    """The texts of the highest revision by language, the one that is shown first."""
    others = connection.execute(
        select(_text.c.language, _text.c.title, _text.c.description)
        .where(_text.c.update_id == view.update_id, _text.c.revision_number == view.revision_number)
        .order_by(_text.c.language)
    )
    first = [TextView(view.language, view.title, view.description)] if view.language is not None else []
    return (*first, *(TextView(*row) for row in others))


def _history(connection: Connection, update_id: str) -> tuple[RevisionView, ...]:
    rows = connection.execute(
        select(*(_revision.c[field.name] for field in fields(RevisionView)))
        .where(_revision.c.update_id == update_id)
        .order_by(_revision.c.revision_number.desc())
    )
    return tuple(RevisionView(*row) for row in rows)


def _views(connection: Connection, rows: Sequence[Row[Any]], *, language: str | None) -> list[UpdateView]:
    """Complete a page of revisions, with one statement for each kind of what hangs on them."""
    ids = [row.update_id for row in rows]
    if not ids:
        return []
    products = _products(connection, ids)
    supersedes = _grouped(connection, _supersedes, ids)
    superseded_by = _grouped(connection, _superseded_by, ids)
    classifications = _references(connection, {row.classification_id for row in rows})
    eulas = {row.eula_id for row in rows if row.eula_id is not None}
    accepted = {eula_id for (eula_id,) in rows_among(connection, _accepted, eulas)}
    superseded = {update_id for (update_id,) in rows_among(connection, _superseded, ids)}
    texts = _texts_in(connection, rows, language)
    return [
        UpdateView(
            update_id=row.update_id,
            source_state="synced",
            revision_number=row.revision_number,
            update_type=row.update_type,
            language=texts[row.update_id].language,
            title=texts[row.update_id].title,
            description=texts[row.update_id].description,
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
            superseded=row.update_id in superseded,
            reboot_behavior=row.reboot_behavior,
            can_uninstall=row.can_uninstall,
            max_download_size=row.max_download_size,
            download_size=row.download_size,
            driver=row.driver,
            support_url=row.support_url,
            more_info_url=row.more_info_url,
        )
        for row in rows
    ]


def _texts_in(connection: Connection, rows: Sequence[Row[Any]], language: str | None) -> dict[str, TextView]:
    """Title and description of each row, in a language where there are such."""
    texts = {row.update_id: TextView(row.language, row.title, row.description) for row in rows}
    if language is None:
        return texts
    others = connection.execute(
        select(_text.c.update_id, _text.c.language, _text.c.title, _text.c.description)
        .join(
            _revision,
            and_(
                _revision.c.update_id == _text.c.update_id,
                _revision.c.revision_number == _text.c.revision_number,
                _revision.c.is_latest,
            ),
        )
        .where(_text.c.update_id.in_(texts), _text.c.language == language.lower(), _text.c.title.is_not(None))
    )
    return texts | {row.update_id: TextView(row.language, row.title, row.description) for row in others}


def _products(connection: Connection, ids: Sequence[str]) -> dict[str, list[Reference]]:
    products: dict[str, list[Reference]] = {}
    for update_id, category_id, title in rows_among(connection, _products_of, ids):
        products.setdefault(update_id, []).append(Reference(category_id, title))
    return products


def _references(connection: Connection, ids: Iterable[str | None]) -> dict[str | None, Reference]:
    rows = rows_among(connection, _titles, (each for each in ids if each))
    return {category_id: Reference(category_id, title) for category_id, title in rows}


def _grouped(connection: Connection, statement: Select[Any], ids: Sequence[str]) -> dict[str, list[str]]:
    groups: dict[str, set[str]] = {}
    for key, value in rows_among(connection, statement, ids):
        groups.setdefault(key, set()).add(value)
    return {key: sorted(values) for key, values in groups.items()}


def _category_views(connection: Connection, statement: Select[Any]) -> tuple[CategoryView, ...]:
    rows = connection.execute(
        statement.group_by(_category.c.id, _category.c.title).order_by(_category.c.title, _category.c.id)
    )
    return tuple(CategoryView(*row) for row in rows)
