"""Approvals of products and saved queries, deadlines, and a version for each group's intent.

Revision ID: 0009
Revises: 0008
Create Date: 2026-11-22
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


_TARGET_TYPE = "ck_approval_target_type"


def upgrade() -> None:
    with op.batch_alter_table("approval") as batch:
        batch.drop_constraint(op.f(_TARGET_TYPE), type_="check")
        batch.add_column(sa.Column("deadline", sa.DateTime(timezone=True), nullable=True))
        batch.add_column(sa.Column("rollout_id", sa.String(), nullable=True))
        batch.add_column(sa.Column("stage", sa.Integer(), nullable=True))
        batch.add_column(sa.Column("rule_id", sa.String(), nullable=True))
        batch.create_check_constraint(
            op.f(_TARGET_TYPE), "target_type IN ('update', 'classification', 'product', 'query')"
        )
        batch.create_index(op.f("ix_approval_rollout_id"), ["rollout_id"])
        batch.create_index(op.f("ix_approval_rule_id"), ["rule_id"])
    standing = sa.text("revoked_at IS NULL AND (target_type <> 'update' OR action = 'block')")
    op.create_index(
        op.f("ix_approval_standing"), "approval", ["id"], sqlite_where=standing, postgresql_where=standing
    )
    with op.batch_alter_table("device_group") as batch:
        batch.add_column(sa.Column("intent_version", sa.Integer(), nullable=False, server_default="0"))
    with op.batch_alter_table("device") as batch:
        batch.add_column(sa.Column("plan_key", sa.String(), nullable=True))
        batch.add_column(sa.Column("plan_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("device_update", sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True))
    approved = sa.text("(lists & 16) <> 0")
    op.create_index(
        op.f("ix_device_update_approved"),
        "device_update",
        ["update_id"],
        sqlite_where=approved,
        postgresql_where=approved,
    )
    op.create_index(op.f("ix_category_parent_id"), "category", ["parent_id"])
    op.create_table(
        "withdrawal_answer",
        sa.Column("build", sa.String(), nullable=False),
        sa.Column("supported", sa.Boolean(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("build", name=op.f("pk_withdrawal_answer")),
    )
    facts = op.create_table(
        "facts_version",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_facts_version")),
    )
    op.bulk_insert(facts, [{"id": 1, "version": 0}])


def downgrade() -> None:
    op.drop_table("facts_version")
    op.drop_table("withdrawal_answer")
    op.drop_index(op.f("ix_category_parent_id"), table_name="category")
    op.drop_index(op.f("ix_device_update_approved"), table_name="device_update")
    with op.batch_alter_table("device_update") as batch:
        batch.drop_column("delivered_at")
    with op.batch_alter_table("device") as batch:
        batch.drop_column("plan_until")
        batch.drop_column("plan_key")
    with op.batch_alter_table("device_group") as batch:
        batch.drop_column("intent_version")
    # An older release would deliver what stands behind a gate, and cannot read products and queries.
    op.execute(
        "UPDATE approval SET revoked_at = created_at, revoked_by = 'migration' "
        "WHERE revoked_at IS NULL AND (rollout_id IS NOT NULL OR target_type IN ('product', 'query'))"
    )
    op.drop_index(op.f("ix_approval_standing"), table_name="approval")
    op.execute("DELETE FROM approval WHERE target_type IN ('product', 'query')")
    with op.batch_alter_table("approval") as batch:
        batch.drop_index(op.f("ix_approval_rule_id"))
        batch.drop_index(op.f("ix_approval_rollout_id"))
        batch.drop_constraint(op.f(_TARGET_TYPE), type_="check")
        batch.drop_column("rule_id")
        batch.drop_column("stage")
        batch.drop_column("rollout_id")
        batch.drop_column("deadline")
        batch.create_check_constraint(op.f(_TARGET_TYPE), "target_type IN ('update', 'classification')")
