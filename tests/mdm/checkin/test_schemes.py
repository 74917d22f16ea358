"""Every way to prove oneself, on both sides: whole sessions by call, over sockets, and over TLS."""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from starlette.applications import Starlette

from mdm.checkin.delivery import Reply
from mdm.checkin.endpoint import MEDIA_TYPE, omadm_route
from mdm.log import UVICORN_OPTIONS
from syncml.auth import BASIC, MAC, MAC_HEADER, MD5
from syncml.auth import Verdict as Trust
from syncml.client import Verdict
from syncml.messages import Status
from syncml.reader import read_message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Bench, ScriptedDevice

A = "a317dafe-baf4-453f-b232-a7075efae36e"
FAR = "192.0.2.7"
EVERY_WAY = [
    pytest.param(
        scheme, each, server, id=f"{scheme[7:]}-{'each' if each else 'once'}-{(server or 'no')[-4:]}"
    )
    for scheme in (BASIC, MD5, MAC)
    for each in (True, False)
    for server in (None, MD5, MAC)
]


def delivers(bench: Bench, device: ScriptedDevice) -> None:
    """A session in which an approval is delivered, and a second one that has nothing to say."""
    each = bench.rows("device")[0]["auth_each_message"]
    device.installable = {A: (1, 200)}
    bench.catalogue(A)
    bench.approve(A)
    assert device.check_in() is Verdict.END
    assert device.approved == [A]
    assert device.statuses == [200 if each else 212, 200, 200]
    assert device.check_in() is Verdict.END
    assert bench.rows("auth_failure") == []
    assert bench.rows("dm_part") == []
    assert {row["state"] for row in bench.rows("device_update")} == {"installable"}
    # the first session's two messages with commands, and the second's one
    assert device.trusts == ([] if device.server_auth is None else [Trust.ACCEPTED] * 3)


@pytest.mark.parametrize(("scheme", "each", "server"), EVERY_WAY)
def test_a_session(bench: Bench, scheme: str, each: bool, server: str | None) -> None:  # noqa: FBT001 - a parameter of the test
    """The device proves itself as it was enrolled, the bridge as the device wants it, and the approval arrives."""
    delivers(bench, bench.enrol(scheme=scheme, each_message=each, server_auth=server))


@pytest.mark.parametrize(("scheme", "each", "server"), EVERY_WAY)
def test_a_session_over_sockets(bench: Bench, scheme: str, each: bool, server: str | None) -> None:  # noqa: FBT001 - a parameter of the test
    """The same through HTTP, where a MAC stands in a header of the request and of the response."""
    device = bench.enrol(scheme=scheme, each_message=each, server_auth=server)
    with served(bench, device):
        delivers(bench, device)


@pytest.mark.parametrize("first", [True, False])
def test_basic_is_refused_where_it_can_be_read(bench: Bench, tmp_path: Path, *, first: bool) -> None:
    """From another machine without TLS: 401 without a challenge, and not a row changes; with TLS a whole session."""
    device = bench.enrol(scheme=BASIC)
    before = bench.dump()
    with served(bench, device, {"x-forwarded-for": FAR}):
        device.proving = first
        message, _ = device.begin()
        status = read_message(device.post(message).body).commands[0]
    assert isinstance(status, Status)
    assert (status.data, status.chal) == ("401", None)
    assert bench.dump() == before
    with served(bench, device, {"x-forwarded-for": FAR}, certificate=tmp_path / "tls.pem"):
        assert device.check_in(first=first) is Verdict.END
    assert bench.rows("dm_session")[0]["remote_addr"] == FAR


@contextmanager
def served(
    bench: Bench,
    device: ScriptedDevice,
    headers: dict[str, str] | None = None,
    certificate: Path | None = None,
) -> Iterator[None]:
    """The endpoint on a port of its own, to which the device speaks; who sends `headers` is a trusted proxy."""
    ready = Event()
    options: dict[str, Any] = {}
    trust: ssl.SSLContext | bool = False
    if certificate is not None:
        make_certificate(certificate)
        options["ssl_certfile"] = str(certificate)
        trust = ssl.create_default_context(cafile=str(certificate))

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            ready.set()

    config = uvicorn.Config(
        Starlette(routes=[omadm_route(bench.checkin)]),
        host="127.0.0.1",
        port=0,
        lifespan="off",
        proxy_headers=True,
        forwarded_allow_ips="127.0.0.1",
        timeout_graceful_shutdown=1,
        **UVICORN_OPTIONS,
        **options,
    )
    server = Server(config)
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    try:
        assert ready.wait(30)
        port = server.servers[0].sockets[0].getsockname()[1]
        url = f"{'http' if certificate is None else 'https'}://127.0.0.1:{port}/omadm"
        with httpx2.Client(trust_env=False, timeout=60, verify=trust) as http:

            def post(body: bytes, mac: str | None) -> Reply:
                more = {"content-type": MEDIA_TYPE, **(headers or {})}
                if mac is not None:
                    more[MAC_HEADER] = mac
                response = http.post(url, content=body, headers=more)
                assert response.status_code == 200, response.text
                return Reply(response.content, response.headers.get(MAC_HEADER))

            device.transport = post
            yield
    finally:
        server.should_exit = True
        thread.join(30)
    assert not thread.is_alive()


def make_certificate(path: Path) -> None:
    """A certificate of this machine, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
