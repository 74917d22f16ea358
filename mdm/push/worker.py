"""The thread that sends notifications to devices that somebody wants to check in at once.

Which are due is read from the database, so that a wish outlives the process it came to: a device with a channel whose
wish is younger than `FRESH`, has not been answered by a session, and has no event of a notification yet. Of several
processes each may send one; a second notification does no harm.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import exists, or_, select, update

from mdm.background import Worker
from mdm.devices.timeline import Event, record_events
from mdm.push.wns import PushAccount, WnsClient
from mdm.storage.statements import table_of
from mdm.storage.tables import Device, DeviceEvent
from mdm.upstream.transport import open_http_client

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    import httpx2
    from sqlalchemy import Connection, Row

    from mdm.push.wns import PushResult
    from mdm.settings import Settings
    from mdm.storage.engine import Database

__all__ = ["PUSHED", "PUSH_FAILED", "PushWorker", "configured_push"]

POLL_SECONDS: Final = 60.0
"""How long a wish waits that came to another process, or before a restart."""
FRESH: Final = timedelta(hours=1)
"""A wish that is older has been overtaken by events."""
PUSHED: Final = "pushed"
PUSH_FAILED: Final = "push_failed"
"""Events of a timeline, with `why` as a sentence."""

_BATCH: Final = 100

_device: Final = table_of(Device)
_events: Final = table_of(DeviceEvent)


class PushWorker(Worker):
    """Sends what is due, in a thread of its own between `start` and `stop`, or in the caller's."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        wns: WnsClient,
        open_http: Callable[[], httpx2.Client],
        *,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """Does nothing yet; `open_http` makes a client for one batch."""
        super().__init__(database, "push", poll_seconds=poll_seconds)
        self._clock = clock
        self._wns = wns
        self._open_http = open_http

    def work(self) -> bool:
        """Send a batch; raises Unavailable if the database is down."""
        with self._database.read() as connection:
            due = _due(connection, self._clock())
        if due:
            with self._open_http() as http:
                for row in due:
                    if self._stopping.is_set():
                        return False
                    self._push(http, row)
        return len(due) == _BATCH

    def _push(self, http: httpx2.Client, row: Row[*tuple[Any, ...]]) -> None:
        result = self._wns.notify(http, row.push_channel)
        with self._database.write() as connection:
            _keep(connection, row, result, self._clock())
        log = self._log.info if result.sent else self._log.warning
        log("push.sent" if result.sent else "push.failed", device=row.id, why=result.why)


def configured_push(
    settings: Settings, database: Database, clock: Callable[[], datetime]
) -> PushWorker | None:
    """The worker for the account of the settings; None where they have none."""
    if settings.wns_package_sid is None or settings.wns_secret is None:
        return None
    account = PushAccount(settings.wns_package_sid, settings.wns_secret.get_secret_value())
    return PushWorker(database, clock, WnsClient(account), open_http_client)


def _due(connection: Connection, now: datetime) -> Sequence[Row[*tuple[Any, ...]]]:
    wanted_at = _device.c.sync_requested_at
    told = exists().where(
        _events.c.device_pk == _device.c.pk,
        _events.c.kind.in_((PUSHED, PUSH_FAILED)),
        _events.c.at >= wanted_at,
    )
    return connection.execute(
        select(_device.c.pk, _device.c.id, _device.c.push_channel, wanted_at)
        .where(
            wanted_at > now - FRESH,
            or_(_device.c.state_read_at.is_(None), _device.c.state_read_at <= wanted_at),
            _device.c.push_channel.is_not(None),
            _device.c.unenrolled_at.is_(None),
            ~told,
        )
        .order_by(_device.c.pk)
        .limit(_BATCH)
    ).all()


def _keep(connection: Connection, row: Row[*tuple[Any, ...]], result: PushResult, now: datetime) -> None:
    found = connection.execute(select(_device.c.pk).where(_device.c.pk == row.pk).with_for_update()).first()
    if found is None:
        return  # deleted meanwhile
    # The clock of the process that took the wish may be ahead; an event before the wish would not count.
    at = max(now, row.sync_requested_at)
    record_events(
        connection, row.pk, [Event(PUSHED if result.sent else PUSH_FAILED, {"why": result.why})], at
    )
    if result.gone:
        # Another one may have been told meanwhile: only this one is forgotten.
        connection.execute(
            update(_device)
            .where(_device.c.pk == row.pk, _device.c.push_channel == row.push_channel)
            .values(push_channel=None)
        )
