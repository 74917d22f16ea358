"""One question to the full-text index: which listed updates have these words and facets, the newest first.

The index is FTS5 on SQLite and a tsvector with GIN on PostgreSQL; this is the only module that knows. What a
user types is cut into words before (`mdm.catalog.words`), so it can hold no query syntax and break nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Integer, bindparam, cast, column, exists, func, literal_column, select, table
from sqlalchemy.dialects.postgresql import TSQUERY, TSVECTOR

from mdm.catalog.words import words_sought
from mdm.storage.statements import table_of
from mdm.storage.tables import DeviceUpdate, ListedUpdate

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import ColumnClause, ColumnElement, Connection, Select

__all__ = ["LACKED_STATES", "Question", "find"]

LACKED_STATES: Final = ("installable", "failed")
"""What a device says of an update that it still lacks."""
_PREFIX_MIN: Final = 3
"""Letters from which on the last word may be the beginning of one."""

_listed = table_of(ListedUpdate)
_device_update = table_of(DeviceUpdate)
_fts = table("listed_search", column("rowid", Integer), column("listed_search"))


@dataclass(frozen=True, slots=True)
class Question:
    """What is looked for; every part must be true of an update."""

    text: str | None = None
    """Words in any order; the last one may be the beginning of one, if no update has it as a whole."""
    facets: Sequence[Collection[str]] = ()
    """Of each group one must be there."""
    update_id: str | None = None
    needed: bool = False
    """Some device lacks it."""


def find(
    connection: Connection, question: Question, *, after: int | None = None, limit: int
) -> list[tuple[int, str]]:
    """Return position and UpdateID of at most `limit` updates, those below the position `after`."""
    groups = _groups(connection, question)
    if not all(groups):
        return []
    statement = _statement(connection.dialect.name, groups, question, after).limit(limit)
    positions = list(connection.scalars(statement))
    rows = connection.execute(
        select(_listed.c.position, _listed.c.update_id)
        .where(_listed.c.position.in_(positions))
        .order_by(_listed.c.position.desc())
    )
    return [(row.position, row.update_id) for row in rows]


# --- the question in each database's words --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Token:
    """A word or facet; letters and digits only, but for the facet's "_"."""

    text: str
    prefix: bool = False


def _groups(connection: Connection, question: Question) -> list[list[_Token]]:
    """What must be met, each group by one of its tokens; an empty group is impossible to meet."""
    groups = [[_Token(facet) for facet in sorted(group)] for group in question.facets]
    if question.text is None:
        return groups
    words = words_sought(question.text)
    if not words:
        return [[]]
    # a whole word is read off the index in order, the beginning of one is gathered first
    last = _Token(words[-1], prefix=len(words[-1]) >= _PREFIX_MIN and not _is_word(connection, words[-1]))
    return [*groups, *([_Token(word)] for word in words[:-1]), [last]]


def _is_word(connection: Connection, word: str) -> bool:
    # in no order, or PostgreSQL would read the list from its beginning to find one row of a rare word
    statement = _statement(connection.dialect.name, [[_Token(word)]], Question(), None).order_by(None)
    return connection.scalar(statement.limit(1)) is not None


def _statement(
    dialect: str, groups: list[list[_Token]], question: Question, after: int | None
) -> Select[int]:
    if not groups:
        position: ColumnClause[int] = _listed.c.position
        statement = select(position)
    elif dialect == "postgresql":
        position = _listed.c.position
        statement = select(position).where(_lexemes(groups))
    else:
        # straight from the index, which gives rowids in order and stops at the limit
        position = _fts.c.rowid
        statement = select(position).where(
            _fts.c.listed_search.op("MATCH", is_comparison=True)(_fts_query(groups))
        )
    if after is not None:
        statement = statement.where(position < after)
    if question.update_id is not None:
        wanted = select(_listed.c.position).where(_listed.c.update_id == question.update_id)
        statement = statement.where(position.in_(wanted))
    if question.needed:
        # "+ 0" keeps FTS5 from asking its index once for each of them
        needed = position + literal_column("0") if position.table is _fts else position
        statement = statement.where(needed.in_(_needed_positions()))
    return statement.order_by(position.desc())


def _fts_query(groups: list[list[_Token]]) -> str:
    def written(token: _Token) -> str:
        return f'"{token.text}"{" *" if token.prefix else ""}'

    return " AND ".join(f"({' OR '.join(map(written, group))})" for group in groups)


def _lexemes(groups: list[list[_Token]]) -> ColumnElement[bool]:
    def written(token: _Token) -> str:
        return f"'{token.text}'{':*' if token.prefix else ''}"

    query = " & ".join(f"({' | '.join(map(written, group))})" for group in groups)
    lexemes: ColumnElement[Any] = literal_column("listed_update.lexemes", TSVECTOR)
    return lexemes.op("@@", is_comparison=True)(
        cast(bindparam("tokens", query, literal_execute=True), TSQUERY)
    )


def _needed_positions() -> Select[int]:
    """The listed updates that some device lacks.

    Devices name few updates, each of them many times: the ids are read off the index one after the other, each
    with one look-up, instead of reading every row.
    """
    first = select(func.min(_device_update.c.update_id).label("id")).cte("reported", recursive=True)
    following = (
        select(func.min(_device_update.c.update_id))
        .where(_device_update.c.update_id > first.c.id)
        .scalar_subquery()
    )
    reported = first.union_all(select(following).where(first.c.id.is_not(None)))
    return (
        select(_listed.c.position)
        .join(reported, reported.c.id == _listed.c.update_id)
        .where(
            exists().where(
                _device_update.c.update_id == reported.c.id, _device_update.c.state.in_(LACKED_STATES)
            )
        )
    )
