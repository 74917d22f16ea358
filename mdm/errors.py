"""Domain errors of the service, as one small tree; `mdm.rest.problems` renders them, nobody else does.

BridgeError
├── NotFound        404
├── Conflict        409  the request is well formed, but the state of things forbids it
├── Invalid         422  a member is wrong; `errors` names each by JSON pointer
├── Malformed       400  not JSON, unknown parameter, bad cursor
├── Unauthenticated 401
├── Forbidden       403  the token lacks a scope
└── Unavailable     503  a part we need is down; try again
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = [
    "BridgeError",
    "Conflict",
    "FieldError",
    "Forbidden",
    "Invalid",
    "Malformed",
    "NotFound",
    "Unauthenticated",
    "Unavailable",
]


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong member of a request body."""

    pointer: str
    """JSON pointer, e.g. `/target/id`."""
    code: str
    detail: str


class BridgeError(Exception):
    """The root of the tree: `code` is the stable name clients match on, `detail` a sentence for people."""

    code: str = "internal"

    def __init__(self, detail: str, *, code: str | None = None, **members: Any) -> None:
        """`members` become extra members of the problem document (RFC 9457 section 3.2)."""
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code
        self.members: dict[str, Any] = members


class NotFound(BridgeError):  # noqa: N818 - named for the state, as HTTP does
    """No such object, or none this caller may see."""

    code = "not_found"


class Conflict(BridgeError):  # noqa: N818 - as above
    """The state of things forbids the request, e.g. `eula_not_accepted`."""

    code = "conflict"


class Invalid(BridgeError):  # noqa: N818 - as above
    """A member of the body is wrong."""

    code = "validation_failed"

    def __init__(self, detail: str, *, errors: tuple[FieldError, ...] = (), code: str | None = None) -> None:
        """`errors` name each wrong member; they become the problem's `errors` array."""
        super().__init__(detail, code=code)
        self.errors = errors


class Malformed(BridgeError):  # noqa: N818 - as above
    """The request cannot be read: `malformed_body`, `unknown_parameter`, `invalid_cursor`."""

    code = "malformed_body"


class Unauthenticated(BridgeError):  # noqa: N818 - as above
    """No valid bearer token."""

    code = "unauthenticated"


class Forbidden(BridgeError):  # noqa: N818 - as above
    """The token is valid but may not do this."""

    code = "insufficient_scope"


class Unavailable(BridgeError):  # noqa: N818 - as above
    """Something the service needs is down; repeat after `retry_after` seconds."""

    code = "unavailable"

    def __init__(self, detail: str, *, retry_after: int = 10) -> None:
        """`retry_after` goes into the Retry-After header, in seconds."""
        super().__init__(detail)
        self.retry_after = retry_after
