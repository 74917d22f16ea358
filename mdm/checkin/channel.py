"""How a device is reached, kept right in its sessions: the schedule it polls by, and its channel for notifications.

Both stand below our name in the device's DMClient. The schedule is written when the device has another one than the
setting says, which costs six commands once. The channel is asked for in each session, because it is renewed at times
of the device's own choosing, and only where notifications are set up.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, select, update

from csp.polling import POLL_NODES, poll_requests, poll_uris, taken
from csp.push import push_queries, read_push, set_pfn
from mdm.devices.timeline import COMMAND_FAILED
from mdm.storage.statements import table_of
from mdm.storage.tables import Device, DeviceEvent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.checkin.memory import Memory
    from mdm.enrolment.poll_schedule import PollSchedule
    from syncml.exchange import Answer, Request

__all__ = ["Channel"]

_AGAIN: Final = timedelta(hours=24)
"""A device that refuses the schedule is not told again for so long."""
_MAX_URI: Final = 2_048
"""Characters of a channel's address that is believed; those seen have some hundred."""
_TAKEN: Final = "poll_settings"
"""Figure of a session: numbers of the schedule that the device has taken."""

_device: Final = table_of(Device)
_events: Final = table_of(DeviceEvent)

_UPDATE_DEVICE: Final = update(_device).where(_device.c.pk == bindparam("b_pk"))
_FAILURES: Final = (
    select(_events.c.detail)
    .where(
        _events.c.device_pk == bindparam("device_pk"),
        _events.c.kind == COMMAND_FAILED,
        _events.c.at > bindparam("since", type_=_events.c.at.type),
    )
    .order_by(_events.c.seq.desc())
    .limit(200)
)


@dataclass(frozen=True, slots=True)
class Channel:
    """Asks for the channel, gives the schedule, and writes down what comes of it; the same for all devices."""

    provider_id: str
    """Our name in the device's DMClient/Provider."""
    poll: PollSchedule | None = None
    """When devices are to come by themselves; None leaves them what they have."""
    pfn: str | None = None
    """Package family name that devices register for; None where notifications are not set up."""

    def requests(self, connection: Connection, device: Any, now: datetime) -> tuple[Request, ...]:
        """What to say about it in this session; `device` is the row as it was before this message."""
        return (*self._push_requests(device), *self._poll_requests(connection, device, now))

    def record(
        self, connection: Connection, device: Any, answers: Sequence[Answer], memory: Memory, now: datetime
    ) -> None:
        """Keep what the answers, among which there may be any others, say of it."""
        values = self._schedule(answers, memory) | self._channel(answers, now)
        if values:
            connection.execute(_UPDATE_DEVICE, {**values, "b_pk": device.pk})

    def _push_requests(self, device: Any) -> tuple[Request, ...]:
        if self.pfn is None:
            return ()
        queries = push_queries(self.provider_id)
        # A device that knows its channel is left alone: setting the name anew might end the channel.
        return queries if device.push_channel else (set_pfn(self.provider_id, self.pfn), *queries)

    def _poll_requests(self, connection: Connection, device: Any, now: datetime) -> tuple[Request, ...]:
        # Who was not enrolled by us has a schedule from somebody who may have meant it.
        if self.poll is None or not device.certificate_required or device.poll_schedule == str(self.poll):
            return ()
        if self._refused(connection, device.pk, now - _AGAIN):
            return ()
        return poll_requests(self.provider_id, self.poll.nodes())

    def _refused(self, connection: Connection, device_pk: int, since: datetime) -> bool:
        uris = poll_uris(self.provider_id)
        failures = connection.scalars(_FAILURES, {"device_pk": device_pk, "since": since})
        # Of a long address the timeline has the beginning.
        return any(uri.startswith(detail["loc_uri"]) for detail in failures for uri in uris)

    def _schedule(self, answers: Sequence[Answer], memory: Memory) -> dict[str, Any]:
        if self.poll is None:
            return {}
        fresh = taken(answers, self.provider_id, self.poll.nodes())
        if not fresh:
            return {}
        memory.count(_TAKEN, fresh)
        return {"poll_schedule": str(self.poll)} if memory.counts[_TAKEN] == len(POLL_NODES) else {}

    def _channel(self, answers: Sequence[Answer], now: datetime) -> dict[str, Any]:
        if self.pfn is None:
            return {}
        said = read_push(answers, self.provider_id)
        if not said.answered:
            return {}
        # A channel for another name is not ours to use; without one the name is set again.
        ours = said.pfn is None or said.pfn == self.pfn
        uri = said.channel if ours and said.channel is not None and len(said.channel) <= _MAX_URI else None
        return {"push_channel": uri, "push_status": said.status, "push_read_at": now}
