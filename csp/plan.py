"""The commands that take a device from what it reported to what IT wants, and nothing beyond.

Replace sets a policy, Delete resets one that the caller says we set, Add approves. Revoking an approval would be a
Delete too, but the Update CSP documents none for ApprovedUpdates, so a plan never holds one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from csp.guid import guid_segment, parse_guid
from csp.policy import POLICIES, policy_uri, same_value
from syncml.exchange import Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Desired", "Reported", "plan"]

_APPROVED: Final = "./Vendor/MSFT/Update/ApprovedUpdates"


@dataclass(frozen=True, slots=True)
class Desired:
    """What IT wants on a device; the caller has checked that the licence terms are accepted."""

    updates: frozenset[str] = frozenset()
    """UpdateIDs approved for it."""
    classifications: frozenset[str] = frozenset()
    """Classification GUIDs approved for it."""
    policies: Mapping[str, str] = field(default_factory=dict)
    """Values of `Policy/Config/Update` by policy name, each passed by `csp.policy.validate`."""
    unset: frozenset[str] = frozenset()
    """Names of policies we have set and want to set no longer; one that has a value too is set."""


@dataclass(frozen=True, slots=True)
class Reported:
    """What the device said, in this session or the last."""

    installable: frozenset[str] = frozenset()
    """GUIDs in InstallableUpdates."""
    approved: frozenset[str] = frozenset()
    """GUIDs in ApprovedUpdates, updates and classifications alike."""
    policies: Mapping[str, str] = field(default_factory=dict)
    """Values the device confirmed or showed, by policy name."""
    unsupported: frozenset[str] = frozenset()
    """Names of policies that the device, or others of its build, answered not to have."""


def plan(desired: Desired, reported: Reported) -> tuple[Request, ...]:
    """The commands to send, in order; none once the device reports all that is desired.

    Policies come first, because RequireUpdateApproval must hold before anything is approved, and each is its
    own command, because in an Atomic one unsupported policy would undo all. Deletes follow the Replaces, so
    that what takes the place of an old policy holds before that goes. A classification is added whatever
    the device offers; an update only while it is installable. Within each kind the order is that of names
    and GUIDs.

    Raises InvalidValue for a policy name outside `POLICIES`, InvalidGuid for what is not a GUID.
    """
    approved = _guids(reported.approved)
    classifications = _guids(desired.classifications) - approved
    updates = (_guids(desired.updates) & _guids(reported.installable)) - approved - classifications
    return (
        *(
            _replace(name, value)
            for name, value in sorted(desired.policies.items())
            if name not in reported.unsupported and not same_value(name, reported.policies.get(name), value)
        ),
        *(Request("Delete", policy_uri(name)) for name in sorted(desired.unset - desired.policies.keys())),
        *map(_approve, sorted(classifications)),
        *map(_approve, sorted(updates)),
    )


def _guids(texts: Iterable[str]) -> set[str]:
    return {parse_guid(text) for text in texts}


def _replace(name: str, value: str) -> Request:
    uri = policy_uri(name)
    return Request("Replace", uri, format=POLICIES[name].format, type="text/plain", data=value)


def _approve(guid: str) -> Request:
    return Request("Add", f"{_APPROVED}/{guid_segment(guid)}", format="node")
