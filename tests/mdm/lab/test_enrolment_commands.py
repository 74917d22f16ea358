"""`csp-bridge device enrol|renew|unenrol`: what they refuse; what they do is in test_enrolling_e2e."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

from mdm.cli import main
from mdm.lab.muster import identity_of
from mdm.lab.store import Account, DeviceCertificate, DeviceRecord, DeviceStore

if TYPE_CHECKING:
    from pathlib import Path

ENROL = ("device", "enrol", "--domain", "contoso.test", "--address", "127.0.0.1:9")


@pytest.fixture
def where(state_dir: Path) -> list[str]:
    """The option for the state directory."""
    return ["--state-dir", str(state_dir)]


@pytest.fixture(autouse=True)
def _stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret on standard input, and none in the environment."""
    monkeypatch.setattr("sys.stdin", io.StringIO("from-stdin\n"))
    monkeypatch.delenv("CSP_DEVICE_SECRET", raising=False)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--domain", "contoso..test"), "is no domain such as"),
        (("--domain", "http://contoso.test"), "is no domain such as"),
        (("--domain", "a" * 300), "is no domain such as"),
        (("--server", "http://mdm.test"), "no https URL"),
        (("--server", "https://"), "no https URL"),
        (("--server", "https://mdm.test:99999"), "no https URL"),
        (("--server", "https://mdm test"), "no https URL"),
        (("--domain", "x.test", "--address", "host"), "is not HOST:PORT"),
        (("--domain", "x.test", "--address", "host:port"), "is not HOST:PORT"),
        (("--domain", "x.test", "--address", "host:1/x"), "is not HOST:PORT"),
        (("--domain", "x.test", "--user", ""), "a user name has 1 to 200"),
        (("--domain", "x.test", "--user", "a\x00b"), "a user name has 1 to 200"),
        (("--domain", "x.test", "--number", "0"), "a whole number from 1 to"),
        (("--domain", "x.test", "--windows", "8"), "invalid choice"),
        (("--domain", "x.test", "--server", "https://y.test"), "not allowed with"),
        ((), "one of the arguments --domain --server is required"),
    ],
)
def test_options_that_make_no_sense(
    arguments: tuple[str, ...], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is refused before anything is sent, and named."""
    with pytest.raises(SystemExit) as it:
        main(["device", "enrol", *arguments])
    assert it.value.code == 2
    assert problem in capsys.readouterr().err


def test_the_secret_comes_from_where_others_cannot_see_it(
    where: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file, a variable or standard input, one line of it; what cannot be one is refused without being shown."""
    empty, lines = tmp_path / "empty", tmp_path / "lines"
    empty.write_text("\n")
    lines.write_text("one\ntwo\n")
    for path in (empty, lines):
        assert main([*ENROL, *where, "--secret-file", str(path)]) == 2
        err = capsys.readouterr().err
        assert "has to be one line of 1 to 1000 printable characters" in err
        assert "two" not in err
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name, problem in (("missing", "cannot be read: No such file"), ("binary", "is not text")):
        assert main([*ENROL, *where, "--secret-file", str(tmp_path / name)]) == 2
        assert problem in capsys.readouterr().err
    for value in ("x" * 1001, "from-variable"):
        monkeypatch.setenv("CSP_DEVICE_SECRET", value)
        code = main([*ENROL, *where])
        assert code == (2 if len(value) > 1000 else 1)
        assert value not in "".join(capsys.readouterr())


def test_a_server_that_is_not_there(where: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, one sentence with what to look at; nothing is stored."""
    assert main([*ENROL, *where, "--windows", "11"]) == 1
    out, err = capsys.readouterr()
    assert "LAB1-0001 (10.0.26100.4652" in out
    assert "enrols as device@contoso.test" in out
    assert "cannot be reached" in err
    assert "Look at the DNS record of enterpriseenrollment.contoso.test" in err
    assert main(["device", "renew", *where]) == 2
    assert "LAB1-0001 is not in" in capsys.readouterr().err


def test_files_that_cannot_be_used(
    where: list[str],
    state_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is to be trusted, the state directory, and a spoilt state are named."""
    monkeypatch.setenv("CSP_DEVICE_SECRET", "secret")
    trust = tmp_path / "trust.pem"
    trust.write_text("garbage")
    assert main([*ENROL, *where, "--trust", str(trust)]) == 2
    assert "trust.pem: a certificate cannot be used" in capsys.readouterr().err
    assert main([*ENROL, "--state-dir", str(trust)]) == 2
    assert "trust.pem cannot be used" in capsys.readouterr().err
    DeviceStore(state_dir).path(identity_of(1, 0).device_id).write_text("{}")
    for verb in (ENROL, ("device", "renew"), ("device", "unenrol"), ("device", "run")):
        assert main([*verb, *where]) == 2
        assert "is no state of a virtual device" in capsys.readouterr().err


def put(state_dir: Path, **values: Any) -> None:
    """Store a device whose server is nowhere."""
    account = Account("http://127.0.0.1:9/omadm", "syncml:auth-md5", "dev_1", "secret")
    DeviceStore(state_dir).save(DeviceRecord(identity_of(1, 0), account, None, **values))


def test_a_device_without_a_certificate_renews_nothing(
    where: list[str], state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was made over REST."""
    put(state_dir)
    assert main(["device", "renew", *where]) == 1
    assert "LAB1-0001 has no certificate: it was not enrolled by `device enrol`." in capsys.readouterr().err


def test_a_goodbye_that_nobody_hears(
    where: list[str], state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1; the wish is kept, and told at the next session."""
    put(state_dir)
    assert main(["device", "unenrol", *where]) == 1
    assert "LAB1-0001 could not tell its server that it leaves (unreachable: " in capsys.readouterr().err
    stored = DeviceStore(state_dir).load(identity_of(1, 0).device_id)
    assert stored is not None
    assert stored.windows.leaving


def test_a_spoilt_certificate_is_named(
    where: list[str], state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the device's name, by each command that would connect."""
    put(state_dir, certificate=DeviceCertificate("key", "certificate", "root"))
    for verb in ("renew", "unenrol", "run"):
        assert main(["device", verb, *where]) == 2
        assert "LAB1-0001: a certificate cannot be used" in capsys.readouterr().err


def test_chaos_needs_a_bridge_to_compare_with(where: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """And a fleet without one needs devices that have enrolled."""
    assert main(["device", "run", *where, "--chaos"]) == 2
    assert "name its --server" in capsys.readouterr().err
    assert main(["device", "run", *where]) == 2
    assert "LAB1-0001 is not in" in capsys.readouterr().err
