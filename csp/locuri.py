"""A LocURI is a path of node names, kept unescaped, with an optional query (OMA DM_TND 1.2.1 chapters 5 and 7).

Two forms of the same name exist, and mixing them up is the usual mistake: a *name* (`{a317…}`) is what
`LocURI.segments` and `/` take; *escaped* text (`%7ba317…%7d`) is what stands on the wire.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import unquote_to_bytes

from csp.errors import InvalidLocURI, quoted

__all__ = ["LocURI", "escape", "unescape"]

# RFC 2396 2.3 "unreserved". Braces are not among them: Windows' documentation escapes them, in lower case.
_UNRESERVED: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()",
)
_STRAY_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_BLANKS: Final = " \t\r\n"
_QUERY: Final = re.compile(
    r"list=(?P<listing>Struct|StructData|TNDS(?:[+-][A-Za-z]+)*)|prop=(?P<prop>[A-Za-z]+)",
)
# `*` alone is refused by Windows (oma-dm-protocol-support); the dots are path steps, not names (TND 5).
_NO_NAMES: Final = frozenset({"", "*", ".", ".."})


def escape(name: str) -> str:
    """Escape one node name for a LocURI: each UTF-8 byte that is not unreserved becomes `%xx`, lower case.

    Raises InvalidLocURI for a name UTF-8 cannot carry.
    """
    return "".join(chr(octet) if octet in _UNRESERVED else f"%{octet:02x}" for octet in _octets(name))


def _octets(name: str) -> bytes:
    try:
        return name.encode()
    except UnicodeEncodeError:
        raise InvalidLocURI(f"The node name {quoted(name)} cannot be written in UTF-8.") from None


def unescape(text: str) -> str:
    """Read one escaped segment: percent-decoded once, as UTF-8.

    Characters that should have been escaped (braces, blanks) are taken as they stand. Raises InvalidLocURI
    for a `%` without two hexadecimal digits and for octets that are not UTF-8.
    """
    if _STRAY_PERCENT.search(text):
        raise InvalidLocURI(f"The segment {quoted(text)} has a % that escapes nothing.")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeError:
        raise InvalidLocURI(f"The segment {quoted(text)} is not UTF-8.") from None


@dataclass(frozen=True, slots=True)
class LocURI:
    """The address of a node below the root `.`; any value of this type is a legal one.

    Raises InvalidLocURI when made from something that is not.
    """

    segments: tuple[str, ...]
    """Node names, unescaped, without the leading `.`; at least one."""
    query: str | None = None
    """`list=Struct`, `list=StructData`, `list=TNDS…` or `prop=<name>`, without its `?` (TND 7.3, 8.4)."""

    def __post_init__(self) -> None:
        """Hold the promise of the class."""
        if not self.segments:
            raise InvalidLocURI("A LocURI names at least one node.")
        for name in self.segments:
            if name in _NO_NAMES:
                raise InvalidLocURI(f"{quoted(name)} is not the name of a node.")
            _octets(name)
        if self.query is not None and not _QUERY.fullmatch(self.query):
            raise InvalidLocURI(f"The query {quoted(self.query)} is neither list= nor prop=.")

    @classmethod
    def parse(cls, text: str) -> LocURI:
        """Read a LocURI as it stands on the wire; blanks after it are dropped (Microsoft's samples have them).

        Raises InvalidLocURI unless it starts with `./` and every segment is a name.
        """
        path, question_mark, query = text.rstrip(_BLANKS).partition("?")
        if not path.startswith("./"):
            raise InvalidLocURI(f"The LocURI {quoted(text)} does not start with './'.")
        segments = tuple(unescape(segment) for segment in path[2:].split("/"))
        return cls(segments, query if question_mark else None)

    def __str__(self) -> str:
        """The wire form: escaped, with `./` in front and the query behind."""
        path = "./" + "/".join(escape(name) for name in self.segments)
        return path if self.query is None else f"{path}?{self.query}"

    def __truediv__(self, name: str) -> LocURI:
        """The child of that (unescaped) name; a query does not pass on to children."""
        return LocURI((*self.segments, name))

    def canonical(self) -> LocURI:
        """The same node in its short form: `./Device/Vendor/…` is `./Vendor/…` (oma-dm-protocol-support)."""
        if len(self.segments) > 1 and self.segments[0] == "Device":
            return replace(self, segments=self.segments[1:])
        return self

    def without_query(self) -> LocURI:
        """The node itself, as Results name it."""
        return replace(self, query=None)

    @property
    def listing(self) -> str | None:
        """What `?list=` asks for, or None: `Struct`, `StructData`, `TNDS` with its property switches."""
        match = _QUERY.fullmatch(self.query or "")
        return match["listing"] if match else None

    @property
    def prop(self) -> str | None:
        """The property `?prop=` asks for, or None."""
        match = _QUERY.fullmatch(self.query or "")
        return match["prop"] if match else None
