"""The certificate authority, what it has issued, and what it has taken back.

Revision ID: 0015
Revises: 0014
Create Date: 2026-11-22
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "certificate_authority",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("current", sa.Boolean(), nullable=True),
        sa.Column("root_der", sa.LargeBinary(), nullable=False),
        sa.Column("intermediate_der", sa.LargeBinary(), nullable=True),
        sa.Column("sealed_key", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("replaced_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificate_authority")),
        sa.UniqueConstraint("current", name=op.f("uq_certificate_authority_current")),
        sa.CheckConstraint("origin IN ('created', 'imported')", name=op.f("ck_certificate_authority_origin")),
        sa.CheckConstraint("current IS NULL OR current", name=op.f("ck_certificate_authority_current")),
    )
    op.create_table(
        "issued_certificate",
        sa.Column("serial", sa.String(), nullable=False),
        sa.Column("authority_id", sa.String(), nullable=False),
        sa.Column("device_pk", sa.Integer(), nullable=True),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("thumbprint", sa.String(), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("not_after", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revocation_reason", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_issued_certificate")),
        sa.ForeignKeyConstraint(
            ["authority_id"],
            ["certificate_authority.id"],
            name=op.f("fk_issued_certificate_authority_id"),
        ),
        sa.ForeignKeyConstraint(
            ["device_pk"], ["device.pk"], name=op.f("fk_issued_certificate_device_pk"), ondelete="SET NULL"
        ),
        sa.CheckConstraint(
            "(revoked_at IS NULL) = (revocation_reason IS NULL)",
            name=op.f("ck_issued_certificate_revocation"),
        ),
    )
    for columns in (["device_pk"], ["issued_at", "serial"], ["authority_id", "revoked_at"]):
        name = f"ix_issued_certificate_{'_'.join(columns)}"
        op.create_index(op.f(name), "issued_certificate", columns)


def downgrade() -> None:
    op.drop_table("issued_certificate")
    op.drop_table("certificate_authority")
