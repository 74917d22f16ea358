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

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    UniqueConstraint,
    false,
    text,
    true,
)
from sqlmodel import Field, SQLModel

from mdm.storage.types import UtcDateTime

__all__ = [
    "ALL_DEVICES",
    "UNASSIGNED",
    "ApiToken",
    "Approval",
    "ApprovalGroup",
    "AuditEntry",
    "AuditHead",
    "AuthFailure",
    "Category",
    "Device",
    "DeviceEvent",
    "DeviceGroup",
    "DevicePolicy",
    "DeviceTag",
    "DeviceUpdate",
    "DmPart",
    "DmReply",
    "DmSession",
    "Eula",
    "EulaAcceptance",
    "EulaText",
    "GroupLink",
    "GroupMember",
    "GroupsVersion",
    "ListedUpdate",
    "NeededAnswer",
    "NeededRevision",
    "PendingList",
    "QueuedRevision",
    "RevisionCategory",
    "RevisionRelation",
    "RevisionText",
    "StaticMember",
    "SyncEvent",
    "SyncRun",
    "UpdateRevision",
    "Upstream",
    "UpstreamAnchor",
    "UpstreamReplica",
]

ALL_DEVICES = "all-devices"
"""Id of the built-in group that every device is in without a membership row."""

UNASSIGNED = "unassigned"
"""Id of the built-in group of the devices that are in no other one but `all-devices`."""

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
    """`syncml:auth-md5`, `syncml:auth-basic` or `syncml:auth-MAC`."""
    auth_username: str
    auth_verifier: bytes
    """Encrypted B64(MD5(username ":" password)): verifies both schemes (OMA DM_Security 5.3)."""
    auth_nonce: str
    """Base64 of the nonce the next message with credentials must use; changed with each one accepted."""
    auth_each_message: bool = Field(default=True, sa_column_kwargs={"server_default": true()})
    """True: each message proves itself (200 with the next nonce). False: the first does for the session (212)."""
    auth_nonce_before: str | None = None
    """The one before it: credentials made with it come from a device that our reply did not reach."""
    server_auth_scheme: str | None = None
    """How we prove ourselves to the device, `syncml:auth-md5` or `syncml:auth-MAC`; None: not at all."""
    server_auth_username: str | None = None
    server_auth_verifier: bytes | None = None
    """As `auth_verifier`, of our own password on this device."""
    server_auth_nonce: str | None = None
    """Base64 of the nonce the device gave us last."""

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
    sync_version: str | None = None
    """SyncApplicationVersion as the device said it; from "3.0" on it tells the error behind a status."""
    sync_version_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When it was last asked for or set."""
    unenrolled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When the device said that its user has left management; its credentials are refused from then on."""

    os_version: str | None = None
    """./DevDetail/SwV as the device wrote it, such as `10.0.26100.4652`."""
    os_edition: str | None = None
    """./DevDetail/Ext/Microsoft/OSPlatform, such as `Windows 11 Enterprise`."""
    identity_read_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When it last answered the questions for these two, whatever it said."""
    enrolment_user: str | None = None
    """Who enrolled it, as far as the enrolment tells."""
    membership_version: int = Field(default=0, sa_column_kwargs={"server_default": text("0")}, index=True)
    """`groups_version.version` that its rows in `group_member` were made with."""
    membership_facts: str | None = None
    """`mdm.devices.facts.facts_key` of what they were made from."""


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
    """`alert`, `update_state`, `approval_delivered`, `approval_refused`, `command_failed`, `unenrolled`."""
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
    error: str | None = None
    """msft:originalerror of that status."""
    at: datetime = Field(sa_type=UtcDateTime)


class DmSession(SQLModel, table=True):
    """The one OMA DM session a device has open, or had last; `state` is `syncml.session.ServerState` as JSON."""

    __tablename__: ClassVar[str] = "dm_session"
    __table_args__ = (
        Index(
            "ix_dm_session_remote_addr_open",
            "remote_addr",
            sqlite_where=text("open"),
            postgresql_where=text("open"),
        ),
    )

    device_pk: int = Field(primary_key=True, foreign_key="device.pk", ondelete="CASCADE")
    session_id: str
    state: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    opened_at: datetime = Field(sa_type=UtcDateTime)
    last_message_at: datetime = Field(sa_type=UtcDateTime)
    remote_addr: str | None = None
    """Where it was opened from."""
    open: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    """True while the device owes an answer."""


class DmPart(SQLModel, table=True):
    """Items of Results that one message of an unfinished package brought; gone when the package is over."""

    __tablename__: ClassVar[str] = "dm_part"

    device_pk: int = Field(primary_key=True, foreign_key="device.pk", ondelete="CASCADE")
    msg_id: int = Field(primary_key=True)
    items: list[Any] = Field(sa_column=Column(JSON, nullable=False))


class DmReply(SQLModel, table=True):
    """A reply as it was sent, kept so that a repeated message gets the same bytes and no second effect."""

    __tablename__: ClassVar[str] = "dm_reply"

    device_pk: int = Field(primary_key=True, foreign_key="device.pk", ondelete="CASCADE")
    session_id: str = Field(primary_key=True)
    msg_id: str = Field(primary_key=True)
    request_sha256: bytes
    reply: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    mac: str | None = None
    """The header `x-syncml-hmac` it was sent with."""
    sent_at: datetime = Field(sa_type=UtcDateTime)


class AuthFailure(SQLModel, table=True):
    """Refused credentials per claimed device and address: bounds the tries without touching the device."""

    __tablename__: ClassVar[str] = "auth_failure"

    device_pk: int = Field(primary_key=True, foreign_key="device.pk", ondelete="CASCADE")
    remote_addr: str = Field(primary_key=True)
    """Address or, of IPv6, network of a site."""
    failures: int
    last_at: datetime = Field(sa_type=UtcDateTime, index=True)
    blocked_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Until then no credentials from there are looked at."""


