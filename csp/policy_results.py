"""What a device says about its update policies when it is told to set or reset them, or asked what is in effect.

Every command here is on one policy: `Policy/Config/Update/<Name>` takes Replace and Delete, and
`Policy/Result/Update/<Name>`, merged over all management servers, takes Get (update-csp 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from csp.answers import NOT_LOOKED_AT, text_of
from csp.policy import POLICIES, canonical, policy_uri, result_uri
from csp.status import Outcome, outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from syncml.exchange import Answer

__all__ = ["PolicyAnswer", "policy_answers"]

_KINDS: Final = {
    **{("Replace", policy_uri(name)): name for name in POLICIES},
    **{("Delete", policy_uri(name)): name for name in POLICIES},
    **{("Get", result_uri(name)): name for name in POLICIES},
}


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
        if name is None or status is None or status in NOT_LOOKED_AT:
            continue
        value = request.data
        if request.verb == "Get":
            text = text_of(answer)
            value = None if text is None else canonical(name, text)
        error = answer.original_error
        found.append(PolicyAnswer(name, request.verb, outcome(request, status), status, value, error))
    return tuple(found)
