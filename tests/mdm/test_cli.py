"""The command line: every command over a real database, and the service as a process."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import structlog
from sqlalchemy import select, text
from sqlmodel import SQLModel

from mdm.cli import main
from mdm.clock import utc_now
from mdm.storage.engine import Database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = [sys.executable, "-c", "from mdm.cli import main; raise SystemExit(main())"]


@pytest.fixture(autouse=True)
def _logging_restored() -> Iterator[None]:
    """Give the process its logging back: a command sets up its own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command in this process."""
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def rows(data_dir: Path, table: str) -> list[dict[str, Any]]:
    """All rows of a table of the embedded database."""
    with closing(Database(f"sqlite:///{data_dir / 'bridge.sqlite3'}")) as database, database.read() as conn:
        return [dict(row) for row in conn.execute(select(SQLModel.metadata.tables[table])).mappings()]


# --- parsing --------------------------------------------------------------------------------------------


def test_version_and_help_need_no_heavy_import() -> None:
    """They answer at once, and so does a typing error."""
    code = (
        "import sys\nfrom mdm.cli import main\n"
        "try:\n    main(['--version'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'sqlalchemy', 'uvicorn', 'starlette', 'pydantic', 'mdm.lab'} & set(sys.modules)\n"
        "raise SystemExit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"csp-bridge \d+\.\d+\.\d+\S*\n", done.stdout)


def test_serving_imports_nothing_of_the_lab() -> None:
    """The simulated peers are for their own commands."""
    code = (
        "import sys\nfrom mdm.cli import _parser\n_parser(['serve'])\n"
        "raise SystemExit(str([n for n in sys.modules if n.startswith('mdm.lab')] or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["dance"],
        ["token"],
        ["token", "create"],
        ["token", "create", "--name", "n"],
        ["token", "create", "--name", "n", "--scope", "everything"],
        ["token", "create", "--name", "", "--scope", "admin"],
        ["token", "create", "--name", "a\nb", "--scope", "admin"],
        ["token", "create", "--name", "x" * 201, "--scope", "admin"],
        ["token", "create", "--name", "n", "--scope", "admin", "--expires-days", "-1"],
        ["token", "create", "--name", "n", "--scope", "admin", "--expires-days", "3651"],
        ["token", "create", "--name", "n", "--scope", "admin", "--expires-days", "ten"],
        ["token", "revoke"],
        ["db"],
        ["serve", "--port", "many"],
    ],
)
def test_wrong_options_exit_with_2(
    arguments: list[str], data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a usage line, and without touching the disk."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: csp-bridge" in capsys.readouterr().err
    assert not data_dir.exists()


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """`csp-bridge ddf export | head` ends quietly, as other programs do."""
    code = "import sys; from mdm.cli import main; sys.exit(main(['ddf', 'export']))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        complaint = program.stderr.read()
    assert (program.returncode, complaint) == (141, "")


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Each with its line."""
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    for command in ("serve", "token", "db", "sync", "demo", "device", "upstream", "bench"):
        assert re.search(rf"^ +{command} +\w", out, re.MULTILINE)


