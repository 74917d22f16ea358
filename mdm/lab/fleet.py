"""`csp-bridge device run`: virtual Windows devices against any bridge, for trying things out and for load.

A device that has no credentials in the state directory is enrolled over REST first. Identity, Windows version
and behaviour of a device follow from the seed and its number, so the same command finds its devices again.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx2

from mdm.clock import utc_now
from mdm.commands.base import EXIT_FAILED, CommandError
from mdm.lab.device import Patience, VirtualDevice
from mdm.lab.dice import Dice
from mdm.lab.enrol import ApiProblem, BridgeApi, BridgeAway, enrol
from mdm.lab.generate import build_catalogue
from mdm.lab.offers import offers_for, preinstalled_for
from mdm.lab.polling import Polling, PollingResult, poll, session_line
from mdm.lab.store import DeviceRecord, DeviceStore, Identity
from mdm.lab.versions import Build
from mdm.lab.windows import QUICK, TYPICAL, Habits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mdm.lab.catalogue import Catalogue, OfferedUpdate
    from mdm.lab.device import SessionReport

__all__ = [
    "BUILDS",
    "FleetOptions",
    "add_parser",
    "http_client",
    "identity_of",
    "make_device",
    "run_fleet",
    "stopping_on_signals",
]

BUILDS: Final = (
    ("10.0.26200.7000", 25),
    ("10.0.26100.4652", 40),
    ("10.0.22631.5500", 15),
    ("10.0.19045.6000", 15),
    ("10.0.14393.7606", 5),
)
"""Windows builds and how many devices of a hundred have them: 11 25H2, 24H2, 23H2, 10 22H2, 10 1607."""

_MODELS: Final = (
    ("Dell Inc.", "Latitude 5450"),
    ("LENOVO", "21HD004TGE"),
    ("HP", "HP EliteBook 840 G10"),
    ("Microsoft Corporation", "Surface Laptop 6"),
    ("VMware, Inc.", "VMware20,1"),
)
_FAILURE_PERCENT: Final = 5
_ENROL_WAITS: Final = (1.0, 2.0, 4.0, 8.0)
"""Seconds between attempts to enrol while the bridge is away."""


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """What `csp-bridge device run` was asked for."""

    server: str
    count: int = 1
    token: str | None = None
    """API token with devices.write; needed as long as a device has no credentials."""
    state_dir: Path = Path("devices")
    interval: float = 60
    """Seconds between two sessions of a device."""
    sessions: int | None = None
    seed: int = 1
    """Identities, behaviour, and the catalogue: that of `csp-bridge upstream serve --seed`."""
    accelerate: bool = False
    """Scans, installations and restarts take seconds, not hours."""


def run_fleet(
    options: FleetOptions,
    *,
    say: Callable[[str], object] = print,
    stop: threading.Event | None = None,
) -> PollingResult:
    """Make or find the devices and let them poll until each has had its sessions or `stop` is set.

    Raises CommandError if the devices cannot be had: no token, the bridge away or unwilling, a foreign state.
    """
    stop = stop or threading.Event()
    store = DeviceStore(options.state_dir)
    catalogue = build_catalogue(options.seed, utc_now())
    with http_client() as http:
        records = _muster(options, store, http, say, stop)
        habits = Habits(
            pace=QUICK if options.accelerate else TYPICAL,
            seed=options.seed,
            failure_percent=_FAILURE_PERCENT,
        )
        devices = [
            make_device(record, store, catalogue, http=http, habits=habits, stop=stop) for record in records
        ]
        say(f"{len(devices)} devices poll {options.server} every {options.interval:g} s. Ctrl-C stops them.")
        polling = Polling(options.interval, options.sessions, options.seed)

        def tell(device: VirtualDevice, report: SessionReport, next_in: float | None) -> None:
            say(session_line(device, report, utc_now(), next_in))

        return poll(devices, polling, clock=utc_now, tell=tell, stop=stop)


def make_device(
    record: DeviceRecord,
    store: DeviceStore,
    catalogue: Catalogue,
    *,
    http: httpx2.Client,
    habits: Habits,
    stop: threading.Event,
    patience: Patience | None = None,
    extra: tuple[OfferedUpdate, ...] = (),
) -> VirtualDevice:
    """The device of a record, offered what the catalogue has for its build, and `extra`; a new one comes with updates.

    No two devices of one seed fail at the same updates.
    """
    build = Build.parse(record.identity.os_build)
    own_seed = Dice(habits.seed).number(f"habits/{record.identity.device_id}", 0, 1 << 32)
    offers = (*offers_for(catalogue, build), *extra)
    device = VirtualDevice(
        record,
        store,
        lambda _now: offers,
        http=http,
        habits=replace(habits, seed=own_seed),
        patience=patience,
        sleep=stop.wait,
    )
    if record.windows.last_scan is None:
        device.windows.preinstall(preinstalled_for(catalogue, build), utc_now())
        device.save()
    return device


def http_client() -> httpx2.Client:
    """The connections of the lab: no proxy of the environment, one pool for all devices."""
    return httpx2.Client(trust_env=False, timeout=30)


def identity_of(seed: int, number: int) -> Identity:
    """The device with this number in a fleet of this seed."""
    dice = Dice(seed)
    lot = dice.number(f"fleet/{number}/build", 0, 99)
    manufacturer, model = _MODELS[dice.number(f"fleet/{number}/model", 0, len(_MODELS) - 1)]
    return Identity(
        device_id=dice.bytes(f"fleet/{number}/device-id")[:16].hex().upper(),
        name=f"LAB{seed}-{number + 1:04d}",
        os_build=_build_of(lot),
        manufacturer=manufacturer,
        model=model,
    )


def _build_of(lot: int) -> str:
    for build, share in BUILDS[:-1]:
        if lot < share:
            return build
        lot -= share
    return BUILDS[-1][0]


def _muster(
    options: FleetOptions,
    store: DeviceStore,
    http: httpx2.Client,
    say: Callable[[str], object],
    stop: threading.Event,
) -> list[DeviceRecord]:
    """The stored records of the devices; those that have none are enrolled. A stop leaves the rest out."""
    records: list[DeviceRecord] = []
    for number in range(options.count):
        identity = identity_of(options.seed, number)
        record = _stored(identity, store, f"{options.server.rstrip('/')}/omadm")
        if record is None:
            if options.token is None:
                raise CommandError(
                    f"{identity.name} has no credentials in {store.directory}. Give a token that may enrol it: "
                    "csp-bridge token create --name lab --scope devices.write --plain"
                )
            record = _enrolled(identity, BridgeApi(options.server, options.token, http), store, say, stop)
        if stop.is_set():
            break
        records.append(record)
    return records


def _stored(identity: Identity, store: DeviceStore, endpoint: str) -> DeviceRecord | None:
    try:
        record = store.load(identity.device_id)
    except ValueError as error:
        raise CommandError(f"{error}.") from None
    if record is not None and record.account.server_uri != endpoint:
        raise CommandError(
            f"{identity.name} in {store.directory} belongs to {record.account.server_uri}; "
            "use another --state-dir or --seed for this server."
        )
    return record


def _enrolled(
    identity: Identity,
    api: BridgeApi,
    store: DeviceStore,
    say: Callable[[str], object],
    stop: threading.Event,
) -> DeviceRecord:
    waits = iter(_ENROL_WAITS)
    while True:
        try:
            enrolment = enrol(api, identity)
        except BridgeAway as away:
            pause = next(waits, None)
            if pause is None or stop.is_set():
                raise CommandError(f"{identity.name} could not be enrolled: {away}.") from None
            say(f"{away}; trying again in {pause:g} s")
            stop.wait(pause)
        except ApiProblem as problem:
            raise CommandError(_enrol_problem(identity, problem, store)) from None
        else:
            record = DeviceRecord(identity, enrolment.account, enrolment.nonce)
            store.save(record)
            return record


def _enrol_problem(identity: Identity, problem: ApiProblem, store: DeviceStore) -> str:
    if problem.code == "device_exists":
        return (
            f"The bridge knows {identity.name} already, but its credentials are not in {store.directory}: "
            "use the --state-dir it was made with, or another --seed."
        )
    return f"The bridge does not enrol {identity.name}: {problem}"


@contextmanager
def stopping_on_signals(stop: threading.Event) -> Iterator[None]:
    """SIGINT and SIGTERM set the event, in place of what they do otherwise; for the main thread."""

    def handler(number: int, frame: object) -> None:
        del number, frame
        stop.set()

    previous = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in previous.items():
            signal.signal(number, old)


def add_parser(subparsers: Any) -> None:
    """Add `device run`."""
    parser = subparsers.add_parser("device", help="run simulated Windows devices")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    run = verbs.add_parser(
        "run",
        help="enrol virtual devices and let them check in",
        description="Each session is one line. Exit code 0: all sessions ended well; 1: some did not; 2: could not run.",
    )
    run.add_argument("--server", required=True, metavar="URL", help="the bridge, e.g. http://127.0.0.1:8480")
    run.add_argument("--count", type=_positive, default=1, metavar="N", help="devices (default 1)")
    run.add_argument("--token", help="API token with devices.write, to enrol devices that are new")
    run.add_argument(
        "--state-dir",
        type=Path,
        default=Path("devices"),
        metavar="DIR",
        help="where the devices keep themselves (default ./devices)",
    )
    run.add_argument(
        "--interval",
        type=_seconds,
        default=60.0,
        metavar="SECONDS",
        help="between two sessions (default 60)",
    )
    run.add_argument("--sessions", type=_positive, metavar="K", help="sessions of each device, then end")
    run.add_argument("--seed", type=int, default=1, help="other devices, and the catalogue of that upstream")
    run.add_argument("--accelerate", action="store_true", help="let installations take seconds, not hours")
    run.set_defaults(func=_run)


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) < 1_000_000):  # noqa: PLR2004 - more is a mistake
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 999999")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 10_000_000:  # noqa: PLR2004 - four months: more is a mistake
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def _run(args: argparse.Namespace) -> int:
    options = FleetOptions(
        server=args.server,
        count=args.count,
        token=args.token,
        state_dir=args.state_dir,
        interval=args.interval,
        sessions=args.sessions,
        seed=args.seed,
        accelerate=args.accelerate,
    )
    stop = threading.Event()
    with stopping_on_signals(stop):
        result = run_fleet(options, say=_line, stop=stop)
    _line(f"{result.sessions} sessions, {result.failed} not completed.")
    return EXIT_FAILED if result.failed else 0


def _line(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
