"""The scopes a token can carry, and what `admin` implies."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Scope", "effective_scopes"]


class Scope(StrEnum):
    """A permission; the value is what tokens store and problem documents name."""

    DEVICES_READ = "devices.read"
    DEVICES_WRITE = "devices.write"
    CATALOG_READ = "catalog.read"
    CATALOG_SYNC = "catalog.sync"
    APPROVALS_READ = "approvals.read"
    APPROVALS_WRITE = "approvals.write"
    EULA_ACCEPT = "eula.accept"
    ROLLOUTS_READ = "rollouts.read"
    ROLLOUTS_WRITE = "rollouts.write"
    POLICIES_READ = "policies.read"
    POLICIES_WRITE = "policies.write"
    REPORTS_READ = "reports.read"
    WEBHOOKS_WRITE = "webhooks.write"
    AUDIT_READ = "audit.read"
    CONFIG_WRITE = "config.write"
    ADMIN = "admin"


IMPLIED_BY_ADMIN = frozenset(Scope) - {Scope.EULA_ACCEPT}
"""Accepting a licence binds the organisation, so no other scope may bring that right along."""


def effective_scopes(granted: Iterable[str]) -> frozenset[str]:
    """What a token with the scopes `granted` may do: `admin` implies everything except `eula.accept`.

    A name this release does not know (a token made by a newer one) is kept and matches nothing.
    """
    scopes = frozenset(granted)
    return scopes | IMPLIED_BY_ADMIN if Scope.ADMIN in scopes else scopes
