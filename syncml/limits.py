"""How much a peer may send: one value, enforced by the reader while it parses."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["DEFAULT_LIMITS", "HEADER_LIMITS", "OPENING_LIMITS", "Limits"]


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
    elements: int = 16_000
    """Elements in the document: a thousand updates as `?list=StructData` writes them are 12,000 in 430 KB."""
    commands: int = 1_000
    """Commands in the document, those in Atomics included: a device answers at most a hundred of ours."""
    items: int = 2_500
    """Items in the document: a list of 1,250 updates; those of Windows have at least 175 bytes each."""
    attributes: int = 16
    """Attributes on one element (namespace declarations not counted)."""
    tag: int = 4 * 1024
    """Octets of one start tag with its attributes; those of Windows have less than 200."""
    names: int = 500
    """Different names of elements; all of SyncML and MetInf have about 90."""
    name: int = 256
    """Characters in one element or attribute name, namespace included."""
    text: int = 256 * 1024
    """Characters of text in one element."""
    namespaces: int = 16
    """Namespace declarations in scope at any point."""


DEFAULT_LIMITS = Limits()
"""What a peer may send that has proved who it is."""

OPENING_LIMITS = Limits(bytes=64 * 1024, elements=2_000, commands=200, items=500, text=32 * 1024)
"""What anybody may send: package 1 of Windows has some ten commands in 4 KB, a token of its user included."""

HEADER_LIMITS = replace(OPENING_LIMITS, bytes=DEFAULT_LIMITS.bytes)
"""The same for a header with any body behind it."""
