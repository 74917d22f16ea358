"""The TLS context of the service: its own certificate, and whose client certificates it accepts.

**Which client certificates the handshake accepts.** None is demanded (`CERT_OPTIONAL`): enrolment, the REST API and
devices with message credentials have none. One that is shown has to be issued by an authority given here, valid now
and meant for clients; with any other the handshake fails, the connection ends, and one line is logged. It is not
treated as "none": OpenSSL offers no such choice through Python, and a device with a wrong certificate is better told
so in the handshake, which makes no device unenrol. Revocation is not looked at here, since it may change during a
connection: the certificate authority is asked at every message.

The authorities are the ones that *issue* (`VERIFY_X509_PARTIAL_CHAIN`): with an organisation's issuing authority
given, certificates of its sister authorities under the same root are not accepted. Without any authority no
certificate is asked for.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final

from mdm.tls.errors import TlsError
from mdm.tls.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mdm.tls.refusals import Refusals

__all__ = ["load_certificate", "server_context", "trust_clients_of"]

_PROTOCOLS: Final = ("http/1.1",)


def server_context(chain: Path, key: Path | None, refusals: Refusals) -> ssl.SSLContext:
    """A context with the certificate chain and key of two PEM files, or of one that holds both.

    TLS 1.2 and 1.3, no renegotiation. Raises TlsError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(list(_PROTOCOLS))
    context.sslobject_class = _logging_session(refusals)
    load_certificate(context, chain, key)
    return context


def load_certificate(context: ssl.SSLContext, chain: Path, key: Path | None) -> None:
    """Serve later handshakes with this certificate and key; raises TlsError and then changes nothing."""

    def refuse_password() -> str:
        raise TlsError(f"The key in {key or chain} is encrypted; the service cannot ask for its password.")

    try:
        # OpenSSL takes the certificate before it finds that the key is another's, so both are tried elsewhere first.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, key, refuse_password)
        context.load_cert_chain(chain, key, refuse_password)
    except ssl.SSLError as error:
        raise TlsError(_fault(error, chain, key)) from None
    except OSError as error:
        raise TlsError(
            f"The certificate or key in {_names(chain, key)} cannot be read: {error.strerror}."
        ) from None


def trust_clients_of(context: ssl.SSLContext, authorities: Iterable[bytes]) -> None:
    """Ask clients for a certificate from now on, and accept those that one of these authorities (DER) has issued.

    Raises TlsError for what is no certificate.
    """
    for authority in authorities:
        try:
            context.load_verify_locations(cadata=authority)
        except ssl.SSLError:
            raise TlsError(
                "A certificate authority for devices cannot be read: it is no certificate."
            ) from None
        context.verify_mode = ssl.CERT_OPTIONAL
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def _logging_session(refusals: Refusals) -> type[ssl.SSLObject]:
    """The class of a connection's TLS session: asyncio drops failed handshakes without a word."""

    class LoggingSession(ssl.SSLObject):
        def do_handshake(self, *args: Any) -> None:
            try:
                super().do_handshake(*args)
            except ssl.SSLCertVerificationError as error:
                refusals.note(Refusal.HANDSHAKE, f"The client's certificate: {error.verify_message}.")
                raise

    return LoggingSession


def _fault(error: ssl.SSLError, chain: Path, key: Path | None) -> str:
    where = _names(chain, key)
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"The certificate and the key in {where} do not belong together."
    if error.reason in {"EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "CA_KEY_TOO_SMALL"}:
        return f"The certificate in {where} is too weak: its key is too short or its signature is outdated."
    return f"There is no usable PEM certificate and key in {where}."


def _names(chain: Path, key: Path | None) -> str:
    return str(chain) if key is None else f"{chain} and {key}"
