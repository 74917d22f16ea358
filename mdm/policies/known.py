"""What is known of one policy on one device, and what each answer changes in it: pure.

    status       the device's last word
    ------       --------------
    sent         none: it was told, and may or may not have heard it
    set          it took the value
    failed       it declined, or something went wrong; it is told again in its next session
    unsupported  its Windows has no such policy (404, 405, 406)

What was sent counts as ours from that moment on, whatever was answered, unless the device has no such policy: so
nothing of ours is forgotten on a device whose answer was lost, and only a confirmed Delete ends it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from csp.policy import same_value
from csp.status import Outcome

if TYPE_CHECKING:
    from datetime import datetime

    from csp.policy_results import PolicyAnswer

__all__ = ["FAILED", "READ_EVERY", "REMEMBERED", "SENT", "SET", "UNSUPPORTED", "Known", "after", "next_read"]

SENT: Final = "sent"
SET: Final = "set"
FAILED: Final = "failed"
UNSUPPORTED: Final = "unsupported"

READ_EVERY: Final = timedelta(hours=24)
"""A value is read back at most once in this time, and written again at most so often if that does not help."""

REMEMBERED: Final = timedelta(days=30)
"""A policy that a build of Windows does not have is tried on it again after this time."""

_TEXT: Final = 600
"""Characters kept of a value a device shows: more than any value that can be set."""
_ERROR: Final = 256
_DONE: Final = frozenset({Outcome.DONE, Outcome.ALREADY_DONE})


@dataclass(frozen=True, slots=True)
class Known:
    """One row of `device_policy`."""

    name: str
    status: str
    at: datetime
    value: str | None = None
    status_code: int | None = None
    error: str | None = None
    source: str | None = None
    build: str | None = None
    read_value: str | None = None
    read_status: int | None = None
    read_at: datetime | None = None
    drifted_at: datetime | None = None
    repairs: int = 0

    @property
    def ours(self) -> bool:
        """True if something of ours may stand on the device."""
        return self.status != UNSUPPORTED or self.value is not None

    @property
    def confirmed(self) -> bool:
        """True if the device has shown the value it took, since it took it."""
        return self.status == SET and self._is_read and self.drifted_at is None

    @property
    def _is_read(self) -> bool:
        readable = self.read_value is not None or self.read_status == _NOT_FOUND
        return readable and self.read_at is not None and self.read_at >= self.at

    def lacks(self, build: str | None, now: datetime) -> datetime | None:
        """Until when the device is not told again, because this build of its Windows has no such policy."""
        until = self.at + REMEMBERED
        return until if self.status == UNSUPPORTED and self.build == build and now < until else None

    def stands(self, now: datetime, *, repair: bool) -> tuple[bool, datetime | None]:
        """Whether the value it took need not be written again now, and when time alone changes that.

        What is read back is written again only if it shows another value and that is to be repaired: at once, and
        then daily. What is not read back is written again daily, in case somebody changed it.
        """
        if self.status != SET:
            return False, None
        again = self.at + READ_EVERY
        if self.drifted_at is not None:
            if not repair:
                return True, None
            return (False, None) if self.repairs == 0 or now >= again else (True, again)
        if self.confirmed:
            return True, None
        return (True, again) if now < again else (False, None)


_NOT_FOUND: Final = 404


def next_read(known: Known) -> datetime | None:
    """From when on the policy is to be read back: at once after each write, then daily; None for what is not set."""
    if known.status != SET:
        return None
    if known.read_at is None or known.read_at < known.at:
        return known.at
    return known.read_at + READ_EVERY


def after(known: Known | None, answer: PolicyAnswer, build: str | None, now: datetime) -> Known | None:
    """What is known once the device has answered; None: nothing of ours is there any more."""
    if answer.verb == "Get":
        return None if known is None else _after_get(known, answer, now)
    if answer.outcome is Outcome.UNKNOWN or (known is None and answer.verb == "Delete"):
        return known
    if answer.verb == "Delete" and answer.outcome in _DONE:
        return None
    known = known or Known(answer.name, SENT, now)
    status = UNSUPPORTED if answer.outcome is Outcome.UNSUPPORTED else FAILED
    if answer.outcome in _DONE:
        known, status = _after_set(known, answer), SET
    error = None if status == SET or answer.error is None else answer.error[:_ERROR]
    return replace(known, status=status, status_code=answer.status, error=error, build=build, at=now)


def _after_set(known: Known, answer: PolicyAnswer) -> Known:
    if known.drifted_at is not None and same_value(known.name, known.value, answer.value):
        return replace(known, repairs=known.repairs + 1)
    return replace(known, value=answer.value, drifted_at=None, repairs=0)


def _after_get(known: Known, answer: PolicyAnswer, now: datetime) -> Known:
    known = replace(known, read_status=answer.status, read_at=now)
    if answer.outcome is not Outcome.DONE:
        return replace(known, read_value=None)
    shown = answer.value
    known = replace(known, read_value=None if shown is None else shown[:_TEXT])
    if known.status != SET or same_value(known.name, known.value, shown):
        return replace(known, drifted_at=None, repairs=0)
    return replace(known, drifted_at=known.drifted_at or now)
