"""`csp-bridge enroll-check`: its options, its words, its exit codes."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from mdm.cli import main
from mdm.commands import enroll_check
from mdm.readiness.server_check import Finding, Level, Target
from mdm.tls.self_signed import self_signed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

FINE = Finding("dns", Level.OK, "a.test", "It resolves.")
ODD = Finding("clock", Level.WARNING, "the clock", "It is off.", "Set it.")
BAD = Finding("tls", Level.FAILED, "a.test:443", "It says \x1b[2J.", "Mend it.")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Target]:
    """What the check was asked for; it finds nothing wrong."""
    targets: list[Target] = []

    def check(target: Target, _clock: Any) -> Iterator[Finding]:
        targets.append(target)
        yield FINE

    monkeypatch.setattr(enroll_check, "check_domain", check)
    return targets


def found(monkeypatch: pytest.MonkeyPatch, *findings: Finding) -> None:
    """Let the check find this."""
    monkeypatch.setattr(enroll_check, "check_domain", lambda _target, _clock: iter(findings))


def test_the_real_check_of_a_closed_port(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is stubbed: the connection is refused, and the exit code is 1."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    code = main(["enroll-check", "--domain", "example.test", "--address", f"127.0.0.1:{port}"])
    output = capsys.readouterr().out
    assert code == 1
    assert "failed   enterpriseenrollment.example.test:443" in output
    assert "-> Open TCP port 443" in output


@pytest.mark.parametrize(
    ("findings", "code", "last"),
    [
        ((FINE,), 0, "Windows can enrol, as far as it can be seen from here."),
        ((FINE, ODD), 0, "Windows can enrol; 1 to look at."),
        ((FINE, ODD, BAD), 1, "Windows cannot enrol so: 1 failed, 1 to look at."),
    ],
)
def test_the_verdict(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    findings: tuple[Finding, ...],
    code: int,
    last: str,
) -> None:
    """A warning does not fail; the last line says what it all means."""
    found(monkeypatch, *findings)
    assert main(["enroll-check", "--domain", "example.test"]) == code
    assert capsys.readouterr().out.splitlines()[-1] == last


def test_words_of_a_server_do_not_move_the_cursor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Control characters are shown as question marks."""
    found(monkeypatch, BAD)
    main(["enroll-check", "--domain", "example.test"])
    output = capsys.readouterr().out
    assert "It says ?[2J." in output
    assert "         -> Mend it." in output


def test_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One document with every member of every finding."""
    found(monkeypatch, FINE, BAD)
    assert main(["enroll-check", "--domain", "example.test", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "domain": "example.test",
        "ready": False,
        "findings": [
            {"step": "dns", "level": "ok", "looked_at": "a.test", "why": "It resolves.", "remedy": None},
            {
                "step": "tls",
                "level": "failed",
                "looked_at": "a.test:443",
                "why": "It says \x1b[2J.",
                "remedy": "Mend it.",
            },
        ],
    }


@pytest.mark.parametrize(
    ("options", "target"),
    [
        (["--domain", " Example.TEST. "], Target("example.test")),
        (["--domain", "bücher.test", "--seconds", "3"], Target("xn--bcher-kva.test", seconds=3)),
        (["--domain", "a.test", "--address", "192.0.2.1:8443"], Target("a.test", ("192.0.2.1", 8443))),
        (["--domain", "a.test", "--address", "[2001:db8::1]:443"], Target("a.test", ("2001:db8::1", 443))),
    ],
)
def test_options(asked: list[Target], options: list[str], target: Target) -> None:
    """Domains as people write them, addresses with their port."""
    assert main(["enroll-check", *options]) == 0
    assert asked == [target]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--domain"),
        (["--domain", "user@example.test"], "domain of the users' addresses"),
        (["--domain", "a..test"], "domain of the users' addresses"),
        (["--domain=-a.test"], "domain of the users' addresses"),
        (["--domain", "a." * 120 + "test"], "domain of the users' addresses"),
        (["--domain", "a.test", "--address", "192.0.2.1"], "HOST:PORT"),
        (["--domain", "a.test", "--address", "a:0"], "HOST:PORT"),
        (["--domain", "a.test", "--address", "a:70000"], "HOST:PORT"),
        (["--domain", "a.test", "--seconds", "0"], "from 1 to 120"),
        (["--domain", "a.test", "--seconds", "9999999999"], "from 1 to 120"),
        (["--domain", "a.test", "--seconds", "½"], "from 1 to 120"),
    ],
)
def test_wrong_options(capsys: pytest.CaptureFixture[str], options: list[str], words: str) -> None:
    """They are refused with exit code 2 and what is wanted."""
    with pytest.raises(SystemExit) as caught:
        main(["enroll-check", *options])
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


def test_trust(asked: list[Target], tmp_path: Path, now: datetime) -> None:
    """The file's text is handed on."""
    self_signed(tmp_path, ["mdm.test"], now)
    path = tmp_path / "tls.crt"
    assert main(["enroll-check", "--domain", "a.test", "--trust", str(path)]) == 0
    assert asked[0].trust == path.read_text().replace("\r", "")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file"),
        (b"", "no PEM certificate"),
        (b"\xff\x00", "no PEM certificate"),
    ],
)
def test_a_trust_file_that_cannot_be_used(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes | None, words: str
) -> None:
    """It is a plain error, and nothing is looked at."""
    path = tmp_path / "roots.pem"
    if content is not None:
        path.write_bytes(content)
    assert main(["enroll-check", "--domain", "a.test", "--trust", str(path)]) == 2
    assert words in capsys.readouterr().err
