"""`csp-bridge ca`: the authority at the command line."""

from __future__ import annotations

import re
import stat
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from sqlalchemy import text

from mdm.audit import Origin, list_entries
from mdm.ca.authority import Authority, Issued
from mdm.ca.certificates import build_root
from mdm.ca.checking import check
from mdm.ca.issued import bind
from mdm.cli import main
from mdm.clock import utc_now
from mdm.commands import ca as command
from mdm.devices.registry import create_device, device_pk
from mdm.storage.secrets import SecretBox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mdm.storage.engine import Database

Run = Any
"""A call of the command: exit code, what it wrote, and its complaint."""


@pytest.fixture
def run(
    database_url: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: Any
) -> Callable[..., tuple[int, str, str]]:
    """The command, on SQLite and on PostgreSQL."""
    monkeypatch.setenv("BRIDGE_DATABASE_URL", database_url)

    def call(*words: str | Path) -> tuple[int, str, str]:
        code = main(["ca", *map(str, words), "--data-dir", str(data_dir)])
        captured = capsysbinary.readouterr()
        return code, captured.out.decode("latin-1"), captured.err.decode()

    return call


@pytest.fixture(autouse=True)
def _quick_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of the least size that is accepted: the real one takes seconds to find."""
    monkeypatch.setattr("mdm.ca.authority._KEY_BITS", 2048)


@pytest.fixture
def issue(database: Database, data_dir: Path) -> Callable[[str], Issued]:
    """Issues a certificate as an enrolment does."""

    def one(name: str) -> Issued:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
        public_key = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        with database.write() as conn:
            authority = Authority.load(conn, SecretBox.from_file(data_dir / "secret.key"))
            return authority.issue(
                conn, public_key=public_key, subject_name=name, device_pk=None, now=utc_now()
            )

    return one


def organisation(tmp_path: Path, passphrase: bytes) -> tuple[Path, Path, Path]:
    """An authority of the organisation's own: key, chain and passphrase in files."""
    now = utc_now()
    private = ec.generate_private_key(ec.SECP256R1())
    root = build_root(private, "Contoso", intermediates=0, now=now, not_after=now + timedelta(days=9))
    key, chain, secret = (tmp_path / name for name in ("key.pem", "chain.pem", "passphrase"))
    key.write_bytes(
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase))
    )
    chain.write_bytes(root.public_bytes(Encoding.PEM))
    secret.write_bytes(passphrase + b"\r\n")
    return key, chain, secret


def test_nothing_is_there_yet(run: Run) -> None:
    """And each verb says so, or what to do."""
    assert run("show") == (0, "There is no certificate authority yet.\n", "")
    remedy = "csp-bridge: There is no certificate authority yet: csp-bridge ca create makes one.\n"
    assert run("show", "--pem") == (2, "", remedy)
    assert run("crl") == (2, "", remedy)
    assert run("issued")[1].split() == ["DEVICE", "SERIAL", "GOOD", "UNTIL"]


def test_created_and_shown(run: Run, database: Database, data_dir: Path) -> None:
    """One authority, whose key file is nobody else's; a second one only with --replace."""
    code, out, err = run("create", "--name", "Contoso MDM", "--years", "2")
    assert (code, err) == (0, "")
    assert re.search(r"^root +CN=Contoso MDM$", out, re.MULTILINE)
    assert re.search(r"^  sha1 +[0-9a-f]{40}$", out, re.MULTILINE)
    assert "intermediate" not in out
    assert run("show") == (0, out, "")
    assert stat.S_IMODE((data_dir / "secret.key").stat().st_mode) == 0o600
    (root,) = x509.load_pem_x509_certificates(run("show", "--pem")[1].encode())
    assert timedelta(days=729) < root.not_valid_after_utc - utc_now() <= timedelta(days=730)
    code, out, err = run("create")
    assert (code, out) == (2, "")
    assert "With --replace the new one issues" in err
    assert run("create", "--replace")[0] == 0
    shown = run("show")[1]
    assert re.findall(r"^state +(issues|replaced)", shown, re.MULTILINE) == ["issues", "replaced"]
    with database.read() as conn:
        entries = list_entries(conn, before=None, limit=9)
    assert [(each.actor, each.action) for each in entries] == [("command-line", "authority.create")] * 2


