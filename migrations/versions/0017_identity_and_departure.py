"""Devices that prove themselves by certificate, leave management, and can be woken.

Revision ID: 0017
Revises: 0016
Create Date: 2026-11-22
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_TIMES = ("retire_requested_at", "retire_told_at", "sync_requested_at", "push_read_at")
_TEXTS = ("renewed_serial", "computer_name", "serial_number", "push_channel", "poll_schedule")


def upgrade() -> None:
    with op.batch_alter_table("device") as batch:
        batch.add_column(
            sa.Column("certificate_required", sa.Boolean(), server_default=sa.false(), nullable=False)
        )
        batch.add_column(sa.Column("push_status", sa.Integer(), nullable=True))
        for name in _TIMES:
            batch.add_column(sa.Column(name, sa.DateTime(timezone=True), nullable=True))
        for name in _TEXTS:
            batch.add_column(sa.Column(name, sa.String(), nullable=True))
    # Who enrolled has a certificate, and is asked for it from now on.
    op.execute("UPDATE device SET certificate_required = true WHERE pk IN (SELECT device_pk FROM enrolment)")


def downgrade() -> None:
    with op.batch_alter_table("device") as batch:
        for name in (*_TEXTS, *_TIMES, "push_status", "certificate_required"):
            batch.drop_column(name)
