"""Credentials: the digests of OMA DM_Security 5.3, and what a server makes of a peer's claim."""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncml.auth import (
    BASIC,
    MD5,
    SCHEMES,
    Credentials,
    Verdict,
    challenge,
    credential_hash,
    make_cred,
    verify,
)
from syncml.errors import LocalProtocolError
from syncml.messages import Cred, Meta

if TYPE_CHECKING:
    from collections.abc import Callable

USER, PASSWORD, NONCE = "Bruce2", "OhBehave", b"Nonce"
DIGEST = "Zz6EivR3yeaaENcRN6lpAQ=="
KNOWN_MD5 = Credentials(MD5, USER, credential_hash(USER, PASSWORD), NONCE)
KNOWN_BASIC = replace(KNOWN_MD5, scheme=BASIC)

# No colon in names: it ends the name in `name:password`.
names = st.text(st.characters(exclude_characters=":", exclude_categories=["Cs"]), min_size=1, max_size=20)
passwords = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def known(scheme: str) -> Credentials:
    """What the server knows of Bruce2."""
    return {MD5: KNOWN_MD5, BASIC: KNOWN_BASIC}[scheme]


def cred(data: str, scheme: str | None) -> Cred:
    """A Cred as it was read."""
    return Cred(data=data, meta=Meta(format="b64", type=scheme))


def test_md5_vector() -> None:
    """Bruce2 / OhBehave / Nonce gives the digest the specification prints."""
    assert make_cred(MD5, USER, PASSWORD, NONCE) == cred(DIGEST, MD5)


def test_basic_vector() -> None:
    """Basic is the base64 of name, colon and password, as the specification prints it."""
    assert make_cred(BASIC, USER, PASSWORD, b"") == cred("QnJ1Y2UyOk9oQmVoYXZl", BASIC)


def test_the_stored_hash_is_not_the_password() -> None:
    """What a server stores is base64 of 16 octets in which the password does not stand."""
    stored = credential_hash(USER, PASSWORD)
    assert len(b64decode(stored, validate=True)) == 16
    assert PASSWORD not in stored


def test_schemes_we_lack_are_refused_here() -> None:
    """Asking for credentials of an unknown scheme is the caller's fault."""
    with pytest.raises(LocalProtocolError, match="auth-MAC"):
        make_cred("syncml:auth-MAC", USER, PASSWORD, NONCE)


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
    assert verify(presented, loc_name, known(scheme)) is verdict, case


def test_another_nonce_is_wrong() -> None:
    """A digest made with the nonce of an earlier session proves nothing."""
    stale = make_cred(MD5, USER, PASSWORD, b"the nonce before")
    assert verify(stale, USER, KNOWN_MD5) is Verdict.WRONG


@pytest.mark.parametrize("scheme", SCHEMES)
@given(name=names, password=passwords, nonce=st.binary(max_size=32))
def test_what_a_client_makes_a_server_accepts(scheme: str, name: str, password: str, nonce: bytes) -> None:
    """Any name, password and nonce verify against the stored hash of the same pair."""
    stored = Credentials(scheme, name, credential_hash(name, password), nonce)
    assert verify(make_cred(scheme, name, password, nonce), name, stored) is Verdict.ACCEPTED


@pytest.mark.parametrize("scheme", SCHEMES)
@given(name=names, password=passwords, other=passwords, nonce=st.binary(max_size=32))
def test_another_password_is_never_accepted(
    scheme: str, name: str, password: str, other: str, nonce: bytes
) -> None:
    """Credentials made from another password are wrong in either scheme."""
    stored = Credentials(scheme, name, credential_hash(name, password), nonce)
    expected = Verdict.ACCEPTED if other == password else Verdict.WRONG
    assert verify(make_cred(scheme, name, other, nonce), name, stored) is expected


@given(
    data=st.text(max_size=60),
    scheme=st.sampled_from([*SCHEMES, None, "", "x"]),
    loc_name=st.none() | st.text(max_size=10),
    stored=st.sampled_from([KNOWN_MD5, KNOWN_BASIC]),
)
def test_nothing_a_peer_sends_raises(
    data: str, scheme: str | None, loc_name: str | None, stored: Credentials
) -> None:
    """Whatever stands in Cred and LocName, a verdict comes back, and it is not ACCEPTED by chance."""
    assert verify(cred(data, scheme), loc_name, stored) is Verdict.WRONG


def _always(answer: bool) -> Callable[[bytes, bytes], bool]:  # noqa: FBT001 - the answer itself
    return lambda _a, _b: answer


@pytest.mark.parametrize("scheme", SCHEMES)
def test_only_constant_time_compares_decide(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With compare_digest saying no, right credentials are wrong; saying yes, wrong ones pass: nothing else compares."""
    right = make_cred(scheme, USER, PASSWORD, NONCE)
    wrong = make_cred(scheme, "Eve", "guess", b"x")
    monkeypatch.setattr(hmac, "compare_digest", _always(answer=False))
    assert verify(right, USER, known(scheme)) is Verdict.WRONG
    monkeypatch.setattr(hmac, "compare_digest", _always(answer=True))
    assert verify(wrong, "Eve", known(scheme)) is Verdict.ACCEPTED


@pytest.mark.parametrize(
    ("presented", "loc_name", "scheme"),
    [
        (make_cred(MD5, "Eve", PASSWORD, NONCE), "Eve", MD5),
        (make_cred(BASIC, "Eve", PASSWORD, NONCE), None, BASIC),
    ],
)
def test_a_wrong_name_takes_as_long_as_a_wrong_password(
    presented: Cred, loc_name: str | None, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Name and digest are both compared even when the name already fails."""
    compared: list[bytes] = []
    real = hmac.compare_digest

    def spy(a: bytes, b: bytes) -> bool:
        compared.append(b)
        return real(a, b)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    assert verify(presented, loc_name, known(scheme)) is Verdict.WRONG
    assert len(compared) == 2


def test_a_md5_challenge_carries_the_nonce() -> None:
    """NextNonce is the base64 of the nonce's octets (DM_Security 5.3)."""
    assert challenge(MD5, NONCE).meta == Meta(format="b64", type=MD5, next_nonce="Tm9uY2U=")


def test_a_basic_challenge_carries_no_nonce() -> None:
    """Basic has no use for a nonce, so none is given away."""
    assert challenge(BASIC, NONCE).meta == Meta(format="b64", type=BASIC)
