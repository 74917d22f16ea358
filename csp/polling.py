"""The schedules by which a device opens sessions itself: six numbers below `DMClient/Provider/{ProviderID}/Poll`.

They are written together and count as taken when all six are (DMClient CSP; MS-MDE2, the Poll characteristic).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from csp.dmclient import provider_leaf
from syncml.exchange import Request
from syncml.status import is_success

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from syncml.exchange import Answer

__all__ = ["POLL_NODES", "poll_requests", "poll_uris", "taken"]

POLL_NODES: Final = (
    "NumberOfFirstRetries",
    "IntervalForFirstSetOfRetries",
    "NumberOfSecondRetries",
    "IntervalForSecondSetOfRetries",
    "NumberOfRemainingScheduledRetries",
    "IntervalForRemainingScheduledRetries",
)
"""Names of the nodes: how often and every how many minutes, for the two sets after enrolment and the long run."""


def poll_uris(provider_id: str) -> tuple[str, ...]:
    """Where they stand, in the order of `POLL_NODES`, below the management server of that (unescaped) name.

    Raises InvalidLocURI for a name no address can have.
    """
    return tuple(provider_leaf(provider_id, f"Poll/{name}") for name in POLL_NODES)


def poll_requests(provider_id: str, numbers: Mapping[str, int]) -> tuple[Request, ...]:
    """The Replaces that give a device these numbers, which have a value for each of `POLL_NODES`.

    Raises InvalidLocURI for a name no address can have.
    """
    return tuple(
        Request("Replace", uri, format="int", type="text/plain", data=str(numbers[name]))
        for name, uri in zip(POLL_NODES, poll_uris(provider_id), strict=True)
    )


def taken(answers: Iterable[Answer], provider_id: str, numbers: Mapping[str, int]) -> int:
    """How many of these numbers the answers, among which there may be any others, say that the device has taken.

    An answer about another number, from before a change of the schedule, does not count. Raises InvalidLocURI for a
    name no address can have.
    """
    wanted = frozenset(poll_requests(provider_id, numbers))
    return sum(answer.request in wanted and is_success(answer.status or 0) for answer in answers)
