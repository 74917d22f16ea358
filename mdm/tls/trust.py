"""`ClientTrust`: the service's own TLS accepts the certificates of its own authority, one made later too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mdm.background import Worker
from mdm.ca.authority import issuing_certificates
from mdm.tls.context import trust_clients_of

if TYPE_CHECKING:
    import ssl

    from mdm.storage.engine import Database

__all__ = ["ClientTrust"]

_EVERY: Final = 5.0
"""Seconds until an authority that another process has made is accepted here: less than an enrolment takes."""


class ClientTrust(Worker):
    """Keeps a TLS context in step with the authorities in the database; none is ever taken out of it.

    That one is replaced changes nothing: what it has issued stays good, and revocation is asked at each message.
    """

    def __init__(self, database: Database, context: ssl.SSLContext) -> None:
        """Accepts nothing more yet."""
        super().__init__(database, "client_trust", poll_seconds=_EVERY)
        self._context = context
        self._known: set[bytes] = set()

    def work(self) -> bool:
        """Accept what has been added since; raises Unavailable."""
        with self._database.read() as conn:
            news = [each for each in issuing_certificates(conn) if each not in self._known]
        trust_clients_of(self._context, news)
        self._known.update(news)
        if news:
            self._log.info("client_trust.authorities", accepted=len(self._known))
        return False