# --- intent: groups and approvals -----------------------------------------------------------------------


class DeviceGroup(SQLModel, table=True):
    """A named set of devices, defined by static members, a rule, and other groups."""

    __tablename__: ClassVar[str] = "device_group"

    id: str = Field(primary_key=True)
    name: str = Field(unique=True)
    builtin: bool = False
    created_at: datetime = Field(sa_type=UtcDateTime)
    rule: dict[str, Any] | None = Field(
        default=None, sa_column=Column(JSON(none_as_null=True), nullable=True)
    )
    """As `mdm.devices.rules` reads it; None: no rule."""


class GroupMember(SQLModel, table=True):
    """A device is in a group, by its definition: made from the tables below, and never by hand.

    The built-in `all-devices` has no rows.
    """

    __tablename__: ClassVar[str] = "group_member"

    device_pk: int = Field(primary_key=True, foreign_key="device.pk", ondelete="CASCADE")
    group_id: str = Field(primary_key=True, foreign_key="device_group.id", ondelete="CASCADE", index=True)


class StaticMember(SQLModel, table=True):
    """A device that somebody put into a group."""

    __tablename__: ClassVar[str] = "static_member"

    device_pk: int = Field(primary_key=True, foreign_key="device.pk", ondelete="CASCADE")
    group_id: str = Field(primary_key=True, foreign_key="device_group.id", ondelete="CASCADE", index=True)


class GroupLink(SQLModel, table=True):
    """A group includes the members of another, or excludes them; a group that is named cannot be deleted."""

    __tablename__: ClassVar[str] = "group_link"
    __table_args__ = (CheckConstraint("kind IN ('include', 'exclude')", name="kind"),)

    group_id: str = Field(primary_key=True, foreign_key="device_group.id", ondelete="CASCADE")
    kind: str = Field(primary_key=True)
    other_id: str = Field(primary_key=True, foreign_key="device_group.id", index=True)


class GroupsVersion(SQLModel, table=True):
    """One row: how often the definitions of groups have changed. Who changes one holds it locked.

    A device with a lower `membership_version` has memberships still to be worked out.
    """

    __tablename__: ClassVar[str] = "groups_version"

    id: int = Field(primary_key=True)
    """Always 1."""
    version: int
    changed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class DeviceTag(SQLModel, table=True):
    """A word that an administrator has put on a device, in small letters."""

    __tablename__: ClassVar[str] = "device_tag"

    device_pk: int = Field(primary_key=True, foreign_key="device.pk", ondelete="CASCADE")
    tag: str = Field(primary_key=True, index=True)


