"""What a device says of its Windows when asked: the build and the edition, from ./DevDetail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from csp.queries import identity_queries
from syncml.status import StatusCode, is_success

if TYPE_CHECKING:
    from collections.abc import Iterable

    from syncml.exchange import Answer

__all__ = ["WindowsIdentity", "read_identity"]

_VERSION, _EDITION = (query.loc_uri for query in identity_queries())
_ASKED: Final = frozenset({_VERSION, _EDITION})
# The device wanted our credentials first: it has not looked at the question, and will be asked again.
_NO_ANSWER: Final = frozenset({None, StatusCode.INVALID_CREDENTIALS, StatusCode.MISSING_CREDENTIALS})


@dataclass(frozen=True, slots=True)
class WindowsIdentity:
    """A device's Windows; None for what was not told, or not there (404)."""

    version: str | None = None
    """Build and revision, such as `10.0.26100.4652`."""
    edition: str | None = None
    """Name of the edition, such as `Windows 11 Enterprise`."""
    answered: bool = False
    """True if the device has looked at any of the questions: there is no need to ask again soon."""


def read_identity(answers: Iterable[Answer]) -> WindowsIdentity:
    """What the answers, among which there may be any others, say of the device's Windows."""
    said: dict[str, str | None] = {}
    for answer in answers:
        request, status = answer.request, answer.status
        if request.verb == "Get" and request.loc_uri in _ASKED and status not in _NO_ANSWER:
            items = answer.items if is_success(status or 0) else ()
            texts = ((item.data or "").strip() for item in items)
            said[request.loc_uri] = next((text for text in texts if text), None)
    return WindowsIdentity(said.get(_VERSION), said.get(_EDITION), answered=bool(said))
