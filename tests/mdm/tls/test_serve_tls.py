"""`csp-bridge serve --tls` as a process: a first try, and certificates of one's own."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import structlog

from mdm.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Forge

PROGRAM = [sys.executable, "-c", "from mdm.cli import main; raise SystemExit(main())"]


@contextmanager
def serving(
    data_dir: Path, *arguments: str | Path, **environment: str
) -> Iterator[tuple[Any, str, list[Any]]]:
    """The service as a process, its URL, and what it has logged until it was ready."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
    process = subprocess.Popen(
        [*PROGRAM, "serve", "--data-dir", str(data_dir), "--port", "0", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**bare, "BRIDGE_LOG_FORMAT": "json", **environment},
    )
    assert process.stdout is not None
    try:
        events: list[Any] = []
        for line in process.stdout:
            events.append(json.loads(line))
            if events[-1]["event"] == "ready":
                break
        else:
            pytest.fail(f"the service did not start: {events}")
        yield process, events[-1]["url"], events
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def next_event(process: Any, name: str) -> Any:
    """The next line of the log with this event."""
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == name:
            return event
    pytest.fail(f"no {name} in the log")


def client(trust: str, device: Path | None = None) -> httpx2.Client:
    """An HTTP client that trusts this certificate and no other."""
    context = ssl.create_default_context(cadata=trust)
    if device is not None:
        context.load_cert_chain(device)
    return httpx2.Client(verify=context, trust_env=False)


def test_a_first_try_needs_nothing(data_dir: Path) -> None:
    """The certificate it makes is good for the URL it names, and a signal ends it in order."""
    with serving(data_dir, "--tls") as (process, url, events):
        assert url.startswith("https://127.0.0.1:")
        made = next(event for event in events if event["event"] == "tls_certificate_made")
        assert made["names"] == ["localhost", "127.0.0.1", "::1"]
        with client((data_dir / "tls.crt").read_text()) as http:
            assert http.get(f"{url}/readyz").status_code == 200
            assert http.get(url.replace("127.0.0.1", "localhost") + "/livez").status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    with serving(data_dir, "--tls") as (_, _, events):
        assert [event["event"] for event in events] == ["ready"]


def test_devices_certificates_and_forged_headers(data_dir: Path, forge: Forge) -> None:
    """The same by variables: a stranger's certificate ends the connection, a stranger's header the request."""
    ours = forge.authority("ours")
    (data_dir.parent / "ca.pem").write_text(ours.pem)
    environment = {"BRIDGE_TLS": "true", "BRIDGE_TLS_CLIENT_CA_FILE": str(data_dir.parent / "ca.pem")}
    with serving(data_dir, **environment) as (process, url, _):
        trust = (data_dir / "tls.crt").read_text()
        with client(trust, forge.device("device", ours).path) as http:
            assert http.get(f"{url}/livez").status_code == 200
            forged = http.get(f"{url}/livez", headers={"Client-Cert": "::"})
        assert forged.status_code == 400
        event = next_event(process, "client_certificate_refused")
        assert (event["reason"], event["count"], event["remote_addr"]) == ("forged_header", 1, "127.0.0.1")
        with client(trust, forge.device("device", None).path) as http, pytest.raises(httpx2.TransportError):
            http.get(f"{url}/livez")
        assert next_event(process, "client_certificate_refused")["reason"] == "handshake"


def test_an_own_certificate_is_read_again_at_sighup(data_dir: Path, forge: Forge) -> None:
    """One that cannot be used is logged, and the service goes on with what it has."""
    first, second = forge.server("127.0.0.1"), forge.server("127.0.0.1")
    with serving(data_dir, "--tls-cert", first.path, "--tls-key", first.path) as (process, url, _):
        with client(first.pem) as http:
            assert http.get(f"{url}/livez").status_code == 200
        trusted = first.path.read_bytes()
        for content, event, trust in (
            (b"half a file", "tls_certificate_not_reloaded", first.pem),
            (second.path.read_bytes(), "tls_certificate_reloaded", second.pem),
            (trusted, "tls_certificate_reloaded", first.pem),
        ):
            first.path.write_bytes(content)
            process.send_signal(signal.SIGHUP)
            next_event(process, event)
            with client(trust) as http:
                assert http.get(f"{url}/livez").status_code == 200
    assert not (data_dir / "tls.pem").exists()


@pytest.fixture
def _logging_restored() -> Iterator[None]:
    """Give the process its logging back: the command sets up its own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.usefixtures("_logging_restored")
def test_the_service_in_this_process(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Behind a proxy: SIGHUP with a good and a bad file, and SIGTERM."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    answers: list[int] = []

    def visit() -> None:
        for _ in range(400):
            if (data_dir / "tls.crt").exists():
                break
            time.sleep(0.05)
        with client((data_dir / "tls.crt").read_text()) as http:
            for _ in range(400):
                try:
                    headers = {"Client-Cert": "garbage", "X-Forwarded-For": "203.0.113.9"}
                    answers.append(http.get(f"https://127.0.0.1:{port}/livez", headers=headers).status_code)
                    break
                except httpx2.ConnectError:
                    time.sleep(0.05)
            (data_dir / "tls.crt").unlink()
            os.kill(os.getpid(), signal.SIGHUP)
            for _ in range(400):
                if (data_dir / "tls.crt").exists():  # it is put back
                    break
                time.sleep(0.05)
            answers.append(http.get(f"https://127.0.0.1:{port}/livez").status_code)
            (data_dir / "tls.pem").write_text("garbage")
            os.kill(os.getpid(), signal.SIGHUP)
            answers.append(http.get(f"https://127.0.0.1:{port}/livez").status_code)
        os.kill(os.getpid(), signal.SIGTERM)

    visitor = threading.Thread(target=visit)
    visitor.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BRIDGE_TRUSTED_PROXIES", "127.0.0.1")
        code = main(["serve", "--tls", "--data-dir", str(data_dir), "--port", str(port)])
    visitor.join()
    events = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    assert (code, answers) == (0, [400, 200, 200])
    assert [event for event in events if event != "request"] == [
        "tls_certificate_made",
        "ready",
        "client_certificate_refused",
        "tls_certificate_reloaded",
        "tls_certificate_not_reloaded",
        "stopped",
    ]
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


@pytest.mark.usefixtures("_logging_restored")
def test_files_that_cannot_be_used_are_one_line(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, before the port is taken."""
    code = main(["serve", "--data-dir", str(data_dir), "--port", "0", "--tls-key", "server.key"])
    assert (code, capsys.readouterr().err) == (
        2,
        "csp-bridge: BRIDGE_TLS_KEY_FILE is of no use without BRIDGE_TLS_CERT_FILE.\n",
    )
