"""Cursor paging: a cursor is where the last page ended, bound to the list and the filters it came from.

It is base64url JSON and not signed: a forged one can only start a page elsewhere in a list its owner may read
anyway. What it holds is checked by type, so that no value reaches the database that it cannot compare.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from urllib.parse import urlencode

from mdm.errors import Malformed
from mdm.rest.encoding import time_text
from mdm.rest.fields import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mdm.rest.fields import PageQuery

__all__ = ["Page", "Position"]

K = TypeVar("K", bound=tuple[Any, ...])
T = TypeVar("T")

_MAX_INTEGER: Final = 2**63 - 1
_MAX_TEXT: Final = 300


@dataclass(frozen=True, slots=True)
class Page:
    """One page as it is answered."""

    items: Sequence[Any]
    next_cursor: str | None
    link: str | None
    """The Link header to the next page; relative, so that no Host header is believed."""


@dataclass(frozen=True, slots=True)
class Position(Generic[K]):
    """Where in a list a request stands, and how to turn the rows found into a page."""

    path: str
    params: tuple[tuple[str, str], ...]
    limit: int
    after: K | None
    """The sort key of the last row already seen."""

    @classmethod
    def of(
        cls, path: str, params: tuple[tuple[str, str], ...], query: PageQuery, kinds: tuple[type, ...]
    ) -> Position[K]:
        """Read the cursor of a request; `kinds` are the types of the sort key's parts.

        Raises Malformed `invalid_cursor` for one from another list or filter, or one never given out.
        """
        after = None if query.cursor is None else _decode(query.cursor, _binding(path, params), kinds)
        return cls(path, params, query.limit, after)  # type: ignore[arg-type] # kinds say what K is

    @property
    def fetch(self) -> int:
        """Rows to ask for: one more than the page, which tells whether another follows."""
        return self.limit + 1

    def page(
        self, rows: Sequence[T], *, key: Callable[[T], K], show: Callable[[T], Any] = lambda row: row
    ) -> Page:
        """The page made of up to `fetch` rows; `key` gives a row's sort key, `show` what is answered of it."""
        items = [show(row) for row in rows[: self.limit]]
        if len(rows) <= self.limit:
            return Page(items, None, None)
        cursor = _encode(key(rows[self.limit - 1]), _binding(self.path, self.params))
        params = [(name, value) for name, value in self.params if name != "cursor"]
        return Page(items, cursor, f'<{self.path}?{urlencode([*params, ("cursor", cursor)])}>; rel="next"')


def _binding(path: str, params: tuple[tuple[str, str], ...]) -> str:
    """What a cursor belongs to: the path and every parameter but those that only cut the list."""
    filters = sorted(pair for pair in params if pair[0] not in {"cursor", "limit"})
    return hashlib.sha256(json.dumps([path, filters]).encode()).hexdigest()[:16]


def _encode(key: tuple[Any, ...], binding: str) -> str:
    parts = [time_text(part) if isinstance(part, datetime) else part for part in key]
    text = json.dumps([binding, *parts], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(cursor: str, binding: str, kinds: tuple[type, ...]) -> tuple[Any, ...]:
    refused = Malformed("The cursor does not belong to this list and these filters.", code="invalid_cursor")
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        document = json.loads(raw)
    except (binascii.Error, ValueError, RecursionError):
        raise refused from None
    if not isinstance(document, list) or len(document) != 1 + len(kinds) or document[0] != binding:
        raise refused
    key = tuple(_part(value, kind) for value, kind in zip(document[1:], kinds, strict=True))
    if None in key:
        raise refused
    return key


def _part(value: Any, kind: type) -> Any:
    """The value as its kind, or None."""
    if kind is int:
        return value if type(value) is int and abs(value) <= _MAX_INTEGER else None
    if not isinstance(value, str) or len(value) > _MAX_TEXT or not printable(value):
        return None
    if kind is str:
        return value
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
