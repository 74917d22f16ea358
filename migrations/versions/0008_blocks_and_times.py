"""Approvals that block, wait, end, and of which the bridge approves each update itself.

Revision ID: 0008
Revises: 0007
Create Date: 2026-11-22
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_ACTION = "ck_approval_action"
_DELIVERY = "ck_approval_delivery"


def upgrade() -> None:
    with op.batch_alter_table("approval") as batch:
        batch.drop_constraint(op.f(_ACTION), type_="check")
        batch.add_column(sa.Column("not_before", sa.DateTime(timezone=True), nullable=True))
        batch.add_column(sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
        batch.add_column(sa.Column("delivery", sa.String(), nullable=False, server_default="device"))
        batch.create_check_constraint(op.f(_ACTION), "action IN ('approve', 'block')")
        batch.create_check_constraint(op.f(_DELIVERY), "delivery IN ('device', 'expanded')")


def downgrade() -> None:
    # An older release would deliver what it cannot read as a block, as too early, or as over.
    op.execute(
        "UPDATE approval SET revoked_at = created_at, revoked_by = 'migration' "
        "WHERE revoked_at IS NULL AND "
        "(action = 'block' OR delivery = 'expanded' OR not_before IS NOT NULL OR expires_at IS NOT NULL)"
    )
    op.execute("UPDATE approval SET action = 'approve' WHERE action = 'block'")
    with op.batch_alter_table("approval") as batch:
        batch.drop_constraint(op.f(_ACTION), type_="check")
        batch.drop_constraint(op.f(_DELIVERY), type_="check")
        batch.drop_column("delivery")
        batch.drop_column("expires_at")
        batch.drop_column("not_before")
        batch.create_check_constraint(op.f(_ACTION), "action IN ('approve')")
