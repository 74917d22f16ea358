"""Every operation of the API, in the order of its documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mdm.rest import (
    approvals,
    audit,
    authorities,
    catalog,
    departure,
    devices,
    enrolment,
    enrolment_terms,
    eulas,
    groups,
    policies,
    push,
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
    *departure.OPERATIONS,
    *push.OPERATIONS,
    *enrolment_terms.OPERATIONS,
    *enrolment.OPERATIONS,
    *authorities.OPERATIONS,
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
