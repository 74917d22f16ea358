"""What a check-in writes down of a device's policies: what it is told, what it answers, what it shows to be in effect."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, delete, select, update

from csp.policy import POLICIES, policy_uri
from csp.policy_results import policy_answers
from csp.queries import policy_queries
from csp.status import Outcome
from mdm.devices.timeline import Event, record_events
from mdm.policies.effective import known_policies
from mdm.policies.known import SENT, SET, Known, after, next_read
from mdm.storage.statements import table_of, upsert
from mdm.storage.tables import Device, DevicePolicy, PolicySupport

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from sqlalchemy import Connection

    from csp.policy_results import PolicyAnswer
    from mdm.policies.merge import Wanted
    from syncml.exchange import Answer, Request

__all__ = ["DRIFT", "due_queries", "note_sent", "record_policies"]

DRIFT: Final = "policy_drift"
"""A policy shows another value than the one the device took: `name`, `set` and `shown`."""

_device = table_of(Device)
_policy = table_of(DevicePolicy)
_support = table_of(PolicySupport)

_NAMES: Final = select(_policy.c.name).where(
    _policy.c.device_pk == bindparam("device_pk"), _policy.c.status == SET
)
_BY_ADDRESS: Final = {policy_uri(name): name for name in POLICIES}
_COLUMNS: Final = tuple(column.name for column in _policy.c if column.name not in {"device_pk", "name"})
_DONE: Final = frozenset({Outcome.DONE, Outcome.ALREADY_DONE})


def due_queries(connection: Connection, device: Any, now: datetime) -> tuple[Request, ...]:
    """What to ask a device so that the policies we set are read back; `device` is its row.

    It costs a read only when something is due: in the session after a policy was written, and daily.
    """
    if device.policies_due_at is None or now < device.policies_due_at:
        return ()
    names = connection.scalars(_NAMES, {"device_pk": device.pk})
    return policy_queries(name for name in names if name in POLICIES)


def note_sent(
    connection: Connection,
    device_pk: int,
    requests: Iterable[Request],
    values: Mapping[str, Wanted],
    now: datetime,
) -> None:
    """Keep that the Replaces among these requests go out, so that what a lost answer leaves behind is known as ours."""
    names = [_BY_ADDRESS.get(request.loc_uri) for request in requests if request.verb == "Replace"]
    rows = [
        {"device_pk": device_pk, "name": name, "status": SENT, "source": values[name].source, "at": now}
        for name in names
        if name is not None and name in values
    ]
    if rows:
        connection.execute(upsert(_policy, connection, update=("status", "source")), rows)


def record_policies(connection: Connection, device_pk: int, answers: Iterable[Answer], now: datetime) -> bool:
    """Keep what the device answered about policies; returns whether it must be planned for anew.

    That is the case if anything changed but the time at which a value was read. A value that begins to differ from
    the one the device took is told on its timeline.
    """
    found = policy_answers(answers)
    if not found:
        return False
    before, _ = known_policies(connection, device_pk)
    device = connection.execute(
        select(_device.c.os_version, _device.c.os_edition).where(_device.c.pk == device_pk)
    ).one()
    known: dict[str, Known | None] = dict(before)
    for answer in found:
        known[answer.name] = after(known.get(answer.name), answer, device.os_version, now)
    _write(connection, device_pk, before, known)
    if device.os_version is not None:
        _learn(connection, device.os_version, device.os_edition or "", found, now)
    events = [
        Event(DRIFT, {"name": name, "set": each.value, "shown": each.read_value})
        for name, each in known.items()
        if each is not None and each.drifted_at is not None and _drifted_at(before.get(name)) is None
    ]
    record_events(connection, device_pk, events, now)
    changed = any(_said(each) != _said(before.get(name)) for name, each in known.items())
    reads = [next_read(each) for each in known.values() if each is not None]
    values: dict[str, Any] = {"policies_due_at": min((due for due in reads if due is not None), default=None)}
    if changed:
        values["plan_key"] = None
    connection.execute(update(_device).where(_device.c.pk == device_pk).values(**values))
    return changed


def _write(
    connection: Connection, device_pk: int, before: Mapping[str, Known], known: Mapping[str, Known | None]
) -> None:
    rows = [
        {**asdict(each), "device_pk": device_pk}
        for name, each in sorted(known.items())
        if each is not None and each != before.get(name)
    ]
    if rows:
        connection.execute(upsert(_policy, connection, update=_COLUMNS), rows)
    gone = [name for name, each in known.items() if each is None and name in before]
    if gone:
        connection.execute(delete(_policy).where(_policy.c.device_pk == device_pk, _policy.c.name.in_(gone)))


def _learn(
    connection: Connection, build: str, edition: str, answers: Iterable[PolicyAnswer], now: datetime
) -> None:
    """Remember for all devices of this build what it has and has not.

    One that has taken a policy outweighs any that have not: a device may lack one for reasons of its own.
    """
    said = {
        answer.name: answer.outcome in _DONE
        for answer in answers
        if answer.verb == "Replace" and (answer.outcome in _DONE or answer.outcome is Outcome.UNSUPPORTED)
    }
    if not said:
        return
    key = (_support.c.build == build, _support.c.edition == edition)
    stored = connection.execute(
        select(_support.c.name, _support.c.supported).where(*key, _support.c.name.in_(said))
    )
    has = {row.name for row in stored if row.supported}
    # In one order everywhere, so that two devices of a build never wait for each other in a circle.
    rows = [
        {"build": build, "edition": edition, "name": name, "supported": supported, "at": now}
        for name, supported in sorted(said.items())
        if name not in has
    ]
    if rows:
        connection.execute(upsert(_support, connection, update=("supported", "at")), rows)


def _drifted_at(known: Known | None) -> datetime | None:
    return None if known is None else known.drifted_at


def _said(known: Known | None) -> tuple[Any, ...] | None:
    """What a plan is made from."""
    if known is None:
        return None
    return known.status, known.value, known.at, known.drifted_at, known.repairs, known.confirmed