@pytest.mark.parametrize(
    "command", ["serve", "token create", "token list", "token revoke", "db upgrade", "sync"]
)
def test_every_command_takes_a_data_dir(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """So that none works on another database than the others."""
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    assert "--data-dir DIR" in capsys.readouterr().out


# --- tokens ---------------------------------------------------------------------------------------------


def test_a_plain_token_is_all_that_is_printed(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On a machine where nothing exists yet, the database is made along the way."""
    code, out, err = run(
        capsys,
        *("token", "create", "--name", "N", "--scope", "admin", "--scope", "eula.accept"),
        *("--data-dir", data_dir, "--plain"),
    )
    assert (code, err) == (0, "")
    assert re.fullmatch(r"cspb_[\w-]{43}\n", out)
    (token,) = rows(data_dir, "api_token")
    assert token["scopes"] == ["admin", "eula.accept"]
    assert (token["expires_at"] - token["created_at"]).days == 90
    (entry,) = rows(data_dir, "audit_entry")
    assert (entry["actor"], entry["action"]) == ("command-line", "token.create")
    assert data_dir.stat().st_mode & 0o777 == 0o700


def test_a_token_from_birth_to_revocation(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The secret is shown once; lists show state, dates, name and scopes."""
    where = ("--data-dir", data_dir)
    code, out, _ = run(
        capsys, "token", "create", "--name", "ci", "--scope", "devices.read", "--expires-days", "0", *where
    )
    assert code == 0
    shown = dict(line.split(None, 1) for line in out.splitlines()[:5])
    assert (shown["name"], shown["scopes"], shown["expires"]) == ("ci", "devices.read", "never")
    _, listed, _ = run(capsys, "token", "list", *where)
    header, row = listed.splitlines()
    assert header.split() == ["ID", "STATE", "EXPIRES", "LAST", "USED", "NAME", "SCOPES"]
    assert row.split() == [shown["id"], "active", "never", "never", "ci", "devices.read"]
    assert shown["token"] not in listed
    assert run(capsys, "token", "revoke", shown["id"], *where) == (0, f"{shown['id']} (ci) is revoked.\n", "")
    assert "revoked" in run(capsys, "token", "list", *where)[1]
    code, out, err = run(capsys, "token", "revoke", "tok_x", *where)
    assert (code, out, err) == (1, "", "csp-bridge: There is no token tok_x.\n")


# --- database -------------------------------------------------------------------------------------------


def test_check_and_upgrade(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """1 before, 0 after; upgrading twice is fine."""
    monkeypatch.setenv("BRIDGE_DATABASE_URL", empty_database_url)
    code, _, err = run(capsys, "db", "check")
    assert code == 1
    assert err.startswith("csp-bridge: The database does not have this release's schema;")
    for _ in range(2):
        assert run(capsys, "db", "upgrade")[0] == 0
    assert run(capsys, "db", "check") == (0, "The database has this release's schema.\n", "")


def test_an_empty_database_is_prepared_wherever_it_is(
    empty_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    data_dir: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """There is nothing to lose in it."""
    monkeypatch.setenv("BRIDGE_DATABASE_URL", empty_database_url)
    assert run(capsys, "token", "list", "--data-dir", data_dir)[0] == 0
    assert run(capsys, "db", "check")[0] == 0


def set_revision(url: str, revision: str) -> None:
    """Pretend that another release has migrated the database."""
    with closing(Database(url)) as database, database.write() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})


def test_a_newer_schema_is_refused(
    sqlite_url: str, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, by every command that would have to change it."""
    set_revision(sqlite_url, "9999")
    for command in (["token", "list"], ["serve", "--port", "0"], ["db", "upgrade"]):
        code, _, err = run(capsys, *command, "--data-dir", data_dir)
        assert code == 2
        assert re.fullmatch(r"csp-bridge: [^\n]*newer version[^\n]*\n", err)


def test_an_older_schema_elsewhere_is_left_alone(
    database_url: str, monkeypatch: pytest.MonkeyPatch, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On PostgreSQL a command warns on stderr; the embedded database was migrated or refused above."""
    if database_url.startswith("sqlite"):
        pytest.skip("the embedded database belongs to this process alone")
    monkeypatch.setenv("BRIDGE_DATABASE_URL", database_url)
    assert run(capsys, "token", "list", "--data-dir", data_dir)[2] == ""
    set_revision(database_url, "0000")
    code, out, err = run(capsys, "token", "list", "--data-dir", data_dir)
    assert (code, len(out.splitlines())) == (0, 1)
    assert "schema_not_at_head" in err


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"BRIDGE_PORT": "99999"}, "BRIDGE_PORT must be at most 65535."),
        (
            {"BRIDGE_PORT": "x", "BRIDGE_UPSTREAM_URL": "y"},
            "BRIDGE_PORT must be a whole number; BRIDGE_UPSTREAM_URL",
        ),
        ({"BRIDGE_DATABASE_URL": "oracle://hunter2@x"}, "only sqlite and postgresql"),
    ],
)
def test_bad_settings_are_one_line(
    environment: dict[str, str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Naming every variable at fault, and no value."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    code, out, err = run(capsys, "serve")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err
    assert "hunter2" not in err


# --- sync -----------------------------------------------------------------------------------------------


def test_a_sync_needs_an_upstream(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the setting."""
    code, _, err = run(capsys, "sync", "--data-dir", data_dir)
    assert code == 2
    assert "BRIDGE_UPSTREAM_URL" in err


def test_a_sync_is_queued(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --wait the running service does it."""
    monkeypatch.setenv("BRIDGE_UPSTREAM_URL", "http://127.0.0.1:9")
    code, out, _ = run(capsys, "sync", "--data-dir", data_dir)
    (found,) = rows(data_dir, "sync_run")
    assert (code, out.split()[0]) == (0, found["id"])
    assert (found["state"], found["trigger"]) == ("queued", "command-line")


@contextmanager
def refusing_upstream() -> Iterator[str]:
    """An HTTP server that knows no path."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_error(404)

        def log_message(self, *_args: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_failed_sync_is_told(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --wait: exit code 1 and the sentence of the run."""
    with refusing_upstream() as url:
        monkeypatch.setenv("BRIDGE_UPSTREAM_URL", url)
        code, out, err = run(capsys, "sync", "--wait", "--data-dir", data_dir)
    (found,) = rows(data_dir, "sync_run")
    assert found["state"] == "failed"
    assert (code, out) == (1, "")
    assert err.endswith(f"csp-bridge: {found['error']}\n")


@contextmanager
def busy_service(data_dir: Path, change: str) -> Iterator[None]:
    """A service that has a run under way, and does `change` to the next one as soon as it is queued."""
    url = f"sqlite:///{data_dir / 'bridge.sqlite3'}"
    counts = ("categories", "needed", "fetched", "not_offered", "failed", "eula_texts", "bytes_received")
    with closing(Database(url)) as database:
        with database.write() as conn:
            conn.execute(
                SQLModel.metadata.tables["sync_run"]
                .insert()
                .values(
                    id="busy",
                    upstream_url="http://127.0.0.1:9",
                    trigger="schedule",
                    requested_by="schedule",
                    state="running",
                    requested_at=utc_now(),
                    heartbeat_at=utc_now(),
                    **dict.fromkeys(counts, 0),
                )
            )
        done = threading.Event()

        def serve() -> None:
            while not done.wait(0.05):
                with database.write() as conn:
                    if conn.execute(text(change)).rowcount:
                        return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


@pytest.mark.usefixtures("sqlite_url")
def test_the_service_may_be_faster(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --wait, a run that another process does is waited for, and its figures told."""
    monkeypatch.setenv("BRIDGE_UPSTREAM_URL", "http://127.0.0.1:9")
    change = (
        "UPDATE sync_run SET state = 'succeeded', finished_at = requested_at, categories = 7 "
        "WHERE state = 'queued'"
    )
    with busy_service(data_dir, change):
        code, out, _ = run(capsys, "sync", "--wait", "--data-dir", data_dir)
    assert code == 0
    assert out.endswith(
        " succeeded: 7 categories, 0 new, 0 revised and 0 expired updates, 0 of 0 needed revisions, "
        "0 not offered, 0 failed, 0 licence texts.\n"
    )


@pytest.mark.usefixtures("sqlite_url")
def test_a_run_that_vanishes(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody restored another database under our feet: the command ends."""
    monkeypatch.setenv("BRIDGE_UPSTREAM_URL", "http://127.0.0.1:9")
    with busy_service(data_dir, "DELETE FROM sync_run WHERE state = 'queued'"):
        code, _, err = run(capsys, "sync", "--wait", "--data-dir", data_dir)
    assert (code, err.endswith("is gone from the database.\n")) == (2, True)


@pytest.mark.usefixtures("sqlite_url")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_waiting_can_be_interrupted(
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
) -> None:
    """The run stays queued, and the process has its own signal handlers back."""
    monkeypatch.setenv("BRIDGE_UPSTREAM_URL", "http://127.0.0.1:9")
    before = signal.getsignal(number)
    with busy_service(data_dir, "UPDATE sync_run SET phase = NULL WHERE 1 = 0"):
        timer = threading.Timer(1.0, os.kill, (os.getpid(), number))
        timer.start()
        code, _, err = run(capsys, "sync", "--wait", "--data-dir", data_dir)
        timer.join()
    assert (code, "is queued again" in err) == (1, True)
    assert signal.getsignal(number) is before
    assert {row["id"]: row["state"] for row in rows(data_dir, "sync_run")}["busy"] == "running"


# --- serve ----------------------------------------------------------------------------------------------


@contextmanager
def serving(data_dir: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The service as a process, and its URL."""
    environment = {**os.environ, "BRIDGE_LOG_FORMAT": "json"}
    command = [*PROGRAM, "serve", "--data-dir", str(data_dir), "--port", "0", *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    assert process.stdout is not None
    try:
        output = ""
        for line in process.stdout:
            output += line
            if found := re.search(
                r'"url": ?"([^"]+)".*"event": ?"ready"|"event": ?"ready".*"url": ?"([^"]+)"', line
            ):
                yield process, found[1] or found[2]
                break
            event = json.loads(line)
            if event["event"] == "ready":
                yield process, event["url"]
                break
        else:
            pytest.fail(f"the service did not start:\n{output}")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_service_in_this_process(data_dir: Path, host: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It answers, stops at a signal, frees its port, and gives the handlers back."""
    try:
        socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as unused:
        port = unused.getsockname()[1]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    answers: list[int] = []

    def visit() -> None:
        with httpx2.Client(base_url=url) as client:
            for _ in range(200):
                try:
                    answers.append(client.get("/readyz").status_code)
                    break
                except httpx2.ConnectError:
                    time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    visitor = threading.Thread(target=visit)
    visitor.start()
    code, out, _ = run(capsys, "serve", "--data-dir", data_dir, "--host", host, "--port", str(port))
    visitor.join()
    assert (code, answers) == (0, [200])
    events = [json.loads(line)["event"] for line in out.splitlines()]
    assert events[-1] == "stopped"
    assert url in out
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_service_starts_answers_and_stops(
    data_dir: Path, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    """Fresh directory, one token, one request, and exit code 0 on either signal."""
    _, token, _ = run(
        capsys, "token", "create", "--name", "n", "--scope", "admin", "--data-dir", data_dir, "--plain"
    )
    with serving(data_dir) as (process, url):
        assert url.startswith("http://127.0.0.1:")
        with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {token.strip()}"}) as client:
            assert client.get("/readyz").status_code == 200
            response = client.post("/api/v1/devices", json={"device_id": "DEV1"})
            assert response.status_code == 201
            assert "server" not in response.headers
        process.send_signal(number)
        assert process.wait(timeout=30) == 0
    assert len(rows(data_dir, "device")) == 1
    assert (data_dir / "secret.key").stat().st_mode & 0o777 == 0o600


def test_forwarded_headers_are_believed_from_nobody_by_default(
    data_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The audit has the peer's address, unless the peer is a configured proxy."""
    _, token, _ = run(
        capsys, "token", "create", "--name", "n", "--scope", "admin", "--data-dir", data_dir, "--plain"
    )
    headers = {"Authorization": f"Bearer {token.strip()}", "X-Forwarded-For": "203.0.113.9"}
    for proxies, seen in (("", "127.0.0.1"), ("127.0.0.0/8", "203.0.113.9")):
        monkeypatch.setenv("BRIDGE_TRUSTED_PROXIES", proxies)
        with serving(data_dir) as (_, url):
            response = httpx2.post(f"{url}/api/v1/groups", json={"name": f"g{proxies}"}, headers=headers)
            assert response.status_code == 201
        assert rows(data_dir, "audit_entry")[-1]["remote_addr"] == seen


def test_a_port_in_use_is_one_line(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = run(capsys, "serve", "--data-dir", data_dir, "--port", str(port))
    assert (code, err) == (
        2,
        f"csp-bridge: Cannot listen on 127.0.0.1 port {port}: Address already in use.\n",
    )


def test_a_host_that_is_not_ours_is_one_line(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same for an address this machine does not have."""
    code, _, err = run(capsys, "serve", "--data-dir", data_dir, "--host", "203.0.113.1", "--port", "0")
    assert code == 2
    assert err.startswith("csp-bridge: Cannot listen on 203.0.113.1 port 0: ")


def test_a_server_database_that_is_away_is_logged(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The start goes on to the next thing that can fail, here the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("BRIDGE_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
        code, out, _ = run(capsys, "serve", "--data-dir", data_dir, "--port", str(port))
    assert code == 2
    assert "database_unavailable" in out


def test_a_server_database_that_is_away_does_not_keep_the_service_down(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It starts, says so at /readyz, and needs no restart later."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    monkeypatch.setenv("BRIDGE_DATABASE_URL", f"postgresql://nobody@127.0.0.1:{port}/none")
    with serving(data_dir) as (_, url):
        assert httpx2.get(f"{url}/livez").status_code == 200
        response = httpx2.get(f"{url}/readyz", timeout=30)
        assert response.status_code == 503
        assert response.json()["failing"] == ["database"]
