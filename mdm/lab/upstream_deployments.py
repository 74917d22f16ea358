"""GetDeployments: what the upstream's own administrators decided, for its replicas (MS-WSUSSS 3.1.4.10)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from mdm.lab.soap import element, text_element
from mdm.lab.upstream_context import anchor_of
from mdm.lab.upstream_cookies import timestamp

if TYPE_CHECKING:
    from mdm.lab.documents import Identity
    from mdm.lab.soap import Members
    from mdm.lab.upstream_context import Context

__all__ = ["ALL_COMPUTERS", "BUILTIN_GROUPS", "UNASSIGNED", "Deployment", "TargetGroup", "get_deployments"]

_NO_GUID: Final = "00000000-0000-0000-0000-000000000000"
_NO_DEADLINE: Final = "9999-12-31T23:59:59.9999999"
_EARLY: Final = datetime(2026, 1, 1, tzinfo=UTC)

ALL_COMPUTERS: Final = "a0a08746-4dbe-4a37-9adf-9e7652c0b421"
UNASSIGNED: Final = "b73ca6ed-5727-47f3-84de-015e03f6a88a"


@dataclass(frozen=True, slots=True)
class TargetGroup:
    """A group of computers."""

    group_id: str
    name: str
    parent_id: str | None = ALL_COMPUTERS
    """None of the root."""
    builtin: bool = False


BUILTIN_GROUPS: Final = (
    TargetGroup(ALL_COMPUTERS, "All Computers", None, builtin=True),
    TargetGroup(UNASSIGNED, "Unassigned Computers", builtin=True),
)


@dataclass(frozen=True, slots=True)
class Deployment:
    """One update for one group."""

    deployment_id: str
    identity: Identity
    group_id: str = ALL_COMPUTERS
    action: int = 0
    """0 install, 1 uninstall, 2 scan, 3 block."""
    deadline: datetime | None = None
    go_live: datetime = _EARLY
    assigned: bool = True


def get_deployments(call: Members, context: Context) -> str:
    """All groups, hidden updates and accepted licences; deployments changed or gone since the anchor."""
    anchor_of(context, call.text("syncAnchor") or "", "syncAnchor")
    text = call.text("deploymentAnchor")
    since = anchor_of(context, text, "deploymentAnchor").at if text is not None else None
    anchor = context.store.anchor(context.now)
    deployments, dead = context.store.deployments.since(since)
    return element(
        "GetDeploymentsResult",
        (
            text_element("Anchor", str(anchor)),
            element("Groups", map(_group, (*BUILTIN_GROUPS, *context.store.groups))),
            element("Deployments", map(_deployment, deployments)),
            element("DeadDeployments", map(_guid, dead)),
            element("HiddenUpdates", map(_guid, sorted(context.store.hidden_updates))),
            element("AcceptedEulas", map(_guid, sorted(context.store.accepted_eulas))),
        ),
    )


def _group(group: TargetGroup) -> str:
    return element(
        "ServerSyncTargetGroup",
        (
            text_element("TargetGroupID", group.group_id),
            text_element("ParentGroupId", group.parent_id or _NO_GUID),
            text_element("Name", group.name),
            text_element("IsBuiltin", str(group.builtin).lower()),
        ),
    )


def _deployment(deployment: Deployment) -> str:
    update_id, number = deployment.identity
    deadline = timestamp(deployment.deadline) if deployment.deadline is not None else _NO_DEADLINE
    return element(
        "ServerSyncDeployment",
        (
            text_element("UpdateId", update_id),
            text_element("RevisionNumber", str(number)),
            text_element("Action", str(deployment.action)),
            text_element("AdminName", "LAB\\administrator"),
            text_element("Deadline", deadline),
            text_element("IsAssigned", str(deployment.assigned).lower()),
            text_element("GoLiveTime", timestamp(deployment.go_live)),
            text_element("DeploymentGuid", deployment.deployment_id),
            text_element("TargetGroupId", deployment.group_id),
            text_element("DownloadPriority", "1"),
        ),
    )


def _guid(value: str) -> str:
    return text_element("guid", value)
