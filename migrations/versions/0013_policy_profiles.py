"""Policy profiles, and what devices say of their policies.

Revision ID: 0013
Revises: 0012
Create Date: 2026-11-22
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_STATUS = "ck_device_policy_status"
_NEW_COLUMNS = (
    ("source", sa.String()),
    ("build", sa.String()),
    ("read_value", sa.String()),
    ("read_status", sa.Integer()),
    ("read_at", sa.DateTime(timezone=True)),
    ("drifted_at", sa.DateTime(timezone=True)),
)


def upgrade() -> None:
    op.create_table(
        "policy_profile",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("drift", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("drift IN ('repair', 'report')", name=op.f("ck_policy_profile_drift")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy_profile")),
        sa.UniqueConstraint("name", name=op.f("uq_policy_profile_name")),
    )
    op.create_table(
        "policy_assignment",
        sa.Column("profile_id", sa.String(), nullable=False),
        sa.Column("group_id", sa.String(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["profile_id"],
            ["policy_profile.id"],
            name=op.f("fk_policy_assignment_profile_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["device_group.id"],
            name=op.f("fk_policy_assignment_group_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("profile_id", "group_id", name=op.f("pk_policy_assignment")),
    )
    op.create_index(op.f("ix_policy_assignment_group_id"), "policy_assignment", ["group_id"])
    op.create_table(
        "policy_support",
        sa.Column("build", sa.String(), nullable=False),
        sa.Column("edition", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("supported", sa.Boolean(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("build", "edition", "name", name=op.f("pk_policy_support")),
    )
    with op.batch_alter_table("device_policy") as batch:
        batch.drop_constraint(op.f(_STATUS), type_="check")
        for name, kind in _NEW_COLUMNS:
            batch.add_column(sa.Column(name, kind, nullable=True))
        batch.add_column(sa.Column("repairs", sa.Integer(), nullable=False, server_default=sa.text("0")))
        batch.alter_column("status_code", existing_type=sa.Integer(), nullable=True)
        batch.create_check_constraint(op.f(_STATUS), "status IN ('sent', 'set', 'unsupported', 'failed')")
        batch.create_index("ix_device_policy_name_status", ["name", "status"])
    with op.batch_alter_table("device") as batch:
        batch.add_column(sa.Column("policies_due_at", sa.DateTime(timezone=True), nullable=True))
    # What was set before is read back like what is set from now on.
    op.execute(
        "UPDATE device SET policies_due_at = created_at WHERE pk IN "
        "(SELECT device_pk FROM device_policy WHERE status = 'set')"
    )


def downgrade() -> None:
    with op.batch_alter_table("device") as batch:
        batch.drop_column("policies_due_at")
    # An older release knows answers only.
    op.execute("DELETE FROM device_policy WHERE status_code IS NULL")
    op.execute("UPDATE device_policy SET status = 'failed' WHERE status = 'sent'")
    with op.batch_alter_table("device_policy") as batch:
        batch.drop_index("ix_device_policy_name_status")
        batch.drop_constraint(op.f(_STATUS), type_="check")
        batch.alter_column("status_code", existing_type=sa.Integer(), nullable=False)
        batch.drop_column("repairs")
        for name, _ in reversed(_NEW_COLUMNS):
            batch.drop_column(name)
        batch.create_check_constraint(op.f(_STATUS), "status IN ('set', 'unsupported', 'failed')")
    op.drop_table("policy_support")
    op.drop_index(op.f("ix_policy_assignment_group_id"), table_name="policy_assignment")
    op.drop_table("policy_assignment")
    op.drop_table("policy_profile")
