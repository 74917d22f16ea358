"""The catalogue: revisions, and what they are found by."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, CheckConstraint, Column, Index, Integer, LargeBinary, text
from sqlmodel import Field

from mdm.storage.tables.base import SQLModel
from mdm.storage.types import UtcDateTime

__all__ = [
    "Category",
    "ListedUpdate",
    "RevisionCategory",
    "RevisionRelation",
    "RevisionText",
    "UpdateRevision",
]


class UpdateRevision(SQLModel, table=True):
    """One revision of an update, category or detectoid; IT sees the one with `is_latest`."""

    __tablename__: ClassVar[str] = "update_revision"
    __table_args__ = (
        Index(
            "uq_update_revision_latest",
            "update_id",
            unique=True,
            sqlite_where=text("is_latest"),
            postgresql_where=text("is_latest"),
        ),
        CheckConstraint("update_type IN ('Software', 'Driver', 'Category', 'Detectoid')", name="update_type"),
    )

    update_id: str = Field(primary_key=True)
    revision_number: int = Field(primary_key=True)
    is_latest: bool
    """True on the highest RevisionNumber of each UpdateID, and on no other."""
    update_type: str
    language: str | None = None
    """Of `title` and `description`: English, or the document's default; `revision_text` has the others."""
    title: str
    description: str | None = None
    kb: str | None = Field(default=None, index=True)
    """Digits of the first KBArticleID."""
    kb_all: list[str] = Field(sa_column=Column(JSON, nullable=False))
    msrc_severity: str | None = None
    security_bulletin: str | None = None
    created: datetime | None = Field(default=None, sa_type=UtcDateTime)
    publication_state: str
    """`Published` or `Expired`."""
    explicitly_deployable: bool
    eula_id: str | None = Field(default=None, index=True)
    classification_id: str | None = Field(default=None, index=True)
    """Resolved through the category list; None while that is unknown."""
    handler: str | None = None
    reboot_behavior: str | None = None
    can_uninstall: bool = False
    max_download_size: int | None = Field(default=None, sa_type=BigInteger)
    """Bytes, as written; of a bundle often 0."""
    download_size: int | None = Field(default=None, sa_type=BigInteger)
    """Bytes: `max_download_size`, or what the parts of a bundle come to; None while a part is unknown."""
    support_url: str | None = None
    more_info_url: str | None = None
    driver: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    """Of a Driver: `mdm.catalog.metadata.DriverInfo`."""
    upstream_url: str
    fetched_at: datetime = Field(sa_type=UtcDateTime)
    original: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    """The document as received (UTF-8), zlib-compressed.

    The last column: SQLite reads a row from its beginning, and this one may fill hundreds of pages.
    """


class RevisionText(SQLModel, table=True):
    """What a revision says of itself in a language other than that of `update_revision.title`."""

    __tablename__: ClassVar[str] = "revision_text"

    update_id: str = Field(primary_key=True)
    revision_number: int = Field(primary_key=True)
    language: str = Field(primary_key=True)
    """Lower case: `de`, `zh-cn`."""
    title: str | None = None
    description: str | None = None


class ListedUpdate(SQLModel, table=True):
    """An update that an administrator sees, and what it is found by; derived from its highest revision.

    A full-text index over `words` hangs on this table: on SQLite the FTS5 table `listed_search`, kept by
    triggers; on PostgreSQL the generated column `lexemes` with its GIN index (migration 0004).
    """

    __tablename__: ClassVar[str] = "listed_update"

    position: int = Field(
        # INTEGER is what makes it the rowid that FTS5 knows the row by
        sa_column=Column(
            BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=False
        )
    )
    """Grows with the CreationDate: lists run from the highest down (`mdm.catalog.listing.position_of`)."""
    update_id: str = Field(unique=True)
    superseded_at: datetime | None = Field(default=None, sa_type=UtcDateTime, index=True)
    """CreationDate of the earliest published update that supersedes it; None: it is not superseded."""
    words: str
    """Words and `_facets`, separated by single spaces (`mdm.catalog.words`)."""


class RevisionRelation(SQLModel, table=True):
    """An edge written in a revision: `supersedes`, `bundles` or `requires`; dangling targets are normal."""

    __tablename__: ClassVar[str] = "revision_relation"
    __table_args__ = (
        Index("ix_revision_relation_kind_target_id", "kind", "target_id"),
        CheckConstraint("kind IN ('supersedes', 'bundles', 'requires')", name="kind"),
    )

    update_id: str = Field(primary_key=True)
    revision_number: int = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    clause: int = Field(primary_key=True)
    """Clauses are conjoined; the targets inside one are alternatives."""
    target_id: str = Field(primary_key=True)
    target_revision: int | None = None
    """Only `bundles` names a revision."""


class RevisionCategory(SQLModel, table=True):
    """A category a revision belongs to (AtLeastOne IsCategory="true")."""

    __tablename__: ClassVar[str] = "revision_category"

    update_id: str = Field(primary_key=True)
    revision_number: int = Field(primary_key=True)
    category_id: str = Field(primary_key=True, index=True)


class Category(SQLModel, table=True):
    """A classification, product, product family or company of the upstream's category list."""

    __tablename__: ClassVar[str] = "category"

    id: str = Field(primary_key=True)
    revision_number: int
    category_type: str | None = Field(default=None, index=True)
    """`UpdateClassification`, `Product`, `ProductFamily`, `Company`; None where the document has none."""
    title: str
    parent_id: str | None = Field(default=None, index=True)
