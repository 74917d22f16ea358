"""TLS from the settings: which files are used, and one sentence for each that cannot be."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from structlog.testing import capture_logs

from mdm.settings import load_settings
from mdm.tls.context import server_context, trust_clients_of
from mdm.tls.errors import TlsError
from mdm.tls.server import reload_certificate, tls_context

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Forge, Issued

    from mdm.tls.refusals import Refusals

NOW = datetime.now(UTC)


def names_served(context: ssl.SSLContext, trust: bytes | str) -> set[str]:
    """The names in the certificate that a client gets to see: a handshake in memory."""
    client_context = ssl.create_default_context(cadata=trust)
    client_context.check_hostname = False
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    certificate = client.getpeercert()
    assert certificate is not None
    return {str(name) for _, name in certificate["subjectAltName"]}


def split(server: Issued, directory: Path) -> tuple[Path, Path]:
    """Certificate and key in two files."""
    key, mark, certificate = server.path.read_text().partition("-----BEGIN CERTIFICATE")
    (directory / "own.crt").write_text(mark + certificate)
    (directory / "own.key").write_text(key)
    return directory / "own.crt", directory / "own.key"


def test_without_tls_there_is_no_context(data_dir: Path, refusals: Refusals) -> None:
    """And no file is made."""
    assert tls_context(load_settings(data_dir=data_dir), refusals, NOW) is None
    assert not data_dir.exists()


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, set()),
        ({"public_url": "https://mdm.example:8443/bridge"}, {"mdm.example"}),
        ({"public_url": "https://[2001:db8::1]"}, {"2001:DB8:0:0:0:0:0:1"}),
        ({"host": "192.0.2.7"}, {"192.0.2.7"}),
        ({"host": "0.0.0.0"}, set()),  # noqa: S104 - nothing listens
        ({"host": "::"}, set()),
    ],
)
def test_the_self_signed_one_has_the_names_of_the_service(
    data_dir: Path, refusals: Refusals, settings: dict[str, Any], names: set[str]
) -> None:
    """Those of BRIDGE_PUBLIC_URL and BRIDGE_HOST, and this machine's own."""
    with capture_logs() as logs:
        context = tls_context(load_settings(data_dir=data_dir, tls=True, **settings), refusals, NOW)
    assert context is not None
    assert context.verify_mode is ssl.CERT_NONE
    assert names_served(context, (data_dir / "tls.crt").read_text()) == names | {
        "localhost",
        "127.0.0.1",
        "0:0:0:0:0:0:0:1",
    }
    assert [(line["event"], len(line["sha256"])) for line in logs] == [("tls_certificate_made", 64)]
    with capture_logs() as logs:
        tls_context(load_settings(data_dir=data_dir, tls=True, **settings), refusals, NOW)
    assert logs == []


def test_authorities_are_asked_for(data_dir: Path, tmp_path: Path, forge: Forge, refusals: Refusals) -> None:
    """Each one in the file."""
    first, second = (forge.authority(name) for name in ("first", "second"))
    (tmp_path / "ca.pem").write_text(first.pem + second.pem)
    settings = load_settings(data_dir=data_dir, tls=True, tls_client_ca_file=tmp_path / "ca.pem")
    context = tls_context(settings, refusals, NOW)
    assert context is not None
    assert context.verify_mode is ssl.CERT_OPTIONAL
    assert set(context.get_ca_certs(binary_form=True)) == {first.der, second.der}


@pytest.mark.parametrize("apart", [True, False])
def test_an_own_certificate_is_served(
    data_dir: Path, tmp_path: Path, forge: Forge, refusals: Refusals, *, apart: bool
) -> None:
    """From two files or from one, and it turns TLS on by itself; nothing is made."""
    own = forge.server("mdm.example")
    files: dict[str, Any] = {"tls_cert_file": own.path}
    if apart:
        files["tls_cert_file"], files["tls_key_file"] = split(own, tmp_path)
    context = tls_context(load_settings(data_dir=data_dir, **files), refusals, NOW)
    assert context is not None
    assert names_served(context, own.pem) == {"mdm.example"}
    assert not data_dir.exists()


def test_a_certificate_that_expires_soon_is_warned_of(
    data_dir: Path, forge: Forge, refusals: Refusals
) -> None:
    """Thirty days ahead, with the date."""
    own = forge.server("mdm.example", days=(-1, 31))
    settings = load_settings(data_dir=data_dir, tls_cert_file=own.path)
    with capture_logs() as logs:
        tls_context(settings, refusals, NOW)
    assert logs == []
    with capture_logs() as logs:
        tls_context(settings, refusals, NOW + timedelta(days=3))
    assert [(line["event"], line["path"]) for line in logs] == [("tls_certificate_expires", str(own.path))]
    assert logs[0]["not_after"].startswith(own.certificate.not_valid_after_utc.date().isoformat())


