"""Approvals that IT has taken back and a device still holds: a Delete is tried, and each build's answer remembered.

No document says that a device can forget an approval. So only what we delivered ourselves is taken back, once nothing
approves it any more or a block forbids it, and a build that has refused is asked again only after a month.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, select, update

from csp.snapshot import UpdateList
from csp.status import Outcome
from csp.withdrawal import answers_to_withdrawals, withdraw
from mdm.approvals.decision import CLASSIFICATION
from mdm.devices.timeline import Event, record_events
from mdm.storage.statements import table_of, upsert
from mdm.storage.tables import DeviceUpdate, WithdrawalAnswer

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.approvals.effective import Circumstances
    from syncml.exchange import Answer, Request

__all__ = ["record_withdrawals", "withdrawals"]

_TRY_AGAIN: Final = timedelta(days=30)
"""A build that refused is asked again after this time: updates of Windows mend things without another number here."""

_SETTLED: Final = frozenset({Outcome.DONE, Outcome.ALREADY_DONE})
_PASSING: Final = frozenset({Outcome.RETRY, Outcome.UNKNOWN})

_APPROVED: Final = int(UpdateList.APPROVED)

_rows = table_of(DeviceUpdate)
_answer = table_of(WithdrawalAnswer)

_REFUSED: Final = select(_answer.c.build).where(
    _answer.c.build == bindparam("build"),
    _answer.c.supported.is_(False),
    _answer.c.at > bindparam("since", type_=_answer.c.at.type),
)


def withdrawals(
    connection: Connection, device: Any, delivered: Collection[str], about: Circumstances, now: datetime
) -> tuple[Request, ...]:
    """The Deletes for what the device holds through us (`delivered`) and should hold no longer.

    `about` must have been asked about `delivered`, too. What merely has to wait now stays where it is.
    """
    unwanted = sorted(guid for guid in delivered if not _stands(guid, about))
    if not unwanted:
        return ()
    build = device.os_version or ""
    if connection.execute(_REFUSED, {"build": build, "since": now - _TRY_AGAIN}).first() is not None:
        return ()
    return tuple(withdraw(guid) for guid in unwanted)


def _stands(guid: str, about: Circumstances) -> bool:
    """True if something approves what stands on the device, and nothing blocks it."""
    known = about.facts.get(guid)
    speaking = [
        intent
        for intent in about.intents
        # a GUID of a classification is approved by itself only; expanded, it has no business on the device
        if intent.covers(guid, known)
        or (intent.target_type == CLASSIFICATION and intent.target_id == guid and not intent.expands)
    ]
    return any(not intent.blocks for intent in speaking) and not any(intent.blocks for intent in speaking)


def record_withdrawals(connection: Connection, device: Any, answers: Iterable[Answer], now: datetime) -> int:
    """Keep what the device said to Deletes on ApprovedUpdates; returns how many it answered.

    One it took is out of the device's approved list at once; the next read of the list tells whether that is true.
    """
    events: list[Event] = []
    for guid, answer, result in answers_to_withdrawals(answers):
        gone = result in _SETTLED
        detail = {"id": guid, "status": answer.status, "error": answer.original_error}
        events.append(Event("approval_withdrawn" if gone else "withdrawal_refused", detail))
        if gone:
            connection.execute(
                update(_rows)
                .where(_rows.c.device_pk == device.pk, _rows.c.update_id == guid)
                .values(delivered_at=None, lists=_rows.c.lists.bitwise_and(~_APPROVED))
            )
        if result not in _PASSING:
            statement = upsert(_answer, connection, update=("supported", "status", "error", "at"))
            connection.execute(
                statement,
                {
                    "build": device.os_version or "",
                    "supported": gone,
                    "status": answer.status,
                    "error": answer.original_error,
                    "at": now,
                },
            )
    record_events(connection, device.pk, events, now)
    return len(events)
