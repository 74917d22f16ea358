"""A device's certificate as IT sees it: good, to be renewed, or over, which only another enrolment mends.

good         nothing is to be done
renewal_due  the device renews it by itself now, and has not yet
ends_soon    two thirds of that time are over: somebody should look why
ended        it has ended, and Windows does not renew after that
revoked      it was taken back, and no other was issued

That of a device is the one of all issued to it that ends last. One that a renewal has given and that the device has
not shown yet counts, too: the device has it, or asks for it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, bindparam, exists, func, select

from mdm.storage.statements import table_of
from mdm.storage.tables import Device, IssuedCertificate

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

    from mdm.ca.renewal import RenewalPeriod

__all__ = [
    "CertificateState",
    "CertificateView",
    "DeviceCertificate",
    "certificate_in_state",
    "certificate_view",
    "last_certificate",
]

_device: Final = table_of(Device)
_issued: Final = table_of(IssuedCertificate)

_LAST: Final = (
    select(_issued.c.serial, _issued.c.not_after, _issued.c.revoked_at, _issued.c.revocation_reason)
    .join_from(_issued, _device, _issued.c.device_pk == _device.c.pk)
    .where(_issued.c.device_pk == bindparam("b_pk"), _device.c.certificate_required)
    .order_by(_issued.c.revoked_at.is_not(None), _issued.c.not_after.desc(), _issued.c.issued_at.desc())
    .limit(1)
)


class CertificateState(StrEnum):
    """Where a device's certificate stands; the module's docstring has the words."""

    GOOD = "good"
    RENEWAL_DUE = "renewal_due"
    ENDS_SOON = "ends_soon"
    ENDED = "ended"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class DeviceCertificate:
    """The one that ends last of those that prove a device, or the last of those that were taken back."""

    serial: str
    not_after: datetime
    revoked_at: datetime | None = None
    revocation_reason: str | None = None

    def is_over(self, now: datetime) -> bool:
        """Whether it proves the device no more, and the device cannot renew it."""
        return self.revoked_at is not None or self.not_after < now

    def state(self, renewal: RenewalPeriod, now: datetime) -> CertificateState:
        """The word for it; `renewal` is that of the certificates which are issued now."""
        if self.revoked_at is not None:
            return CertificateState.REVOKED
        left = self.not_after - now
        if self.not_after < now:
            return CertificateState.ENDED
        if left <= renewal.alarm:
            return CertificateState.ENDS_SOON
        return CertificateState.RENEWAL_DUE if left <= renewal.window else CertificateState.GOOD

    def sentence(self, renewal: RenewalPeriod, now: datetime) -> str:
        """The same for people, with what is to be done."""
        end = f"{self.not_after:%Y-%m-%d}"
        match self.state(renewal, now):
            case CertificateState.GOOD:
                return f"Good until {end}; the device renews it from {self.not_after - renewal.window:%Y-%m-%d} on."
            case CertificateState.RENEWAL_DUE:
                return f"Good until {end}; the device should renew it when it is on next."
            case CertificateState.ENDS_SOON:
                return (
                    f"It ends on {end} and was not renewed: have the device switched on before then, and look for "
                    "enrolment_refused in the log. After that the device has to be enrolled again."
                )
        return self.ending()

    def ending(self) -> str:
        """Why it is of no use any more, for people."""
        if self.revoked_at is None:
            return (
                f"Its certificate ended on {self.not_after:%Y-%m-%d}; Windows does not renew after that: the device "
                "has to be enrolled again."
            )
        return (
            f"Its certificate was revoked on {self.revoked_at:%Y-%m-%d} ({self.revocation_reason}); the device is "
            "refused until it is enrolled again."
        )


@dataclass(frozen=True, slots=True)
class CertificateView:
    """What IT is shown of it."""

    serial: str
    not_after: datetime
    state: CertificateState
    sentence: str


def last_certificate(conn: Connection, device_pk: int) -> DeviceCertificate | None:
    """That of a device; None for one that proves itself by its messages."""
    found = conn.execute(_LAST, {"b_pk": device_pk}).one_or_none()
    return None if found is None else DeviceCertificate(*found)


def certificate_view(
    conn: Connection, device_pk: int, renewal: RenewalPeriod, now: datetime
) -> CertificateView | None:
    """The same as IT is shown it."""
    found = last_certificate(conn, device_pk)
    if found is None:
        return None
    return CertificateView(
        found.serial, found.not_after, found.state(renewal, now), found.sentence(renewal, now)
    )


def certificate_in_state(
    state: CertificateState, renewal: RenewalPeriod, now: datetime
) -> ColumnElement[bool]:
    """The condition that a row of `device` has a certificate of which `DeviceCertificate.state` says this."""
    of_device = _issued.c.device_pk == _device.c.pk
    end = (
        select(func.max(_issued.c.not_after))
        .where(of_device, _issued.c.revoked_at.is_(None))
        .correlate(_device)
        .scalar_subquery()
    )
    alarm, window = now + renewal.alarm, now + renewal.window
    if state is CertificateState.REVOKED:
        condition = and_(exists().where(of_device), end.is_(None))
    elif state is CertificateState.ENDED:
        condition = end < now
    elif state is CertificateState.ENDS_SOON:
        condition = end.between(now, alarm)
    elif state is CertificateState.RENEWAL_DUE:
        condition = and_(end > alarm, end <= window)
    else:
        condition = end > window
    return and_(_device.c.certificate_required, condition)
