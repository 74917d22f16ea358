"""The poll schedule and the push channel within check-ins."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import select, update

from csp.polling import POLL_NODES, poll_requests, poll_uris
from csp.push import push_queries
from mdm.audit import Origin
from mdm.ca.authority import install
from mdm.ca.certificates import build_root
from mdm.ca.chain import Material
from mdm.checkin.channel import Channel
from mdm.checkin.memory import Memory
from mdm.enrolment.poll_schedule import PollSchedule
from mdm.storage.statements import table_of
from mdm.storage.tables import Device
from syncml.client import Outcome, Verdict
from syncml.exchange import Answer
from syncml.messages import Item, Location

if TYPE_CHECKING:
    from conftest import Bench, ScriptedDevice

NAME = "CSPBridge"
POLL = [f"Replace {uri}" for uri in poll_uris(NAME)]
PFN, CHANNEL, STATUS = (query.loc_uri for query in push_queries(NAME))
QUERIES = [f"Get {PFN}", f"Get {CHANNEL}", f"Get {STATUS}"]
SET = f"Replace {PFN}"
OURS = "Contoso.Bridge_8wekyb3d8bbwe"
URL = "https://db5.notify.windows.com/?token=AwYAAAB"
_PUBLIC = (
    rsa.generate_private_key(public_exponent=65537, key_size=2048)
    .public_key()
    .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
)


def reach(bench: Bench, **values: Any) -> None:
    """Give the check-in other settings."""
    bench.checkin = replace(bench.checkin, channel=Channel(NAME, **values))


def enrolled(bench: Bench, **values: Any) -> ScriptedDevice:
    """A device that was enrolled with a certificate, and shows it."""
    device = bench.enrol(certificate_required=True)
    key = ec.generate_private_key(ec.SECP256R1())
    root = build_root(key, "Example", intermediates=0, now=bench.now, not_after=bench.now + timedelta(3650))
    with bench.database.write() as conn:
        conn.execute(update(table_of(Device)).values(**values, state_read_at=None))
        material = Material(key, root, None)
        authority = install(
            conn, Origin("test"), bench.secrets, material, kind="created", instead=False, now=bench.now
        )
        (pk,) = (row["pk"] for row in bench.rows("device"))
        issued = authority.issue(conn, public_key=_PUBLIC, subject_name="DEV1", device_pk=pk, now=bench.now)
    bench.certificate = issued.der
    return device


def session(bench: Bench, device: ScriptedDevice, about: str) -> list[str]:
    """The commands below that node in one session, ten minutes after the last."""
    bench.now += timedelta(minutes=10)
    device.asked.clear()
    assert device.check_in(first=False) is Verdict.END
    return [command for command in device.asked if f"/{about}/" in command]


def says(device: ScriptedDevice, uri: str, value: str | None) -> None:
    """From here on the device answers this to a Get; None: it has no such node."""
    device.answers.pop(uri, None)
    if value is not None:
        device.answers[uri] = Outcome(200, (Item(source=Location(uri), data=value),))


def row(bench: Bench) -> dict[str, Any]:
    """The device's row."""
    return bench.rows("device")[0]


def test_a_device_with_another_schedule_gets_ours_once(bench: Bench) -> None:
    """Six Replaces in one session, and none after that until the setting changes."""
    device = enrolled(bench)
    reach(bench, poll=PollSchedule())
    assert session(bench, device, "Poll") == POLL
    assert row(bench)["poll_schedule"] == "5x3, 8x15, 480"
    assert session(bench, device, "Poll") == []
    reach(bench, poll=PollSchedule(10, 1, 0, 0, 60))
    assert session(bench, device, "Poll") == POLL
    assert row(bench)["poll_schedule"] == "10x1, 60"
    assert session(bench, device, "Poll") == []


def test_a_device_that_was_enrolled_with_the_schedule_gets_nothing(bench: Bench) -> None:
    """Nor does one when no schedule is set."""
    device = enrolled(bench, poll_schedule="5x3, 8x15, 480")
    reach(bench, poll=PollSchedule())
    assert session(bench, device, "Poll") == []
    reach(bench)
    assert session(bench, device, "Poll") == []
    assert session(bench, device, "Push") == []


def test_a_device_that_others_enrolled_keeps_its_schedule(sqlite_bench: Bench) -> None:
    """With message credentials it was not our document that said when to come."""
    device = sqlite_bench.enrol()
    reach(sqlite_bench, poll=PollSchedule())
    assert session(sqlite_bench, device, "Poll") == []


