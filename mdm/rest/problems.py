"""Every error of the HTTP interface, rendered as one shape: RFC 9457 problems with stable codes.

`PROBLEMS` is the list clients may rely on; docs/problems.md has a heading for each (a test compares). Domain
errors become problems here and nowhere else.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import structlog
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from mdm.errors import (
    BridgeError,
    FieldError,
    Invalid,
    NotFound,
    Unavailable,
)
from mdm.rest import API_PREFIX
from mdm.rest.encoding import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.types import ExceptionHandler, Scope

__all__ = [
    "EXCEPTION_HANDLERS",
    "PROBLEMS",
    "PROBLEM_MEDIA_TYPE",
    "BodyTooLarge",
    "Problem",
    "UnsupportedMediaType",
    "problem_response",
    "problem_routes",
    "unexpected_response",
]

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"

log = structlog.get_logger(__name__)


class BodyTooLarge(BridgeError):  # noqa: N818 - named for the state, as HTTP does
    """The request body is over the limit."""

    code = "body_too_large"


class UnsupportedMediaType(BridgeError):  # noqa: N818 - as above
    """The request body is not JSON."""

    code = "unsupported_media_type"


@dataclass(frozen=True, slots=True)
class Problem:
    """A kind of problem: what its code means, and what to do about it."""

    status: int
    title: str
    meaning: str

    def __post_init__(self) -> None:
        """Refuse a status that is not one of HTTP's."""
        HTTPStatus(self.status)


