"""Saved queries, and rules that approve.

Revision ID: 0011
Revises: 0010
Create Date: 2026-11-22
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_QUERIES = ("saved_query", "query_match")
_RULES = ("approval_rule", "rule_group", "rule_run", "rule_result", "rule_notice")


def upgrade() -> None:
    _create_queries()
    _create_rules()
    _create_runs()


def downgrade() -> None:
    # An older release reads an approval of a query as one of an update that nobody offers; it delivers nothing.
    for name in reversed(_QUERIES + _RULES):
        op.drop_table(name)


def _create_queries() -> None:
    op.create_table(
        "saved_query",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("criteria", sa.JSON(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("matched_version", sa.Integer(), nullable=True),
        sa.Column("matched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_query")),
        sa.UniqueConstraint("name", name=op.f("uq_saved_query_name")),
    )
    op.create_table(
        "query_match",
        sa.Column("query_id", sa.String(), nullable=False),
        sa.Column("update_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["query_id"], ["saved_query.id"], name=op.f("fk_query_match_query_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("query_id", "update_id", name=op.f("pk_query_match")),
    )
    op.create_index("ix_query_match_update_id", "query_match", ["update_id"])


def _create_rules() -> None:
    op.create_table(
        "approval_rule",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("criteria", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("query_id", sa.String(), nullable=True),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("plan_id", sa.String(), nullable=True),
        sa.Column("deadline_days", sa.Integer(), nullable=True),
        sa.Column("not_before_days", sa.Integer(), nullable=True),
        sa.Column("after_sync", sa.Boolean(), nullable=False),
        sa.Column("schedule", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("next_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("armed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "action IN ('approve', 'rollout', 'notify')", name=op.f("ck_approval_rule_action")
        ),
        sa.CheckConstraint(
            "(criteria IS NULL) <> (query_id IS NULL)", name=op.f("ck_approval_rule_one_question")
        ),
        sa.ForeignKeyConstraint(["query_id"], ["saved_query.id"], name=op.f("fk_approval_rule_query_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approval_rule")),
        sa.UniqueConstraint("name", name=op.f("uq_approval_rule_name")),
    )
    for column in ("next_due_at", "plan_id", "query_id"):
        op.create_index(f"ix_approval_rule_{column}", "approval_rule", [column])
    op.create_table(
        "rule_group",
        sa.Column("rule_id", sa.String(), nullable=False),
        sa.Column("group_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["rule_id"], ["approval_rule.id"], name=op.f("fk_rule_group_rule_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["group_id"], ["device_group.id"], name=op.f("fk_rule_group_group_id")),
        sa.PrimaryKeyConstraint("rule_id", "group_id", name=op.f("pk_rule_group")),
    )
    op.create_index("ix_rule_group_group_id", "rule_group", ["group_id"])
    op.create_table(
        "rule_notice",
        sa.Column("rule_id", sa.String(), nullable=False),
        sa.Column("update_id", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["rule_id"], ["approval_rule.id"], name=op.f("fk_rule_notice_rule_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("rule_id", "update_id", name=op.f("pk_rule_notice")),
    )


def _create_runs() -> None:
    op.create_table(
        "rule_run",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("rule_id", sa.String(), nullable=False),
        sa.Column("slot", sa.String(), nullable=False),
        sa.Column("trigger", sa.String(), nullable=False),
        sa.Column("requested_by", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("definition", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("examined", sa.Integer(), nullable=False),
        sa.Column("matched", sa.Integer(), nullable=False),
        sa.Column("outcomes", sa.JSON(), nullable=False),
        sa.Column("waiting_for_eula", sa.Integer(), nullable=False),
        sa.Column("rollout_id", sa.String(), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.CheckConstraint("trigger IN ('sync', 'schedule', 'manual')", name=op.f("ck_rule_run_trigger")),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed')", name=op.f("ck_rule_run_state")
        ),
        sa.ForeignKeyConstraint(
            ["rule_id"], ["approval_rule.id"], name=op.f("fk_rule_run_rule_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rule_run")),
        sa.UniqueConstraint("rule_id", "slot", name=op.f("uq_rule_run_rule_id_slot")),
    )
    op.create_index("ix_rule_run_rule_id_requested_at", "rule_run", ["rule_id", "requested_at"])
    op.create_index("ix_rule_run_state", "rule_run", ["state"])
    op.create_table(
        "rule_result",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("update_id", sa.String(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("approval_id", sa.String(), nullable=True),
        sa.Column("eula_id", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id"], ["rule_run.id"], name=op.f("fk_rule_result_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "update_id", name=op.f("pk_rule_result")),
    )
