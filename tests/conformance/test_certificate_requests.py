"""Certificate requests of peers' devices are read and verified as they are."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from mdm.ca.csr import read_csr
from mdm.ca.der import Element, Tag, read_children, read_element
from mdm.lab.certificate_request import WindowsForm, certificate_request

SAMPLES = Path(__file__).parents[2].parent / "shared" / "data" / "mde2"
ID = "8090C8B484A0E24EB5C56E806CB4EE5B"

pytestmark = pytest.mark.skipif(
    not SAMPLES.is_dir(), reason="the sample messages are not beside this checkout"
)


def test_the_request_of_a_windows_11_device() -> None:
    """Its signature holds, and its device's id is found in the extension."""
    request = read_csr((SAMPLES / "fleet-windows-1-pkcs10.der").read_bytes())
    assert request.device_id == ID
    assert b"0F3B8E6C-" in request.subject_raw


def test_the_request_in_its_envelope() -> None:
    """The same octets once the base64 is taken off."""
    envelope = (SAMPLES / "fleet-windows-1-wstep.xml").read_text()
    (encoded,) = re.findall(r"#PKCS10\"[^>]*>([^<]+)<", envelope)
    der = base64.b64decode(encoded)
    assert der == (SAMPLES / "fleet-windows-1-pkcs10.der").read_bytes()
    assert read_csr(der).device_id == ID


def skeleton(element: Element) -> object:
    """Tags, identifiers and lengths, without what differs from device to device."""
    if element.tag in {Tag.SEQUENCE, Tag.SET, Tag.CONTEXT_0}:
        return element.tag, [skeleton(child) for child in read_children(element)]
    return element.tag, element.content if element.tag == Tag.OBJECT_IDENTIFIER else len(element.content)


def test_the_virtual_device_asks_as_a_windows_11_device() -> None:
    """Its request has the published one's structure, element for element and length for length."""
    published = (SAMPLES / "fleet-windows-1-pkcs10.der").read_bytes()
    key = rsa.generate_private_key(65537, 2048)
    ours = certificate_request(key, ID, "0F3B8E6C-A271-4556-9B72-A26CBD0C0FFE", WindowsForm.WINDOWS_11)
    assert skeleton(read_element(ours, Tag.SEQUENCE)) == skeleton(read_element(published, Tag.SEQUENCE))
    assert read_csr(ours).subject_raw == read_csr(published).subject_raw
