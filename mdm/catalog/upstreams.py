"""The upstreams in their order: which are asked, for what, and how often.

BRIDGE_UPSTREAM_URL is the simplest configuration: one upstream, in needed mode, that need not be in the list. An
administrator may change how it is asked as that of any other; what is removed from the list is not scheduled any
more, but its row stays with the account it has used, and so do the revisions it gave.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from sqlalchemy import delete, func, or_, select, update

from mdm.audit import record
from mdm.catalog.filters import SyncFilter
from mdm.errors import Conflict
from mdm.storage.statements import insert_ignore, table_of
from mdm.storage.tables import NeededAnswer, PendingList, QueuedRevision, Upstream, UpstreamReplica

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, RowMapping

    from mdm.audit import Origin

__all__ = [
    "Mode",
    "ReplicaView",
    "UpstreamChange",
    "UpstreamView",
    "add_upstream",
    "change_upstream",
    "ensure_upstream",
    "find_upstream",
    "least_interval",
    "list_upstreams",
    "read_replica",
    "record_upstream",
    "remove_upstream",
    "upstream_id",
]

Mode = Literal["needed", "filtered"]

_ID_DIGITS: Final = 20
_LEAST_OF_MICROSOFT: Final = timedelta(hours=1)
"""Microsoft asks that its servers be called at most hourly."""
_LEAST_OF_OTHERS: Final = timedelta(minutes=15)
_MICROSOFT: Final = ("microsoft.com", "windowsupdate.com")

_NEW: Final[Mapping[str, Any]] = {
    "name": None,
    "listed": False,
    "position": 0,
    "enabled": True,
    "mode": "needed",
    "products": None,
    "classifications": None,
    "languages": None,
    "replica": False,
    "interval_minutes": None,
    "last_started_at": None,
    "retry_at": None,
}
"""An upstream of which nothing is known but its URL."""

_upstream = table_of(Upstream)
_replica = table_of(UpstreamReplica)


@dataclass(frozen=True, slots=True)
class UpstreamView:
    """One upstream as an administrator sees it."""

    id: str
    url: str
    name: str
    position: int
    """Lower ones are asked first."""
    enabled: bool
    configured_by: str
    """`settings` for BRIDGE_UPSTREAM_URL, else `list`."""
    mode: str
    """`needed` or `filtered`."""
    products: tuple[str, ...]
    classifications: tuple[str, ...]
    languages: tuple[int, ...]
    replica: bool
    interval_minutes: int | None
    last_started_at: datetime | None
    retry_at: datetime | None
    """Of an upstream whose last run failed: when it is tried again."""

    @property
    def filter(self) -> SyncFilter:
        """What filtered mode selects."""
        return SyncFilter(self.products, self.classifications, self.languages)

    def interval(self, default: timedelta) -> timedelta:
        """The time between two scheduled runs."""
        return default if self.interval_minutes is None else timedelta(minutes=self.interval_minutes)


@dataclass(frozen=True, slots=True)
class UpstreamChange:
    """What to change of an upstream; None leaves a member as it is."""

    name: str | None = None
    position: int | None = None
    enabled: bool | None = None
    mode: Mode | None = None
    products: tuple[str, ...] | None = None
    classifications: tuple[str, ...] | None = None
    languages: tuple[int, ...] | None = None
    replica: bool | None = None
    interval_minutes: int | None = None

    @property
    def values(self) -> dict[str, Any]:
        """The columns to write."""
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in given.items()
            if value is not None
        }


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """What an upstream's own administrators decided; deployments by their GUID."""

    read_at: datetime
    groups: list[dict[str, Any]]
    deployments: dict[str, dict[str, Any]]
    hidden_updates: list[str]
    accepted_eulas: list[str]


def upstream_id(url: str) -> str:
    """The public id of an upstream: the same wherever its URL is known."""
    return f"ups_{hashlib.sha256(url.encode()).hexdigest()[:_ID_DIGITS]}"


def least_interval(upstream_url: str) -> timedelta:
    """The least time between two scheduled runs: Microsoft's servers are asked at most hourly."""
    host = urlsplit(upstream_url).hostname or ""
    microsoft = any(host == each or host.endswith(f".{each}") for each in _MICROSOFT)
    return _LEAST_OF_MICROSOFT if microsoft else _LEAST_OF_OTHERS


def ensure_upstream(connection: Connection, url: str) -> None:
    """Make the row of an upstream, with the identity this installation keeps towards it."""
    connection.execute(
        insert_ignore(Upstream, connection),
        {
            "url": url,
            "account_guid": str(uuid.uuid4()),
            **{name: value for name, value in _NEW.items() if value is not None},
        },
    )


def list_upstreams(
    connection: Connection, settings_url: str | None, *, enabled_only: bool = False
) -> tuple[UpstreamView, ...]:
    """Return the upstreams in the order they are asked: those of the list, and that of the settings."""
    statement = select(_upstream).where(or_(_upstream.c.listed, _upstream.c.url == (settings_url or "")))
    found = [_view(row, settings_url) for row in connection.execute(statement).mappings()]
    if settings_url is not None and settings_url not in {each.url for each in found}:
        found.append(_view({**_NEW, "url": settings_url}, settings_url))  # it was never used yet
    ordered = sorted(found, key=lambda each: (each.position, each.url))
    return tuple(each for each in ordered if each.enabled or not enabled_only)