PROBLEMS: Final[Mapping[str, Problem]] = {
    "malformed_body": Problem(400, "Malformed body", "The body is not a JSON document in UTF-8."),
    "unknown_parameter": Problem(
        400,
        "Unknown query parameter",
        "The query names a parameter this operation does not have. It is refused, because ignoring it would "
        "hide a mistake; `parameters` lists the ones there are.",
    ),
    "invalid_cursor": Problem(
        400,
        "Invalid cursor",
        "A cursor belongs to the list and the filters it came from. Start again without one.",
    ),
    "unauthenticated": Problem(
        401,
        "Not authenticated",
        "Send `Authorization: Bearer cspb_…` with a token that is neither expired nor revoked; "
        "`csp-bridge token create` makes one.",
    ),
    "insufficient_scope": Problem(
        403, "Insufficient scope", "The token is valid, but lacks the scope that `scope` names."
    ),
    "eula_accept_by_token_disabled": Problem(
        403,
        "EULA acceptance by tokens is switched off",
        "Accepting a licence binds the organisation. Set BRIDGE_EULA_ACCEPT_BY_TOKEN=true if a program may do it.",
    ),
    "second_person_required": Problem(
        403,
        "Second person required",
        "Whoever created the rollout or asked for the promotion cannot agree to it; somebody else has to.",
    ),
    "not_found": Problem(404, "Not found", "There is no such object or path, or none this caller may see."),
    "group_not_found": Problem(
        404, "Group not found", "There is no group with the id that `group_id` names."
    ),
    "window_not_found": Problem(
        404, "Maintenance window not found", "There is no maintenance window with this id."
    ),
    "rollback_not_found": Problem(404, "Rollback not found", "There is no rollback with this id."),
    "profile_not_found": Problem(
        404, "Policy profile not found", "There is no policy profile with the id that `profile_id` names."
    ),
    "method_not_allowed": Problem(
        405,
        "Method not allowed",
        "The path exists, but not with this method; the Allow header lists the others.",
    ),
    "conflict": Problem(409, "Conflict", "The state of things forbids the request; `detail` says why."),
    "device_exists": Problem(
        409, "Device exists", "A device with this `device_id` is enrolled already; `existing` names it."
    ),
    "device_left": Problem(
        409, "Device has left", "The device has left management; only another enrolment brings it back."
    ),
    "not_retiring": Problem(
        409, "Device is not retiring", "Nobody has asked the device to leave, so there is nothing to cancel."
    ),
    "group_exists": Problem(
        409, "Group exists", "A group with this name exists already; `existing` names it."
    ),
    "group_builtin": Problem(
        409,
        "Built-in group",
        "The bridge itself decides who is in `all-devices` and `unassigned`: they can neither be changed nor "
        "deleted, nor given or robbed of members.",
    ),
    "group_in_use": Problem(
        409, "Group in use", "Active approvals name the group; revoke those in `approvals` first."
    ),
    "group_has_windows": Problem(
        409,
        "Group has maintenance windows",
        "The windows in `windows` are for the group; delete them, or give them other groups first.",
    ),
    "group_has_plans": Problem(
        409,
        "Group has ring plans",
        "Rings of the plans in `plans` are of the group; delete those plans, or give the rings other groups first.",
    ),
    "query_exists": Problem(
        409, "Query exists", "A saved query with this name exists already; `existing` names it."
    ),
    "query_in_use": Problem(
        409, "Query in use", "Active approvals or blocks name the query; revoke those in `approvals` first."
    ),
    "query_named": Problem(
        409,
        "Query named by rules",
        "The rules in `rules` use the query; delete them, or give them other criteria first.",
    ),
    "authority_exists": Problem(
        409,
        "Certificate authority exists",
        "There is a certificate authority already; replacing it must be asked for.",
    ),
    "enrolment_user_exists": Problem(
        409, "Enrolment user exists", "An enrolment user with this name exists already; `existing` names it."
    ),
    "rule_exists": Problem(409, "Rule exists", "A rule with this name exists already; `existing` names it."),
    "rule_disabled": Problem(
        409, "Rule disabled", "A rule that is switched off does nothing, by hand neither; switch it on first."
    ),
    "group_has_rules": Problem(
        409,
        "Group has rules",
        "The rules in `rules` approve for the group; delete them, or give them other groups first.",
    ),
    "window_exists": Problem(
        409,
        "Maintenance window exists",
        "A maintenance window with this name exists already; `existing` names it.",
    ),
    "plan_exists": Problem(
        409, "Ring plan exists", "A ring plan with this name exists already; `existing` names it."
    ),
    "plan_in_use": Problem(
        409,
        "Ring plan in use",
        "The rules in `rules` start rollouts with the plan; delete them, or give them another plan first.",
    ),
    "rollout_state": Problem(
        409,
        "Not in this state",
        "The rollout is in `state`, which allows only what `possible` lists.",
    ),
    "stage_not_current": Problem(
        409,
        "Not the current stage",
        "The rollout has come to the stage `current`, or has none left. Look at it again before promoting anything.",
    ),
    "promotion_asked": Problem(
        409,
        "Promotion asked for already",
        "Somebody has asked for it; a second person approves it at `approve-promotion`.",
    ),
    "promotion_not_asked": Problem(
        409,
        "Promotion not asked for",
        "The stage has not met its gate and nobody has asked to skip it, so there is nothing to agree to.",
    ),
    "belongs_to_rollout": Problem(
        409,
        "Belongs to a rollout",
        "The rollout that `rollout` names made the approval, and only stopping it revokes its approvals, all at once.",
    ),
    "rollback_empty": Problem(
        409,
        "Nothing to roll back",
        "The groups have no devices, or all of them are in another rollback of this kind.",
    ),
    "rollback_over": Problem(
        409,
        "Rollback is over",
        "It was cancelled, or updates flow again on its devices: nothing is left to change.",
    ),
    "group_has_profiles": Problem(
        409,
        "Group has policy profiles",
        "The profiles in `profiles` are for the group; take them from it first.",
    ),
    "profile_exists": Problem(
        409, "Policy profile exists", "A policy profile with this name exists already; `existing` names it."
    ),
    "profile_assigned": Problem(
        409,
        "Policy profile in use",
        "The profile is for the groups in `groups`; take it from them first, which resets it on their devices.",
    ),
    "group_named": Problem(
        409,
        "Group named by others",
        "Those in `groups` include or exclude the group; change or delete them first.",
    ),
    "group_cycle": Problem(
        409,
        "Groups in a circle",
        "Groups would include or exclude each other, so that none could be decided: each of `path` names the next.",
    ),
    "no_upstream": Problem(
        409, "No upstream configured", "Set BRIDGE_UPSTREAM_URL to a WSUS or to Microsoft Update, then sync."
    ),
    "upstream_exists": Problem(
        409,
        "Upstream exists already",
        "The URL is in the list, or is that of BRIDGE_UPSTREAM_URL; change that entry instead.",
    ),
    "upstream_in_settings": Problem(
        409, "Upstream named by the settings", "Disable it, or unset BRIDGE_UPSTREAM_URL."
    ),
    "incomplete_filter": Problem(
        409,
        "Incomplete filter",
        "Give both `products` and `classifications`, or neither for everything the upstream has.",
    ),
    "interval_too_short": Problem(
        409,
        "Interval too short",
        "Microsoft Update is read hourly at most, any other upstream every 15 minutes.",
    ),
    "sync_ended": Problem(409, "Sync has ended", "Only a sync that is queued or running can be cancelled."),
    "eula_not_accepted": Problem(
        409,
        "EULA not accepted",
        "The update has a licence nobody has accepted. Read and accept those in `eulas`, then approve again.",
    ),
    "eula_text_changed": Problem(
        409,
        "EULA text changed",
        "`text_sha256` is not the hash of the text stored now. Fetch the EULA again, read it, accept that text.",
    ),
    "eula_text_unavailable": Problem(
        409,
        "EULA text unavailable",
        "The text in this language has not been fetched from the upstream, so nobody can have read it.",
    ),
    "update_expired": Problem(
        409, "Update expired", "Microsoft has withdrawn the update; the latest revision says it is expired."
    ),
    "approval_conflict": Problem(
        409,
        "Approval exists",
        "An active approval of the same target for the same groups exists: `existing`.",
    ),
    "body_too_large": Problem(
        413, "Body too large", "The body is over the limit that `limit` gives in bytes."
    ),
    "unsupported_media_type": Problem(
        415, "Unsupported media type", "Send the body as `Content-Type: application/json`, in UTF-8."
    ),
    "validation_failed": Problem(
        422,
        "Validation failed",
        "Each entry of `errors` names a wrong member of the body, or a query parameter, by JSON pointer.",
    ),
    "internal": Problem(
        500, "Internal error", "A fault of the service. Its log has the details under the `request_id`."
    ),
    "unavailable": Problem(
        503, "Unavailable", "A part the service needs is down. Repeat after the seconds in Retry-After."
    ),
}

