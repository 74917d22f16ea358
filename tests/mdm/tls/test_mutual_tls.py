"""Mutual TLS over real sockets: which certificate reaches the application, and which never does."""

from __future__ import annotations

import ssl
from http.client import RemoteDisconnected
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from structlog.testing import capture_logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Forge, Issued, Service

NONE_REFUSED = {"forged_header": 0, "doubled_header": 0, "malformed_header": 0, "handshake": 0}


def field(device: Issued) -> tuple[str, str]:
    """The header a proxy sends for a device."""
    return ("Client-Cert", f":{device.base64}:")


@pytest.fixture
def ours(forge: Forge) -> Issued:
    """The bridge's own authority."""
    return forge.authority("ours")


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> str:
    """Both event loops: each has its own TLS transport."""
    return str(request.param)


# --- TLS that the service ends ---------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_devices_certificate_reaches_the_application(
    ours: Issued, forge: Forge, serve: Callable[..., Service], loop: str, version: ssl.TLSVersion
) -> None:
    """The one of the handshake, on each request of the connection."""
    device, other = forge.device("device", ours), forge.device("other", ours)
    service = serve(ours, loop=loop)
    connection = service.connect(device, minimum_version=version, maximum_version=version)
    for _ in range(3):
        assert service.ask(connection) == (
            200,
            {"certificate": device.sha256, "client": "127.0.0.1", "scheme": "https"},
        )
    connection.close()
    assert service.get(other)[1]["certificate"] == other.sha256
    assert service.refusals.counts == NONE_REFUSED


def test_a_client_without_one_is_served(ours: Issued, serve: Callable[..., Service], loop: str) -> None:
    """Enrolment and the REST API have none; what they may do is decided elsewhere."""
    status, seen = serve(ours, loop=loop).get()
    assert (status, seen["certificate"], seen["scheme"]) == (200, None, "https")


def test_without_an_authority_nobody_is_asked_for_one(forge: Forge, serve: Callable[..., Service]) -> None:
    """A certificate the client would have shown does not travel."""
    status, seen = serve().get(forge.device("device", forge.authority("any")))
    assert (status, seen["certificate"]) == (200, None)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("other authority", "unable to get local issuer certificate"),
        ("same name, other key", "certificate signature failure"),
        ("self-signed", "self-signed certificate"),
        ("expired", "certificate has expired"),
        ("not valid yet", "certificate is not yet valid"),
        ("for servers", "unsuitable certificate purpose"),
    ],
)
def test_a_wrong_certificate_fails_the_handshake(
    ours: Issued, forge: Forge, serve: Callable[..., Service], loop: str, kind: str, why: str
) -> None:
    """It is not taken for none: nothing is answered, and one line says why."""
    device = {
        "other authority": lambda: forge.device("device", forge.authority("theirs")),
        "same name, other key": lambda: forge.device("device", forge.authority("ours")),
        "self-signed": lambda: forge.device("device", None),
        "expired": lambda: forge.device("device", ours, days=(-3, -1)),
        "not valid yet": lambda: forge.device("device", ours, days=(1, 3)),
        "for servers": lambda: forge.device("device", ours, usage=ExtendedKeyUsageOID.SERVER_AUTH),
    }[kind]()
    service = serve(ours, loop=loop)
    with capture_logs() as logs, pytest.raises((ssl.SSLError, ConnectionError, RemoteDisconnected)):
        service.get(device)
    assert [(line["event"], line["reason"], line["count"]) for line in logs] == [
        ("client_certificate_refused", "handshake", 1)
    ]
    assert why in logs[0]["why"]
    assert service.refusals.counts == NONE_REFUSED | {"handshake": 1}
    assert service.get()[0] == 200, "the service goes on"


def test_only_the_issuing_authority_is_trusted(
    forge: Forge, serve: Callable[..., Service], refusals: Any
) -> None:
    """With an organisation's issuing authority given, its sisters under the same root are strangers."""
    root = forge.authority("root")
    issuing, sister = forge.authority("issuing", root), forge.authority("sister", root)
    device, stranger = forge.device("device", issuing), forge.device("stranger", sister)
    service = serve(issuing)
    assert service.get(device)[1]["certificate"] == device.sha256
    with pytest.raises((ssl.SSLError, ConnectionError)):
        service.get(stranger)
    assert refusals.counts["handshake"] == 1


