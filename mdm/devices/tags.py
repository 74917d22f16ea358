"""Tags: words that administrators put on devices, and that rules of groups ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from mdm.audit import record
from mdm.devices.refresh import lock_device, recompute
from mdm.errors import NotFound
from mdm.storage.statements import table_of
from mdm.storage.tables import DeviceTag

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.audit import Origin

__all__ = ["set_tags", "tags_of"]

_tag = table_of(DeviceTag)


def set_tags(conn: Connection, origin: Origin, device_id: str, tags: Iterable[str], *, now: datetime) -> None:
    """Give the device these tags and no others, in small letters; its groups follow at once. Raises NotFound."""
    pk = lock_device(conn, device_id)
    if pk is None:
        raise NotFound(f"There is no device {device_id!r}.")
    before = set(tags_of(conn, [pk]).get(pk, ()))
    after = {tag.strip().casefold() for tag in tags}
    if before == after:
        return
    gone, new = sorted(before - after), sorted(after - before)
    if gone:
        conn.execute(delete(_tag).where(_tag.c.device_pk == pk, _tag.c.tag.in_(gone)))
    if new:
        conn.execute(insert(_tag), [{"device_pk": pk, "tag": tag} for tag in new])
    recompute(conn, [pk])
    record(
        conn,
        origin,
        now=now,
        action="device.tags",
        object_type="device",
        object_id=device_id,
        before={"tags": sorted(before)},
        after={"tags": sorted(after)},
    )


def tags_of(conn: Connection, device_pks: Collection[int]) -> dict[int, tuple[str, ...]]:
    """The tags of each device in order; devices without any are left out."""
    found: dict[int, tuple[str, ...]] = {}
    rows = select(_tag.c.device_pk, _tag.c.tag).where(_tag.c.device_pk.in_(device_pks))
    for pk, tag in conn.execute(rows.order_by(_tag.c.tag)):
        found[pk] = (*found.get(pk, ()), tag)
    return found
