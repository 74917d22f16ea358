"""What a device says of itself when asked: its Windows, its name in the network and its serial number, from ./DevDetail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from csp.answers import leaf_texts
from csp.queries import identity_queries

if TYPE_CHECKING:
    from collections.abc import Iterable

    from syncml.exchange import Answer

__all__ = ["WindowsIdentity", "read_identity"]

_VERSION, _EDITION, _COMPUTER_NAME, _SERIAL_NUMBER = (query.loc_uri for query in identity_queries())
_ASKED: Final = frozenset({_VERSION, _EDITION, _COMPUTER_NAME, _SERIAL_NUMBER})


@dataclass(frozen=True, slots=True)
class WindowsIdentity:
    """A device and its Windows; None for what was not told, or not there (404)."""

    version: str | None = None
    """Build and revision, such as `10.0.26100.4652`."""
    edition: str | None = None
    """Name of the edition, such as `Windows 11 Enterprise`."""
    computer_name: str | None = None
    """Name of the computer in the network, from Windows 10 2004 on."""
    serial_number: str | None = None
    """Serial number the manufacturer gave the device, from Windows 10 1809 on."""
    answered: bool = False
    """True if the device has looked at any of the questions: there is no need to ask again soon."""


def read_identity(answers: Iterable[Answer]) -> WindowsIdentity:
    """What the answers, among which there may be any others, say of the device and its Windows."""
    said = leaf_texts(answers, _ASKED)
    return WindowsIdentity(
        version=said.get(_VERSION),
        edition=said.get(_EDITION),
        computer_name=said.get(_COMPUTER_NAME),
        serial_number=said.get(_SERIAL_NUMBER),
        answered=bool(said),
    )
