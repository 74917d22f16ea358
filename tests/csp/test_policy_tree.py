"""The policies stand twice in the tree: as set by this enrolment, and as they are in effect."""

from __future__ import annotations

import pytest

from csp.policy import POLICIES, Policy, policy_uri, result_uri
from csp.policy_tree import POLICY_TREE
from csp.tree import Access, Occurrence, Scope, children_of

NODES = {node.path: node for node in POLICY_TREE}
CONFIG = NODES["./Device/Vendor/MSFT/Policy/Config/Update"]
RESULT = NODES["./Device/Vendor/MSFT/Policy/Result/Update"]


def test_both_areas_have_every_policy() -> None:
    """In the same order, and nothing else."""
    names = list(POLICIES)
    assert [node.name for node in children_of(CONFIG, POLICY_TREE)] == names
    assert [node.name for node in children_of(RESULT, POLICY_TREE)] == names
    assert len(POLICY_TREE) == len(NODES) == 2 * (len(names) + 1)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=lambda policy: policy.name)
def test_a_policy_is_written_in_one_and_read_in_the_other(policy: Policy) -> None:
    """Config is dynamic and takes values; Result has the same format, is permanent and can only be read."""
    config, result = NODES[policy_uri(policy.name)], NODES[result_uri(policy.name)]
    for node in (config, result):
        assert (node.format, node.default, node.since, node.merge) == (
            policy.format,
            policy.default,
            policy.since,
            policy.merge,
        )
        assert policy.description in node.description
    assert (config.occurrence, config.scope) == (Occurrence.ZERO_OR_ONE, Scope.DYNAMIC)
    assert (config.allowed, config.needs) == (policy.allowed, policy.needs)
    assert Access.REPLACE in config.access
    assert (result.access, result.occurrence, result.scope) == (
        Access.GET,
        Occurrence.ONE,
        Scope.PERMANENT,
    )
    assert (result.allowed, result.needs) == (None, ())
