"""A bridge as a child process."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from mdm.lab.bridge import BridgeDown, BridgeProcess

if TYPE_CHECKING:
    from pathlib import Path


def test_a_bridge_that_never_ran_can_be_stopped(tmp_path: Path) -> None:
    """Tidying up needs no knowledge of how far things got."""
    bridge = BridgeProcess(tmp_path / "bridge", 1, {})
    bridge.stop()
    bridge.kill()
    assert not bridge.running


@pytest.mark.e2e
def test_a_bridge_that_cannot_start_says_why(tmp_path: Path) -> None:
    """A port in use: the error has the end of the log, and no process is left."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bridge = BridgeProcess(tmp_path / "bridge", taken.getsockname()[1], {})
        with pytest.raises(BridgeDown, match=r"Cannot listen on 127\.0\.0\.1"):
            bridge.start()
    assert not bridge.running


def test_a_token_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    """The command's own sentence comes with the error."""
    bridge = BridgeProcess(tmp_path / "bridge", 1, {"BRIDGE_PORT": "many"})
    with pytest.raises(BridgeDown, match="BRIDGE_PORT must be a whole number"):
        bridge.make_token("x", ["admin"])


@pytest.mark.e2e
def test_killed_and_started_again_it_is_the_same_bridge(tmp_path: Path, served: Any) -> None:
    """The port, the data and the tokens survive; a SIGTERM ends it within its grace."""
    bridge = BridgeProcess(tmp_path / "bridge", 0, {})
    with socket.create_server(("127.0.0.1", 0)) as probe:
        bridge.port = probe.getsockname()[1]
    bridge.start()
    try:
        token = bridge.make_token("x", ["admin"])
        bridge.kill()
        assert not bridge.running
        bridge.start()
        answer = httpx2.get(
            f"{bridge.url}/api/v1/devices", headers={"Authorization": f"Bearer {token}"}, trust_env=False
        )
        assert answer.status_code == 200
    finally:
        bridge.stop()
    assert not bridge.running
    assert b'"stopped"' in bridge.log_path.read_bytes()
    assert served.bridge.running
