"""What an enrolment costs the server, and a session over mutual TLS beside one that proves itself in its messages.

The bridge is a process of its own that speaks TLS, and the devices are the virtual ones, each with connections of its
own, a new one for each session as their schedules have it. Their keys are made before the clock starts. CPU time is
that of the bridge alone.
"""

from __future__ import annotations

import itertools
import math
import socket
import sys
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final, TypeVar

import httpx2
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import text

from mdm.clock import utc_now
from mdm.commands.base import CommandError
from mdm.lab.bench_bridge import yardstick
from mdm.lab.bridge import BridgeProcess
from mdm.lab.enrol import BridgeApi, enrol
from mdm.lab.enrolling import Applicant, discovery_url, enrol_device, renew
from mdm.lab.generate import build_catalogue
from mdm.lab.link import connect
from mdm.lab.muster import FleetOptions, identity_of, make_device
from mdm.lab.store import DeviceStore, Link
from mdm.lab.tables import render_table
from mdm.storage.engine import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mdm.lab.device import VirtualDevice
    from mdm.lab.store import DeviceRecord

__all__ = ["AT_ONCE", "Call", "Figures", "Work", "render", "run"]

_T = TypeVar("_T")

AT_ONCE: Final = 4
"""Devices that are served at a time: as many as the bridge works on enrolments with."""
_DOMAIN: Final = "bench.test"
_USER: Final = f"user@{_DOMAIN}"
_SEED: Final = 1
"""Of the devices with certificates."""
_OTHERS: Final = 2
"""Of those without."""
_KEYS: Final = 8
"""Made beforehand, and taken in turn: the server does not look whether it has seen one."""
_BITS: Final = 2048
_KIBI: Final = 1 << 10
_LATE: Final = 0.95
_CALLS: Final = {
    ("GET", "Discovery.svc"): "the first question",
    ("POST", "Discovery.svc"): "Discover",
    ("POST", "Policy.svc"): "GetPolicies",
}
_ENROL: Final = "an enrolment"
_RENEW: Final = "a renewal"
_RENEWED: Final = "a session after it"
_FIRST: Final = "a first session over mTLS"
_SAME: Final = "one more over mTLS, no news"
_FIRST_BARE: Final = "a first session by credentials"
_SAME_BARE: Final = "one more by credentials, no news"


@dataclass(frozen=True, slots=True)
class Work:
    """One row: what each device did once."""

    what: str
    cpu_ms: float
    """Of the bridge, the mean."""
    yards: float
    """The same as a multiple of the yardstick."""
    a_second: float
    """As many were done, with as many devices at once as the figures say; the devices' own work holds it back too."""


@dataclass(frozen=True, slots=True)
class Call:
    """One row: how long a device waited for the answer to a message, its connection included where it is the first."""

    what: str
    calls: int
    median_ms: float
    late_ms: float
    """95 of 100 took less."""
    worst_ms: float


@dataclass(frozen=True, slots=True)
class Figures:
    """All of them."""

    devices: int
    at_once: int
    yardstick_ms: float
    works: tuple[Work, ...]
    calls: tuple[Call, ...]
    mtls_ratio: float
    """What a session without news costs over mutual TLS, as a multiple of one that is proved by credentials."""
    peak_mib: float
    """Memory of the bridge at its worst moment."""


def run(
    data_dir: Path,
    *,
    devices: int = 200,
    at_once: int = AT_ONCE,
    by_password: bool = False,
    database_url: str | None = None,
) -> Figures:
    """Let so many devices enrol, check in twice, renew and check in again, and as many check in without certificates.

    They enrol with a token, or with one user's password. `data_dir` must be empty or absent, `database_url` an empty
    database, which is used in place of one in there and left as it is then. Raises CommandError, BridgeDown or
    EnrolmentFailed; figures of sessions that were not completed would look too good.
    """
    if sys.platform != "linux":
        raise CommandError("The CPU time of another process can be measured on Linux only.")
    _require_empty(data_dir, database_url)
    with ExitStack() as stack:
        bridge = _started(data_dir, database_url)
        stack.callback(bridge.stop)
        return _Measurement(bridge, devices, at_once, by_password=by_password).run()


def _require_empty(data_dir: Path, database_url: str | None) -> None:
    if data_dir.exists() and any(data_dir.iterdir()):
        raise CommandError(f"{data_dir} is not empty; a measurement begins with nothing.")
    if database_url is None:
        return
    try:
        database = Database(database_url)
    except ValueError as problem:
        raise CommandError(f"--database-url: {problem}") from None
    try:
        with database.read() as connection:
            if database.dialect != "postgresql":
                raise CommandError(
                    "--database-url names a PostgreSQL database; without it SQLite is measured."
                )
            statement = text("SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()")
            if connection.scalar(statement):
                raise CommandError("--database-url has tables already; a measurement begins with nothing.")
    finally:
        database.close()


