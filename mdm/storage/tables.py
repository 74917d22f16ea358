"""The tables, in three families: *intent* (what IT wants), *state* (what devices said), *catalogue*.

Intent rows speak of groups and never of devices; state rows speak of devices and never of approvals. A
check-in reads both and writes only state. SQLModel classes declare the schema and serve the admin side; the
check-in path uses their `__table__` with SQLAlchemy Core.

UpdateIDs, classification and EULA ids are lower-case GUIDs without braces. Migrations in `migrations/`
are the schema's history: change a table here and add a revision there in the same commit.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, CheckConstraint, Column, Index, LargeBinary, UniqueConstraint
from sqlmodel import Field, SQLModel

from mdm.storage.types import UtcDateTime

__all__ = [
    "ALL_DEVICES",
    "ApiToken",
    "Approval",
    "ApprovalGroup",
    "AuditEntry",
    "AuthFailure",
    "Category",
    "Device",
    "DeviceEvent",
    "DeviceGroup",
    "DevicePolicy",
    "DeviceUpdate",
    "DmReply",
    "DmSession",
    "Eula",
    "EulaAcceptance",
    "EulaText",
    "GroupMember",
    "NeededRevision",
    "RevisionCategory",
    "RevisionRelation",
    "SyncRun",
    "UpdateRevision",
    "Upstream",
]

ALL_DEVICES = "all-devices"
"""Id of the built-in group that every device is in without a membership row."""

SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


# --- state: devices and what they said ------------------------------------------------------------------


class Device(SQLModel, table=True):
    """An enrolled device and its DM credentials; `device_id` is the Source LocURI of its messages."""

    __tablename__: ClassVar[str] = "device"

    pk: int | None = Field(default=None, primary_key=True)
    id: str = Field(unique=True)
    """Public id, opaque."""
    device_id: str = Field(unique=True)
    name: str
    created_at: datetime = Field(sa_type=UtcDateTime)

    auth_scheme: str
    """`syncml:auth-md5` or `syncml:auth-basic`."""
    auth_username: str
    auth_verifier: bytes
    """Encrypted B64(MD5(username ":" password)): verifies both schemes (OMA DM_Security 5.3)."""
    auth_nonce: str
    """Base64 of the nonce the next session must use; changed in the transaction that accepts a session."""

    last_checkin_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Last authenticated message."""
    state_read_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When Installable-, Failed-, PendingReboot- and ApprovedUpdates were last all answered."""
    installed_read_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When InstalledUpdates was last answered (asked at most daily)."""
    last_scan_time: str | None = None
    """LastSuccessfulScanTime as the device wrote it; "0" means never."""

    manufacturer: str | None = None
    model: str | None = None
    language: str | None = None
    dm_version: str | None = None
    login_status: str | None = None
    unenrolled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When the device said that its user has left management; its credentials are refused from then on."""


class DeviceUpdate(SQLModel, table=True):
    """What a device's Update tree says of one GUID; one row per device and GUID, only for GUIDs it named.

    `lists` says in which lists it stands; `state` is the one an administrator reads, in the order
    pending_reboot, failed, installable, installed, and `listed` when it stands in ApprovedUpdates only.
    """

    __tablename__: ClassVar[str] = "device_update"
    __table_args__ = (
        Index("ix_device_update_update_id_state", "update_id", "state"),
        CheckConstraint(
            "state IN ('pending_reboot', 'failed', 'installable', 'installed', 'listed')", name="state"
        ),
    )

    device_pk: int = Field(primary_key=True, foreign_key="device.pk", ondelete="CASCADE")
    update_id: str = Field(primary_key=True)
    """UpdateID, or a classification GUID in ApprovedUpdates."""
    lists: int
    """Bits of `csp.snapshot.UpdateList`: 1 installable, 2 installed, 4 failed, 8 pending_reboot, 16 approved."""
    state: str
    revision_number: int | None = None
    update_type: int | None = None
    """InstallableUpdates Type: 0 none, 1 security, 2 critical."""
    hresult: int | None = Field(default=None, sa_type=BigInteger)
    """Unsigned 32-bit HRESULT of FailedUpdates."""
    failure_state: int | None = Field(default=None, sa_type=BigInteger)
    """The bit value FailedUpdates calls State or Status (update-csp)."""
    installed_time: str | None = None
    approved_time: str | None = None
    since: datetime = Field(sa_type=UtcDateTime)
    """When `state` last changed."""
    approve_status: int | None = None
    """SyncML status of the last Add on ApprovedUpdates, if it did not succeed."""
    approve_error: str | None = None
    """msft:originalerror of that status."""


class DeviceEvent(SQLModel, table=True):
    """A device's timeline: its alerts, and what changed about its updates. The newest of each device are kept."""

    __tablename__: ClassVar[str] = "device_event"
    __table_args__ = (Index("ix_device_event_device_pk_seq", "device_pk", "seq"),)

    seq: int | None = Field(default=None, primary_key=True)
    device_pk: int = Field(foreign_key="device.pk", ondelete="CASCADE")
    at: datetime = Field(sa_type=UtcDateTime)
    kind: str
    """`alert`, `update_state`, `approval_delivered`, `approval_refused`, `unenrolled`."""
    detail: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))


