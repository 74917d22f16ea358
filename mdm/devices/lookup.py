"""Finding the device and the update that somebody means: by id, by name, by KB number, by words of the title."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import func, or_, select

from csp.errors import InvalidGuid
from csp.guid import parse_guid
from mdm.catalog.queries import list_updates
from mdm.storage.statements import table_of
from mdm.storage.tables import Device, DeviceUpdate

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["MOST", "FoundDevice", "FoundUpdate", "find_devices", "find_updates"]

MOST: Final = 20
"""Candidates named; who means one of more has to say more."""

_KB: Final = re.compile(r"kb\s*[0-9]{1,8}|[0-9]{6,8}", re.IGNORECASE)
"""Bare digits may also be a year or a build in a title; KB numbers have six digits at least."""

_device = table_of(Device)
_rows = table_of(DeviceUpdate)


@dataclass(frozen=True, slots=True)
class FoundDevice:
    """A device that may be meant."""

    pk: int
    id: str
    device_id: str
    name: str


@dataclass(frozen=True, slots=True)
class FoundUpdate:
    """An update that may be meant."""

    id: str
    title: str | None
    """None for an id that need not be known."""


def find_devices(connection: Connection, text: str) -> list[FoundDevice]:
    """The devices of this id, device_id, name, computer name or serial number, whatever its case; `MOST` and one more.

    One whose id it is exactly is the only one. If nothing is called so, those with the text in their names.
    """
    columns = select(_device.c.pk, _device.c.id, _device.c.device_id, _device.c.name)
    lower = text.lower()
    whole = or_(
        _device.c.id == text,
        func.lower(_device.c.device_id) == lower,
        func.lower(_device.c.name) == lower,
        func.lower(_device.c.computer_name) == lower,
        func.lower(_device.c.serial_number) == lower,
    )
    part = or_(
        _device.c.device_id.icontains(text, autoescape=True),
        _device.c.name.icontains(text, autoescape=True),
        _device.c.computer_name.icontains(text, autoescape=True),
    )
    for condition in (whole, part):
        found = [
            FoundDevice(*row)
            for row in connection.execute(columns.where(condition).order_by(_device.c.pk).limit(MOST + 1))
        ]
        if found:
            exactly = [each for each in found if text in {each.id, each.device_id}]
            return exactly if len(exactly) == 1 else found
    return []


def find_updates(connection: Connection, device_pk: int, text: str) -> list[FoundUpdate]:
    """The updates of this UpdateID, KB number or words of the title, newest first; at most `MOST` and one more.

    An UpdateID need not be known. Of several with one KB number, those that the device speaks of.
    """
    try:
        return [FoundUpdate(parse_guid(text.strip()), None)]
    except InvalidGuid:
        is_kb = _KB.fullmatch(text.strip()) is not None
    listed = list_updates(connection, kb=text if is_kb else None, q=None if is_kb else text, limit=MOST + 1)
    found = [FoundUpdate(each.update.update_id, each.update.title) for each in listed]
    if len(found) > 1:
        own = frozenset(
            connection.scalars(
                select(_rows.c.update_id).where(
                    _rows.c.device_pk == device_pk,
                    _rows.c.update_id.in_([each.id for each in found]),
                    _rows.c.state != "listed",
                )
            )
        )
        found = [each for each in found if each.id in own] or found
    return found