def _started(data_dir: Path, database_url: str | None) -> BridgeProcess:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    # Renewed in the second half of its time, and by clocks three days off: at once.
    environment = {
        "BRIDGE_PUBLIC_URL": f"https://enterpriseenrollment.{_DOMAIN}",
        "BRIDGE_CERTIFICATE_DAYS": "6",
    }
    if database_url is not None:
        environment["BRIDGE_DATABASE_URL"] = database_url
    bridge = BridgeProcess(data_dir, port, environment, tls=True)
    bridge.make_authority()
    bridge.start()
    return bridge


@dataclass(slots=True)
class _Waits:
    """How long the devices waited for what; safe to share between threads."""

    by_call: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def rows(self) -> tuple[Call, ...]:
        """In the order in which the calls were first made."""
        return tuple(
            Call(what, len(waits), median(waits), _late(waits), max(waits))
            for what, waits in self.by_call.items()
        )


def _late(waits: Sequence[float]) -> float:
    return sorted(waits)[math.ceil(_LATE * len(waits)) - 1]


class _Clock(httpx2.BaseTransport):
    """Takes the time of each call, until its answer is complete."""

    def __init__(self, inner: httpx2.BaseTransport, waits: _Waits, session: str) -> None:
        """`session` is what the first message of a session is called; those after it are "a later message"."""
        self._inner = inner
        self._waits = waits
        self._names = itertools.chain((session,), itertools.repeat("a later message"))

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """The inner answer."""
        begun = time.perf_counter()
        answer = self._inner.handle_request(request)
        answer.read()
        known = (request.method, request.url.path.rpartition("/")[2])
        name = _CALLS.get(known) or next(self._names)
        self._waits.by_call[name].append((time.perf_counter() - begun) * 1000)
        return answer

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()


