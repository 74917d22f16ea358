"""A device is planned for only if something its plan is made from has changed: nothing else costs, nothing is missed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from mdm.approvals.versions import facts_changed, intent_changed
from mdm.checkin import wishes
from syncml.client import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Bench, ScriptedDevice

A = "a317dafe-baf4-453f-b232-a7075efae36e"
B = "b317dafe-baf4-453f-b232-a7075efae36e"
HOUR = timedelta(hours=1)


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The devices that were planned for, one entry each time."""
    made: list[str] = []
    plan = wishes.Wishes._plan

    def noted(self: Any, connection: Any, device: Any, *more: Any, **named: Any) -> Any:
        made.append(device.device_id)
        return plan(self, connection, device, *more, **named)

    monkeypatch.setattr(wishes.Wishes, "_plan", noted)
    return made


def settled(bench: Bench, plans: list[str]) -> ScriptedDevice:
    """A device that offers A and for which nothing is left to do."""
    device = bench.enrol()
    device.installable = {A: (1, 200)}
    bench.catalogue(A)
    for _ in range(3):
        device.check_in()
    plans.clear()
    return device


def test_nothing_new_is_not_planned_for(bench: Bench, plans: list[str]) -> None:
    """Session after session."""
    device = settled(bench, plans)
    for _ in range(3):
        bench.now += HOUR
        device.check_in()
    assert plans == []


def change_of(group_id: str) -> Callable[[Bench], None]:
    """A change of intent for a group."""

    def change(bench: Bench) -> None:
        with bench.database.write() as connection:
            intent_changed(connection, [group_id])

    return change


def change_of_facts(bench: Bench) -> None:
    """A change of what the catalogue says."""
    with bench.database.write() as connection:
        facts_changed(connection)


@pytest.mark.parametrize(
    ("change", "planned"),
    [
        (change_of("all-devices"), 1),
        (change_of("unassigned"), 1),
        (change_of("other"), 0),
        (change_of_facts, 1),
    ],
    ids=["all-devices", "own group", "other group", "facts"],
)
def test_a_change_is_planned_for_once(
    bench: Bench, plans: list[str], change: Callable[[Bench], None], planned: int
) -> None:
    """If it is one for the device, and after that no more."""
    bench.add("device_group", id="other", name="Other", builtin=False, created_at=bench.now)
    device = settled(bench, plans)
    change(bench)
    device.check_in()
    device.check_in()
    assert plans == ["DEV1"] * planned


def test_news_of_the_device_is_planned_for(bench: Bench, plans: list[str]) -> None:
    """What it could install now is what may have been approved long ago."""
    device = settled(bench, plans)
    device.installable[B] = (1, 200)
    device.check_in()
    assert plans == ["DEV1"]


def test_news_that_a_session_did_not_live_to_act_on_is_not_forgotten(bench: Bench, plans: list[str]) -> None:
    """The device goes away after it has told: its next session plans, though nothing is new then."""
    device = settled(bench, plans)
    device.installable[B] = (1, 200)
    bench.catalogue(B)
    bench.approve(B)
    device.check_in()
    assert B in device.approved
    device.approved.remove(B)
    # the plan is lost with the reply, and the answer to it never comes
    message, state = device.begin("99")
    device.sessions = 99
    turn = device.say(message, state)
    message, state = device.answer(turn)
    device.post(message)
    device.approved = [each for each in device.approved if each != B]
    device.check_in()
    assert B in device.approved


def test_time_that_comes_is_planned_for(bench: Bench, plans: list[str]) -> None:
    """An approval that begins is delivered then, without anybody doing anything."""
    device = settled(bench, plans)
    bench.approve(A, not_before=bench.now + 2 * HOUR)
    for _ in range(3):
        device.check_in()
    plans.clear()
    bench.now += HOUR
    device.check_in()
    assert plans == []
    bench.now += HOUR
    device.check_in()
    assert plans
    assert device.approved == [A]


def test_a_plan_that_leaves_something_to_say_is_not_settled(bench: Bench, plans: list[str]) -> None:
    """A device that refuses is told again in its next session."""
    device = settled(bench, plans)
    bench.approve(A)
    uri = f"./Vendor/MSFT/Update/ApprovedUpdates/%7b{A}%7d"
    device.answers[uri] = Outcome(500)
    for _ in range(3):
        device.check_in()
    del device.answers[uri]
    device.check_in()
    assert device.approved == [A]


def test_a_move_to_another_group_is_planned_for(bench: Bench, plans: list[str]) -> None:
    """The approval has been there before the device."""
    bench.add("device_group", id="pilot", name="Pilot", builtin=False, created_at=bench.now)
    device = settled(bench, plans)
    bench.approve(A)
    with bench.database.write() as connection:
        connection.execute(text("UPDATE approval_group SET group_id = 'pilot'"))
        intent_changed(connection, ["all-devices"])
    for _ in range(3):
        device.check_in()
    assert device.approved == []
    plans.clear()
    bench.add("static_member", device_pk=1, group_id="pilot")
    with bench.database.write() as connection:
        connection.execute(text("UPDATE groups_version SET version = version + 1"))
    device.check_in()
    assert device.approved == [A]
