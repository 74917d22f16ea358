"""Wrong credentials cost the address they come from time, and the device they speak of nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event

from mdm.audit import Origin
from mdm.checkin.admission import (
    FAILURES_KEPT,
    FIRST_BLOCK,
    LONGEST_BLOCK,
    MAX_FAILURES,
    address_key,
    count_failure,
)
from mdm.devices.registry import delete_device
from syncml.auth import MAC, MD5
from syncml.client import Verdict
from syncml.messages import Status
from syncml.reader import read_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from conftest import Bench, ScriptedDevice

HERE = "192.0.2.1"
ELSEWHERE = "198.51.100.7"


def guess(device: ScriptedDevice, session_id: str = "9") -> tuple[str, bool]:
    """A wrong password from where the bench stands: the status, and whether a challenge came with it."""
    guesser = replace(device, password="wrong")
    message, _ = guesser.begin(session_id)
    status = read_message(guesser.post(message).body).commands[0]
    assert isinstance(status, Status)
    return status.data, status.chal is not None


def guesses(bench: Bench, device: ScriptedDevice, addresses: Iterable[str]) -> list[bool]:
    """A wrong password from each address: whether a challenge came back."""
    found = []
    for bench.remote_addr in addresses:
        code, challenged = guess(device)
        assert code == "401"
        found.append(challenged)
    return found


def on_failures(bench: Bench, act: Callable[[], object]) -> list[str]:
    """What is said to the database about wrong credentials while `act` runs, besides reading them."""
    statements: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_rest: object) -> None:
        if "auth_failure" in statement and not statement.startswith("SELECT"):
            statements.append(statement.split(maxsplit=1)[0])

    engine = bench.database._writer
    event.listen(engine, "before_cursor_execute", note)
    try:
        act()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return statements


def failures(bench: Bench) -> list[tuple[str, int, bool]]:
    """(address, failures, blocked now) of each row."""
    return [
        (row["remote_addr"], row["failures"], (row["blocked_until"] or bench.now) > bench.now)
        for row in bench.rows("auth_failure", "remote_addr")
    ]


@pytest.mark.parametrize("scheme", [MD5, MAC])
def test_three_wrong_ones_block_their_address_only(bench: Bench, scheme: str) -> None:
    """The third gets no challenge, and the right password is looked at from elsewhere only, for half a minute."""
    device = bench.enrol(scheme=scheme)
    before = bench.dump()
    assert guesses(bench, device, [HERE] * 5) == [True, True, False, False, False]
    assert failures(bench) == [(HERE, MAX_FAILURES, True)]
    after = bench.dump()
    del before["auth_failure"], after["auth_failure"]
    assert after == before
    message, state = device.begin("10")
    assert device.say(message, state).verdict is Verdict.REFUSED
    bench.remote_addr = ELSEWHERE
    device.sessions = 10
    assert device.check_in() is Verdict.END
    assert failures(bench) == [(HERE, MAX_FAILURES, True)]
    bench.remote_addr = HERE
    bench.now += FIRST_BLOCK
    assert device.check_in() is Verdict.END
    assert failures(bench) == []


def test_session_numbers_do_not_divide_the_count(bench: Bench) -> None:
    """However many SessionIDs somebody makes up, there is one row and one count."""
    device = bench.enrol()
    assert [guess(device, str(session))[1] for session in range(5)] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert failures(bench) == [(HERE, MAX_FAILURES, True)]


def test_the_block_doubles_up_to_a_quarter_of_an_hour(bench: Bench) -> None:
    """Each try after a block doubles the next one; tries within a block are not looked at, and not counted."""
    device = bench.enrol()
    guesses(bench, device, [HERE] * (MAX_FAILURES - 1))
    lengths = []
    for _ in range(8):
        assert guess(device) == ("401", False)
        (row,) = bench.rows("auth_failure")
        lengths.append((row["blocked_until"] - row["last_at"]).total_seconds())
        assert guess(device) == ("401", False)
        assert bench.rows("auth_failure") == [row]
        bench.now = row["blocked_until"] - timedelta(seconds=1)  # a message takes one
    assert lengths == [30, 60, 120, 240, 480, 900, 900, 900]
    assert lengths[-1] == LONGEST_BLOCK.total_seconds()


def test_a_thousand_failures_are_counted_like_ten(bench: Bench) -> None:
    """The block stays a quarter of an hour however long somebody goes on."""
    device = bench.enrol()
    guess(device)
    with bench.database.write() as connection:
        connection.exec_driver_sql("UPDATE auth_failure SET failures = 100000")
    guess(device)
    (row,) = bench.rows("auth_failure")
    assert row["failures"] == 100_001
    assert row["blocked_until"] - row["last_at"] == LONGEST_BLOCK


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("testclient", "testclient"),
        ("x" * 100, "x" * 64),
    ],
)
def test_what_counts_as_one_address(address: str, key: str) -> None:
    """IPv4 as it is, IPv6 by the network of a site, and what is no address by its name."""
    assert address_key(address) == key


def test_a_site_of_ipv6_is_one_address(bench: Bench) -> None:
    """Who has 2^64 addresses has three tries all the same; the neighbours' site is not theirs."""
    device = bench.enrol()
    assert guesses(bench, device, ["2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1:ffff::3"]) == [
        True,
        True,
        False,
    ]
    assert failures(bench) == [("2001:db8:0:1::/64", 3, True)]
    bench.remote_addr = "2001:db8:0:2::1"
    assert device.check_in() is Verdict.END


