"""The self-signed server certificate: made once, kept, made anew when it must be, and never over other files."""

from __future__ import annotations

import ssl
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from mdm.tls.errors import TlsError
from mdm.tls.self_signed import CERTIFICATE_FILE, KEY_FILE, LOCAL_NAMES, self_signed

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Forge

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def test_it_is_made_on_first_use(data_dir: Path) -> None:
    """The key is its owner's alone; the certificate by itself is for everybody."""
    found = self_signed(data_dir, ["mdm.example"], NOW)
    assert found.made
    assert found.path == data_dir / KEY_FILE
    assert found.path.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in data_dir.iterdir()) == [CERTIFICATE_FILE, KEY_FILE]
    public = (data_dir / CERTIFICATE_FILE).read_bytes()
    assert b"PRIVATE" not in public
    certificate = x509.load_pem_x509_certificate(public)
    assert found.names == ("mdm.example", *LOCAL_NAMES)
    assert found.not_after == certificate.not_valid_after_utc == NOW + timedelta(days=730)
    assert certificate.not_valid_before_utc < NOW
    assert len(found.fingerprint) == 64
    extensions = certificate.extensions
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH
    ]
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(found.path)


def test_it_is_kept(data_dir: Path) -> None:
    """Over restarts, also for fewer names than it has; its public copy is put back."""
    first = self_signed(data_dir, ["mdm.example", "10.0.0.1"], NOW)
    (data_dir / CERTIFICATE_FILE).unlink()
    later = self_signed(data_dir, ["MDM.example"], NOW + timedelta(days=699))
    assert not later.made
    assert later.fingerprint == first.fingerprint
    assert (data_dir / CERTIFICATE_FILE).exists()


@pytest.mark.parametrize(
    ("names", "after"),
    [(["mdm.example"], timedelta(days=700)), (["other.example"], timedelta()), (["10.0.0.1"], timedelta())],
)
def test_it_is_made_anew(data_dir: Path, names: list[str], after: timedelta) -> None:
    """A month before it expires, or when the service has got another name; both files change."""
    first = self_signed(data_dir, ["mdm.example"], NOW)
    second = self_signed(data_dir, names, NOW + after)
    assert second.made
    assert second.fingerprint != first.fingerprint
    assert set(names) <= set(second.names)
    certificate = x509.load_pem_x509_certificate((data_dir / CERTIFICATE_FILE).read_bytes())
    assert certificate.not_valid_after_utc == second.not_after
    assert second.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
def test_names_are_written_as_certificates_have_them(data_dir: Path, name: str, written: str) -> None:
    """Punycode for other scripts, the short form of addresses, and each once."""
    names = self_signed(data_dir, [name], NOW).names
    assert names.count(written) == 1
    assert set(names) == {written, *LOCAL_NAMES}


@pytest.mark.parametrize("name", ["a" * 64 + ".example", "a..b"])
def test_a_name_that_is_none_is_refused(data_dir: Path, name: str) -> None:
    """With a sentence that has the name."""
    with pytest.raises(TlsError, match=r"^No certificate can be made for the host name 'a"):
        self_signed(data_dir, [name], NOW)
    assert not data_dir.exists()


def test_processes_that_start_together_get_the_same(data_dir: Path) -> None:
    """The first one wins."""
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: self_signed(data_dir, [], NOW).fingerprint, range(16)))
    assert len(set(found)) == 1
    assert sorted(path.name for path in data_dir.iterdir()) == [CERTIFICATE_FILE, KEY_FILE]


def test_another_file_of_the_name_is_left_alone(data_dir: Path) -> None:
    """Somebody may have put it there."""
    data_dir.mkdir()
    (data_dir / KEY_FILE).write_text("my notes")
    with pytest.raises(TlsError, match=r"tls.pem holds no certificate; remove it"):
        self_signed(data_dir, [], NOW)
    assert (data_dir / KEY_FILE).read_text() == "my notes"


def test_a_certificate_without_names_is_made_anew(data_dir: Path, forge: Forge) -> None:
    """No client would accept it."""
    data_dir.mkdir()
    (data_dir / KEY_FILE).write_bytes(forge.authority("nameless").path.read_bytes())
    assert self_signed(data_dir, [], datetime.now(UTC)).made


def test_a_directory_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    """Here a file stands in its place."""
    (tmp_path / "data").write_text("")
    with pytest.raises(TlsError, match=r"^The TLS certificate in .*data cannot be used: "):
        self_signed(tmp_path / "data", [], NOW)


def test_a_file_that_vanishes_at_once_is_one_sentence(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody tidies up the directory while the service starts."""
    monkeypatch.setattr("mdm.tls.self_signed.os.link", lambda *_: None)
    with pytest.raises(TlsError, match="was removed while the service started"):
        self_signed(data_dir, [], NOW)
