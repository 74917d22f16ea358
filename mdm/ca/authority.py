"""`Authority`: who issues the devices' certificates; and how one is made, imported and replaced.

The key lies in the database, encrypted with the key file that lies beside it (`mdm.storage.secrets`): a copy of the
database alone signs nothing. Whoever needs the authority loads it anew, so that a replacement counts at once.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from mdm.audit import record
from mdm.ca.certificates import build_client, build_crl, build_intermediate, build_root, der, valid_from
from mdm.ca.chain import Material
from mdm.ca.errors import NoAuthority, RefusedRequest
from mdm.ca.issued import revoked_entries, serial_text
from mdm.ca.keys import device_key
from mdm.errors import Conflict, NotFound
from mdm.storage.statements import table_of
from mdm.storage.tables import CertificateAuthority, IssuedCertificate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from mdm.audit import Origin
    from mdm.ca.keys import AuthorityKey
    from mdm.storage.secrets import SecretBox

__all__ = [
    "DEFAULT_LIFETIME",
    "Authority",
    "Issued",
    "create_material",
    "install",
    "issuing_certificates",
    "load_all",
]

DEFAULT_LIFETIME: Final = timedelta(days=365)
"""Of a device's certificate; `mdm.ca.renewal` says when Windows renews it."""
_KEY_BITS: Final = 3072
_SUBJECT: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._@ -]{0,62}[A-Za-z0-9._@-])?", re.ASCII)
"""Names that need no escaping, neither in RFC 4514 nor where Windows searches its stores for them."""

_authority: Final = table_of(CertificateAuthority)
_issued: Final = table_of(IssuedCertificate)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that was just issued."""

    der: bytes
    thumbprint_sha1: str
    """In capitals, as Windows names it."""
    serial: str
    subject: str
    """`CN=` and the name, nothing escaped: what SSLCLIENTCERTSEARCHCRITERIA has to find."""
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Authority:
    """An authority as it stands in the database, with its key opened."""

    id: str
    origin: str
    root: x509.Certificate
    intermediate: x509.Certificate | None
    key: AuthorityKey
    created_at: datetime
    replaced_at: datetime | None
    lifetime: timedelta = DEFAULT_LIFETIME
    """Of the certificates that it issues."""

    @classmethod
    def load(cls, conn: Connection, box: SecretBox, *, lifetime: timedelta = DEFAULT_LIFETIME) -> Authority:
        """Return the one that issues; raises NoAuthority if there is none, Unavailable for another key file."""
        row = conn.execute(select(_authority).where(_authority.c.current)).one_or_none()
        if row is None:
            raise NoAuthority("There is no certificate authority yet: csp-bridge ca create makes one.")
        return replace(_opened(row, box), lifetime=lifetime)

    @classmethod
    def find(cls, conn: Connection, box: SecretBox, authority_id: str) -> Authority:
        """Return one by its id, also one that was replaced; raises NotFound, Unavailable for another key file."""
        # PostgreSQL cannot even be asked for a text with a NUL in it.
        row = None
        if authority_id.isprintable():
            row = conn.execute(select(_authority).where(_authority.c.id == authority_id)).one_or_none()
        if row is None:
            raise NotFound("There is no certificate authority with this id.")
        return _opened(row, box)

    @property
    def root_der(self) -> bytes:
        """The certificate that devices are to trust."""
        return der(self.root)

    @property
    def intermediate_der(self) -> bytes | None:
        """The issuing certificate, where that is not the root."""
        return None if self.intermediate is None else der(self.intermediate)

    @property
    def issuer(self) -> x509.Certificate:
        """The certificate of the key that signs."""
        return self.root if self.intermediate is None else self.intermediate

    @property
    def not_after(self) -> datetime:
        """When the first of its certificates ends, and with it the whole authority."""
        return min(self.root.not_valid_after_utc, self.issuer.not_valid_after_utc)

    def issue(
        self,
        conn: Connection,
        *,
        public_key: bytes,
        subject_name: str,
        device_pk: int | None,
        now: datetime,
    ) -> Issued:
        """Issue a certificate for a SubjectPublicKeyInfo and note it, in the caller's transaction.

        It ends after the authority's `lifetime`, or with the authority if that is sooner. It proves its device from the moment the
        transaction is committed. Raises RefusedRequest for a key that is too weak or a name that Windows could not
        search for, NoAuthority when the authority's own time is over. The row is the record: nothing is audited here.
        """
        if _SUBJECT.fullmatch(subject_name) is None:
            raise RefusedRequest(
                "A certificate's name has 1 to 64 letters, digits, blanks and . _ @ - and begins with a letter or digit."
            )
        key = device_key(public_key)
        not_after = min((now + self.lifetime).replace(microsecond=0), self.not_after)
        if not_after <= now or self.issuer.not_valid_before_utc > now:
            raise NoAuthority(
                f"The certificate authority is valid until {self.not_after:%Y-%m-%d} and can issue nothing now: "
                "csp-bridge ca create --replace makes another."
            )
        number = x509.random_serial_number()
        certificate = build_client(
            key,
            subject_name,
            serial=number,
            issuer=self.issuer,
            issuer_key=self.key,
            now=now,
            not_after=not_after,
        )
        encoded = der(certificate)
        issued = Issued(
            der=encoded,
            thumbprint_sha1=hashlib.sha1(encoded, usedforsecurity=False).hexdigest().upper(),
            serial=serial_text(number),
            subject=f"CN={subject_name}",
            not_after=not_after,
        )
        conn.execute(
            insert(_issued).values(
                serial=issued.serial,
                authority_id=self.id,
                device_pk=device_pk,
                subject=issued.subject,
                sha256=hashlib.sha256(encoded).hexdigest(),
                thumbprint=issued.thumbprint_sha1,
                issued_at=now,
                not_before=valid_from(now),
                not_after=not_after,
            )
        )
        return issued

    def crl(self, conn: Connection, now: datetime) -> bytes:
        """The list of what this authority has taken back, in DER, for proxies; the bridge itself asks its database."""
        return build_crl(
            revoked_entries(conn, self.id, now), issuer=self.issuer, issuer_key=self.key, now=now
        )


def load_all(conn: Connection, box: SecretBox) -> list[Authority]:
    """Every authority, the one that issues first, then those it replaced, newest first."""
    rows = conn.execute(
        select(_authority).order_by(_authority.c.replaced_at.is_not(None), _authority.c.created_at.desc())
    )
    return [_opened(row, box) for row in rows]


def issuing_certificates(conn: Connection) -> list[bytes]:
    """The certificates (DER) that devices' certificates are or were issued with; no key is opened for that."""
    rows = conn.execute(select(_authority.c.root_der, _authority.c.intermediate_der))
    return [_issuer_der(row) for row in rows]


