"""What a device proves itself with, and what it makes of the server's credentials."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest

from mdm.lab.proof import Sight, our_proof
from mdm.lab.store import Account
from syncml.auth import (
    BASIC,
    MAC,
    MD5,
    Credentials,
    Proof,
    Verdict,
    credential_hash,
    digest_cred,
    make_mac,
    next_nonce,
    verify,
)
from syncml.messages import Location, Message, SyncHdr
from syncml.status import StatusCode

ACCOUNT = Account("https://mdm.example.test/omadm", MD5, "device", "secret", MD5, "bridge", "other secret")
SERVER = credential_hash("bridge", "other secret")
BODY = b"<SyncML/>"


def reply(scheme: str, nonce: bytes, *, given: bool = True) -> tuple[Message, bytes, str | None]:
    """A message of the server's with credentials for this nonce: message, body, header."""
    source = Location("https://mdm.example.test/omadm", "bridge")
    cred = digest_cred(SERVER, nonce) if given and scheme == MD5 else None
    message = Message(SyncHdr("1", "1", Location("DEV"), source, cred=cred), (), final=True)
    return message, BODY, make_mac("bridge", SERVER, nonce, BODY) if given and scheme == MAC else None


def sight(scheme: str | None) -> Sight:
    """A device that has given the server the nonce `first`, and gives it n1, n2, ... from here on."""
    numbers = count(1)
    return Sight(replace(ACCOUNT, server_scheme=scheme), b"first", lambda: b"n%d" % next(numbers))


@pytest.mark.parametrize("scheme", [MD5, BASIC, MAC])
def test_the_proof_of_each_scheme_is_accepted(scheme: str) -> None:
    """By who knows the password's hash and the nonce; a MAC stands beside the message, the others in it."""
    account = replace(ACCOUNT, scheme=scheme)
    proof = our_proof(account, b"nonce")
    known = Credentials(scheme, "device", credential_hash("device", "secret"), b"nonce")
    mac = proof.mac(BODY)
    assert (proof.cred is None, mac is None) == (scheme == MAC, scheme != MAC)
    assert verify(Proof(proof.cred, proof.username, BODY, mac), known) is Verdict.ACCEPTED


def test_a_server_that_need_not_prove_itself_is_trusted() -> None:
    """And gets no nonce."""
    judgement = sight(None).judge(*reply(MD5, b"", given=False))
    assert (judgement.trusted, judgement.code, judgement.chal) == (True, StatusCode.OK, None)


@pytest.mark.parametrize("scheme", [MD5, MAC])
def test_a_server_without_credentials_is_asked_for_them(scheme: str) -> None:
    """With 407 and a nonce, which its next message has to be made with."""
    eyes = sight(scheme)
    judgement = eyes.judge(*reply(scheme, b"first", given=False))
    assert (judgement.trusted, judgement.code) == (False, StatusCode.MISSING_CREDENTIALS)
    assert next_nonce(judgement.chal) == judgement.nonce == b"n1"
    assert eyes.judge(*reply(scheme, b"n1")).trusted


@pytest.mark.parametrize("scheme", [MD5, MAC])
def test_a_stale_nonce_is_a_reason_for_distrust(scheme: str) -> None:
    """401, with a new one."""
    judgement = sight(scheme).judge(*reply(scheme, b"older"))
    assert (judgement.trusted, judgement.code, judgement.nonce) == (
        False,
        StatusCode.INVALID_CREDENTIALS,
        b"n1",
    )


def test_a_digest_holds_for_the_session() -> None:
    """212, and from then on nothing is asked for; the nonce is for the next session."""
    eyes = sight(MD5)
    first = eyes.judge(*reply(MD5, b"first"))
    assert (first.trusted, first.code, first.nonce) == (True, StatusCode.AUTHENTICATION_ACCEPTED, b"n1")
    later = eyes.judge(*reply(MD5, b"", given=False))
    assert (later.trusted, later.code, later.chal) == (True, StatusCode.OK, None)


def test_a_mac_holds_for_one_message() -> None:
    """200 each time, with a new nonce each time; without one the next message is not believed."""
    eyes = sight(MAC)
    for number, nonce in enumerate([b"first", b"n1", b"n2"], start=1):
        judgement = eyes.judge(*reply(MAC, nonce))
        assert (judgement.trusted, judgement.code, judgement.nonce) == (
            True,
            StatusCode.OK,
            b"n%d" % number,
        )
    assert not eyes.judge(*reply(MAC, b"n3", given=False)).trusted
