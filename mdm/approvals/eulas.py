"""EULAs: their texts, what waits for them, and accepting one.

A EULA is accepted once per EulaID, however many updates share it (metadata section 6; Update CSP: showing the
text to the administrator first is a contractual duty), and again when its text has changed
(`mdm.approvals.acceptance`).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import exists, func, insert, select
from sqlmodel import col

from mdm.approvals.acceptance import eula_accepted
from mdm.approvals.eula_queue import changed_since, waiting_for
from mdm.approvals.ledger import Acceptance, acceptances_of
from mdm.approvals.versions import facts_changed
from mdm.audit import record
from mdm.errors import Conflict, FieldError, Invalid, NotFound
from mdm.storage.tables import Eula, EulaAcceptance, EulaText, UpdateRevision

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Row, Select

    from mdm.approvals.eula_queue import Waiting
    from mdm.audit import Origin

__all__ = [
    "EulaDocument",
    "EulaTextInfo",
    "EulaView",
    "OpenEula",
    "accept_eula",
    "get_eula",
    "list_eulas",
    "open_eulas_of_classification",
    "open_eulas_of_update",
]

_PREFERRED_LOCALES = ("en", "en-us")
_MAX_NAMED = 100
"""EULAs named in one answer."""


@dataclass(frozen=True, slots=True)
class EulaTextInfo:
    """One language of a EULA, without its text."""

    locale: str
    geo_id: str | None
    """ISO 3166 alpha-3 of the one country it is for; None is the rest of the world."""
    available: bool
    text_sha256: str | None
    """Lower-case hex; what an acceptance names."""
    error: str | None
    """Why it is not available."""
    current: bool
    """False for a text that another has taken the place of."""


@dataclass(frozen=True, slots=True)
class EulaView:
    """A EULA as an administrator sees it in a list."""

    id: str
    title: str | None
    """The title of an update that has it: EULAs have no title of their own."""
    accepted: bool
    changed: bool
    """It was accepted, and its text has changed since: it must be accepted again."""
    first_seen_at: datetime
    texts: tuple[EulaTextInfo, ...]
    update_count: int
    """Published updates that have it."""
    updates_waiting: int
    """The same, as long as nobody has accepted it."""
    waiting: Waiting | None
    """The approvals that wait for it; None: none does."""


@dataclass(frozen=True, slots=True)
class EulaDocument:
    """A EULA with its text in one language and its ledger."""

    id: str
    title: str | None
    accepted: bool
    changed: bool
    """It was accepted, and its text has changed since: it must be accepted again."""
    first_seen_at: datetime
    texts: tuple[EulaTextInfo, ...]
    update_count: int
    updates_waiting: int
    waiting: Waiting | None
    """The approvals that wait for it; None: none does."""
    locale: str | None
    """The language of `text`."""
    geo_id: str | None
    text: str | None
    text_sha256: str | None
    acceptances: tuple[Acceptance, ...]


@dataclass(frozen=True, slots=True)
class OpenEula:
    """A EULA that stands in the way of an approval."""

    id: str
    title: str


def list_eulas(
    conn: Connection,
    *,
    accepted: bool | None = None,
    waiting: bool | None = None,
    after: str | None,
    limit: int,
    now: datetime,
) -> list[EulaView]:
    """At most `limit` EULAs whose id comes after `after`, by id.

    `waiting` picks those that approvals wait for, or the others.
    """
    if waiting is None:
        return _views(conn, _rows(conn, accepted=accepted, after=after, limit=limit), now)
    found: list[EulaView] = []
    while len(found) < limit:
        rows = _rows(conn, accepted=accepted, after=after, limit=_MAX_NAMED)
        found += [view for view in _views(conn, rows, now) if (view.waiting is not None) is waiting]
        if len(rows) < _MAX_NAMED:
            break
        after = rows[-1].id
    return found[:limit]


def _rows(conn: Connection, *, accepted: bool | None, after: str | None, limit: int) -> Sequence[Row[Any]]:
    ledger = eula_accepted(col(Eula.id))
    ever = exists().where(col(EulaAcceptance.eula_id) == col(Eula.id))
    query: Any = select(col(Eula.id), col(Eula.first_seen_at), ledger.label("accepted"), ever.label("ever"))
    if after is not None:
        query = query.where(col(Eula.id) > after)
    if accepted is not None:
        query = query.where(ledger if accepted else ~ledger)
    rows: Sequence[Row[Any]] = conn.execute(query.order_by(col(Eula.id)).limit(limit)).all()
    return rows


def _views(conn: Connection, rows: Sequence[Row[Any]], now: datetime) -> list[EulaView]:
    ids = [row.id for row in rows]
    texts, updates = _texts(conn, ids), _updates(conn, ids)
    queue = _queue(
        conn, {row.id: (row.first_seen_at, bool(row.ever)) for row in rows if not row.accepted}, now
    )
    return [
        EulaView(
            id=row.id,
            title=updates.get(row.id, (0, None))[1],
            accepted=bool(row.accepted),
            changed=bool(row.ever) and not row.accepted,
            first_seen_at=row.first_seen_at,
            texts=tuple(text for text in texts.get(row.id, ()) if text.current),
            update_count=updates.get(row.id, (0, None))[0],
            updates_waiting=0 if row.accepted else updates.get(row.id, (0, None))[0],
            waiting=queue.get(row.id),
        )
        for row in rows
    ]


def _queue(conn: Connection, eulas: dict[str, tuple[datetime, bool]], now: datetime) -> dict[str, Waiting]:
    """What waits for these unaccepted EULAs, given when each was first seen and whether it was accepted before."""
    changed = changed_since(conn, (each for each, (_, ever) in eulas.items() if ever))
    since = {each: changed.get(each, first_seen) for each, (first_seen, _) in eulas.items()}
    return waiting_for(conn, since, now) if since else {}


def get_eula(
    conn: Connection,
    eula_id: str,
    *,
    locale: str | None = None,
    geo_id: str | None = None,
    text_sha256: str | None = None,
    now: datetime,
) -> EulaDocument:
    """One EULA with its text in `locale`, or in English, or in the first language there is.

    `geo_id` asks for the text of one country, `text_sha256` for exactly one text, be it one that has been
    replaced. Raises NotFound for an unknown EULA, or one that has no such text.
    """
    row = conn.execute(
        select(col(Eula.id), col(Eula.first_seen_at)).where(col(Eula.id) == eula_id)
    ).one_or_none()
    if row is None:
        raise _unknown(eula_id)
    texts = _texts(conn, [eula_id]).get(eula_id, ())
    chosen = _choose(texts, locale, geo_id, text_sha256)
    if chosen is None and (locale, geo_id, text_sha256) != (None, None, None):
        known = sorted({text.locale for text in texts if text.current})
        raise NotFound("The EULA has no such text.", locales=known)
    body = None if chosen is None else conn.scalar(_body(eula_id, chosen))
    count, title = _updates(conn, [eula_id]).get(eula_id, (0, None))
    ledger = acceptances_of(conn, eula_id)
    accepted = any(acceptance.holds for acceptance in ledger)
    open_now = {} if accepted else {eula_id: (row.first_seen_at, bool(ledger))}
    return EulaDocument(
        id=eula_id,
        title=title,
        accepted=accepted,
        changed=bool(ledger) and not accepted,
        first_seen_at=row.first_seen_at,
        texts=texts,
        update_count=count,
        updates_waiting=0 if accepted else count,
        waiting=_queue(conn, open_now, now).get(eula_id),
        locale=None if chosen is None else chosen.locale,
        geo_id=None if chosen is None else chosen.geo_id,
        text=body,
        text_sha256=None if chosen is None else chosen.text_sha256,
        acceptances=ledger,
    )


def accept_eula(
    conn: Connection,
    origin: Origin,
    eula_id: str,
    *,
    locale: str,
    text_sha256: str,
    now: datetime,
    geo_id: str | None = None,
    organization: str | None = None,
) -> tuple[Acceptance, bool]:
    """Enter into the ledger that `origin.actor` accepts exactly this text, which must be the current one.

    Returns True with a new row. Who comes with a token is a machine, and the row says so: the caller has checked that
    machines may accept.
    The same text accepted before gives that first row back and False. Raises NotFound, Invalid for a language
    the EULA lacks, Conflict `eula_text_unavailable` if its text was never fetched, and Conflict
    `eula_text_changed` if the stored text has another hash.
    """
    # Locked, so that two acceptances of one text become one row.
    known = conn.scalar(select(col(Eula.id)).where(col(Eula.id) == eula_id).with_for_update())
    if known is None:
        raise _unknown(eula_id)
    stored = conn.execute(
        select(col(EulaText.text_sha256), col(EulaText.text).is_not(None).label("fetched")).where(
            col(EulaText.eula_id) == eula_id,
            col(EulaText.locale) == locale,
            col(EulaText.geo_id) == (geo_id or ""),
            col(EulaText.current),
        )
    ).one_or_none()
    if stored is None:
        error = FieldError("/locale", "unknown_locale", "The EULA has no text in this language.")
        raise Invalid("The EULA has no text in this language.", errors=(error,))
    if not stored.fetched or stored.text_sha256 is None:
        raise Conflict(
            f"The text of EULA {eula_id} in {locale!r} has not been fetched, so nobody can have read it.",
            code="eula_text_unavailable",
        )
    if stored.text_sha256 != text_sha256:
        raise Conflict(
            f"The text of EULA {eula_id} in {locale!r} is not the one with the hash you send.",
            code="eula_text_changed",
            text_sha256=stored.text_sha256,
        )
    earlier = [each for each in acceptances_of(conn, eula_id) if each.text_sha256 == text_sha256]
    if earlier:
        return earlier[0], False
    accepted_already = conn.scalar(select(eula_accepted(col(Eula.id))).where(col(Eula.id) == eula_id))
    acceptance = Acceptance(
        id=f"acc_{secrets.token_hex(10)}",
        eula_id=eula_id,
        locale=locale,
        geo_id=geo_id,
        text_sha256=text_sha256,
        accepted_by=origin.actor,
        by_machine=origin.token_id is not None,
        organization=organization,
        accepted_at=now,
        remote_addr=origin.remote_addr,
        request_id=origin.request_id,
        holds=True,
    )
    conn.execute(
        insert(EulaAcceptance).values(
            id=acceptance.id,
            eula_id=eula_id,
            locale=locale,
            geo_id=geo_id or "",
            text_sha256=text_sha256,
            accepted_by=acceptance.accepted_by,
            by_machine=acceptance.by_machine,
            organization=organization,
            accepted_at=now,
            remote_addr=origin.remote_addr,
            request_id=origin.request_id,
        )
    )
    facts_changed(conn)
    record(
        conn,
        origin,
        now=now,
        action="eula.accept",
        object_type="eula",
        object_id=eula_id,
        detail={
            "acceptance": acceptance.id,
            "locale": locale,
            "geo_id": geo_id,
            "text_sha256": text_sha256,
            "organization": organization,
            "by_machine": acceptance.by_machine,
        },
        before={"accepted": accepted_already},
        after={"accepted": True},
    )
    return acceptance, True


def open_eulas_of_update(conn: Connection, update_id: str) -> list[OpenEula]:
    """The EULA that the update's latest revision has and nobody has accepted, if any."""
    return _open_eulas(conn, col(UpdateRevision.update_id) == update_id)


