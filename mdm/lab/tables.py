"""Plain-text tables for a terminal: columns as wide as they need to be, the last one wrapped."""

from __future__ import annotations

import textwrap
from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["render_table"]

_LEAST = 24
"""Characters the last column keeps, however wide the others are."""


def render_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, width: int = 118) -> str:
    """The rows below their header and a rule, at most `width` characters wide, without a final newline.

    Only the last column wraps. Every row has as many cells as the header (else ValueError).
    """
    lines = [list(header), *map(list, rows)]
    if any(len(line) != len(header) for line in lines):
        raise ValueError("a row has not as many cells as the header")
    widths = [max(len(line[column]) for line in lines) for column in range(len(header) - 1)]
    room = max(_LEAST, width - sum(widths) - 2 * len(widths))
    last = min(room, max(len(line[-1]) for line in lines))
    rule = ["-" * size for size in (*widths, last)]
    out = []
    for *cells, text in (lines[0], rule, *lines[1:]):
        wrapped = textwrap.wrap(text, room) or [""]
        for parts in zip_longest(*([cell] for cell in cells), wrapped, fillvalue=""):
            padded = [part.ljust(size) for part, size in zip(parts, widths, strict=False)]
            out.append("  ".join((*padded, parts[-1])).rstrip())
    return "\n".join(out)
