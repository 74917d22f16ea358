"""Rollback: its commands, and what its status says."""

from __future__ import annotations

import pytest

from csp.locuri import LocURI
from csp.policy import POLICIES
from csp.rollback import (
    PAUSED_BY,
    RollbackKind,
    action_kind,
    failure_in,
    rollback_action,
    rollback_status,
    status_kind,
)
from csp.tree import Access, find_node
from syncml.exchange import Request


@pytest.mark.parametrize("kind", RollbackKind)
def test_commands_address_nodes_that_take_them(kind: RollbackKind) -> None:
    """The DDF has the nodes, the action without a value, and each is known again by its kind."""
    action, status = rollback_action(kind), rollback_status(kind)
    for request, access in ((action, Access.EXEC), (status, Access.GET)):
        node = find_node(LocURI.parse(request.loc_uri).canonical())
        assert node is not None
        assert access in node.access
    assert (action.format, action.data) == ("null", None)
    assert (action_kind(action), status_kind(status)) == (kind, kind)
    assert (action_kind(status), status_kind(action)) == (None, None)
    assert PAUSED_BY[kind] in POLICIES


@pytest.mark.parametrize(
    "request_",
    [
        Request("Exec", "./Vendor/MSFT/Update/Rollback"),
        Request("Exec", "./Vendor/MSFT/Reboot/RebootNow"),
        Request("Exec", "not a LocURI"),
        Request("Exec", "no LocURI of a rollback"),
        Request("Delete", "./Vendor/MSFT/Update/Rollback/QualityUpdate"),
    ],
)
def test_other_commands_are_none_of_ours(request_: Request) -> None:
    """Whatever they are."""
    assert action_kind(request_) is None
    assert status_kind(request_) is None


def test_addresses_are_known_in_any_form() -> None:
    """With ./Device and in other cases."""
    assert (
        action_kind(Request("Exec", "./Device/Vendor/MSFT/update/Rollback/featureupdate"))
        is RollbackKind.FEATURE
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0x80240017", 0x80240017),
        ("Failed (0x800F0825).", 0x800F0825),
        ("-2145124329", 0x80240017),
        ("0", None),
        ("0x00000000", None),
        ("Rolled back", None),
        ("0x802400171", None),
        ("-4294967295", None),
        ("-999999999", 0xC4653601),
        ("2145124329", None),
        ("", None),
    ],
)
def test_only_a_failing_hresult_is_a_failure(text: str, expected: int | None) -> None:
    """Signed or in hexadecimal digits, alone or inside words; success and words are nothing."""
    assert failure_in(text) == expected