class Approval(SQLModel, table=True):
    """IT wants a target on some groups: one row however many devices they hold."""

    __tablename__: ClassVar[str] = "approval"
    __table_args__ = (
        Index("ix_approval_target_type_target_id", "target_type", "target_id"),
        CheckConstraint("target_type IN ('update', 'classification')", name="target_type"),
        CheckConstraint("action IN ('approve', 'block')", name="action"),
        CheckConstraint("delivery IN ('device', 'expanded')", name="delivery"),
    )

    id: str = Field(primary_key=True)
    target_type: str
    target_id: str
    """UpdateID or classification GUID."""
    action: str
    """`approve`, or `block`, which wins over every approval."""
    allow_without_metadata: bool = False
    """Deliver although no upstream offers the metadata, and so nobody can know of a EULA."""
    reason: str | None = None
    created_at: datetime = Field(sa_type=UtcDateTime, index=True)
    created_by: str
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revoked_by: str | None = None
    not_before: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Not delivered before."""
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Holds no longer from then on."""
    delivery: str = Field(default="device", sa_column_kwargs={"server_default": "device"})
    """Of a classification: its GUID goes to the `device`, or it is `expanded` into each of its updates here."""


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
    """One language's file of a EULA, found by digest and checked by SHA-1 and SHA-256 (metadata section 6).

    A file that another has taken the place of stays: somebody may have accepted its text.
    """

    __tablename__: ClassVar[str] = "eula_text"
    __table_args__ = (
        Index(
            "uq_eula_text_current",
            "eula_id",
            "locale",
            "geo_id",
            unique=True,
            sqlite_where=text("current"),
            postgresql_where=text("current"),
        ),
    )

    eula_id: str = Field(primary_key=True, foreign_key="eula.id", ondelete="CASCADE")
    locale: str = Field(primary_key=True)
    geo_id: str = Field(default="", primary_key=True, sa_column_kwargs={"server_default": text("''")})
    """ISO 3166 alpha-3 of the one country the text is for; empty for the rest of the world."""
    file_sha1: str = Field(primary_key=True)
    """Base64 Digest of the EulaFile."""
    current: bool = Field(default=True, sa_column_kwargs={"server_default": true()})
    """False once newer metadata has named another file for this language and country."""
    named_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """CreationDate of the newest revision that names this file."""
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
    geo_id: str = Field(default="", sa_column_kwargs={"server_default": text("''")})
    """As in `eula_text`."""
    text_sha256: str
    accepted_by: str
    """`client:<token name>`."""
    accepted_at: datetime = Field(sa_type=UtcDateTime)
    remote_addr: str | None = None
    request_id: str | None = None


# --- catalogue ------------------------------------------------------------------------------------------


class Upstream(SQLModel, table=True):
    """A WSUS or Microsoft Update this bridge syncs from: what it is asked for, and what is remembered of it."""

    __tablename__: ClassVar[str] = "upstream"
    __table_args__ = (CheckConstraint("mode IN ('needed', 'filtered')", name="mode"),)

    url: str = Field(primary_key=True)
    account_guid: str
    """Identity shown to the upstream; stable per installation."""
    name: str | None = None
    """What people call it."""
    listed: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    """Whether an administrator put it into the list; BRIDGE_UPSTREAM_URL is used without that."""
    position: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    """Lower ones are asked first."""
    enabled: bool = Field(default=True, sa_column_kwargs={"server_default": true()})
    mode: str = Field(default="needed", sa_column_kwargs={"server_default": "needed"})
    """`needed`: what devices report; `filtered`: that, and everything the three lists below select."""
    products: list[str] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    classifications: list[str] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    languages: list[int] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    """LCIDs; an empty list asks for every language."""
    replica: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    """Whether its groups and deployments are read as well."""
    interval_minutes: int | None = None
    """Minutes between two scheduled runs; None is BRIDGE_SYNC_INTERVAL_MINUTES."""
    max_updates_per_request: int | None = None
    last_started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Start of the last run that called the upstream: the hourly limit counts from it."""
    retry_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When to try again after a run that failed; None after one that did not."""


class UpstreamAnchor(SQLModel, table=True):
    """How far one list of an upstream has been read; advanced when all metadata of the list is stored."""

    __tablename__: ClassVar[str] = "upstream_anchor"
    __table_args__ = (
        CheckConstraint("list IN ('config', 'categories', 'updates', 'deployments')", name="list"),
    )

    upstream_url: str = Field(primary_key=True, foreign_key="upstream.url", ondelete="CASCADE")
    list: str = Field(primary_key=True)
    filter_key: str = Field(primary_key=True)
    """Which filter it was read with; empty for a list that has none."""
    anchor: str
    """As received, and sent back so."""
    covers: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    """The filter itself: what the anchor says nothing about has to be asked for in full."""
    kept_at: datetime = Field(sa_type=UtcDateTime, index=True)


