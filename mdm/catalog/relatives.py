"""From an update's id to a revision that the upstream offers.

GetRelatedRevisionsForUpdates tells it, where it is answered: the specification calls it unused, Microsoft Update
knows it (MS-WSUSSS 3.1.4.9). Elsewhere lower revisions are tried, within the hundred of the one that is wanted:
they are numbered 100, 101, ..., 200, 201, ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mdm.upstream.errors import InvalidAnswer, SoapFault
from mdm.upstream.messages import UpdateIdentity

if TYPE_CHECKING:
    from mdm.catalog.session import RunSession

__all__ = ["highest_offered"]

_NO_RELATIVES: Final = frozenset({None, "InternalServerError", "InvalidParameters"})
"""Faults of an upstream that does not answer GetRelatedRevisionsForUpdates, or not for this update."""
_HUNDRED: Final = 100
_PROBES: Final = 8
"""Revisions tried for one update."""
_USUAL: Final = (201, 200, 101, 100)
"""Tried for an update of which no revision is known."""


def highest_offered(session: RunSession, wanted: UpdateIdentity) -> UpdateIdentity | None:
    """Return a revision to fetch instead of one that is not offered, or of an update known by its id alone."""
    try:
        related = session.client.get_related_revisions(wanted.update_id)
    except InvalidAnswer:
        return _probe(session, wanted)
    except SoapFault as fault:
        if fault.error_code not in _NO_RELATIVES:
            raise
        return _probe(session, wanted)
    return max(
        (each for each in related if each.update_id == wanted.update_id and each != wanted), default=None
    )


def _probe(session: RunSession, wanted: UpdateIdentity) -> UpdateIdentity | None:
    """Try likely revisions, the highest first, in one batch."""
    number = wanted.revision_number
    numbers = range(number - 1, number // _HUNDRED * _HUNDRED - 1, -1)[:_PROBES] if number else _USUAL
    candidates = [UpdateIdentity(wanted.update_id, each) for each in numbers if each > 0]
    for result in session.client.get_update_data_resilient(candidates, session.batch_size):
        found = [record.identity for record in result.found]
        if found:
            return max(found)
    return None
