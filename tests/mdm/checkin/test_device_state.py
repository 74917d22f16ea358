"""What answers about policies and the session's version leave in a device's rows."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from csp.sync_version import SyncVersions, queries, raise_request
from mdm.checkin.device_state import record_sync_version
from syncml.exchange import Answer, Request
from syncml.messages import Item

if TYPE_CHECKING:
    from conftest import Bench

POLICY = Request("Replace", "./Device/Vendor/MSFT/Policy/Config/Update/RequireUpdateApproval", data="1")
CURRENT, CEILING = queries("CSPBridge")


def version(bench: Bench, *answers: Answer) -> SyncVersions:
    """What is read from answers, a minute after those before them."""
    bench.now += timedelta(minutes=1)
    with bench.database.write() as connection:
        return record_sync_version(connection, 1, answers, "CSPBridge", bench.now)


def said(request: Request, value: str) -> Answer:
    """A Get that brought a value."""
    return Answer(request, 200, (Item(data=value),))


def test_the_version_is_kept_as_it_was_told(bench: Bench) -> None:
    """Asked, raised, confirmed: the row follows, with the time of each."""
    bench.enrol("DEV1")
    request = raise_request("CSPBridge", "1.0", "5.0")
    assert request is not None
    for answers, expected in (
        ((said(CURRENT, "1.0"), said(CEILING, "5.0")), "1.0"),
        ((Answer(request, 500),), "1.0"),
        ((Answer(request, 200),), "3.0"),
        ((said(CURRENT, "4.0"), said(CEILING, "5.0")), "4.0"),
        ((Answer(CURRENT, 404), Answer(CEILING, 404)), "4.0"),
        ((said(CURRENT, "9" * 300),), "9" * 256),
    ):
        version(bench, *answers)
        (row,) = bench.rows("device")
        assert (row["sync_version"], row["sync_version_at"]) == (expected, bench.now)


def test_what_was_said_is_given_back(sqlite_bench: Bench) -> None:
    """The caller decides by it whether to raise the version."""
    sqlite_bench.enrol("DEV1")
    assert version(sqlite_bench, said(CURRENT, "1.0"), said(CEILING, "5.0")) == SyncVersions(
        "1.0", "5.0", answered=True
    )


@pytest.mark.parametrize(
    "answers", [(), (Answer(CURRENT, None), Answer(CEILING, None)), (Answer(POLICY, 200),)]
)
def test_silence_is_no_answer(sqlite_bench: Bench, answers: tuple[Answer, ...]) -> None:
    """Unless something about the version was answered, nothing is written, so that it is asked again."""
    sqlite_bench.enrol("DEV1")
    before = sqlite_bench.dump()
    assert version(sqlite_bench, *answers) == SyncVersions()
    assert sqlite_bench.dump() == before
