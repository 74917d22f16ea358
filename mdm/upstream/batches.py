"""GetUpdateData for many revisions, when any one of them may fail the call it is in.

One unknown revision fails a whole call. Microsoft Update names the missing ones, so one retry without them
does; a WSUS says InternalServerError and nothing else, so the batch is halved until the culprit stands alone
(a batch of 100 with one culprit costs 15 calls). An answer may also be short (Windows stops at 2,000,000
bytes), too large, too late or unreadable: what is missing is asked for again, and what cannot be had together
is asked for in halves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final

from mdm.upstream.errors import AnswerTimeout, InvalidAnswer, SoapFault
from mdm.upstream.messages import UpdateData, UpdateIdentity, UpdateRecord, UrlData

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["BatchResult", "FailedRevision", "fetch_in_batches", "missing_revisions"]

_UNKNOWN_ID: Final = "InternalServerError"
"""What a WSUS says when asked for a revision it does not have, with an empty Message."""
_HALVED: Final = frozenset({_UNKNOWN_ID, "InvalidParameters", "TooManyIds"})
"""Faults that a smaller batch, or one without the culprit, may not meet."""

_MISSING: Final = re.compile(r"Missing Revisions:(.*)", re.IGNORECASE | re.DOTALL)
_IDENTITY: Final = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.([0-9]{1,10})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FailedRevision:
    """A revision that exists, perhaps, but could not be had this time."""

    identity: UpdateIdentity
    reason: str


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What came of one batch: every identity asked for is in exactly one of the first four."""

    found: tuple[UpdateRecord, ...]
    not_offered: tuple[UpdateIdentity, ...]
    """The upstream named them as missing, or left them out of its answer."""
    refused: tuple[UpdateIdentity, ...]
    """Asked for alone, each met a fault that says nothing: an unknown revision, or an upstream that is ill."""
    failed: tuple[FailedRevision, ...]
    file_urls: tuple[UrlData, ...]


@dataclass(slots=True)
class _Batch:
    found: dict[UpdateIdentity, UpdateRecord] = field(default_factory=dict)
    not_offered: list[UpdateIdentity] = field(default_factory=list)
    refused: list[UpdateIdentity] = field(default_factory=list)
    failed: list[FailedRevision] = field(default_factory=list)
    file_urls: dict[str, UrlData] = field(default_factory=dict)


def fetch_in_batches(
    get_update_data: Callable[[Sequence[UpdateIdentity]], UpdateData],
    identities: Sequence[UpdateIdentity],
    batch_size: int,
    *,
    breaker: int | None = None,
) -> Iterator[BatchResult]:
    """Yield a result per batch of at most `batch_size` (1 or more), so that each can be stored at once.

    Raises what `get_update_data` raises for a failure of the upstream as a whole: TransportError, and faults
    that no smaller batch would avoid. With a `breaker`, raises InvalidAnswer once that many revisions have been
    refused and not one was found: an upstream that is ill need not be asked for each of thousands alone.
    """
    pending = iter(dict.fromkeys(identities))
    found = False
    while asked := tuple(islice(pending, max(1, batch_size))):
        batch = _Batch()
        # a list as a stack: first halves first, and no recursion
        parts = [_Part(asked)]
        while parts:
            parts.extend(reversed(_fetch(get_update_data, parts.pop(), batch)))
            found = found or bool(batch.found)
            if breaker is not None and not found and len(batch.refused) >= breaker:
                raise InvalidAnswer("the upstream gives nothing of what it lists")
        yield BatchResult(
            tuple(batch.found.values()),
            tuple(batch.not_offered),
            tuple(batch.refused),
            tuple(batch.failed),
            tuple(batch.file_urls.values()),
        )


def missing_revisions(message: str) -> frozenset[UpdateIdentity]:
    """Return the revisions a fault of Microsoft Update names as missing; empty for any other message.

    Its form: `Requested N returned M (test content removed: K). Missing Revisions: <guid>.<revision>...`
    """
    named = _MISSING.search(message)
    if named is None:
        return frozenset()
    pairs = _IDENTITY.findall(named[1])
    return frozenset(UpdateIdentity(update_id.lower(), int(revision)) for update_id, revision in pairs)


@dataclass(frozen=True, slots=True)
class _Part:
    identities: tuple[UpdateIdentity, ...]
    may_drop_named: bool = True
    """Whether missing revisions that a fault names are believed; a second time, halving finds the culprit."""

    def halves(self) -> list[_Part]:
        middle = len(self.identities) // 2
        return [_Part(self.identities[:middle]), _Part(self.identities[middle:])]


def _fetch(
    get_update_data: Callable[[Sequence[UpdateIdentity]], UpdateData], part: _Part, batch: _Batch
) -> list[_Part]:
    """Ask once for a part; note in `batch` what is settled and return what has to be asked next."""
    try:
        data = get_update_data(part.identities)
    except SoapFault as fault:
        return _after_fault(fault, part, batch)
    except (InvalidAnswer, AnswerTimeout) as problem:
        if len(part.identities) > 1:
            return part.halves()
        batch.failed.append(FailedRevision(part.identities[0], str(problem)))
        return []
    answered = {record.identity: record for record in data.updates}
    missing = tuple(each for each in part.identities if each not in answered)
    batch.found.update((each, answered[each]) for each in part.identities if each in answered)
    batch.file_urls.update((url.file_digest, url) for url in data.file_urls)
    if len(missing) < len(part.identities):
        return [_Part(missing, part.may_drop_named)] if missing else []
    if len(missing) > 1:
        return part.halves()
    batch.not_offered += missing
    return []


def _after_fault(fault: SoapFault, part: _Part, batch: _Batch) -> list[_Part]:
    """Decide what a fault means for a part; raises it if it is not about the revisions asked for."""
    named = missing_revisions(fault.message).intersection(part.identities)
    if named and part.may_drop_named:
        batch.not_offered += sorted(named)
        rest = tuple(each for each in part.identities if each not in named)
        return [_Part(rest, may_drop_named=False)] if rest else []
    if fault.error_code not in _HALVED:
        raise fault
    if len(part.identities) > 1:
        return part.halves()
    if fault.error_code == _UNKNOWN_ID:
        batch.refused += part.identities
    else:
        batch.failed.append(FailedRevision(part.identities[0], str(fault)))
    return []
