"""The classification table holds GUIDs in normal form and nothing that is not a classification."""

from __future__ import annotations

from csp.classifications import CLASSIFICATIONS, DEFINITION_UPDATES, SECURITY_UPDATES
from csp.guid import parse_guid


def test_every_guid_is_in_normal_form() -> None:
    """No lost digit, no capital, no brace: copies in the wild have such errors."""
    assert all(parse_guid(guid) == guid for guid in CLASSIFICATIONS)


def test_every_name_stands_once() -> None:
    """Two GUIDs of one name would be a copying error."""
    assert len(set(CLASSIFICATIONS.values())) == len(CLASSIFICATIONS) == 17


def test_the_classes_people_approve_are_named() -> None:
    """The constants point at the rows their names promise."""
    assert CLASSIFICATIONS[DEFINITION_UPDATES] == "Definition Updates"
    assert CLASSIFICATIONS[SECURITY_UPDATES] == "Security Updates"


def test_products_and_companies_are_left_out() -> None:
    """The GUIDs of Microsoft (company) and Microsoft Defender (product) are often listed as classes."""
    assert "56309036-4c77-4dd9-951a-99ee9c246a94" not in CLASSIFICATIONS
    assert "8c3fcc84-7410-4a95-8b89-a166a0190486" not in CLASSIFICATIONS
