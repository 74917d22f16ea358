"""What a device that enrols is told: where to, as whom we manage it, and when it is to come; and the load that means."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import func, select

from mdm.ca.renewal import RenewalPeriod
from mdm.enrolment.poll_schedule import PollSchedule
from mdm.enrolment.service import DISCOVERY_PATH, ENROLMENT_PATH, POLICY_PATH
from mdm.storage.statements import table_of
from mdm.storage.tables import Device

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from mdm.settings import Settings

__all__ = ["EnrolmentTerms", "EnrolmentUrls", "enrolled_devices", "terms"]

OMADM_PATH: Final = "/omadm"

_device: Final = table_of(Device)


@dataclass(frozen=True, slots=True)
class EnrolmentUrls:
    """The addresses in the answers to a device; each None without BRIDGE_PUBLIC_URL: then it is told the one it came by."""

    discovery: str | None
    policy: str | None
    enrolment: str | None
    management: str | None


@dataclass(frozen=True, slots=True)
class PollTerms:
    """When devices are to come by themselves."""

    schedule: str
    """As BRIDGE_POLL_SCHEDULE writes it."""
    devices: int
    """Enrolled with a certificate now."""
    sessions_per_device_and_day: float
    sessions_per_second: float
    """Of all devices, on average, in the long run."""
    sessions_per_newcomer: int
    """Quick sessions of a device that has just been enrolled."""
    newcomer_minutes: int
    """How long those go on."""
    sentences: tuple[str, ...]
    """The same for people."""


@dataclass(frozen=True, slots=True)
class EnrolmentTerms:
    """The terms of an enrolment that happens now."""

    urls: EnrolmentUrls
    provider_id: str
    sign_in: str
    """`password`, or `web` for a page."""
    certificate_days: int
    renew_days: int
    """Days before the end of a certificate from which on Windows renews it."""
    poll: PollTerms
    push: bool
    """Whether devices are woken by notifications."""


def terms(conn: Connection, settings: Settings) -> EnrolmentTerms:
    """The terms as the settings have them, for the devices that are enrolled now."""
    schedule = PollSchedule.parse(settings.poll_schedule)
    load = schedule.load(enrolled_devices(conn))
    base = settings.public_url
    discovery, policy, enrolment, management = (
        None if base is None else base + path
        for path in (DISCOVERY_PATH, POLICY_PATH, ENROLMENT_PATH, OMADM_PATH)
    )
    return EnrolmentTerms(
        urls=EnrolmentUrls(discovery, policy, enrolment, management),
        provider_id=settings.provider_id,
        sign_in=settings.enrolment_sign_in,
        certificate_days=settings.certificate_days,
        renew_days=RenewalPeriod.of(timedelta(days=settings.certificate_days)).days,
        poll=PollTerms(
            schedule=str(schedule),
            devices=load.devices,
            sessions_per_device_and_day=load.sessions_per_device_and_day,
            sessions_per_second=load.sessions_per_second,
            sessions_per_newcomer=load.sessions_per_newcomer,
            newcomer_minutes=load.newcomer_minutes,
            sentences=load.sentences(),
        ),
        push=settings.wns_pfn is not None,
    )


def enrolled_devices(conn: Connection) -> int:
    """How many devices poll by our schedule: enrolled with a certificate, and not gone."""
    count = conn.scalar(
        select(func.count()).where(_device.c.certificate_required, _device.c.unenrolled_at.is_(None))
    )
    return count or 0
