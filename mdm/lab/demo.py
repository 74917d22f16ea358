"""`csp-bridge demo`: a WSUS, a bridge and ten Windows devices on this machine, and the story they play.

The bridge is a real `csp-bridge serve` in a process of its own, with its own data; everything speaks the real
protocols over sockets. With `--once` the exit code says whether every step held; without, all stay up.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from csp.classifications import CLASSIFICATIONS, DEFINITION_UPDATES
from mdm.clock import utc_now
from mdm.commands.base import EXIT_FAILED, CommandError
from mdm.lab.bridge import BridgeProcess
from mdm.lab.cast import Cast, Member, Props
from mdm.lab.catalogue import OfferedUpdate
from mdm.lab.device import Patience
from mdm.lab.dice import Dice
from mdm.lab.enrol import BridgeApi, enrol
from mdm.lab.enrolling import Applicant, discovery_url, enrol_device
from mdm.lab.fleet import stopping_on_signals
from mdm.lab.generate import build_catalogue
from mdm.lab.link import connect
from mdm.lab.month import play_month
from mdm.lab.muster import make_device
from mdm.lab.offers import offers_for
from mdm.lab.polling import Polling, poll, session_line
from mdm.lab.store import DeviceStore, Identity, Link
from mdm.lab.story import Story
from mdm.lab.tables import render_table
from mdm.lab.upstream import UpstreamServer
from mdm.lab.versions import Build
from mdm.lab.windows import QUICK, TYPICAL, Habits
from mdm.log import configure_logging

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from mdm.lab.catalogue import Catalogue
    from mdm.lab.device import SessionReport, VirtualDevice
    from mdm.lab.store import DeviceRecord
    from mdm.lab.story import StepResult

__all__ = ["DemoOptions", "add_parser", "run_demo", "run_month"]

_PORT: Final = 8480
_LAST_PORT: Final = 65535
_POLL_SECONDS: Final = 30.0
_AT_ONCE: Final = 4
"""Devices that enrol at a time: each makes a key, which takes a processor."""
_SCOPES: Final = ("admin", "eula.accept")
_DISK_FULL: Final = 0x80070070
_APPLICATIONS: Final = next(guid for guid, name in CLASSIFICATIONS.items() if name == "Applications")
_PATIENCE: Final = Patience(attempts=30, first_wait=0.25, longest_wait=1)
"""The bridge is restarted within seconds: there is no sense in waiting for minutes."""

_DOMAIN: Final = "contoso.test"
_CERTIFICATE_DAYS: Final = 2
"""So few that the bridge allows a renewal at any time; and a demo that is left alone renews them each day."""

_DEVICES: Final = (
    ("FINANCE-01", "10.0.26100.4652", "Windows 11 24H2", "Dell Inc.", "Latitude 5450"),
    ("FINANCE-02", "10.0.26100.4652", "Windows 11 24H2", "Dell Inc.", "Latitude 5450"),
    ("SALES-03", "10.0.26100.4652", "Windows 11 24H2", "LENOVO", "21HD004TGE"),
    ("SALES-04", "10.0.26100.4652", "Windows 11 24H2", "LENOVO", "21HD004TGE"),
    ("DESIGN-05", "10.0.26100.4652", "Windows 11 24H2", "HP", "HP Z2 Tower G9"),
    ("DESIGN-06", "10.0.26100.4652", "Windows 11 24H2", "HP", "HP Z2 Tower G9"),
    ("MEETING-07", "10.0.22631.5500", "Windows 11 23H2", "Microsoft Corporation", "Surface Hub 3"),
    ("MEETING-08", "10.0.22631.5500", "Windows 11 23H2", "Microsoft Corporation", "Surface Hub 3"),
    ("FRONTDESK-09", "10.0.19045.6000", "Windows 10 22H2", "HP", "HP EliteDesk 800 G4"),
    ("PLANT-10", "10.0.14393.7606", "Windows 10 1607", "Siemens", "SIMATIC IPC427E"),
)
_MADE_BY_IT: Final = frozenset({"MEETING-07", "MEETING-08"})
"""Those that do not enrol themselves: IT makes them over REST, with credentials in their messages."""
_TOLD: Final = frozenset({"FINANCE-01"})
"""Whose enrolment is told step by step."""
_FAILS: Final = "SALES-04"
_LOCAL: Final = "DESIGN-06"
"""The device that is offered an update of the organisation's own, which no upstream knows."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What `csp-bridge demo` was asked for."""

    once: bool = False
    port: int | None = None
    """None: 8480, with `once` a free one."""
    data_dir: Path | None = None
    """None: a temporary one, removed at the end."""
    seed: int = 1


