"""Application-layer authentication: `syncml:auth-basic`, `syncml:auth-md5` and `syncml:auth-MAC`.

The first two stand in the SyncHdr's Cred. The third, for which OMA's texts also say HMAC, proves the message
as a whole: it stands in the transport's header `x-syncml-hmac` and never in a Cred. Each side keeps
B64(MD5(username ":" password)), which serves all three, never the password. Comparing is constant-time. Nonces
are made by the caller: this package draws no random numbers. Source: OMA-TS-DM_Security V1_2_1 5.3 and 5.4.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from enum import Enum

from syncml.errors import LocalProtocolError
from syncml.messages import Chal, Cred, Meta

__all__ = [
    "BASIC",
    "MAC",
    "MAC_HEADER",
    "MD5",
    "SCHEMES",
    "Credentials",
    "Proof",
    "Verdict",
    "challenge",
    "credential_hash",
    "digest_cred",
    "make_cred",
    "make_mac",
    "next_nonce",
    "verify",
]

BASIC = "syncml:auth-basic"
MD5 = "syncml:auth-md5"
MAC = "syncml:auth-MAC"
SCHEMES = (BASIC, MD5, MAC)

MAC_HEADER = "x-syncml-hmac"
"""The transport's header with the MAC of the message it belongs to (DM_Security 5.4.3)."""

_MAX_MAC_HEADER = 1024
_PARAMETER = re.compile(r'\s*([A-Za-z]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))\s*(?:,|$)')
_ESCAPED = re.compile(r"\\(.)")


class Verdict(Enum):
    """What a message's credentials are worth."""

    ACCEPTED = "accepted"
    MISSING = "missing"
    """No credentials: answer 407."""
    WRONG = "wrong"
    """Credentials that do not verify, or of another scheme: answer 401."""


@dataclass(frozen=True, slots=True)
class Proof:
    """Everything in a message, and around it, that can prove who sent it."""

    cred: Cred | None
    """SyncHdr Cred."""
    loc_name: str | None
    """SyncHdr Source LocName."""
    body: bytes = b""
    """The message as it was on the wire, which a MAC is made of."""
    mac: str | None = None
    """The value of the transport's header `x-syncml-hmac`."""

    @property
    def given(self) -> bool:
        """True if there are credentials of any kind, right or wrong."""
        return self.cred is not None or self.mac is not None


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one side knows of the other's credentials."""

    scheme: str
    """One of `SCHEMES`: no other is accepted from this peer."""
    username: str
    hash: str
    """`credential_hash(username, password)`."""
    nonce: bytes
    """The nonce the peer must use now; basic uses none."""


def _md5(data: bytes) -> bytes:
    # MD5 is what the protocol specifies; the transport is what protects it.
    return hashlib.md5(data, usedforsecurity=False).digest()


def credential_hash(username: str, password: str) -> str:
    """B64(MD5(username ":" password)): the verifier a server stores, as secret as the password itself."""
    return b64encode(_md5(f"{username}:{password}".encode())).decode("ascii")


def _md5_digest(stored_hash: str, nonce: bytes) -> str:
    return b64encode(_md5(stored_hash.encode("ascii") + b":" + nonce)).decode("ascii")


def _mac_digest(stored_hash: str, nonce: bytes, body: bytes) -> str:
    whole = stored_hash.encode("ascii") + b":" + nonce + b":" + b64encode(_md5(body))
    return b64encode(_md5(whole)).decode("ascii")


def make_cred(scheme: str, username: str, password: str, nonce: bytes) -> Cred:
    """The Cred element for `scheme` (DM_Security 5.3); LocalProtocolError for one that has none."""
    if scheme == MD5:
        return digest_cred(credential_hash(username, password), nonce)
    if scheme == BASIC:
        data = b64encode(f"{username}:{password}".encode()).decode("ascii")
        return Cred(data=data, meta=Meta(format="b64", type=BASIC))
    raise LocalProtocolError(f"there is no Cred for the authentication scheme {scheme[:32]!r}")


