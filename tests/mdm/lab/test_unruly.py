"""Networks and devices that misbehave."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from mdm.lab.device import CommandReport, Interruption, SessionEnd, SessionReport
from mdm.lab.unruly import Accidents, Network, Tally, UnrulyLink, UnrulySessions, count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

QUIET = Accidents(0, 0, 0, 0, 0, 0, 0, 0)


class Wire(httpx2.BaseTransport):
    """Answers with what it has been sent, and keeps it."""

    def __init__(self) -> None:
        """Nothing was sent yet."""
        self.bodies: list[bytes] = []
        self.status = 200
        self.away = False
        self._lock = threading.Lock()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """The number of requests so far, as text."""
        with self._lock:
            self.bodies.append(request.read())
            number = len(self.bodies)
        if self.away:
            raise httpx2.ConnectError("away", request=request)
        return httpx2.Response(self.status, content=str(number).encode())


@pytest.fixture
def wire() -> Wire:
    """A server behind the accidents."""
    return Wire()


@pytest.fixture
def network(wire: Wire) -> Iterator[Callable[..., Network]]:
    """Makes a network with some accidents."""
    made: list[Network] = []

    def make(**accidents: float) -> Network:
        values = {name: getattr(QUIET, name) for name in QUIET.__slots__}
        made.append(Network(wire, 1, Accidents(**values | accidents)))
        return made[-1]

    yield make
    for each in made:
        each.settle()


def client(network: Network, device_id: str = "A") -> httpx2.Client:
    """A device's connections."""
    return httpx2.Client(transport=UnrulyLink(network, device_id), trust_env=False)


def post(http: httpx2.Client) -> str:
    """One request and what came back."""
    return http.post("http://bridge/omadm", content=b"message").text


def test_a_good_network_changes_nothing(network: Any, wire: Wire) -> None:
    """Each request once, each answer heard, and counted."""
    net = network()
    with client(net) as http:
        assert [post(http) for _ in range(3)] == ["1", "2", "3"]
    assert wire.bodies == [b"message"] * 3
    assert (net.tally["requests"], net.tally.statuses(), net.tally.server_errors) == (3, {200: 3}, 0)


def test_a_lost_request_is_never_there(network: Any, wire: Wire) -> None:
    """The device sees a connection that fails; the server sees nothing."""
    net = network(lost_request=100)
    with client(net) as http, pytest.raises(httpx2.ConnectError):
        post(http)
    assert wire.bodies == []
    assert (net.tally["lost requests"], net.tally["requests"]) == (1, 0)


def test_a_lost_reply_was_made(network: Any, wire: Wire) -> None:
    """The server has the message and has answered; the device has not heard it."""
    net = network(lost_reply=100)
    with client(net) as http, pytest.raises(httpx2.ReadError):
        post(http)
    assert wire.bodies == [b"message"]
    assert (net.tally["lost replies"], net.tally.statuses()) == (1, {200: 1})


def test_a_repeated_message_is_heard_the_second_time(network: Any, wire: Wire) -> None:
    """The same bytes twice, one after the other."""
    net = network(repeated=100)
    with client(net) as http:
        assert post(http) == "2"
    assert wire.bodies == [b"message"] * 2
    assert net.tally["repeated"] == 1


def test_an_echo_comes_beside_the_message(network: Any, wire: Wire) -> None:
    """The same bytes from elsewhere; its answer is counted and nobody's, and `settle` waits for it."""
    net = network(echoed=100)
    with client(net) as http:
        for _ in range(4):
            post(http)
    net.settle()
    assert wire.bodies == [b"message"] * 8
    assert (net.tally["echoed"], net.tally["requests"]) == (4, 8)


def test_an_echo_that_does_not_arrive_is_nobodys_trouble(network: Any, wire: Wire) -> None:
    """It is counted as a broken connection."""
    net = network(echoed=100)
    wire.away = True
    with client(net) as http, pytest.raises(httpx2.ConnectError):
        post(http)
    net.settle()
    assert (net.tally["broken"], net.tally["requests"]) == (2, 2)


