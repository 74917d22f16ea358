"""A rollback in the sessions of one device: what to say to it, and what its answers come to.

The order is that of the Update CSP: the pause policy first, and the status of the last rollback for comparison; the
command once the device has confirmed the pause; the status and the build in each session after it. What was told is
written down in the transaction of the reply that tells it, so that no command goes out twice, whatever breaks off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, select, update

from csp.hresult import explain, format_hresult
from csp.queries import identity_queries
from csp.rollback import (
    RollbackKind,
    action_kind,
    failure_in,
    rollback_action,
    rollback_status,
    status_kind,
)
from csp.status import Outcome, outcome
from mdm.devices.os_build import OsBuild
from mdm.devices.timeline import Event, record_events
from mdm.rollbacks.conditions import is_of_kind, is_paused, read_facts, refusal
from mdm.rollbacks.policies import pauses, rollbacks_of
from mdm.rollbacks.states import (
    EXECUTED,
    FAILED,
    PAUSING,
    REFUSED,
    ROLLED_BACK,
    SENT,
    UNDER_WAY,
    WAITING,
)
from mdm.storage.statements import table_of
from mdm.storage.tables import Device, DeviceEvent, RollbackDevice, UpdateRevision
from mdm.windows.policies import NOTHING, Overlay
from syncml.status import StatusCode, is_success

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy import Connection

    from syncml.exchange import Answer, Request

__all__ = [
    "ROLLBACK",
    "RollbackWishes",
    "forget_unlooked",
    "note_sent",
    "record_rollbacks",
    "rollback_wishes",
]

ROLLBACK: Final = "rollback"
"""A step of a rollback on the timeline: `rollback` (its id), `kind`, `state` and `sentence`."""

_MAX_SENDS: Final = 3
"""How often a command goes out to a device that says each time that it did not look at it."""

_TEXT: Final = 256
"""Characters kept of what a device says."""

# The device's own word that the command was not carried out, and that nothing but the moment was wrong.
_NOT_LOOKED_AT: Final = frozenset(
    {
        StatusCode.NOT_EXECUTED,
        StatusCode.ATOMIC_ROLLED_BACK,
        StatusCode.INVALID_CREDENTIALS,
        StatusCode.MISSING_CREDENTIALS,
        StatusCode.OPERATION_CANCELLED,
        StatusCode.RETRY_LATER,
    }
)

_VERSION: Final = identity_queries()[0]
_LOST_BY: Final = frozenset({"installable", "failed"})
"""States that an installed update has only after it was taken back."""

_rows: Final = table_of(RollbackDevice)
_device: Final = table_of(Device)
_events: Final = table_of(DeviceEvent)
_revision: Final = table_of(UpdateRevision)

_CLAIM: Final = (
    select(_rows.c.state)
    .where(_rows.c.job_id == bindparam("job_id"), _rows.c.device_pk == bindparam("device_pk"))
    .with_for_update()
)


@dataclass(frozen=True, slots=True)
class RollbackWishes:
    """What a device's rollbacks want of this message."""

    requests: tuple[Request, ...] = ()
    """To be sent whatever else has changed or not, those among them that this session has sent already left out."""
    overlay: Overlay = NOTHING
    """The pauses that must hold whatever profiles say."""

    @property
    def key(self) -> str:
        """Changes with the policies; a plan that leaves nothing to say is kept together with it."""
        return "".join(f"+{value.source}" for _, value in sorted(self.overlay.values.items()))


def rollback_wishes(connection: Connection, device_pk: int, now: datetime) -> RollbackWishes:
    """What to say to the device, and which policies it must have; one indexed read for a device without rollbacks.

    The outcome of what it has told is worked out and written down on the way: a device that proves to have rolled
    back, or that cannot, is done with.
    """
    at = _At(connection, device_pk, now)
    requests: list[Request] = []
    states = [
        (row, _go_on(at, row, requests) if row.state in UNDER_WAY and now < row.ends_at else row.state)
        for row in at.rows()
    ]
    # Rollbacks of both kinds ask for the build.
    return RollbackWishes(tuple(dict.fromkeys(requests)), pauses(states, now))