def digest_cred(stored_hash: str, nonce: bytes) -> Cred:
    """The Cred of `syncml:auth-md5`, from `credential_hash` and the nonce (DM_Security 5.3.2)."""
    return Cred(data=_md5_digest(stored_hash, nonce), meta=Meta(format="b64", type=MD5))


def make_mac(username: str, stored_hash: str, nonce: bytes, body: bytes) -> str:
    """The value of `x-syncml-hmac` for a message, from `credential_hash` and the nonce (DM_Security 5.4)."""
    quoted = username.replace("\\", "\\\\").replace('"', '\\"')
    return f'algorithm=MD5, username="{quoted}", mac={_mac_digest(stored_hash, nonce, body)}'


def verify(proof: Proof, known: Credentials) -> Verdict:
    """Compare a message's credentials with what is known of the peer; never raises on what a peer sent.

    Source LocName, which names the user, must be the known one when it is present. A scheme other than the
    known one is WRONG: a peer cannot choose a weaker one.
    """
    if not proof.given:
        return Verdict.MISSING
    if known.scheme == MAC:
        return _verify_mac(proof, known)
    cred = proof.cred
    if cred is None or (cred.meta.type or BASIC).strip() != known.scheme:
        return Verdict.WRONG
    data = "".join(cred.data.split())  # MIME encoders break base64 into lines
    if known.scheme == MD5:
        digest_ok = hmac.compare_digest(data.encode(), _md5_digest(known.hash, known.nonce).encode())
        return Verdict.ACCEPTED if _named(proof, known) and digest_ok else Verdict.WRONG
    try:
        pair = b64decode(data, validate=True)
    except ValueError:
        return Verdict.WRONG
    presented = b64encode(_md5(pair))
    name, _, _ = pair.partition(b":")
    name_ok = hmac.compare_digest(name, known.username.encode())
    hash_ok = hmac.compare_digest(presented, known.hash.encode("ascii"))
    return Verdict.ACCEPTED if name_ok and hash_ok else Verdict.WRONG


def _named(proof: Proof, known: Credentials) -> bool:
    return proof.loc_name is None or hmac.compare_digest(proof.loc_name.encode(), known.username.encode())


def _verify_mac(proof: Proof, known: Credentials) -> Verdict:
    """The MAC of the message as received; a Cred beside it makes the sender's mind unknowable."""
    parameters = _parameters(proof.mac or "")
    algorithm = parameters.get("algorithm", "MD5")
    if proof.cred is not None or algorithm.upper() != "MD5":
        return Verdict.WRONG
    expected = _mac_digest(known.hash, known.nonce, proof.body)
    # the specification's own example has no padding
    mac_ok = hmac.compare_digest(
        parameters.get("mac", "").rstrip("=").encode(), expected.rstrip("=").encode()
    )
    name_ok = hmac.compare_digest(parameters.get("username", "").encode(), known.username.encode())
    return Verdict.ACCEPTED if mac_ok and name_ok and _named(proof, known) else Verdict.WRONG


def _parameters(value: str) -> dict[str, str]:
    """The header's parameters by name, in lower case; empty when it is not a list of distinct ones."""
    found: dict[str, str] = {}
    position = 0
    while position < len(value) <= _MAX_MAC_HEADER:
        match = _PARAMETER.match(value, position)
        if match is None or match[1].lower() in found:
            return {}
        quoted = match[2]
        found[match[1].lower()] = match[3] if quoted is None else _ESCAPED.sub(r"\1", quoted)
        position = match.end()
    return found


def challenge(scheme: str, nonce: bytes) -> Chal:
    """The Chal that asks for `scheme`, with the nonce to use (DM_Protocol 9.3); basic carries no nonce."""
    if scheme == BASIC:
        return Chal(meta=Meta(format="b64", type=scheme))
    return Chal(meta=Meta(format="b64", type=scheme, next_nonce=b64encode(nonce).decode("ascii")))


def next_nonce(chal: Chal | None) -> bytes | None:
    """The nonce in a Chal, None if it has none that can be read (DM_Protocol 9.3)."""
    text = None if chal is None else chal.meta.next_nonce
    if text is None:
        return None
    try:
        return b64decode("".join(text.split()), validate=True)
    except ValueError:
        return None
