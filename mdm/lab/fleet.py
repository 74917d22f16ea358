"""`csp-bridge device run`: virtual Windows devices against any bridge, for trying things out and for load.

A device that has no credentials in the state directory is enrolled over REST first. With `--chaos` the network
and the devices misbehave, and at the end bridge and devices are compared.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdm.clock import utc_now
from mdm.commands.base import EXIT_FAILED
from mdm.lab.chaos import run_chaos
from mdm.lab.generate import build_catalogue
from mdm.lab.muster import FleetOptions, http_client, make_device, muster
from mdm.lab.polling import Polling, PollingResult, poll, session_line
from mdm.lab.store import DeviceStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mdm.lab.device import SessionReport, VirtualDevice

__all__ = ["add_parser", "run_fleet", "stopping_on_signals"]


def run_fleet(
    options: FleetOptions,
    *,
    say: Callable[[str], object] = print,
    stop: threading.Event | None = None,
) -> PollingResult:
    """Make or find the devices and let them poll until each has had its sessions, the duration is over, or `stop` is set.

    Raises CommandError if the devices cannot be had: no token, the bridge away or unwilling, a foreign state.
    """
    stop = stop or threading.Event()
    store = DeviceStore(options.state_dir)
    catalogue = build_catalogue(options.seed, utc_now())
    with http_client() as http:
        records = muster(options, store, http, say, stop)
        devices = [
            make_device(record, store, catalogue, http=http, habits=options.habits, stop=stop)
            for record in records
        ]
        say(f"{len(devices)} devices poll {options.server} every {options.interval:g} s. Ctrl-C stops them.")
        polling = Polling(options.interval, options.sessions, options.seed, options.duration)

        def tell(device: VirtualDevice, report: SessionReport, next_in: float | None) -> None:
            say(session_line(device, report, utc_now(), next_in))

        return poll(devices, polling, clock=utc_now, tell=tell, stop=stop)


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
        description="Each session is one line. Exit code 0: all sessions ended well; 1: some did not; 2: could not "
        "run. With --chaos: 0 if bridge and devices agree in the end and no HTTP 5xx came; 1 if not.",
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
    run.add_argument("--duration", type=_seconds, metavar="SECONDS", help="begin no session after that")
    run.add_argument("--seed", type=int, default=1, help="other devices, and the catalogue of that upstream")
    run.add_argument("--accelerate", action="store_true", help="let installations take seconds, not hours")
    run.add_argument(
        "--chaos",
        action="store_true",
        help="lose, repeat and delay messages, break sessions off, reboot devices; then compare",
    )
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
        duration=args.duration,
        chaos=args.chaos,
    )
    stop = threading.Event()
    with stopping_on_signals(stop):
        if options.chaos:
            return 0 if run_chaos(options, say=_line, stop=stop).ok else EXIT_FAILED
        result = run_fleet(options, say=_line, stop=stop)
    _line(f"{result.sessions} sessions, {result.failed} not completed.")
    return EXIT_FAILED if result.failed else 0


def _line(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
