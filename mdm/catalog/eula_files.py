"""Which files hold the texts of a licence: what the metadata names, newest last.

One EulaID is shared by many updates, and each of their revisions may name files for it. Of each language and
country the file that the newest revision names is the current one; an older one stays, because people may have
accepted its text. A current text that nobody has accepted needs a new acceptance (`mdm.approvals.eulas`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sqlalchemy import bindparam, select, update

from mdm.catalog.ids import chunks
from mdm.storage.statements import insert_ignore, table_of
from mdm.storage.tables import Eula, EulaText

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import Connection

    from mdm.catalog.metadata import EulaFile, ParsedRevision

__all__ = ["note_eulas"]

_Place: TypeAlias = "tuple[str, str, str]"
"""EulaID, language, country."""

_NO_URL: Final = "The upstream names no URL for this text."
_NO_DATE: Final = datetime(1, 1, 1, tzinfo=UTC)

_eula = table_of(Eula)
_text = table_of(EulaText)


def note_eulas(
    connection: Connection,
    revisions: Iterable[ParsedRevision],
    url_of: Callable[[EulaFile], str | None],
    now: datetime,
) -> None:
    """Note the licences of these revisions and where their texts are."""
    licensed = [revision for revision in revisions if revision.eula_id is not None]
    eula_ids = {str(revision.eula_id) for revision in licensed}
    if not eula_ids:
        return
    rows = [{"id": eula_id, "first_seen_at": now} for eula_id in sorted(eula_ids)]
    connection.execute(insert_ignore(_eula, connection), rows)
    for chunk in chunks(eula_ids):
        # an acceptance at this moment must not be of a text that is about to be replaced
        connection.execute(select(_eula.c.id).where(_eula.c.id.in_(chunk)).with_for_update())
    held = _held(connection, eula_ids)
    for place, (file, named_at) in _newest(licensed).items():
        _note(connection, place, file, named_at=named_at, url=url_of(file), held=held.get(place, ()))


def _newest(licensed: Iterable[ParsedRevision]) -> dict[_Place, tuple[EulaFile, datetime | None]]:
    """Of each language and country the file that the newest of these revisions names, the last of equals."""
    newest: dict[_Place, tuple[EulaFile, datetime | None]] = {}
    for revision in licensed:
        for file in revision.eula_files:
            place = (str(revision.eula_id), file.language, (file.geo_id or "").upper())
            known = newest.get(place)
            if known is None or (known[1] or _NO_DATE) <= (revision.created or _NO_DATE):
                newest[place] = (file, revision.created)
    return newest


def _held(connection: Connection, eula_ids: Iterable[str]) -> dict[_Place, list[Any]]:
    columns = (
        _text.c.eula_id,
        _text.c.locale,
        _text.c.geo_id,
        _text.c.file_sha1,
        _text.c.current,
        _text.c.named_at,
        _text.c.url,
        _text.c.text_sha256,
    )
    held: dict[_Place, list[Any]] = {}
    for chunk in chunks(eula_ids):
        for row in connection.execute(select(*columns).where(_text.c.eula_id.in_(chunk))):
            held.setdefault((row.eula_id, row.locale, row.geo_id), []).append(row)
    return held


def _note(
    connection: Connection,
    place: _Place,
    file: EulaFile,
    *,
    named_at: datetime | None,
    url: str | None,
    held: Iterable[Any],
) -> None:
    """Make a file the current one of its place, unless a newer revision has named another."""
    current = next((row for row in held if row.current), None)
    same = next((row for row in held if row.file_sha1 == file.sha1), None)
    if current is not None and (named_at or _NO_DATE) < (current.named_at or _NO_DATE):
        return
    if current is not None and current.file_sha1 != file.sha1:
        _change(connection, place, current.file_sha1, current=False)
    if same is None:
        connection.execute(
            insert_ignore(_text, connection),
            {
                **dict(zip(("eula_id", "locale", "geo_id"), place, strict=True)),
                "file_sha1": file.sha1,
                "file_sha256": file.sha256,
                "current": True,
                "named_at": named_at,
                "url": url,
                "error": None if url else _NO_URL,
            },
        )
        return
    found = {"url": url, "error": None} if same.text_sha256 is None and url not in {None, same.url} else {}
    if found or not same.current or same.named_at != named_at:
        _change(connection, place, file.sha1, current=True, named_at=named_at, **found)


def _change(connection: Connection, place: _Place, sha1: str, **values: object) -> None:
    connection.execute(
        update(_text)
        .where(
            _text.c.eula_id == bindparam("id"),
            _text.c.locale == bindparam("language"),
            _text.c.geo_id == bindparam("country"),
            _text.c.file_sha1 == bindparam("sha1"),
        )
        .values(values),
        {**dict(zip(("id", "language", "country"), place, strict=True)), "sha1": sha1},
    )