def open_eulas_of_classification(conn: Connection, classification_id: str) -> list[OpenEula]:
    """The unaccepted EULAs of the classification's published updates, by id; at most 100.

    These are the ones that hold the classification back from devices (`mdm.approvals.effective`).
    """
    return _open_eulas(conn, col(UpdateRevision.classification_id) == classification_id)


def _open_eulas(conn: Connection, which: ColumnElement[bool]) -> list[OpenEula]:
    accepted = eula_accepted(col(UpdateRevision.eula_id))
    rows = conn.execute(
        select(col(UpdateRevision.eula_id), func.min(col(UpdateRevision.title)))
        .where(which, *_published(), col(UpdateRevision.eula_id).is_not(None), ~accepted)
        .group_by(col(UpdateRevision.eula_id))
        .order_by(col(UpdateRevision.eula_id))
        .limit(_MAX_NAMED)
    )
    return [OpenEula(str(eula_id), title) for eula_id, title in rows]


def _published() -> tuple[ColumnElement[bool], ...]:
    return col(UpdateRevision.is_latest).is_(True), col(UpdateRevision.publication_state) != "Expired"


def _choose(
    texts: Sequence[EulaTextInfo], locale: str | None, geo_id: str | None, text_sha256: str | None
) -> EulaTextInfo | None:
    """The text asked for; else a current and fetched one, for the whole world and in English if there is one."""
    fitting = [
        text
        for text in texts
        if (text.current if text_sha256 is None else text.text_sha256 == text_sha256)
        and (locale is None or text.locale.lower() == locale.lower())
        and (geo_id is None or text.geo_id == geo_id.upper())
    ]
    return min(fitting, key=_rank, default=None)


