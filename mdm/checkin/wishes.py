"""What the bridge has to say to a device at this point of a session: what it asks first, and then the plan.

Asked is what the device alone knows: its update lists each session, the long and slow things once a day. The plan
is the difference between what IT wants, as intent and catalogue say at this moment, and what the device has.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, select, update

from csp.plan import Desired, Reported, plan
from csp.queries import confirm_installed, identity_queries, state_queries
from csp.snapshot import UpdateList
from csp.sync_version import queries as version_queries
from csp.sync_version import raise_request, tells_errors
from csp.unenrolment import unenrol
from mdm.approvals.decision import decide
from mdm.approvals.effective import circumstances, has_approvals, standing_of
from mdm.checkin.withdrawals import withdrawals
from mdm.devices.departure import note_told
from mdm.policies.effective import desired_policies
from mdm.policies.state import due_queries, note_sent
from mdm.rollbacks.checkin import rollback_wishes
from mdm.storage.statements import table_of
from mdm.storage.tables import Device, DeviceUpdate
from mdm.windows.effective import window_state
from mdm.windows.policies import schedule_policies

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.approvals.effective import Standing
    from mdm.checkin.channel import Channel
    from mdm.checkin.memory import Memory
    from mdm.windows.policies import Overlay
    from syncml.exchange import Request

__all__ = ["Wishes"]

_INSTALLED_EVERY: Final = timedelta(hours=24)
"""InstalledUpdates is long and changes slowly: read at most once in this time."""

_VERSION_EVERY: Final = timedelta(hours=24)
"""A device that does not tell errors is asked at most so often whether it could: Windows is upgraded at times."""

_IDENTITY_EVERY: Final = timedelta(hours=24)
"""Build and edition of the device's Windows, its names and numbers, are asked for at most once in this time."""

_INSTALLABLE: Final = int(UpdateList.INSTALLABLE)
_APPROVED: Final = int(UpdateList.APPROVED)

_rows = table_of(DeviceUpdate)
_device = table_of(Device)

_LISTED: Final = select(_rows.c.update_id, _rows.c.lists, _rows.c.delivered_at).where(
    _rows.c.device_pk == bindparam("device_pk"),
    _rows.c.lists.bitwise_and(_INSTALLABLE | _APPROVED) != 0,
)
_SETTLE: Final = (
    update(_device)
    .where(_device.c.pk == bindparam("of_pk"))
    .values(plan_key=bindparam("key"), plan_until=bindparam("until", type_=_device.c.plan_until.type))
)


