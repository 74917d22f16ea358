"""Why an update is not installed on a device: one stable code and one sentence, the first of a fixed order.

The table is the whole truth of the order: what the device says comes before what IT has decided, and that in the order of
`mdm.approvals.decision.Hold`. The codes are promised to integrators; the sentences are for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mdm.approvals.decision import Hold
from mdm.devices import reason_words as words

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mdm.devices.case import Case

__all__ = ["REASONS", "Explanation", "Reason", "explain"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why an update stands where it does on a device."""

    code: str
    text: str
    advice: str | None
    """What to do about a failure, where we know."""
    until: datetime | None
    """When this ends by itself, if that is known."""


def _never(_case: Case) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Reason:
    """One row of the table."""

    code: str
    applies: Callable[[Case], bool]
    """Asked only if no row above applies."""
    text: Callable[[Case], str]
    until: Callable[[Case], datetime | None] = _never


def explain(case: Case) -> Explanation:
    """Return the first reason that applies; one always does."""
    reason = next(each for each in REASONS if each.applies(case))
    return Explanation(reason.code, reason.text(case), words.advice(case), reason.until(case))


def _is(state: str) -> Callable[[Case], bool]:
    return lambda case: case.state == state


def _offers(case: Case) -> bool:
    return case.state is not None


def _unknown(case: Case) -> bool:
    return case.known is None and case.report is None and not case.spoken_of


def _held(hold: Hold) -> Callable[[Case], bool]:
    return lambda case: case.hold is hold


def _unsupported(case: Case) -> bool:
    return case.refused and all(case.refusals[target].unsupported for target in case.going)


REASONS: Final[tuple[Reason, ...]] = (
    Reason("installed", _is("installed"), words.installed),
    Reason("pending_reboot", _is("pending_reboot"), words.pending_reboot),
    Reason("unenrolled", lambda case: case.heard.unenrolled_at is not None, words.unenrolled),
    Reason("retiring", lambda case: case.heard.retire_requested_at is not None, words.retiring),
    Reason("certificate_ended", lambda case: case.shut_out is not None, words.certificate_ended),
    # Of an update that the device does not speak of
    Reason("unknown_update", _unknown, words.unknown_update),
    Reason(
        "never_reported", lambda case: not _offers(case) and words.has_not_told(case), words.never_reported
    ),
    Reason("superseded", lambda case: not _offers(case) and bool(case.newer), words.superseded),
    Reason(
        Hold.EXPIRED.value,
        lambda case: not _offers(case) and case.known is not None and case.known.expired,
        words.withdrawn,
    ),
    Reason("not_applicable", lambda case: not _offers(case), words.not_applicable),
    # Of one that it could install
    Reason(Hold.BLOCKED.value, lambda case: bool(case.blocks), words.blocked, words.block_ends),
    Reason("install_failed", _is("failed"), words.install_failed),
    Reason("delivered", lambda case: case.delivered, words.delivered),
    Reason("not_approved", lambda case: not case.approvals, words.not_approved),
    Reason("unsupported_on_build", _unsupported, words.unsupported_on_build),
    Reason("refused_by_device", lambda case: case.refused, words.refused_by_device),
    Reason("awaiting_checkin", lambda case: bool(case.going), words.awaiting_checkin),
    Reason(Hold.BLOCK_INSIDE.value, _held(Hold.BLOCK_INSIDE), words.block_inside),
    Reason(Hold.NOT_BEFORE.value, _held(Hold.NOT_BEFORE), words.not_before, words.begins),
    Reason(Hold.ROLLOUT_TURN.value, _held(Hold.ROLLOUT_TURN), words.rollout_turn),
    Reason(Hold.ROLLOUT_GATE.value, _held(Hold.ROLLOUT_GATE), words.rollout_gate),
    Reason(Hold.ROLLOUT_PAUSED.value, _held(Hold.ROLLOUT_PAUSED), words.rollout_paused),
    Reason(Hold.ROLLOUT_HALTED.value, _held(Hold.ROLLOUT_HALTED), words.rollout_halted),
    Reason(
        "metadata_not_offered",
        lambda case: case.hold is Hold.METADATA_UNKNOWN and case.not_offered,
        words.metadata_not_offered,
    ),
    Reason(Hold.METADATA_UNKNOWN.value, _held(Hold.METADATA_UNKNOWN), words.metadata_unknown),
    Reason(Hold.EXPIRED.value, _held(Hold.EXPIRED), words.expired),
    Reason(Hold.SUPERSEDED.value, _held(Hold.SUPERSEDED), words.held_as_superseded),
    Reason(Hold.EULA_NOT_ACCEPTED.value, _held(Hold.EULA_NOT_ACCEPTED), words.eula),
    Reason(Hold.WINDOW.value, _held(Hold.WINDOW), words.window, lambda case: case.window_opens),
)
"""Each hold has its row, but for BLOCKED: what is held as blocked has a block, and that row comes first."""
