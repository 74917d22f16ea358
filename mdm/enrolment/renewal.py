"""A device renews its certificate (MS-MDE2 3.5): proved by the one it has, twice, and by nothing else.

The connection was opened with a certificate of the device, and the request is signed with the key of one, so that
neither a stolen request nor an open connection is enough. Both must be good at this moment. User names and passwords
in such a message are not looked at: Windows has none left to send. The old certificate stays good until the device
has shown the new one (`mdm.checkin.certificates`), because an answer may be lost, and the same request again is
simply answered again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, func, select, update

from mdm.audit import Origin, record
from mdm.ca.checking import Refusal, check
from mdm.ca.csr import read_csr
from mdm.ca.pkcs7 import read_signed
from mdm.ca.renewal import RenewalPeriod
from mdm.devices.timeline import Event, record_events
from mdm.enrolment.authentication import Refused
from mdm.enrolment.envelope import UsernameToken
from mdm.enrolment.faults import EnrolmentFault, ErrorType, Subcode
from mdm.storage.statements import table_of
from mdm.storage.tables import Device, Enrolment, IssuedCertificate

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from mdm.enrolment.envelope import BinaryToken
    from mdm.enrolment.issuer import CertificateIssuer, Issued
    from mdm.enrolment.wstep import TokenRequest

__all__ = ["CLOCKS", "MAX_DAILY", "Renewed", "Shown", "by_certificate", "renew", "require_shown"]

_X509: Final = "X509v3"
"""How the ValueType of a certificate ends (WS-Security X.509 Certificate Token Profile)."""
CLOCKS: Final = timedelta(days=3)
"""So much sooner than the device was told to it may renew: its clock need not be ours."""
MAX_DAILY: Final = 10
"""Renewals of one device within a day. Windows tries once in some days; more is a fault that would fill the table."""
_DAY: Final = timedelta(days=1)
_OVER: Final = frozenset({Refusal.EXPIRED, Refusal.AUTHORITY_EXPIRED, Refusal.REVOKED})
"""Nothing that the device could do would make such a certificate good again."""

_device: Final = table_of(Device)
_enrolment: Final = table_of(Enrolment)
_issued: Final = table_of(IssuedCertificate)

_DEVICE: Final = (
    select(
        _device.c.pk,
        _device.c.id,
        _device.c.device_id,
        _device.c.unenrolled_at,
        _device.c.retire_requested_at,
        _device.c.renewed_serial,
    )
    .where(_device.c.pk == bindparam("b_pk"))
    .with_for_update()
)
_CERTIFICATE: Final = select(_issued.c.authority_id, _issued.c.issued_at, _issued.c.not_after).where(
    _issued.c.serial == bindparam("b_serial")
)
_LATELY: Final = (
    select(func.count())
    .select_from(_issued)
    .where(_issued.c.device_pk == bindparam("b_pk"), _issued.c.issued_at > bindparam("b_since"))
)
_FULL: Final = (
    select(_enrolment.c.full)
    .where(_enrolment.c.device_pk == bindparam("b_pk"))
    .order_by(_enrolment.c.pk.desc())
    .limit(1)
)
_RENEWED: Final = update(_device).where(_device.c.pk == bindparam("b_pk"))


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate that was found good, and whose it is."""

    der: bytes
    serial: str
    device_pk: int


@dataclass(frozen=True, slots=True)
class Renewed:
    """A device that has a new certificate."""

    id: str
    certificate: Issued
    user_store: bool
    """Whether its certificates lie in the user's store, as its enrolment has put them."""
    other_authority: bool
    """Whether another authority has issued it than the one before."""


def by_certificate(token: UsernameToken | BinaryToken | None) -> bool:
    """Whether a security header leaves it to the certificate to say who asks, as that of a renewal does."""
    if isinstance(token, UsernameToken):
        return not token.password
    return token is None or token.value_type.endswith(_X509)


def require_shown(conn: Connection, certificate: bytes | None, now: datetime) -> Shown:
    """Return the connection's certificate (DER) if it proves a device; raises EnrolmentFault that says why not."""
    if certificate is None:
        raise Refused(
            Subcode.INVALID_SECURITY,
            "The connection has no client certificate, and nothing else in the message could say who asks. A renewal "
            "needs the device's: a proxy has to ask for it and pass it on as Client-Cert.",
            "no client certificate",
        )
    return _good(conn, certificate, "The client certificate", now)


