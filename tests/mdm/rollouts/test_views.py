"""Rollouts as an administrator reads them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mdm.errors import NotFound
from mdm.rollouts.rings import Gate, Halt, Ring
from mdm.rollouts.views import get_rollout, list_events, list_rollouts

if TYPE_CHECKING:
    from conftest import Fleet

HOUR = timedelta(hours=1)
TEST = Ring("test", ("test",), gate=Gate(90, 2), halt=Halt(failures=1))
PILOT = Ring("pilot", ("pilot",), deferral_days=2)


def test_a_rollout_is_read_with_live_figures(fleet: Fleet) -> None:
    """Each stage's counts, progress and times, as of now."""
    testers = fleet.enrol(3, "test")
    fleet.enrol(4, "pilot")
    rollout_id = fleet.start(TEST, PILOT)
    fleet.look()
    fleet.now += HOUR
    fleet.tell(testers[:1], "installed")
    with fleet.database.read() as connection:
        view = get_rollout(connection, rollout_id, now=fleet.now)
    assert (view.requested_state, view.effective_state, view.reasons) == ("running", "running", ())
    assert view.as_of == fleet.now
    first, second = view.stages
    assert (first.state, first.devices.installed, first.devices.not_seen, first.offered_devices) == (
        "running",
        1,
        0,
        3,
    )
    assert first.ring == TEST
    assert first.progress.text == "1 of 1 installed (100 %), needs 90 % and 2 devices"
    assert (second.state, second.devices.targeted, second.offered_devices) == ("waiting", 4, 0)
    assert second.progress.text == "opens 2 days after the stage before has passed"


def test_what_was_asked_and_what_is_are_told_apart(fleet: Fleet) -> None:
    """Somebody's pause is what was asked, a halt is not."""
    testers = fleet.enrol(3, "test")
    rollout_id = fleet.start(TEST, PILOT)

    def states() -> tuple[str, str, tuple[str, ...]]:
        with fleet.database.read() as connection:
            (line,) = list_rollouts(connection, before=None, limit=9)
            view = get_rollout(connection, rollout_id, now=fleet.now)
        told = (view.requested_state, view.effective_state, view.reasons)
        assert (line.requested_state, line.effective_state, line.reasons) == told
        return told

    fleet.act("pause_rollout", rollout_id, remark=None)
    assert states() == ("paused", "paused", ())
    fleet.act("resume_rollout", rollout_id, remark=None)
    fleet.look()
    fleet.now += HOUR
    fleet.tell(testers, "failed")
    fleet.look()
    assert states() == ("running", "halted", ("halted_by_failures",))
    fleet.act("stop_rollout", rollout_id, remark=None)
    assert states() == ("stopped", "stopped", ())


def test_a_completed_rollout_says_why(fleet: Fleet) -> None:
    """All its stages have passed."""
    rollout_id = fleet.start(Ring("test", ("test",)))
    fleet.look()
    with fleet.database.read() as connection:
        view = get_rollout(connection, rollout_id, now=fleet.now)
    assert (view.requested_state, view.effective_state, view.reasons) == (
        "running",
        "completed",
        ("all_passed",),
    )


def test_rollouts_are_listed_newest_first(fleet: Fleet) -> None:
    """Page by page, by state, and by the rule that started them."""
    made = []
    for _ in range(3):
        made.append(fleet.start(TEST))
        fleet.now += HOUR
    same_moment = [fleet.start(TEST), fleet.start(TEST)]
    order = [*sorted(same_moment, reverse=True), *made[::-1]]
    with fleet.database.read() as connection:
        everything = list_rollouts(connection, before=None, limit=9)
        assert [line.id for line in everything] == order
        assert [stage.name for stage in everything[0].stages] == ["test"]
        for index in range(4):
            before = (everything[index].created_at, everything[index].id)
            rest = list_rollouts(connection, before=before, limit=2)
            assert [line.id for line in rest] == order[index + 1 : index + 3]
    fleet.act("pause_rollout", made[0], remark=None)
    with fleet.database.read() as connection:
        paused = list_rollouts(connection, state="paused", before=None, limit=9)
        assert [line.id for line in paused] == [made[0]]
        assert list_rollouts(connection, rule_id="rul_x", before=None, limit=9) == []


def test_the_timeline_says_what_happened_and_why(fleet: Fleet) -> None:
    """Newest first, from any line on."""
    rollout_id, other = fleet.start(TEST, PILOT), fleet.start(TEST)
    fleet.look()
    fleet.act("pause_rollout", rollout_id, remark="VPN")
    with fleet.database.read() as connection:
        events = list_events(connection, rollout_id, before=None, limit=9)
        assert [(event.kind, event.stage, event.actor) for event in events] == [
            ("paused", None, "bob"),
            ("opened", 1, f"rollout:{rollout_id}"),
            ("started", None, "ann"),
        ]
        assert events[0].reason == {"code": "paused", "remark": "VPN"}
        assert list_events(connection, rollout_id, before=events[0].seq, limit=1) == [events[1]]
        assert len(list_events(connection, other, before=None, limit=9)) == 2


def test_a_rollout_that_is_not_there_is_not_found(fleet: Fleet) -> None:
    """By its id."""
    with pytest.raises(NotFound), fleet.database.read() as connection:
        get_rollout(connection, "rol_none", now=fleet.now)
