"""TLS as the settings have it: the one place that turns them into a context."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mdm.tls.context import load_certificate, server_context, trust_clients_of
from mdm.tls.errors import TlsError
from mdm.tls.self_signed import self_signed

if TYPE_CHECKING:
    import ssl
    from datetime import datetime
    from pathlib import Path

    from mdm.settings import Settings
    from mdm.tls.refusals import Refusals

__all__ = ["reload_certificate", "tls_context"]

log = structlog.get_logger(__name__)

_WARN_DAYS: Final = 30
_ANYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - they are told apart here, not listened on


def tls_context(settings: Settings, refusals: Refusals, now: datetime) -> ssl.SSLContext | None:
    """The context to serve with, or None if the settings want no TLS; raises TlsError.

    Named files come first; without them a self-signed certificate is made in the data directory. Which devices'
    certificates it accepts, `mdm.tls.trust` adds to those of BRIDGE_TLS_CLIENT_CA_FILE.
    """
    if settings.tls_cert_file is None:
        if settings.tls_key_file is not None:
            raise TlsError("BRIDGE_TLS_KEY_FILE is of no use without BRIDGE_TLS_CERT_FILE.")
        if not settings.tls:
            if settings.tls_client_ca_file is not None:
                raise TlsError(
                    "BRIDGE_TLS_CLIENT_CA_FILE is of no use without TLS: set BRIDGE_TLS or a certificate."
                )
            return None
        chain, key = _self_signed(settings, now), None
    else:
        chain, key = settings.tls_cert_file, settings.tls_key_file
    context = server_context(chain, key, refusals)
    _warn_of_expiry(chain, now)
    if settings.tls_client_ca_file is not None:
        trust_clients_of(context, _authorities(settings.tls_client_ca_file))
    return context


def reload_certificate(context: ssl.SSLContext, settings: Settings, now: datetime) -> None:
    """Take up files that were replaced while the service ran, e.g. by an ACME client; raises TlsError.

    Then the old certificate stays in use. A self-signed one is made anew if it is about to expire.
    """
    chain = settings.tls_cert_file
    key = settings.tls_key_file
    if chain is None:
        chain = _self_signed(settings, now)
    load_certificate(context, chain, key)
    _warn_of_expiry(chain, now)


def _self_signed(settings: Settings, now: datetime) -> Path:
    names = [] if settings.host in _ANYWHERE else [settings.host]
    host = urlsplit(settings.public_url).hostname if settings.public_url is not None else None
    found = self_signed(settings.data_dir, [*([host] if host else []), *names], now)
    if found.made:
        log.info(
            "tls_certificate_made", path=str(found.path), sha256=found.fingerprint, names=list(found.names)
        )
    return found.path


def _authorities(path: Path) -> list[bytes]:
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise TlsError(f"The certificate authorities in {path} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise TlsError(f"There is no PEM certificate of an authority in {path}.") from None
    return [certificate.public_bytes(Encoding.DER) for certificate in found]


def _warn_of_expiry(chain: Path, now: datetime) -> None:
    try:
        not_after = x509.load_pem_x509_certificate(chain.read_bytes()).not_valid_after_utc
    except ValueError:
        raise TlsError(
            f"The certificate in {chain} cannot be read: it is not as RFC 5280 wants it."
        ) from None
    if (not_after - now).days < _WARN_DAYS:
        log.warning("tls_certificate_expires", path=str(chain), not_after=not_after.isoformat())
