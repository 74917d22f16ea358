"""Passwords and the counting of tries, without the protocol around them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mdm.enrolment.passwords import hash_password, make_password, password_matches
from mdm.enrolment.throttle import address_key, name_key
from mdm.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_password_matches_itself() -> None:
    """And nothing else: not another, not one that only begins like it, not that of a user who does not exist."""
    password = make_password()
    stored = hash_password(password)
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert password not in stored
    assert stored != hash_password(password)
    assert password_matches(password, stored)
    assert not password_matches(f"{password} ", stored)
    assert not password_matches(password, None)


def test_a_long_password_is_not_cut() -> None:
    """What is longer than any password may be matches none, not even the one it begins with."""
    password = "x" * 200
    stored = hash_password(password)
    assert password_matches(password, stored)
    assert not password_matches(f"{password}y", stored)


def test_a_name_that_is_unknown_costs_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same work is done for it: one derivation with the same parameters."""
    seen: list[str] = []

    class Recorded:
        verify_phc_encoded: Callable[..., None]

        @staticmethod
        def _verify(material: bytes, phc: str) -> None:
            del material
            seen.append(phc.rpartition("$")[0].rpartition("$")[0])

    Recorded.verify_phc_encoded = Recorded._verify
    stored = hash_password("long enough for it")
    assert not password_matches("warm", None)
    monkeypatch.setattr("mdm.enrolment.passwords.Argon2id", Recorded)
    password_matches("any", stored)
    assert not password_matches("any", None)
    assert seen[0] == seen[1]


@pytest.mark.parametrize("password", ["", "short", "x" * 201, "with\ta tab in it", " blanks around "])
def test_bad_passwords(password: str) -> None:
    """They are refused before they are hashed, and named without their value."""
    with pytest.raises(Invalid) as refused:
        hash_password(password)
    assert [error.pointer for error in refused.value.errors] == ["/password"]


def test_addresses_of_one_site() -> None:
    """IPv6 addresses of one network are one place, IPv4 addresses are one each, however written."""
    assert address_key("2001:db8::1") == address_key("2001:db8::ffff:2")
    assert address_key("2001:db8::1") != address_key("2001:db8:0:1::1")
    assert address_key("192.0.2.1") == address_key("::ffff:192.0.2.1") != address_key("192.0.2.2")
    assert address_key("") == address_key("") != address_key("testclient")
    assert address_key("x") != name_key("x")