class DevicePolicy(SQLModel, table=True):
    """What a device answered to one Policy/Config/Update setting."""

    __tablename__: ClassVar[str] = "device_policy"
    __table_args__ = (CheckConstraint("status IN ('set', 'unsupported', 'failed')", name="status"),)

    device_pk: int = Field(primary_key=True, foreign_key="device.pk", ondelete="CASCADE")
    name: str = Field(primary_key=True)
    status: str
    value: str | None = None
    """The value the device accepted."""
    status_code: int
    at: datetime = Field(sa_type=UtcDateTime)


class DmSession(SQLModel, table=True):
    """The one OMA DM session a device has open, or had last; `state` is `syncml.session.ServerState` as JSON."""

    __tablename__: ClassVar[str] = "dm_session"

    device_pk: int = Field(primary_key=True, foreign_key="device.pk", ondelete="CASCADE")
    session_id: str
    state: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    opened_at: datetime = Field(sa_type=UtcDateTime)
    last_message_at: datetime = Field(sa_type=UtcDateTime)


class DmReply(SQLModel, table=True):
    """A reply as it was sent, kept so that a repeated message gets the same bytes and no second effect."""

    __tablename__: ClassVar[str] = "dm_reply"

    device_pk: int = Field(primary_key=True, foreign_key="device.pk", ondelete="CASCADE")
    session_id: str = Field(primary_key=True)
    msg_id: str = Field(primary_key=True)
    request_sha256: bytes
    reply: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    sent_at: datetime = Field(sa_type=UtcDateTime)


class AuthFailure(SQLModel, table=True):
    """Refused credentials per claimed device and session: bounds the retries without touching the device."""

    __tablename__: ClassVar[str] = "auth_failure"

    device_id: str = Field(primary_key=True)
    session_id: str = Field(primary_key=True)
    failures: int
    last_at: datetime = Field(sa_type=UtcDateTime, index=True)


# --- intent: groups and approvals -----------------------------------------------------------------------


class DeviceGroup(SQLModel, table=True):
    """A named set of devices; the built-in `all-devices` has no membership rows."""

    __tablename__: ClassVar[str] = "device_group"

    id: str = Field(primary_key=True)
    name: str = Field(unique=True)
    builtin: bool = False
    created_at: datetime = Field(sa_type=UtcDateTime)


class GroupMember(SQLModel, table=True):
    """A device's membership in a static group."""

    __tablename__: ClassVar[str] = "group_member"

    device_pk: int = Field(primary_key=True, foreign_key="device.pk", ondelete="CASCADE")
    group_id: str = Field(primary_key=True, foreign_key="device_group.id", ondelete="CASCADE", index=True)


class Approval(SQLModel, table=True):
    """IT wants a target on some groups: one row however many devices they hold."""

    __tablename__: ClassVar[str] = "approval"
    __table_args__ = (
        Index("ix_approval_target_type_target_id", "target_type", "target_id"),
        CheckConstraint("target_type IN ('update', 'classification')", name="target_type"),
        CheckConstraint("action IN ('approve')", name="action"),
    )

    id: str = Field(primary_key=True)
    target_type: str
    target_id: str
    """UpdateID or classification GUID."""
    action: str
    allow_without_metadata: bool = False
    """Deliver although no upstream offers the metadata, and so nobody can know of a EULA."""
    reason: str | None = None
    created_at: datetime = Field(sa_type=UtcDateTime, index=True)
    created_by: str
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revoked_by: str | None = None


