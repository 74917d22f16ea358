"""What an update is found by: the words people look for, and the facets that lists are filtered by.

Both are tokens of one full-text index, so that "security updates of Windows 11 that name this CVE" is one
question to it, on SQLite and on PostgreSQL alike. The words are cut here and not by the database: what is found
does not depend on which database it is or how it was set up, and nothing a user types is ever query syntax.

Facets begin with "_", which no word does: no search comes upon a facet by chance.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import islice
from typing import Final

__all__ = [
    "CURRENT",
    "EXPIRED",
    "NO_EULA",
    "PUBLISHED",
    "SUPERSEDED",
    "category_facet",
    "eula_facet",
    "kb_facet",
    "severity_facet",
    "type_facet",
    "words_of",
    "words_sought",
]

CURRENT: Final = "_current"
"""No published update supersedes it."""
SUPERSEDED: Final = "_superseded"
PUBLISHED: Final = "_published"
EXPIRED: Final = "_expired"
NO_EULA: Final = "_eulanone"

_MAX_WORDS: Final = 2000
"""Of one update: PostgreSQL bounds all words of a row at a megabyte."""
_MAX_WORD: Final = 64
"""Characters of a word; longer ones are cut, in documents and in searches alike."""
_WORD: Final = re.compile(r"[^\W_]+")
_NUMBERED: Final = re.compile(
    r"\b(?:(cve)-(\d{4})-(\d{4,})|(ms)(\d{2})-(\d{3})|(kb)\s?(\d{1,10}))\b", re.ASCII
)
"""CVEs, bulletins and KB articles: each is one word, however its parts are joined."""


def words_of(*texts: str | None) -> tuple[str, ...]:
    """Return the different words of the texts in the order they come, without case, accents or punctuation.

    CVE-2026-1234, MS17-010 and KB5041585 are words of their own beside their parts.
    """
    found: dict[str, None] = {}
    for text in texts:
        if text is not None:
            plain = _plain(text)
            for numbered in _NUMBERED.finditer(plain):
                parts = [part for part in numbered.groups() if part is not None]
                found |= {"".join(parts): None, parts[-1]: None}
            found |= dict.fromkeys(word[:_MAX_WORD] for word in _WORD.findall(plain))
    return tuple(islice(found, _MAX_WORDS))


def words_sought(text: str) -> tuple[str, ...]:
    """Return the words that an update must all have to be what somebody looks for.

    A CVE, a bulletin or a KB article is one word, whether or not there is a space or "-" in it.
    """
    plain = _plain(text)
    numbered = ("".join(filter(None, each.groups())) for each in _NUMBERED.finditer(plain))
    rest = _WORD.findall(_NUMBERED.sub(" ", plain))
    return tuple(dict.fromkeys([*numbered, *(word[:_MAX_WORD] for word in rest)]))


def category_facet(category_id: str) -> str:
    """Of updates in a category: classification, product, product family, company."""
    return f"_in{_letters(category_id)}"


def eula_facet(eula_id: str) -> str:
    """Of updates that have this licence."""
    return f"_eula{_letters(eula_id)}"


def kb_facet(number: str) -> str:
    """Of updates that belong to a KB article, which is more than to name it somewhere."""
    return f"_kb{number}"


def severity_facet(severity: str) -> str:
    """Of updates with an MSRC severity."""
    return f"_severity{_letters(severity)}"


def type_facet(update_type: str) -> str:
    """Of software, or of drivers."""
    return f"_type{_letters(update_type)}"


def _plain(text: str) -> str:
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(sign for sign in decomposed if not unicodedata.combining(sign))


def _letters(text: str) -> str:
    return "".join(_WORD.findall(_plain(text)))
