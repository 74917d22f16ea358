"""Every operation of the API, in the order of its documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mdm.rest import (
    approvals,
    audit,
    catalog,
    devices,
    enrolment,
    eulas,
    groups,
    policies,
    queries,
    reports,
    rollbacks,
    rollout_plans,
    rollouts,
    rules,
    sync,
    windows,
)

if TYPE_CHECKING:
    from mdm.rest.operations import Operation

__all__ = ["OPERATIONS"]

OPERATIONS: Final[tuple[Operation[Any, Any], ...]] = (
    *devices.OPERATIONS,
    *enrolment.OPERATIONS,
    *groups.OPERATIONS,
    *catalog.OPERATIONS,
    *sync.OPERATIONS,
    *eulas.OPERATIONS,
    *approvals.OPERATIONS,
    *queries.OPERATIONS,
    *rules.OPERATIONS,
    *rollout_plans.OPERATIONS,
    *rollouts.OPERATIONS,
    *windows.OPERATIONS,
    *reports.OPERATIONS,
    *policies.OPERATIONS,
    *rollbacks.OPERATIONS,
    *audit.OPERATIONS,
)
