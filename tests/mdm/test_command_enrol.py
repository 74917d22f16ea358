"""`csp-bridge enrol`: tokens and users from the command line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from mdm.cli import main
from mdm.clock import utc_now
from mdm.enrolment.authentication import Enroller, authenticate
from mdm.enrolment.envelope import UsernameToken
from mdm.enrolment.faults import EnrolmentFault
from mdm.storage.engine import Database

if TYPE_CHECKING:
    from pathlib import Path

USER = "ann@example.test"


@pytest.fixture
def run(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> object:
    """Run one command and return its output; the exit code must be the one expected."""

    def command(*arguments: str, code: int = 0) -> str:
        kind, verb, *rest = arguments
        assert main(["enrol", kind, verb, "--data-dir", str(data_dir), *rest]) == code
        captured = capsys.readouterr()
        return captured.err if code else captured.out

    return command


def who(data_dir: Path, password: str) -> Enroller | None:
    """Who is let in with a password."""
    database = Database(f"sqlite:///{data_dir / 'bridge.sqlite3'}")
    try:
        return authenticate(database, UsernameToken(USER, password), remote_addr="192.0.2.1", now=utc_now())
    except EnrolmentFault:
        return None
    finally:
        database.close()


def test_tokens(run: object, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made, listed without its secret, revoked."""
    assert callable(run)
    monkeypatch.setenv("BRIDGE_PUBLIC_URL", "https://mdm.example.test")
    made = run("token", "create", "--name", "for Ann", "--user", USER, "--uses", "2", "--replaces")
    secret = re.search(r"^token +(\S+)$", made, re.MULTILINE)[1]
    token_id = re.search(r"^id +(\S+)$", made, re.MULTILINE)[1]
    assert f"accesstoken={secret}" in made
    enroller = who(data_dir, secret)
    assert enroller is not None
    assert (enroller.id, enroller.vouched, enroller.replaces) == (token_id, True, True)
    listed = run("token", "list")
    assert f"{token_id}  active" in listed
    assert "0/2" in listed
    assert secret not in listed
    assert "is revoked" in run("token", "revoke", token_id)
    assert "revoked" in run("token", "list")
    run("token", "create", "--name", "long " * 30)
    assert {len(line) for line in run("token", "list").splitlines()} >= {80}
    assert max(map(len, run("token", "list").splitlines())) == 80
    assert who(data_dir, secret) is None
    assert "There is no enrolment token nothing" in run("token", "revoke", "nothing", code=1)


def test_a_token_and_nothing_else(run: object, data_dir: Path) -> None:
    """For scripts; and without BRIDGE_PUBLIC_URL there is no link to show."""
    assert callable(run)
    secret = run("token", "create", "--name", "x", "--plain").strip()
    assert who(data_dir, secret) is not None
    assert "set BRIDGE_PUBLIC_URL" in run("token", "create", "--name", "x")


def test_users(run: object, data_dir: Path) -> None:
    """Made, listed, another password, disabled, enabled, deleted."""
    assert callable(run)

    def password(text: str) -> str:
        return re.search(r"^password +(\S+)$", text, re.MULTILINE)[1]

    first = password(run("user", "create", USER, "--max-devices", "3"))
    assert who(data_dir, first).max_devices == 3
    assert "already" in run("user", "create", USER.upper(), code=1)
    listed = run("user", "list")
    assert "up to 3" in listed
    assert max(map(len, listed.splitlines())) <= 80
    assert "enabled" in listed
    second = password(run("user", "password", USER))
    assert who(data_dir, first) is None
    assert who(data_dir, second) is not None
    assert "is disabled" in run("user", "disable", USER.upper())
    assert who(data_dir, second) is None
    assert "disabled" in run("user", "list")
    assert "is enabled" in run("user", "enable", USER)
    assert who(data_dir, second).max_devices == 3
    assert "is deleted" in run("user", "delete", USER)
    assert "There is no enrolment user" in run("user", "delete", USER, code=1)
    assert who(data_dir, second) is None


@pytest.mark.parametrize(
    "arguments",
    [
        ("token", "create"),
        ("token", "create", "--name", " "),
        ("token", "create", "--name", "a\tb"),
        ("token", "create", "--name", "x", "--uses", "0"),
        ("token", "create", "--name", "x", "--hours", "99999999999"),
        ("user", "create", "x", "--max-devices", "-1"),
        ("user", "create", "x" * 201),
    ],
)
def test_bad_arguments(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """They end the command before it touches anything."""
    with pytest.raises(SystemExit) as ended:
        main(["enrol", *arguments])
    assert ended.value.code == 2
    assert "usage" in capsys.readouterr().err