@pytest.mark.parametrize("name", [NAME, "ü" * 64])
def test_a_refusal_is_repeated_once_a_day(bench: Bench, name: str) -> None:
    """One number of six is enough: the schedule does not count as given, and the refusal is on the timeline."""
    device = enrolled(bench)
    bench.checkin = replace(bench.checkin, channel=Channel(name, PollSchedule()))
    uris = poll_uris(name)
    device.answers[uris[3]] = Outcome(405)
    assert len(session(bench, device, "Poll")) == len(POLL_NODES)
    assert row(bench)["poll_schedule"] is None
    failures = [each for each in bench.rows("device_event") if each["kind"] == "command_failed"]
    assert [each["detail"]["status"] for each in failures] == [405]
    assert session(bench, device, "Poll") == []
    bench.now += timedelta(hours=25)
    device.answers.clear()
    assert len(session(bench, device, "Poll")) == len(POLL_NODES)
    assert row(bench)["poll_schedule"] == str(PollSchedule())


def test_other_failures_do_not_hold_the_schedule_back(bench: Bench) -> None:
    """Only the schedule's own do."""
    device = enrolled(bench)
    device.answers["./DevDetail/SwV"] = Outcome(500)
    reach(bench)
    session(bench, device, "Poll")
    assert "command_failed" in {each["kind"] for each in bench.rows("device_event")}
    reach(bench, poll=PollSchedule())
    assert session(bench, device, "Poll") == POLL


def test_the_channel_is_read_in_each_session(bench: Bench) -> None:
    """The name is set until a channel is there; then the device is only asked."""
    device = enrolled(bench)
    reach(bench, pfn=OURS)
    says(device, STATUS, "4")
    assert session(bench, device, "Push") == [SET, *QUERIES]
    assert (row(bench)["push_channel"], row(bench)["push_status"]) == (None, 4)
    for uri, value in ((PFN, OURS), (CHANNEL, URL), (STATUS, "0")):
        says(device, uri, value)
    assert session(bench, device, "Push") == [SET, *QUERIES]
    read_at = row(bench)["push_read_at"]
    assert (row(bench)["push_channel"], row(bench)["push_status"]) == (URL, 0)
    assert session(bench, device, "Push") == QUERIES
    assert row(bench)["push_read_at"] > read_at


@pytest.mark.parametrize(
    ("uri", "value"),
    [(PFN, "Other.Name_8wekyb3d8bbwe"), (CHANNEL, None), (CHANNEL, URL + "A" * 2048)],
)
def test_a_channel_that_is_of_no_use_is_forgotten(bench: Bench, uri: str, value: str | None) -> None:
    """Made for another name, gone, or no address: the name is set again in the next session."""
    device = enrolled(bench, push_channel=URL)
    reach(bench, pfn=OURS)
    says(device, CHANNEL, URL)
    says(device, uri, value)
    assert session(bench, device, "Push") == QUERIES
    assert row(bench)["push_channel"] is None
    assert session(bench, device, "Push") == [SET, *QUERIES]


def test_questions_without_an_answer_change_nothing(sqlite_bench: Bench) -> None:
    """Refused credentials of ours say nothing of the channel: it is asked for again in the same session."""
    device = sqlite_bench.enrol(server_auth="syncml:auth-md5")
    reach(sqlite_bench, pfn=OURS)
    device.server_nonce = b"another nonce 01"
    says(device, CHANNEL, URL)
    assert session(sqlite_bench, device, "Push") == [SET, *QUERIES]
    assert row(sqlite_bench)["push_channel"] == URL


def test_a_schedule_that_is_taken_in_two_messages_counts(bench: Bench) -> None:
    """The answers of one session are counted together; those of another are not."""
    bench.enrol()
    channel, requests = Channel(NAME, PollSchedule()), poll_requests(NAME, PollSchedule().nodes())
    memory = Memory()
    told = [
        [Answer(request, 200) for request in requests[:4]],
        [],
        [Answer(each, 200) for each in requests[4:]],
    ]
    given = []
    for memories in (Memory(), memory, memory, memory):
        with bench.database.write() as conn:
            device = conn.execute(select(table_of(Device))).one()
            answers = told[0] if memories is not memory else told.pop(0)
            channel.record(conn, device, answers, memories, bench.now)
        given.append(row(bench)["poll_schedule"])
    assert given == [None, None, None, str(PollSchedule())]
    assert Memory.load(memory.dump()).counts == memory.counts
