"""Many devices checking in again and again."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from mdm.lab.device import CommandReport, SessionEnd, SessionReport
from mdm.lab.polling import Polling, _Round, _Turn, poll, session_line
from mdm.lab.windows import Habits, Windows

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@dataclass
class Phone:
    """What polling needs of a device; its sessions take `takes` seconds and end as `ends` say."""

    name: str = "PC-1"
    takes: float = 0.0
    ends: list[SessionEnd] = field(default_factory=list)
    at_once: Counter[str] = field(default_factory=Counter)
    record: Any = None
    windows: Windows = field(default_factory=lambda: Windows(lambda _: (), Habits()))
    sessions: int = 0
    leaves_after: int | None = None

    @property
    def has_left(self) -> bool:
        """After its last session."""
        return self.sessions == self.leaves_after

    def __post_init__(self) -> None:
        """Have a name."""
        self.record = SimpleNamespace(identity=SimpleNamespace(name=self.name))

    def check_in(self, now: datetime) -> SessionReport:
        """One session."""
        assert now == NOW
        self.at_once["now"] += 1
        self.at_once["most"] = max(self.at_once["most"], self.at_once["now"])
        time.sleep(self.takes)
        self.at_once["now"] -= 1
        end = self.ends[self.sessions] if self.sessions < len(self.ends) else SessionEnd.COMPLETE
        self.sessions += 1
        return SessionReport(self.name, str(self.sessions), end, 2, 0, (), "no answer")


def run(
    phones: list[Phone],
    polling: Polling,
    tell: Callable[..., None] | None = None,
    stop: threading.Event | None = None,
) -> Any:
    """Poll, with a clock that stands still."""
    return poll(
        phones,  # type: ignore[arg-type]
        polling,
        clock=lambda: NOW,
        tell=tell or (lambda *_: None),
        stop=stop or threading.Event(),
    )


def test_each_device_has_its_sessions() -> None:
    """K sessions of each device, then the end, with the count of those that were not completed."""
    phones = [Phone(), Phone(ends=[SessionEnd.UNREACHABLE])]
    result = run(phones, Polling(interval=0.02, sessions=3))
    assert [phone.sessions for phone in phones] == [3, 3]
    assert (result.sessions, result.failed) == (6, 1)


def test_only_some_talk_at_a_time() -> None:
    """More devices than threads take turns."""
    counter: Counter[str] = Counter()
    phones = [Phone(takes=0.02, at_once=counter) for _ in range(40)]
    result = run(phones, Polling(interval=0.1, sessions=1))
    assert result.sessions == 40
    assert 1 < counter["most"] <= 16


def test_more_may_talk_at_a_time() -> None:
    """Where sessions mostly wait, more threads do not."""
    counter: Counter[str] = Counter()
    phones = [Phone(takes=0.1, at_once=counter) for _ in range(40)]
    run(phones, Polling(interval=0.1, sessions=1, at_once=30))
    assert counter["most"] > 16


def test_after_the_duration_no_session_begins() -> None:
    """Those under way end; how many there were is the devices' business."""
    phones = [Phone(takes=0.05) for _ in range(3)]
    start = time.monotonic()
    result = run(phones, Polling(interval=0.01, duration=0.3))
    assert 0.3 <= time.monotonic() - start < 5
    assert result.sessions == sum(phone.sessions for phone in phones) > 3


def test_a_session_may_be_something_else_than_a_check_in() -> None:
    """What a device does when it is due is the caller's to say."""
    phones = [Phone(), Phone()]

    def session(device: Any, now: datetime) -> SessionReport:
        assert now == NOW
        return SessionReport(device.name, "0", SessionEnd.ABANDONED, 1, 0, ())

    result = poll(
        phones,  # type: ignore[arg-type]
        Polling(interval=0.01, sessions=2),
        clock=lambda: NOW,
        tell=lambda *_: None,
        stop=threading.Event(),
        session=session,
    )
    assert (result.sessions, result.failed) == (4, 4)
    assert [phone.sessions for phone in phones] == [0, 0]


def test_the_interval_is_kept_but_not_to_the_second() -> None:
    """Pauses are near the interval and differ from device to device."""
    pauses: list[float] = []
    stop = threading.Event()

    def tell(_device: object, _report: object, next_in: float | None) -> None:
        assert next_in is not None
        pauses.append(next_in)
        if len(pauses) == 20:
            stop.set()

    run([Phone() for _ in range(20)], Polling(interval=300), tell, stop)
    assert min(pauses) >= 270
    assert max(pauses) <= 330
    assert len(set(pauses)) == 20


def test_a_failure_is_tried_again_sooner() -> None:
    """The session after a failure comes in seconds, whatever the interval."""
    stop = threading.Event()
    told: list[float | None] = []

    def tell(_device: object, _report: object, next_in: float | None) -> None:
        told.append(next_in)
        stop.set()

    run([Phone(ends=[SessionEnd.UNREACHABLE])], Polling(interval=300), tell, stop)
    assert told == [pytest.approx(5, rel=0.1)]


