"""What counts as the same message once more."""

from __future__ import annotations

import hashlib
from itertools import combinations

from mdm.checkin.delivery import Delivery


def test_the_digest_is_of_the_message_and_its_mac() -> None:
    """Other bytes, another MAC or none: another digest."""
    deliveries = [
        Delivery(body, private=True, remote_addr="", mac=mac)
        for body in (b"<a/>", b"<b/>")
        for mac in (None, "", "mac=A", "mac=B", "mac=Ä")
    ]
    for one, other in combinations(deliveries, 2):
        assert one.digest != other.digest


def test_the_digest_is_not_of_the_way() -> None:
    """A repetition may come over another connection, from another address."""
    assert Delivery(b"x", True, "192.0.2.1").digest == Delivery(b"x", False, "2001:db8::1").digest


def test_without_a_mac_it_is_the_sha_256_of_the_bytes() -> None:
    """So it was before there were MACs: the replies of an older version are still found."""
    assert Delivery(b"<a/>", private=True, remote_addr="").digest == hashlib.sha256(b"<a/>").digest()
