"""What a session is bound to: nonces of both sides, the address it came from, and results of an open package.

Revision ID: 0003
Revises: 0002
Create Date: 2026-11-21
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("device") as batch:
        batch.add_column(
            sa.Column("auth_each_message", sa.Boolean(), nullable=False, server_default=sa.true())
        )
        batch.add_column(sa.Column("auth_nonce_before", sa.String(), nullable=True))
        batch.add_column(sa.Column("server_auth_scheme", sa.String(), nullable=True))
        batch.add_column(sa.Column("server_auth_username", sa.String(), nullable=True))
        batch.add_column(sa.Column("server_auth_verifier", sa.LargeBinary(), nullable=True))
        batch.add_column(sa.Column("server_auth_nonce", sa.String(), nullable=True))
        batch.add_column(sa.Column("sync_version", sa.String(), nullable=True))
        batch.add_column(sa.Column("sync_version_at", sa.DateTime(timezone=True), nullable=True))
    with op.batch_alter_table("device_policy") as batch:
        batch.add_column(sa.Column("error", sa.String(), nullable=True))
    with op.batch_alter_table("dm_reply") as batch:
        batch.add_column(sa.Column("mac", sa.String(), nullable=True))
    with op.batch_alter_table("dm_session") as batch:
        batch.add_column(sa.Column("remote_addr", sa.String(), nullable=True))
        batch.add_column(sa.Column("open", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index(
        "ix_dm_session_remote_addr_open",
        "dm_session",
        ["remote_addr"],
        sqlite_where=sa.text("open"),
        postgresql_where=sa.text("open"),
    )
    op.create_table(
        "dm_part",
        sa.Column("device_pk", sa.Integer(), nullable=False),
        sa.Column("msg_id", sa.Integer(), nullable=False),
        sa.Column("items", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_pk"], ["device.pk"], name=op.f("fk_dm_part_device_pk"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("device_pk", "msg_id", name=op.f("pk_dm_part")),
    )
    # Counts of half an hour: nothing of worth is lost with the old ones.
    op.drop_index("ix_auth_failure_last_at", table_name="auth_failure")
    op.drop_table("auth_failure")
    op.create_table(
        "auth_failure",
        sa.Column("device_pk", sa.Integer(), nullable=False),
        sa.Column("remote_addr", sa.String(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("blocked_until", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["device_pk"], ["device.pk"], name=op.f("fk_auth_failure_device_pk"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("device_pk", "remote_addr", name=op.f("pk_auth_failure")),
    )
    op.create_index("ix_auth_failure_last_at", "auth_failure", ["last_at"])


def downgrade() -> None:
    op.drop_index("ix_auth_failure_last_at", table_name="auth_failure")
    op.drop_table("auth_failure")
    op.create_table(
        "auth_failure",
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("session_id", sa.String(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("device_id", "session_id", name=op.f("pk_auth_failure")),
    )
    op.create_index("ix_auth_failure_last_at", "auth_failure", ["last_at"])
    op.drop_table("dm_part")
    op.drop_index("ix_dm_session_remote_addr_open", table_name="dm_session")
    with op.batch_alter_table("dm_reply") as batch:
        batch.drop_column("mac")
    with op.batch_alter_table("dm_session") as batch:
        batch.drop_column("open")
        batch.drop_column("remote_addr")
    with op.batch_alter_table("device_policy") as batch:
        batch.drop_column("error")
    with op.batch_alter_table("device") as batch:
        for name in (
            "sync_version_at",
            "sync_version",
            "server_auth_nonce",
            "server_auth_verifier",
            "server_auth_username",
            "server_auth_scheme",
            "auth_nonce_before",
            "auth_each_message",
        ):
            batch.drop_column(name)
