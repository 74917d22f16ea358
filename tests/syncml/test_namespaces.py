"""Namespaces: the exact strings of the wire, and which are read alike."""

from __future__ import annotations

from syncml.namespaces import (
    METINF,
    METINF_LIKE,
    MICROSOFT,
    ORIGINAL_ERROR,
    SYNCML_1_1,
    SYNCML_1_2,
    SYNCML_LIKE,
    XML,
)


def test_the_namespaces_are_those_of_the_wire() -> None:
    """A letter of another case would make every element foreign to a device."""
    assert SYNCML_1_1 == "SYNCML:SYNCML1.1"
    assert SYNCML_1_2 == "SYNCML:SYNCML1.2"
    assert METINF == "syncml:metinf"
    assert MICROSOFT == "http://schemas.microsoft.com/MobileDevice/MDM"
    assert XML == "http://www.w3.org/XML/1998/namespace"
    assert ORIGINAL_ERROR == "{http://schemas.microsoft.com/MobileDevice/MDM}originalerror"


def test_metinf_is_alike_only_inside_meta() -> None:
    """SyncML elements may have either version or no namespace; MetInf elements those or their own."""
    assert {SYNCML_1_1, SYNCML_1_2, ""} == SYNCML_LIKE
    assert {METINF} == METINF_LIKE - SYNCML_LIKE
