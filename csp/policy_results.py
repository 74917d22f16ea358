"""What a device says about its update policies when it is told to set or reset them, or asked what is in effect.

Every command here is on one policy: `Policy/Config/Update/<Name>` takes Replace and Delete, and
`Policy/Result/Update/<Name>`, merged over all management servers, takes Get (update-csp 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from csp.policy import POLICIES, canonical, policy_uri, result_uri
from csp.status import Outcome, outcome
from syncml.status import StatusCode, is_success

if TYPE_CHECKING:
    from collections.abc import Iterable

    from syncml.exchange import Answer

__all__ = ["PolicyAnswer", "policy_answers"]

_KINDS: Final = {
    **{("Replace", policy_uri(name)): name for name in POLICIES},
    **{("Delete", policy_uri(name)): name for name in POLICIES},
    **{("Get", result_uri(name)): name for name in POLICIES},
}
# The device wanted our credentials first: it has not looked at the command, and will get it again.
_NOT_LOOKED_AT: Final = frozenset({StatusCode.INVALID_CREDENTIALS, StatusCode.MISSING_CREDENTIALS})


@dataclass(frozen=True, slots=True)
class PolicyAnswer:
    """One command on one policy, and what became of it."""

    name: str
    verb: str
    """`Replace`, `Delete` or `Get`."""
    outcome: Outcome
    status: int
    value: str | None
    """Replace: what was to be set. Get: what is in effect, in canonical form; None for nothing."""
    error: str | None
    """msft:originalerror of the status."""


def policy_answers(answers: Iterable[Answer]) -> tuple[PolicyAnswer, ...]:
    """Those of the answers, among which there may be any others, that are about policies and were given.

    A command without a status, or that the device has not looked at, tells nothing and is left out.
    """
    found = []
    for answer in answers:
        request, status = answer.request, answer.status
        name = _KINDS.get((request.verb, request.loc_uri))
        if name is None or status is None or status in _NOT_LOOKED_AT:
            continue
        value = _value(answer, name) if request.verb == "Get" else request.data
        error = answer.original_error
        found.append(PolicyAnswer(name, request.verb, outcome(request, status), status, value, error))
    return tuple(found)


def _value(answer: Answer, name: str) -> str | None:
    """The value a Get brought; None without success, Results, or text in them."""
    if not is_success(answer.status or 0):
        return None
    texts = ((item.data or "").strip() for item in answer.items)
    return next((canonical(name, text) for text in texts if text), None)