def test_an_address_blocked_for_one_device_is_not_for_another(bench: Bench) -> None:
    """A site behind one router goes on although one of its devices has a wrong password."""
    wrong, right = bench.enrol("WRONG"), bench.enrol("RIGHT")
    guesses(bench, wrong, [HERE] * 4)
    assert right.check_in() is Verdict.END
    assert failures(bench) == [(HERE, 3, True)]


def test_a_success_clears_its_own_address(bench: Bench) -> None:
    """The count begins from nothing where the device has proved itself, and nowhere else."""
    device = bench.enrol()
    guesses(bench, device, [HERE, HERE, ELSEWHERE])
    bench.remote_addr = HERE
    assert device.check_in() is Verdict.END
    assert failures(bench) == [(ELSEWHERE, 1, False)]
    assert guesses(bench, device, [HERE, HERE]) == [True, True]


def test_every_proved_message_clears(bench: Bench) -> None:
    """A stranger's guesses during a session are forgotten with the device's next message."""
    device = bench.enrol()
    message, state = device.begin()
    turn = device.say(message, state)
    guesses(bench, device, [HERE, HERE])
    assert device.say(*device.answer(turn)).verdict is Verdict.END
    assert failures(bench) == []


def test_a_challenge_asked_for_clears_nothing(bench: Bench) -> None:
    """Without credentials nothing is counted and nothing forgiven."""
    device = bench.enrol()
    guesses(bench, device, [HERE, HERE])
    device.proving = False
    message, state = device.begin("5")
    assert device.say(message, state).status == 407
    assert failures(bench) == [(HERE, 2, False)]


def test_an_hour_forgets(bench: Bench) -> None:
    """Old failures neither block nor count, and the next one takes their rows away."""
    device = bench.enrol()
    guesses(bench, device, [HERE, HERE, ELSEWHERE])
    bench.now += FAILURES_KEPT
    assert guesses(bench, device, [HERE]) == [True]
    assert failures(bench) == [(HERE, 1, False)]


def test_a_clock_that_was_ahead_blocks_nobody(bench: Bench) -> None:
    """Once it has been put right, failures of a future day neither block nor count, and the next one removes them."""
    device = bench.enrol()
    right = bench.now
    bench.now += timedelta(days=1)
    guesses(bench, device, [HERE] * 3)
    assert failures(bench) == [(HERE, MAX_FAILURES, True)]
    bench.now = right
    bench.remote_addr = HERE
    assert device.check_in() is Verdict.END
    bench.now += timedelta(days=1)
    guesses(bench, device, [HERE, ELSEWHERE])
    bench.now = right
    assert guesses(bench, device, [HERE]) == [True]
    assert failures(bench) == [(HERE, 1, False)]


def test_only_what_is_remembered_is_forgotten(bench: Bench) -> None:
    """The right password takes failures away, also old ones that count no more; where there are none it writes nothing."""
    device = bench.enrol()
    bench.remote_addr = HERE
    assert on_failures(bench, device.check_in) == []
    guesses(bench, device, [HERE, ELSEWHERE])
    bench.now += FAILURES_KEPT
    bench.remote_addr = HERE
    assert on_failures(bench, device.check_in) == ["DELETE"]
    assert [address for address, _, _ in failures(bench)] == [ELSEWHERE]


def test_deleting_a_device_clears(bench: Bench) -> None:
    """A device that is enrolled anew under the same name starts from nothing, from everywhere."""
    device = bench.enrol()
    guesses(bench, device, [HERE] * 3 + [ELSEWHERE])
    with bench.database.write() as connection:
        delete_device(connection, Origin("test"), "id-DEV1", now=bench.now)
    assert failures(bench) == []
    bench.remote_addr = HERE
    assert bench.enrol().check_in() is Verdict.END


def test_a_failure_of_a_device_deleted_meanwhile_is_not_counted(bench: Bench) -> None:
    """Between the look at its credentials and the count a device may go: that is no error."""
    with bench.database.write() as connection:
        count_failure(connection, 99, HERE, bench.now)
    assert failures(bench) == []


def test_guesses_at_the_same_time_are_all_counted(bench: Bench) -> None:
    """Whoever guesses on many connections at once gets no more tries for it."""
    bench.enrol()
    together = 6
    barrier = Barrier(together)

    def fail(_: int) -> None:
        barrier.wait(30)
        with bench.database.write() as connection:
            count_failure(connection, 1, HERE, bench.now)

    with ThreadPoolExecutor(together) as pool:
        list(pool.map(fail, range(together)))
    assert failures(bench) == [(HERE, together, True)]
