"""How many devices may be in a session from one address, and who counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mdm.checkin.admission import SESSION_IDLE
from mdm.errors import Unavailable
from syncml.client import Verdict
from syncml.messages import Alert

if TYPE_CHECKING:
    from conftest import Bench, ScriptedDevice

    from syncml.client import ClientState, Turn
    from syncml.messages import Message

LIMIT = 2


@pytest.fixture
def crowd(bench: Bench) -> list[ScriptedDevice]:
    """Four devices behind one router, of which two may be in a session at a time."""
    bench.checkin = replace(bench.checkin, max_sessions_per_address=LIMIT)
    return [bench.enrol(f"DEV{n}") for n in range(4)]


def opened(device: ScriptedDevice, session_id: str = "1") -> tuple[ClientState, Turn]:
    """A session in which the device owes an answer."""
    message, state = device.begin(session_id)
    turn = device.say(message, state)
    assert turn.verdict is Verdict.COMMANDS
    return state, turn


def turned_away(bench: Bench, message: Message, device: ScriptedDevice) -> None:
    """The message comes to a full house: later, please, and not a row is different."""
    before = bench.dump()
    with pytest.raises(Unavailable, match=r"No more sessions from .*: 2 are open") as error:
        device.post(message)
    assert error.value.retry_after == 60
    assert bench.dump() == before


def test_one_more_than_the_limit_comes_later(bench: Bench, crowd: list[ScriptedDevice]) -> None:
    """The house is full for newcomers; those inside go on, and make room when they end."""
    _, inside = opened(crowd[0])
    opened(crowd[1])
    turned_away(bench, crowd[2].begin()[0], crowd[2])
    assert crowd[0].say(*crowd[0].answer(inside)).verdict is Verdict.END
    opened(crowd[2])
    turned_away(bench, crowd[3].begin()[0], crowd[3])


def test_another_address_has_a_house_of_its_own(bench: Bench, crowd: list[ScriptedDevice]) -> None:
    """The limit is of one address, which of IPv6 is a site."""
    for device, bench.remote_addr in zip(crowd, ("2001:db8::1", "2001:db8::2"), strict=False):
        opened(device)
    bench.remote_addr = "2001:db8::3"
    turned_away(bench, crowd[2].begin()[0], crowd[2])
    bench.remote_addr = "2001:db8:0:1::3"
    opened(crowd[2])


def test_idle_sessions_do_not_count(bench: Bench, crowd: list[ScriptedDevice]) -> None:
    """A device that went away in the middle gives its place back after half an hour."""
    heard = []
    for device in crowd[:LIMIT]:
        bench.now += timedelta(minutes=1)
        opened(device)
        heard.append(bench.now)
    turned_away(bench, crowd[2].begin()[0], crowd[2])
    for device, last in zip(crowd[LIMIT:], heard, strict=True):
        bench.now = last + SESSION_IDLE - timedelta(seconds=2)  # a message takes one
        turned_away(bench, device.begin()[0], device)
        opened(device)


def test_ended_sessions_do_not_count(bench: Bench, crowd: list[ScriptedDevice]) -> None:
    """Whether it ended well or was broken off (Alert 1223)."""
    assert crowd[0].check_in() is Verdict.END
    _, turn = opened(crowd[1])
    message, _ = crowd[1].answer(turn)
    abort = Alert(cmd_id="2", data="1223")
    crowd[1].post(replace(message, commands=(message.commands[0], abort)))
    assert [row["open"] for row in bench.rows("dm_session")] == [False, False]
    opened(crowd[2])
    opened(crowd[3])


def test_a_device_does_not_stand_in_its_own_way(bench: Bench, crowd: list[ScriptedDevice]) -> None:
    """Whoever starts over in a full house had a place in it."""
    opened(crowd[0])
    opened(crowd[1])
    opened(crowd[1], "2")
    assert [row["session_id"] for row in bench.rows("dm_session", "device_pk")] == ["1", "2"]


def test_strangers_take_no_place(bench: Bench, crowd: list[ScriptedDevice]) -> None:
    """A message that proves nothing opens no session, so nobody can fill the house from outside."""
    for device in crowd:
        device.proving = False
        message, state = device.begin()
        assert device.say(message, state).status == 407
    assert bench.rows("dm_session") == []
    crowd[0].proving = True
    opened(crowd[0], "2")
