"""`csp-bridge demo`: the story, what it leaves behind, and what it says when it does not hold."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mdm.cli import main
from mdm.commands.base import CommandError
from mdm.lab import demo
from mdm.lab.bridge import BridgeProcess
from mdm.lab.cast import Cast
from mdm.lab.demo import DemoOptions, run_demo
from mdm.lab.enrol import ApiProblem, BridgeApi
from mdm.lab.generate import build_catalogue
from mdm.lab.store import DeviceStore
from mdm.lab.story import NotHeldError, StepResult, Story, _by_update, _short

CATALOGUE = build_catalogue(1, datetime(2026, 11, 21, 12, 0, tzinfo=UTC))


def free_port() -> int:
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.mark.e2e
def test_the_story_holds_and_stays_up(tmp_path: Path) -> None:
    """Every step holds; afterwards the bridge answers with the printed token until the stop; the data stay."""
    said: list[str] = []
    answers: list[int] = []
    stop = threading.Event()
    port = free_port()

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("  curl") and "/approvals" in line:
            token = line.partition("Bearer ")[2].partition('"')[0]
            trusted = ssl.create_default_context(cafile=line.partition("--cacert ")[2].split()[0])
            answer = httpx2.get(
                f"https://127.0.0.1:{port}/api/v1/devices",
                headers={"Authorization": f"Bearer {token}"},
                trust_env=False,
                verify=trusted,
            )
            answers.append(answer.status_code)
            # what the third line proposes
            url, data = line.rsplit(maxsplit=1)[-1], line.partition("-d '")[2].partition("'")[0]
            made = httpx2.post(
                url,
                content=data,
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
                trust_env=False,
                verify=trusted,
            )
            answers.append(made.status_code)
        if "that change something" in line or len(said) > 500:
            stop.set()

    results = run_demo(DemoOptions(port=port, data_dir=tmp_path / "demo"), say=say, stop=stop)
    assert [result.problem for result in results] == [None] * 17, said[-3:]
    text = "\n".join(said)
    assert "10 devices report" in text
    assert "updates nobody here has heard of" in text
    assert "refused (409): The EULA" in text
    assert "| LICENCE TERMS" in text
    assert "failed with 0x80070070: There is not enough disk space." in text
    assert "Not approved for any group this device is in." in " ".join(text.split())
    assert "All 17 steps held" in text
    assert "FINANCE-01 | Discovery: https://enterpriseenrollment.contoso.test/EnrollmentServer/" in text
    assert "8 devices have a certificate and speak mutual TLS from now on" in text
    assert re.search(r"FINANCE-02: [0-9a-f]{16}… is replaced by [0-9a-f]{16}…, with a new key", text)
    assert "the log says: the client certificate belongs to" in text
    assert "PLANT-10 is told to leave, says goodbye" in text
    assert answers == [200, 201]
    assert said[-1] == "Stopped."
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=5):
        pass
    assert (tmp_path / "demo" / "bridge" / "bridge.sqlite3").exists()
    records = [json.loads(path.read_text()) for path in (tmp_path / "demo" / "devices").iterdir()]
    assert len(records) == 10
    assert sum(record["certificate"] is not None for record in records) == 7
    assert [record["identity"]["name"] for record in records if not record["account"]["server_uri"]] == [
        "PLANT-10"
    ]


def test_a_step_that_does_not_hold_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The story ends at that step, with its reason, and leaves nothing behind."""
    port = free_port()
    said: list[str] = []
    thieves: list[socket.socket] = []

    def say(line: str) -> None:
        if not said:
            # Somebody takes the port after it was found free.
            thieves.append(socket.create_server(("127.0.0.1", port)))
        said.append(line)

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    try:
        results = run_demo(DemoOptions(once=True, port=port), say=say)
    finally:
        thieves[0].close()
    (result,) = results
    assert result.problem is not None
    assert f"Cannot listen on 127.0.0.1 port {port}" in result.problem
    assert any("DOES NOT HOLD" in line for line in said)
    assert said[-1].startswith("\nStep 1 did not hold: A WSUS and the bridge start.")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--port", "{taken}"], "cannot be had"),
        (["--port", "99999"], "99999 is not a port"),
        (["--data-dir", "{full}"], "is not empty"),
        (["--data-dir", "{full}/file/below"], "cannot be used"),
    ],
)
def test_a_story_that_cannot_begin_exits_2(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A port in use or a directory with something in it: one sentence, before anything is started."""
    (tmp_path / "file").write_text("mine")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        filled = [argument.format(taken=taken.getsockname()[1], full=tmp_path) for argument in arguments]
        assert main(["demo", "--once", *filled]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(("problem", "code"), [(None, 0), ("it broke", 1)])
def test_the_exit_code_is_the_storys(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], problem: str | None, code: int
) -> None:
    """0 only if all held; the options arrive, and SIGTERM is as it was afterwards."""
    asked: list[DemoOptions] = []

    def play(options: DemoOptions, *, say: Any) -> list[StepResult]:
        asked.append(options)
        say("played")
        return [StepResult(1, "A step", 0.1, problem)]

    monkeypatch.setattr(demo, "run_demo", play)
    before = signal.getsignal(signal.SIGTERM)
    assert main(["demo", "--once", "--seed", "7"]) == code
    assert asked == [DemoOptions(once=True, seed=7)]
    assert capsys.readouterr().out == "played\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_interrupted_story_did_not_hold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C in the middle is not success."""

    def play(options: DemoOptions, *, say: Any) -> list[StepResult]:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run_demo", play)
    assert main(["demo"]) == 1
    assert "stopped before the end" in capsys.readouterr().err


@pytest.mark.e2e
def test_ctrl_c_leaves_no_process_and_no_files(tmp_path: Path) -> None:
    """An interrupt while the bridge is up: the child is gone, and so is the temporary directory."""
    # A suite that runs in the background of a shell hands SIGINT on as ignored; a person's terminal does not.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"{heard}; from mdm.cli import main; raise SystemExit(main())",
            "demo",
            "--once",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    try:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "bridge at https://" in line)
        url, data_dir = line.split()[2].rstrip(","), line.split()[-1]
        trusted = ssl.create_default_context(cafile=f"{data_dir}/tls.crt")
        assert httpx2.get(f"{url}/livez", trust_env=False, verify=trusted).status_code == 200
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 1
    assert err == "csp-bridge: stopped before the end of the story\n"
    assert list(tmp_path.glob("csp-bridge-demo-*")) == []
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{url}/livez", trust_env=False, verify=trusted)


