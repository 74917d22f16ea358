"""One message as it came, and its reply as it goes: what the transport knows beside the bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

__all__ = ["Delivery", "Reply"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message of a device and how it got here."""

    body: bytes
    private: bool
    """Nobody could read it on its way (TLS, or this machine); else a password in it is no proof any more."""
    remote_addr: str
    """Where it came from; empty where the transport does not say."""
    mac: str | None = None
    """The header `x-syncml-hmac`."""
    certificate: bytes | None = None
    """The client certificate (DER) of the connection: TLS has proved that the sender has its key, and no more."""

    @property
    def digest(self) -> bytes:
        """SHA-256 of the message and its MAC: what a repetition must equal.

        With `syncml:auth-MAC` the body alone holds no secret, and who guesses it may not read the stored reply.
        """
        whole = hashlib.sha256(self.body)
        if self.mac is not None:
            whole.update(b"\n" + self.mac.encode())
        return whole.digest()


@dataclass(frozen=True, slots=True)
class Reply:
    """What is sent back."""

    body: bytes
    mac: str | None = None
    """The header `x-syncml-hmac`, for a device that wants each message proved."""
