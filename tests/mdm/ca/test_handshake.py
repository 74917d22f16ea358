"""Certificates of the authority in real TLS handshakes: OpenSSL believes them, and refuses what was taken back."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from mdm.audit import Origin
from mdm.ca.authority import Authority, install
from mdm.ca.checking import check
from mdm.ca.issued import revoke
from mdm.clock import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric import rsa

    from mdm.ca.chain import Material
    from mdm.storage.engine import Database
    from mdm.storage.secrets import SecretBox


def pem_key(key: rsa.RSAPrivateKey) -> bytes:
    """A key's file."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def server_certificate(key: rsa.RSAPrivateKey) -> bytes:
    """A certificate the test's server shows; nobody checks it."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
    now = utc_now()
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
    builder = builder.public_key(key.public_key()).not_valid_before(now - timedelta(hours=1))
    return builder.not_valid_after(now + timedelta(days=1)).sign(key, SHA256()).public_bytes(Encoding.PEM)


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> bytes | str | None:
    """The certificate that the server has believed, or why it believed none."""
    outcome: list[bytes | str | None] = []
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            with server.wrap_socket(ours, server_side=True) as connection:
                connection.sendall(b"!")
                outcome.append(connection.getpeercert(binary_form=True))
        except ssl.SSLError as error:
            outcome.append(str(error))
        finally:
            ours.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(theirs) as connection:
            connection.recv(1)
    except (ssl.SSLError, ConnectionError):
        pass  # the server says why
    finally:
        thread.join(30)
    return outcome[0]


@pytest.mark.parametrize("intermediate", [False, True])
def test_a_device_shows_its_certificate(
    database: Database,
    box: SecretBox,
    material: Callable[..., Material],
    device_private: rsa.RSAPrivateKey,
    device_public: bytes,
    tmp_path: Path,
    *,
    intermediate: bool,
) -> None:
    """To a server that trusts the root and has the revocation list; until the certificate is on it."""
    now = utc_now()
    with database.write() as conn:
        made = install(
            conn,
            Origin("a"),
            box,
            material(intermediate=intermediate),
            kind="created",
            instead=False,
            now=now,
        )
        issued = Authority.load(conn, box).issue(
            conn, public_key=device_public, subject_name="device", device_pk=None, now=now
        )
    above = [each for each in (made.intermediate, made.root) if each is not None]
    (tmp_path / "key.pem").write_bytes(pem_key(device_private))
    chain = [x509.load_der_x509_certificate(issued.der), *above[:-1]]
    (tmp_path / "device.pem").write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in chain))
    (tmp_path / "server.pem").write_bytes(server_certificate(device_private))

    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    client.load_cert_chain(tmp_path / "device.pem", tmp_path / "key.pem")

    def server() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "server.pem", tmp_path / "key.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF | ssl.VERIFY_X509_STRICT
        with database.read() as conn:
            crl = x509.load_der_x509_crl(made.crl(conn, utc_now()))
        (tmp_path / "trusted.pem").write_bytes(
            made.root.public_bytes(Encoding.PEM) + crl.public_bytes(Encoding.PEM)
        )
        context.load_verify_locations(tmp_path / "trusted.pem")
        return context

    shown = handshake(server(), client)
    assert shown == issued.der
    with database.read() as conn:
        assert check(conn, issued.der, utc_now()).serial == issued.serial
    with database.write() as conn:
        revoke(conn, Origin("a"), issued.serial, "keyCompromise", utc_now())
    assert "certificate revoked" in str(handshake(server(), client))