def test_a_delay_passes(network: Any) -> None:
    """Some of the time that was allowed for."""
    net = network(delayed=100, longest_delay=0.2)
    start = time.monotonic()
    with client(net) as http:
        for _ in range(3):
            post(http)
    assert 0 < time.monotonic() - start < 5
    assert net.tally["delayed"] == 3


def test_when_it_is_calm_nothing_happens(network: Any, wire: Wire) -> None:
    """Whatever accidents there were before."""
    net = network(lost_request=100)
    net.settle()
    with client(net) as http:
        assert post(http) == "1"
    assert wire.bodies == [b"message"]


def test_accidents_are_the_same_for_a_seed(network: Any) -> None:
    """A device's sequence of accidents is its own, and does not change."""

    def accidents(device_id: str) -> list[bool]:
        fates = []
        with client(network(lost_request=50), device_id) as http:
            for _ in range(30):
                try:
                    post(http)
                    fates.append(True)
                except httpx2.ConnectError:
                    fates.append(False)
        return fates

    assert accidents("A") == accidents("A")
    assert accidents("A") != accidents("B")
    assert 5 < sum(accidents("A")) < 25


def test_server_errors_are_counted(network: Any, wire: Wire) -> None:
    """Statuses of 500 and above, not those below."""
    net = network()
    with client(net) as http:
        for wire.status in (200, 404, 500, 503):
            post(http)
    assert net.tally.statuses() == {200: 1, 404: 1, 500: 1, 503: 1}
    assert net.tally.server_errors == 2


class Phone:
    """What sessions need of a device."""

    def __init__(self) -> None:
        """Nothing was asked of it yet."""
        self.device_id = "A"
        self.reboots = 0
        self.interruptions: list[Interruption | None] = []

    def reboot(self, now: datetime) -> None:
        """Count it."""
        assert now.tzinfo is not None
        self.reboots += 1

    def check_in(self, now: datetime, *, interruption: Interruption | None) -> SessionReport:
        """A session of two messages."""
        assert now.tzinfo is not None
        self.interruptions.append(interruption)
        end = SessionEnd.COMPLETE if interruption is None else SessionEnd.ABANDONED
        return SessionReport(
            "A", "0", end, 2, 1, (CommandReport("Add", "x", 200), CommandReport("Get", "y", 200))
        )


def test_sessions_are_broken_off_and_devices_reboot(network: Any, now: datetime) -> None:
    """As often as was said, early and late, heard or not, and counted."""
    net, phone = network(abandoned=50, rebooted=30), Phone()
    sessions = UnrulySessions(net)
    for _ in range(200):
        sessions(phone, now)  # type: ignore[arg-type]
    broken = [each for each in phone.interruptions if each is not None]
    assert 60 < len(broken) < 140
    assert {each.after for each in broken} == {1, 2, 3, 4, 5}
    assert {each.heard for each in broken} == {True, False}
    assert 30 < phone.reboots < 90
    assert net.tally["reboots"] == phone.reboots
    assert (net.tally["sessions"], net.tally["sessions abandoned"]) == (200, len(broken))
    assert (net.tally["messages"], net.tally["resends"], net.tally["approvals 200"]) == (400, 200, 200)


def test_quiet_devices_are_left_alone(network: Any, now: datetime) -> None:
    """No accident, no interruption."""
    phone = Phone()
    sessions = UnrulySessions(network())
    for _ in range(20):
        assert sessions(phone, now).ok  # type: ignore[arg-type]
    assert (phone.reboots, phone.interruptions) == (0, [None] * 20)


def test_counts_add_up() -> None:
    """From any thread; what never happened is none."""
    tally = Tally()
    report = SessionReport("A", "0", SessionEnd.COMPLETE, 3, 0, ())
    threads = [threading.Thread(target=count, args=(tally, report)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tally["sessions complete"], tally["messages"], tally["reboots"]) == (20, 60, 0)
