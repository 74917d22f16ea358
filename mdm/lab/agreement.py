"""Whether a bridge and a device agree: what the one says over REST against what the other's own tree shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from csp.classifications import CLASSIFICATIONS
from csp.hresult import format_hresult

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mdm.lab.cast import Member
    from mdm.lab.enrol import BridgeApi

__all__ = ["Approvals", "differences"]

_ALL_DEVICES: Final = "all-devices"


@dataclass(frozen=True, slots=True)
class Approvals:
    """What the bridge's approvals say about a device."""

    required: frozenset[str]
    """UpdateIDs and classifications that are approved for it and not held."""
    permitted: frozenset[str]
    """These, and those whose approval was revoked: nothing takes them back from a device."""

    @classmethod
    def of(cls, approvals: Iterable[dict[str, Any]], groups: Iterable[str]) -> Approvals:
        """Those of `GET /approvals` that name one of the device's groups."""
        own = {_ALL_DEVICES, *groups}
        found: dict[str, set[str]] = {"active": set(), "revoked": set(), "held": set()}
        for approval in approvals:
            if own & set(approval["group_ids"]):
                found[approval["effective_state"]].add(approval["target"]["id"])
        required = frozenset(found["active"])
        return cls(required, required | found["revoked"])


def differences(api: BridgeApi, member: Member, approvals: Approvals) -> list[str]:
    """Sentences, one for each thing the bridge believes and the device does not show, or the other way round.

    Raises ApiProblem or BridgeAway.
    """
    rows = {row["update_id"]: row for row in api.every(f"/devices/{member.id}/updates")}
    return [
        f"{member.name}: {problem}"
        for problem in (*_states(rows, member), *_approved(member, approvals), *_delivered(rows, member))
    ]


def _states(rows: dict[str, dict[str, Any]], member: Member) -> Iterable[str]:
    shown = member.states()
    errors = {
        job.update.update_id: format_hresult(job.hresult or 0) for job in member.device.windows.failed()
    }
    for update_id in sorted(rows.keys() | shown.keys()):
        told = rows[update_id]["state"] if update_id in rows else "not known"
        is_ = shown.get(update_id, "not listed")
        if told != is_:
            yield f"{update_id} is {is_} on the device, {told} to the bridge"
        elif rows[update_id]["hresult"] != errors.get(update_id):
            yield f"{update_id} failed with {errors.get(update_id)}, the bridge says {rows[update_id]['hresult']}"


def _approved(member: Member, approvals: Approvals) -> Iterable[str]:
    """ApprovedUpdates has no more than is permitted, and all of what is required and applies.

    An update that was installed before its approval came is none the device is told about any more.
    """
    listed = member.listed("ApprovedUpdates")
    applies = member.listed("InstallableUpdates") | CLASSIFICATIONS.keys()
    for guid in sorted(listed - approvals.permitted):
        yield f"{guid} is in ApprovedUpdates, and nobody approved it"
    for guid in sorted((approvals.required & applies) - listed):
        yield f"{guid} is approved and not in ApprovedUpdates"


def _delivered(rows: dict[str, dict[str, Any]], member: Member) -> Iterable[str]:
    listed = member.listed("ApprovedUpdates")
    for update_id, row in rows.items():
        known = member.device.windows.state.jobs.get(update_id)
        targets = {update_id}
        if known is not None and row["title"] is not None:
            # The classification is metadata: without any, the bridge cannot know that it is covered.
            targets.add(known.update.classification_id)
        if row["delivered"] != bool(targets & listed):
            yield f"{update_id} is {'' if row['delivered'] else 'not '}delivered, says the bridge; not so the device"
