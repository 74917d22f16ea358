"""Application-layer authentication: `syncml:auth-basic` and `syncml:auth-md5` (OMA DM_Security V1_2_1 5.3).

The server keeps B64(MD5(username ":" password)), which verifies both schemes, never the password. Comparing
is constant-time. Nonces are made by the caller: this package draws no random numbers.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from dataclasses import dataclass
from enum import Enum

from syncml.errors import LocalProtocolError
from syncml.messages import Chal, Cred, Meta

__all__ = [
    "BASIC",
    "MD5",
    "SCHEMES",
    "Credentials",
    "Verdict",
    "challenge",
    "credential_hash",
    "make_cred",
    "verify",
]

BASIC = "syncml:auth-basic"
MD5 = "syncml:auth-md5"
SCHEMES = (BASIC, MD5)


class Verdict(Enum):
    """What a message's credentials are worth."""

    ACCEPTED = "accepted"
    MISSING = "missing"
    """No Cred in the SyncHdr: answer 407."""
    WRONG = "wrong"
    """A Cred that does not verify, or of another scheme: answer 401."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the server knows of one device's credentials."""

    scheme: str
    """`BASIC` or `MD5`: no other is accepted from this device."""
    username: str
    hash: str
    """`credential_hash(username, password)`."""
    nonce: bytes
    """The nonce the device must use now; only MD5 uses it."""


def _md5(data: bytes) -> bytes:
    # MD5 is what the protocol specifies; the transport is what protects it.
    return hashlib.md5(data, usedforsecurity=False).digest()


def credential_hash(username: str, password: str) -> str:
    """B64(MD5(username ":" password)): the verifier a server stores, as secret as the password itself."""
    return b64encode(_md5(f"{username}:{password}".encode())).decode("ascii")


def _md5_digest(stored_hash: str, nonce: bytes) -> str:
    return b64encode(_md5(stored_hash.encode("ascii") + b":" + nonce)).decode("ascii")


def make_cred(scheme: str, username: str, password: str, nonce: bytes) -> Cred:
    """The Cred element a client sends for `scheme` (DM_Security 5.3); LocalProtocolError for a scheme we lack."""
    if scheme == BASIC:
        data = b64encode(f"{username}:{password}".encode()).decode("ascii")
    elif scheme == MD5:
        data = _md5_digest(credential_hash(username, password), nonce)
    else:
        raise LocalProtocolError(f"unknown authentication scheme {scheme[:32]!r}")
    return Cred(data=data, meta=Meta(format="b64", type=scheme))


def verify(cred: Cred | None, loc_name: str | None, known: Credentials) -> Verdict:
    """Compare a message's credentials with what the server knows; never raises on what a peer sent.

    `loc_name` is Source/LocName, which names the user for MD5; when present it must be the known one.
    A scheme other than the device's own is WRONG: a peer cannot choose a weaker one.
    """
    if cred is None:
        return Verdict.MISSING
    scheme = (cred.meta.type or BASIC).strip()
    if scheme != known.scheme:
        return Verdict.WRONG
    data = "".join(cred.data.split())  # MIME encoders break base64 into lines
    if scheme == MD5:
        name_ok = loc_name is None or hmac.compare_digest(loc_name.encode(), known.username.encode())
        expected = _md5_digest(known.hash, known.nonce)
        digest_ok = hmac.compare_digest(data.encode(), expected.encode())
        return Verdict.ACCEPTED if name_ok and digest_ok else Verdict.WRONG
    try:
        pair = b64decode(data, validate=True)
    except ValueError:
        return Verdict.WRONG
    presented = b64encode(_md5(pair))
    name, _, _ = pair.partition(b":")
    name_ok = hmac.compare_digest(name, known.username.encode())
    hash_ok = hmac.compare_digest(presented, known.hash.encode("ascii"))
    return Verdict.ACCEPTED if name_ok and hash_ok else Verdict.WRONG


def challenge(scheme: str, nonce: bytes) -> Chal:
    """The Chal that asks for `scheme`, with the nonce to use (DM_Protocol 9.3); basic carries no nonce."""
    if scheme == BASIC:
        return Chal(meta=Meta(format="b64", type=scheme))
    return Chal(meta=Meta(format="b64", type=scheme, next_nonce=b64encode(nonce).decode("ascii")))
