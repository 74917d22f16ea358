"""A device looks after its certificate: it renews inside the time its enrolment named, and tries again as that says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mdm.lab.enrolling import renew, renewal_due
from mdm.lab.enrolment_errors import EnrolmentFailed
from mdm.lab.link import connect

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mdm.lab.device import VirtualDevice

__all__ = ["look_after", "renew_now"]


def look_after(device: VirtualDevice, now: datetime, say: Callable[[str], object]) -> None:
    """Renew the certificate if it is time; an attempt that fails is said, and the next is RetryInterval days later."""
    if not renewal_due(device.record, now):
        return
    name = device.record.identity.name
    try:
        renew_now(device, now)
    except EnrolmentFailed as failure:
        say(f"{name}: the certificate was not renewed. {failure}")
    else:
        say(f"{name}: the certificate was renewed.")


def renew_now(device: VirtualDevice, now: datetime) -> None:
    """Renew, and use the new certificate from the next connection on; raises EnrolmentFailed, and nothing has changed."""
    held = device.record.certificate
    if held is not None:
        device.keep_certificate(replace(held, tried_at=now.isoformat()), device.http)
    renewed = renew(device.record, device.http, now=now).certificate
    assert renewed is not None  # noqa: S101 - `renew` brings one or raises
    device.http.close()
    device.keep_certificate(renewed, connect(device.record.link, renewed))
