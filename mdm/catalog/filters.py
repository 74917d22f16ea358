"""What an administrator selects of an upstream, and how it is asked for from one run to the next.

An anchor says "what is new since then" for the filter it was read with and for no other. What is newly selected
is therefore asked for in full (Delta=false), the rest from the anchor on (MS-WSUSSS 3.1.4.5).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from mdm.upstream.messages import RevisionFilter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["SyncFilter"]

T = TypeVar("T", str, int)


@dataclass(frozen=True, slots=True)
class SyncFilter:
    """Products, classifications and languages; with neither products nor classifications, everything."""

    products: tuple[str, ...] = ()
    classifications: tuple[str, ...] = ()
    languages: tuple[int, ...] = ()
    """LCIDs; none is every language."""

    @property
    def document(self) -> dict[str, Any]:
        """The filter as it is kept beside an anchor: the same for the same selection in any order."""
        return {
            "products": sorted(set(self.products)),
            "classifications": sorted(set(self.classifications)),
            "languages": sorted(set(self.languages)),
        }

    @property
    def key(self) -> str:
        """A short name of the selection."""
        text = json.dumps(self.document, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def request(self, anchor: str | None = None, covers: Mapping[str, Any] | None = None) -> RevisionFilter:
        """The filter to send; `covers` is the document of the filter that `anchor` was read with."""
        held = covers or {}
        if anchor is None or self._is_wider_than(held):
            return RevisionFilter(
                get_config=False,
                categories=_pairs(self.products, ()),
                classifications=_pairs(self.classifications, ()),
                languages=_pairs(self.languages, ()),
            )
        everything = not held.get("products") and not held.get("classifications")
        return RevisionFilter(
            get_config=False,
            anchor=anchor,
            categories=_pairs(self.products, self.products if everything else held["products"]),
            classifications=_pairs(
                self.classifications, self.classifications if everything else held["classifications"]
            ),
            languages=_pairs(self.languages, held.get("languages") or self.languages),
        )

    def _is_wider_than(self, held: Mapping[str, Any]) -> bool:
        """Whether "everything" is newly selected, which no Delta flag can say."""
        selects = bool(self.products or self.classifications)
        held_selects = bool(held.get("products") or held.get("classifications"))
        return (held_selects and not selects) or (bool(held.get("languages")) and not self.languages)


def _pairs(wanted: Sequence[T], held: Sequence[T]) -> tuple[tuple[T, bool], ...]:
    """Each id with its Delta flag: true where the anchor speaks for it."""
    known = set(held)
    return tuple((each, each in known) for each in sorted(set(wanted)))
