"""The updates that an approval or block of many speaks of, as the catalogue is now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlmodel import col

from mdm.approvals.decision import CLASSIFICATION, QUERY
from mdm.catalog.families import families
from mdm.storage.tables import QueryMatch, RevisionCategory, UpdateRevision

if TYPE_CHECKING:
    from sqlalchemy import Select

__all__ = ["updates_of"]


def updates_of(target_type: str, target_id: str) -> Select[Any]:
    """The UpdateIDs in a classification or product, or found by a saved query."""
    if target_type == QUERY:
        return select(col(QueryMatch.update_id)).where(col(QueryMatch.query_id) == target_id)
    latest = select(col(UpdateRevision.update_id)).where(col(UpdateRevision.is_latest).is_(True))
    if target_type == CLASSIFICATION:
        return latest.where(col(UpdateRevision.classification_id) == target_id)
    return latest.join(
        RevisionCategory,
        (col(RevisionCategory.update_id) == col(UpdateRevision.update_id))
        & (col(RevisionCategory.revision_number) == col(UpdateRevision.revision_number)),
    ).where(col(RevisionCategory.category_id).in_(select(families(lambda each: each == target_id).c.id)))