# --- the checks of the story ----------------------------------------------------------------------------


@dataclass
class Lines:
    """What was said."""

    lines: list[str] = field(default_factory=list)

    def __call__(self, line: str) -> None:
        """Note it."""
        self.lines.append(line)


@pytest.fixture
def told(served: Any, http: httpx2.Client, tmp_path: Path) -> Story:
    """A story on a bridge that has devices of others already."""
    props = demo._props(CATALOGUE, 1)
    bridge = BridgeProcess(Path("/nowhere"), 1, {})
    cast = Cast(
        CATALOGUE,
        props,
        "http://127.0.0.1:9",
        bridge,
        lambda: served.api(http),
        lambda *_: [],
        DeviceStore(tmp_path / "thieves"),
    )
    cast.api = served.api(http)
    return Story(cast, Lines())


def test_a_problem_of_the_api_is_a_step_that_did_not_hold(
    served: Any, http: httpx2.Client, told: Story
) -> None:
    """Refusals and absences of the bridge end the story with their sentence, not with a traceback."""
    for api, sentence in (
        (BridgeApi(served.bridge.url, "cspb_wrong", http), "HTTP 401 unauthenticated"),
        (BridgeApi("http://127.0.0.1:9", "t", http), "does not answer"),
    ):
        told.cast.api = api
        told._steps = lambda: [("Ask", told.sync), ("Never", told.sync)]  # type: ignore[method-assign]
        (result,) = told.play()
        assert result.problem is not None
        assert sentence in result.problem


def test_a_bridge_without_upstream_is_noticed(told: Story) -> None:
    """Nothing is fetched there, and the bridge's own code says why."""
    with pytest.raises(ApiProblem, match="no_upstream"):
        told.sync()


def test_devices_that_do_not_enrol_are_noticed(told: Story) -> None:
    """Nobody has come with the token: the step does not hold, and says how many are missing."""
    with pytest.raises(NotHeldError, match="0 have a certificate"):
        told.enrol()


def test_a_licence_that_is_not_asked_for_is_noticed(told: Story) -> None:
    """On a bridge that knows no metadata the approval goes through, held: the story does not accept that."""
    with pytest.raises(NotHeldError, match="nobody has accepted"):
        told.meet_licence()
    for approval in list(told.cast.api.every("/approvals", active="true")):
        told.cast.api.post(f"/approvals/{approval['id']}/revoke")


def test_titles_keep_what_tells_them_apart() -> None:
    """The boilerplate goes, the KB or version at the end stays."""
    assert _short(
        "2026-11 Cumulative Update for Windows 11 Version 24H2 for x64-based Systems (KB5083758)"
    ) == ("2026-11 Cumulative Update for Windows 11 24H2 (KB5083758)")
    long = _short(
        "Security Intelligence Update for Microsoft Defender Antivirus - KB2267602 (Version 1.459.426.0) "
        "- Current Channel (Broad)"
    )
    assert long.endswith("… (Version 1.459.426.0)")
    assert len(long) <= 60
    assert _short("x" * 80) == "x" * 59 + "…"


def test_updates_are_counted_by_reason() -> None:
    """One row for each update and reason; what came with the devices is left out."""
    rows = [
        {
            "update_id": "1",
            "title": "A",
            "state": "installable",
            "reason_text": "Not approved.",
            "approved": False,
        },
        {
            "update_id": "1",
            "title": "A",
            "state": "installable",
            "reason_text": "Not approved.",
            "approved": False,
        },
        {
            "update_id": "1",
            "title": "A",
            "state": "pending_reboot",
            "reason_text": "Waits.",
            "approved": True,
        },
        {"update_id": "2", "title": None, "state": "installable", "reason_text": "Held.", "approved": True},
        {
            "update_id": "3",
            "title": "Old",
            "state": "installed",
            "reason_text": "Installed.",
            "approved": False,
        },
    ]
    assert _by_update(rows) == [
        ("(no metadata) 2", "1", "installable", "Held."),
        ("A", "2", "installable", "Not approved."),
        ("A", "1", "pending reboot", "Waits."),
    ]


def test_the_props_are_what_the_story_needs() -> None:
    """For many seeds there is an update for every role, and no two roles share one."""
    for seed in range(1, 8):
        catalogue = build_catalogue(seed, datetime(2026, 11, 21, 12, 0, tzinfo=UTC))
        props = demo._props(catalogue, seed)
        assert props.cumulative.needs_reboot
        assert props.cumulative.eula_id is None
        assert props.licensed.eula_id is not None
        assert props.later.eula_id is None
        assert len({getattr(props, name).update_id for name in props.__slots__}) == 4


def test_a_directory_that_cannot_be_made_is_a_plain_error(tmp_path: Path) -> None:
    """The sentence names it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match="cannot be used"):
        run_demo(DemoOptions(once=True, data_dir=tmp_path / "file"), say=lambda _: None)
