"""The catalogue's texts, dates and search.

Existing revisions are listed and searchable after the next clean-up of the catalogue, which mends the list.

Revision ID: 0004
Revises: 0003
Create Date: 2026-11-21
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _upgrade_revisions()
    op.create_table(
        "revision_text",
        sa.Column("update_id", sa.String(), nullable=False),
        sa.Column("revision_number", sa.Integer(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=True),
        sa.Column("description", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("update_id", "revision_number", "language", name=op.f("pk_revision_text")),
    )
    op.create_table(
        "listed_update",
        sa.Column(
            "position",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            autoincrement=False,
        ),
        sa.Column("update_id", sa.String(), nullable=False),
        sa.Column("superseded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("words", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_listed_update")),
        sa.UniqueConstraint("update_id", name=op.f("uq_listed_update_update_id")),
    )
    op.create_index("ix_listed_update_superseded_at", "listed_update", ["superseded_at"])
    _create_search()
    _upgrade_eula_texts()
    with op.batch_alter_table("eula_acceptance") as batch:
        batch.add_column(sa.Column("geo_id", sa.String(), nullable=False, server_default=sa.text("''")))


def downgrade() -> None:
    with op.batch_alter_table("eula_acceptance") as batch:
        batch.drop_column("geo_id")
    _downgrade_eula_texts()
    _drop_search()
    op.drop_index("ix_listed_update_superseded_at", table_name="listed_update")
    op.drop_table("listed_update")
    op.drop_table("revision_text")
    _downgrade_revisions()


# --- update_revision ------------------------------------------------------------------------------------


def _upgrade_revisions() -> None:
    op.drop_index("ix_update_revision_is_latest_visible", table_name="update_revision")
    # The document goes to the end of the row: SQLite reads a row from its beginning.
    with op.batch_alter_table(
        "update_revision",
        recreate="always" if _on_sqlite() else "never",
        partial_reordering=[("upstream_url", "fetched_at", "original")] if _on_sqlite() else None,
    ) as batch:
        batch.add_column(sa.Column("language", sa.String(), nullable=True))
        batch.add_column(sa.Column("download_size", sa.BigInteger(), nullable=True))
        batch.add_column(sa.Column("driver", sa.JSON(), nullable=True))
    op.create_index(
        "uq_update_revision_latest",
        "update_revision",
        ["update_id"],
        unique=True,
        sqlite_where=sa.text("is_latest"),
        postgresql_where=sa.text("is_latest"),
    )


def _downgrade_revisions() -> None:
    op.drop_index("uq_update_revision_latest", table_name="update_revision")
    with op.batch_alter_table("update_revision") as batch:
        for name in ("driver", "download_size", "language"):
            batch.drop_column(name)
    op.create_index(
        "ix_update_revision_is_latest_visible", "update_revision", ["is_latest", "explicitly_deployable"]
    )


# --- search ---------------------------------------------------------------------------------------------


def _create_search() -> None:
    """An index over the words of the list that no statement can forget to keep."""
    if not _on_sqlite():
        # The words are cut by the bridge, the same on both databases: no text search configuration is asked.
        op.execute(
            "ALTER TABLE listed_update ADD COLUMN lexemes tsvector NOT NULL "
            "GENERATED ALWAYS AS (array_to_tsvector(string_to_array(words, ' '))) STORED"
        )
        # Rare words must be known as rare: for one that is not, the planner reads the list from its beginning.
        op.execute("ALTER TABLE listed_update ALTER COLUMN lexemes SET STATISTICS 1000")
        # Without a list of pending entries, which every search would have to read as well.
        op.execute(
            "CREATE INDEX ix_listed_update_lexemes ON listed_update USING gin (lexemes) WITH (fastupdate = off)"
        )
        return
    op.execute(
        "CREATE VIRTUAL TABLE listed_search USING fts5("
        "words, content='listed_update', content_rowid='position', detail=none, columnsize=0, "
        "tokenize=\"ascii tokenchars '_'\")"
    )
    insert = "INSERT INTO listed_search (rowid, words) VALUES (new.position, new.words);"
    delete = (
        "INSERT INTO listed_search (listed_search, rowid, words) VALUES ('delete', old.position, old.words);"
    )
    op.execute(f"CREATE TRIGGER listed_update_insert AFTER INSERT ON listed_update BEGIN {insert} END")
    op.execute(f"CREATE TRIGGER listed_update_delete AFTER DELETE ON listed_update BEGIN {delete} END")
    op.execute(
        "CREATE TRIGGER listed_update_update AFTER UPDATE OF position, words ON listed_update "
        f"BEGIN {delete} {insert} END"
    )


def _drop_search() -> None:
    if not _on_sqlite():
        op.execute("DROP INDEX ix_listed_update_lexemes")
        op.execute("ALTER TABLE listed_update DROP COLUMN lexemes")
        return
    for event in ("insert", "delete", "update"):
        op.execute(f"DROP TRIGGER listed_update_{event}")
    op.execute("DROP TABLE listed_search")


# --- licence texts --------------------------------------------------------------------------------------


def _upgrade_eula_texts() -> None:
    """Countries leave the locale (`en-x-deu`) for a column of their own."""
    _rebuild_eula_texts(
        sa.Column("geo_id", sa.String(), nullable=False, server_default=sa.text("''")),
        sa.Column("current", sa.Boolean(), nullable=False, server_default=sa.true()),
        sa.Column("named_at", sa.DateTime(timezone=True), nullable=True),
        key=("eula_id", "locale", "geo_id", "file_sha1"),
    )
    op.execute(
        "UPDATE eula_text SET geo_id = upper(substr(locale, length(locale) - 2)), "
        "locale = substr(locale, 1, length(locale) - 6) WHERE locale LIKE '%-x-___'"
    )
    op.create_index(
        "uq_eula_text_current",
        "eula_text",
        ["eula_id", "locale", "geo_id"],
        unique=True,
        sqlite_where=sa.text("current"),
        postgresql_where=sa.text("current"),
    )


def _downgrade_eula_texts() -> None:
    op.drop_index("uq_eula_text_current", table_name="eula_text")
    op.execute("DELETE FROM eula_text WHERE NOT current")
    op.execute("UPDATE eula_text SET locale = locale || '-x-' || lower(geo_id) WHERE geo_id <> ''")
    _rebuild_eula_texts(key=("eula_id", "locale"))


def _rebuild_eula_texts(*more: sa.Column[object], key: tuple[str, ...]) -> None:
    """Make the table anew with another primary key; licences are few."""
    columns = (
        "eula_id",
        "locale",
        "file_sha1",
        "file_sha256",
        "url",
        "text",
        "text_sha256",
        "fetched_at",
        "error",
    )
    op.rename_table("eula_text", "eula_text_before")
    if not _on_sqlite():
        # names of constraints belong to the schema, not to the table
        op.drop_constraint("pk_eula_text", "eula_text_before", type_="primary")
        op.drop_constraint("fk_eula_text_eula_id", "eula_text_before", type_="foreignkey")
    op.create_table(
        "eula_text",
        sa.Column("eula_id", sa.String(), nullable=False),
        sa.Column("locale", sa.String(), nullable=False),
        sa.Column("file_sha1", sa.String(), nullable=False),
        *more,
        sa.Column("file_sha256", sa.String(), nullable=True),
        sa.Column("url", sa.String(), nullable=True),
        sa.Column("text", sa.String(), nullable=True),
        sa.Column("text_sha256", sa.String(), nullable=True),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["eula_id"], ["eula.id"], name=op.f("fk_eula_text_eula_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint(*key, name=op.f("pk_eula_text")),
    )
    names = ", ".join(columns)
    op.execute(f"INSERT INTO eula_text ({names}) SELECT {names} FROM eula_text_before")  # noqa: S608 - names of our own
    op.drop_table("eula_text_before")


def _on_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"
