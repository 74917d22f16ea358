"""What a TLS server's certificates say: for whom, until when, and whether the server sends all that a PC lacks."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cryptography import x509

from mdm.ca.certificates import read_certificate
from mdm.ca.errors import InvalidDer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

__all__ = ["Reading", "read_chain"]


@dataclass(frozen=True, slots=True)
class Reading:
    """The chain that a server sends."""

    names: tuple[str, ...]
    """Host names and addresses that the server's own certificate is for."""
    names_host: bool
    """Whether the host that was asked is among them."""
    not_before: datetime
    not_after: datetime
    self_signed: bool
    """Whether the server's own certificate is its own issuer."""
    sends_issuer: bool
    """Whether more than the server's own certificate is sent."""
    last_issuer: str
    """Who has signed the last certificate that is sent."""
    complete: bool
    """Whether only a root, which a PC has to have anyway, may be missing in what is sent."""


def read_chain(chain: Sequence[bytes], roots: Iterable[bytes], host: str) -> Reading:
    """Read the certificates (DER) of a server, its own first; `roots` are those that may be left out.

    Raises ValueError if there is none, or one that cannot be read.
    """
    try:
        certificates = [read_certificate(each) for each in chain]
        own, last = certificates[0], certificates[-1]
        names = _names(own)
    except (InvalidDer, IndexError) as error:
        raise ValueError("no certificate that can be read") from error
    return Reading(
        names=names,
        names_host=any(_matches(name, host) for name in names),
        not_before=own.not_valid_before_utc,
        not_after=own.not_valid_after_utc,
        self_signed=own.issuer == own.subject,
        sends_issuer=len(certificates) > 1,
        last_issuer=last.issuer.rfc4514_string()[:200],
        complete=last.issuer == last.subject or any(_names_itself(each, last.issuer) for each in roots),
    )


def _names_itself(root: bytes, name: x509.Name) -> bool:
    """Whether a certificate has this name for its issuer and for its subject; the 150 of a system are not parsed."""
    return root.count(name.public_bytes()) > 1


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()  # a common name alone has counted for nothing for years
    addresses = (str(each) for each in found.get_values_for_type(x509.IPAddress))
    return (*found.get_values_for_type(x509.DNSName), *addresses)


def _matches(name: str, host: str) -> bool:
    """Whether a certificate's name is the host's, or a wildcard for its first label (RFC 9525 section 6.3)."""
    try:
        return ip_address(name) == ip_address(host)
    except ValueError:
        pass
    name, host = name.lower().rstrip("."), host.lower().rstrip(".")
    return name == host or (name.startswith("*.") and name[2:] == host.partition(".")[2])
