"""Certificate requests of peers' devices are read and verified as they are."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from mdm.ca.csr import read_csr

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