def note_sent(connection: Connection, device_pk: int, requests: Iterable[Request], now: datetime) -> None:
    """Write down that commands among these go out with the reply of this transaction."""
    at = _At(connection, device_pk, now)
    for kind in _kinds(requests):
        for row in at.rows(kind, WAITING):
            at.move(
                row,
                SENT,
                "The device was told to roll back.",
                sends=row.sends + 1,
                sent_at=now,
                version_before=at.version(),
            )


def forget_unlooked(connection: Connection, device_pk: int, answers: Iterable[Answer], now: datetime) -> None:
    """Take back that commands went out whose message the device refused: it wants our credentials first."""
    unlooked = [
        answer.request for answer in answers if answer.status is None or answer.status in _NOT_LOOKED_AT
    ]
    at = _At(connection, device_pk, now)
    for kind in _kinds(unlooked):
        for row in at.rows(kind, SENT):
            at.back(row, sends=row.sends - 1)


def record_rollbacks(
    connection: Connection, device_pk: int, answers: Iterable[Answer], now: datetime
) -> bool:
    """Keep what the device answered to rollback commands and questions; returns whether it answered any."""
    at = _At(connection, device_pk, now)
    found = False
    for answer in answers:
        if answer.status is None:
            continue  # it may or may not have been carried out: the status will tell
        told, asked = action_kind(answer.request), status_kind(answer.request)
        found |= told is not None or asked is not None
        if told is not None:
            for row in at.rows(told, SENT):
                _take_answer(at, row, answer)
        elif asked is not None:
            for row in at.rows(asked, *PAUSING):
                _take_status(at, row, answer)
    return found


def _kinds(requests: Iterable[Request]) -> list[RollbackKind]:
    """What the commands among the requests roll back."""
    kinds = (action_kind(request) for request in requests)
    return [kind for kind in kinds if kind is not None]


@dataclass(frozen=True, slots=True)
class _At:
    """A device in the transaction of one message."""

    connection: Connection
    device_pk: int
    now: datetime

    def rows(self, kind: RollbackKind | None = None, *states: str) -> list[Any]:
        """Its rollbacks with their jobs: all that have something to say, or those of a kind that are under way."""
        return [
            row
            for row in rollbacks_of(self.connection, self.device_pk, self.now)
            if kind is None or (row.kind == kind and row.state in states and self.now < row.ends_at)
        ]

    def version(self) -> str | None:
        """The build of its Windows."""
        version: str | None = self.connection.scalar(
            select(_device.c.os_version).where(_device.c.pk == self.device_pk)
        )
        return version

    def is_still(self, row: Any, state: str) -> bool:
        """Hold the row, so that nobody cancels what is about to be told; False if somebody has."""
        key = {"job_id": row.job_id, "device_pk": self.device_pk}
        return bool(self.connection.execute(_CLAIM, key).scalar_one() == state)

    def move(self, row: Any, state: str, sentence: str, **values: Any) -> None:
        """Bring it into another state, and tell that on its timeline."""
        if not self.change(row, state=state, since=self.now, detail=sentence, **values):
            return
        detail = {"rollback": row.job_id, "kind": row.kind, "state": state, "sentence": sentence}
        record_events(self.connection, self.device_pk, [Event(ROLLBACK, detail)], self.now)

    def back(self, row: Any, **values: Any) -> None:
        """It has not looked at the command: it is to be told again."""
        sentence = "The device did not look at the command; it is told again."
        self.move(row, WAITING, sentence, sent_at=None, **values)

    def change(self, row: Any, **values: Any) -> bool:
        """Write down what else is known; False if the row has another state by now, because somebody cancelled it."""
        changed = self.connection.execute(
            update(_rows)
            .where(
                _rows.c.job_id == row.job_id,
                _rows.c.device_pk == self.device_pk,
                _rows.c.state == row.state,
            )
            .values(**values)
        )
        return changed.rowcount == 1


# --- what to say ----------------------------------------------------------------------------------------


