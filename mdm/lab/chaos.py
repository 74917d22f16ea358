"""`csp-bridge device run --chaos`: a fleet with different manners, on a network and in a house where things go wrong.

When the time is over nothing goes wrong any more: each device checks in until it has nothing to tell and is told
nothing. Then the bridge must know every update of every device as the device shows it, and every device must have
been told exactly what is approved for it.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import httpx2

from mdm.clock import utc_now
from mdm.commands.base import CommandError
from mdm.lab.agreement import Approvals, differences
from mdm.lab.cast import Member
from mdm.lab.device import Patience
from mdm.lab.enrol import ApiProblem, BridgeApi, BridgeAway
from mdm.lab.generate import build_catalogue
from mdm.lab.manners import manners_of
from mdm.lab.muster import http_client, make_device, muster
from mdm.lab.polling import Polling, poll
from mdm.lab.store import DeviceStore
from mdm.lab.tables import render_table
from mdm.lab.unruly import Network, Tally, UnrulyLink, UnrulySessions, count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from mdm.lab.device import SessionReport, VirtualDevice
    from mdm.lab.muster import FleetOptions

__all__ = ["ChaosResult", "run_chaos"]

_AT_ONCE: Final = 48
"""Sessions at a time: most of them wait for an accident to be over."""
_CONNECTIONS: Final = 200
_PATIENCE: Final = Patience(attempts=8, first_wait=0.1, longest_wait=2, timeout=30)
_ROUNDS: Final = 12
"""Sessions in which a device must come to rest."""
_ENOUGH: Final = 2
"""Quiet sessions in a row after which a device rests."""
_TOLD: Final = 20
"""Differences that are printed."""
_REPORT_EVERY: Final = 10.0
"""Seconds between two lines of progress."""

_ROWS: Final = (
    ("sessions", "sessions"),
    ("complete", "sessions complete"),
    ("broken off by the device", "sessions abandoned"),
    ("refused", "sessions refused"),
    ("aborted by the server", "sessions aborted"),
    ("server unreachable", "sessions unreachable"),
    ("rejected (HTTP 4xx)", "sessions rejected"),
    ("unreadable", "sessions unreadable"),
    ("messages answered", "messages"),
    ("messages sent again", "resends"),
    ("requests on the wire", "requests"),
    ("lost requests", "lost requests"),
    ("lost replies", "lost replies"),
    ("repeated by the device", "repeated"),
    ("repeated by the network", "echoed"),
    ("delayed", "delayed"),
    ("broken connections", "broken"),
    ("reboots", "reboots"),
    ("approvals taken (200)", "approvals 200"),
    ("approvals told again (418)", "approvals 418"),
)


@dataclass(frozen=True, slots=True)
class ChaosResult:
    """What it came to."""

    tally: Tally
    differences: tuple[str, ...]
    """Sentences; none if bridge and devices agree."""
    seconds: float
    """Of the chaos, without enrolment before and rest after it."""

    @property
    def ok(self) -> bool:
        """True if bridge and devices agree and the bridge never answered HTTP 5xx."""
        return not self.differences and not self.tally.server_errors


def run_chaos(
    options: FleetOptions,
    *,
    say: Callable[[str], object] = print,
    stop: threading.Event | None = None,
) -> ChaosResult:
    """Let the fleet have its accidents until its sessions or time are over or `stop` is set; then compare.

    Raises CommandError if the devices cannot be had, or there is no token to read the bridge with.
    """
    stop = stop or threading.Event()
    if options.token is None:
        raise CommandError(
            "--chaos compares in the end: it needs a --token with devices.read and approvals.read"
        )
    store = DeviceStore(options.state_dir)
    limits = httpx2.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS)
    with http_client() as http, httpx2.HTTPTransport(trust_env=False, limits=limits) as wire:
        records = muster(options, store, http, say, stop)
        network = Network(wire, options.seed)
        catalogue = build_catalogue(options.seed, utc_now())
        devices = [
            make_device(
                record,
                store,
                catalogue,
                http=httpx2.Client(
                    transport=UnrulyLink(network, record.identity.device_id), trust_env=False, timeout=30
                ),
                habits=options.habits,
                manners=manners_of(options.seed, number),
                patience=_PATIENCE,
                # Waits are short here, and those of the rest at the end must be kept after a stop, too.
                stop=threading.Event(),
            )
            for number, record in enumerate(records)
        ]
        say(
            f"{len(devices)} devices of different manners check in every {options.interval:g} s; things go wrong."
        )
        start = time.monotonic()
        _misbehave(options, devices, network, say, stop)
        seconds = time.monotonic() - start
        say(f"Calm after {seconds:.1f} s. The devices check in until nothing changes.")
        network.settle()
        api = BridgeApi(options.server, options.token, http)
        problems = (*_rest(devices, network.tally), *_compare(api, devices))
    result = ChaosResult(network.tally, problems, seconds)
    _tell(result, len(devices), say)
    return result


def _misbehave(
    options: FleetOptions,
    devices: Sequence[VirtualDevice],
    network: Network,
    say: Callable[[str], object],
    stop: threading.Event,
) -> None:
    start = time.monotonic()
    due = start + _REPORT_EVERY
    tally = network.tally

    def tell(_device: VirtualDevice, _report: SessionReport, _next_in: float | None) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due += _REPORT_EVERY
            say(
                f"{time.monotonic() - start:6.0f} s: {tally['sessions']} sessions, {tally['messages']} messages, "
                f"{tally['reboots']} reboots, {tally.server_errors} server errors"
            )

    poll(
        devices,
        Polling(options.interval, options.sessions, options.seed, options.duration, _AT_ONCE),
        clock=utc_now,
        tell=tell,
        stop=stop,
        session=UnrulySessions(network),
    )


def _rest(devices: Sequence[VirtualDevice], tally: Tally) -> list[str]:
    """Let each device check in at one moment of its time until a session changes nothing."""
    now = utc_now()

    def settle(device: VirtualDevice) -> str | None:
        quiet = 0
        for _ in range(_ROUNDS):
            quiet = quiet + 1 if _quiet(device, now, tally) else 0
            # One is not enough: the first may pass for the repetition of an older session.
            if quiet == _ENOUGH:
                return None
        return f"{device.record.identity.name}: did not come to rest in {_ROUNDS} sessions"

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="rest") as pool:
        return [problem for problem in pool.map(settle, devices) if problem is not None]


def _quiet(device: VirtualDevice, now: datetime, tally: Tally) -> bool:
    """One session; true if it was completed and left the device as it was."""
    device.advance(now)
    before = device.windows.state
    report = device.check_in(now)
    count(tally, report)
    return (
        report.ok and device.windows.state == before and all(each.verb == "Get" for each in report.commands)
    )


def _compare(api: BridgeApi, devices: Sequence[VirtualDevice]) -> list[str]:
    """What bridge and devices do not agree about."""
    try:
        approvals = list(api.every("/approvals"))
        known = {each["device_id"]: each for each in api.every("/devices")}
        return [
            problem
            for device in devices
            for problem in differences(
                api,
                Member(device, known[device.device_id]["id"], "", frozenset(), frozenset()),
                Approvals.of(approvals, known[device.device_id]["groups"]),
            )
        ]
    except (ApiProblem, BridgeAway) as problem:
        return [f"The bridge could not be asked: {problem}"]


def _tell(result: ChaosResult, devices: int, say: Callable[[str], object]) -> None:
    tally = result.tally
    rows = [(name, str(tally[key])) for name, key in _ROWS]
    rows += [(f"answers HTTP {status}", str(number)) for status, number in tally.statuses().items()]
    say(render_table(("WHAT", "COUNT"), rows))
    for problem in result.differences[:_TOLD]:
        say(problem)
    verdict = (
        "Bridge and devices agree" if not result.differences else f"{len(result.differences)} differences"
    )
    say(
        f"{verdict}: {devices} devices, {tally.server_errors} server errors, {result.seconds:.0f} s of chaos."
    )
