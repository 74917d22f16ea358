"""A network and devices that misbehave: what between two messages can go wrong does, by seeded chance, and is counted.

Each device has its own sequence of accidents, a function of the seed; when they fall depends on the machine.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import httpx2

from mdm.lab.device import Interruption

if TYPE_CHECKING:
    from datetime import datetime

    from mdm.lab.device import SessionReport, VirtualDevice

__all__ = ["Accidents", "Network", "Tally", "UnrulyLink", "UnrulySessions", "count"]

_ECHOES: Final = 16
"""Duplicates under way at a time."""
_LATEST_ECHO: Final = 0.5
"""Seconds by which a duplicate comes after its original, at most."""
_LAST_MESSAGE: Final = 5
"""A session is broken off after so many messages at the latest."""
_SERVER_ERRORS: Final = 500


@dataclass(frozen=True, slots=True)
class Accidents:
    """How often what happens, in percent: of the requests, and below of the sessions."""

    lost_request: float = 3
    lost_reply: float = 5
    repeated: float = 4
    """Sent again after the answer, which only then is heard."""
    echoed: float = 4
    """Sent again by somebody else, at the same time or a little later; that answer nobody hears."""
    delayed: float = 10
    longest_delay: float = 1.0
    """Seconds."""
    abandoned: float = 10
    """Of the sessions: broken off after a message."""
    rebooted: float = 8
    """Of the sessions: the device restarts before it, with what is on its disk."""


class Tally:
    """Counts of what happened; safe to share between threads."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, what: str, by: int = 1) -> None:
        """Count something."""
        with self._lock:
            self._counts[what] += by

    def __getitem__(self, what: str) -> int:
        """How often it happened."""
        return self._counts[what]

    def statuses(self) -> dict[int, int]:
        """HTTP statuses of all answers, heard or not, with their numbers."""
        with self._lock:
            return {
                int(what.removeprefix("HTTP ")): count
                for what, count in sorted(self._counts.items())
                if what.startswith("HTTP ")
            }

    @property
    def server_errors(self) -> int:
        """Answers of 500 and above."""
        return sum(count for status, count in self.statuses().items() if status >= _SERVER_ERRORS)


@dataclass(slots=True)
class Network:
    """What all devices share: the wire, the accidents, the counts."""

    wire: httpx2.BaseTransport
    seed: int
    accidents: Accidents = field(default_factory=Accidents)
    tally: Tally = field(default_factory=Tally)
    calm: bool = False
    """True: nothing goes wrong any more."""
    _echoes: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(_ECHOES, thread_name_prefix="echo")
    )
    _under_way: set[Future[None]] = field(default_factory=set)

    def settle(self) -> None:
        """End the accidents and wait until no duplicate is under way any more."""
        self.calm = True
        wait(set(self._under_way))
        self._echoes.shutdown()

    def send(self, request: httpx2.Request) -> httpx2.Response:
        """One request over the wire and its whole answer, counted."""
        try:
            response = self.wire.handle_request(request)
            response.read()
        except httpx2.TransportError:
            self.tally.add("broken")
            raise
        finally:
            self.tally.add("requests")
        self.tally.add(f"HTTP {response.status_code}")
        return response

    def echo(self, request: httpx2.Request, delay: float) -> None:
        """Send the same bytes again from elsewhere, `delay` seconds from now."""
        future = self._echoes.submit(self._echo, _copy(request), delay)
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)

    def _echo(self, request: httpx2.Request, delay: float) -> None:
        time.sleep(delay)
        try:
            self.send(request).close()
        except httpx2.TransportError:
            return  # counted by `send`; nobody waits for this answer


class UnrulyLink(httpx2.BaseTransport):
    """The way of one device to the server; httpx2's errors are the device's only news of an accident."""

    def __init__(self, network: Network, device_id: str) -> None:
        """Accidents are those of the network's seed for this device."""
        self._network = network
        self._random = random.Random(f"{network.seed}/link/{device_id}")

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """The answer, whatever it takes; a TransportError where it is lost."""
        network, accidents = self._network, self._network.accidents
        request.read()
        if network.calm:
            return network.send(request)
        if self._happens(accidents.delayed):
            network.tally.add("delayed")
            time.sleep(self._random.uniform(0, accidents.longest_delay))
        if self._happens(accidents.lost_request):
            network.tally.add("lost requests")
            raise httpx2.ConnectError("the request is lost", request=request)
        if self._happens(accidents.echoed):
            network.tally.add("echoed")
            network.echo(request, self._random.choice((0.0, self._random.uniform(0, _LATEST_ECHO))))
        repeated = self._happens(accidents.repeated)
        lost = self._happens(accidents.lost_reply)
        response = network.send(request)
        if repeated:
            network.tally.add("repeated")
            response.close()
            response = network.send(_copy(request))
        if lost:
            network.tally.add("lost replies")
            response.close()
            raise httpx2.ReadError("the reply is lost", request=request)
        return response

    def _happens(self, percent: float) -> bool:
        return self._random.uniform(0, 100) < percent


def _copy(request: httpx2.Request) -> httpx2.Request:
    return httpx2.Request(request.method, request.url, headers=request.headers, content=request.content)


class UnrulySessions:
    """Check-ins that are broken off, and restarts between them."""

    def __init__(self, network: Network) -> None:
        """Accidents are those of the network's seed for each device."""
        self._network = network
        self._random: dict[str, random.Random] = {}

    def __call__(self, device: VirtualDevice, now: datetime) -> SessionReport:
        """One session of a device, with or without an accident."""
        network, accidents = self._network, self._network.accidents
        dice = self._random.setdefault(
            device.device_id, random.Random(f"{network.seed}/sessions/{device.device_id}")
        )
        if dice.uniform(0, 100) < accidents.rebooted:
            network.tally.add("reboots")
            device.reboot(now)
        interruption = None
        if dice.uniform(0, 100) < accidents.abandoned:
            interruption = Interruption(dice.randint(1, _LAST_MESSAGE), dice.random() < 0.5)  # noqa: PLR2004 - heads or tails
        report = device.check_in(now, interruption=interruption)
        count(network.tally, report)
        return report


def count(tally: Tally, report: SessionReport) -> None:
    """Count a session: how it ended, its messages, and what the device answered to approvals."""
    tally.add("sessions")
    tally.add(f"sessions {report.end}")
    tally.add("messages", report.messages)
    tally.add("resends", report.resends)
    for command in report.commands:
        if command.verb == "Add":
            tally.add(f"approvals {command.status}")