def _go_on(at: _At, row: Any, requests: list[Request]) -> str:
    """Take the next step with a device; returns its state then."""
    kind = RollbackKind(row.kind)
    if row.state != WAITING:
        proof = _proof(at, row, kind)
        if proof is not None:
            at.move(row, *proof)
            if row.status_at is None:
                requests.append(rollback_status(kind))  # for the record
            return proof[0]
        requests += [rollback_status(kind), _VERSION]
        return str(row.state)
    facts = read_facts(at.connection, kind, [at.device_pk])[at.device_pk]
    reason = refusal(kind, facts, at.now)
    if reason is not None:
        at.move(row, REFUSED, reason)
        return REFUSED
    paused = is_paused(kind, facts, at.now)
    if row.status_before is None:
        requests.append(rollback_status(kind))
    elif paused and row.released_at is None and at.is_still(row, WAITING):
        requests.append(rollback_action(kind))
    detail = (
        "The device has confirmed the pause and is about to be told."
        if paused
        else f"Waits until the device confirms the pause of {kind} updates."
    )
    if detail != row.detail:
        at.change(row, detail=detail)
    return WAITING


def _proof(at: _At, row: Any, kind: RollbackKind) -> tuple[str, str] | None:
    """The state that what the device has told since the command proves, with its sentence."""
    version = at.version()
    before, after = OsBuild.read(row.version_before or ""), OsBuild.read(version or "")
    if before is not None and after is not None and after.order < before.order:
        return ROLLED_BACK, f"Rolled back: its build went from {row.version_before} to {version}."
    taken_back = _taken_back(at, kind, row.sent_at)
    if taken_back is not None:
        return ROLLED_BACK, f"Rolled back: {taken_back} is no longer installed."
    if row.status_text is None or row.status_text == row.status_before:
        return None
    failure = failure_in(row.status_text)
    if failure is None:
        return None
    meaning = explain(format_hresult(failure)) or "What that means is not known here."
    return FAILED, f"The device did not roll back and says {row.status_text!r}. {meaning}"


def _taken_back(at: _At, kind: RollbackKind, since: datetime) -> str | None:
    """An update of the kind that was installed when the device was told, and is not any more."""
    details = at.connection.scalars(
        select(_events.c.detail).where(
            _events.c.device_pk == at.device_pk, _events.c.kind == "update_state", _events.c.at >= since
        )
    )
    ids = {each["update_id"] for each in details if each["from"] == "installed" and each["to"] in _LOST_BY}
    if not ids:
        return None
    latest = select(_revision.c.update_id, _revision.c.title).where(
        _revision.c.update_id.in_(ids), _revision.c.is_latest
    )
    known = {row.update_id for row in at.connection.execute(latest)}
    of_kind = latest.where(is_of_kind(kind, _revision.c.classification_id)).order_by(_revision.c.title)
    titles = [repr(row.title) for row in at.connection.execute(of_kind)]
    # Of what the catalogue does not know nobody can say of which kind it is; it was the device that gave it up.
    titles += [f"update {update_id}" for update_id in sorted(ids - known)]
    return titles[0] if titles else None


# --- what it answered -----------------------------------------------------------------------------------


def _take_answer(at: _At, row: Any, answer: Answer) -> None:
    result, status = outcome(answer.request, answer.status), answer.status
    told = {"status_code": status, "error": _clip(answer.original_error)}
    if result in {Outcome.DONE, Outcome.ALREADY_DONE}:
        sentence = "The device took the command; what came of it is asked in its next sessions."
        at.move(row, EXECUTED, sentence, **told)
    elif status in _NOT_LOOKED_AT and row.sends < _MAX_SENDS:
        at.back(row, **told)
    elif result is Outcome.UNSUPPORTED:
        at.move(row, FAILED, _unsupported(row, status), **told)
    elif result is not Outcome.UNKNOWN:
        meaning = explain(answer.original_error)
        sentence = f"The device declined to roll back (status {status})."
        at.move(row, FAILED, sentence if meaning is None else f"{sentence} {meaning}", **told)


def _take_status(at: _At, row: Any, answer: Answer) -> None:
    status = answer.status or 0
    text = "".join((item.data or "").strip() for item in answer.items) if is_success(status) else ""
    if row.state != WAITING:
        if is_success(status):
            at.change(row, status_text=_clip(text), status_at=at.now)
    elif outcome(answer.request, status) is Outcome.UNSUPPORTED:
        at.move(row, REFUSED, _unsupported(row, status), status_code=status)
    elif status not in _NOT_LOOKED_AT:
        at.change(row, status_before=_clip(text))


def _unsupported(row: Any, status: int | None) -> str:
    return f"This Windows cannot roll back {row.kind} updates (status {status})."


def _clip(text: str | None) -> str | None:
    return None if text is None else text[:_TEXT]