@dataclass(frozen=True, slots=True)
class Wishes:
    """Works out what to say; the same for all devices and in all processes."""

    manage_policy: bool
    """Write RequireUpdateApproval=1 to devices that have approvals."""
    provider_id: str | None
    """Our name in the device's DMClient/Provider; None: the version of its sessions is left alone."""
    channel: Channel | None = None
    """How devices are to be reached; None: that is left alone, too."""

    def next_requests(
        self, connection: Connection, device: Any, memory: Memory, now: datetime, *, news: bool
    ) -> tuple[Request, ...]:
        """What to say now: the queries that are still due, else the plan; never the same thing twice a session.

        `device` is its row as it was before this message, `news` that the message has changed something about it.
        One that has left is told nothing, and one that is to leave that and nothing else.
        """
        if device.unenrolled_at is not None:
            return ()
        if device.retire_requested_at is not None:
            return self._farewell(connection, device, memory, now)
        installed = _due(device.installed_read_at, _INSTALLED_EVERY, device, now)
        if not memory.queries_done:
            queries = memory.without_attempted(
                (
                    *state_queries(installed=installed),
                    *_identity_queries(device, now),
                    *due_queries(connection, device, now),
                    *self._version_queries(device, now),
                    *self._channel_requests(connection, device, now),
                )
            )
            if queries:
                return queries
            memory.queries_done = True
        wanted = (
            *self._raised_version(memory),
            *self._planned(connection, device, memory, now, news=news),
        )
        confirmations = tuple(confirm_installed(update_id) for update_id in memory.confirm)
        return memory.without_attempted((*wanted, *confirmations))

    def _farewell(
        self, connection: Connection, device: Any, memory: Memory, now: datetime
    ) -> tuple[Request, ...]:
        """The command to leave, once a session; the older one, too, where the device has no node for the newer."""
        if self.provider_id is None:
            return ()
        ways = [unenrol(self.provider_id)]
        if memory.unenrol_unknown:
            ways.append(unenrol(self.provider_id, older=True))
        requests = memory.without_attempted(ways)
        if requests:
            note_told(connection, device, now)
        return requests

    def _version_queries(self, device: Any, now: datetime) -> tuple[Request, ...]:
        """What to ask a device that tells no errors, if it could (MS-MDM 3.2.5.1.3)."""
        if self.provider_id is None or tells_errors(device.sync_version):
            return ()
        if device.sync_version_at is not None and now - device.sync_version_at < _VERSION_EVERY:
            return ()
        return version_queries(self.provider_id)

    def _channel_requests(self, connection: Connection, device: Any, now: datetime) -> tuple[Request, ...]:
        return () if self.channel is None else self.channel.requests(connection, device, now)

    def _raised_version(self, memory: Memory) -> tuple[Request, ...]:
        if self.provider_id is None:
            return ()
        request = raise_request(self.provider_id, memory.version, memory.newest_version)
        return () if request is None else (request,)

    def _planned(
        self, connection: Connection, device: Any, memory: Memory, now: datetime, *, news: bool
    ) -> tuple[Request, ...]:
        """The plan, made anew only if something it is made from has changed since one that left nothing to say."""
        standing, rollbacks = standing_of(connection, device.pk), rollback_wishes(connection, device.pk, now)
        key = standing.key + rollbacks.key
        settled = device.plan_key == key and (device.plan_until is None or now < device.plan_until)
        if settled and not news:
            return rollbacks.requests
        requests, until = self._plan(
            connection, device, memory, now, standing=standing, pauses=rollbacks.overlay
        )
        if not requests and not memory.confirm:
            connection.execute(_SETTLE, {"of_pk": device.pk, "key": key, "until": until})
        return (*requests, *rollbacks.requests)

    def _plan(
        self,
        connection: Connection,
        device: Any,
        memory: Memory,
        now: datetime,
        *,
        standing: Standing,
        pauses: Overlay,
    ) -> tuple[tuple[Request, ...], datetime | None]:
        """The difference between what IT wants and what the device has, and when time alone changes it."""
        rows = connection.execute(_LISTED, {"device_pk": device.pk}).all()
        installable = frozenset([update_id for update_id, lists, _ in rows if lists & _INSTALLABLE])
        approved = frozenset([update_id for update_id, lists, _ in rows if lists & _APPROVED])
        delivered = {
            update_id
            for update_id, lists, delivered_at in rows
            # what it has installed meanwhile is left alone
            if delivered_at is not None and not lists & ~(_INSTALLABLE | _APPROVED)
        } & approved.difference(memory.confirm)
        offered = installable - approved
        about = circumstances(connection, standing, now, offered | delivered, approved)
        decision = decide(about.intents, about.facts, about.classes, now=now, offered=offered)
        moments = [about.changes_at(now)]
        if (decision.updates & offered) or (decision.classifications - approved):
            window = window_state(connection, device.pk, now, device.last_checkin_at)
            if window.closed:
                decision = decide(
                    about.intents, about.facts, about.classes, now=now, offered=offered, window_closed=True
                )
            moments.append(window.changes_at)
        managed = has_approvals(connection, standing, now) if self.manage_policy else None
        schedule = schedule_policies(connection, device.pk, now)
        policies = desired_policies(
            connection,
            device.pk,
            now,
            approvals=managed,
            above=pauses.values,
            below=schedule.values,
        )
        moments += (schedule.until, pauses.until, policies.until)
        requests = plan(
            Desired(
                updates=decision.updates,
                classifications=decision.classifications,
                policies={name: wanted.value for name, wanted in policies.values.items()},
                unset=policies.remove,
            ),
            Reported(
                installable=installable,
                approved=approved,
                policies=policies.reported,
                unsupported=policies.unsupported,
            ),
        )
        note_sent(connection, device.pk, memory.without_attempted(requests), policies.values, now)
        requests = (
            *requests,
            *withdrawals(connection, device, delivered, about, now),
        )
        return requests, min((each for each in moments if each is not None), default=None)


def _identity_queries(device: Any, now: datetime) -> tuple[Request, ...]:
    """What to ask a device that is not known, or whose Windows or name may have changed since."""
    return identity_queries() if _due(device.identity_read_at, _IDENTITY_EVERY, device, now) else ()


def _due(read_at: datetime | None, every: timedelta, device: Any, now: datetime) -> bool:
    """Whether to ask for what is asked once in a while: its time is over, or somebody has wanted a sync since."""
    if read_at is None or now - read_at >= every:
        return True
    return device.sync_requested_at is not None and device.sync_requested_at > read_at
