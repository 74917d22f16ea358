"""SyncApplicationVersion: the version of the session protocol a device speaks, and raising it to what is worth having.

The node stands at `./Vendor/MSFT/DMClient/Provider/{ProviderID}`, beside MaxSyncApplicationVersion, the newest
version the device knows. What is written there holds from the next session on, and a device does not go back.

    from  what changes
    ----  ------------
    2.0   SessionID is a hexadecimal number
    3.0   a status tells the HRESULT behind it, as msft:originalerror
    4.0   the header UserAgentOrigin says what began the session
    5.0   sessions for several users at once, with a user's settings in sessions of their own

Sources: DMClient CSP, MS-MDM 3.1.7.2 and 3.2.5.1.3, MS-MDE2 (ProviderID characteristics).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from csp.answers import text_of
from csp.dmclient import provider_leaf
from syncml.exchange import Request
from syncml.status import StatusCode, is_success

if TYPE_CHECKING:
    from collections.abc import Iterable

    from syncml.exchange import Answer

__all__ = ["WANTED", "SyncVersions", "queries", "raise_request", "read", "tells_errors"]

WANTED: Final = "3.0"
"""The least version with msft:originalerror, without which a refusal is a bare number such as 500.

No more than that: 4.0 brings nothing we read, and 5.0 changes which settings go in which session.
"""

_CURRENT: Final = "SyncApplicationVersion"
_CEILING: Final = "MaxSyncApplicationVersion"
_UNSET: Final = "1.0"
"""What a device speaks that nobody has told otherwise (DMClient DDF, DefaultValue)."""
# `WANTED` in numbers; not (3, 0), which would be above a plain 3.
_FIRST_WITH_ERRORS: Final = (3,)
_VERSION: Final = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,4}){0,3}")


@dataclass(frozen=True, slots=True)
class SyncVersions:
    """What a device says of its session protocol."""

    current: str | None = None
    """The version it speaks, as it wrote it; None if that was not answered."""
    ceiling: str | None = None
    """The newest it knows, as it wrote it; None if that was not answered, or there is no such node."""
    answered: bool = False
    """True if any of the commands about it has a status, whatever that is: there is no need to ask again soon."""


def queries(provider_id: str) -> tuple[Request, ...]:
    """The Gets of the version and of its ceiling, below the management server of that (unescaped) name.

    Raises InvalidLocURI for a name no address can have.
    """
    return tuple(Request("Get", provider_leaf(provider_id, name)) for name in (_CURRENT, _CEILING))


def raise_request(provider_id: str, current: str | None, ceiling: str | None) -> Request | None:
    """The Replace that raises the version to `WANTED`; None if it is reached, out of reach, or not known.

    Raises InvalidLocURI for a name no address can have.
    """
    speaks, knows = _number(current), _number(ceiling)
    if speaks is None or knows is None or not speaks < _FIRST_WITH_ERRORS <= knows:
        return None
    return Request(
        "Replace", provider_leaf(provider_id, _CURRENT), format="chr", type="text/plain", data=WANTED
    )


def read(answers: Iterable[Answer], provider_id: str) -> SyncVersions:
    """What the answers, among which there may be any others, say about the version of that server's sessions.

    An accepted Replace counts as what it wrote. A device that knows newer versions, but has no node for its
    own, speaks 1.0. Raises InvalidLocURI for a name no address can have.
    """
    current_uri, ceiling_uri = (provider_leaf(provider_id, name) for name in (_CURRENT, _CEILING))
    current = ceiling = None
    answered = unset = False
    for answer in answers:
        request = answer.request
        if answer.status is None or request.loc_uri not in {current_uri, ceiling_uri}:
            continue
        answered = True
        if request.verb == "Replace":
            current = request.data if is_success(answer.status) else current
        elif request.loc_uri == ceiling_uri:
            ceiling = text_of(answer)
        else:
            current = text_of(answer)
            unset = answer.status == StatusCode.NOT_FOUND
    if unset and current is None and ceiling is not None:
        current = _UNSET
    return SyncVersions(current, ceiling, answered)


def tells_errors(version: str | None) -> bool:
    """True if a device that speaks this version tells the HRESULT behind a status; an unknown version does not."""
    number = _number(version)
    return number is not None and number >= _FIRST_WITH_ERRORS


def _number(version: str | None) -> tuple[int, ...] | None:
    """The version as numbers, so that 10.0 is above 3.0; None for what is no version."""
    text = (version or "").strip()
    if not _VERSION.fullmatch(text):
        return None
    return tuple(int(part) for part in text.split("."))
