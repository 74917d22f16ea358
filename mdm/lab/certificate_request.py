"""PKCS #10 requests as Windows writes them, octet by octet: libraries refuse to write what Windows 10 sends.

Both forms name the device in an extension of Microsoft's, whose contents are the bare DeviceID and a NUL with no
ASN.1 inside. Windows 10 puts a "!" and a NUL into a PrintableString, where neither may stand, and signs with SHA-1
under an identifier of the OIW; Windows 11 writes a UTF8String, asks for clientAuth and signs as the policy says.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

__all__ = ["Digest", "WindowsForm", "certificate_request"]

_INTEGER, _BIT_STRING, _OCTET_STRING, _NULL, _OID = 0x02, 0x03, 0x04, 0x05, 0x06
_UTF8_STRING, _PRINTABLE_STRING, _SEQUENCE, _SET, _ATTRIBUTES = 0x0C, 0x13, 0x30, 0x31, 0xA0
_SHORT: Final = 0x80
"""Lengths below this are one octet."""

_COMMON_NAME: Final = "2.5.4.3"
_EXTENSION_REQUEST: Final = "1.2.840.113549.1.9.14"
_EXTENDED_KEY_USAGE: Final = "2.5.29.37"
_CLIENT_AUTH: Final = "1.3.6.1.5.5.7.3.2"
_DEVICE_ID: Final = "1.3.6.1.4.1.311.66.1.0"
_OIW_SHA1_RSA: Final = "1.3.14.3.2.29"
_SHA256_RSA: Final = "1.2.840.113549.1.1.11"

_CONTAINER: Final = 30
"""Characters of the key container's GUID in the name: with the DeviceID behind it, 64 are what a CN may have."""


class Digest(StrEnum):
    """What a request is signed with."""

    SHA1 = "SHA-1"
    SHA256 = "SHA-256"


class WindowsForm(StrEnum):
    """Whose request it is."""

    WINDOWS_10 = "10"
    WINDOWS_11 = "11"


def certificate_request(
    key: RSAPrivateKey, device_id: str, container: str, form: WindowsForm, digest: Digest = Digest.SHA256
) -> bytes:
    """A signed request in DER; `container` is the GUID under which Windows keeps the key.

    Windows 10 signs with SHA-1 whatever `digest` says: the build of which a request was published did so.
    """
    old = form is WindowsForm.WINDOWS_10
    sha1 = old or digest is Digest.SHA1
    name = f"{container[:_CONTAINER].upper()}!{device_id}".encode("ascii")
    text = _der(_PRINTABLE_STRING, name, b"\0") if old else _der(_UTF8_STRING, name)
    subject = _der(_SEQUENCE, _der(_SET, _der(_SEQUENCE, _oid(_COMMON_NAME), text)))
    usage = _der(
        _SEQUENCE,
        _oid(_EXTENDED_KEY_USAGE),
        _der(_OCTET_STRING, _der(_SEQUENCE, _oid(_CLIENT_AUTH))),
    )
    device = _der(_SEQUENCE, _oid(_DEVICE_ID), _der(_OCTET_STRING, device_id.encode("ascii"), b"\0"))
    extensions = _der(_SEQUENCE, *(() if old else (usage,)), device)
    information = _der(
        _SEQUENCE,
        _der(_INTEGER, b"\0"),
        subject,
        key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        _der(_ATTRIBUTES, _der(_SEQUENCE, _oid(_EXTENSION_REQUEST), _der(_SET, extensions))),
    )
    # SHA-1 here is what such a device sends; a server has to take it.
    signature = key.sign(information, PKCS1v15(), SHA1() if sha1 else SHA256())  # noqa: S303
    algorithm = _der(_SEQUENCE, _oid(_OIW_SHA1_RSA if sha1 else _SHA256_RSA), _der(_NULL))
    return _der(_SEQUENCE, information, algorithm, _der(_BIT_STRING, b"\0", signature))


def _der(tag: int, *contents: bytes) -> bytes:
    """One element with the shortest length there is."""
    content = b"".join(contents)
    length = len(content)
    if length < _SHORT:
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes((tag, _SHORT | len(octets))) + octets + content


def _oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    content = bytearray()
    for arc in (40 * first + second, *rest):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.insert(0, 0x80 | arc & 0x7F)
        content += bytes(groups)
    return _der(_OID, bytes(content))
