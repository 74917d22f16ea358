"""The anchors of an upstream's lists: opaque, one per list and filter, kept when the list is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import delete, select

from mdm.storage.statements import table_of, upsert
from mdm.storage.tables import PendingList, UpstreamAnchor

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection

__all__ = ["HeldAnchor", "ListName", "forget_anchors", "held_anchor", "keep_anchor"]

ListName = Literal["config", "categories", "updates", "deployments"]

_KEPT: Final = ("anchor", "covers", "kept_at")

_anchor = table_of(UpstreamAnchor)
_pending = table_of(PendingList)


@dataclass(frozen=True, slots=True)
class HeldAnchor:
    """An anchor, and the filter it speaks for; without an anchor the list was never read."""

    anchor: str | None
    covers: Mapping[str, Any]


def held_anchor(
    connection: Connection, upstream_url: str, name: ListName, filter_key: str = ""
) -> HeldAnchor:
    """Return the anchor read with this filter, else the latest read with another one, else one without."""
    row = connection.execute(
        select(_anchor.c.anchor, _anchor.c.covers)
        .where(_anchor.c.upstream_url == upstream_url, _anchor.c.list == name)
        .order_by((_anchor.c.filter_key == filter_key).desc(), _anchor.c.kept_at.desc())
        .limit(1)
    ).first()
    return HeldAnchor(*row) if row is not None else HeldAnchor(None, {})


def keep_anchor(
    connection: Connection,
    upstream_url: str,
    name: ListName,
    anchor: str,
    now: datetime,
    *,
    filter_key: str = "",
    covers: Mapping[str, Any] | None = None,
) -> None:
    """Keep an anchor: everything its list named is stored."""
    connection.execute(
        upsert(UpstreamAnchor, connection, update=_KEPT),
        {
            "upstream_url": upstream_url,
            "list": name,
            "filter_key": filter_key,
            "anchor": anchor,
            "covers": dict(covers or {}),
            "kept_at": now,
        },
    )


def forget_anchors(connection: Connection, upstream_url: str) -> bool:
    """Forget all anchors of an upstream, those that wait as well; return False if there were none."""
    held = connection.execute(delete(_anchor).where(_anchor.c.upstream_url == upstream_url)).rowcount
    waiting = connection.execute(delete(_pending).where(_pending.c.upstream_url == upstream_url)).rowcount
    return held + waiting > 0
