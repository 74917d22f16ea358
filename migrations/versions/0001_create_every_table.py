"""Create every table, and the built-in group of all devices.

Revision ID: 0001
Revises:
Create Date: 2026-11-21
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_token",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("token_sha256", sa.String(), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_token")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_api_token_token_sha256")),
    )
    op.create_table(
        "approval",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("target_type", sa.String(), nullable=False),
        sa.Column("target_id", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("allow_without_metadata", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_by", sa.String(), nullable=True),
        sa.CheckConstraint("action IN ('approve')", name=op.f("ck_approval_action")),
        sa.CheckConstraint(
            "target_type IN ('update', 'classification')", name=op.f("ck_approval_target_type")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approval")),
    )
    op.create_index(op.f("ix_approval_created_at"), "approval", ["created_at"])
    op.create_index(op.f("ix_approval_target_type_target_id"), "approval", ["target_type", "target_id"])

    op.create_table(
        "audit_entry",
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("object_type", sa.String(), nullable=False),
        sa.Column("object_id", sa.String(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=True),
        sa.Column("remote_addr", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_entry")),
    )
    op.create_index(op.f("ix_audit_entry_at"), "audit_entry", ["at"])

    op.create_table(
        "auth_failure",
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("session_id", sa.String(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("device_id", "session_id", name=op.f("pk_auth_failure")),
    )
    op.create_index(op.f("ix_auth_failure_last_at"), "auth_failure", ["last_at"])

    op.create_table(
        "category",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("revision_number", sa.Integer(), nullable=False),
        sa.Column("category_type", sa.String(), nullable=True),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("parent_id", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_category")),
    )
    op.create_index(op.f("ix_category_category_type"), "category", ["category_type"])

    op.create_table(
        "device",
        sa.Column("pk", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("auth_scheme", sa.String(), nullable=False),
        sa.Column("auth_username", sa.String(), nullable=False),
        sa.Column("auth_verifier", sa.LargeBinary(), nullable=False),
        sa.Column("auth_nonce", sa.String(), nullable=False),
        sa.Column("last_checkin_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("state_read_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("installed_read_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_scan_time", sa.String(), nullable=True),
        sa.Column("manufacturer", sa.String(), nullable=True),
        sa.Column("model", sa.String(), nullable=True),
        sa.Column("language", sa.String(), nullable=True),
        sa.Column("dm_version", sa.String(), nullable=True),
        sa.Column("login_status", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_device")),
        sa.UniqueConstraint("device_id", name=op.f("uq_device_device_id")),
        sa.UniqueConstraint("id", name=op.f("uq_device_id")),
    )
    op.create_table(
        "device_group",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("builtin", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device_group")),
        sa.UniqueConstraint("name", name=op.f("uq_device_group_name")),
    )
    op.create_table(
        "eula",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_eula")),
    )
    op.create_table(
        "needed_revision",
        sa.Column("update_id", sa.String(), nullable=False),
        sa.Column("revision_number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("first_reported_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.CheckConstraint(
            "state IN ('queued', 'synced', 'not_offered', 'failed')", name=op.f("ck_needed_revision_state")
        ),
        sa.PrimaryKeyConstraint("update_id", "revision_number", name=op.f("pk_needed_revision")),
    )
    op.create_index(
        op.f("ix_needed_revision_state_next_attempt_at"), "needed_revision", ["state", "next_attempt_at"]
    )

    op.create_table(
        "revision_category",
        sa.Column("update_id", sa.String(), nullable=False),
        sa.Column("revision_number", sa.Integer(), nullable=False),
        sa.Column("category_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint(
            "update_id", "revision_number", "category_id", name=op.f("pk_revision_category")
        ),
    )
    op.create_index(op.f("ix_revision_category_category_id"), "revision_category", ["category_id"])

    op.create_table(
        "revision_relation",
        sa.Column("update_id", sa.String(), nullable=False),
        sa.Column("revision_number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("clause", sa.Integer(), nullable=False),
        sa.Column("target_id", sa.String(), nullable=False),
        sa.Column("target_revision", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('supersedes', 'bundles', 'requires')", name=op.f("ck_revision_relation_kind")
        ),
        sa.PrimaryKeyConstraint(
            "update_id", "revision_number", "kind", "clause", "target_id", name=op.f("pk_revision_relation")
        ),
    )
    op.create_index(op.f("ix_revision_relation_kind_target_id"), "revision_relation", ["kind", "target_id"])

    op.create_table(
        "sync_run",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("upstream_url", sa.String(), nullable=False),
        sa.Column("trigger", sa.String(), nullable=False),
        sa.Column("requested_by", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("phase", sa.String(), nullable=True),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("categories", sa.Integer(), nullable=False),
        sa.Column("needed", sa.Integer(), nullable=False),
        sa.Column("fetched", sa.Integer(), nullable=False),
        sa.Column("not_offered", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("eula_texts", sa.Integer(), nullable=False),
        sa.Column("bytes_received", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed')", name=op.f("ck_sync_run_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sync_run")),
    )
    op.create_index(op.f("ix_sync_run_requested_at"), "sync_run", ["requested_at"])
    op.create_index(op.f("ix_sync_run_state"), "sync_run", ["state"])

    op.create_table(
        "update_revision",
        sa.Column("update_id", sa.String(), nullable=False),
        sa.Column("revision_number", sa.Integer(), nullable=False),
        sa.Column("is_latest", sa.Boolean(), nullable=False),
        sa.Column("update_type", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("kb", sa.String(), nullable=True),
        sa.Column("kb_all", sa.JSON(), nullable=False),
        sa.Column("msrc_severity", sa.String(), nullable=True),
        sa.Column("security_bulletin", sa.String(), nullable=True),
        sa.Column("created", sa.DateTime(timezone=True), nullable=True),
        sa.Column("publication_state", sa.String(), nullable=False),
        sa.Column("explicitly_deployable", sa.Boolean(), nullable=False),
        sa.Column("eula_id", sa.String(), nullable=True),
        sa.Column("classification_id", sa.String(), nullable=True),
        sa.Column("handler", sa.String(), nullable=True),
        sa.Column("reboot_behavior", sa.String(), nullable=True),
        sa.Column("can_uninstall", sa.Boolean(), nullable=False),
        sa.Column("max_download_size", sa.BigInteger(), nullable=True),
        sa.Column("support_url", sa.String(), nullable=True),
        sa.Column("more_info_url", sa.String(), nullable=True),
        sa.Column("original", sa.LargeBinary(), nullable=False),
        sa.Column("upstream_url", sa.String(), nullable=False),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "update_type IN ('Software', 'Driver', 'Category', 'Detectoid')",
            name=op.f("ck_update_revision_update_type"),
        ),
        sa.PrimaryKeyConstraint("update_id", "revision_number", name=op.f("pk_update_revision")),
    )
    op.create_index(op.f("ix_update_revision_classification_id"), "update_revision", ["classification_id"])
    op.create_index(op.f("ix_update_revision_eula_id"), "update_revision", ["eula_id"])
    op.create_index(
        op.f("ix_update_revision_is_latest_visible"),
        "update_revision",
        ["is_latest", "explicitly_deployable"],
    )
    op.create_index(op.f("ix_update_revision_kb"), "update_revision", ["kb"])

    op.create_table(
        "upstream",
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("account_guid", sa.String(), nullable=False),
        sa.Column("config_anchor", sa.String(), nullable=True),
        sa.Column("category_anchor", sa.String(), nullable=True),
        sa.Column("max_updates_per_request", sa.Integer(), nullable=True),
        sa.Column("last_started_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("url", name=op.f("pk_upstream")),
    )
    op.create_table(
        "approval_group",
        sa.Column("approval_id", sa.String(), nullable=False),
        sa.Column("group_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["approval_id"], ["approval.id"], name=op.f("fk_approval_group_approval_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["group_id"], ["device_group.id"], name=op.f("fk_approval_group_group_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("approval_id", "group_id", name=op.f("pk_approval_group")),
    )
    op.create_index(op.f("ix_approval_group_group_id"), "approval_group", ["group_id"])

    op.create_table(
        "device_policy",
        sa.Column("device_pk", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=True),
        sa.Column("status_code", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status IN ('set', 'unsupported', 'failed')", name=op.f("ck_device_policy_status")
        ),
        sa.ForeignKeyConstraint(
            ["device_pk"], ["device.pk"], name=op.f("fk_device_policy_device_pk"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("device_pk", "name", name=op.f("pk_device_policy")),
    )
    op.create_table(
        "device_update",
        sa.Column("device_pk", sa.Integer(), nullable=False),
        sa.Column("update_id", sa.String(), nullable=False),
        sa.Column("lists", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("revision_number", sa.Integer(), nullable=True),
        sa.Column("update_type", sa.Integer(), nullable=True),
        sa.Column("hresult", sa.BigInteger(), nullable=True),
        sa.Column("failure_state", sa.BigInteger(), nullable=True),
        sa.Column("installed_time", sa.String(), nullable=True),
        sa.Column("approved_time", sa.String(), nullable=True),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("approve_status", sa.Integer(), nullable=True),
        sa.Column("approve_error", sa.String(), nullable=True),
        sa.CheckConstraint(
            "state IN ('pending_reboot', 'failed', 'installable', 'installed', 'listed')",
            name=op.f("ck_device_update_state"),
        ),
        sa.ForeignKeyConstraint(
            ["device_pk"], ["device.pk"], name=op.f("fk_device_update_device_pk"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("device_pk", "update_id", name=op.f("pk_device_update")),
    )
    op.create_index(op.f("ix_device_update_update_id_state"), "device_update", ["update_id", "state"])

    op.create_table(
        "dm_reply",
        sa.Column("device_pk", sa.Integer(), nullable=False),
        sa.Column("session_id", sa.String(), nullable=False),
        sa.Column("msg_id", sa.String(), nullable=False),
        sa.Column("request_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("reply", sa.LargeBinary(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_pk"], ["device.pk"], name=op.f("fk_dm_reply_device_pk"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("device_pk", "session_id", "msg_id", name=op.f("pk_dm_reply")),
    )
    op.create_table(
        "dm_session",
        sa.Column("device_pk", sa.Integer(), nullable=False),
        sa.Column("session_id", sa.String(), nullable=False),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_message_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_pk"], ["device.pk"], name=op.f("fk_dm_session_device_pk"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("device_pk", name=op.f("pk_dm_session")),
    )
    op.create_table(
        "eula_acceptance",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("eula_id", sa.String(), nullable=False),
        sa.Column("locale", sa.String(), nullable=False),
        sa.Column("text_sha256", sa.String(), nullable=False),
        sa.Column("accepted_by", sa.String(), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("remote_addr", sa.String(), nullable=True),
        sa.Column("request_id", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["eula_id"], ["eula.id"], name=op.f("fk_eula_acceptance_eula_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_eula_acceptance")),
        sa.UniqueConstraint("eula_id", "text_sha256", name=op.f("uq_eula_acceptance_eula_id_text_sha256")),
    )
    op.create_table(
        "eula_text",
        sa.Column("eula_id", sa.String(), nullable=False),
        sa.Column("locale", sa.String(), nullable=False),
        sa.Column("file_sha1", sa.String(), nullable=False),
        sa.Column("file_sha256", sa.String(), nullable=True),
        sa.Column("url", sa.String(), nullable=True),
        sa.Column("text", sa.String(), nullable=True),
        sa.Column("text_sha256", sa.String(), nullable=True),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["eula_id"], ["eula.id"], name=op.f("fk_eula_text_eula_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("eula_id", "locale", name=op.f("pk_eula_text")),
    )
    op.create_table(
        "group_member",
        sa.Column("device_pk", sa.Integer(), nullable=False),
        sa.Column("group_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_pk"], ["device.pk"], name=op.f("fk_group_member_device_pk"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["group_id"], ["device_group.id"], name=op.f("fk_group_member_group_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("device_pk", "group_id", name=op.f("pk_group_member")),
    )
    op.create_index(op.f("ix_group_member_group_id"), "group_member", ["group_id"])

    op.bulk_insert(
        sa.table(
            "device_group",
            sa.column("id", sa.String()),
            sa.column("name", sa.String()),
            sa.column("builtin", sa.Boolean()),
            sa.column("created_at", sa.DateTime(timezone=True)),
        ),
        [
            {
                "id": "all-devices",
                "name": "All devices",
                "builtin": True,
                "created_at": datetime(2026, 11, 21, tzinfo=UTC),
            }
        ],
    )


def downgrade() -> None:
    for table in (
        "group_member",
        "eula_text",
        "eula_acceptance",
        "dm_session",
        "dm_reply",
        "device_update",
        "device_policy",
        "approval_group",
        "upstream",
        "update_revision",
        "sync_run",
        "revision_relation",
        "revision_category",
        "needed_revision",
        "eula",
        "device_group",
        "device",
        "category",
        "auth_failure",
        "audit_entry",
        "approval",
        "api_token",
    ):
        op.drop_table(table)