def run_demo(
    options: DemoOptions,
    *,
    say: Callable[[str], object] = print,
    stop: threading.Event | None = None,
) -> list[StepResult]:
    """Play the story; without `once`, stay up afterwards until `stop` is set or a signal comes.

    Nothing is left running or, unless `data_dir` is given, lying about. Raises CommandError if the story
    cannot begin: the port is taken, the data directory is not empty.
    """
    with ExitStack() as stack:
        directory = _directory(options, stack)
        port = _port(options)
        catalogue = build_catalogue(options.seed, utc_now())
        upstream = stack.enter_context(UpstreamServer(catalogue))
        bridge = BridgeProcess(
            directory / "bridge",
            port,
            {
                "BRIDGE_UPSTREAM_URL": upstream.url,
                "BRIDGE_EULA_ACCEPT_BY_TOKEN": "true",
                "BRIDGE_PUBLIC_URL": f"https://enterpriseenrollment.{_DOMAIN}",
                "BRIDGE_CERTIFICATE_DAYS": str(_CERTIFICATE_DAYS),
            },
            tls=True,
        )
        stack.callback(bridge.stop)
        props = _props(catalogue, options.seed)
        crew = _Crew(
            catalogue, props, DeviceStore(directory / "devices"), bridge, stop or threading.Event(), stack
        )
        tokens: list[str] = []

        def connect_api() -> BridgeApi:
            tokens.append(bridge.make_token("administrator", _SCOPES))
            return BridgeApi(bridge.url, tokens[0], stack.enter_context(bridge.client()))

        thieves = DeviceStore(directory / "thieves")
        cast = Cast(catalogue, props, upstream.url, bridge, connect_api, crew.enrol, thieves, _DOMAIN)
        results = Story(cast, say).play()
        _summary(results, say)
        if not options.once and results[-1].problem is None:
            guard = nullcontext() if stop else stopping_on_signals(crew.stop)
            with guard:
                _stay_up(cast, tokens[0], say, crew.stop)
    return results


def run_month(options: DemoOptions, *, say: Callable[[str], object] = print) -> list[StepResult]:
    """Play a month of updates in virtual time and end; the bridge's log is a file in the directory.

    Raises CommandError if the data directory is not empty.
    """
    with ExitStack() as stack:
        directory = _directory(options, stack)
        stack.callback(configure_logging, "auto", "warning", sys.stderr)
        configure_logging("json", "info", stack.enter_context((directory / "bridge.log").open("w")))
        results = play_month(directory, say=say, seed=options.seed)
        _summary(results, say)
    return results


