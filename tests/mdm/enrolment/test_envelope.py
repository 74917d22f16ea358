"""The one reader of device messages: what it takes, and what it does not."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.enrolment.envelope import (
    LIMITS,
    BinaryToken,
    MessageUnreadable,
    UsernameToken,
    read_envelope,
    write_envelope,
)
from mdm.lab.mde2 import DISCOVER, GET_POLICIES, NAMESPACES, discover, envelope, get_policies, username_token


def test_a_user_name_and_a_password() -> None:
    """They come out as typed, but for blanks around them."""
    found = read_envelope(get_policies("us<er", " p&ss "), GET_POLICIES)
    assert found.token == UsernameToken("us<er", "p&ss")
    assert "p:GetPolicies" in found.body


def test_a_password_is_not_in_the_representation() -> None:
    """A traceback or a log line must not tell it."""
    assert repr(UsernameToken("user", "canary")) == "UsernameToken(username='user')"


def test_a_binary_token() -> None:
    """Federated and certificate authentication are told apart from none."""
    token = '<wsse:Security><wsse:BinarySecurityToken ValueType="urn:x">QQ==</wsse:BinarySecurityToken></wsse:Security>'
    assert read_envelope(envelope("urn:a", "<x/>", token), "urn:a").token == BinaryToken("urn:x", "QQ==")
    bare = "<wsse:Security><wsse:BinarySecurityToken>QQ==</wsse:BinarySecurityToken></wsse:Security>"
    assert read_envelope(envelope("urn:a", "<x/>", bare), "urn:a").token == BinaryToken("", "QQ==")
    assert read_envelope(envelope("urn:a", "<x/>"), "urn:a").token is None


def test_prefixes_are_free() -> None:
    """Only namespaces count, whatever their prefixes."""
    body = (
        discover("OnPremise")
        .replace(b"<s:", b"<q:")
        .replace(b"</s:", b"</q:")
        .replace(b"xmlns:s=", b"xmlns:q=")
        .replace(b" s:", b" q:")
    )
    assert "d:Discover" in read_envelope(body, DISCOVER).body


def test_blanks_around_the_message_id_go() -> None:
    """Samples print it on a line of its own; its inside is kept."""
    body = envelope("urn:x", "<x/>").replace(b">urn:x</a:MessageID>", b">\n urn:uuid: 1 \n</a:MessageID>")
    assert read_envelope(body, "urn:x").message_id == "urn:uuid: 1"
    gone = envelope("urn:x", "<x/>").replace(b"<a:MessageID>urn:x</a:MessageID>", b"")
    assert read_envelope(gone, "urn:x").message_id is None


NESTED = "<x>" * 30 + "</x>" * 30


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no XML"),
        (b"nonsense", "no XML"),
        (b"\xff\xfe\x00", "no XML"),
        (b"<x/>", "not a SOAP 1.2 envelope"),
        (b'<!DOCTYPE x [<!ENTITY e "e">]>' + envelope("urn:a", "<x/>"), "DOCTYPE"),
        (envelope("urn:a", NESTED), "elements deep"),
        (envelope("urn:a", "<x/>" * 2001), "more than 2000 elements"),
        (envelope("urn:a", "<x " + " ".join(f'a{n}=""' for n in range(40)) + "/>"), "attributes"),
        (envelope("urn:a", "<x/>") + b" " * LIMITS.bytes, "bytes"),
        (envelope("urn:b", "<x/>"), "Action is 'urn:b'"),
        (envelope("urn:a", "text"), "lacks a header or a body"),
        (
            envelope("urn:a", "<x/>").replace(NAMESPACES["s"].encode(), b"http://schemas.xmlsoap.org/soap/"),
            "SOAP",
        ),
        (envelope("urn:a", "<x/>").replace(b"urn:x", b"x" * 501), "MessageID has more"),
        (envelope("urn:a", "<x/>", username_token("a", "b") * 2), "Security stands in it more than once"),
        (envelope("urn:a", "<x/>").replace(b">urn:a<", b"><"), "Action is missing"),
    ],
)
def test_what_is_refused(data: bytes, why: str) -> None:
    """Each with half a sentence that says why."""
    with pytest.raises(MessageUnreadable, match=why):
        read_envelope(data, "urn:a")


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Nothing but MessageUnreadable comes out of the reader."""
    with pytest.raises(MessageUnreadable):
        read_envelope(data, "urn:a")


@given(st.binary(max_size=8), st.integers(0, 1100))
def test_a_damaged_message_is_read_or_refused(damage: bytes, at: int) -> None:
    """Bytes anywhere in a good message change nothing about that."""
    good = get_policies("user", "password")
    with contextlib.suppress(MessageUnreadable):
        read_envelope(good[:at] + damage + good[at + len(damage) :], GET_POLICIES)


def test_text_is_escaped() -> None:
    """Nothing a device says can become an element of an answer."""
    written = write_envelope("urn:a", {"x": "</s:Body>&"}, relates_to="<id>")
    assert b"&lt;/s:Body&gt;&amp;" in written
    assert b"<a:RelatesTo>&lt;id&gt;</a:RelatesTo>" in written
