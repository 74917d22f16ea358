"""Every error this package raises, as one small tree.

    CspError
    ├── InvalidGuid      not a GUID in any form Windows writes
    ├── InvalidLocURI    not an address of a management-tree node
    └── InvalidValue     not a value this node, policy or field can have

What a device sent never raises: `csp.snapshot` turns it into a sentence in `problems`. Any other exception
that leaves `csp` is a defect of this package.
"""

from __future__ import annotations

__all__ = ["CspError", "InvalidGuid", "InvalidLocURI", "InvalidValue", "quoted"]

_QUOTE_LIMIT = 120


class CspError(Exception):
    """The root of the tree: catch it to catch everything this package raises."""

    def __init__(self, detail: str) -> None:
        """`detail` is one sentence for people; it never quotes more than a short piece of the input."""
        super().__init__(detail)
        self.detail = detail


class InvalidGuid(CspError):  # noqa: N818 - named for what was given
    """The text is not 8-4-4-4-12 hexadecimal digits, with or without one pair of braces."""


class InvalidLocURI(CspError):  # noqa: N818 - as above
    """The text breaks a rule of OMA DM_TND 1.2.1 chapter 5, or a segment cannot be a node's name."""


class InvalidValue(CspError):  # noqa: N818 - as above
    """The value is outside what the node, policy or field allows; the detail says what is allowed."""


def quoted(text: str) -> str:
    """The text in quotation marks for a message: control characters escaped, cut after 120 characters."""
    return repr(text if len(text) <= _QUOTE_LIMIT else text[: _QUOTE_LIMIT - 1] + "…")
