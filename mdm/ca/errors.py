"""Errors of the certificate authority; each carries one sentence for an administrator in `detail`.

CaError
├── InvalidDer      octets are not the DER that was expected
├── RefusedRequest  a certificate request cannot be honoured: unreadable, not signed by its key, weak
├── RefusedImport   a key and a chain cannot become this bridge's authority
└── NoAuthority     there is no authority, or it can issue no longer
"""

from __future__ import annotations

__all__ = ["CaError", "InvalidDer", "NoAuthority", "RefusedImport", "RefusedRequest"]


class CaError(Exception):
    """The root of the tree."""

    def __init__(self, detail: str) -> None:
        """`detail` is a whole sentence, and never holds a key."""
        super().__init__(detail)
        self.detail = detail


class InvalidDer(CaError):  # noqa: N818 - named for the state, as in mdm.errors
    """Octets that are not DER, or not the DER that belongs there."""


class RefusedRequest(CaError):  # noqa: N818 - as above
    """A device asks for a certificate that it does not get."""


class RefusedImport(CaError):  # noqa: N818 - as above
    """A key and a chain that an administrator gave cannot be used."""


class NoAuthority(CaError):  # noqa: N818 - as above
    """Nothing can be issued until an administrator has made, imported or replaced the authority."""