def find_upstream(connection: Connection, settings_url: str | None, name: str) -> UpstreamView | None:
    """Return the upstream with this id or URL, if it is one that is asked."""
    for each in list_upstreams(connection, settings_url):
        if name in {each.id, each.url}:
            return each
    return None


def add_upstream(
    connection: Connection, settings_url: str | None, url: str, change: UpstreamChange
) -> UpstreamView:
    """Put an upstream into the list, at its end unless the change says where.

    Raises Conflict if it is there already, if only one of products and classifications is given, or if the
    interval is under `least_interval`.
    """
    ensure_upstream(connection, url)
    row = connection.execute(select(_upstream.c.listed).where(_upstream.c.url == url).with_for_update()).one()
    if row.listed or url == settings_url:
        raise Conflict(f"The upstream {url} is there already.", code="upstream_exists")
    last = connection.scalar(
        select(func.max(_upstream.c.position)).where(
            or_(_upstream.c.listed, _upstream.c.url == (settings_url or ""))
        )
    )
    values = {"listed": True, "enabled": True, "position": 0 if last is None else last + 1, **change.values}
    connection.execute(update(_upstream).where(_upstream.c.url == url).values(values))
    return _checked(connection, settings_url, url)


def change_upstream(
    connection: Connection, settings_url: str | None, url: str, change: UpstreamChange
) -> UpstreamView:
    """Change how an upstream is asked; raises Conflict as `add_upstream` does."""
    ensure_upstream(connection, url)
    if change.values:
        connection.execute(update(_upstream).where(_upstream.c.url == url).values(change.values))
    return _checked(connection, settings_url, url)


def read_replica(connection: Connection, url: str) -> ReplicaView | None:
    """Return what an upstream's own administrators decided, or None if that was never read."""
    row = connection.execute(
        select(_replica.c.read_at, _replica.c.document).where(_replica.c.upstream_url == url)
    ).first()
    return ReplicaView(row.read_at, **row.document) if row is not None else None


def remove_upstream(connection: Connection, settings_url: str | None, url: str) -> None:
    """Take an upstream out of the list, with its backlog and what it did not have.

    Raises Conflict for the one that the settings name.
    """
    if url == settings_url:
        raise Conflict(
            "BRIDGE_UPSTREAM_URL names this upstream; disable it, or change the setting.",
            code="upstream_in_settings",
        )
    connection.execute(update(_upstream).where(_upstream.c.url == url).values(listed=False))
    for model in (QueuedRevision, PendingList, NeededAnswer):
        table = table_of(model)
        connection.execute(delete(table).where(table.c.upstream_url == url))


def _checked(connection: Connection, settings_url: str | None, url: str) -> UpstreamView:
    row = connection.execute(select(_upstream).where(_upstream.c.url == url)).mappings().one()
    view = _view(row, settings_url)
    if bool(view.products) != bool(view.classifications):
        # an upstream answers such a filter with nothing at all (MS-WSUSSS 3.1.4.5)
        raise Conflict(
            "Select products and classifications, or neither for everything the upstream has.",
            code="incomplete_filter",
        )
    least = least_interval(url)
    if view.interval(least) < least:
        minutes = int(least.total_seconds()) // 60
        raise Conflict(f"This upstream is read every {minutes} minutes at most.", code="interval_too_short")
    return view


def _view(row: RowMapping | Mapping[str, Any], settings_url: str | None) -> UpstreamView:
    return UpstreamView(
        id=upstream_id(row["url"]),
        url=row["url"],
        name=row["name"] or row["url"],
        position=row["position"],
        enabled=row["enabled"],
        configured_by="settings" if row["url"] == settings_url else "list",
        mode=row["mode"],
        products=tuple(row["products"] or ()),
        classifications=tuple(row["classifications"] or ()),
        languages=tuple(row["languages"] or ()),
        replica=row["replica"],
        interval_minutes=row["interval_minutes"],
        last_started_at=row["last_started_at"],
        retry_at=row["retry_at"],
    )


def record_upstream(
    connection: Connection,
    origin: Origin,
    *,
    before: UpstreamView | None,
    after: UpstreamView | None,
    now: datetime,
) -> None:
    """Enter into the audit trail that an upstream was made, changed or removed; one of the two is given at least."""
    view = after or before
    assert view is not None  # noqa: S101 - nothing that neither was nor is can have changed
    verb = "create" if before is None else "delete" if after is None else "change"
    record(
        connection,
        origin,
        now=now,
        action=f"upstream.{verb}",
        object_type="upstream",
        object_id=view.id,
        before=_audited(before),
        after=_audited(after),
    )


def _audited(view: UpstreamView | None) -> dict[str, Any] | None:
    """What an administrator decides of it; not when it was asked last."""
    if view is None:
        return None
    return {
        name: value
        for name, value in asdict(view).items()
        if name not in {"id", "last_started_at", "retry_at"}
    }
