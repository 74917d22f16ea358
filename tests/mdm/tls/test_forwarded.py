"""Who is a proxy, and what the middleware leaves alone; test_mutual_tls.py has the requests."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mdm.tls.forwarded import ClientCertificates, TrustedProxies
from mdm.tls.peer import peer_certificate, set_peer_certificate
from mdm.tls.refusals import Refusals

CERTIFICATE = b"0 a certificate"


@pytest.mark.parametrize(
    ("setting", "host", "trusted"),
    [
        ("", "127.0.0.1", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "::ffff:127.0.0.1", True),
        ("10.0.0.0/8,::1", "10.200.0.9", True),
        ("10.0.0.0/8,::1", "::1", True),
        ("10.0.0.0/8,::1", "11.0.0.1", False),
        ("10.0.0.0/8,::1", "::2", False),
        ("0.0.0.0/0", "::1", False),
        ("0.0.0.0/0", "", False),
        ("0.0.0.0/0,::/0", "localhost", False),
        ("0.0.0.0/0,::/0", "/run/bridge.sock", False),
    ],
)
def test_a_proxy_is_known_by_its_address(setting: str, host: str, *, trusted: bool) -> None:
    """In any spelling of it, and by nothing else."""
    assert (host in TrustedProxies(setting)) is trusted


def _pass(scope: dict[str, Any], proxies: str = "127.0.0.1") -> tuple[list[Any], list[Any]]:
    """The scopes that went through, and what was sent."""
    passed: list[Any] = []
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del receive, send
        passed.append(scope)

    async def receive() -> Any:
        raise AssertionError("nobody reads the body")

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(ClientCertificates(app, TrustedProxies(proxies), Refusals())(scope, receive, send))
    return passed, sent


def test_the_lifespan_passes() -> None:
    """It is no request and has no headers."""
    scope = {"type": "lifespan"}
    assert _pass(scope) == ([scope], [])


@pytest.mark.parametrize("client", [None, ("203.0.113.1", 1)])
@pytest.mark.parametrize("name", [b"client-cert", b"client-cert-chain"])
def test_strangers_may_send_neither_header(client: Any, name: bytes) -> None:
    """RFC 9440 has two; a peer without an address is a stranger."""
    scope = {"type": "http", "client": client, "headers": [(name, b"::")], "method": "GET", "path": "/"}
    passed, sent = _pass(scope)
    assert (passed, sent[0]["status"]) == ([], 400)
    assert (b"x-content-type-options", b"nosniff") in sent[0]["headers"]


def test_the_other_extensions_stay() -> None:
    """The certificate is taken away from a proxy's request, and nothing else."""
    scope: dict[str, Any] = {
        "type": "http",
        "client": ("127.0.0.1", 1),
        "headers": [],
        "extensions": {"http.response.debug": {}, "tls": {"tls_version": 0x0304}},
    }
    set_peer_certificate(scope, CERTIFICATE)
    assert peer_certificate(scope) == CERTIFICATE
    (passed,), _ = _pass(scope)
    assert peer_certificate(passed) is None
    assert passed["extensions"] == {
        "http.response.debug": {},
        "tls": {"tls_version": 0x0304, "client_cert_chain": []},
    }


def test_a_strangers_own_certificate_stays() -> None:
    """It is the one the handshake has accepted."""
    scope: dict[str, Any] = {"type": "http", "client": ("203.0.113.1", 1), "headers": [(b"host", b"x")]}
    set_peer_certificate(scope, CERTIFICATE)
    (passed,), _ = _pass(scope)
    assert peer_certificate(passed) == CERTIFICATE


def test_a_scope_of_another_server_has_no_certificate() -> None:
    """The test client's, for one."""
    assert peer_certificate({"type": "http"}) is None
    assert peer_certificate({"type": "http", "extensions": {}}) is None
    assert peer_certificate({"type": "http", "extensions": {"tls": {}}}) is None
