"""Enrolment: tokens, users, and what each device enrolled with.

Revision ID: 0016
Revises: 0015
Create Date: 2026-11-22
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "enrolment_token",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("token_sha256", sa.String(), nullable=False),
        sa.Column("username", sa.String(), nullable=True),
        sa.Column("max_uses", sa.Integer(), nullable=False),
        sa.Column("uses", sa.Integer(), nullable=False),
        sa.Column("replaces", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("uses <= max_uses", name=op.f("ck_enrolment_token_uses")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_enrolment_token")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_enrolment_token_token_sha256")),
    )
    op.create_index(op.f("ix_enrolment_token_created_at"), "enrolment_token", ["created_at"])
    op.create_table(
        "enrolment_user",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("username", sa.String(), nullable=False),
        sa.Column("username_key", sa.String(), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=False),
        sa.Column("max_devices", sa.Integer(), nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("password_set_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_enrolment_user")),
        sa.UniqueConstraint("username_key", name=op.f("uq_enrolment_user_username_key")),
    )
    op.create_index(op.f("ix_enrolment_user_created_at"), "enrolment_user", ["created_at"])
    op.create_table(
        "enrolment_failure",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_enrolment_failure")),
    )
    op.create_index(op.f("ix_enrolment_failure_since"), "enrolment_failure", ["since"])
    op.create_table(
        "enrolment",
        sa.Column("pk", sa.Integer(), nullable=False),
        sa.Column("device_pk", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("by_id", sa.String(), nullable=False),
        sa.Column("username", sa.String(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("hardware_id", sa.String(), nullable=True),
        sa.Column("full", sa.Boolean(), nullable=False),
        sa.Column("os_edition", sa.String(), nullable=True),
        sa.Column("os_version", sa.String(), nullable=True),
        sa.Column("serial", sa.String(), nullable=False),
        sa.Column("thumbprint", sa.String(), nullable=False),
        sa.Column("request_sha256", sa.String(), nullable=False),
        sa.CheckConstraint("kind IN ('user', 'token')", name=op.f("ck_enrolment_kind")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_enrolment")),
        sa.ForeignKeyConstraint(
            ["device_pk"], ["device.pk"], name=op.f("fk_enrolment_device_pk"), ondelete="CASCADE"
        ),
    )
    for column in ("device_pk", "by_id", "hardware_id", "request_sha256"):
        op.create_index(op.f(f"ix_enrolment_{column}"), "enrolment", [column])


def downgrade() -> None:
    op.drop_table("enrolment")
    op.drop_table("enrolment_failure")
    op.drop_table("enrolment_user")
    op.drop_table("enrolment_token")
