"""`/pki/{authority}.crl` and `/pki/{authority}.cer`: what anybody may know of an authority, in DER.

Whoever checks a device's certificate without asking the bridge (a proxy, a network's access control) fetches these
without credentials, as RFC 5280 section 4.2.1.13 wants it. A revocation list is signed at most once in a quarter of an
hour as long as nothing is revoked, so that strangers cannot keep the bridge busy with signatures.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from anyio import CapacityLimiter, to_thread
from starlette.responses import Response
from starlette.routing import Route

from mdm.ca.authority import Authority
from mdm.ca.certificates import CRL_LIFETIME
from mdm.ca.issued import revoked_entries
from mdm.ca.views import authority_root

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from starlette.requests import Request

    from mdm.ca.certificates import RevokedEntry
    from mdm.storage.engine import Database
    from mdm.storage.secrets import SecretBox

__all__ = ["certificate_path", "list_path", "pki_routes"]

_THREADS: Final = 2
_SIGNED_ANEW: Final = timedelta(minutes=15)
_CERTIFICATE_SECONDS: Final = 24 * 60 * 60


def certificate_path(authority_id: str) -> str:
    """Where an authority's root certificate can be fetched."""
    return f"/pki/{authority_id}.cer"


def list_path(authority_id: str) -> str:
    """Where an authority's revocation list can be fetched."""
    return f"/pki/{authority_id}.crl"


def pki_routes(database: Database, box: SecretBox, *, clock: Callable[[], datetime]) -> list[Route]:
    """The two routes; both answer 404 for an authority that is not there, 503 while the database is away."""
    lists = _Lists(database, box)
    limiter = CapacityLimiter(_THREADS)

    async def revocations(request: Request) -> Response:
        now = clock()
        made = await to_thread.run_sync(lists.get, _asked(request), now, limiter=limiter)
        # To be kept until the list itself says that it is over (its nextUpdate).
        left = int((made.at.replace(microsecond=0) + CRL_LIFETIME - now).total_seconds())
        return _public(made.der, "application/pkix-crl", left)

    async def certificate(request: Request) -> Response:
        root = await to_thread.run_sync(_root, database, _asked(request), limiter=limiter)
        return _public(root, "application/pkix-cert", _CERTIFICATE_SECONDS)

    return [
        Route("/pki/{authority}.crl", revocations, methods=["GET"]),
        Route("/pki/{authority}.cer", certificate, methods=["GET"]),
    ]


@dataclass(frozen=True, slots=True)
class _Made:
    """A list that was signed."""

    der: bytes = field(repr=False)
    at: datetime
    entries: tuple[RevokedEntry, ...]


class _Lists:
    """The last list of each authority: signed anew when it has changed, and now and then."""

    def __init__(self, database: Database, box: SecretBox) -> None:
        self._database = database
        self._box = box
        self._made: dict[str, _Made] = {}
        self._lock = Lock()

    def get(self, authority_id: str, now: datetime) -> _Made:
        """The list as it is now; raises NotFound, also for one that is gone by now, or Unavailable."""
        with self._database.read() as conn:
            authority_root(conn, authority_id)
            entries = tuple(revoked_entries(conn, authority_id, now))
            with self._lock:
                made = self._made.get(authority_id)
            if made is None or made.entries != entries or not now - made.at < _SIGNED_ANEW:
                made = _Made(Authority.find(conn, self._box, authority_id).crl(conn, now), now, entries)
                with self._lock:
                    self._made[authority_id] = made
        return made


def _root(database: Database, authority_id: str) -> bytes:
    with database.read() as conn:
        return authority_root(conn, authority_id)


def _asked(request: Request) -> str:
    params: dict[str, Any] = request.path_params
    return str(params["authority"])


def _public(octets: bytes, media_type: str, seconds: int) -> Response:
    return Response(octets, headers={"Cache-Control": f"public, max-age={seconds}"}, media_type=media_type)
