"""`Policy/Config/Update` and `Policy/Result/Update` as trees, made from `csp.policy.POLICIES`.

Config holds what this enrolment has set; Result holds what is in effect, merged over all providers, and is
read only. Sources: the DDF of the area (2024-06), and for Result the Policy DDF of Windows 10 1903.
"""

from __future__ import annotations

from typing import Final

from csp.policy import ACCESS, OCCURRENCE, POLICIES, Policy, policy_uri, result_uri
from csp.tree import Access, Node, Occurrence, Scope

__all__ = ["POLICY_TREE"]

_OLDEST: Final = "1507"
_MIME: Final = "com.microsoft/11/MDM/Policy"


def _area(path: str, mime: str | None, description: str) -> Node:
    return Node(
        path, "node", Access.GET, Occurrence.ONE, Scope.PERMANENT, _OLDEST, None, description, mime=mime
    )


def _setting(policy: Policy) -> Node:
    return Node(
        policy_uri(policy.name),
        policy.format,
        ACCESS,
        OCCURRENCE,
        Scope.DYNAMIC,
        policy.since,
        policy.default,
        policy.description,
        allowed=policy.allowed,
        merge=policy.merge,
        needs=policy.needs,
    )


def _result(policy: Policy) -> Node:
    return Node(
        result_uri(policy.name),
        policy.format,
        Access.GET,
        Occurrence.ONE,
        Scope.PERMANENT,
        policy.since,
        policy.default,
        f"In effect, over all providers: {policy.description}",
        merge=policy.merge,
    )


POLICY_TREE: Final[tuple[Node, ...]] = (
    _area("./Device/Vendor/MSFT/Policy/Config/Update", _MIME, "Update policies that this enrolment sets."),
    *map(_setting, POLICIES.values()),
    _area("./Device/Vendor/MSFT/Policy/Result/Update", None, "Update policies in effect on the device."),
    *map(_result, POLICIES.values()),
)
"""Both areas, each with a node for every policy."""
