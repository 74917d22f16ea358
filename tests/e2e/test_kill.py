"""The bridge dies at every point of a device's session: nothing is lost, and nothing happens twice."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from csp.classifications import DEFINITION_UPDATES
from mdm.clock import utc_now
from mdm.lab.cast import Member
from mdm.lab.manners import Manners
from syncml.reader import read_message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mdm.lab.bridge import BridgeProcess
    from mdm.lab.device import SessionReport

pytestmark = pytest.mark.e2e

LOST = "before the bridge has the message"
DURING = "while the bridge works on it"
UNHEARD = "after the bridge has answered, before the device hears it"


@dataclass(slots=True)
class Killer:
    """A proxy between the device and the bridge that kills the bridge at one message, and starts it again.

    The device sees a connection that closes without an answer, and asks again.
    """

    bridge: BridgeProcess
    at: tuple[int, str] | None = None
    """Which of the messages to come, counted from 1, and when; None: never."""
    url: str = ""
    seen: list[bytes] = field(default_factory=list)
    """Every request of the device, those repeated too."""
    unheard: list[bytes] = field(default_factory=list)
    """Answers of the bridge that the device did not get."""
    replies: list[bytes] = field(default_factory=list)
    """Answers that it got."""

    def pass_on(self, path: str, headers: dict[str, str], body: bytes, http: httpx2.Client) -> bytes | None:
        """The bridge's answer, or None for the message at which it died."""
        self.seen.append(body)
        moment = self.at[1] if self.at is not None and self.at[0] == 1 else None
        if self.at is not None:
            self.at = None if moment is not None else (self.at[0] - 1, self.at[1])
        if moment is None:
            reply = http.post(f"{self.bridge.url}{path}", content=body, headers=headers).content
            self.replies.append(reply)
            return reply
        if moment == DURING:
            self._send_and_kill(path, headers, body)
        elif moment == UNHEARD:
            self.unheard.append(http.post(f"{self.bridge.url}{path}", content=body, headers=headers).content)
        self.bridge.kill()
        self.bridge.start()
        return None

    def _send_and_kill(self, path: str, headers: dict[str, str], body: bytes) -> None:
        """The bytes are in the bridge's hands when it dies; how far it got nobody knows."""
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        with socket.create_connection(("127.0.0.1", self.bridge.port)) as connection:
            connection.sendall("\r\n".join(lines).encode() + body)
            self.bridge.kill()


@contextmanager
def killer_of(bridge: BridgeProcess) -> Iterator[Killer]:
    """Run the proxy on a free port."""
    killer = Killer(bridge)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 64 * 1024

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name: self.headers[name] for name in ("Content-Type", "Content-Length", "User-Agent")}
            headers["Host"] = "127.0.0.1"
            with httpx2.Client(trust_env=False, timeout=30) as http:
                reply = killer.pass_on(self.path, headers, body, http)
            self.close_connection = True
            if reply is not None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(reply)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(reply)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    killer.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield killer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def message_ids(bodies: list[bytes]) -> list[str]:
    """MsgID of each message."""
    return [read_message(body).header.msg_id for body in bodies]


def rows(stage: Any, device: str) -> list[dict[str, Any]]:
    """What the bridge says of each update of a device."""
    return list(stage.api.every(f"/devices/{device}/updates"))


def adds(reports: list[SessionReport]) -> list[int]:
    """The device's statuses to approvals, over all sessions."""
    return [command.status for report in reports for command in report.commands if command.verb == "Add"]


def play(stage: Any, killer: Killer, session: int, at: tuple[int, str] | None) -> None:
    """A device is approved its updates, installs them, and reports; in one session the bridge dies."""
    known, device = stage.enrol(endpoint=killer.url, manners=Manners(challenged=True))
    member = Member(device, known, "Windows", frozenset(), frozenset())
    reports = []
    for number in range(1, 4):
        killer.seen.clear()
        killer.at = at if number == session else None
        report = device.check_in(utc_now())
        reports.append(report)
        assert report.ok, report
        ids = message_ids(killer.seen)
        if number == session and at is not None:
            assert report.resends == 1
            # the very message again, same SessionID and MsgID, and nothing else twice
            twice = killer.seen[at[0] - 1]
            assert killer.seen[at[0]] == twice
            del ids[at[0]]
        assert ids == [str(each) for each in range(1, report.messages + 1)]
        assert member.listed("ApprovedUpdates") == stage.approved
        if number == 1:
            device.windows.hurry(utc_now())
            device.save()
    assert adds(reports) == [200] * len(stage.approved)
    writes = [command.verb for command in reports[0].commands if command.verb != "Get"]
    # the version that tells errors and RequireUpdateApproval, then the approvals
    assert writes == ["Replace", "Replace", *["Add"] * len(stage.approved)]
    assert {command.verb for report in reports[1:] for command in report.commands} == {"Get"}
    told = {row["update_id"]: row["state"] for row in rows(stage, known)}
    assert told == member.states()
    assert {told[update_id] for update_id in stage.approved if update_id in told} == {
        "installed",
        "pending_reboot",
    }
    delivered = {row["update_id"] for row in rows(stage, known) if row["delivered"]}
    assert stage.approved - {DEFINITION_UPDATES} <= delivered


FIRST_SESSION = [(1, number, moment) for number in range(1, 5) for moment in (LOST, DURING, UNHEARD)]
"""Package 1, package 1 with credentials, the lists, the statuses of the approvals."""
SECOND_SESSION = [(2, number, UNHEARD) for number in range(2, 5)]
"""After the installation: package 1 with credentials, the lists, the confirmations of what left them."""


@pytest.mark.parametrize(("session", "number", "moment"), [*FIRST_SESSION, *SECOND_SESSION])
def test_the_bridge_dies_at_a_message(stage: Any, session: int, number: int, moment: str) -> None:
    """Whichever message it is and however far the bridge got, the device ends up with exactly what is approved."""
    with killer_of(stage.bridge) as killer:
        play(stage, killer, session, (number, moment))
        assert killer.at is None
    for unheard in killer.unheard:
        # A challenge keeps no state and is made anew; any other answer comes again byte for byte.
        assert b"<Data>407</Data>" in unheard or unheard in killer.replies


def test_without_a_kill_the_scenario_is_the_same(stage: Any) -> None:
    """What the other tests rely on: four messages in each session that changes something."""
    with killer_of(stage.bridge) as killer:
        play(stage, killer, 1, None)
