"""What a device's certificate changes at a check-in: a renewal is over once the new one has been shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, update

from mdm.audit import Origin
from mdm.ca.issued import revoke_device
from mdm.storage.statements import table_of
from mdm.storage.tables import Device

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

__all__ = ["settle_renewal"]

_device = table_of(Device)

_SETTLED: Final = update(_device).where(_device.c.pk == bindparam("b_pk")).values(renewed_serial=None)


def settle_renewal(connection: Connection, device: Any, now: datetime) -> None:
    """Take back what the device had before, now that it has proved itself with the certificate of its renewal.

    Not sooner: an answer may be lost, and then the old certificate is all the device has.
    """
    origin = Origin(actor=f"device:{device.id}")
    revoke_device(connection, origin, device.pk, "superseded", now, but=device.renewed_serial)
    connection.execute(_SETTLED, {"b_pk": device.pk})
