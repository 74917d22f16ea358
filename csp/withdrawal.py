"""Taking an approval back from a device: a Delete that the Update CSP does not document, and what its answer says.

The CSP lists Add and Get for ApprovedUpdates/{guid} only (update-csp, section 3). A build that refuses the Delete will
refuse it on every device; one that takes it need not mean that Windows forgets the approval, so the list is read again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from csp.guid import guid_segment, parse_guid
from csp.locuri import LocURI
from csp.status import Outcome, outcome
from syncml.exchange import Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from syncml.exchange import Answer

__all__ = ["answers_to_withdrawals", "withdraw"]

_APPROVED: Final = "./Vendor/MSFT/Update/ApprovedUpdates"


def withdraw(guid: str) -> Request:
    """The Delete of an update or classification from ApprovedUpdates; raises InvalidGuid."""
    return Request("Delete", f"{_APPROVED}/{guid_segment(guid)}")


def answers_to_withdrawals(answers: Iterable[Answer]) -> Iterator[tuple[str, Answer, Outcome]]:
    """The GUID, the answer and what became of it, for each answered Delete that `withdraw` made."""
    for answer in answers:
        request, status = answer.request, answer.status
        if request.verb == "Delete" and status is not None and request.loc_uri.startswith(f"{_APPROVED}/"):
            guid = parse_guid(LocURI.parse(request.loc_uri).segments[-1])
            yield guid, answer, outcome(request, status)