def _case(name: str, directory: Path, forge: Forge) -> dict[str, Any]:
    own, other = forge.server("a.example"), forge.server("b.example")
    certificate, key = split(own, directory)
    (directory / "notes.txt").write_text("my notes")
    (directory / "locked.key").write_bytes(
        own.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    )
    return {
        "key alone": {"tls_key_file": key},
        "authorities alone": {"tls_client_ca_file": certificate},
        "no such file": {"tls_cert_file": directory / "none.crt"},
        "no such key": {"tls_cert_file": certificate, "tls_key_file": directory / "none.key"},
        "no key": {"tls_cert_file": certificate},
        "no certificate": {"tls_cert_file": directory / "notes.txt"},
        "a directory": {"tls_cert_file": directory},
        "another's key": {"tls_cert_file": certificate, "tls_key_file": other.path},
        "a locked key": {"tls_cert_file": certificate, "tls_key_file": directory / "locked.key"},
        "no such authorities": {"tls": True, "tls_client_ca_file": directory / "none.pem"},
        "no authorities": {"tls": True, "tls_client_ca_file": directory / "notes.txt"},
    }[name]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("key alone", "^BRIDGE_TLS_KEY_FILE is of no use without BRIDGE_TLS_CERT_FILE.$"),
        ("authorities alone", "^BRIDGE_TLS_CLIENT_CA_FILE is of no use without TLS"),
        (
            "no such file",
            r"^The certificate or key in .*none.crt cannot be read: No such file or directory.$",
        ),
        ("no such key", r"^The certificate or key in .*own.crt and .*none.key cannot be read: No such file"),
        ("no key", r"^There is no usable PEM certificate and key in .*own.crt.$"),
        ("no certificate", r"^There is no usable PEM certificate and key in .*notes.txt.$"),
        ("a directory", "^There is no usable PEM certificate|^The certificate or key in"),
        ("another's key", "^The certificate and the key in .* and .* do not belong together.$"),
        ("a locked key", r"^The key in .*locked.key is encrypted; the service cannot ask for its password.$"),
        ("no such authorities", "^The certificate authorities in .*none.pem cannot be read: No such file"),
        ("no authorities", r"^There is no PEM certificate of an authority in .*notes.txt.$"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(
    data_dir: Path, tmp_path: Path, forge: Forge, refusals: Refusals, name: str, sentence: str
) -> None:
    """It names the file or the variable."""
    with pytest.raises(TlsError, match=sentence):
        tls_context(load_settings(data_dir=data_dir, **_case(name, tmp_path, forge)), refusals, NOW)


def test_a_weak_certificate_is_refused(forge: Forge, refusals: Refusals, tmp_path: Path) -> None:
    """Clients would refuse it, one by one and without a word here."""
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505 - what must be refused
    path = forge.signed_by_itself(key, tmp_path / "weak.pem")
    with pytest.raises(TlsError, match=r"^The certificate in .*weak.pem is too weak"):
        server_context(path, None, refusals)


def test_an_authority_that_is_no_certificate_is_refused(forge: Forge, refusals: Refusals) -> None:
    """Asking for certificates begins with the first that is one."""
    context = server_context(forge.server("a.example").path, None, refusals)
    with pytest.raises(TlsError, match="it is no certificate"):
        trust_clients_of(context, [b"0\x03abc"])
    assert context.verify_mode is ssl.CERT_NONE


def test_a_certificate_only_openssl_can_read_is_refused(
    data_dir: Path, forge: Forge, monkeypatch: pytest.MonkeyPatch, refusals: Refusals
) -> None:
    """Its end could not be told, so nobody would be warned."""
    own = forge.server("a.example")

    def refuse(text: bytes) -> None:
        raise ValueError(text)

    monkeypatch.setattr("mdm.tls.server.x509.load_pem_x509_certificate", refuse)
    with pytest.raises(TlsError, match="RFC 5280"):
        tls_context(load_settings(data_dir=data_dir, tls_cert_file=own.path), refusals, NOW)


# --- taken up again while the service runs -----------------------------------------------------------------


def test_a_replaced_certificate_is_taken_up(data_dir: Path, forge: Forge, refusals: Refusals) -> None:
    """What an ACME client does every two months."""
    old, new = forge.server("old.example"), forge.server("new.example")
    settings = load_settings(data_dir=data_dir, tls_cert_file=old.path)
    context = tls_context(settings, refusals, NOW)
    assert context is not None
    old.path.write_bytes(new.path.read_bytes())
    reload_certificate(context, settings, NOW)
    assert names_served(context, new.pem) == {"new.example"}


def test_a_bad_replacement_changes_nothing(
    data_dir: Path, tmp_path: Path, forge: Forge, refusals: Refusals
) -> None:
    """A certificate that came without its key: the old pair is served on."""
    old, new = forge.server("old.example"), forge.server("new.example")
    certificate, key = split(old, tmp_path)
    settings = load_settings(data_dir=data_dir, tls_cert_file=certificate, tls_key_file=key)
    context = tls_context(settings, refusals, NOW)
    assert context is not None
    certificate.write_text(new.pem)
    with pytest.raises(TlsError, match="do not belong together"):
        reload_certificate(context, settings, NOW)
    assert names_served(context, old.pem) == {"old.example"}


def test_a_self_signed_one_is_renewed(data_dir: Path, refusals: Refusals) -> None:
    """By the same signal, once it is about to expire."""
    settings = load_settings(data_dir=data_dir, tls=True)
    context = tls_context(settings, refusals, NOW)
    assert context is not None
    before = (data_dir / "tls.crt").read_text()
    reload_certificate(context, settings, NOW)
    assert (data_dir / "tls.crt").read_text() == before
    with capture_logs() as logs:
        reload_certificate(context, settings, NOW + timedelta(days=710))
    assert [line["event"] for line in logs] == ["tls_certificate_made"]
    assert (data_dir / "tls.crt").read_text() != before
