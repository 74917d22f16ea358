"""Maintenance windows, and rollbacks asked for.

Revision ID: 0012
Revises: 0011
Create Date: 2026-11-22
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    _add_windows()
    _add_rollbacks()


def downgrade() -> None:
    for table in (
        "rollback_device",
        "rollback_job",
        "window_catch_up",
        "window_group",
        "maintenance_window",
    ):
        op.drop_table(table)


def _add_windows() -> None:
    op.create_table(
        "maintenance_window",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("pattern", sa.JSON(), nullable=False),
        sa.Column("start", sa.String(), nullable=False),
        sa.Column("duration_minutes", sa.Integer(), nullable=False),
        sa.Column("zone", sa.String(), nullable=False),
        sa.Column("fallback_zone", sa.String(), nullable=True),
        sa.Column("valid_from", _MOMENT, nullable=True),
        sa.Column("valid_until", _MOMENT, nullable=True),
        sa.Column("catch_up_hours", sa.Integer(), nullable=False),
        sa.Column("enforce_on_device", sa.Boolean(), nullable=False),
        sa.Column("allow_auto_update", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.CheckConstraint(
            "allow_auto_update IN (3, 4)", name=op.f("ck_maintenance_window_allow_auto_update")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_maintenance_window")),
        sa.UniqueConstraint("name", name=op.f("uq_maintenance_window_name")),
    )
    op.create_table(
        "window_group",
        sa.Column("window_id", sa.String(), nullable=False),
        sa.Column("group_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["window_id"],
            ["maintenance_window.id"],
            name=op.f("fk_window_group_window_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["group_id"], ["device_group.id"], name=op.f("fk_window_group_group_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("window_id", "group_id", name=op.f("pk_window_group")),
    )
    op.create_index(op.f("ix_window_group_group_id"), "window_group", ["group_id"])
    op.create_table(
        "window_catch_up",
        sa.Column("device_pk", sa.Integer(), nullable=False),
        sa.Column("window_id", sa.String(), nullable=False),
        sa.Column("until", _MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["device_pk"], ["device.pk"], name=op.f("fk_window_catch_up_device_pk"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["window_id"],
            ["maintenance_window.id"],
            name=op.f("fk_window_catch_up_window_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("device_pk", "window_id", name=op.f("pk_window_catch_up")),
    )
    op.create_index(op.f("ix_window_catch_up_window_id"), "window_catch_up", ["window_id"])


def _add_rollbacks() -> None:
    op.create_table(
        "rollback_job",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("group_ids", sa.JSON(), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("ends_at", _MOMENT, nullable=False),
        sa.Column("pause_from", sa.String(), nullable=False),
        sa.Column("paused_until", _MOMENT, nullable=False),
        sa.Column("cancelled_at", _MOMENT, nullable=True),
        sa.Column("cancelled_by", sa.String(), nullable=True),
        sa.Column("released_at", _MOMENT, nullable=True),
        sa.Column("released_by", sa.String(), nullable=True),
        sa.CheckConstraint("kind IN ('quality', 'feature')", name=op.f("ck_rollback_job_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollback_job")),
    )
    op.create_index(op.f("ix_rollback_job_created_at"), "rollback_job", ["created_at"])
    op.create_table(
        "rollback_device",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("device_pk", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("since", _MOMENT, nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("status_before", sa.String(), nullable=True),
        sa.Column("version_before", sa.String(), nullable=True),
        sa.Column("sends", sa.Integer(), nullable=False),
        sa.Column("sent_at", _MOMENT, nullable=True),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("status_text", sa.String(), nullable=True),
        sa.Column("status_at", _MOMENT, nullable=True),
        sa.CheckConstraint(
            "state IN ('waiting', 'sent', 'executed', 'rolled_back', 'failed', 'refused', 'cancelled')",
            name=op.f("ck_rollback_device_state"),
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["rollback_job.id"], name=op.f("fk_rollback_device_job_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["device_pk"], ["device.pk"], name=op.f("fk_rollback_device_device_pk"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "device_pk", name=op.f("pk_rollback_device")),
    )
    op.create_index("ix_rollback_device_device_pk_state", "rollback_device", ["device_pk", "state"])
