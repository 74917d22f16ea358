"""Many devices enrol at once while answers are lost and the bridge is killed: each is enrolled once, and can work."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from mdm.clock import utc_now
from mdm.lab.bridge import BridgeProcess
from mdm.lab.device import Patience, VirtualDevice
from mdm.lab.enrolling import Applicant, discovery_url, enrol_device, renew
from mdm.lab.link import connect
from mdm.lab.muster import identity_of
from mdm.lab.store import DeviceStore, Link
from mdm.storage.engine import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mdm.lab.store import DeviceRecord

pytestmark = pytest.mark.e2e

DOMAIN: Final = "storm.test"
SEED: Final = 1903
SERVER_ERROR: Final = 500
KEY: Final = rsa.generate_private_key(65537, 2048)


@dataclass(slots=True)
class Weather:
    """What happens between devices and bridge; safe to share between threads."""

    statuses: list[int] = field(default_factory=list)
    """Of all answers, heard or not."""
    lost: list[str] = field(default_factory=list)
    """Where the answers that nobody heard came from."""
    down: threading.Event = field(default_factory=threading.Event)
    """Set while the bridge may be away for a while."""


class Storm(httpx2.BaseTransport):
    """Loses the first answer to each kind of message: the bridge has committed by then. Then it is sent again, the same."""

    def __init__(self, inner: httpx2.BaseTransport, weather: Weather) -> None:
        """Nothing has been lost yet."""
        self._inner = inner
        self._weather = weather
        self._struck: set[tuple[str, str]] = set()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """The answer to the second attempt, or to as many as a bridge that is away makes necessary."""
        kind = (request.method, request.url.path)
        body = request.read()
        for _ in range(200):
            again = httpx2.Request(
                request.method,
                request.url,
                headers=request.headers,
                content=body,
                extensions=request.extensions,
            )
            try:
                answer = self._inner.handle_request(again)
                answer.read()
            except httpx2.TransportError:
                assert self._weather.down.is_set(), f"{kind} failed while the bridge was up"
                time.sleep(0.05)
                continue
            self._weather.statuses.append(answer.status_code)
            if kind in self._struck:
                return answer
            self._struck.add(kind)
            self._weather.lost.append(kind[1])
        raise AssertionError(f"{kind}: no answer for too long")

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()


@dataclass(slots=True)
class Place:
    """A bridge in a process of its own, and what the devices need to reach it."""

    bridge: BridgeProcess
    store: DeviceStore
    weather: Weather = field(default_factory=Weather)

    @property
    def link(self) -> Link:
        """The way there."""
        return Link(address=f"127.0.0.1:{self.bridge.port}", trust_pem=self.bridge.trust_pem)

    def around(self, inner: httpx2.BaseTransport) -> httpx2.BaseTransport:
        """The weather between a device and the bridge."""
        return Storm(inner, self.weather)

    def enrol(self, number: int, secret: str) -> DeviceRecord:
        """Enrol the device of that number through the weather."""
        applicant = Applicant(identity_of(SEED, number), f"user@{DOMAIN}", secret, discovery_url(DOMAIN))
        with connect(self.link, around=self.around) as http:
            return enrol_device(
                applicant,
                self.link,
                now=utc_now(),
                say=lambda _: None,
                connections=http,
                make_key=lambda _: KEY,
            )

    def check_in(self, record: DeviceRecord) -> DeviceRecord:
        """One session through the weather, over a connection of its own; what the device is after it."""
        with connect(record.link, record.certificate, around=self.around) as http:
            device = VirtualDevice(record, self.store, lambda _: (), http=http, patience=Patience(timeout=60))
            report = device.check_in(utc_now())
        assert report.ok, f"{record.identity.name}: {report.end} {report.detail}"
        return device.record

    def renew(self, record: DeviceRecord) -> DeviceRecord:
        """Another certificate, through the weather."""
        with connect(record.link, record.certificate, around=self.around) as http:
            return renew(record, http, now=utc_now(), make_key=lambda _: KEY)

    def kill(self) -> None:
        """Kill the bridge and start it again."""
        self.weather.down.set()
        self.bridge.kill()
        self.bridge.start()
        # What was sent to the one before may be told only now that it is gone.
        time.sleep(0.2)
        self.weather.down.clear()

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """What the database says."""
        url = f"sqlite:///{self.bridge.data_dir / 'bridge.sqlite3'}"
        with closing(Database(url)) as database, database.read() as conn:
            return [tuple(row) for row in conn.exec_driver_sql(query)]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Certificates here are due for renewal at once."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {
        "BRIDGE_PUBLIC_URL": f"https://enterpriseenrollment.{DOMAIN}",
        "BRIDGE_CERTIFICATE_DAYS": "1",
    }
    bridge = BridgeProcess(tmp_path / "bridge", port, environment, tls=True)
    with ExitStack() as stack:
        stack.callback(bridge.stop)
        bridge.make_authority()
        bridge.start()
        yield Place(bridge, DeviceStore(tmp_path / "devices"))


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something has happened."""
    for _ in range(600):
        if condition():
            return
        time.sleep(0.02)
    pytest.fail("it did not happen")


