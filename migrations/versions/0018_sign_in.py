"""Signing in by a web page to enrol: tickets, and enrolments of people whom an OpenID provider knows.

Revision ID: 0018
Revises: 0017
Create Date: 2026-11-22
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_KIND = "ck_enrolment_kind"


def upgrade() -> None:
    op.create_table(
        "enrolment_ticket",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("ticket_sha256", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("by_id", sa.String(), nullable=False),
        sa.Column("username", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("request_sha256", sa.String(), nullable=True),
        sa.CheckConstraint("kind IN ('user', 'token', 'federated')", name=op.f("ck_enrolment_ticket_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_enrolment_ticket")),
        sa.UniqueConstraint("ticket_sha256", name=op.f("uq_enrolment_ticket_ticket_sha256")),
    )
    op.create_index(op.f("ix_enrolment_ticket_expires_at"), "enrolment_ticket", ["expires_at"])
    _allow_kinds("'user', 'token', 'federated'")


def downgrade() -> None:
    # An older release knows no other kind of person with a name that is proven; the id still tells them apart.
    op.execute("UPDATE enrolment SET kind = 'user' WHERE kind = 'federated'")
    _allow_kinds("'user', 'token'")
    op.drop_table("enrolment_ticket")


def _allow_kinds(kinds: str) -> None:
    with op.batch_alter_table("enrolment") as batch:
        batch.drop_constraint(op.f(_KIND), type_="check")
        batch.create_check_constraint(op.f(_KIND), f"kind IN ({kinds})")