_LINKED: Final[Mapping[str, tuple[str, str]]] = {
    "device_exists": ("existing", "devices"),
    "group_exists": ("existing", "groups"),
    "group_in_use": ("approvals", "approvals"),
    "group_named": ("groups", "groups"),
    "group_has_windows": ("windows", "maintenance-windows"),
    "group_has_plans": ("plans", "rollout-plans"),
    "plan_exists": ("existing", "rollout-plans"),
    "plan_in_use": ("rules", "rules"),
    "belongs_to_rollout": ("rollout", "rollouts"),
    "window_exists": ("existing", "maintenance-windows"),
    "group_has_profiles": ("profiles", "policy-profiles"),
    "profile_exists": ("existing", "policy-profiles"),
    "profile_assigned": ("groups", "groups"),
    "group_cycle": ("path", "groups"),
    "query_exists": ("existing", "queries"),
    "query_in_use": ("approvals", "approvals"),
    "query_named": ("rules", "rules"),
    "enrolment_user_exists": ("existing", "enrolment-users"),
    "rule_exists": ("existing", "rules"),
    "group_has_rules": ("rules", "rules"),
    "eula_not_accepted": ("eulas", "eulas"),
    "approval_conflict": ("existing", "approvals"),
}
"""Which member of a problem names objects, and in which collection they are: each gets its `href`."""

