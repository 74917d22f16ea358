"""Documents by the thousand: a revision rendered once, with holes to fill in for each document made from it.

Rendering a document costs some fifty times what filling one in costs, and both give the same text.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from mdm.lab.documents import render

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mdm.lab.documents import Revision

__all__ = ["CREATED", "SHA1", "SHA256", "SIZE", "Template", "hole"]

CREATED: Final = datetime(1999, 9, 9, 9, 9, 9, 9_000, tzinfo=UTC)
"""Stands for the moment a revision or a file was made: the holes `created` and `modified`."""
SHA1: Final = bytes(20)
"""Stands for a file's SHA-1: the hole `sha1`."""
SHA256: Final = bytes(32)
"""Stands for a file's SHA-256: the hole `sha256`."""
SIZE: Final = 987_654_321
"""Stands for a file's size, and for a revision's MaxDownloadSize: the hole `size`."""

_STANDS_FOR: Final = {
    "1999-09-09T09:09:09.009Z": "created",
    "1999-09-09T09:09:09Z": "modified",
    f"{'A' * 27}=": "sha1",
    f"{'A' * 43}=": "sha256",
    str(SIZE): "size",
}
_HOLE: Final = re.compile("⟦([a-z0-9_]+)⟧")


def hole(name: str) -> str:
    """What to write into a text of the revision where a value belongs; lower-case letters, digits, `_`."""
    return f"⟦{name}⟧"


class Template:
    """The text of one revision with its holes."""

    def __init__(self, revision: Revision) -> None:
        """The revision's texts have holes; its times, digests and sizes are the ones above."""
        text = render(revision)
        # the longest first: the shorter digest is part of the longer one
        for sentinel in sorted(_STANDS_FOR, key=len, reverse=True):
            text = text.replace(sentinel, hole(_STANDS_FOR[sentinel]))
        parts = _HOLE.split(text)
        self._fixed = parts[0::2]
        self._names = parts[1::2]

    def fill(self, values: Mapping[str, str]) -> str:
        """The document with these values, which are XML already; raises KeyError for a hole without one."""
        filled = [""] * (2 * len(self._fixed) - 1)
        filled[0::2] = self._fixed
        filled[1::2] = [values[name] for name in self._names]
        return "".join(filled)