def test_each_is_enrolled_once_whatever_is_lost(place: Place) -> None:
    """The first answer to each message is lost, the bridge dies twice; one token has a use for each device and no more."""
    devices = 6
    token = place.bridge.make_enrolment_token("storm", uses=devices)
    with ThreadPoolExecutor(devices) as pool:
        enrolled = [pool.submit(place.enrol, number, token) for number in range(devices)]
        wait_for(lambda: "/EnrollmentServer/Enrollment.svc" in place.weather.lost)
        place.kill()
        records = [each.result() for each in enrolled]
        records = list(pool.map(place.check_in, records))
        # Certificates count whole seconds, and a new one has to end later than the old one.
        time.sleep(1 - time.time() % 1)
        renewed = [pool.submit(place.renew, record) for record in records]
        wait_for(lambda: place.weather.lost.count("/EnrollmentServer/Enrollment.svc") > devices)
        place.kill()
        for _ in pool.map(place.check_in, [each.result() for each in renewed]):
            pass
    serials = "SELECT count(*) FROM issued_certificate WHERE revoked_at IS NULL GROUP BY device_pk"
    assert place.rows("SELECT count(*), count(DISTINCT device_id) FROM device") == [(devices, devices)]
    assert place.rows("SELECT uses, max_uses FROM enrolment_token") == [(devices, devices)]
    assert place.rows("SELECT count(*) FROM device WHERE renewed_serial IS NOT NULL") == [(0,)]
    assert place.rows(serials) == [(1,)] * devices, "what was before a renewal is over once it has been shown"
    assert {status for status in place.weather.statuses if status >= SERVER_ERROR} == set()


def test_a_site_enrols_while_others_check_in(place: Place) -> None:
    """With a password, from one address, more at once than tries are allowed: nobody is refused, nobody's session fails."""
    newcomers, others = 24, 6
    token = place.bridge.make_enrolment_token("others", uses=others)
    shown = place.bridge.run("enrol", "user", "create", f"user@{DOMAIN}").splitlines()
    password = next(line.split()[1] for line in shown if line.startswith("password "))
    with ThreadPoolExecutor(newcomers + others) as pool:
        settled = list(pool.map(lambda number: place.enrol(number, token), range(others)))
        enrolled = [
            pool.submit(place.enrol, number, password) for number in range(others, others + newcomers)
        ]
        for _ in range(2):
            settled = list(pool.map(place.check_in, settled))
        records = [each.result() for each in enrolled]
    assert {status for status in place.weather.statuses if status >= SERVER_ERROR} == set()
    assert place.rows("SELECT count(*) FROM device WHERE unenrolled_at IS NULL") == [(newcomers + others,)]
    assert len({record.provisioned["EntDMID"] for record in records}) == newcomers
    assert place.rows("SELECT sum(failures) FROM enrolment_failure") == [(0,)]