def _directory(options: DemoOptions, stack: ExitStack) -> Path:
    if options.data_dir is None:
        directory = Path(tempfile.mkdtemp(prefix="csp-bridge-demo-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        return directory
    try:
        options.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        empty = not any(options.data_dir.iterdir())
    except OSError as error:
        raise CommandError(f"{options.data_dir} cannot be used: {error.strerror}.") from None
    if not empty:
        raise CommandError(f"{options.data_dir} is not empty; the story begins with nothing.")
    return options.data_dir


def _port(options: DemoOptions) -> int:
    """The port the bridge will have; it must be known before, so that it is the same after a restart."""
    wanted = options.port if options.port is not None else 0 if options.once else _PORT
    if not 0 <= wanted <= _LAST_PORT:
        raise CommandError(f"{wanted} is not a port.")
    try:
        with socket.create_server(("127.0.0.1", wanted)) as probe:
            return int(probe.getsockname()[1])
    except OSError as error:
        raise CommandError(
            f"Port {wanted} cannot be had ({error.strerror}); name another with --port."
        ) from None


def _props(catalogue: Catalogue, seed: int) -> Props:
    """The updates the story is about; the same for a seed on the same day."""
    most = offers_for(catalogue, Build.parse(_DEVICES[0][1]))
    everywhere = offers_for(catalogue, Build.parse(_DEVICES[-1][1]))
    return Props(
        cumulative=next(update for update in most if "Cumulative Update for Windows 11" in update.title),
        licensed=next(update for update in everywhere if update.eula_id is not None),
        later=next(
            update
            for update in everywhere
            if update.eula_id is None and update.classification_id != DEFINITION_UPDATES
        ),
        unknown=OfferedUpdate(
            update_id=Dice(seed).guid("demo/unknown"),
            revision_number=1,
            title="Contoso VPN client 7.2",
            kb=None,
            classification_id=_APPLICATIONS,
            eula_id=None,
            type=0,
            needs_reboot=False,
            supersedes=(),
        ),
    )


@dataclass(frozen=True, slots=True)
class _Crew:
    """Makes the ten devices."""

    catalogue: Catalogue
    props: Props
    store: DeviceStore
    bridge: BridgeProcess
    stop: threading.Event
    stack: ExitStack
    """Closes what they open."""

    def enrol(self, api: BridgeApi, token: str, say: Callable[[str], object]) -> list[Member]:
        """All of them; those that enrol themselves do so with this token, some at a time."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(lambda row: self._member(api, token, say, row), _DEVICES))

    def _member(
        self, api: BridgeApi, token: str, say: Callable[[str], object], row: tuple[str, str, str, str, str]
    ) -> Member:
        name, os_build, system, manufacturer, model = row
        dice = Dice(0)
        identity = Identity(
            device_id=dice.bytes(f"demo/{name}")[:16].hex().upper(),
            name=name,
            os_build=os_build,
            manufacturer=manufacturer,
            model=model,
            hardware_id=dice.bytes(f"demo/{name}/hardware").hex().upper(),
        )
        if name in _MADE_BY_IT:
            made = enrol(api, identity)
            record, public_id, http = made.record(identity), made.id, self.bridge.client()
        else:
            record = self._enrolled(identity, token, say if name in _TOLD else _silent)
            public_id, http = record.provisioned["EntDMID"], connect(record.link, record.certificate)
        extra = (self.props.unknown,) if name == _LOCAL else ()
        failing = {self.props.cumulative.update_id: _DISK_FULL} if name == _FAILS else {}
        device = make_device(
            record,
            self.store,
            self.catalogue,
            extra=extra,
            http=http,
            habits=Habits(pace=TYPICAL, failing=failing),
            patience=_PATIENCE,
            stop=self.stop,
        )
        # Which connections it has at the end is its own business: a renewal makes new ones.
        self.stack.callback(_close, device)
        offers = (*offers_for(self.catalogue, Build.parse(os_build)), *extra)
        return Member(
            device=device,
            id=public_id,
            windows_name=system,
            applicable=frozenset(update.update_id for update in offers),
            comes_with=frozenset(job.update.update_id for job in device.windows.installed()),
        )

    def _enrolled(self, identity: Identity, token: str, say: Callable[[str], object]) -> DeviceRecord:
        """The device after it has found its server by the domain; there is no DNS here, so it is told the address."""
        link = Link(address=f"127.0.0.1:{self.bridge.port}", trust_pem=self.bridge.trust_pem)
        applicant = Applicant(
            identity, f"{identity.name.lower()}@{_DOMAIN}", token, discovery_url(domain=_DOMAIN)
        )
        return enrol_device(applicant, link, now=utc_now(), say=lambda line: say(f"{identity.name} | {line}"))


def _close(device: VirtualDevice) -> None:
    device.http.close()


def _silent(_: str) -> None:
    """Say nothing."""


def _summary(results: Sequence[StepResult], say: Callable[[str], object]) -> None:
    rows = [
        (str(each.number), f"{each.seconds:5.1f}", "holds" if each.problem is None else "FAILED", each.title)
        for each in results
    ]
    say("")
    say(render_table(("STEP", "SECONDS", "RESULT", "WHAT"), rows))
    seconds = sum(each.seconds for each in results)
    last = results[-1]
    if last.problem is None:
        say(f"\nAll {len(results)} steps held, in {seconds:.0f} s.")
    else:
        say(f"\nStep {last.number} did not hold: {last.title}. {last.problem}")


def _stay_up(cast: Cast, token: str, say: Callable[[str], object], stop: threading.Event) -> None:
    """Let the devices poll; only sessions in which something happened are told."""
    for member in cast.members:
        member.device.windows.habits = replace(member.device.windows.habits, pace=QUICK)
    first, spare = cast.members[0], _spare(cast)
    header = f'--cacert {cast.bridge.data_dir / "tls.crt"} -H "Authorization: Bearer {token}"'
    approval = json.dumps(
        {
            "target": {"type": "update", "id": spare.update_id},
            "action": "approve",
            "group_ids": ["all-devices"],
        }
    )
    say(f"\nThe bridge stays up at {cast.bridge.url}, the WSUS at {cast.upstream_url}.")
    say(
        f"The devices check in every {_POLL_SECONDS:.0f} s and install within seconds now. Ctrl-C stops everything."
    )
    say(f"Token (admin, eula.accept): {token}\n\nTry:")
    say(f"  curl -s {header} {cast.bridge.url}/api/v1/devices")
    say(f"  curl -s {header} {cast.bridge.url}/api/v1/devices/{first.id}/updates")
    say(f"  # approve: {spare.title}")
    as_json = "-H 'Content-Type: application/json'"
    say(f"  curl -s {header} {as_json} -d '{approval}' {cast.bridge.url}/api/v1/approvals\n")

    def tell(device: VirtualDevice, report: SessionReport, next_in: float | None) -> None:
        if not report.ok or any(command.verb != "Get" for command in report.commands):
            say(session_line(device, report, utc_now(), next_in))

    poll(
        [member.device for member in cast.members],
        Polling(_POLL_SECONDS),
        clock=utc_now,
        tell=tell,
        stop=stop,
    )
    say("Stopped.")


def _spare(cast: Cast) -> OfferedUpdate:
    """An update the first device still lacks and may have: without licence terms, not approved, no upgrade."""
    return next(
        job.update
        for job in cast.members[0].device.windows.installable()
        if job.update.eula_id is None and not cast.members[0].device.windows.may_install(job.update)
    )


def add_parser(subparsers: Any) -> None:
    """Add `demo`."""
    parser = subparsers.add_parser(
        "demo",
        help="play the whole story with simulated devices and upstream",
        description="Start a WSUS, a bridge and ten Windows devices here, and play what they are for.",
    )
    parser.add_argument(
        "--once", action="store_true", help="end after the story; exit with 1 if a step did not hold"
    )
    parser.add_argument(
        "--month",
        action="store_true",
        help="play a month in virtual time instead: Patch Tuesday, a bad update, a rollout that halts, a rollback",
    )
    parser.add_argument("--port", type=int, help=f"of the bridge (default {_PORT}, with --once a free one)")
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="an empty directory, kept (default: a temporary one)"
    )
    parser.add_argument("--seed", type=int, default=1, help="another number is another catalogue (default 1)")
    parser.set_defaults(func=_run)


def _run(args: argparse.Namespace) -> int:
    options = DemoOptions(once=args.once, port=args.port, data_dir=args.data_dir, seed=args.seed)
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        results = run_month(options, say=_line) if args.month else run_demo(options, say=_line)
    except KeyboardInterrupt:
        raise CommandError("stopped before the end of the story", exit_code=EXIT_FAILED) from None
    finally:
        signal.signal(signal.SIGTERM, previous)
    return 0 if results[-1].problem is None else EXIT_FAILED


def _line(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
