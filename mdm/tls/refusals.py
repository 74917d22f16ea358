"""`Refusals`: client certificates that were not believed, each one logged and counted."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from threading import Lock
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Refusal", "Refusals"]

log = structlog.get_logger(__name__)


class Refusal(StrEnum):
    """Why a client certificate was not believed."""

    FORGED_HEADER = "forged_header"
    """A `Client-Cert` header from an address that is no configured proxy."""
    DOUBLED_HEADER = "doubled_header"
    """More than one `Client-Cert` header from a proxy: one of them may be the client's own."""
    MALFORMED_HEADER = "malformed_header"
    """A `Client-Cert` header from a proxy that holds no certificate."""
    HANDSHAKE = "handshake"
    """A certificate that our own TLS did not accept: another authority's, expired, not for clients."""


class Refusals:
    """Counts by reason since the start of the process, and one log line each."""

    def __init__(self) -> None:
        """Nothing refused yet."""
        self._counts: Counter[Refusal] = Counter()
        self._lock = Lock()

    @property
    def counts(self) -> Mapping[str, int]:
        """How often each reason was met; every reason is named."""
        with self._lock:
            return {reason.value: self._counts[reason] for reason in Refusal}

    def note(self, reason: Refusal, why: str, **facts: Any) -> None:
        """Count it, and log it with `facts` (never the header's value) and how many of the kind there were."""
        with self._lock:
            self._counts[reason] += 1
            count = self._counts[reason]
        log.warning("client_certificate_refused", reason=reason.value, why=why, count=count, **facts)
