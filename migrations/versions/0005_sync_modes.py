"""Upstreams in order, their modes and filters, and what a sync came to.

Revision ID: 0005
Revises: 0004
Create Date: 2026-11-21
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_STATES = "'queued', 'running', 'succeeded', 'failed'"


def upgrade() -> None:
    with op.batch_alter_table("upstream") as batch:
        batch.add_column(sa.Column("name", sa.String(), nullable=True))
        batch.add_column(sa.Column("listed", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch.add_column(sa.Column("position", sa.Integer(), nullable=False, server_default=sa.text("0")))
        batch.add_column(sa.Column("enabled", sa.Boolean(), nullable=False, server_default=sa.true()))
        batch.add_column(sa.Column("mode", sa.String(), nullable=False, server_default="needed"))
        for name in ("products", "classifications", "languages"):
            batch.add_column(sa.Column(name, sa.JSON(none_as_null=True), nullable=True))
        batch.add_column(sa.Column("replica", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch.add_column(sa.Column("interval_minutes", sa.Integer(), nullable=True))
        batch.add_column(sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True))
        batch.create_check_constraint(op.f("ck_upstream_mode"), "mode IN ('needed', 'filtered')")
    _create_lists()
    _keep_anchors()
    with op.batch_alter_table("upstream") as batch:
        batch.drop_column("category_anchor")
        batch.drop_column("config_anchor")

    with op.batch_alter_table("sync_run") as batch:
        for name in ("phase_total", "phase_done", "new", "revised", "expired"):
            batch.add_column(sa.Column(name, sa.Integer(), nullable=False, server_default=sa.text("0")))
        for name in ("phase_started_at", "cancel_requested_at", "retry_at"):
            batch.add_column(sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    _allow_states(f"{_STATES}, 'cancelled'")
    op.create_table(
        "sync_event",
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("phase", sa.String(), nullable=True),
        sa.Column("message", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["sync_run.id"], name=op.f("fk_sync_event_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_sync_event")),
    )
    op.create_index("ix_sync_event_run_id_seq", "sync_event", ["run_id", "seq"])


def downgrade() -> None:
    op.drop_index("ix_sync_event_run_id_seq", table_name="sync_event")
    op.drop_table("sync_event")
    op.execute("UPDATE sync_run SET state = 'failed' WHERE state = 'cancelled'")
    _allow_states(_STATES)
    with op.batch_alter_table("sync_run") as batch:
        for name in (
            "retry_at",
            "cancel_requested_at",
            "phase_started_at",
            "expired",
            "revised",
            "new",
            "phase_done",
            "phase_total",
        ):
            batch.drop_column(name)
    with op.batch_alter_table("upstream") as batch:
        batch.add_column(sa.Column("config_anchor", sa.String(), nullable=True))
        batch.add_column(sa.Column("category_anchor", sa.String(), nullable=True))
    for column, name in (("config_anchor", "config"), ("category_anchor", "categories")):
        op.execute(
            f"UPDATE upstream SET {column} = (SELECT anchor FROM upstream_anchor "  # noqa: S608 - constants
            f"WHERE upstream_url = upstream.url AND list = '{name}')"
        )
    for name in ("needed_answer", "upstream_replica", "queued_revision", "pending_list"):
        op.drop_table(name)
    op.drop_index("ix_upstream_anchor_kept_at", table_name="upstream_anchor")
    op.drop_table("upstream_anchor")
    with op.batch_alter_table("upstream") as batch:
        batch.drop_constraint(op.f("ck_upstream_mode"), type_="check")
        for name in (
            "retry_at",
            "interval_minutes",
            "replica",
            "languages",
            "classifications",
            "products",
            "mode",
            "enabled",
            "position",
            "listed",
            "name",
        ):
            batch.drop_column(name)


def _create_lists() -> None:
    def of_upstream(table: str) -> tuple[sa.Column[str], sa.ForeignKeyConstraint]:
        key = sa.ForeignKeyConstraint(
            ["upstream_url"], ["upstream.url"], name=op.f(f"fk_{table}_upstream_url"), ondelete="CASCADE"
        )
        return sa.Column("upstream_url", sa.String(), nullable=False), key

    column, key = of_upstream("upstream_anchor")
    op.create_table(
        "upstream_anchor",
        column,
        sa.Column("list", sa.String(), nullable=False),
        sa.Column("filter_key", sa.String(), nullable=False),
        sa.Column("anchor", sa.String(), nullable=False),
        sa.Column("covers", sa.JSON(), nullable=False),
        sa.Column("kept_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "list IN ('config', 'categories', 'updates', 'deployments')", name=op.f("ck_upstream_anchor_list")
        ),
        key,
        sa.PrimaryKeyConstraint("upstream_url", "list", "filter_key", name=op.f("pk_upstream_anchor")),
    )
    op.create_index("ix_upstream_anchor_kept_at", "upstream_anchor", ["kept_at"])
    column, key = of_upstream("pending_list")
    op.create_table(
        "pending_list",
        column,
        sa.Column("list", sa.String(), nullable=False),
        sa.Column("filter_key", sa.String(), nullable=False),
        sa.Column("anchor", sa.String(), nullable=True),
        sa.Column("covers", sa.JSON(), nullable=False),
        sa.Column("listed_at", sa.DateTime(timezone=True), nullable=False),
        key,
        sa.PrimaryKeyConstraint("upstream_url", "list", name=op.f("pk_pending_list")),
    )
    column, key = of_upstream("queued_revision")
    op.create_table(
        "queued_revision",
        column,
        sa.Column("list", sa.String(), nullable=False),
        sa.Column("update_id", sa.String(), nullable=False),
        sa.Column("revision_number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.CheckConstraint(
            "list IN ('categories', 'updates', 'closure')", name=op.f("ck_queued_revision_list")
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'not_offered', 'failed')", name=op.f("ck_queued_revision_state")
        ),
        key,
        sa.PrimaryKeyConstraint(
            "upstream_url", "list", "update_id", "revision_number", name=op.f("pk_queued_revision")
        ),
    )
    column, key = of_upstream("upstream_replica")
    op.create_table(
        "upstream_replica",
        column,
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=False),
        key,
        sa.PrimaryKeyConstraint("upstream_url", name=op.f("pk_upstream_replica")),
    )
    column, key = of_upstream("needed_answer")
    op.create_table(
        "needed_answer",
        column,
        sa.Column("update_id", sa.String(), nullable=False),
        sa.Column("revision_number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("error", sa.String(), nullable=False),
        sa.CheckConstraint("state IN ('not_offered', 'failed')", name=op.f("ck_needed_answer_state")),
        key,
        sa.PrimaryKeyConstraint(
            "upstream_url", "update_id", "revision_number", name=op.f("pk_needed_answer")
        ),
    )


def _keep_anchors() -> None:
    """Carry the anchors over, so that no upstream is read from the beginning after an upgrade."""
    for column, name in (("config_anchor", "config"), ("category_anchor", "categories")):
        op.execute(
            "INSERT INTO upstream_anchor (upstream_url, list, filter_key, anchor, covers, kept_at) "  # noqa: S608
            f"SELECT url, '{name}', '', {column}, '{{}}', COALESCE(last_started_at, CURRENT_TIMESTAMP) "
            f"FROM upstream WHERE {column} IS NOT NULL"
        )


def _allow_states(states: str) -> None:
    with op.batch_alter_table("sync_run") as batch:
        batch.drop_constraint(op.f("ck_sync_run_state"), type_="check")
        batch.create_check_constraint(op.f("ck_sync_run_state"), f"state IN ({states})")
