"""`csp-bridge device run`: virtual Windows devices against any bridge, for trying things out and for load.

A device that has no credentials in the state directory is enrolled over REST first; one that has enrolled itself
(`device enrol`) shows its certificate, and renews it in time. With `--chaos` the network and the devices misbehave,
and at the end bridge and devices are compared.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mdm.clock import utc_now
from mdm.commands.base import EXIT_FAILED, CommandError
from mdm.lab.chaos import run_chaos
from mdm.lab.enrolment_commands import add_enrolment_verbs
from mdm.lab.generate import build_catalogue
from mdm.lab.link import connect
from mdm.lab.muster import FleetOptions, http_client, make_device, muster
from mdm.lab.polling import Polling, PollingResult, poll, session_line
from mdm.lab.renewing import look_after
from mdm.lab.schedule import has_schedule
from mdm.lab.store import DeviceStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    import httpx2

    from mdm.lab.device import SessionReport, VirtualDevice
    from mdm.lab.store import DeviceRecord

__all__ = ["add_parser", "run_fleet", "stopping_on_signals"]

_INTERVAL: Final = 60.0
_MINUTE: Final = 60.0
_QUICK_MINUTE: Final = 1.0


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
            make_device(
                record, store, catalogue, http=_connections(record, http), habits=options.habits, stop=stop
            )
            for record in records
        ]
        where = options.server or "their servers"
        say(f"{_devices(len(devices))} {where} {_how_often(options, devices)}. Ctrl-C stops them.")
        polling = Polling(
            None if options.own_schedule else options.interval,
            options.sessions,
            options.seed,
            options.duration,
            unscheduled=options.interval,
            minute=_QUICK_MINUTE if options.accelerate else _MINUTE,
        )

        def tell(device: VirtualDevice, report: SessionReport, next_in: float | None) -> None:
            say(session_line(device, report, utc_now(), next_in))

        def session(device: VirtualDevice, now: datetime) -> SessionReport:
            look_after(device, now, say)
            return device.check_in(now)

        try:
            return poll(devices, polling, clock=utc_now, tell=tell, stop=stop, session=session)
        finally:
            for device in devices:
                if device.http is not http:
                    device.http.close()


def _devices(number: int) -> str:
    return "1 device polls" if number == 1 else f"{number} devices poll"


def _how_often(options: FleetOptions, devices: Sequence[VirtualDevice]) -> str:
    """The intervals, in words."""
    others = f"every {options.interval:g} s"
    if not options.own_schedule or not any(has_schedule(device.windows.settings) for device in devices):
        return others
    minute = ", with minutes that last a second" if options.accelerate else ""
    return f"as each was told{minute}, and {others} where nobody has said"


def _connections(record: DeviceRecord, shared: httpx2.Client) -> httpx2.Client:
    """Connections of its own for a device with a certificate; all others share theirs."""
    if record.certificate is None:
        return shared
    try:
        return connect(record.link, record.certificate)
    except ValueError as problem:
        raise CommandError(f"{record.identity.name}: {problem}.") from None


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
    """Add `device run`, `enrol`, `renew` and `unenrol`."""
    parser = subparsers.add_parser("device", help="run simulated Windows devices")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    run = verbs.add_parser(
        "run",
        help="enrol virtual devices and let them check in",
        description="Each session is one line. Exit code 0: all sessions ended well; 1: some did not; 2: could not "
        "run. With --chaos: 0 if bridge and devices agree in the end and no HTTP 5xx came; 1 if not.",
    )
    run.add_argument(
        "--server",
        default="",
        metavar="URL",
        help="the bridge, e.g. http://127.0.0.1:8480; needless for devices that have enrolled themselves",
    )
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
        metavar="SECONDS",
        help="between two sessions (default: as the device's enrolment says, else 60)",
    )
    run.add_argument("--sessions", type=_positive, metavar="K", help="sessions of each device, then end")
    run.add_argument("--duration", type=_seconds, metavar="SECONDS", help="begin no session after that")
    run.add_argument("--seed", type=int, default=1, help="other devices, and the catalogue of that upstream")
    run.add_argument(
        "--accelerate",
        action="store_true",
        help="let installations take seconds, not hours, and the minutes of poll schedules a second each",
    )
    run.add_argument(
        "--chaos",
        action="store_true",
        help="lose, repeat and delay messages, break sessions off, reboot devices; then compare",
    )
    run.set_defaults(func=_run)
    add_enrolment_verbs(verbs)


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
        interval=_INTERVAL if args.interval is None else args.interval,
        own_schedule=args.interval is None,
        sessions=args.sessions,
        seed=args.seed,
        accelerate=args.accelerate,
        duration=args.duration,
        chaos=args.chaos,
    )
    if options.chaos and not options.server:
        raise CommandError("--chaos compares devices with one bridge: name its --server.")
    stop = threading.Event()
    with stopping_on_signals(stop):
        if options.chaos:
            return 0 if run_chaos(options, say=_line, stop=stop).ok else EXIT_FAILED
        result = run_fleet(options, say=_line, stop=stop)
    sessions = "1 session" if result.sessions == 1 else f"{result.sessions} sessions"
    _line(f"{sessions}, {result.failed} not completed.")
    return EXIT_FAILED if result.failed else 0


def _line(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