_CODE_OF_STATUS: Final = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}


def problem_response(
    scope: Scope,
    code: str,
    detail: str,
    *,
    members: Mapping[str, Any] | None = None,
    errors: tuple[FieldError, ...] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Render one problem for the request in `scope`; `members` never replace the standard ones."""
    kind = PROBLEMS[code]
    page = f"/problems/{_slug(code)}"
    standard: dict[str, Any] = {
        "type": page,
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "instance": scope["path"],
        "code": code,
        "request_id": scope.get("state", {}).get("request_id"),
        "documentation_url": f"{scope.get('state', {}).get('public_url') or ''}{page}",
    }
    body = standard | dict(members or {}) | standard  # the standard ones come first, and win
    if errors:
        body["errors"] = list(errors)
    return Response(to_json(body), kind.status, headers, PROBLEM_MEDIA_TYPE)


def unexpected_response(scope: Scope) -> Response:
    """The 500 for an exception nobody foresaw: the request id, and nothing about the cause."""
    return problem_response(
        scope, "internal", "The request failed; the log has the cause under this request_id."
    )


def problem_routes() -> list[Route]:
    """`GET /problems/{slug}`: what a problem's `type` and `documentation_url` lead to."""
    return [Route("/problems/{slug}", _explain, methods=["GET"])]


async def _explain(request: Request) -> Response:
    code = request.path_params["slug"].replace("-", "_")
    kind = PROBLEMS.get(code)
    if kind is None:
        raise NotFound("There is no such problem.")
    members = {"code": code, "title": kind.title, "status": kind.status, "meaning": kind.meaning}
    return Response(to_json(members), media_type="application/json")


async def _bridge_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, BridgeError)  # noqa: S101 - Starlette's handler type is wider than its registration
    members: dict[str, Any] = dict(exc.members)
    headers: dict[str, str] = dict(members.pop("headers", {}))
    if exc.code in _LINKED:
        member, collection = _LINKED[exc.code]
        members[member] = _linked(members[member], collection)
    if exc.code not in PROBLEMS:
        log.error("problem_code_unknown", code=exc.code, detail=exc.detail)
        return unexpected_response(request.scope)
    if isinstance(exc, Unavailable):
        log.warning("unavailable", detail=exc.detail, exc_info=exc.__cause__)
        headers["Retry-After"] = str(exc.retry_after)
    errors = exc.errors if isinstance(exc, Invalid) else ()
    return problem_response(
        request.scope, exc.code, exc.detail, members=members, errors=errors, headers=headers
    )


async def _http_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)  # noqa: S101 - as above
    code = _CODE_OF_STATUS.get(exc.status_code)
    if code is None:
        log.error("http_exception_unknown", status=exc.status_code, detail=exc.detail)
        return unexpected_response(request.scope)
    details = {
        "not_found": "There is nothing at this path.",
        "method_not_allowed": f"{request.method} is not possible here.",
        "body_too_large": "The body is too large.",
    }
    return problem_response(request.scope, code, details[code], headers=exc.headers)


def _linked(named: Any, collection: str) -> Any:
    """The object or objects with their paths; a domain error gives an id, or a dataclass with one.

    None stays None: an object in the way may be gone by the time somebody looks for its id.
    """
    if named is None:
        return None
    if isinstance(named, list):
        return [_linked(each, collection) for each in named]
    members = {"id": named} if isinstance(named, str) else asdict(named)
    return members | {"href": f"{API_PREFIX}/{collection}/{members['id']}"}


def _slug(code: str) -> str:
    return code.replace("_", "-")


EXCEPTION_HANDLERS: Final[Mapping[Any, ExceptionHandler]] = {
    BridgeError: _bridge_error,
    HTTPException: _http_error,
}
