"""The licence ledger in full, and whether approvals take effect on a device.

Revision ID: 0014
Revises: 0013
Create Date: 2026-11-22
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


_INDEX = "ix_eula_acceptance_accepted_at_id"


def upgrade() -> None:
    with op.batch_alter_table("eula_acceptance") as batch:
        # Until now tokens were the only way to accept.
        batch.add_column(sa.Column("by_machine", sa.Boolean(), nullable=False, server_default=sa.true()))
        batch.add_column(sa.Column("organization", sa.String(), nullable=True))
        batch.create_index(op.f(_INDEX), ["accepted_at", "id"])
    with op.batch_alter_table("device_update") as batch:
        batch.add_column(sa.Column("failures", sa.Integer(), nullable=False, server_default="0"))
    # 4 is the bit of FailedUpdates: what has failed has failed once at least.
    op.execute("UPDATE device_update SET failures = 1 WHERE lists & 4 <> 0")
    op.create_table(
        "approval_evidence",
        sa.Column("device_pk", sa.Integer(), nullable=False),
        sa.Column("scans", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("scan_time", sa.String(), nullable=True),
        sa.Column("counted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("waiting", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("waiting_from", sa.Integer(), nullable=True),
        sa.Column("installed", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("failed", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("acted_scan", sa.Integer(), nullable=True),
        sa.Column("acted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("device_pk", name=op.f("pk_approval_evidence")),
        sa.ForeignKeyConstraint(
            ["device_pk"], ["device.pk"], name=op.f("fk_approval_evidence_device_pk"), ondelete="CASCADE"
        ),
    )
    op.create_table(
        "approval_trial",
        sa.Column("device_pk", sa.Integer(), nullable=False),
        sa.Column("update_id", sa.String(), nullable=False),
        sa.Column("scan", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("device_pk", "update_id", name=op.f("pk_approval_trial")),
        sa.ForeignKeyConstraint(
            ["device_pk"], ["device.pk"], name=op.f("fk_approval_trial_device_pk"), ondelete="CASCADE"
        ),
    )


def downgrade() -> None:
    op.drop_table("approval_trial")
    op.drop_table("approval_evidence")
    with op.batch_alter_table("device_update") as batch:
        batch.drop_column("failures")
    with op.batch_alter_table("eula_acceptance") as batch:
        batch.drop_index(op.f(_INDEX))
        batch.drop_column("organization")
        batch.drop_column("by_machine")
