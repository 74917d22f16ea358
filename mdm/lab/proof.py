"""Who is who in one session of a virtual device: its own credentials, and those it wants of the server.

A device keeps two nonces: the server gives it the one for its own next credentials, and it gives the server the
one for the server's. A nonce from a server that has not proved itself is used and kept all the same, for else two
peers that both lost one could never meet again (DM_Security 5.3.4); only the server's is made by the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from syncml.auth import (
    MAC,
    MD5,
    Credentials,
    Proof,
    Verdict,
    challenge,
    credential_hash,
    make_cred,
    make_mac,
    verify,
)
from syncml.status import StatusCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from mdm.lab.store import Account
    from syncml.messages import Chal, Cred, Message

__all__ = ["NO_PROOF", "Judgement", "OurProof", "Sight", "our_proof"]


@dataclass(frozen=True, slots=True)
class OurProof:
    """What one message of the device proves itself with."""

    cred: Cred | None
    username: str | None
    """Source LocName."""
    mac_key: tuple[str, bytes] | None = None
    """(credential hash, nonce) of a MAC, which can be made only of the finished message."""

    def mac(self, body: bytes) -> str | None:
        """The header `x-syncml-hmac` for the message."""
        if self.mac_key is None or self.username is None:
            return None
        return make_mac(self.username, *self.mac_key, body)


NO_PROOF: Final = OurProof(None, None)


def our_proof(account: Account, nonce: bytes | None) -> OurProof:
    """The credentials of the device's scheme, made with this nonce."""
    if account.scheme == MAC:
        key = (credential_hash(account.username, account.password), nonce or b"")
        return OurProof(None, account.username, key)
    cred = make_cred(account.scheme, account.username, account.password, nonce or b"")
    return OurProof(cred, account.username)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the device makes of a reply's sender, and what it says to it."""

    trusted: bool
    code: StatusCode
    chal: Chal | None
    nonce: bytes | None = None
    """The nonce in `chal`: to be kept before it is sent."""


class Sight:
    """The device's view of the server through one session."""

    def __init__(self, account: Account, nonce: bytes, make_nonce: Callable[[], bytes]) -> None:
        """`nonce` is the one the server's next credentials must be made with."""
        self._account = account
        self._nonce = nonce
        self._make_nonce = make_nonce
        self._settled = account.server_scheme is None

    def judge(self, message: Message, body: bytes, mac: str | None) -> Judgement:
        """Look at a reply with commands: 212 for the session, 200 for one message with a MAC, else a challenge."""
        if self._settled:
            return Judgement(True, StatusCode.OK, None)
        account = self._account
        known = Credentials(
            scheme=account.server_scheme or MD5,
            username=account.server_username,
            hash=credential_hash(account.server_username, account.server_password),
            nonce=self._nonce,
        )
        verdict = verify(Proof(message.header.cred, message.header.source.loc_name, body, mac), known)
        self._nonce = self._make_nonce()
        chal = challenge(known.scheme, self._nonce)
        if verdict is Verdict.MISSING:
            return Judgement(False, StatusCode.MISSING_CREDENTIALS, chal, self._nonce)
        if verdict is Verdict.WRONG:
            return Judgement(False, StatusCode.INVALID_CREDENTIALS, chal, self._nonce)
        if known.scheme == MD5:
            self._settled = True
            return Judgement(True, StatusCode.AUTHENTICATION_ACCEPTED, chal, self._nonce)
        return Judgement(True, StatusCode.OK, chal, self._nonce)