class PendingList(SQLModel, table=True):
    """An answer of GetRevisionIdList whose revisions are not all stored: its anchor waits here."""

    __tablename__: ClassVar[str] = "pending_list"

    upstream_url: str = Field(primary_key=True, foreign_key="upstream.url", ondelete="CASCADE")
    list: str = Field(primary_key=True)
    filter_key: str
    anchor: str | None = None
    covers: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    listed_at: datetime = Field(sa_type=UtcDateTime)


class QueuedRevision(SQLModel, table=True):
    """A revision that a list named and the store lacks; the row goes when it is stored."""

    __tablename__: ClassVar[str] = "queued_revision"
    __table_args__ = (
        CheckConstraint("list IN ('categories', 'updates', 'closure')", name="list"),
        CheckConstraint("state IN ('queued', 'not_offered', 'failed')", name="state"),
    )

    upstream_url: str = Field(primary_key=True, foreign_key="upstream.url", ondelete="CASCADE")
    list: str = Field(primary_key=True)
    """`closure`: named by a bundle or as a prerequisite."""
    update_id: str = Field(primary_key=True)
    revision_number: int = Field(primary_key=True)
    """0: any revision; prerequisites name none."""
    state: str
    attempts: int = 0
    next_attempt_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    error: str | None = None


class UpstreamReplica(SQLModel, table=True):
    """What an upstream's own administrators decided: groups, deployments, hidden updates and accepted EULAs."""

    __tablename__: ClassVar[str] = "upstream_replica"

    upstream_url: str = Field(primary_key=True, foreign_key="upstream.url", ondelete="CASCADE")
    document: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    read_at: datetime = Field(sa_type=UtcDateTime)


class UpdateRevision(SQLModel, table=True):
    """One revision of an update, category or detectoid; IT sees the one with `is_latest`."""

    __tablename__: ClassVar[str] = "update_revision"
    __table_args__ = (
        Index(
            "uq_update_revision_latest",
            "update_id",
            unique=True,
            sqlite_where=text("is_latest"),
            postgresql_where=text("is_latest"),
        ),
        CheckConstraint("update_type IN ('Software', 'Driver', 'Category', 'Detectoid')", name="update_type"),
    )

    update_id: str = Field(primary_key=True)
    revision_number: int = Field(primary_key=True)
    is_latest: bool
    """True on the highest RevisionNumber of each UpdateID, and on no other."""
    update_type: str
    language: str | None = None
    """Of `title` and `description`: English, or the document's default; `revision_text` has the others."""
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
    """Bytes, as written; of a bundle often 0."""
    download_size: int | None = Field(default=None, sa_type=BigInteger)
    """Bytes: `max_download_size`, or what the parts of a bundle come to; None while a part is unknown."""
    support_url: str | None = None
    more_info_url: str | None = None
    driver: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    """Of a Driver: `mdm.catalog.metadata.DriverInfo`."""
    upstream_url: str
    fetched_at: datetime = Field(sa_type=UtcDateTime)
    original: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    """The document as received (UTF-8), zlib-compressed.

    The last column: SQLite reads a row from its beginning, and this one may fill hundreds of pages.
    """


class RevisionText(SQLModel, table=True):
    """What a revision says of itself in a language other than that of `update_revision.title`."""

    __tablename__: ClassVar[str] = "revision_text"

    update_id: str = Field(primary_key=True)
    revision_number: int = Field(primary_key=True)
    language: str = Field(primary_key=True)
    """Lower case: `de`, `zh-cn`."""
    title: str | None = None
    description: str | None = None


class ListedUpdate(SQLModel, table=True):
    """An update that an administrator sees, and what it is found by; derived from its highest revision.

    A full-text index over `words` hangs on this table: on SQLite the FTS5 table `listed_search`, kept by
    triggers; on PostgreSQL the generated column `lexemes` with its GIN index (migration 0004).
    """

    __tablename__: ClassVar[str] = "listed_update"

    position: int = Field(
        # INTEGER is what makes it the rowid that FTS5 knows the row by
        sa_column=Column(
            BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=False
        )
    )
    """Grows with the CreationDate: lists run from the highest down (`mdm.catalog.listing.position_of`)."""
    update_id: str = Field(unique=True)
    superseded_at: datetime | None = Field(default=None, sa_type=UtcDateTime, index=True)
    """CreationDate of the earliest published update that supersedes it; None: it is not superseded."""
    words: str
    """Words and `_facets`, separated by single spaces (`mdm.catalog.words`)."""


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


