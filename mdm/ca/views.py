"""Certificate authorities as IT sees them: read without their keys, so that a lost key file hides nothing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select

from mdm.errors import NotFound
from mdm.storage.statements import table_of
from mdm.storage.tables import CertificateAuthority

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, Row

__all__ = ["AuthorityView", "CertificateView", "authority_root", "get_authority", "list_authorities"]

_authority: Final = table_of(CertificateAuthority)
_COLUMNS: Final = (
    _authority.c.id,
    _authority.c.origin,
    _authority.c.root_der,
    _authority.c.intermediate_der,
    _authority.c.created_at,
    _authority.c.replaced_at,
)


@dataclass(frozen=True, slots=True)
class CertificateView:
    """A certificate of an authority."""

    subject: str
    """As RFC 4514 writes it."""
    sha256: str
    thumbprint: str
    """SHA-1 in capitals, as Windows names it."""
    not_before: datetime
    not_after: datetime
    pem: str


@dataclass(frozen=True, slots=True)
class AuthorityView:
    """An authority without its key."""

    id: str
    state: str
    """`issues`, or `replaced`: what it has issued stays good."""
    origin: str
    """`created` here or `imported`."""
    created_at: datetime
    replaced_at: datetime | None
    not_after: datetime
    """When the first of its certificates ends, and with it the whole authority."""
    root: CertificateView
    intermediate: CertificateView | None
    """The one that issues, where that is not the root."""


def list_authorities(conn: Connection) -> list[AuthorityView]:
    """Every authority, the one that issues first, then those it replaced, newest first."""
    rows = conn.execute(
        select(*_COLUMNS).order_by(_authority.c.replaced_at.is_not(None), _authority.c.created_at.desc())
    )
    return [_view(row) for row in rows]


def get_authority(conn: Connection, authority_id: str) -> AuthorityView:
    """One authority; raises NotFound."""
    return _view(_row(conn, authority_id))


def authority_root(conn: Connection, authority_id: str) -> bytes:
    """The root certificate (DER) of an authority; raises NotFound."""
    return bytes(_row(conn, authority_id).root_der)


def _row(conn: Connection, authority_id: str) -> Row[*tuple[Any, ...]]:
    # PostgreSQL cannot even be asked for a text with a NUL in it.
    found = None
    if authority_id.isprintable():
        found = conn.execute(select(*_COLUMNS).where(_authority.c.id == authority_id)).one_or_none()
    if found is None:
        raise NotFound("There is no certificate authority with this id.")
    return found


def _view(row: Row[*tuple[Any, ...]]) -> AuthorityView:
    root = _certificate(row.root_der)
    intermediate = None if row.intermediate_der is None else _certificate(row.intermediate_der)
    return AuthorityView(
        id=row.id,
        state="issues" if row.replaced_at is None else "replaced",
        origin=row.origin,
        created_at=row.created_at,
        replaced_at=row.replaced_at,
        not_after=min(each.not_after for each in (root, intermediate) if each is not None),
        root=root,
        intermediate=intermediate,
    )


def _certificate(der: bytes) -> CertificateView:
    found = x509.load_der_x509_certificate(der)
    return CertificateView(
        subject=found.subject.rfc4514_string(),
        sha256=hashlib.sha256(der).hexdigest(),
        thumbprint=hashlib.sha1(der, usedforsecurity=False).hexdigest().upper(),
        not_before=found.not_valid_before_utc,
        not_after=found.not_valid_after_utc,
        pem=found.public_bytes(Encoding.PEM).decode("ascii"),
    )
