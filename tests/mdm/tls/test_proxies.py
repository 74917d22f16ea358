"""The examples of docs/tls.md, run by the real proxies where they are installed."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mdm.tls.client_cert import read_client_cert

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Forge, Issued, Service

DOCS = Path(__file__).parents[3] / "docs" / "tls.md"
OLDER = "trusted_ca_cert_file"
"""What Caddy before 2.8 calls `trust_pool file`, as the guide says."""


def example(language: str) -> str:
    """The block of code in the documentation."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    return str(found)


def free_port() -> int:
    """One nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return int(unused.getsockname()[1])


@contextmanager
def process(command: list[str | Path], port: int, log: Path) -> Iterator[None]:
    """A proxy that listens on a port."""
    with log.open("wb") as out:
        running = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        for _ in range(400):
            if running.poll() is not None:
                pytest.fail(f"the proxy ended:\n{log.read_text()}")
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield
    finally:
        running.terminate()
        running.wait(20)


def _nginx(directory: Path, own: Issued, authority: Path, port: int, bridge: int) -> list[str | Path]:
    program = shutil.which("nginx")
    if program is None:
        pytest.skip("nginx is not on PATH, so the example in docs/tls.md cannot be run")
    server = example("nginx")
    for old, new in (
        ("443", f"127.0.0.1:{port}"),
        ("/etc/ssl/mdm.example.pem", str(own.path)),
        ("/etc/ssl/mdm.example.key", str(own.path)),
        ("/etc/csp-bridge/device-ca.pem", str(authority)),
        ("127.0.0.1:8480", f"127.0.0.1:{bridge}"),
    ):
        assert old in server
        server = server.replace(old, new)
    temporary = "".join(
        f"{kind}_temp_path {directory}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (directory / "nginx.conf").write_text(
        f"daemon off;\nmaster_process off;\npid {directory}/nginx.pid;\nerror_log stderr;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{temporary}{server}}}\n"
    )
    return [program, "-p", directory, "-c", directory / "nginx.conf", "-e", "stderr"]


def _caddy(directory: Path, own: Issued, authority: Path, port: int, bridge: int) -> list[str | Path]:
    program = shutil.which("caddy")
    if program is None:
        pytest.skip("caddy is not on PATH, so the example in docs/tls.md cannot be run")
    site = example("caddyfile")
    for old, new in (
        ("mdm.example", f"https://localhost:{port}"),
        ("    tls {", f"    tls {own.path} {own.path} {{"),
        ("/etc/csp-bridge/device-ca.pem", str(authority)),
        ("127.0.0.1:8480", f"127.0.0.1:{bridge}"),
    ):
        assert old in site
        site = site.replace(old, new)
    said = subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout
    if tuple(map(int, re.findall(r"\d+", said)[:2])) < (2, 8):
        assert f"`{OLDER}`" in DOCS.read_text(encoding="utf-8")
        site = site.replace("trust_pool file", OLDER)
    (directory / "Caddyfile").write_text(
        f"{{\n admin off\n storage file_system {directory}\n auto_https disable_redirects\n}}\n{site}"
    )
    return [program, "run", "--adapter", "caddyfile", "--config", directory / "Caddyfile"]


@pytest.mark.parametrize("filling", [0, 20, 40, 60, 500, 1500, 1800, 5000])
def test_the_map_for_nginx_makes_one_line(forge: Forge, filling: int) -> None:
    """The same regular expression, tried without nginx on certificates of all lengths; too long a one is none."""
    (expression, value) = re.findall(r'^    "~(.*)" "(.*)";$', example("nginx"), re.MULTILINE)[0]
    device = forge.device("device", None, filling=filling)
    found = re.match(expression.replace("(?<", "(?P<"), device.pem)
    if found is None:
        assert len(device.der) > 48 * 48
        return
    header = re.sub(r"\$(c\d\d)", lambda name: found[name[1]] or "", value)
    assert read_client_cert(header.encode()) == device.der


@pytest.mark.e2e
@pytest.mark.parametrize("configure", [_nginx, _caddy])
def test_the_documented_proxy(
    configure: Callable[..., list[str | Path]],
    tmp_path: Path,
    forge: Forge,
    serve: Callable[..., Service],
) -> None:
    """A device's certificate gets through, of any size; none, a stranger's and a forged header do not."""
    root = forge.authority("root")
    issuing = forge.authority("issuing", root)
    authority = tmp_path / "device-ca.pem"
    authority.write_text(issuing.pem + root.pem)
    own = forge.server("localhost", "127.0.0.1")
    bridge = serve(tls=False, proxies="127.0.0.1")
    directory = tmp_path / "proxy"
    directory.mkdir()
    port = free_port()
    front: Any = type(bridge)(port, own, bridge.refusals, None, host="localhost")
    small = forge.device("device", issuing)
    large = forge.device("device", issuing, filling=1500)
    huge = forge.device("device", issuing, filling=5000)
    victim = forge.device("victim", issuing)
    with process(configure(directory, own, authority, port, bridge.port), port, tmp_path / "proxy.log"):
        for device in (small, large):
            status, seen = front.get(device)
            assert (status, seen["certificate"], seen["scheme"]) == (200, device.sha256, "https")
        assert front.get(huge)[1]["certificate"] in {None, huge.sha256}
        status, seen = front.get()
        assert (status, seen["certificate"]) == (200, None)
        for forged in ("Client-Cert", "client-cert", "Client-Cert-Chain", "Client_Cert"):
            headers = [(forged, f":{victim.base64}:")]
            assert front.get(None, headers)[1]["certificate"] is None
            assert front.get(small, headers)[1]["certificate"] == small.sha256
        stranger = forge.device("device", forge.authority("theirs"))
        try:
            status = front.get(stranger)[0]
        except OSError:
            status = 0
        assert status in {0, 400}
    assert set(bridge.refusals.counts.values()) == {0}