def test_a_device_follows_its_own_schedule() -> None:
    """First set, second set, then the long run; a minute lasts as long as it is told to."""
    settings = {
        "Poll/IntervalForFirstSetOfRetries": "3",
        "Poll/NumberOfFirstRetries": "2",
        "Poll/IntervalForSecondSetOfRetries": "15",
        "Poll/NumberOfSecondRetries": "1",
        "Poll/IntervalForRemainingScheduledRetries": "480",
        "Poll/NumberOfRemainingScheduledRetries": "0",
    }
    phone = Phone()
    phone.windows.provision(settings, None)
    polling = Polling(interval=None, minute=0.001)
    told: list[float | None] = []
    stop = threading.Event()

    def tell(_device: object, _report: object, next_in: float | None) -> None:
        told.append(next_in)
        if len(told) == 5:
            stop.set()

    run([phone], polling, tell, stop)
    assert told == [pytest.approx(pause, rel=0.1) for pause in (0.003, 0.003, 0.015, 0.48, 0.48)]


def test_without_a_schedule_of_its_own_a_device_polls_as_it_is_told() -> None:
    """A device that nobody gave a schedule; and an interval overrides the schedule of one that has it."""
    scheduled = Phone()
    scheduled.windows.provision({"Poll/IntervalForFirstSetOfRetries": "3"}, None)
    for phone, polling, expected in (
        (Phone(), Polling(interval=None, unscheduled=7), 7),
        (scheduled, Polling(interval=5), 5),
        (scheduled, Polling(interval=None), 180),
    ):
        arithmetic = _Round([], polling, lambda: NOW, lambda *_: None, Phone.check_in)  # type: ignore[arg-type]
        assert arithmetic._pause(_Turn(phone, done=1)) == pytest.approx(expected, rel=0.1)  # type: ignore[arg-type]


def test_a_device_that_is_told_to_leave_says_goodbye_at_once_and_never_polls_again() -> None:
    """No waiting for the next interval, no session after the goodbye; one that had left before has none at all."""
    leaver = Phone(ends=[SessionEnd.COMPLETE, SessionEnd.UNENROLLED], leaves_after=3)
    gone = Phone(leaves_after=0)
    told: list[float | None] = []
    result = run([leaver, gone], Polling(interval=0.01), lambda *each: told.append(each[2]))
    assert told == [pytest.approx(0.01, rel=0.1), 0.0, None]
    assert (result.sessions, result.failed) == (3, 0)


def test_repeated_failures_are_tried_less_often() -> None:
    """5 s, 10 s, 20 s, up to the interval; a success goes back to the interval."""
    arithmetic = _Round([], Polling(interval=60), lambda: NOW, lambda *_: None, Phone.check_in)  # type: ignore[arg-type]
    found = [arithmetic._pause(_Turn(Phone(), failures=failures)) for failures in range(7)]  # type: ignore[arg-type]
    for pause, expected in zip(found, [60, 5, 10, 20, 40, 60, 60], strict=True):
        assert pause == pytest.approx(expected, rel=0.1)


def test_a_stop_lets_sessions_end() -> None:
    """What is under way when the stop comes is finished and told."""
    stop = threading.Event()
    phones = [Phone(takes=0.3), Phone(takes=0.3)]
    told: list[object] = []
    threading.Timer(0.15, stop.set).start()
    result = run(phones, Polling(interval=0.01), lambda *each: told.append(each), stop)
    assert result.sessions == len(told) == 2
    assert [phone.sessions for phone in phones] == [1, 1]


def test_a_stop_is_noticed_while_nothing_is_to_do() -> None:
    """Between two sessions a stop ends the polling at once, not at the next session."""
    stop = threading.Event()
    start = time.monotonic()
    threading.Timer(0.1, stop.set).start()
    result = run([Phone()], Polling(interval=300), stop=stop)
    assert result.sessions == 1
    assert time.monotonic() - start < 60  # far from the wait it cuts short


def test_an_exception_of_a_device_is_not_swallowed() -> None:
    """A defect of the lab ends the polling with its own exception."""
    phone = Phone()
    phone.check_in = None  # type: ignore[assignment]
    with pytest.raises(TypeError):
        run([phone], Polling(interval=1))


def report(end: SessionEnd = SessionEnd.COMPLETE, resends: int = 0, *verbs: str) -> SessionReport:
    """A session of three messages."""
    commands = tuple(CommandReport(verb, "./Vendor", 200) for verb in verbs)
    return SessionReport("d", "7", end, 3, resends, commands, "ConnectError: refused")


@pytest.mark.parametrize(
    ("session", "next_in", "expected"),
    [
        (report(SessionEnd.COMPLETE, 0, "Get", "Get"), 60.0, "session 7: complete, 3 messages, 2 commands | installable 0, "),
        (report(SessionEnd.COMPLETE, 0, "Get", "Add"), None, "2 commands (1 that change something) | "),
        (report(SessionEnd.COMPLETE, 2), 60.0, "0 commands, 2 sent again | "),
        (report(SessionEnd.UNREACHABLE), 5.2, "session 7: unreachable (ConnectError: refused); next try in 5 s"),
        (report(SessionEnd.REFUSED), None, "session 7: refused (ConnectError: refused)"),
    ],
)  # fmt: skip
def test_a_session_is_one_line(session: SessionReport, next_in: float | None, expected: str) -> None:
    """The time, the device, how it ended, and what the device's lists hold, or why not and when again."""
    line = session_line(Phone(), session, NOW, next_in)  # type: ignore[arg-type]
    assert line.startswith("12:00:00  PC-1  ")
    assert expected in line
    assert "\n" not in line
    assert "has left" not in line


def test_a_goodbye_is_told() -> None:
    """The line of the last session says that it was the last."""
    assert session_line(Phone(leaves_after=0), report(), NOW, None).endswith(", has left management")  # type: ignore[arg-type]
