"""The tables, in three families: *intent* (what IT wants), *state* (what devices said), *catalogue*.

Intent rows speak of groups and never of devices; state rows speak of devices and never of approvals. A
check-in reads both and writes only state. SQLModel classes declare the schema and serve the admin side; the
check-in path uses their `__table__` with SQLAlchemy Core.

UpdateIDs, classification and EULA ids are lower-case GUIDs without braces. Migrations in `migrations/`
are the schema's history: change a table here and add a revision there in the same commit.
"""

from __future__ import annotations

from mdm.storage.tables.access import ApiToken, AuditEntry, AuditHead
from mdm.storage.tables.approvals import Approval, ApprovalGroup
from mdm.storage.tables.catalog import (
    Category,
    ListedUpdate,
    RevisionCategory,
    RevisionRelation,
    RevisionText,
    UpdateRevision,
)
from mdm.storage.tables.certificates import CertificateAuthority, IssuedCertificate
from mdm.storage.tables.devices import Device, DeviceEvent, DeviceUpdate, WithdrawalAnswer
from mdm.storage.tables.enrolment import (
    Enrolment,
    EnrolmentFailure,
    EnrolmentTicket,
    EnrolmentToken,
    EnrolmentUser,
)
from mdm.storage.tables.eulas import Eula, EulaAcceptance, EulaText
from mdm.storage.tables.evidence import ApprovalEvidence, ApprovalTrial
from mdm.storage.tables.groups import (
    ALL_DEVICES,
    UNASSIGNED,
    DeviceGroup,
    DeviceTag,
    FactsVersion,
    GroupLink,
    GroupMember,
    GroupsVersion,
    StaticMember,
)
from mdm.storage.tables.policies import DevicePolicy, PolicyAssignment, PolicyProfile, PolicySupport
from mdm.storage.tables.rollbacks import RollbackDevice, RollbackJob
from mdm.storage.tables.rollouts import (
    Rollout,
    RolloutEvent,
    RolloutPlan,
    RolloutPlanGroup,
    RolloutStage,
    RolloutUpdate,
)
from mdm.storage.tables.rules import (
    ApprovalRule,
    QueryMatch,
    RuleGroup,
    RuleNotice,
    RuleResult,
    RuleRun,
    SavedQuery,
)
from mdm.storage.tables.sessions import AuthFailure, DmPart, DmReply, DmSession
from mdm.storage.tables.upstreams import (
    NeededAnswer,
    NeededRevision,
    PendingList,
    QueuedRevision,
    SyncEvent,
    SyncRun,
    Upstream,
    UpstreamAnchor,
    UpstreamReplica,
)
from mdm.storage.tables.windows import MaintenanceWindow, WindowCatchUp, WindowGroup

__all__ = [
    "ALL_DEVICES",
    "UNASSIGNED",
    "ApiToken",
    "Approval",
    "ApprovalEvidence",
    "ApprovalGroup",
    "ApprovalRule",
    "ApprovalTrial",
    "AuditEntry",
    "AuditHead",
    "AuthFailure",
    "Category",
    "CertificateAuthority",
    "Device",
    "DeviceEvent",
    "DeviceGroup",
    "DevicePolicy",
    "DeviceTag",
    "DeviceUpdate",
    "DmPart",
    "DmReply",
    "DmSession",
    "Enrolment",
    "EnrolmentFailure",
    "EnrolmentTicket",
    "EnrolmentToken",
    "EnrolmentUser",
    "Eula",
    "EulaAcceptance",
    "EulaText",
    "FactsVersion",
    "GroupLink",
    "GroupMember",
    "GroupsVersion",
    "IssuedCertificate",
    "ListedUpdate",
    "MaintenanceWindow",
    "NeededAnswer",
    "NeededRevision",
    "PendingList",
    "PolicyAssignment",
    "PolicyProfile",
    "PolicySupport",
    "QueryMatch",
    "QueuedRevision",
    "RevisionCategory",
    "RevisionRelation",
    "RevisionText",
    "RollbackDevice",
    "RollbackJob",
    "Rollout",
    "RolloutEvent",
    "RolloutPlan",
    "RolloutPlanGroup",
    "RolloutStage",
    "RolloutUpdate",
    "RuleGroup",
    "RuleNotice",
    "RuleResult",
    "RuleRun",
    "SavedQuery",
    "StaticMember",
    "SyncEvent",
    "SyncRun",
    "UpdateRevision",
    "Upstream",
    "UpstreamAnchor",
    "UpstreamReplica",
    "WindowCatchUp",
    "WindowGroup",
    "WithdrawalAnswer",
]