class ApprovalGroup(SQLModel, table=True):
    """A group an approval speaks of."""

    __tablename__: ClassVar[str] = "approval_group"

    approval_id: str = Field(primary_key=True, foreign_key="approval.id", ondelete="CASCADE")
    group_id: str = Field(primary_key=True, foreign_key="device_group.id", ondelete="CASCADE", index=True)


class Eula(SQLModel, table=True):
    """A licence text's identity (EulaID), which many updates share; accepted once per id."""

    __tablename__: ClassVar[str] = "eula"

    id: str = Field(primary_key=True)
    first_seen_at: datetime = Field(sa_type=UtcDateTime)


class EulaText(SQLModel, table=True):
    """One language's file of a EULA, found by digest and checked by SHA-1 and SHA-256 (metadata section 6)."""

    __tablename__: ClassVar[str] = "eula_text"

    eula_id: str = Field(primary_key=True, foreign_key="eula.id", ondelete="CASCADE")
    locale: str = Field(primary_key=True)
    file_sha1: str
    """Base64 Digest of the EulaFile."""
    file_sha256: str | None = None
    """Base64 of the AdditionalDigest, if the metadata has one."""
    url: str | None = None
    text: str | None = None
    """None until fetched and verified."""
    text_sha256: str | None = None
    """Lower-case hex SHA-256 of the file's bytes: what an acceptance must name."""
    fetched_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    error: str | None = None
    """Why the text is missing, in one sentence."""


class EulaAcceptance(SQLModel, table=True):
    """The ledger: who accepted which text of which EulaID, when and from where. Rows are never changed."""

    __tablename__: ClassVar[str] = "eula_acceptance"
    __table_args__ = (UniqueConstraint("eula_id", "text_sha256"),)

    id: str = Field(primary_key=True)
    eula_id: str = Field(foreign_key="eula.id")
    locale: str
    text_sha256: str
    accepted_by: str
    """`client:<token name>`."""
    accepted_at: datetime = Field(sa_type=UtcDateTime)
    remote_addr: str | None = None
    request_id: str | None = None


# --- catalogue ------------------------------------------------------------------------------------------


class Upstream(SQLModel, table=True):
    """A WSUS or Microsoft Update this bridge syncs from, and what must be remembered between runs."""

    __tablename__: ClassVar[str] = "upstream"

    url: str = Field(primary_key=True)
    account_guid: str
    """Identity shown to the upstream; stable per installation."""
    config_anchor: str | None = None
    category_anchor: str | None = None
    """Anchor of GetRevisionIdList(GetConfig=true); advanced after all its metadata is stored."""
    max_updates_per_request: int | None = None
    last_started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Start of the last run that called the upstream: the hourly limit counts from it."""


class UpdateRevision(SQLModel, table=True):
    """One revision of an update, category or detectoid; IT sees the one with `is_latest`."""

    __tablename__: ClassVar[str] = "update_revision"
    __table_args__ = (
        Index("ix_update_revision_is_latest_visible", "is_latest", "explicitly_deployable"),
        CheckConstraint("update_type IN ('Software', 'Driver', 'Category', 'Detectoid')", name="update_type"),
    )

    update_id: str = Field(primary_key=True)
    revision_number: int = Field(primary_key=True)
    is_latest: bool
    """True on the highest RevisionNumber of each UpdateID, and on no other."""
    update_type: str
    title: str
    description: str | None = None
    kb: str | None = Field(default=None, index=True)
    """Digits of the first KBArticleID."""
    kb_all: list[str] = Field(sa_column=Column(JSON, nullable=False))
    msrc_severity: str | None = None
    security_bulletin: str | None = None
    created: datetime | None = Field(default=None, sa_type=UtcDateTime)
    publication_state: str
    """`Published` or `Expired`."""
    explicitly_deployable: bool
    eula_id: str | None = Field(default=None, index=True)
    classification_id: str | None = Field(default=None, index=True)
    """Resolved through the category list; None while that is unknown."""
    handler: str | None = None
    reboot_behavior: str | None = None
    can_uninstall: bool = False
    max_download_size: int | None = Field(default=None, sa_type=BigInteger)
    support_url: str | None = None
    more_info_url: str | None = None
    original: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    """The document as received (UTF-8), zlib-compressed."""
    upstream_url: str
    fetched_at: datetime = Field(sa_type=UtcDateTime)


class RevisionRelation(SQLModel, table=True):
    """An edge written in a revision: `supersedes`, `bundles` or `requires`; dangling targets are normal."""

    __tablename__: ClassVar[str] = "revision_relation"
    __table_args__ = (
        Index("ix_revision_relation_kind_target_id", "kind", "target_id"),
        CheckConstraint("kind IN ('supersedes', 'bundles', 'requires')", name="kind"),
    )

    update_id: str = Field(primary_key=True)
    revision_number: int = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    clause: int = Field(primary_key=True)
    """Clauses are conjoined; the targets inside one are alternatives."""
    target_id: str = Field(primary_key=True)
    target_revision: int | None = None
    """Only `bundles` names a revision."""


class RevisionCategory(SQLModel, table=True):
    """A category a revision belongs to (AtLeastOne IsCategory="true")."""

    __tablename__: ClassVar[str] = "revision_category"

    update_id: str = Field(primary_key=True)
    revision_number: int = Field(primary_key=True)
    category_id: str = Field(primary_key=True, index=True)


class Category(SQLModel, table=True):
    """A classification, product, product family or company of the upstream's category list."""

    __tablename__: ClassVar[str] = "category"

    id: str = Field(primary_key=True)
    revision_number: int
    category_type: str | None = Field(default=None, index=True)
    """`UpdateClassification`, `Product`, `ProductFamily`, `Company`; None where the document has none."""
    title: str
    parent_id: str | None = None


