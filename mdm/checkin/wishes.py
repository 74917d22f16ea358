"""What the bridge has to say to a device at this point of a session: what it asks first, and then the plan.

Asked is what the device alone knows: its update lists each session, the long and slow things once a day. The plan
is the difference between what IT wants, as intent and catalogue say at this moment, and what the device has.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from csp.plan import Desired, Reported, plan
from csp.queries import confirm_installed, identity_queries, state_queries
from csp.snapshot import UpdateList
from csp.sync_version import queries as version_queries
from csp.sync_version import raise_request, tells_errors
from mdm.approvals.decision import CLASSIFICATION, decide
from mdm.approvals.effective import (
    facts_needed,
    has_approvals,
    intents_for_device,
    open_eula_classifications,
    update_facts,
)
from mdm.storage.statements import table_of
from mdm.storage.tables import DevicePolicy, DeviceUpdate

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.checkin.memory import Memory
    from syncml.exchange import Request

__all__ = ["Wishes"]

_REQUIRE_UPDATE_APPROVAL: Final = "RequireUpdateApproval"
"""Without this policy the approval list has no effect: Windows installs whatever applies (update-csp)."""

_INSTALLED_EVERY: Final = timedelta(hours=24)
"""InstalledUpdates is long and changes slowly: read at most once in this time."""

_POLICY_EVERY: Final = timedelta(hours=24)
"""A policy the device accepted is written again after this time, in case somebody changed it there."""

_VERSION_EVERY: Final = timedelta(hours=24)
"""A device that does not tell errors is asked at most so often whether it could: Windows is upgraded at times."""

_IDENTITY_EVERY: Final = timedelta(hours=24)
"""Build and edition of the device's Windows are asked for at most once in this time."""

_INSTALLABLE: Final = int(UpdateList.INSTALLABLE)
_APPROVED: Final = int(UpdateList.APPROVED)

_rows = table_of(DeviceUpdate)
_policy = table_of(DevicePolicy)


@dataclass(frozen=True, slots=True)
class Wishes:
    """Works out what to say; the same for all devices and in all processes."""

    manage_policy: bool
    """Write RequireUpdateApproval=1 to devices that have approvals."""
    provider_id: str | None
    """Our name in the device's DMClient/Provider; None: the version of its sessions is left alone."""

    def next_requests(
        self, connection: Connection, device: Any, memory: Memory, now: datetime
    ) -> tuple[Request, ...]:
        """What to say now: the queries that are still due, else the plan; never the same thing twice a session.

        `device` is its row as it was before this message.
        """
        installed = device.installed_read_at is None or now - device.installed_read_at >= _INSTALLED_EVERY
        if not memory.queries_done:
            queries = memory.without_attempted(
                (
                    *state_queries(installed=installed),
                    *_identity_queries(device, now),
                    *self._version_queries(device, now),
                )
            )
            if queries:
                return queries
            memory.queries_done = True
        wanted = (*self._raised_version(memory), *self._plan(connection, device.pk, now))
        confirmations = tuple(confirm_installed(update_id) for update_id in memory.confirm)
        return memory.without_attempted((*wanted, *confirmations))

    def _version_queries(self, device: Any, now: datetime) -> tuple[Request, ...]:
        """What to ask a device that tells no errors, if it could (MS-MDM 3.2.5.1.3)."""
        if self.provider_id is None or tells_errors(device.sync_version):
            return ()
        if device.sync_version_at is not None and now - device.sync_version_at < _VERSION_EVERY:
            return ()
        return version_queries(self.provider_id)

    def _raised_version(self, memory: Memory) -> tuple[Request, ...]:
        if self.provider_id is None:
            return ()
        request = raise_request(self.provider_id, memory.version, memory.newest_version)
        return () if request is None else (request,)

    def _plan(self, connection: Connection, device_pk: int, now: datetime) -> tuple[Request, ...]:
        """The difference between what IT wants and what the device has."""
        rows = connection.execute(
            select(_rows.c.update_id, _rows.c.lists).where(
                _rows.c.device_pk == device_pk,
                _rows.c.lists.bitwise_and(_INSTALLABLE | _APPROVED) != 0,
            )
        ).all()
        installable = frozenset(row.update_id for row in rows if row.lists & _INSTALLABLE)
        approved = frozenset(row.update_id for row in rows if row.lists & _APPROVED)
        offered = installable - approved
        intents = intents_for_device(connection, device_pk, now, offered)
        classes = {intent.target_id for intent in intents if intent.target_type == CLASSIFICATION}
        decision = decide(
            intents,
            update_facts(connection, facts_needed(intents, offered)),
            open_eula_classifications(connection, classes - approved),
            now=now,
            offered=offered,
        )
        policies: dict[str, str] = {}
        if self.manage_policy and has_approvals(connection, device_pk, now):
            policies[_REQUIRE_UPDATE_APPROVAL] = "1"
        known = connection.execute(select(_policy).where(_policy.c.device_pk == device_pk)).all()
        return plan(
            Desired(updates=decision.updates, classifications=decision.classifications, policies=policies),
            Reported(
                installable=installable,
                approved=approved,
                policies={
                    row.name: row.value
                    for row in known
                    if row.status == "set" and now - row.at < _POLICY_EVERY
                },
                unsupported=frozenset(row.name for row in known if row.status == "unsupported"),
            ),
        )


def _identity_queries(device: Any, now: datetime) -> tuple[Request, ...]:
    """What to ask a device whose Windows is not known, or may have been upgraded since."""
    if device.identity_read_at is not None and now - device.identity_read_at < _IDENTITY_EVERY:
        return ()
    return identity_queries()
