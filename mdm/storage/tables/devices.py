"""Devices and what they said: state that no administrator writes."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, CheckConstraint, Column, Index, false, text, true
from sqlmodel import Field

from mdm.storage.tables.base import SQLModel
from mdm.storage.types import UtcDateTime

__all__ = ["Device", "DeviceEvent", "DeviceUpdate", "WithdrawalAnswer"]

APPROVED = "(lists & 16) <> 0"
"""SQL for: it stands in ApprovedUpdates; as written here, because SQLite compares texts to choose an index."""


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
    certificate_required: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    """True: the certificate it was enrolled with proves it, and nothing else does. False: message credentials do."""
    renewed_serial: str | None = None
    """Serial number of the certificate that a renewal gave it, until it has shown that one."""

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
    """When the device said that it has left management; what proved it is refused from then on."""
    retire_requested_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When IT asked it to leave management; it is told at its next session, and nothing else is."""
    retire_told_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When it was told so last; no Status comes back for that."""
    sync_requested_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When somebody wanted it to check in at once; done by the first session that begins after it."""

    os_version: str | None = None
    """./DevDetail/SwV as the device wrote it, such as `10.0.26100.4652`."""
    os_edition: str | None = None
    """./DevDetail/Ext/Microsoft/OSPlatform, such as `Windows 11 Enterprise`."""
    computer_name: str | None = None
    """./DevDetail/Ext/Microsoft/DNSComputerName."""
    serial_number: str | None = None
    """./DevDetail/Ext/Microsoft/SMBIOSSerialNumber."""
    identity_read_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When it last answered the questions for these, whatever it said."""
    push_channel: str | None = None
    """Push/ChannelURI: where the Windows notification service takes notifications for it."""
    push_status: int | None = None
    """Push/Status as the device said it; 0 means that notifications work."""
    push_read_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When it last answered the questions for these two."""
    poll_schedule: str | None = None
    """The poll schedule it was given last, as the setting writes it; None: none by us."""
    enrolment_user: str | None = None
    """Who enrolled it, as far as the enrolment tells."""
    membership_version: int = Field(default=0, sa_column_kwargs={"server_default": text("0")}, index=True)
    """`groups_version.version` that its rows in `group_member` were made with."""
    membership_facts: str | None = None
    """`mdm.devices.facts.facts_key` of what they were made from."""
    plan_key: str | None = None
    """What its last plan was made from, if that plan left nothing to say (`mdm.approvals.versions`)."""
    plan_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When time alone changes that plan; None: never."""
    policies_due_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """From when on it is to be asked which policies are in effect; None: it has none of ours."""


class DeviceUpdate(SQLModel, table=True):
    """What a device's Update tree says of one GUID; one row per device and GUID, only for GUIDs it named.

    `lists` says in which lists it stands; `state` is the one an administrator reads, in the order
    pending_reboot, failed, installable, installed, and `listed` when it stands in ApprovedUpdates only.
    """

    __tablename__: ClassVar[str] = "device_update"
    __table_args__ = (
        Index("ix_device_update_update_id_state", "update_id", "state"),
        # Who holds an approval, without looking at everybody who could install the update.
        Index(
            "ix_device_update_approved",
            "update_id",
            sqlite_where=text(APPROVED),
            postgresql_where=text(APPROVED),
        ),
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
    failures: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    """Failures it has told of since it was last installed: each entry into FailedUpdates, each other HRESULT."""
    installed_time: str | None = None
    approved_time: str | None = None
    since: datetime = Field(sa_type=UtcDateTime)
    """When `state` last changed."""
    approve_status: int | None = None
    """SyncML status of the last Add on ApprovedUpdates, if it did not succeed."""
    approve_error: str | None = None
    """msft:originalerror of that status."""
    delivered_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When the device first took our Add on ApprovedUpdates; None for what others have approved there."""


class WithdrawalAnswer(SQLModel, table=True):
    """What a build of Windows answers when an approval is taken back, which no document says."""

    __tablename__: ClassVar[str] = "withdrawal_answer"

    build: str = Field(primary_key=True)
    """`os_version` of the device that answered."""
    supported: bool
    status: int
    error: str | None = None
    """msft:originalerror of that status."""
    at: datetime = Field(sa_type=UtcDateTime)


class DeviceEvent(SQLModel, table=True):
    """A device's timeline: its alerts, and what changed about its updates. The newest of each device are kept."""

    __tablename__: ClassVar[str] = "device_event"
    __table_args__ = (Index("ix_device_event_device_pk_seq", "device_pk", "seq"),)

    seq: int | None = Field(default=None, primary_key=True)
    device_pk: int = Field(foreign_key="device.pk", ondelete="CASCADE")
    at: datetime = Field(sa_type=UtcDateTime)
    kind: str
    """`alert`, `update_state`, `approval_delivered`, `approval_refused`, `approval_withdrawn`,
    `withdrawal_refused`, `rollback`, `command_failed`, `unenrolled`."""
    detail: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