def test_an_intermediate_leaves_the_roots_key_with_the_administrator(
    run: Run, database: Database, tmp_path: Path
) -> None:
    """In a new file of mode 0600, protected if asked, and not in the database."""
    secret, target = tmp_path / "passphrase", tmp_path / "root.key"
    secret.write_text("over the hills\nand far away\n")
    words = ("create", "--intermediate", "--root-key-out", target)
    code, out, err = run(*words, "--passphrase-file", secret)
    assert (code, err) == (0, "")
    assert "intermediate  CN=CSP Bridge Devices" in out
    assert f"The root's key is in {target}, and nowhere else." in out
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    key = load_pem_private_key(target.read_bytes(), b"over the hills")
    below, root = x509.load_pem_x509_certificates(run("show", "--pem")[1].encode())
    assert key.public_key() == root.public_key() != below.public_key()
    assert run(*words, "--replace") == (2, "", f"csp-bridge: {target} cannot be written: File exists.\n")
    with database.read() as conn:
        assert conn.execute(text("SELECT count(*) FROM certificate_authority")).scalar_one() == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("create", "--intermediate"), "belong together"),
        (("create", "--root-key-out", "x"), "belong together"),
        (("create", "--passphrase-file", "x"), "only --intermediate gives away"),
    ],
)
def test_options_that_need_each_other(run: Run, words: tuple[str, ...], sentence: str) -> None:
    """Nothing is made."""
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert sentence in err
    assert run("show")[1] == "There is no certificate authority yet.\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("create", "--name", ""), "1 to 56 letters"),
        (("create", "--name", "a" * 57), "1 to 56 letters"),
        (("create", "--name", "a\n"), "1 to 56 letters"),
        (("create", "--name", "a "), "1 to 56 letters"),
        (("create", "--name", "CN=a, b"), "1 to 56 letters"),
        (("create", "--years", "0"), "from 1 to 30"),
        (("create", "--years", "31"), "from 1 to 30"),
        (("create", "--years", "1" * 5000), "from 1 to 30"),
        (("create", "--years", "x"), "from 1 to 30"),
        (("issued", "--limit", "100001"), "from 1 to 100000"),
        (("issued", "--thumbprint", "12"), "40 hexadecimal digits"),
        (("revoke", "xyz"), "up to 40 hexadecimal digits"),
        (("revoke", "1" * 41), "up to 40 hexadecimal digits"),
        (("revoke", "12", "--reason", "because"), "invalid choice"),
    ],
)
def test_wrong_values(words: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A usage error that names the option."""
    with pytest.raises(SystemExit) as caught:
        main(["ca", *words])
    assert caught.value.code == 2
    assert sentence in capsys.readouterr().err


def test_the_organisations_own(run: Run, tmp_path: Path) -> None:
    """Taken over from files; what is wrong is one sentence."""
    key, chain, secret = organisation(tmp_path, b"over the hills")
    code, _, err = run("import", "--key", key, "--chain", chain)
    assert (code, err) == (2, "csp-bridge: The key is encrypted: its passphrase is needed.\n")
    code, out, err = run("import", "--key", key, "--chain", chain, "--passphrase-file", secret)
    assert (code, err) == (0, "")
    assert "CN=Contoso" in out
    assert re.search(r"^state +issues, imported ", out, re.MULTILINE)
    warning = "\n\nThe authority that issues ends within 365 days (BRIDGE_CERTIFICATE_DAYS), and\n"
    assert warning in out
    assert warning in run("show")[1]
    run("create", "--replace")
    assert warning not in run("show")[1]
    code, _, err = run(*("import", "--key", key, "--chain", chain, "--passphrase-file", secret, "--replace"))
    assert (code, err) == (2, "csp-bridge: This certificate authority is stored already.\n")


def test_files_that_cannot_be_used(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, too large, without a passphrase."""
    key, chain, secret = organisation(tmp_path, b"over the hills")
    code, _, err = run("import", "--key", tmp_path / "none", "--chain", chain)
    assert (code, err) == (2, f"csp-bridge: {tmp_path}/none cannot be read: No such file or directory.\n")
    secret.write_text("\n")
    code, _, err = run("import", "--key", key, "--chain", chain, "--passphrase-file", secret)
    assert (code, err) == (2, f"csp-bridge: {secret} holds no passphrase in its first line.\n")
    monkeypatch.setattr(command, "_MAX_FILE", 10)
    code, _, err = run("import", "--key", key, "--chain", chain)
    assert (code, err) == (2, f"csp-bridge: {key} is too large.\n")


def test_issued_and_revoked(run: Run, database: Database, issue: Callable[[str], Issued]) -> None:
    """Listed, found by the thumbprint that Windows shows, taken back by the serial number in any spelling."""
    run("create")
    one, other = issue("one"), issue("other")
    lines = run("issued")[1].splitlines()
    assert max(map(len, lines)) <= 80
    end = f"{x509.load_der_x509_certificate(one.der).not_valid_after_utc:%Y-%m-%d}"
    assert {tuple(line.split()) for line in lines[1:]} == {
        ("-", one.serial, end),
        ("-", other.serial, end),
    }
    assert len(run("issued", "--limit", "1")[1].splitlines()) == 2
    assert len(run("issued", "--device", "nobody")[1].splitlines()) == 1
    spaced = " ".join(re.findall("..", one.thumbprint_sha1.lower()))
    assert one.serial in run("issued", "--thumbprint", spaced)[1]
    spelled = ":".join(re.findall("..", one.serial.upper()))
    code, out, err = run("revoke", spelled, "--reason", "keyCompromise")
    assert (code, out, err) == (0, f"{one.serial} (CN=one) is revoked, reason keyCompromise.\n", "")
    with database.read() as conn:
        assert not check(conn, one.der, utc_now()).ok
        assert check(conn, other.der, utc_now()).ok
    assert f"{one.serial}  revoked\n" in run("issued")[1]
    assert re.fullmatch(
        rf"{one.serial} \(CN=one\) was revoked at .*Z, reason keyCompromise\.\n",
        run("revoke", one.serial)[1],
    )
    assert run("revoke", "12") == (
        1,
        "",
        f"csp-bridge: No certificate with the serial number '{'12'.zfill(40)}' was issued here.\n",
    )


def test_the_revocation_list(run: Run, issue: Callable[[str], Issued], tmp_path: Path) -> None:
    """PEM for every authority that is valid, or DER of the one that issues; to stdout or in place of a file."""
    run("create")
    one = issue("one")
    run("revoke", one.serial)
    crl = x509.load_der_x509_crl(run("crl", "--format", "der")[1].encode("latin-1"))
    assert [each.serial_number for each in crl] == [int(one.serial, 16)]
    run("create", "--name", "Second", "--replace")
    blocks = re.findall(r"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----\n", run("crl")[1], re.DOTALL)
    lists = [x509.load_pem_x509_crl(block.encode()) for block in blocks]
    assert [(each.issuer.rfc4514_string(), len(each)) for each in lists] == [
        ("CN=Second", 0),
        ("CN=CSP Bridge", 1),
    ]
    target = tmp_path / "crl.pem"
    target.write_text("old")
    assert run("crl", "--out", target) == (0, "", "")
    assert target.read_text().count("BEGIN X509 CRL") == 2
    assert list(tmp_path.glob(".crl*")) == []
    missing = tmp_path / "none" / "crl.pem"
    assert run("crl", "--out", missing) == (
        2,
        "",
        f"csp-bridge: {missing} cannot be written: No such file or directory.\n",
    )


def test_issued_to_a_device(
    run: Run, database: Database, data_dir: Path, issue: Callable[[str], Issued]
) -> None:
    """Found by the id that `devices list` shows, and by the DeviceID that the device says."""
    run("create")
    one = issue("one")
    issue("other")
    box = SecretBox.from_file(data_dir / "secret.key")
    with database.write() as conn:
        device, _ = create_device(
            conn, Origin("test"), box, device_id="DEV1", name="pc", auth="syncml:auth-md5", now=utc_now()
        )
        bind(conn, one.serial, device_pk(conn, device.id))
    for name in (device.id, "DEV1"):
        (line,) = run("issued", "--device", name)[1].splitlines()[1:]
        assert line.split()[:2] == [device.id, one.serial]
