"""The schedule policies a device should have, from those of its windows that are to be enforced on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, select

from mdm.storage.statements import table_of
from mdm.storage.tables import MaintenanceWindow
from mdm.windows.effective import is_for_device
from mdm.windows.enforcement import enforcement_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection

__all__ = ["NOTHING", "Overlay", "Value", "schedule_policies"]

_window: Final = table_of(MaintenanceWindow)


@dataclass(frozen=True, slots=True)
class Value:
    """The value of a policy, and who wants it."""

    value: str
    source: str
    """Id of the window, or of the rollback."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """Policies that come from elsewhere than profiles."""

    values: Mapping[str, Value] = field(default_factory=dict)
    """By name below `Policy/Config/Update`."""
    until: datetime | None = None
    """When time alone changes them; None: never."""


NOTHING: Final = Overlay()

_ENFORCED: Final = (
    select(
        _window.c.id,
        _window.c.pattern,
        _window.c.start,
        _window.c.zone,
        _window.c.valid_from,
        _window.c.valid_until,
        _window.c.allow_auto_update,
    )
    .where(_window.c.enforce_on_device, is_for_device(bindparam("device_pk")))
    .order_by(_window.c.created_at, _window.c.id)
)


def schedule_policies(connection: Connection, device_pk: int, now: datetime) -> Overlay:
    """The schedule of the oldest window that is enforced on the device and holds now.

    Windows has one schedule only; of several windows the others still govern what the bridge delivers.
    """
    rows = [
        row
        for row in connection.execute(_ENFORCED, {"device_pk": device_pk}).all()
        if row.valid_until is None or row.valid_until > now
    ]
    if not rows:
        return NOTHING
    limits = [moment for row in rows for moment in (row.valid_from, row.valid_until) if moment is not None]
    values: Mapping[str, Value] = {}
    for row in rows:
        if row.valid_from is None or row.valid_from <= now:
            values = _values(row)
            if values:
                break
    return Overlay(values, min((moment for moment in limits if moment > now), default=None))


def _values(row: Any) -> dict[str, Value]:
    return {name: Value(value, row.id) for name, value in enforcement_of(row).policies.items()}