def renew(
    conn: Connection,
    issuer: CertificateIssuer,
    *,
    request: TokenRequest,
    shown: Shown,
    window: timedelta,
    request_id: str,
    remote_addr: str,
    now: datetime,
) -> Renewed:
    """Issue a certificate for the key in a renewal; raises EnrolmentFault or `mdm.ca.errors.CaError`.

    `window` is how long before the end the certificates that are issued now may be renewed. The device's row is held, so that of two
    renewals at once one comes after the other.
    """
    device = _held(conn, shown.device_pk)
    # Again, now that nobody can retire the device at the same moment.
    require_shown(conn, shown.der, now)
    message = read_signed(request.request, shown=shown.der)
    former = _good(conn, message.signer, "The certificate that has signed the renewal", now)
    if former.device_pk != device.pk:
        raise Refused(
            Subcode.AUTHENTICATION,
            "The renewal is signed by another device than the one that has opened the connection.",
            "signed by another device's certificate",
        )
    public_key = read_csr(message.content).public_key_der
    _may_renew(conn, device, request, now)
    before = conn.execute(_CERTIFICATE, {"b_serial": former.serial}).one()
    # It was told the period of the setting of its day, which may have been another.
    period = RenewalPeriod.of(before.not_after - before.issued_at)
    _in_time(before.not_after, max(window, period.window), now)
    certificate = issuer.issue(
        conn, public_key=public_key, subject_name=device.id, device_pk=device.pk, now=now
    )
    if certificate.not_after <= before.not_after:
        raise EnrolmentFault(
            Subcode.ENROLLMENT_SERVER,
            f"A new certificate would end no later than the one there is, on {before.not_after:%Y-%m-%d}, because "
            "the certificate authority ends then: csp-bridge ca create --replace makes another.",
        )
    conn.execute(_RENEWED, {"b_pk": device.pk, "renewed_serial": certificate.serial})
    origin = Origin(actor=f"device:{device.id}", request_id=request_id, remote_addr=remote_addr)
    _note(conn, origin, device, former=former.serial, certificate=certificate, now=now)
    after = conn.execute(_CERTIFICATE, {"b_serial": certificate.serial}).one()
    full = conn.scalar(_FULL, {"b_pk": device.pk})
    return Renewed(
        id=device.id,
        certificate=certificate,
        user_store=request.claims.full if full is None else full,
        other_authority=after.authority_id != before.authority_id,
    )


def _good(conn: Connection, certificate: bytes, what: str, now: datetime) -> Shown:
    """The certificate, if it proves a device at this moment; raises EnrolmentFault."""
    verdict = check(conn, certificate, now)
    if verdict.ok and verdict.serial is not None and verdict.device_pk is not None:
        return Shown(certificate, verdict.serial, verdict.device_pk)
    why = "it belongs to no device here" if verdict.why is None else str(verdict.why)
    if verdict.why in _OVER:
        raise EnrolmentFault(
            Subcode.AUTHORIZATION,
            f"{what} is refused: {why}. The device has to be enrolled again.",
            error=ErrorType.NOT_ELIGIBLE_TO_RENEW,
        )
    raise Refused(Subcode.AUTHENTICATION, f"{what} is refused: {why}.", f"{what}: {why}")


def _held(conn: Connection, pk: int) -> Row[*tuple[Any, ...]]:
    device = conn.execute(_DEVICE, {"b_pk": pk}).one_or_none()
    if device is None:
        raise _ineligible("The device has been deleted here. It has to be enrolled again.")
    return device


def _may_renew(conn: Connection, device: Row[*tuple[Any, ...]], request: TokenRequest, now: datetime) -> None:
    if device.unenrolled_at is not None:
        raise _ineligible(f"The device {device.id} has left management. It has to be enrolled again.")
    if device.retire_requested_at is not None:
        raise _ineligible(f"The device {device.id} is being retired, and its certificate is not renewed.")
    said = request.claims.device_id
    if said is not None and said != device.device_id:
        raise EnrolmentFault(
            Subcode.AUTHORIZATION,
            f"The renewal says another DeviceID than the device {device.id} has enrolled with.",
            error=ErrorType.INVALID_ENROLLMENT_DATA,
        )
    lately = conn.scalar(_LATELY, {"b_pk": device.pk, "b_since": now - _DAY}) or 0
    if lately >= MAX_DAILY:
        raise _ineligible(
            f"The device {device.id} was given {lately} certificates within a day. It may try again tomorrow."
        )


def _in_time(not_after: datetime, window: timedelta, now: datetime) -> None:
    opens = not_after - window - CLOCKS
    if now < opens:
        raise _ineligible(
            f"The certificate is good until {not_after:%Y-%m-%d} and may be renewed from {opens:%Y-%m-%d} on."
        )


def _ineligible(text: str) -> EnrolmentFault:
    return EnrolmentFault(Subcode.AUTHORIZATION, text, error=ErrorType.NOT_ELIGIBLE_TO_RENEW)


def _note(
    conn: Connection,
    origin: Origin,
    device: Row[*tuple[Any, ...]],
    *,
    former: str,
    certificate: Issued,
    now: datetime,
) -> None:
    until = f"{certificate.not_after:%Y-%m-%dT%H:%M:%SZ}"
    detail = {
        "serial": certificate.serial,
        "thumbprint": certificate.thumbprint_sha1,
        "not_after": until,
        "former": former,
    }
    record_events(conn, device.pk, [Event("certificate_renewed", detail)], now)
    record(
        conn,
        origin,
        now=now,
        action="device.renew",
        object_type="device",
        object_id=device.id,
        detail={"certificate": certificate.thumbprint_sha1, "not_after": until, "former": former},
        before={"renewed_serial": device.renewed_serial},
        after={"renewed_serial": certificate.serial},
    )
