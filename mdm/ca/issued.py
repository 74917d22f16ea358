"""The certificates that were issued: whose they are, what has been taken back, and why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, or_, select, update
from sqlmodel import col

from mdm.audit import record
from mdm.ca.certificates import CRL_LIFETIME, RevokedEntry
from mdm.errors import FieldError, Invalid, NotFound
from mdm.storage.statements import table_of
from mdm.storage.tables import Device, IssuedCertificate

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, Select

    from mdm.audit import Origin

__all__ = [
    "REASONS",
    "STATES",
    "CertificateRecord",
    "bind",
    "get_issued",
    "list_issued",
    "revoke",
    "revoke_device",
    "revoked_entries",
    "serial_text",
]

REASONS: Final = ("unspecified", "keyCompromise", "superseded", "cessationOfOperation", "privilegeWithdrawn")
"""Why a certificate is taken back (RFC 5280 section 5.3.1), as far as it fits a device's."""
STATES: Final = ("active", "revoked", "expired")
"""What has become of a certificate: revoked counts before expired."""
_HEX_DIGITS: Final = 40
_SERIAL: Final = re.compile(f"[0-9a-f]{{{_HEX_DIGITS}}}", re.ASCII)

_issued: Final = table_of(IssuedCertificate)
_COLUMNS: Final[tuple[Any, ...]] = (
    _issued.c.serial,
    _issued.c.authority_id,
    col(Device.id).label("device"),
    col(Device.device_id),
    _issued.c.subject,
    _issued.c.sha256,
    _issued.c.thumbprint,
    _issued.c.issued_at,
    _issued.c.not_after,
    _issued.c.revoked_at,
    _issued.c.revocation_reason,
)


@dataclass(frozen=True, slots=True)
class CertificateRecord:
    """What is known of one issued certificate."""

    serial: str
    authority_id: str
    device: str | None
    """The bridge's id of the device; None when it belongs to none, or to one that was deleted."""
    device_id: str | None
    """The DM Source of the same device."""
    subject: str
    sha256: str
    thumbprint: str
    issued_at: datetime
    not_after: datetime
    revoked_at: datetime | None
    revocation_reason: str | None

    def state(self, now: datetime) -> str:
        """One of `STATES`."""
        if self.revoked_at is not None:
            return "revoked"
        return "active" if now <= self.not_after else "expired"


def serial_text(number: int) -> str:
    """A serial number as it is stored and shown."""
    return f"{number:0{_HEX_DIGITS}x}"


def bind(conn: Connection, serial: str, device_pk: int) -> None:
    """Say whose a certificate is that was issued before its device was known; raises NotFound."""
    conn.execute(update(_issued).where(_issued.c.serial == _locked(conn, serial)).values(device_pk=device_pk))


def list_issued(
    conn: Connection,
    *,
    limit: int,
    device: str | None = None,
    device_id: str | None = None,
    thumbprint: str | None = None,
    state: str | None = None,
    now: datetime | None = None,
    after: tuple[datetime, str] | None = None,
) -> list[CertificateRecord]:
    """At most `limit` certificates, newest first, `after` the time of issue and serial of one.

    Only those of one device (by the bridge's id, or by its DM Source), of one SHA-1 thumbprint, or in one of `STATES`
    `now`, if asked so.
    """
    query = _records()
    if device is not None:
        query = query.where(col(Device.id) == device)
    if device_id is not None:
        query = query.where(col(Device.device_id) == device_id)
    if thumbprint is not None:
        query = query.where(_issued.c.thumbprint == thumbprint)
    if state == "revoked":
        query = query.where(_issued.c.revoked_at.is_not(None))
    elif state is not None:
        ended = _issued.c.not_after < now
        query = query.where(_issued.c.revoked_at.is_(None), ended if state == "expired" else ~ended)
    if after is not None:
        at, serial = after
        query = query.where(
            or_(_issued.c.issued_at < at, and_(_issued.c.issued_at == at, _issued.c.serial > serial))
        )
    rows = conn.execute(query.order_by(_issued.c.issued_at.desc(), _issued.c.serial).limit(limit))
    return [CertificateRecord(**row) for row in rows.mappings()]


