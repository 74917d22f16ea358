"""What answers about policies and the session's version leave in a device's rows."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from csp.sync_version import SyncVersions, queries, raise_request
from mdm.checkin.device_state import record_policies, record_sync_version
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


def test_a_refused_policy_keeps_its_error_until_it_is_set(bench: Bench) -> None:
    """The HRESULT behind a refusal stays with the policy, and a success clears it."""
    bench.enrol("DEV1")
    for answer, expected in (
        (Answer(POLICY, 500, original_error="0x80070005"), ("failed", None, 500, "0x80070005")),
        (Answer(POLICY, 405, original_error="0x86000011"), ("unsupported", None, 405, "0x86000011")),
        (Answer(POLICY, 500, original_error="x" * 300), ("failed", None, 500, "x" * 256)),
        (Answer(POLICY, 425), ("failed", None, 425, None)),
        (Answer(POLICY, 500, original_error="0x80070005"), ("failed", None, 500, "0x80070005")),
        (Answer(POLICY, None), ("failed", None, 500, "0x80070005")),
        (Answer(POLICY, 200, original_error="0x00000000"), ("set", "1", 200, None)),
    ):
        with bench.database.write() as connection:
            record_policies(connection, 1, [answer], bench.now)
        (row,) = bench.rows("device_policy")
        assert (row["status"], row["value"], row["status_code"], row["error"]) == expected


def test_what_is_no_policy_is_not_kept_as_one(sqlite_bench: Bench) -> None:
    """A Replace of something else has a place of its own."""
    sqlite_bench.enrol("DEV1")
    request = raise_request("CSPBridge", "1.0", "5.0")
    assert request is not None
    with sqlite_bench.database.write() as connection:
        record_policies(connection, 1, [Answer(request, 200)], sqlite_bench.now)
    assert sqlite_bench.rows("device_policy") == []


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
