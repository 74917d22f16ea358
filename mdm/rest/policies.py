"""/policies, /policy-presets, /policy-profiles: what can be set, sets of it, and for whom; /devices/{id}/policies: what came of it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from csp.policy import POLICIES, Choice, Date, Range
from mdm.access.scopes import Scope
from mdm.approvals.effective import has_approvals, standing_of
from mdm.devices.registry import device_pk
from mdm.errors import NotFound
from mdm.policies.pauses import PAUSES
from mdm.policies.presets import PRESETS
from mdm.policies.preview import imagine, preview_profile
from mdm.policies.profiles import (
    MAX_RANK,
    Drift,
    PauseKind,
    ProfileDraft,
    assign_profile,
    change_profile,
    create_profile,
    delete_profile,
    get_profile,
    list_profiles,
    pause_profile,
    resume_profile,
    unassign_profile,
)
from mdm.policies.view import device_policies
from mdm.rest.fields import Body, Name, NoBody, NoQuery, ObjectId, PageQuery
from mdm.rest.operations import Call, Operation, Reply
from mdm.rollbacks.policies import rollback_policies
from mdm.windows.policies import schedule_policies

__all__ = ["OPERATIONS"]

_DAY: Final = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _day(text: str) -> str:
    """A day that exists."""
    if Date().objection(text) is not None:
        raise PydanticCustomError("invalid_date", "must be a day that exists, written yyyy-mm-dd")
    return text


Rank = Annotated[int, Field(ge=0, le=MAX_RANK)]
Day = Annotated[str, Field(max_length=10), AfterValidator(_day)]
Settings = Annotated[dict[str, Any], Field(max_length=len(POLICIES))]


class NewProfile(Body):
    """A profile to make, or as it is to be."""

    name: Name
    description: Annotated[Name, Field(max_length=200)] | None = None
    settings: Settings
    """Values by policy name: a number for a policy of format int, a text for the others."""
    drift: Drift = "repair"
    """What to do about a device that shows another value: `repair` it, or only `report` it."""

    def draft(self) -> ProfileDraft:
        """The same, as the domain has it."""
        return ProfileDraft(self.name, self.settings, self.description, self.drift)


class NewAssignment(Body):
    """How a profile is to hold for a group."""

    rank: Rank
    """Of two profiles that set one policy on a device, the one with the lower rank wins."""


class NewPause(Body):
    """A pause to begin, or to extend."""

    since: Day | None = None
    """Its first day, in UTC; left out: today. It lasts 35 days."""


class ImaginedAssignment(NewAssignment):
    """A group that a profile would be for."""

    group_id: ObjectId


class ImaginedProfile(Body):
    """A profile that is only thought of; what is left out stays as it is."""

    profile_id: ObjectId | None = None
    """Left out: a new one."""
    settings: Settings | None = None
    assignments: Annotated[tuple[ImaginedAssignment, ...], Field(max_length=100)] | None = None
    """An empty list: the profile is taken from all its groups."""


def _list_policies(call: Call[NoQuery, NoBody]) -> Reply:
    del call
    policies = [
        {
            "name": policy.name,
            "format": policy.format,
            "allowed": _allowed(policy.allowed),
            "default": policy.default,
            "since": policy.since,
            "description": policy.description,
            "needs": [{"name": need.name, "values": need.values} for need in policy.needs],
        }
        for policy in POLICIES.values()
    ]
    return Reply({"policies": policies})


def _allowed(allowed: object) -> dict[str, Any]:
    if isinstance(allowed, Choice):
        return {"values": allowed.values}
    if isinstance(allowed, Range):
        return {"minimum": allowed.low, "maximum": allowed.high}
    return {"pattern": _DAY.pattern if isinstance(allowed, Date) else getattr(allowed, "pattern", None)}


def _list_presets(call: Call[NoQuery, NoBody]) -> Reply:
    del call
    return Reply({"presets": PRESETS})


def _create(call: Call[NoQuery, NewProfile]) -> Reply:
    profile = create_profile(call.conn, call.origin, call.body.draft(), now=call.now)
    return Reply.created(f"/policy-profiles/{profile.id}", profile)


def _list(call: Call[PageQuery, NoBody]) -> Reply:
    position = call.position(call.query, str)
    after = None if position.after is None else position.after[0]
    rows = list_profiles(call.conn, after=after, limit=position.fetch, now=call.now)
    return Reply.of_page(position.page(rows, key=lambda row: (row.name,)))


def _get(call: Call[NoQuery, NoBody]) -> Reply:
    return Reply(get_profile(call.conn, call.path_params["profile"], now=call.now))


def _change(call: Call[NoQuery, NewProfile]) -> Reply:
    profile = call.path_params["profile"]
    return Reply(change_profile(call.conn, call.origin, profile, call.body.draft(), now=call.now))


def _delete(call: Call[NoQuery, NoBody]) -> Reply:
    delete_profile(call.conn, call.origin, call.path_params["profile"], now=call.now)
    return Reply()


def _assign(call: Call[NoQuery, NewAssignment]) -> Reply:
    profile, group = call.path_params["profile"], call.path_params["group"]
    return Reply(assign_profile(call.conn, call.origin, profile, group, rank=call.body.rank, now=call.now))


def _unassign(call: Call[NoQuery, NoBody]) -> Reply:
    profile, group = call.path_params["profile"], call.path_params["group"]
    return Reply(unassign_profile(call.conn, call.origin, profile, group, now=call.now))


def _pause(call: Call[NoQuery, NewPause]) -> Reply:
    kind, since = _kind(call.path_params["kind"]), call.body.since
    day = None if since is None else date.fromisoformat(since)
    profile = call.path_params["profile"]
    return Reply(pause_profile(call.conn, call.origin, profile, kind, since=day, now=call.now))


def _resume(call: Call[NoQuery, NoBody]) -> Reply:
    kind, profile = _kind(call.path_params["kind"]), call.path_params["profile"]
    return Reply(resume_profile(call.conn, call.origin, profile, kind, now=call.now))


def _kind(text: str) -> PauseKind:
    if text == "quality":
        return "quality"
    if text == "feature":
        return "feature"
    raise NotFound(f"Only these can be paused: {', '.join(PAUSES)}.")


def _preview(call: Call[NoQuery, ImaginedProfile]) -> Reply:
    body = call.body
    ranks = None if body.assignments is None else [(each.group_id, each.rank) for each in body.assignments]
    imagined = imagine(call.conn, body.profile_id, settings=body.settings, ranks=ranks)
    return Reply(preview_profile(call.conn, imagined, call.now))


def _of_device(call: Call[NoQuery, NoBody]) -> Reply:
    pk = device_pk(call.conn, call.path_params["device"])
    managed = call.services.settings.manage_require_update_approval
    approvals = has_approvals(call.conn, standing_of(call.conn, pk), call.now) if managed else None
    pauses = rollback_policies(call.conn, pk, call.now)
    schedule = schedule_policies(call.conn, pk, call.now)
    shown = device_policies(
        call.conn, pk, call.now, approvals=approvals, above=pauses.values, below=schedule.values
    )
    moments = (shown.until, pauses.until, schedule.until)
    return Reply(replace(shown, until=min((each for each in moments if each is not None), default=None)))


OPERATIONS = (
    Operation(
        method="GET",
        path="/policies",
        scope=Scope.POLICIES_READ,
        handler=_list_policies,
        query=NoQuery,
        body=NoBody,
        summary="List the update policies of Windows, their values and what they need",
    ),
    Operation(
        method="GET",
        path="/policy-presets",
        scope=Scope.POLICIES_READ,
        handler=_list_presets,
        query=NoQuery,
        body=NoBody,
        summary="List sets of values to start a profile from",
    ),
    Operation(
        method="POST",
        path="/policy-profiles",
        scope=Scope.POLICIES_WRITE,
        handler=_create,
        query=NoQuery,
        body=NewProfile,
        status=201,
        summary="Make a policy profile; it is for nobody yet",
    ),
    Operation(
        method="GET",
        path="/policy-profiles",
        scope=Scope.POLICIES_READ,
        handler=_list,
        query=PageQuery,
        body=NoBody,
        summary="List policy profiles by name",
    ),
    Operation(
        method="POST",
        path="/policy-profiles/preview",
        scope=Scope.POLICIES_READ,
        handler=_preview,
        query=NoQuery,
        body=ImaginedProfile,
        reads_only=True,
        summary="Show what a change of a profile would come to; nothing is stored",
    ),
    Operation(
        method="GET",
        path="/policy-profiles/{profile}",
        scope=Scope.POLICIES_READ,
        handler=_get,
        query=NoQuery,
        body=NoBody,
        summary="Read a policy profile with its groups and pauses",
    ),
    Operation(
        method="PUT",
        path="/policy-profiles/{profile}",
        scope=Scope.POLICIES_WRITE,
        handler=_change,
        query=NoQuery,
        body=NewProfile,
        summary="Give a policy profile these settings and no others; its groups stay",
    ),
    Operation(
        method="DELETE",
        path="/policy-profiles/{profile}",
        scope=Scope.POLICIES_WRITE,
        handler=_delete,
        query=NoQuery,
        body=NoBody,
        status=204,
        summary="Delete a policy profile that is for no group",
    ),
    Operation(
        method="PUT",
        path="/policy-profiles/{profile}/groups/{group}",
        scope=Scope.POLICIES_WRITE,
        handler=_assign,
        query=NoQuery,
        body=NewAssignment,
        summary="Make a policy profile hold for a group, or change its rank there",
    ),
    Operation(
        method="DELETE",
        path="/policy-profiles/{profile}/groups/{group}",
        scope=Scope.POLICIES_WRITE,
        handler=_unassign,
        query=NoQuery,
        body=NoBody,
        summary="Take a policy profile from a group; what it alone set is reset on the devices",
    ),
    Operation(
        method="PUT",
        path="/policy-profiles/{profile}/pauses/{kind}",
        scope=Scope.POLICIES_WRITE,
        handler=_pause,
        query=NoQuery,
        body=NewPause,
        summary="Pause quality or feature updates for 35 days, or extend the pause",
    ),
    Operation(
        method="DELETE",
        path="/policy-profiles/{profile}/pauses/{kind}",
        scope=Scope.POLICIES_WRITE,
        handler=_resume,
        query=NoQuery,
        body=NoBody,
        summary="Resume quality or feature updates",
    ),
    Operation(
        method="GET",
        path="/devices/{device}/policies",
        scope=Scope.DEVICES_READ,
        handler=_of_device,
        query=NoQuery,
        body=NoBody,
        summary="Show a device's policies: wanted by whom, in force or why not",
    ),
)
