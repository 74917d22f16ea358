"""What a SyncML status means for the command it answers: done, pointless, impossible here, or worth repeating.

The same code means different things: 404 on a Delete is success, on a policy it is a Windows that does not
know it, on `<List>/{guid}` it is an answer. So the table is keyed by command, target and code.
"""

from __future__ import annotations

from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING, Final

from csp.errors import InvalidLocURI
from csp.locuri import LocURI
from csp.tree import Scope, find_node
from syncml.status import StatusCode, is_success

if TYPE_CHECKING:
    from syncml.exchange import Request

__all__ = ["Outcome", "Target", "outcome", "target_of"]


class Outcome(StrEnum):
    """What became of a command."""

    DONE = auto()
    """It took effect, or was accepted to take effect (202), or the question is answered."""
    ALREADY_DONE = auto()
    """What it asks for was so before."""
    UNSUPPORTED = auto()
    """This device has no such node or does not allow the command on it: remember, do not repeat."""
    REFUSED = auto()
    """The device understood and declined; the same command will be declined again."""
    RETRY = auto()
    """It was not carried out for a passing reason: send it again in a later session."""
    UNKNOWN = auto()
    """No final answer came (the session broke off): it may or may not have taken effect."""


class Target(Enum):
    """The kinds of node for which codes mean different things."""

    POLICY = auto()
    """`Policy/{Config,Result}/Update/<Name>`: 404, 405 and 406 all come from builds that lack a policy."""
    GUID_NODE = auto()
    """`<List>/{guid}` of the Update CSP and its leaves: they come and go."""
    PERMANENT = auto()
    """Any other node of the Update CSP: absent only if the CSP, or that part, is."""
    OTHER = auto()
    """Everything else."""


_POLICY_AREAS: Final = frozenset(
    ("vendor", "msft", "policy", tree, "update") for tree in ("config", "result")
)
_ABSENT: Final = StatusCode.NOT_FOUND
_NOT_ALLOWED: Final = StatusCode.COMMAND_NOT_ALLOWED
_NO_FEATURE: Final = StatusCode.OPTIONAL_FEATURE_NOT_SUPPORTED

# First looked up. Where a target has no row for a verb and code, the tables below speak.
_BY_TARGET: Final[dict[tuple[str, Target, int], Outcome]] = {
    # A policy this build or edition lacks: 405 seen on real Windows, 404 and 406 documented.
    ("Add", Target.POLICY, _ABSENT): Outcome.UNSUPPORTED,
    ("Replace", Target.POLICY, _ABSENT): Outcome.UNSUPPORTED,
    # Not set (in Config: not by this enrolment); that says nothing about whether it could be.
    ("Get", Target.POLICY, _ABSENT): Outcome.DONE,
    # The update is not in that list.
    ("Get", Target.GUID_NODE, _ABSENT): Outcome.DONE,
    # No Update CSP, or Rollback on a Windows before 1803.
    ("Get", Target.PERMANENT, _ABSENT): Outcome.UNSUPPORTED,
    ("Exec", Target.PERMANENT, _ABSENT): Outcome.UNSUPPORTED,
    # The Add creates its parents, so it is the CSP that is missing.
    ("Add", Target.GUID_NODE, _ABSENT): Outcome.UNSUPPORTED,
    # Revoking is undocumented: a client that cannot do it answers 405 or 425.
    ("Delete", Target.GUID_NODE, StatusCode.PERMISSION_DENIED): Outcome.UNSUPPORTED,
}

_BY_VERB: Final[dict[tuple[str, int], Outcome]] = {
    ("Add", StatusCode.ALREADY_EXISTS): Outcome.ALREADY_DONE,
    ("Delete", _ABSENT): Outcome.ALREADY_DONE,
}

_BY_CODE: Final[dict[int, Outcome]] = {
    _NOT_ALLOWED: Outcome.UNSUPPORTED,
    _NO_FEATURE: Outcome.UNSUPPORTED,
    StatusCode.COMMAND_NOT_IMPLEMENTED: Outcome.UNSUPPORTED,
    # Acknowledged but not applied: the session or an Atomic around it ended first.
    StatusCode.CHUNKED_ITEM_ACCEPTED: Outcome.UNKNOWN,
    StatusCode.OPERATION_CANCELLED: Outcome.RETRY,
    StatusCode.NOT_EXECUTED: Outcome.RETRY,
    StatusCode.ATOMIC_ROLLED_BACK: Outcome.RETRY,
    # The message was not authenticated, so the command was not looked at.
    StatusCode.INVALID_CREDENTIALS: Outcome.RETRY,
    StatusCode.MISSING_CREDENTIALS: Outcome.RETRY,
    StatusCode.REQUEST_TIMEOUT: Outcome.RETRY,
    StatusCode.CONFLICT: Outcome.RETRY,
    StatusCode.RETRY_LATER: Outcome.RETRY,
    StatusCode.DEVICE_FULL: Outcome.RETRY,
    # Repeating these unchanged meets the same wall.
    StatusCode.DTD_VERSION_NOT_SUPPORTED: Outcome.REFUSED,
    StatusCode.PROTOCOL_VERSION_NOT_SUPPORTED: Outcome.REFUSED,
    StatusCode.ATOMIC_RESPONSE_TOO_LARGE: Outcome.REFUSED,
}


def target_of(loc_uri: str) -> Target:
    """The kind of node a LocURI addresses; a text that is no LocURI is `OTHER`."""
    try:
        uri = LocURI.parse(loc_uri).canonical()
    except InvalidLocURI:
        return Target.OTHER
    node = find_node(uri)
    if node is not None:
        return Target.GUID_NODE if node.scope is Scope.DYNAMIC else Target.PERMANENT
    *parents, _ = (name.lower() for name in uri.segments)
    return Target.POLICY if tuple(parents) in _POLICY_AREAS else Target.OTHER


def outcome(request: Request, status: int | None) -> Outcome:
    """What became of the request, from its status; None, no status at all, is UNKNOWN.

    Codes without a row of their own follow their class: 1xx UNKNOWN, 2xx DONE, 5xx RETRY (500 stands for any
    HRESULT the device could not map, so it may pass), all others REFUSED. Sources: RepPro 1.2.1 chapter 10,
    MS-MDM 2.2.6.1.
    """
    if status is None:
        return Outcome.UNKNOWN
    special = (
        _BY_TARGET.get((request.verb, target_of(request.loc_uri), status))
        or _BY_VERB.get((request.verb, status))
        or _BY_CODE.get(status)
    )
    if special is not None:
        return special
    if is_success(status):
        return Outcome.DONE
    if status < StatusCode.OK:
        return Outcome.UNKNOWN
    return Outcome.RETRY if status // 100 == 5 else Outcome.REFUSED  # noqa: PLR2004 - the class of server errors
