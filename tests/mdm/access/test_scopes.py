"""Scopes: what `admin` implies, and what nothing implies."""

from __future__ import annotations

import pytest

from mdm.access.scopes import Scope, effective_scopes


def test_admin_implies_everything_but_eula_acceptance() -> None:
    """A token with `admin` may do all, except bind the organisation to a licence."""
    assert effective_scopes([Scope.ADMIN]) == set(Scope) - {Scope.EULA_ACCEPT}


def test_eula_accept_stands_alone() -> None:
    """Both scopes together allow both, and `eula.accept` alone allows nothing else."""
    assert effective_scopes(["admin", "eula.accept"]) == set(Scope)
    assert effective_scopes(["eula.accept"]) == {"eula.accept"}


@pytest.mark.parametrize("scopes", [[], ["devices.read"], ["devices.read", "made.up"]])
def test_other_scopes_imply_nothing(scopes: list[str]) -> None:
    """Without `admin` a token may do exactly what it says."""
    assert effective_scopes(scopes) == set(scopes)


def test_the_names_are_the_documented_ones() -> None:
    """The values are stored in tokens and must not change."""
    assert " ".join(Scope) == (
        "devices.read devices.write catalog.read catalog.sync approvals.read approvals.write eula.accept "
        "rollouts.read rollouts.write policies.read policies.write reports.read webhooks.write audit.read "
        "config.write admin"
    )
