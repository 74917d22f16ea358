"""Build, edition, computer name and serial number, as a device's answers tell them."""

from __future__ import annotations

import pytest

from csp.identity import WindowsIdentity, read_identity
from csp.queries import identity_queries
from syncml.exchange import Answer, Request
from syncml.messages import Item

VERSION, EDITION, COMPUTER_NAME, SERIAL_NUMBER = identity_queries()


def said(request: Request, *texts: str | None) -> Answer:
    """A Get that brought these values."""
    return Answer(request, 200, tuple(Item(data=text) for text in texts))


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (
            (said(VERSION, "10.0.26100.4652"), said(EDITION, "Windows 11 Enterprise")),
            WindowsIdentity("10.0.26100.4652", "Windows 11 Enterprise", answered=True),
        ),
        (
            (said(EDITION, None, " ", " Windows 10 Pro "),),
            WindowsIdentity(None, "Windows 10 Pro", answered=True),
        ),
        (
            (said(COMPUTER_NAME, "FRONT-DESK"), said(SERIAL_NUMBER, " 5CG0123XYZ ")),
            WindowsIdentity(computer_name="FRONT-DESK", serial_number="5CG0123XYZ", answered=True),
        ),
        (
            (said(VERSION, "10.0.17134.1"), Answer(COMPUTER_NAME, 404), Answer(SERIAL_NUMBER, 404)),
            WindowsIdentity("10.0.17134.1", answered=True),
        ),
        ((said(VERSION),), WindowsIdentity(answered=True)),
        ((Answer(VERSION, 404), Answer(EDITION, 405)), WindowsIdentity(answered=True)),
        ((Answer(VERSION, 500, (Item(data="10.0.1"),)),), WindowsIdentity(answered=True)),
        ((Answer(VERSION, None), Answer(EDITION, None)), WindowsIdentity()),
        ((Answer(VERSION, 401), Answer(EDITION, 407)), WindowsIdentity()),
        ((said(Request("Get", "./DevDetail/HwV"), "10.0.1"),), WindowsIdentity()),
        ((said(Request("Replace", VERSION.loc_uri), "10.0.1"),), WindowsIdentity()),
        ((), WindowsIdentity()),
    ],
)
def test_what_answers_say(answers: tuple[Answer, ...], expected: WindowsIdentity) -> None:
    """Values of successful Gets, nothing from refusals, and whether anything was answered at all."""
    assert read_identity(answers) == expected
