"""A bridge as a child process: `csp-bridge serve` with a data directory of its own, to be killed and started again."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

import httpx2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["BridgeDown", "BridgeProcess"]

_PROGRAM: Final = (sys.executable, "-c", "from mdm.cli import main; raise SystemExit(main())")
"""`csp-bridge` of this very installation, wherever its script is."""
_READY_WITHIN: Final = 30
"""Seconds a bridge gets to answer /readyz: a first start makes the database."""
_STOP_WITHIN: Final = 15
_POLL: Final = 0.05
_TIMEOUT: Final = 10
_PROBE: Final = 2


class BridgeDown(Exception):  # noqa: N818 - named for the state of things
    """The bridge did not start, or a command of it failed; the text has the last lines of its log."""


class BridgeProcess:
    """One bridge, started, killed and started again on the same port and the same data."""

    def __init__(
        self, data_dir: Path, port: int, environment: Mapping[str, str], *, tls: bool = False
    ) -> None:
        """`environment` are `BRIDGE_…` variables; those of this process do not reach the child.

        With `tls` it speaks TLS with the self-signed certificate it makes for itself.
        """
        self.data_dir = data_dir
        self.port = port
        self.tls = tls
        self.log_path = data_dir / "bridge.log"
        bare = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
        self._environment = {**bare, **environment, "PYTHONUNBUFFERED": "1"}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def trust_pem(self) -> str:
        """The certificate to trust for it, PEM; there once it has been started with TLS."""
        return (self.data_dir / "tls.crt").read_text(encoding="ascii")

    def client(self) -> httpx2.Client:
        """HTTP connections that trust this bridge, and nobody else where it speaks TLS."""
        # Plain HTTP trusts nobody: reading every authority of the system costs more than the request.
        verify = (
            ssl.create_default_context(cadata=self.trust_pem)
            if self.tls
            else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        )
        return httpx2.Client(verify=verify, trust_env=False, timeout=_TIMEOUT)

    @property
    def pid(self) -> int:
        """The number of its process; raises BridgeDown before it was started."""
        if self._process is None:
            raise BridgeDown("The bridge was not started.")
        return self._process.pid

    @property
    def running(self) -> bool:
        """True while the process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and wait until it is ready; raises BridgeDown."""
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program, no shell
                self._command("serve", "--port", str(self.port), *(["--tls"] if self.tls else [])),
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the terminal is for us, who then stop it in order.
                start_new_session=True,
            )
        deadline = time.monotonic() + _READY_WITHIN
        while not self._ready():
            if not self.running or time.monotonic() > deadline:
                tail = self.log_path.read_text(encoding="utf-8", errors="replace")[-2000:]
                self.kill()
                raise BridgeDown(f"The bridge did not get ready. Its log ends:\n{tail}")
            time.sleep(_POLL)

    def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for one that does not go."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self.kill()

    def make_token(self, name: str, scopes: Sequence[str]) -> str:
        """A new API token, made as an administrator would; raises BridgeDown if the command fails."""
        options = [option for scope in scopes for option in ("--scope", scope)]
        return self.run("token", "create", "--name", name, "--plain", *options)

    def make_authority(self) -> None:
        """The certificate authority that devices' certificates come from; raises BridgeDown if the command fails.

        A bridge that speaks TLS trusts it from its next start on.
        """
        self.run("ca", "create")

    def make_enrolment_token(self, name: str, *, uses: int = 1) -> str:
        """A new enrolment token, made as an administrator would; raises BridgeDown if the command fails."""
        return self.run("enrol", "token", "create", "--name", name, "--uses", str(uses), "--plain")

    def run(self, *words: str) -> str:
        """What a command prints, run as an administrator would; raises BridgeDown if it fails."""
        done = subprocess.run(  # noqa: S603 - as above
            self._command(*words),
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise BridgeDown(f"`csp-bridge {' '.join(words[:2])}` failed: {done.stderr.strip()[-500:]}")
        return done.stdout.strip()

    def _command(self, *words: str) -> list[str]:
        return [*_PROGRAM, *words, "--data-dir", str(self.data_dir)]

    def _ready(self) -> bool:
        """Whether it answers. Its certificate may be made only now, so each question has a connection of its own."""
        try:
            with self.client() as http:
                # Somebody else's port may take the question and never answer.
                return http.get(f"{self.url}/readyz", timeout=_PROBE).status_code == httpx2.codes.OK
        except (httpx2.TransportError, FileNotFoundError):
            return False
