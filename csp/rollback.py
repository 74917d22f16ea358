"""Rolling back the latest quality or feature update: the action, its status, and what Windows wants before it.

Source: Update CSP, Rollback (since Windows 10 1803); the values of the two status nodes are documented nowhere.
"""

from __future__ import annotations

import re
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from csp.errors import InvalidLocURI, InvalidValue
from csp.hresult import parse_hresult
from csp.locuri import LocURI
from syncml.exchange import Request

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "FIRST_BUILD",
    "PAUSED_BY",
    "RollbackKind",
    "action_kind",
    "failure_in",
    "rollback_action",
    "rollback_status",
    "status_kind",
]

FIRST_BUILD: Final = 17134
"""Windows 10 1803, the first that has the nodes."""

_ROLLBACK: Final = "./Vendor/MSFT/Update/Rollback"
_FAILURE: Final = re.compile(r"0[xX][89a-fA-F][0-9a-fA-F]{7}(?![0-9a-fA-F])|(?<![0-9-])-[0-9]{9,10}(?![0-9])")


class RollbackKind(StrEnum):
    """What is rolled back."""

    QUALITY = "quality"
    FEATURE = "feature"


PAUSED_BY: Final[Mapping[RollbackKind, str]] = MappingProxyType(
    {
        RollbackKind.QUALITY: "PauseQualityUpdatesStartTime",
        RollbackKind.FEATURE: "PauseFeatureUpdatesStartTime",
    }
)
"""The policy that must pause updates of the kind before: without it nothing is rolled back."""

_ACTIONS: Final = {RollbackKind.QUALITY: "QualityUpdate", RollbackKind.FEATURE: "FeatureUpdate"}
_STATUSES: Final = {kind: f"{name}Status" for kind, name in _ACTIONS.items()}


def rollback_action(kind: RollbackKind) -> Request:
    """The command that rolls the latest update of the kind back; it has no data."""
    return Request("Exec", f"{_ROLLBACK}/{_ACTIONS[kind]}", format="null")


def rollback_status(kind: RollbackKind) -> Request:
    """The question what came of the last rollback of the kind."""
    return Request("Get", f"{_ROLLBACK}/{_STATUSES[kind]}")


def action_kind(request: Request) -> RollbackKind | None:
    """What the command rolls back; None for any other command."""
    return _kind(request, "Exec", _ACTIONS)


def status_kind(request: Request) -> RollbackKind | None:
    """Of which rollback the question asks the status; None for any other question or command."""
    return _kind(request, "Get", _STATUSES)


def failure_in(text: str) -> int | None:
    """The failure that a status text names, as an unsigned HRESULT; None if it names none.

    Nothing is read from words, of which nobody knows what they mean to Windows.
    """
    match = _FAILURE.search(text)
    if match is None:
        return None
    try:
        value = parse_hresult(match.group())
    except InvalidValue:
        return None
    return value if value >> 31 else None


def _kind(request: Request, verb: str, names: Mapping[RollbackKind, str]) -> RollbackKind | None:
    if request.verb != verb or "rollback" not in request.loc_uri.lower():
        return None
    try:
        segments = LocURI.parse(request.loc_uri).canonical().segments
    except InvalidLocURI:
        return None
    path = tuple(name.lower() for name in segments)
    for kind, name in names.items():
        if path == ("vendor", "msft", "update", "rollback", name.lower()):
            return kind
    return None
