"""The parts request models are made of: strict bodies, strict queries, and text that storage can hold."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from csp.errors import InvalidGuid
from csp.guid import parse_guid
from mdm.errors import FieldError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "MAX_PAGE",
    "Body",
    "Flag",
    "Guid",
    "Name",
    "NoBody",
    "NoQuery",
    "ObjectId",
    "PageQuery",
    "Query",
    "SearchText",
    "TargetId",
    "field_errors",
    "printable",
]

MAX_PAGE: Final = 500
_DEFAULT_PAGE: Final = 50
_MAX_ERRORS: Final = 20
"""Wrong members named in one answer."""

_QUERY_ID: Final = re.compile(r"qry_[0-9a-f]{20}")

_MAX_POINTER: Final = 200
"""Characters of a pointer: its parts are the client's text."""


def printable(text: str) -> bool:
    """True for text without control characters: PostgreSQL refuses NUL, and the others only forge lines."""
    return not any(unicodedata.category(character) in {"Cc", "Cs"} for character in text)


def _printable(text: str) -> str:
    if not printable(text):
        raise PydanticCustomError("control_character", "must not contain control characters")
    return text


def _guid(text: str) -> str:
    try:
        return parse_guid(text)
    except InvalidGuid:
        raise PydanticCustomError(
            "invalid_guid", "must be a GUID like 0fa1201d-4330-4fa8-8ae9-b877473b6441, with or without braces"
        ) from None


def _target_id(text: str) -> str:
    return text if _QUERY_ID.fullmatch(text) else _guid(text)


def _flag(text: Any) -> Any:
    return {"true": True, "false": False}.get(text, text)


def _digits(text: Any) -> Any:
    if isinstance(text, str) and not (text.isascii() and text.isdigit()):
        raise PydanticCustomError("not_digits", "must be a whole number, in digits")
    return text


Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_printable)
]
"""Text for people, on one line."""

ObjectId = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_printable)]
"""An opaque id, as given out by this API."""

SearchText = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_printable)]

Guid = Annotated[str, StringConstraints(max_length=100), AfterValidator(_guid)]
"""A GUID in any of its forms; lower-case without braces afterwards."""

TargetId = Annotated[str, StringConstraints(max_length=100), AfterValidator(_target_id)]
"""A GUID, or the id of a saved query."""

Flag = Annotated[bool, BeforeValidator(_flag), Field(strict=True)]
"""`true` or `false` in a query, and no other spelling."""


class Body(BaseModel):
    """A request body: no unknown member, no conversion between JSON types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NoBody(Body):
    """An operation that takes none; an empty body and `{}` are the same."""


class Query(BaseModel):
    """The query parameters of an operation; unknown ones are refused before the model is asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoQuery(Query):
    """An operation without query parameters."""


class PageQuery(Query):
    """The parameters of every list."""

    limit: Annotated[int, BeforeValidator(_digits), Field(ge=1, le=MAX_PAGE)] = _DEFAULT_PAGE
    cursor: str | None = Field(None, max_length=2000)


_CODES: Final = {
    "missing": "required",
    "extra_forbidden": "unknown_member",
    "string_too_short": "too_short",
    "string_too_long": "too_long",
    "too_short": "too_short",
    "too_long": "too_long",
    "string_type": "wrong_type",
    "bool_type": "wrong_type",
    "int_type": "wrong_type",
    "list_type": "wrong_type",
    "dict_type": "wrong_type",
    "tuple_type": "wrong_type",
    "model_type": "wrong_type",
    "model_attributes_type": "wrong_type",
    "control_character": "control_character",
    "invalid_guid": "invalid_guid",
}
"""pydantic's error types under the names this API promises; the rest are `invalid_value`."""


def field_errors(error: ValidationError) -> tuple[FieldError, ...]:
    """The wrong members by JSON pointer (RFC 6901), without the values that were sent."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return tuple(
        FieldError(_pointer(entry["loc"]), _CODES.get(entry["type"], "invalid_value"), f"{entry['msg']}.")
        for entry in found[:_MAX_ERRORS]
    )


def _pointer(location: Sequence[str | int]) -> str:
    parts = (str(part).replace("~", "~0").replace("/", "~1") for part in location)
    return "".join(f"/{part}" for part in parts)[:_MAX_POINTER]