class _Measurement:
    """One run."""

    def __init__(self, bridge: BridgeProcess, devices: int, at_once: int, *, by_password: bool) -> None:
        """The bridge is up, and nobody has enrolled."""
        self._bridge = bridge
        self._count = devices
        self._at_once = at_once
        self._secret = (
            _password(bridge) if by_password else bridge.make_enrolment_token("bench", uses=devices)
        )
        self._link = Link(address=f"127.0.0.1:{bridge.port}", trust_pem=bridge.trust_pem)
        self._store = DeviceStore(bridge.data_dir / "devices")
        self._catalogue = build_catalogue(_SEED, utc_now())
        self._waits = _Waits()
        self._works: dict[str, tuple[float, float]] = {}
        """What was done, to CPU milliseconds of each and seconds of all."""
        self._keys = itertools.cycle([rsa.generate_private_key(65537, _BITS) for _ in range(_KEYS)])

    def run(self) -> Figures:
        """Everything, one kind of work after the other."""
        length = yardstick()
        bare = [self._device(record) for record in self._enrolled_by_rest()]
        certified = [self._device(record) for record in self._enrolled()]
        self._sessions(_FIRST, certified)
        self._sessions(_FIRST_BARE, bare)
        self._sessions(_SAME, certified)
        self._sessions(_SAME_BARE, bare)
        # Certificates count whole seconds, and a new one has to end later than the old one.
        time.sleep(1 - utc_now().microsecond / 1_000_000)
        self._renew(certified)
        self._sessions(_RENEWED, certified)
        length = min(length, yardstick())
        return Figures(
            devices=self._count,
            at_once=self._at_once,
            yardstick_ms=length,
            works=tuple(
                Work(what, cpu_ms, cpu_ms / length, self._count / seconds)
                for what, (cpu_ms, seconds) in self._works.items()
            ),
            calls=self._waits.rows(),
            mtls_ratio=self._works[_SAME][0] / self._works[_SAME_BARE][0],
            peak_mib=_peak_mib(self._bridge.pid),
        )

    def _enrolled_by_rest(self) -> list[DeviceRecord]:
        """As many devices that have no certificate: this is not measured."""
        token = self._bridge.make_token("bench", ["devices.write"])
        with self._bridge.client() as http:
            api = BridgeApi(self._bridge.url, token, http)
            identities = [identity_of(_OTHERS, number) for number in range(self._count)]
            return [enrol(api, each).record(each) for each in identities]

    def _enrolled(self) -> list[DeviceRecord]:
        records: list[DeviceRecord] = []
        applicants = [
            Applicant(identity_of(_SEED, number), _USER, self._secret, discovery_url(_DOMAIN))
            for number in range(self._count)
        ]

        def enrolled(applicant: Applicant, http: httpx2.Client) -> None:
            records.append(
                enrol_device(
                    applicant,
                    self._link,
                    now=utc_now(),
                    say=lambda _: None,
                    connections=http,
                    make_key=lambda _bits: next(self._keys),
                )
            )

        self._all(_ENROL, applicants, [self._connected("RequestSecurityToken") for _ in applicants], enrolled)
        return records

    def _renew(self, devices: list[VirtualDevice]) -> None:
        def renewed(device: VirtualDevice, http: httpx2.Client) -> None:
            record = renew(device.record, http, now=utc_now(), make_key=lambda _bits: next(self._keys))
            assert record.certificate is not None  # noqa: S101 - `renew` brings one or raises
            device.keep_certificate(record.certificate, http)

        connections = [self._connected("Renew", device.record) for device in devices]
        self._all(_RENEW, devices, connections, renewed)

    def _sessions(self, what: str, devices: list[VirtualDevice]) -> None:
        def session(device: VirtualDevice, http: httpx2.Client) -> None:
            device.http = http
            report = device.check_in(utc_now())
            if not report.ok:
                raise CommandError(
                    f"{what} of {device.record.identity.name} failed: {report.detail or report.end}."
                )

        connections = [self._connected(f"package 1 of {what}", device.record) for device in devices]
        self._all(what, devices, connections, session)

    def _all(
        self,
        what: str,
        items: Sequence[_T],
        connections: Sequence[httpx2.Client],
        work: Callable[[_T, httpx2.Client], None],
    ) -> None:
        """Do the work for each, so many at once, and take its costs; the first that fails ends it."""

        def one(item: _T, http: httpx2.Client) -> None:
            # Left open, the connections would add up; closed by the server, they would be on its account.
            with http:
                work(item, http)

        with ThreadPoolExecutor(self._at_once, thread_name_prefix="device") as pool:
            cpu, begun = _cpu_seconds(self._bridge.pid), time.perf_counter()
            for _ in pool.map(one, items, connections):
                pass
            seconds = time.perf_counter() - begun
            cpu = _cpu_seconds(self._bridge.pid) - cpu
        self._works[what] = (cpu * 1000 / len(items), seconds)

    def _connected(self, session: str, record: DeviceRecord | None = None) -> httpx2.Client:
        certificate = None if record is None else record.certificate
        return connect(self._link, certificate, around=lambda wire: _Clock(wire, self._waits, session))

    def _device(self, record: DeviceRecord) -> VirtualDevice:
        now = utc_now()
        device = make_device(
            record,
            self._store,
            self._catalogue,
            http=self._connected(""),
            habits=FleetOptions().habits,
            stop=threading.Event(),
        )
        device.advance(now)
        return device


def _password(bridge: BridgeProcess) -> str:
    """The password of a new enrolment user, as the command shows it once."""
    lines = bridge.run("enrol", "user", "create", _USER).splitlines()
    return next(line.split()[1] for line in lines if line.startswith("password "))


def _cpu_seconds(pid: int) -> float:
    """CPU time of a process, all threads: what clock_getcpuclockid(3) of Linux names the clock of."""
    return time.clock_gettime((~pid << 3) | 2)


def _peak_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / _KIBI


def render(figures: Figures) -> str:
    """The figures as two tables, and what holds for both."""
    works = render_table(
        ("CPU ms", "YARDS", "A SECOND", "WHAT, ON THE BRIDGE'S SIDE"),
        [
            (f"{each.cpu_ms:6.2f}", f"{each.yards:5.2f}", f"{each.a_second:8.1f}", each.what)
            for each in figures.works
        ],
    )
    calls = render_table(
        ("MEDIAN ms", "95 % BELOW", "WORST", "CALLS", "ANSWER TO"),
        [
            (
                f"{each.median_ms:9.1f}",
                f"{each.late_ms:10.1f}",
                f"{each.worst_ms:7.1f}",
                f"{each.calls:5}",
                each.what,
            )
            for each in figures.calls
        ],
    )
    return (
        f"{works}\n\n{calls}\n\n"
        f"{figures.devices} devices, {figures.at_once} at once, on the machine that serves them. A session without news "
        f"over mutual TLS costs {figures.mtls_ratio:.2f} times one by credentials.\n"
        f"At most {figures.peak_mib:.0f} MiB of memory. The yardstick, a fixed piece of work, takes "
        f"{figures.yardstick_ms:.1f} ms."
    )
