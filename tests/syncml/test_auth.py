"""Credentials: the digests of OMA DM_Security 5.3 and 5.4, and what a server makes of a peer's claim."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncml.auth import (
    BASIC,
    MAC,
    MAC_HEADER,
    MD5,
    SCHEMES,
    Credentials,
    Proof,
    Verdict,
    challenge,
    credential_hash,
    digest_cred,
    make_cred,
    make_mac,
    next_nonce,
    verify,
)
from syncml.errors import LocalProtocolError
from syncml.messages import Chal, Cred, Meta

if TYPE_CHECKING:
    from collections.abc import Callable

USER, PASSWORD, NONCE = "Bruce2", "OhBehave", b"Nonce"
DIGEST = "Zz6EivR3yeaaENcRN6lpAQ=="
KNOWN_MD5 = Credentials(MD5, USER, credential_hash(USER, PASSWORD), NONCE)
KNOWN_BASIC = replace(KNOWN_MD5, scheme=BASIC)
KNOWN_MAC = replace(KNOWN_MD5, scheme=MAC)
BODY = b"<SyncML>whatever stands in it</SyncML>"
WITH_CRED = (BASIC, MD5)

# No colon in names: it ends the name in `name:password`.
names = st.text(st.characters(exclude_characters=":", exclude_categories=["Cs"]), min_size=1, max_size=20)
headers = st.text(max_size=60) | st.lists(
    st.sampled_from(
        ["algorithm", "MD5", "username", "mac", "=", ",", '"', "\\", " ", "\t", "\n", "Bruce2", DIGEST, "é"]
    ),
    max_size=20,
).map("".join)
passwords = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def known(scheme: str) -> Credentials:
    """What the server knows of Bruce2."""
    return replace(KNOWN_MD5, scheme=scheme)


def cred(data: str, scheme: str | None) -> Cred:
    """A Cred as it was read."""
    return Cred(data=data, meta=Meta(format="b64", type=scheme))


def proof(scheme: str, name: str, password: str, nonce: bytes, body: bytes = BODY) -> Proof:
    """What a client adds to a message to prove who it is."""
    if scheme == MAC:
        return Proof(None, name, body, make_mac(name, credential_hash(name, password), nonce, body))
    return Proof(make_cred(scheme, name, password, nonce), name, body)


def test_md5_vector() -> None:
    """Bruce2 / OhBehave / Nonce gives the digest the specification prints."""
    assert make_cred(MD5, USER, PASSWORD, NONCE) == cred(DIGEST, MD5)
    assert digest_cred(credential_hash(USER, PASSWORD), NONCE) == cred(DIGEST, MD5)


def test_basic_vector() -> None:
    """Basic is the base64 of name, colon and password, as the specification prints it."""
    assert make_cred(BASIC, USER, PASSWORD, b"") == cred("QnJ1Y2UyOk9oQmVoYXZl", BASIC)


def test_the_stored_hash_is_not_the_password() -> None:
    """What a server stores is base64 of 16 octets in which the password does not stand."""
    stored = credential_hash(USER, PASSWORD)
    assert len(b64decode(stored, validate=True)) == 16
    assert PASSWORD not in stored


@pytest.mark.parametrize("scheme", [MAC, "syncml:auth-x509"])
def test_schemes_that_have_no_cred_are_refused_here(scheme: str) -> None:
    """A MAC stands in the transport's header, and of others we know nothing: asking is the caller's fault."""
    with pytest.raises(LocalProtocolError, match=scheme):
        make_cred(scheme, USER, PASSWORD, NONCE)


@pytest.mark.parametrize(
    ("case", "presented", "loc_name", "scheme", "verdict"),
    [
        ("no Cred", None, None, MD5, Verdict.MISSING),
        ("no Cred, only the name", None, USER, MD5, Verdict.MISSING),
        ("no Cred for basic", None, None, BASIC, Verdict.MISSING),
        ("the digest", cred(DIGEST, MD5), USER, MD5, Verdict.ACCEPTED),
        ("the digest without LocName", cred(DIGEST, MD5), None, MD5, Verdict.ACCEPTED),
        ("white space around", cred(f"\n {DIGEST}\t", f" {MD5}\n"), USER, MD5, Verdict.ACCEPTED),
        ("another name", cred(DIGEST, MD5), "Bruce3", MD5, Verdict.WRONG),
        ("a name in other letters", cred(DIGEST, MD5), "bruce2", MD5, Verdict.WRONG),
        ("a name beyond ASCII", cred(DIGEST, MD5), "Brucé2", MD5, Verdict.WRONG),
        ("another digest", cred(b64encode(bytes(16)).decode(), MD5), USER, MD5, Verdict.WRONG),
        ("no digest", cred("", MD5), USER, MD5, Verdict.WRONG),
        ("a digest beyond ASCII", cred("Ä" + DIGEST, MD5), USER, MD5, Verdict.WRONG),
        ("the pair as if basic", cred("QnJ1Y2UyOk9oQmVoYXZl", MD5), USER, MD5, Verdict.WRONG),
        ("a weaker scheme", make_cred(BASIC, USER, PASSWORD, b""), USER, MD5, Verdict.WRONG),
        ("another scheme", cred(DIGEST, "syncml:auth-MAC"), USER, MD5, Verdict.WRONG),
        ("no Type means basic", cred(DIGEST, None), USER, MD5, Verdict.WRONG),
        ("the pair", cred("QnJ1Y2UyOk9oQmVoYXZl", BASIC), None, BASIC, Verdict.ACCEPTED),
        ("the pair without Type", cred("QnJ1Y2UyOk9oQmVoYXZl", None), None, BASIC, Verdict.ACCEPTED),
        ("the pair in lines", cred("QnJ1Y2Uy\r\nOk9oQmVoYXZl\r\n", BASIC), None, BASIC, Verdict.ACCEPTED),
        ("a stronger scheme", cred(DIGEST, MD5), USER, BASIC, Verdict.WRONG),
        ("another password", make_cred(BASIC, USER, "OhBehave!", b""), None, BASIC, Verdict.WRONG),
        ("another user", make_cred(BASIC, "Bruce3", PASSWORD, b""), None, BASIC, Verdict.WRONG),
        ("no colon", cred(b64encode(b"Bruce2").decode(), BASIC), None, BASIC, Verdict.WRONG),
        ("not base64", cred("QnJ1Y2U*", BASIC), None, BASIC, Verdict.WRONG),
        ("junk inside the pair", cred("QnJ1Y2Uy*Ok9oQmVoYXZl", BASIC), None, BASIC, Verdict.WRONG),
        ("bad padding", cred("QnJ1Y2UyO", BASIC), None, BASIC, Verdict.WRONG),
        ("base64 beyond ASCII", cred("QnJ1Y2UyOk9oQmVoYXZé", BASIC), None, BASIC, Verdict.WRONG),
        (
            "octets that are no text",
            cred(b64encode(b"\xff\x00:\xfe").decode(), BASIC),
            None,
            BASIC,
            Verdict.WRONG,
        ),
    ],
)
def test_verdicts(
    case: str, presented: Cred | None, loc_name: str | None, scheme: str, verdict: Verdict
) -> None:
    """Each claim gets the verdict it deserves."""
    assert verify(Proof(presented, loc_name, BODY), known(scheme)) is verdict, case


def test_another_nonce_is_wrong() -> None:
    """A digest made with the nonce of an earlier session proves nothing."""
    for scheme in (MD5, MAC):
        stale = proof(scheme, USER, PASSWORD, b"the nonce before")
        assert verify(stale, known(scheme)) is Verdict.WRONG


@pytest.mark.parametrize("scheme", SCHEMES)
@given(name=names, password=passwords, nonce=st.binary(max_size=32))
def test_what_a_client_makes_a_server_accepts(scheme: str, name: str, password: str, nonce: bytes) -> None:
    """Any name, password and nonce verify against the stored hash of the same pair."""
    stored = Credentials(scheme, name, credential_hash(name, password), nonce)
    assert verify(proof(scheme, name, password, nonce), stored) is Verdict.ACCEPTED


@pytest.mark.parametrize("scheme", SCHEMES)
@given(name=names, password=passwords, other=passwords, nonce=st.binary(max_size=32))
def test_another_password_is_never_accepted(
    scheme: str, name: str, password: str, other: str, nonce: bytes
) -> None:
    """Credentials made from another password are wrong in each scheme."""
    stored = Credentials(scheme, name, credential_hash(name, password), nonce)
    expected = Verdict.ACCEPTED if other == password else Verdict.WRONG
    assert verify(proof(scheme, name, other, nonce), stored) is expected


@given(
    presented=st.none() | st.builds(cred, st.text(max_size=60), st.sampled_from([*SCHEMES, None, "", "x"])),
    loc_name=st.none() | st.text(max_size=10),
    mac=st.none() | headers,
    stored=st.sampled_from([KNOWN_MD5, KNOWN_BASIC, KNOWN_MAC]),
)
def test_nothing_a_peer_sends_raises(
    presented: Cred | None, loc_name: str | None, mac: str | None, stored: Credentials
) -> None:
    """Whatever stands in Cred, LocName and header, a verdict comes back, and it is not ACCEPTED by chance."""
    claim = Proof(presented, loc_name, BODY, mac)
    assert claim.given is (presented is not None or mac is not None)
    assert verify(claim, stored) is (Verdict.WRONG if claim.given else Verdict.MISSING)


def _always(answer: bool) -> Callable[[bytes, bytes], bool]:  # noqa: FBT001 - the answer itself
    return lambda _a, _b: answer


@pytest.mark.parametrize("scheme", SCHEMES)
def test_only_constant_time_compares_decide(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With compare_digest saying no, right credentials are wrong; saying yes, wrong ones pass: nothing else compares."""
    right = proof(scheme, USER, PASSWORD, NONCE)
    wrong = proof(scheme, "Eve", "guess", b"x")
    monkeypatch.setattr(hmac, "compare_digest", _always(answer=False))
    assert verify(right, known(scheme)) is Verdict.WRONG
    monkeypatch.setattr(hmac, "compare_digest", _always(answer=True))
    assert verify(wrong, known(scheme)) is Verdict.ACCEPTED


