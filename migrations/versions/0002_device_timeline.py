"""The timeline of a device, and when it left management.

Revision ID: 0002
Revises: 0001
Create Date: 2026-11-21
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "device_event",
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("device_pk", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_pk"], ["device.pk"], name=op.f("fk_device_event_device_pk"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_device_event")),
    )
    op.create_index("ix_device_event_device_pk_seq", "device_event", ["device_pk", "seq"])
    with op.batch_alter_table("device") as batch:
        batch.add_column(sa.Column("unenrolled_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("device") as batch:
        batch.drop_column("unenrolled_at")
    op.drop_index("ix_device_event_device_pk_seq", table_name="device_event")
    op.drop_table("device_event")
