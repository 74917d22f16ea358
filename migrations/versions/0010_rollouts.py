"""Ring plans and rollouts.

Revision ID: 0010
Revises: 0009
Create Date: 2026-11-22
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "rollout_plan",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("rings", sa.JSON(), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("changed_at", _MOMENT, nullable=False),
        sa.Column("changed_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollout_plan")),
        sa.UniqueConstraint("name", name=op.f("uq_rollout_plan_name")),
    )
    op.create_table(
        "rollout_plan_group",
        sa.Column("plan_id", sa.String(), nullable=False),
        sa.Column("group_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["plan_id"], ["rollout_plan.id"], name=op.f("fk_rollout_plan_group_plan_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["group_id"], ["device_group.id"], name=op.f("fk_rollout_plan_group_group_id")
        ),
        sa.PrimaryKeyConstraint("plan_id", "group_id", name=op.f("pk_rollout_plan_group")),
    )
    op.create_index(op.f("ix_rollout_plan_group_group_id"), "rollout_plan_group", ["group_id"])
    op.create_table(
        "rollout",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("plan_id", sa.String(), nullable=True),
        sa.Column("rule_id", sa.String(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("state_at", _MOMENT, nullable=False),
        sa.Column("state_by", sa.String(), nullable=False),
        sa.Column("state_reason", sa.JSON(), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, server_default=sa.text("1")),
        sa.Column("look_at", _MOMENT, nullable=False),
        sa.CheckConstraint(
            "state IN ('running', 'paused', 'halted', 'completed', 'stopped')", name=op.f("ck_rollout_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollout")),
    )
    op.create_index(op.f("ix_rollout_state_look_at"), "rollout", ["state", "look_at"])
    op.create_index(op.f("ix_rollout_created_at"), "rollout", ["created_at"])
    op.create_index(op.f("ix_rollout_rule_id"), "rollout", ["rule_id"])
    op.create_table(
        "rollout_stage",
        sa.Column("rollout_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("opens_at", _MOMENT, nullable=True),
        sa.Column("opened_at", _MOMENT, nullable=True),
        sa.Column("counts_from", _MOMENT, nullable=True),
        sa.Column("soaks_from", _MOMENT, nullable=True),
        sa.Column("failures_from", _MOMENT, nullable=True),
        sa.Column("passed_at", _MOMENT, nullable=True),
        sa.Column("promotion", sa.String(), nullable=True),
        sa.Column("promotion_by", sa.String(), nullable=True),
        sa.Column("slot", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("offered_below", sa.BigInteger(), nullable=True),
        sa.Column("offered_devices", sa.Integer(), nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'running', 'passed')", name=op.f("ck_rollout_stage_state")),
        sa.CheckConstraint("promotion IN ('asked', 'approved')", name=op.f("ck_rollout_stage_promotion")),
        sa.ForeignKeyConstraint(
            ["rollout_id"], ["rollout.id"], name=op.f("fk_rollout_stage_rollout_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("rollout_id", "number", name=op.f("pk_rollout_stage")),
    )
    op.create_table(
        "rollout_update",
        sa.Column("rollout_id", sa.String(), nullable=False),
        sa.Column("update_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["rollout_id"], ["rollout.id"], name=op.f("fk_rollout_update_rollout_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("rollout_id", "update_id", name=op.f("pk_rollout_update")),
    )
    op.create_index(op.f("ix_rollout_update_update_id"), "rollout_update", ["update_id"])
    op.create_table(
        "rollout_event",
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("rollout_id", sa.String(), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=True),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("reason", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["rollout_id"], ["rollout.id"], name=op.f("fk_rollout_event_rollout_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_rollout_event")),
    )
    op.create_index(op.f("ix_rollout_event_rollout_id_seq"), "rollout_event", ["rollout_id", "seq"])


def downgrade() -> None:
    # The approvals of rollouts go with migration 0009, which knows what makes them more than approvals.
    for table in (
        "rollout_event",
        "rollout_update",
        "rollout_stage",
        "rollout",
        "rollout_plan_group",
        "rollout_plan",
    ):
        op.drop_table(table)
