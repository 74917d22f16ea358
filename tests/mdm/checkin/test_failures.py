"""Commands that failed, on the timeline: each once a day, and none that says nothing new."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mdm.checkin.failures import AGAIN, record_failures
from mdm.devices.timeline import list_timeline
from syncml.exchange import Answer, Request

if TYPE_CHECKING:
    from conftest import Bench

A = "a317dafe-baf4-453f-b232-a7075efae36e"
UPDATE = "./Vendor/MSFT/Update"
POLICY = Request("Replace", "./Device/Vendor/MSFT/Policy/Config/Update/RequireUpdateApproval", data="1")
GET = Request("Get", f"{UPDATE}/InstallableUpdates?list=StructData")
ADD = Request("Add", f"{UPDATE}/ApprovedUpdates/%7b{A}%7d")
VERSION = Request("Get", "./Vendor/MSFT/DMClient/Provider/CSPBridge/SyncApplicationVersion")
REBOOT = Request("Exec", "./Vendor/MSFT/Reboot/RebootNow", format="null")


def told(bench: Bench, *answers: Answer) -> list[dict[str, Any]]:
    """The events that these answers add to the first device's timeline, oldest first."""
    bench.now += timedelta(seconds=1)
    with bench.database.write() as connection:
        before = list_timeline(connection, 1, limit=1_000)
        events = record_failures(connection, 1, answers, bench.now)
        after = list_timeline(connection, 1, limit=1_000)
    new = list(reversed(after[: len(after) - len(before)]))
    assert [(entry.kind, entry.at) for entry in new] == [("command_failed", bench.now)] * len(events)
    return [entry.detail for entry in new]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (POLICY, 500),
        (POLICY, 425),
        (POLICY, 507),
        (GET, 404),
        (GET, 405),
        (GET, 500),
        (VERSION, 405),
        (REBOOT, 404),
        (REBOOT, 405),
        (Request("Delete", POLICY.loc_uri), 500),
    ],
)
def test_what_was_not_carried_out_is_told(bench: Bench, request_: Request, status: int) -> None:
    """Verb, address, status and error stand in one event, with the words of an error that has some."""
    bench.enrol("DEV1")
    facts = {"verb": request_.verb, "loc_uri": request_.loc_uri, "status": status}
    assert told(bench, Answer(request_, status)) == [{**facts, "error": None}]
    words = {"error": "0x86000002", "error_text": "The device has no such setting."}
    assert told(bench, Answer(request_, status, original_error="0x86000002")) == [{**facts, **words}]
    assert told(bench, Answer(request_, status, original_error="0x8F000001")) == [
        {**facts, "error": "0x8F000001"}
    ]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (GET, None),
        (GET, 200),
        (REBOOT, 202),
        # Not carried out for the sake of another command, which tells why.
        (POLICY, 215),
        (POLICY, 216),
        # The policy says so itself.
        (POLICY, 404),
        (POLICY, 405),
        (POLICY, 406),
        # An approval has events of its own.
        (ADD, 418),
        (ADD, 500),
        (ADD, 405),
        # It was so before.
        (Request("Delete", POLICY.loc_uri), 404),
        # An answer: the update is not in that list, there is no such node.
        (Request("Get", f"{UPDATE}/InstalledUpdates/%7b{A}%7d?list=StructData"), 404),
        (VERSION, 404),
        # Not looked at before our credentials.
        (GET, 401),
        (GET, 407),
    ],
)
def test_what_is_no_failure_is_not_told(sqlite_bench: Bench, request_: Request, status: int | None) -> None:
    """Success, silence, answers, and what is told elsewhere leave the timeline as it is."""
    sqlite_bench.enrol("DEV1")
    assert told(sqlite_bench, Answer(request_, status, original_error="0x86000002")) == []


def test_the_same_failure_is_told_once_a_day(bench: Bench) -> None:
    """A device that refuses the same command in every session does not push everything else off its timeline."""
    bench.enrol("DEV1")
    answer = Answer(POLICY, 500)
    assert len(told(bench, answer, answer)) == 1
    assert told(bench, answer) == []
    assert len(told(bench, Answer(POLICY, 500, original_error="0x80070005"))) == 1
    assert len(told(bench, Answer(POLICY, 425))) == 1
    assert told(bench, answer) == []
    bench.now += AGAIN
    assert len(told(bench, answer)) == 1


def test_each_device_has_its_own(bench: Bench) -> None:
    """What one device failed at is news of another."""
    bench.enrol("DEV1")
    bench.enrol("DEV2")
    assert len(told(bench, Answer(GET, 500))) == 1
    with bench.database.write() as connection:
        assert len(record_failures(connection, 2, [Answer(GET, 500)], bench.now)) == 1


def test_a_long_error_is_cut(sqlite_bench: Bench) -> None:
    """Of a text without end only the beginning is kept, and it counts as the same failure the next time."""
    sqlite_bench.enrol("DEV1")
    answer = Answer(GET, 500, original_error="x" * 10_000)
    ((detail),) = told(sqlite_bench, answer)
    assert detail["error"] == "x" * 256
    assert told(sqlite_bench, answer) == []
