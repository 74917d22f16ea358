"""How the two sides prove themselves from message to message: the nonces of both, and our own credentials.

Nonces change in the transaction of the message that uses them up, so a killed process has either answered and
remembered, or neither.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, update

from mdm.devices.timeline import Event, record_events, told_since
from mdm.storage.statements import table_of
from mdm.storage.tables import Device
from syncml.auth import BASIC, MAC, MD5, challenge, digest_cred, make_mac, next_nonce
from syncml.session import Sender
from syncml.status import StatusCode

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.checkin.admission import Admitted
    from mdm.checkin.memory import Memory
    from mdm.storage.secrets import SecretBox
    from syncml.messages import Chal
    from syncml.session import Reception

__all__ = ["MAX_DISTRUST", "OurProof", "next_challenge", "note_distrust", "our_proof"]

MAX_DISTRUST: Final = 2
"""Times a device may refuse our credentials in one session before we say no more."""

_DISTRUST_AGAIN: Final = timedelta(hours=24)
"""A device that refuses our credentials each session says so on its timeline once in this time."""

_device = table_of(Device)

_UPDATE_DEVICE: Final = update(_device).where(_device.c.pk == bindparam("b_pk"))
"""The values to set come with the execution."""


@dataclass(frozen=True, slots=True)
class OurProof:
    """How one reply proves that it is ours; without a scheme it need not."""

    scheme: str | None = None
    name: str = ""
    verifier: str = ""
    nonce: bytes = b""

    @property
    def element(self) -> Sender | None:
        """What stands in the SyncHdr."""
        if self.scheme is None:
            return None
        return Sender(self.name, digest_cred(self.verifier, self.nonce) if self.scheme == MD5 else None)

    def mac(self, body: bytes) -> str | None:
        """What stands in the header `x-syncml-hmac`, once the message is written."""
        return make_mac(self.name, self.verifier, self.nonce, body) if self.scheme == MAC else None


def next_challenge(
    connection: Connection, admitted: Admitted, make_nonce: Callable[[], bytes]
) -> tuple[StatusCode, Chal | None]:
    """How the device is to prove itself from here on; a new nonce is kept in this message's transaction.

    200: in each message, with the nonce in the Chal. 212: not again in this session (DM_Protocol 9).
    """
    device = admitted.device
    if not admitted.proved:
        return StatusCode.OK, None
    accepted = StatusCode.OK if device.auth_each_message else StatusCode.AUTHENTICATION_ACCEPTED
    if device.auth_scheme == BASIC:
        return accepted, None
    nonce = make_nonce()
    connection.execute(
        _UPDATE_DEVICE,
        {
            "b_pk": device.pk,
            "auth_nonce": b64encode(nonce).decode("ascii"),
            "auth_nonce_before": device.auth_nonce,
        },
    )
    return accepted, challenge(device.auth_scheme, nonce)


def note_distrust(
    connection: Connection, device: Any, reception: Reception, memory: Memory, now: datetime
) -> bool:
    """Take in that the device wants our credentials first; returns whether there is nothing left to try."""
    if reception.challenge is None:
        return False
    memory.distrusted += 1
    memory.not_looked_at([answer.request for answer in reception.answers])
    if memory.distrusted <= MAX_DISTRUST and device.server_auth_scheme is not None:
        return False
    memory.distrusted = MAX_DISTRUST + 1
    if not told_since(connection, device.pk, "distrusted", now - _DISTRUST_AGAIN):
        record_events(connection, device.pk, [Event("distrusted", {})], now)
    return True


def our_proof(
    connection: Connection, device: Any, reception: Reception, memory: Memory, secrets: SecretBox
) -> OurProof:
    """Our own credentials for this device, made with the nonce it gave us last."""
    if device.server_auth_scheme is None:
        return OurProof()
    given = reception.header_status
    nonce = next_nonce(given.chal) if given is not None else None
    if nonce is None:
        nonce = b64decode(device.server_auth_nonce)
    else:
        connection.execute(
            _UPDATE_DEVICE, {"b_pk": device.pk, "server_auth_nonce": b64encode(nonce).decode("ascii")}
        )
    accepted = str(int(StatusCode.AUTHENTICATION_ACCEPTED))
    if given is not None and given.data == accepted and device.server_auth_scheme == MD5:
        memory.proved = True
    if memory.proved:
        return OurProof()
    verifier = secrets.open(bytes(device.server_auth_verifier)).decode("ascii")
    return OurProof(device.server_auth_scheme, device.server_auth_username, verifier, nonce)