def create_material(
    common_name: str, *, lifetime: timedelta, with_intermediate: bool, now: datetime
) -> tuple[Material, AuthorityKey | None]:
    """Make a new authority of RSA keys.

    With an intermediate the root's key is returned beside it: it signs nothing more, and belongs in a safe.
    """
    not_after = now.replace(microsecond=0) + lifetime
    root_key = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
    root = build_root(
        root_key, common_name, intermediates=int(with_intermediate), now=now, not_after=not_after
    )
    if not with_intermediate:
        return Material(root_key, root, None), None
    key = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
    intermediate = build_intermediate(
        key, f"{common_name} Devices", issuer=root, issuer_key=root_key, now=now, not_after=not_after
    )
    return Material(key, root, intermediate), root_key


def install(
    conn: Connection,
    origin: Origin,
    box: SecretBox,
    material: Material,
    *,
    kind: str,
    instead: bool,
    now: datetime,
) -> Authority:
    """Store an authority, `created` or `imported`, as the one that issues from now on.

    Raises Conflict when there is one already and the new one is not to stand in for it (`instead`), or when it is stored already. What a
    replaced one has issued stays good.
    """
    held = _held(conn)
    before = next((row.id for row in held if row.current), None)
    if before is not None and not instead:
        raise Conflict(
            "There is a certificate authority already. With --replace the new one issues from now on, and what the "
            "old one has issued stays good.",
            code="authority_exists",
        )
    if any(_issuer_der(row) == der(material.issuer) for row in held):
        raise Conflict("This certificate authority is stored already.", code="authority_exists")
    conn.execute(update(_authority).where(_authority.c.id == before).values(current=None, replaced_at=now))
    values = {
        "id": f"ca_{secrets.token_hex(10)}",
        "origin": kind,
        "current": True,
        "root_der": der(material.root),
        "intermediate_der": None if material.intermediate is None else der(material.intermediate),
        "sealed_key": box.seal(material.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())),
        "created_at": now,
    }
    try:
        conn.execute(insert(_authority).values(values))
    except IntegrityError as error:
        raise Conflict(
            "Somebody else has just stored a certificate authority.", code="authority_exists"
        ) from error
    authority = Authority.load(conn, box)
    record(
        conn,
        origin,
        now=now,
        action="authority.create" if kind == "created" else "authority.import",
        object_type="authority",
        object_id=authority.id,
        detail={} if before is None else {"replaces": before},
        after={
            "subject": authority.issuer.subject.rfc4514_string(),
            "sha256": hashlib.sha256(der(authority.issuer)).hexdigest(),
            "not_after": authority.not_after,
        },
    )
    return authority


def _held(conn: Connection) -> Sequence[Row[*tuple[Any, ...]]]:
    return conn.execute(select(_authority).with_for_update()).all()


def _issuer_der(row: Row[*tuple[Any, ...]]) -> bytes:
    return bytes(row.root_der if row.intermediate_der is None else row.intermediate_der)


def _opened(row: Row[*tuple[Any, ...]], box: SecretBox) -> Authority:
    # The key was checked when it was stored and is authenticated since: checking its primes anew takes a second.
    key = load_der_private_key(box.open(row.sealed_key), None, unsafe_skip_rsa_key_validation=True)
    return Authority(
        id=row.id,
        origin=row.origin,
        root=x509.load_der_x509_certificate(row.root_der),
        intermediate=None
        if row.intermediate_der is None
        else x509.load_der_x509_certificate(row.intermediate_der),
        key=cast("AuthorityKey", key),
        created_at=row.created_at,
        replaced_at=row.replaced_at,
    )
