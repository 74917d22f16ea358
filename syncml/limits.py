"""How much a peer may send: one value, enforced by the reader while it parses."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT_LIMITS", "Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one message; passing any of them raises `LimitExceeded` before more work is done.

    Precedents: Intune announces MaxMsgSize 524288; libxml2 refuses depth over 256 and text over 10 MB;
    the deepest legal SyncML path (Atomic in Sequence, Item, Meta, Format) is 9 levels.
    """

    bytes: int = 512 * 1024
    """Length of the whole document in bytes."""
    depth: int = 32
    """Open elements at any point."""
    elements: int = 20_000
    """Elements in the document: about 6,000 leaves of `?list=StructData`."""
    commands: int = 2_000
    """Commands in the SyncBody or in one Atomic or Sequence: each costs a Status, thirty times `<A/>`."""
    attributes: int = 16
    """Attributes on one element (namespace declarations not counted)."""
    name: int = 256
    """Characters in one element or attribute name, namespace included."""
    text: int = 256 * 1024
    """Characters of text in one element."""
    namespaces: int = 16
    """Namespace declarations in scope at any point."""


DEFAULT_LIMITS = Limits()
