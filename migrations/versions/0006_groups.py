"""Groups by rule, nested and with exclusions.

Revision ID: 0006
Revises: 0005
Create Date: 2026-11-22
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_DEVICE_COLUMNS = (
    ("os_version", sa.String()),
    ("os_edition", sa.String()),
    ("identity_read_at", sa.DateTime(timezone=True)),
    ("enrolment_user", sa.String()),
    ("membership_facts", sa.String()),
)


def upgrade() -> None:
    with op.batch_alter_table("device_group") as batch:
        batch.add_column(sa.Column("rule", sa.JSON(none_as_null=True), nullable=True))
    with op.batch_alter_table("device") as batch:
        for name, kind in _DEVICE_COLUMNS:
            batch.add_column(sa.Column(name, kind, nullable=True))
        batch.add_column(
            sa.Column("membership_version", sa.Integer(), nullable=False, server_default=sa.text("0"))
        )
    op.create_index(op.f("ix_device_membership_version"), "device", ["membership_version"])
    op.create_table(
        "static_member",
        sa.Column("device_pk", sa.Integer(), nullable=False),
        sa.Column("group_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_pk"], ["device.pk"], name=op.f("fk_static_member_device_pk"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["group_id"], ["device_group.id"], name=op.f("fk_static_member_group_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("device_pk", "group_id", name=op.f("pk_static_member")),
    )
    op.create_index(op.f("ix_static_member_group_id"), "static_member", ["group_id"])
    op.create_table(
        "group_link",
        sa.Column("group_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("other_id", sa.String(), nullable=False),
        sa.CheckConstraint("kind IN ('include', 'exclude')", name=op.f("ck_group_link_kind")),
        sa.ForeignKeyConstraint(
            ["group_id"], ["device_group.id"], name=op.f("fk_group_link_group_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["other_id"], ["device_group.id"], name=op.f("fk_group_link_other_id")),
        sa.PrimaryKeyConstraint("group_id", "kind", "other_id", name=op.f("pk_group_link")),
    )
    op.create_index(op.f("ix_group_link_other_id"), "group_link", ["other_id"])
    op.create_table(
        "device_tag",
        sa.Column("device_pk", sa.Integer(), nullable=False),
        sa.Column("tag", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_pk"], ["device.pk"], name=op.f("fk_device_tag_device_pk"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("device_pk", "tag", name=op.f("pk_device_tag")),
    )
    op.create_index(op.f("ix_device_tag_tag"), "device_tag", ["tag"])
    version = op.create_table(
        "groups_version",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_groups_version")),
    )
    # Devices begin at 0: the memberships of those there are will be worked out, the group `unassigned` with them.
    op.bulk_insert(version, [{"id": 1, "version": 1, "changed_at": None}])
    op.execute("INSERT INTO static_member (device_pk, group_id) SELECT device_pk, group_id FROM group_member")
    _add_unassigned()


def downgrade() -> None:
    # An older release has static groups only: each keeps the members it has now, `unassigned` too.
    op.execute(sa.text("UPDATE device_group SET builtin = :no WHERE id = 'unassigned'").bindparams(no=False))
    for table in ("groups_version", "device_tag", "group_link", "static_member"):
        op.drop_table(table)
    op.drop_index(op.f("ix_device_membership_version"), table_name="device")
    with op.batch_alter_table("device") as batch:
        batch.drop_column("membership_version")
        for name, _ in reversed(_DEVICE_COLUMNS):
            batch.drop_column(name)
    with op.batch_alter_table("device_group") as batch:
        batch.drop_column("rule")


def _add_unassigned() -> None:
    op.execute("UPDATE device_group SET name = 'Unassigned (' || id || ')' WHERE name = 'Unassigned'")
    group = sa.table(
        "device_group",
        sa.column("id", sa.String()),
        sa.column("name", sa.String()),
        sa.column("builtin", sa.Boolean()),
        sa.column("created_at", sa.DateTime(timezone=True)),
    )
    values = {"name": "Unassigned", "builtin": True}
    known = op.get_bind().execute(sa.update(group).where(group.c.id == "unassigned").values(**values))
    if known.rowcount:
        # Left by a downgrade, with the members it had then; now they are worked out.
        op.execute("DELETE FROM static_member WHERE group_id = 'unassigned'")
        return
    created = datetime(2026, 11, 22, tzinfo=UTC)
    op.bulk_insert(group, [{"id": "unassigned", "created_at": created, **values}])
