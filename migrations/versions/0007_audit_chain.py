"""The audit trail as a chain of hashes, with what was before and after each change.

Entries that are there already are linked in the order of their numbers, and one more says so: until it, the chain
proves only that nothing was changed since this migration.

Revision ID: 0007
Revises: 0006
Create Date: 2026-11-22
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_GENESIS = "0" * 64
_BATCH = 1000
_INDEXES = {
    "ix_audit_entry_actor_seq": ["actor", "seq"],
    "ix_audit_entry_action_seq": ["action", "seq"],
    "ix_audit_entry_object_type_object_id_seq": ["object_type", "object_id", "seq"],
    "ix_audit_entry_object_id_seq": ["object_id", "seq"],
}

_entry = sa.table(
    "audit_entry",
    sa.column("seq", sa.Integer()),
    sa.column("at", sa.DateTime(timezone=True)),
    sa.column("actor", sa.String()),
    sa.column("action", sa.String()),
    sa.column("object_type", sa.String()),
    sa.column("object_id", sa.String()),
    sa.column("detail", sa.JSON()),
    sa.column("before", sa.JSON(none_as_null=True)),
    sa.column("after", sa.JSON(none_as_null=True)),
    sa.column("request_id", sa.String()),
    sa.column("remote_addr", sa.String()),
    sa.column("hash", sa.String()),
)


def upgrade() -> None:
    with op.batch_alter_table("audit_entry") as batch:
        batch.add_column(sa.Column("before", sa.JSON(none_as_null=True), nullable=True))
        batch.add_column(sa.Column("after", sa.JSON(none_as_null=True), nullable=True))
        batch.add_column(sa.Column("hash", sa.String(), nullable=True))
    seq, last = _chain()
    with op.batch_alter_table("audit_entry") as batch:
        batch.alter_column("hash", existing_type=sa.String(), nullable=False)
    for name, columns in _INDEXES.items():
        op.create_index(name, "audit_entry", columns)
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_audit_head_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
    )
    op.bulk_insert(head, [{"id": 1, "seq": seq, "hash": last}])


def downgrade() -> None:
    op.drop_table("audit_head")
    for name in _INDEXES:
        op.drop_index(name, table_name="audit_entry")
    with op.batch_alter_table("audit_entry") as batch:
        for name in ("hash", "after", "before"):
            batch.drop_column(name)
    if op.get_bind().dialect.name == "postgresql":
        # The older release takes its numbers from the sequence, which the newer one has left where it was.
        op.execute(
            "SELECT setval(pg_get_serial_sequence('audit_entry', 'seq'), "
            "(SELECT COALESCE(max(seq), 0) + 1 FROM audit_entry), false)"
        )


def _chain() -> tuple[int, str]:
    """Link every entry, and add the one that says so; returns where the chain ends."""
    connection = op.get_bind()
    seq, last, count = 0, _GENESIS, 0
    link = (
        sa.update(_entry).where(_entry.c.seq == sa.bindparam("of_seq")).values(hash=sa.bindparam("new_hash"))
    )
    after: int | None = None
    while True:
        query = sa.select(_entry).order_by(_entry.c.seq).limit(_BATCH)
        rows = (
            connection.execute(query if after is None else query.where(_entry.c.seq > after)).mappings().all()
        )
        if not rows:
            break
        links = []
        for row in rows:
            seq, last = row["seq"], _hash(dict(row), last)
            links.append({"of_seq": seq, "new_hash": last})
        connection.execute(link, links)
        count, after = count + len(rows), seq
    if not count:
        return 0, _GENESIS
    entry: dict[str, Any] = {
        "seq": seq + 1,
        "at": _utc(connection.execute(sa.select(sa.func.current_timestamp())).scalar_one()),
        "actor": "migration",
        "action": "audit.chain",
        "object_type": "audit",
        "object_id": "chain",
        "detail": {"entries": count, "last_seq": seq},
        "before": None,
        "after": None,
        "request_id": None,
        "remote_addr": None,
    }
    entry["hash"] = _hash(entry, last)
    connection.execute(sa.insert(_entry), entry)
    return entry["seq"], entry["hash"]


def _hash(entry: dict[str, Any], previous: str) -> str:
    """As in mdm.audit_chain, on its own: a migration means the same for ever."""
    entry = {name: value for name, value in entry.items() if name != "hash"}
    entry["at"] = _utc(entry["at"]).isoformat().replace("+00:00", "Z")
    entry["previous"] = previous
    return hashlib.sha256(
        json.dumps(entry, sort_keys=True, separators=(",", ":")).encode("ascii")
    ).hexdigest()


def _utc(moment: datetime) -> datetime:
    """SQLite gives back times without a zone; they are in UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
