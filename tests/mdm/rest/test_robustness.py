"""Whatever a token holder sends, the answer is a 2xx or a problem of the 4xx kind."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdm.rest.problems import PROBLEM_MEDIA_TYPE, PROBLEMS
from mdm.rest.table import OPERATIONS

if TYPE_CHECKING:
    from conftest import Api

GUIDS = st.sampled_from(["a317dafe-baf4-453f-b232-a7075efae36e", "0fa1201d-4330-4fa8-8ae9-b877473b6441"])
TEXTS = st.text(max_size=30) | st.sampled_from(["all-devices", "id-DEV1", "\x00", "%", "x" * 300]) | GUIDS
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def like(model: Any) -> st.SearchStrategy[Any]:
    """Objects with the model's members, holding mostly nonsense."""
    members = {name: VALUES | TEXTS | like_member(field) for name, field in model.model_fields.items()}
    return st.fixed_dictionaries({}, optional=members) | VALUES


def like_member(field: Any) -> st.SearchStrategy[Any]:
    """What the member could hold, if it is itself an object or a list of ids."""
    if hasattr(field.annotation, "model_fields"):
        return like(field.annotation)
    return st.lists(TEXTS, max_size=2) | st.sampled_from(
        ["approve", "update", "classification", "en", "a" * 64]
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_request_makes_a_5xx(accepting_api: Api, data: st.DataObject) -> None:
    """Random paths, queries and bodies for every operation, on both databases."""
    operation = data.draw(st.sampled_from(OPERATIONS))
    path = re.sub(r"\{\w+\}", lambda _: quote(data.draw(TEXTS.filter(usable)), safe=""), operation.path)
    names = st.sampled_from([*operation.query.model_fields, "limit", "colour"])
    query = data.draw(st.dictionaries(names, TEXTS.filter(encodable), max_size=3))
    values: dict[str, Any] = {}
    if operation.method in {"POST", "PUT"}:
        body = data.draw(like(operation.body))
        values = {"content": json.dumps(body).encode(), "headers": {"Content-Type": "application/json"}}
    response = accepting_api(operation.method, f"{path}?{urlencode(query)}", **values)
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert response.headers["content-type"] == PROBLEM_MEDIA_TYPE
        assert response.json()["code"] in PROBLEMS


def encodable(text: str) -> bool:
    """Text that can be written into a URL."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def usable(text: str) -> bool:
    """Text that a client can put into one part of a path."""
    return encodable(text) and text not in {"", ".", ".."}