class NeededRevision(SQLModel, table=True):
    """A revision some device reported: the fault-in queue, and why a GUID has no title yet."""

    __tablename__: ClassVar[str] = "needed_revision"
    __table_args__ = (
        CheckConstraint("state IN ('queued', 'synced', 'not_offered', 'failed')", name="state"),
        Index("ix_needed_revision_state_next_attempt_at", "state", "next_attempt_at"),
    )

    update_id: str = Field(primary_key=True)
    revision_number: int = Field(primary_key=True)
    """0 when the device's build does not report revisions."""
    state: str
    first_reported_at: datetime = Field(sa_type=UtcDateTime)
    attempts: int = 0
    last_attempt_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    next_attempt_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    error: str | None = None


class SyncRun(SQLModel, table=True):
    """One catalogue sync: asked for, running, or ended with its counts."""

    __tablename__: ClassVar[str] = "sync_run"
    __table_args__ = (CheckConstraint("state IN ('queued', 'running', 'succeeded', 'failed')", name="state"),)

    id: str = Field(primary_key=True)
    upstream_url: str
    trigger: str
    """`schedule`, `manual` or `command-line`."""
    requested_by: str
    state: str = Field(index=True)
    phase: str | None = None
    """What it is doing: `cookie`, `config`, `categories`, `updates`, `eulas`."""
    requested_at: datetime = Field(sa_type=UtcDateTime, index=True)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    heartbeat_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    categories: int = 0
    needed: int = 0
    fetched: int = 0
    not_offered: int = 0
    failed: int = 0
    eula_texts: int = 0
    bytes_received: int = Field(default=0, sa_type=BigInteger)
    error: str | None = None


# --- access and accountability --------------------------------------------------------------------------


class ApiToken(SQLModel, table=True):
    """A bearer token; only its SHA-256 is kept."""

    __tablename__: ClassVar[str] = "api_token"

    id: str = Field(primary_key=True)
    name: str
    token_sha256: str = Field(unique=True)
    scopes: list[str] = Field(sa_column=Column(JSON, nullable=False))
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class AuditEntry(SQLModel, table=True):
    """Who changed what: written in the transaction of the change."""

    __tablename__: ClassVar[str] = "audit_entry"

    seq: int | None = Field(default=None, primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime, index=True)
    actor: str
    action: str
    """`approval.create`, `eula.accept`, `device.create`, ..."""
    object_type: str
    object_id: str
    detail: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    request_id: str | None = None
    remote_addr: str | None = None