class NeededAnswer(SQLModel, table=True):
    """What one upstream said of a needed revision that it could not give."""

    __tablename__: ClassVar[str] = "needed_answer"
    __table_args__ = (CheckConstraint("state IN ('not_offered', 'failed')", name="state"),)

    upstream_url: str = Field(primary_key=True, foreign_key="upstream.url", ondelete="CASCADE")
    update_id: str = Field(primary_key=True)
    revision_number: int = Field(primary_key=True)
    state: str
    at: datetime = Field(sa_type=UtcDateTime)
    next_attempt_at: datetime = Field(sa_type=UtcDateTime)
    error: str


class SyncRun(SQLModel, table=True):
    """One catalogue sync: asked for, running, or ended with its counts."""

    __tablename__: ClassVar[str] = "sync_run"
    __table_args__ = (
        CheckConstraint("state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="state"),
    )

    id: str = Field(primary_key=True)
    upstream_url: str
    trigger: str
    """`schedule`, `manual` or `command-line`."""
    requested_by: str
    state: str = Field(index=True)
    phase: str | None = None
    """What it is doing: `cookie`, `config`, `categories`, `updates`, `closure`, `needed`, `deployments`, `eulas`."""
    requested_at: datetime = Field(sa_type=UtcDateTime, index=True)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    heartbeat_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    phase_started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    phase_total: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    """Revisions this phase has to bring."""
    phase_done: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    categories: int = 0
    needed: int = 0
    fetched: int = 0
    not_offered: int = 0
    failed: int = 0
    eula_texts: int = 0
    new: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    """Updates of which there was no revision before."""
    revised: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    expired: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    bytes_received: int = Field(default=0, sa_type=BigInteger)
    cancel_requested_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    retry_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Of a run that failed: when it is tried again."""
    error: str | None = None


class SyncEvent(SQLModel, table=True):
    """A line of a run's log, as the status messages of other sync consoles; it goes with its run."""

    __tablename__: ClassVar[str] = "sync_event"
    __table_args__ = (Index("ix_sync_event_run_id_seq", "run_id", "seq"),)

    seq: int | None = Field(default=None, primary_key=True)
    run_id: str = Field(foreign_key="sync_run.id", ondelete="CASCADE")
    at: datetime = Field(sa_type=UtcDateTime)
    kind: str
    """`started`, `in_progress`, `done`, `failed`, `interrupted`, `cancelled`."""
    phase: str | None = None
    message: str
    """One sentence."""


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
    """Who changed what: written in the transaction of the change, chained to the entry before it."""

    __tablename__: ClassVar[str] = "audit_entry"
    __table_args__ = (
        Index("ix_audit_entry_actor_seq", "actor", "seq"),
        Index("ix_audit_entry_action_seq", "action", "seq"),
        Index("ix_audit_entry_object_type_object_id_seq", "object_type", "object_id", "seq"),
        Index("ix_audit_entry_object_id_seq", "object_id", "seq"),
    )

    seq: int | None = Field(default=None, primary_key=True)
    """In commit order; without gaps from the release on that chains (`AuditHead`)."""
    at: datetime = Field(sa_type=UtcDateTime, index=True)
    actor: str
    action: str
    """`approval.create`, `eula.accept`, `device.create`, ..."""
    object_type: str
    object_id: str
    detail: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    """The circumstances."""
    before: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    """The members that the change gave another value, as they were; NULL for what did not exist."""
    after: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    """The same members as they became; NULL for what exists no longer."""
    request_id: str | None = None
    remote_addr: str | None = None
    hash: str
    """SHA-256 over all of this and the hash of the entry before, in hexadecimal (`mdm.audit_chain`)."""


class AuditHead(SQLModel, table=True):
    """Where the audit chain ends: one row, locked by whoever appends, so that entries have one order."""

    __tablename__: ClassVar[str] = "audit_head"
    __table_args__ = (CheckConstraint("id = 1", name="id"),)

    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    seq: int
    """The last entry's; 0 while there is none."""
    hash: str