def test_two_authorities_may_issue(forge: Forge, serve: Callable[..., Service]) -> None:
    """An authority that follows another: devices of both come in."""
    old, new = forge.authority("old"), forge.authority("new")
    service = serve(old, new)
    for authority in (old, new):
        device = forge.device("device", authority)
        assert service.get(device)[1]["certificate"] == device.sha256


def test_old_tls_is_refused(serve: Callable[..., Service]) -> None:
    """TLS 1.1 is no longer spoken."""
    service = serve()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.warns(DeprecationWarning, match="TLSv1 is deprecated"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    connection = service.connect()
    connection._context = context  # type: ignore[attr-defined]
    with pytest.raises(ssl.SSLError):
        service.ask(connection)


# --- the header that proxies send -------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [True, False])
def test_a_forged_header_is_refused_and_counted(
    ours: Issued, forge: Forge, serve: Callable[..., Service], *, tls: bool
) -> None:
    """Even beside a certificate that is right, and whatever X-Forwarded-For claims."""
    device, victim = forge.device("device", ours), forge.device("victim", ours)
    service = serve(ours, tls=tls, proxies="192.0.2.1")
    with capture_logs() as logs:
        for extra in ([], [("X-Forwarded-For", "192.0.2.1")]):
            status, text = service.get(device, [field(victim), *extra])
            assert status == 400
            assert text == (
                "The Client-Cert header is refused. The address that sent it is not in BRIDGE_TRUSTED_PROXIES.\n"
            )
    assert service.refusals.counts == NONE_REFUSED | {"forged_header": 2}
    assert [line["count"] for line in logs] == [1, 2]
    assert logs[0] == {
        "event": "client_certificate_refused",
        "log_level": "warning",
        "reason": "forged_header",
        "why": "The address that sent it is not in BRIDGE_TRUSTED_PROXIES.",
        "count": 1,
        "remote_addr": "127.0.0.1",
        "method": "GET",
        "path": "/omadm",
    }


def test_a_proxy_speaks_for_its_client(ours: Issued, forge: Forge, serve: Callable[..., Service]) -> None:
    """Certificate and address are the client's, though the peer is the proxy."""
    device = forge.device("device", ours)
    service = serve(tls=False, proxies="10.0.0.0/8,127.0.0.1")
    headers = [
        field(device),
        ("Client-Cert-Chain", field(ours)[1]),
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Forwarded-Proto", "https"),
    ]
    assert service.get(None, headers) == (
        200,
        {"certificate": device.sha256, "client": "203.0.113.9", "scheme": "https"},
    )
    assert service.get(None, headers[2:])[1]["certificate"] is None
    assert service.get(None, [("Client-Cert", "::")])[1]["certificate"] is None


def test_a_connection_is_not_remembered_for_another_client(
    ours: Issued, forge: Forge, serve: Callable[..., Service]
) -> None:
    """A proxy sends many clients' requests over one connection."""
    devices = [forge.device(name, ours) for name in ("first", "second")]
    service = serve(tls=False, proxies="127.0.0.1")
    connection = service.connect()
    for device in (*devices, None, *devices):
        headers = [] if device is None else [field(device)]
        expected = None if device is None else device.sha256
        assert service.ask(connection, headers)[1]["certificate"] == expected
    connection.close()


def test_a_proxys_own_certificate_is_nobodys(
    ours: Issued, forge: Forge, serve: Callable[..., Service]
) -> None:
    """It proves the proxy, who then speaks for its client or for none."""
    proxy, device = forge.device("proxy", ours), forge.device("device", ours)
    service = serve(ours, proxies="127.0.0.1")
    assert service.get(proxy)[1]["certificate"] is None
    assert service.get(proxy, [field(device)])[1]["certificate"] == device.sha256


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (["one", "two"], "doubled_header"),
        (["::", "one"], "doubled_header"),
        (["garbage"], "malformed_header"),
        ([""], "malformed_header"),
    ],
)
def test_what_a_proxy_muddles_is_refused(
    ours: Issued, forge: Forge, serve: Callable[..., Service], values: list[str], reason: str
) -> None:
    """A proxy that adds to the client's header instead of replacing it would let the client choose."""
    known = {name: field(forge.device(name, ours))[1] for name in ("one", "two")}
    service = serve(tls=False, proxies="127.0.0.1")
    with capture_logs() as logs:
        status, text = service.get(None, [("Client-Cert", known.get(value, value)) for value in values])
    assert (status, logs[0]["reason"]) == (400, reason)
    assert service.refusals.counts == NONE_REFUSED | {reason: 1}
    assert logs[0]["why"] in text
    assert "garbage" not in str(logs)
