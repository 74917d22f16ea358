"""GUIDs as node names: read in every form Windows writes, write in the one Microsoft documents.

A device may write `%7BB316…%7D`, `{B316…}`, `b316…`, and Microsoft's own sample has a blank after the brace
(`%7B D5DC…%7D`); the Update CSP page shows `%7ba317…%7d` in what a server sends. Inside the product a GUID
is lower case without braces, so that equal GUIDs are equal strings.
"""

from __future__ import annotations

import re
from typing import Final

from csp.errors import InvalidGuid, InvalidLocURI, quoted
from csp.locuri import unescape

__all__ = ["find_guid", "guid_of_name", "guid_segment", "is_guid", "parse_guid"]

_GUID: Final = re.compile(
    r"\s*(?P<brace>\{\s*)?"
    r"(?P<guid>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
    r"(?(brace)\s*\})\s*",
    re.ASCII | re.IGNORECASE,
)
_NORMAL: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
"""What needs no more than a look: a device names the same thousands of GUIDs in each session."""


def guid_of_name(name: str) -> str:
    """The GUID a node name stands for, for names already unescaped (`LocURI.segments`).

    Lower case, 8-4-4-4-12, no braces. Raises InvalidGuid.
    """
    guid = find_guid(name)
    if guid is None:
        raise InvalidGuid(f"{quoted(name)} is not a GUID.")
    return guid


def find_guid(name: str) -> str | None:
    """The GUID as `guid_of_name` gives it, or None for a name that stands for something else."""
    if _NORMAL.fullmatch(name):
        return name
    match = _GUID.fullmatch(name)
    return None if match is None else match["guid"].lower()


def is_guid(name: str) -> bool:
    """Whether an unescaped node name stands for a GUID."""
    return find_guid(name) is not None


def parse_guid(text: str) -> str:
    """Read a GUID in any case, with one pair of braces or none, percent-decoded once, blanks stripped.

    Lower case, 8-4-4-4-12, no braces. Raises InvalidGuid.
    """
    if _NORMAL.fullmatch(text):
        return text
    try:
        return guid_of_name(unescape(text))
    except InvalidLocURI:
        raise InvalidGuid(f"{quoted(text)} is not a GUID.") from None


def guid_segment(guid: str) -> str:
    """The GUID as an escaped LocURI segment, `%7b…%7d` in lower case (Update CSP, ApprovedUpdates).

    For text; the name to give `LocURI.__truediv__` is `{…}`, which it escapes itself. Raises InvalidGuid.
    """
    return f"%7b{parse_guid(guid)}%7d"
