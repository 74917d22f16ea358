"""Discovery: what a device offers, and what it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mdm.enrolment.service import DISCOVERY_PATH
from mdm.lab.mde2 import DISCOVER as ACTION
from mdm.lab.mde2 import MESSAGE_IDS, NAMESPACES, discover

if TYPE_CHECKING:
    from conftest import Station
    from lxml import etree

BASE = "https://mdm.example.test"


def text(node: etree._Element, path: str) -> str:
    """The text of the one node there."""
    (found,) = node.xpath(path, namespaces=NAMESPACES)
    return found.text or ""


def test_the_empty_get_is_answered(sqlite_station: Station) -> None:
    """Windows asks so before it sends anything."""
    response = sqlite_station.client.get(DISCOVERY_PATH)
    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize(
    ("said", "answered"), [("3.0", "3.0"), ("4.0", "4.0"), ("6.0", "6.0"), ("7.0", "7.0"), ("8.1", "7.0")]
)
def test_the_answer(sqlite_station: Station, said: str, answered: str) -> None:
    """The way to authenticate that was offered, the device's version up to ours, and both addresses; in this order."""
    found = sqlite_station.discover("Federated", "OnPremise", version=said)
    (result,) = found.xpath("/s:Envelope/s:Body/d:DiscoverResponse/d:DiscoverResult", namespaces=NAMESPACES)
    assert [(each.tag.split("}")[1], each.text) for each in result] == [
        ("AuthPolicy", "OnPremise"),
        ("EnrollmentVersion", answered),
        ("EnrollmentPolicyServiceUrl", f"{BASE}/EnrollmentServer/Policy.svc"),
        ("EnrollmentServiceUrl", f"{BASE}/EnrollmentServer/Enrollment.svc"),
    ]
    header = found.find("s:Header", NAMESPACES)
    assert [each.tag.split("}")[1] for each in header] == ["Action", "ActivityId", "RelatesTo"]
    assert text(found, "//a:Action") == f"{ACTION}Response"
    assert text(found, "//a:RelatesTo") == MESSAGE_IDS[ACTION]


@pytest.mark.parametrize("email", ["user@example.test", r"domain\user", ""])
def test_the_address_may_be_anything(sqlite_station: Station, email: str) -> None:
    """Windows sends what was typed, or nothing."""
    assert text(sqlite_station.discover("OnPremise", email=email), "//d:AuthPolicy") == "OnPremise"


@pytest.mark.parametrize("policies", [("Federated",), ("Federated", "Kerberos"), ()])
def test_other_authentication_is_refused(sqlite_station: Station, policies: tuple[str, ...]) -> None:
    """A way to authenticate that the device did not offer is never answered."""
    subcode, why, error = sqlite_station.fault(DISCOVERY_PATH, discover(*policies))
    assert (subcode, error) == ("s:EnrollmentServer", "NotSupported")
    assert (", ".join(policies) or "nothing") in why


@pytest.mark.parametrize("version", ["2.0", "1.0"])
def test_old_devices_are_refused(sqlite_station: Station, version: str) -> None:
    """What came before Windows 10 is told that it is too old."""
    _, why, error = sqlite_station.fault(DISCOVERY_PATH, discover("OnPremise", version=version))
    assert (error, "too old" in why) == ("NotSupported", True)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            lambda body: body.replace(b"<RequestVersion>4.0</RequestVersion>", b""),
            "RequestVersion is missing",
        ),
        (lambda body: body.replace(b"4.0", b"four"), "RequestVersion is 'four'"),
        (
            lambda body: body.replace(b"<request ", b"<other ").replace(b"</request>", b"</other>"),
            "no request",
        ),
        (lambda body: body.replace(b"<EmailAddress>", b"<EmailAddress/><EmailAddress>"), "more than once"),
    ],
)
def test_what_is_no_discover(sqlite_station: Station, change: object, why: str) -> None:
    """A message that lacks something is a message format error that names it."""
    assert callable(change)
    subcode, said, _ = sqlite_station.fault(DISCOVERY_PATH, change(discover("OnPremise")))
    assert subcode == "s:MessageFormat"
    assert why in said
