"""Many virtual devices checking in again and again: a few at a time, not all at once, each at its own moments."""

from __future__ import annotations

import heapq
import random
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from mdm.lab.device import SessionEnd
from mdm.lab.schedule import has_schedule, minutes_to_next

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from mdm.lab.device import SessionReport, VirtualDevice

__all__ = ["Polling", "PollingResult", "Tell", "poll", "session_line"]

Tell: TypeAlias = "Callable[[VirtualDevice, SessionReport, float | None], None]"
"""Takes a device, its session, and the seconds to its next one, if there is one."""

_AT_ONCE: Final = 16
"""Sessions at a time: more threads than this only wait for one another, unless they sleep."""

_JITTER: Final = 0.1
"""An interval is up to this share shorter or longer, so that devices drift apart."""

_SPREAD: Final = 0.05
"""Seconds between the first sessions of two devices, as long as that fits into one interval."""

_FIRST_BACK_OFF: Final = 5.0
"""Seconds to the next session after one that failed; doubled for each further failure, up to the interval."""

_TICK: Final = 0.2
"""Seconds in which a stop is noticed."""


@dataclass(frozen=True, slots=True)
class Polling:
    """How devices poll."""

    interval: float | None
    """Seconds between two sessions of a device; None: as the device's own schedule says."""
    sessions: int | None = None
    """Sessions of each device; None: without end."""
    seed: int = 0
    duration: float | None = None
    """Seconds after which no session is begun any more; None: without end."""
    at_once: int = _AT_ONCE
    """Sessions at a time."""
    unscheduled: float = 60.0
    """Without `interval`: seconds between two sessions of a device that nobody has given a schedule."""
    minute: float = 60.0
    """Without `interval`: seconds that a minute of the devices' schedules lasts."""


@dataclass(frozen=True, slots=True)
class PollingResult:
    """What the polling came to."""

    sessions: int
    failed: int
    """Sessions that were not completed."""


@dataclass(slots=True)
class _Turn:
    """One device between two sessions."""

    device: VirtualDevice
    done: int = 0
    failures: int = 0
    """In a row."""


def poll(
    devices: Sequence[VirtualDevice],
    polling: Polling,
    *,
    clock: Callable[[], datetime],
    tell: Tell,
    stop: threading.Event,
    session: Callable[[VirtualDevice, datetime], SessionReport] | None = None,
) -> PollingResult:
    """Let the devices check in until each has had its sessions, the duration is over, or `stop` is set.

    A device that is told to leave says goodbye at once, and has no session after that. `tell` is called after each session, in this thread; `session` is what a device does when it is due, a
    check-in unless told otherwise. A stop lets the sessions under way end. An exception in a device ends the polling and is raised.
    """
    end = None if polling.duration is None else time.monotonic() + polling.duration
    with ThreadPoolExecutor(polling.at_once, thread_name_prefix="device") as pool:
        round_ = _Round(devices, polling, clock, tell, session or _check_in)
        while round_.unfinished and not stop.is_set() and (end is None or time.monotonic() < end):
            pause = round_.start_due(pool)
            if round_.running:
                wait(round_.running, pause, FIRST_COMPLETED)
            else:
                stop.wait(pause)
            round_.collect()
        wait(round_.running)
        round_.collect()
    return PollingResult(round_.sessions, round_.failed)


class _Round:
    """The devices of one polling: those whose time will come, and those that are at it."""

    def __init__(
        self,
        devices: Sequence[VirtualDevice],
        polling: Polling,
        clock: Callable[[], datetime],
        tell: Tell,
        session: Callable[[VirtualDevice, datetime], SessionReport],
    ) -> None:
        interval = polling.unscheduled if polling.interval is None else polling.interval
        spread = min(_SPREAD, interval / max(1, len(devices)))
        start = time.monotonic()
        self.due = [
            (start + spread * number, number) for number, device in enumerate(devices) if not device.has_left
        ]
        self.turns = [_Turn(device) for device in devices]
        self.running: dict[Future[SessionReport], int] = {}
        self.sessions = 0
        self.failed = 0
        self._polling = polling
        self._clock = clock
        self._tell = tell
        self._session = session
        self._dice = random.Random(polling.seed)

    @property
    def unfinished(self) -> bool:
        return bool(self.due or self.running)

    def start_due(self, pool: ThreadPoolExecutor) -> float:
        """Start the sessions whose time has come; returns the seconds until there may be more to do."""
        while self.due and len(self.running) < self._polling.at_once:
            moment, number = self.due[0]
            pause = moment - time.monotonic()
            if pause > 0:
                return min(pause, _TICK)
            heapq.heappop(self.due)
            self.running[pool.submit(self._session, self.turns[number].device, self._clock())] = number
        return _TICK

    def collect(self) -> None:
        """Say what came of the sessions that have ended, and when their devices are due again."""
        for future in [future for future in self.running if future.done()]:
            number = self.running.pop(future)
            turn, report = self.turns[number], future.result()
            turn.done += 1
            turn.failures = 0 if report.ok else turn.failures + 1
            self.sessions += 1
            self.failed += not report.ok
            pause = 0.0 if report.end is SessionEnd.UNENROLLED else self._pause(turn)
            if turn.done == self._polling.sessions or turn.device.has_left:
                self._tell(turn.device, report, None)
            else:
                self._tell(turn.device, report, pause)
                heapq.heappush(self.due, (time.monotonic() + pause, number))

    def _pause(self, turn: _Turn) -> float:
        interval = self._interval(turn)
        if turn.failures:
            interval = min(interval, _FIRST_BACK_OFF * 2.0 ** min(turn.failures - 1, 16))
        return interval * self._dice.uniform(1 - _JITTER, 1 + _JITTER)

    def _interval(self, turn: _Turn) -> float:
        polling = self._polling
        if polling.interval is not None:
            return polling.interval
        settings = turn.device.windows.settings
        if not has_schedule(settings):
            return polling.unscheduled
        # The first session is the enrolment's own; the schedule begins with it.
        return minutes_to_next(settings, turn.done - 1) * polling.minute


def session_line(device: VirtualDevice, report: SessionReport, now: datetime, next_in: float | None) -> str:
    """One session in one line for people; `next_in` are the seconds to the device's next one, if there is one."""
    windows = device.windows
    head = f"{now:%H:%M:%S}  {device.record.identity.name:<12}  session {report.session_id}: {report.end}"
    if not report.ok:
        later = "" if next_in is None else f"; next try in {next_in:.0f} s"
        return f"{head} ({report.detail}){later}"
    sent = sum(command.verb != "Get" for command in report.commands)
    return (
        f"{head}, {report.messages} messages, {len(report.commands)} commands"
        f"{f' ({sent} that change something)' if sent else ''}"
        f"{f', {report.resends} sent again' if report.resends else ''}"
        f" | installable {len(windows.installable())}, failed {len(windows.failed())}, "
        f"waiting for a restart {len(windows.pending_reboot())}, installed {len(windows.installed())}"
        f"{', has left management' if device.has_left else ''}"
    )


def _check_in(device: VirtualDevice, now: datetime) -> SessionReport:
    return device.check_in(now)
