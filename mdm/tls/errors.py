"""Why TLS cannot be served: one error, whose text is a sentence for the person who started the service."""

from __future__ import annotations

__all__ = ["TlsError"]


class TlsError(Exception):
    """A certificate, a key or a list of authorities that cannot be used; the text names the file."""
