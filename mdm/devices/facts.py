"""What rules may ask of a device, and reading it for many devices at once."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from mdm.storage.statements import table_of
from mdm.storage.tables import Device, DeviceTag

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Column, Connection, Row

__all__ = ["FACT_COLUMNS", "DeviceFacts", "facts_key", "read_facts"]

_device = table_of(Device)
_tag = table_of(DeviceTag)

_NAMES: Final = ("name", "os_version", "os_edition", "manufacturer", "model", "language", "enrolment_user")

FACT_COLUMNS: Final[tuple[Column[Any], ...]] = tuple(_device.c[name] for name in _NAMES)
"""Columns of `device` that rules read; `facts_key` takes a row that has them."""


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What is known of a device; None for what it has not said."""

    id: str
    """Public id: what percentages are reckoned from."""
    name: str
    os_version: str | None = None
    """As the device wrote it, such as `10.0.26100.4652`."""
    os_edition: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    language: str | None = None
    enrolment_user: str | None = None
    tags: frozenset[str] = frozenset()


def read_facts(conn: Connection, device_pks: Collection[int]) -> dict[int, DeviceFacts]:
    """The facts of these devices, at most a thousand, by primary key; two reads however many there are."""
    tags: dict[int, set[str]] = {}
    for pk, tag in conn.execute(select(_tag.c.device_pk, _tag.c.tag).where(_tag.c.device_pk.in_(device_pks))):
        tags.setdefault(pk, set()).add(tag)
    rows = conn.execute(select(_device.c.pk, _device.c.id, *FACT_COLUMNS).where(_device.c.pk.in_(device_pks)))
    return {
        row.pk: DeviceFacts(
            row.id,
            **{name: getattr(row, name) or None for name in _NAMES[1:]},
            name=row.name,
            tags=frozenset(tags.get(row.pk, ())),
        )
        for row in rows
    }


def facts_key(row: Row[Any]) -> str:
    """A short digest of `FACT_COLUMNS`: differs as soon as one of them does."""
    values = json.dumps([getattr(row, name) or None for name in _NAMES])
    return hashlib.sha256(values.encode()).hexdigest()[:16]