def _rank(text: EulaTextInfo) -> tuple[bool, bool, bool, bool, str, str]:
    return (
        not text.current,
        not text.available,
        text.locale.lower() not in _PREFERRED_LOCALES,
        text.geo_id is not None,
        text.locale,
        text.geo_id or "",
    )


def _body(eula_id: str, chosen: EulaTextInfo) -> Select[str | None]:
    return select(col(EulaText.text)).where(
        col(EulaText.eula_id) == eula_id,
        col(EulaText.locale) == chosen.locale,
        col(EulaText.geo_id) == (chosen.geo_id or ""),
        # of a replaced text the hash says which; the current one may have none yet
        col(EulaText.current) if chosen.current else col(EulaText.text_sha256) == chosen.text_sha256,
    )


def _texts(conn: Connection, eula_ids: Iterable[str]) -> dict[str, tuple[EulaTextInfo, ...]]:
    """Every text by language and country, the current one before those it has replaced."""
    rows = conn.execute(
        select(
            col(EulaText.eula_id),
            col(EulaText.locale),
            col(EulaText.geo_id),
            col(EulaText.text).is_not(None).label("available"),
            col(EulaText.text_sha256),
            col(EulaText.error),
            col(EulaText.current),
        )
        .where(col(EulaText.eula_id).in_(list(eula_ids)))
        .order_by(
            col(EulaText.eula_id),
            col(EulaText.locale),
            col(EulaText.geo_id),
            col(EulaText.current).desc(),
            col(EulaText.named_at).desc().nulls_last(),
            col(EulaText.file_sha1),
        )
    )
    found: dict[str, list[EulaTextInfo]] = {}
    for row in rows:
        if not row.current and not row.available:
            continue  # replaced before anybody could read it
        info = EulaTextInfo(
            locale=row.locale,
            geo_id=row.geo_id or None,
            available=bool(row.available),
            text_sha256=row.text_sha256,
            error=row.error,
            current=row.current,
        )
        found.setdefault(row.eula_id, []).append(info)
    return {eula_id: tuple(infos) for eula_id, infos in found.items()}


def _updates(conn: Connection, eula_ids: Iterable[str]) -> dict[str, tuple[int, str | None]]:
    """How many published updates have each EULA, and the title of one of them."""
    rows = conn.execute(
        select(col(UpdateRevision.eula_id), func.count(), func.min(col(UpdateRevision.title)))
        .where(col(UpdateRevision.eula_id).in_(list(eula_ids)), *_published())
        .group_by(col(UpdateRevision.eula_id))
    )
    return {str(eula_id): (count, title) for eula_id, count, title in rows}


def _unknown(eula_id: str) -> NotFound:
    return NotFound(f"There is no EULA {eula_id!r}.")