def get_issued(conn: Connection, serial: str) -> CertificateRecord:
    """One certificate; raises NotFound."""
    found = None
    if _SERIAL.fullmatch(serial) is not None:
        found = conn.execute(_records().where(_issued.c.serial == serial)).mappings().one_or_none()
    if found is None:
        raise _unknown(serial)
    return CertificateRecord(**found)


def revoke(conn: Connection, origin: Origin, serial: str, reason: str, now: datetime) -> CertificateRecord:
    """Take a certificate back, so that it is refused from now on; one that was taken back stays as it was.

    Raises NotFound for a serial number that was not issued here, and Invalid for a reason not in `REASONS`.
    """
    return _revoke_each(conn, origin, [_locked(conn, serial)], _checked(reason), now)[0]


def revoke_device(
    conn: Connection,
    origin: Origin,
    device_pk: int,
    reason: str,
    now: datetime,
    *,
    but: str | None = None,
) -> list[CertificateRecord]:
    """Take back each certificate of a device that could still be used, and return them; `but` is a serial to leave."""
    _checked(reason)
    rows = conn.execute(
        select(_issued.c.serial)
        .where(
            _issued.c.device_pk == device_pk,
            _issued.c.revoked_at.is_(None),
            _issued.c.not_after >= now,
            _issued.c.serial != (but or ""),
        )
        .order_by(_issued.c.serial)
        .with_for_update()
    )
    return _revoke_each(conn, origin, list(rows.scalars()), reason, now)


def revoked_entries(conn: Connection, authority_id: str, now: datetime) -> list[RevokedEntry]:
    """What an authority's revocation list names.

    A certificate that has ended stays on it for as long as a list is good (RFC 5280 section 3.3).
    """
    rows = conn.execute(
        select(_issued.c.serial, _issued.c.revoked_at, _issued.c.revocation_reason)
        .where(
            _issued.c.authority_id == authority_id,
            _issued.c.revoked_at.is_not(None),
            _issued.c.not_after > now - CRL_LIFETIME,
        )
        .order_by(_issued.c.revoked_at, _issued.c.serial)
    )
    return [RevokedEntry(int(row.serial, 16), row.revoked_at, row.revocation_reason) for row in rows]


def _records() -> Select[Any]:
    return select(*_COLUMNS).outerjoin_from(_issued, Device, _issued.c.device_pk == col(Device.pk))


def _locked(conn: Connection, serial: str) -> str:
    """The serial number again, its row locked, so that of two who take it back at once one is the first."""
    # PostgreSQL cannot even be asked for a text with a NUL in it.
    if _SERIAL.fullmatch(serial) is None:
        raise _unknown(serial)
    found = conn.execute(select(_issued.c.serial).where(_issued.c.serial == serial).with_for_update())
    if found.one_or_none() is None:
        raise _unknown(serial)
    return serial


def _revoke_each(
    conn: Connection, origin: Origin, serials: list[str], reason: str, now: datetime
) -> list[CertificateRecord]:
    done = []
    for serial in serials:
        changed = conn.execute(
            update(_issued)
            .where(_issued.c.serial == serial, _issued.c.revoked_at.is_(None))
            .values(revoked_at=now, revocation_reason=reason)
        ).rowcount
        one = CertificateRecord(**conn.execute(_records().where(_issued.c.serial == serial)).mappings().one())
        if changed:
            record(
                conn,
                origin,
                now=now,
                action="certificate.revoke",
                object_type="certificate",
                object_id=serial,
                detail={"subject": one.subject, "device_id": one.device_id},
                before={"revoked_at": None, "revocation_reason": None},
                after={"revoked_at": now, "revocation_reason": reason},
            )
        done.append(one)
    return done


def _checked(reason: str) -> str:
    if reason not in REASONS:
        detail = f"A reason is one of {', '.join(REASONS)}."
        raise Invalid(detail, errors=(FieldError("/reason", "not_allowed", detail),))
    return reason


def _unknown(serial: str) -> NotFound:
    return NotFound(f"No certificate with the serial number {serial[:_HEX_DIGITS]!r} was issued here.")