@pytest.mark.parametrize(
    ("claim", "scheme"),
    [
        (proof(MD5, "Eve", PASSWORD, NONCE), MD5),
        (proof(BASIC, "Eve", PASSWORD, NONCE), BASIC),
        (replace(proof(MAC, "Eve", PASSWORD, NONCE), loc_name=None), MAC),
    ],
)
def test_a_wrong_name_takes_as_long_as_a_wrong_password(
    claim: Proof, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Name and digest are both compared even when the name already fails."""
    compared: list[bytes] = []
    real = hmac.compare_digest

    def spy(a: bytes, b: bytes) -> bool:
        compared.append(b)
        return real(a, b)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    assert verify(claim, known(scheme)) is Verdict.WRONG
    assert len(compared) == 2


# --- the MAC --------------------------------------------------------------------------------------------


def _md5(octets: bytes) -> bytes:
    return hashlib.md5(octets, usedforsecurity=False).digest()


MAC_VALUE = b64encode(
    _md5(b":".join((credential_hash(USER, PASSWORD).encode(), NONCE, b64encode(_md5(BODY)))))
).decode()
"""The MAC of BODY by the formula of DM_Security 5.4.2, written out once more."""


def test_the_mac_is_that_of_the_specification() -> None:
    """B64(MD5( B64(MD5(user:password)) ":" nonce ":" B64(MD5(body)) )), as parameters in the order of its example."""
    assert MAC_HEADER == "x-syncml-hmac"
    made = make_mac(USER, credential_hash(USER, PASSWORD), NONCE, BODY)
    assert made == f'algorithm=MD5, username="Bruce2", mac={MAC_VALUE}'


@pytest.mark.parametrize(
    ("case", "header"),
    [
        ("as we write it", f'algorithm=MD5, username="Bruce2", mac={MAC_VALUE}'),
        ("no algorithm, which means MD5", f'username="Bruce2", mac={MAC_VALUE}'),
        ("algorithm in other letters", f'algorithm=md5, username="Bruce2", mac={MAC_VALUE}'),
        ("algorithm quoted", f'algorithm="MD5", username="Bruce2", mac={MAC_VALUE}'),
        ("another order", f'mac={MAC_VALUE}, username="Bruce2", algorithm=MD5'),
        ("names in other letters", f'Algorithm=MD5, USERNAME="Bruce2", Mac={MAC_VALUE}'),
        ("everything quoted", f'algorithm="MD5", username="Bruce2", mac="{MAC_VALUE}"'),
        ("nothing quoted", f"algorithm=MD5, username=Bruce2, mac={MAC_VALUE}"),
        ("no padding, like the specification's example", f'username="Bruce2", mac={MAC_VALUE.rstrip("=")}'),
        ("no white space", f'algorithm=MD5,username="Bruce2",mac={MAC_VALUE}'),
        ("more white space", f' algorithm = MD5 ,\t username = "Bruce2" , mac = {MAC_VALUE} '),
        ("escapes that need not be", f'username="B\\r\\uce2", mac={MAC_VALUE}'),
        ("a parameter we do not know", f'realm="a, b=c", username="Bruce2", mac={MAC_VALUE}'),
        ("a comma at the end", f'username="Bruce2", mac={MAC_VALUE},'),
        ("the longest", f'username="Bruce2", mac={MAC_VALUE}'.ljust(1024)),
    ],
)
def test_macs_that_prove(case: str, header: str) -> None:
    """Every way in which a sender may write the header is read."""
    assert verify(Proof(None, USER, BODY, header), KNOWN_MAC) is Verdict.ACCEPTED, case
    assert verify(Proof(None, None, BODY, header), KNOWN_MAC) is Verdict.ACCEPTED, case


@pytest.mark.parametrize(
    ("case", "header"),
    [
        ("nothing", ""),
        ("white space", "  "),
        ("no name", f"algorithm=MD5, mac={MAC_VALUE}"),
        ("no mac", 'algorithm=MD5, username="Bruce2"'),
        ("an empty mac", 'algorithm=MD5, username="Bruce2", mac=""'),
        ("padding alone", 'algorithm=MD5, username="Bruce2", mac="=="'),
        ("another algorithm", f'algorithm=SHA-256, username="Bruce2", mac={MAC_VALUE}'),
        ("an empty algorithm", f'algorithm="", username="Bruce2", mac={MAC_VALUE}'),
        ("another name", f'username="Bruce3", mac={MAC_VALUE}'),
        ("a name in other letters", f'username="bruce2", mac={MAC_VALUE}'),
        ("a name beyond ASCII", f'username="Brucé2", mac={MAC_VALUE}'),
        ("a mac beyond ASCII", f'username="Bruce2", mac=é{MAC_VALUE}'),
        ("a mac in other letters", f'username="Bruce2", mac={MAC_VALUE.swapcase()}'),
        ("the name twice", f'username="Bruce2", username="Bruce2", mac={MAC_VALUE}'),
        ("the mac twice", f'username="Bruce2", mac=x, mac={MAC_VALUE}'),
        ("the mac twice in other letters", f'username="Bruce2", MAC={MAC_VALUE}, mac={MAC_VALUE}'),
        ("a quote without end", f'username="Bruce2, mac={MAC_VALUE}'),
        ("an escape at the end", f'mac={MAC_VALUE}, username="Bruce2\\'),
        ("no comma", f'username="Bruce2" mac={MAC_VALUE}'),
        ("two commas", f'username="Bruce2",, mac={MAC_VALUE}'),
        ("no value", f'realm=, username="Bruce2", mac={MAC_VALUE}'),
        ("no equals sign", f'realm, username="Bruce2", mac={MAC_VALUE}'),
        ("one octet too long", f'username="Bruce2", mac={MAC_VALUE}'.ljust(1025)),
        ("very long", f'username="Bruce2", mac={MAC_VALUE},' + 'a="\\' * 100_000),
        ("a control character", f'username="Bruce2"\0, mac={MAC_VALUE}'),
        ("a line more", f'username="Bruce2", mac={MAC_VALUE}\nmac={MAC_VALUE}'),
    ],
)
def test_macs_that_prove_nothing(case: str, header: str) -> None:
    """A header that is not exactly a list of distinct parameters with the right values is wrong, and raises nothing."""
    assert verify(Proof(None, USER, BODY, header), KNOWN_MAC) is Verdict.WRONG, case


def test_a_mac_alone_is_looked_at() -> None:
    """Beside a Cred, under another LocName, or where another scheme is due, a right MAC proves nothing."""
    right = proof(MAC, USER, PASSWORD, NONCE)
    assert verify(right, KNOWN_MAC) is Verdict.ACCEPTED
    assert verify(replace(right, loc_name="Bruce3"), KNOWN_MAC) is Verdict.WRONG
    assert verify(replace(right, cred=cred(DIGEST, MD5)), KNOWN_MAC) is Verdict.WRONG
    assert verify(right, KNOWN_MD5) is Verdict.WRONG
    assert verify(right, KNOWN_BASIC) is Verdict.WRONG
    assert verify(Proof(cred(DIGEST, MD5), USER, BODY), KNOWN_MAC) is Verdict.WRONG


quoted_names = st.text(
    st.sampled_from('"\\,= \té漢') | st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20
)


@given(name=quoted_names, password=passwords, nonce=st.binary(max_size=32), body=st.binary(max_size=200))
def test_what_make_mac_makes_verify_accepts(name: str, password: str, nonce: bytes, body: bytes) -> None:
    """Any name, also with quotes, commas and backslashes, and any octets of a message come through the header."""
    stored = credential_hash(name, password)
    claim = Proof(None, name, body, make_mac(name, stored, nonce, body))
    assert verify(claim, Credentials(MAC, name, stored, nonce)) is Verdict.ACCEPTED


def flipped(octets: bytes, bit: int) -> bytes:
    """The octets with one bit turned."""
    place, mask = bit // 8 % len(octets), 1 << bit % 8
    return octets[:place] + bytes([octets[place] ^ mask]) + octets[place + 1 :]


@given(
    name=names,
    nonce=st.binary(min_size=1, max_size=32),
    body=st.binary(min_size=1, max_size=200),
    what=st.sampled_from(["body", "nonce", "mac", "hash"]),
    bit=st.integers(0, 10_000),
)
def test_one_bit_makes_a_mac_wrong(name: str, nonce: bytes, body: bytes, what: str, bit: int) -> None:
    """A bit turned in the message, the nonce, the MAC or the stored verifier refuses the message."""
    stored = credential_hash(name, PASSWORD)
    known_of = Credentials(MAC, name, stored, nonce)
    claim = Proof(None, name, body, make_mac(name, stored, nonce, body))
    if what == "body":
        claim = replace(claim, body=flipped(body, bit))
    elif what == "nonce":
        known_of = replace(known_of, nonce=flipped(nonce, bit))
    elif what == "hash":
        known_of = replace(known_of, hash=b64encode(flipped(b64decode(stored), bit)).decode())
    else:
        before, _, value = (claim.mac or "").rpartition("mac=")
        turned = b64encode(flipped(b64decode(value), bit)).decode()
        claim = replace(claim, mac=f"{before}mac={turned}")
    assert verify(claim, known_of) is Verdict.WRONG


@given(name=names, other=names)
def test_another_name_makes_a_mac_wrong(name: str, other: str) -> None:
    """The name in the header must be the known one, whichever of the two the digest was made for."""
    stored = credential_hash(name, PASSWORD)
    claim = Proof(None, None, BODY, make_mac(other, stored, NONCE, BODY))
    expected = Verdict.ACCEPTED if other == name else Verdict.WRONG
    assert verify(claim, Credentials(MAC, name, stored, NONCE)) is expected


# --- challenges -----------------------------------------------------------------------------------------


def test_a_md5_challenge_carries_the_nonce() -> None:
    """NextNonce is the base64 of the nonce's octets (DM_Security 5.3)."""
    assert challenge(MD5, NONCE).meta == Meta(format="b64", type=MD5, next_nonce="Tm9uY2U=")


def test_a_mac_challenge_carries_the_nonce() -> None:
    """It is asked for by its own type, with a nonce as for a digest."""
    assert challenge(MAC, NONCE).meta == Meta(format="b64", type="syncml:auth-MAC", next_nonce="Tm9uY2U=")


def test_a_basic_challenge_carries_no_nonce() -> None:
    """Basic has no use for a nonce, so none is given away."""
    assert challenge(BASIC, NONCE).meta == Meta(format="b64", type=BASIC)


@given(st.binary(max_size=40), st.sampled_from([MD5, MAC]))
def test_a_nonce_comes_back_from_its_challenge(nonce: bytes, scheme: str) -> None:
    """What one side puts into a Chal the other reads out of it."""
    assert next_nonce(challenge(scheme, nonce)) == nonce


@pytest.mark.parametrize(
    ("chal", "nonce"),
    [
        (None, None),
        (challenge(BASIC, NONCE), None),
        (Chal(Meta(next_nonce=" Tm9u\r\nY2U= ")), NONCE),
        (Chal(Meta(next_nonce="")), b""),
        (Chal(Meta(next_nonce="Tm9uY2U")), None),
        (Chal(Meta(next_nonce="Tm9u*")), None),
        (Chal(Meta(next_nonce="Tm9uY2Ué")), None),
    ],
)
def test_nonces_of_a_peer(chal: Chal | None, nonce: bytes | None) -> None:
    """A nonce may be broken into lines; what is no base64 is no nonce, and raises nothing."""
    assert next_nonce(chal) == nonce
