"""What a device says it is within a check-in, and the names, groups and approvals that follow from it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, update

from mdm.audit import Origin
from mdm.checkin.device_state import record_identity
from mdm.devices.groups import GroupDefinition, create_group
from mdm.storage.statements import table_of
from mdm.storage.tables import ApprovalGroup, Device
from syncml.client import Outcome, Verdict
from syncml.exchange import Answer, Request
from syncml.messages import Item, Location

if TYPE_CHECKING:
    from conftest import Bench, ScriptedDevice

A = "a317dafe-baf4-453f-b232-a7075efae36e"
BUILD = "./DevDetail/SwV"
EDITION = "./DevDetail/Ext/Microsoft/OSPlatform"
COMPUTER_NAME = "./DevDetail/Ext/Microsoft/DNSComputerName"
SERIAL_NUMBER = "./DevDetail/Ext/Microsoft/SMBIOSSerialNumber"
INSTALLED = "Get ./Vendor/MSFT/Update/InstalledUpdates?list=StructData"
ALL = [BUILD, EDITION, COMPUTER_NAME, SERIAL_NUMBER]


def is_windows(device: ScriptedDevice, build: str, edition: str) -> None:
    """From here on the device says this when asked."""
    for uri, value in ((BUILD, build), (EDITION, edition)):
        device.answers[uri] = Outcome(200, (Item(source=Location(uri), data=value),))


def is_called(device: ScriptedDevice, name: str, serial_number: str | None = None) -> None:
    """From here on the device has this name in the network, and this serial number."""
    device.answers[COMPUTER_NAME] = Outcome(200, (Item(source=Location(COMPUTER_NAME), data=name),))
    if serial_number is not None:
        item = Item(source=Location(SERIAL_NUMBER), data=serial_number)
        device.answers[SERIAL_NUMBER] = Outcome(200, (item,))


def session(bench: Bench, device: ScriptedDevice) -> dict[str, Any]:
    """A session of the next day; the device's row after it."""
    bench.now += timedelta(hours=25)
    assert device.check_in() is Verdict.END
    return bench.rows("device")[0]


def change(bench: Bench, **values: object) -> None:
    """Change the device's row."""
    with bench.database.write() as conn:
        conn.execute(update(table_of(Device)).values(**values))


def asked(device: ScriptedDevice) -> list[str]:
    """The questions about its Windows in one session."""
    device.asked.clear()
    assert device.check_in() is Verdict.END
    return [command.removeprefix("Get ") for command in device.asked if "DevDetail" in command]


def approve_for(bench: Bench, rule: dict[str, object]) -> None:
    """A group by rule, and the update A approved for it."""
    with bench.database.write() as conn:
        group = create_group(
            conn, Origin("test"), name="some", definition=GroupDefinition(rule), now=bench.now
        )
    bench.approve(A, allow_without_metadata=True)
    with bench.database.write() as conn:
        conn.execute(update(table_of(ApprovalGroup)).values(group_id=group.id))


def test_a_device_is_asked_once_a_day(bench: Bench) -> None:
    """What it said is kept, with when; the next day it may be another Windows."""
    device = bench.enrol()
    is_windows(device, "10.0.22631.1", "Windows 11 Pro")
    assert asked(device) == ALL
    (row,) = bench.rows("device")
    assert (row["os_version"], row["os_edition"]) == ("10.0.22631.1", "Windows 11 Pro")
    assert row["identity_read_at"] is not None
    is_windows(device, "10.0.26100.1", "Windows 11 Enterprise")
    assert asked(device) == []
    bench.now += timedelta(hours=25)
    assert asked(device) == ALL
    assert bench.rows("device")[0]["os_version"] == "10.0.26100.1"


def test_a_device_without_the_nodes_is_no_failure(bench: Bench) -> None:
    """404 is an answer: nothing on its timeline, what was known stays, and it is left alone for a day."""
    device = bench.enrol()
    is_windows(device, "10.0.22631.1", "Windows 11 Pro")
    device.check_in()
    bench.now += timedelta(hours=25)
    device.answers.clear()
    assert asked(device) == ALL
    assert asked(device) == []
    assert bench.rows("device")[0]["os_version"] == "10.0.22631.1"
    assert [row for row in bench.rows("device_event") if row["kind"] == "command_failed"] == []


def test_the_computer_name_is_the_name_of_a_device_that_has_none(bench: Bench) -> None:
    """A DeviceID tells people nothing; where the name is not one to show, the DeviceID stays."""
    device = bench.enrol()
    change(bench, name="DEV1")
    is_called(device, "FRONT\nDESK")
    assert session(bench, device)["name"] == "DEV1"
    is_called(device, "F" * 201)
    assert session(bench, device)["name"] == "DEV1"
    is_called(device, "FRONT-DESK", "5CG0123XYZ")
    row = session(bench, device)
    assert (row["name"], row["computer_name"], row["serial_number"]) == (
        "FRONT-DESK",
        "FRONT-DESK",
        "5CG0123XYZ",
    )


@pytest.mark.parametrize(("enrolled", "name"), [(True, "FRONT-DESK"), (False, "DESKTOP-1")])
def test_a_device_that_named_itself_is_renamed_with_the_computer(
    bench: Bench, *, enrolled: bool, name: str
) -> None:
    """Enrolled devices bring their name along; one that was made over the API was named by IT, whatever that is."""
    device = bench.enrol()
    is_called(device, "DESKTOP-1")
    session(bench, device)
    change(bench, name="DESKTOP-1")
    with bench.database.write() as conn:
        conn.execute(update(table_of(Device)).values(certificate_required=enrolled))
        record_identity(conn, bench.rows("device")[0]["pk"], renamed("FRONT-DESK"), bench.now)
    row = bench.rows("device")[0]
    assert row["computer_name"] == "FRONT-DESK"
    assert row["name"] == name


def renamed(name: str) -> list[Answer]:
    """The answer of a computer of that name."""
    return [Answer(Request("Get", COMPUTER_NAME), 200, (Item(data=name),))]


def test_a_name_that_it_has_given_stays(bench: Bench) -> None:
    """Whatever the computer is called."""
    device = bench.enrol()
    change(bench, name="Reception, left")
    is_called(device, "FRONT-DESK")
    row = session(bench, device)
    assert (row["name"], row["computer_name"]) == ("Reception, left", "FRONT-DESK")
    is_called(device, "LEFT-DESK")
    assert session(bench, device)["name"] == "Reception, left"


def test_a_new_name_counts_for_groups_in_the_same_session(bench: Bench) -> None:
    """A rule on names sees what the device has just said."""
    device = bench.enrol()
    change(bench, name="DEV1")
    is_called(device, "KIOSK-7")
    device.installable = {A: (1, 200)}
    approve_for(bench, {"name": "kiosk-*"})
    device.check_in()
    assert device.approved == [A]


def test_a_wish_for_a_sync_makes_everything_due(bench: Bench) -> None:
    """Once: what was read after the wish is due a day later again."""
    device = bench.enrol()
    device.check_in()
    assert asked(device) == []
    assert INSTALLED not in device.asked
    bench.now += timedelta(minutes=5)
    change(bench, sync_requested_at=bench.now)
    bench.now += timedelta(minutes=5)
    assert asked(device) == ALL
    assert INSTALLED in device.asked
    assert asked(device) == []
    assert INSTALLED not in device.asked


def test_long_texts_are_cut(sqlite_bench: Bench) -> None:
    """Like every text of a device."""
    device = sqlite_bench.enrol()
    is_windows(device, "1" * 300, "W" * 300)
    is_called(device, "C" * 300, "S" * 300)
    device.check_in()
    (row,) = sqlite_bench.rows("device")
    assert {len(row[name]) for name in ("os_version", "os_edition", "computer_name", "serial_number")} == {
        256
    }


@pytest.mark.parametrize(
    "rule",
    [
        {"os_build": {"at_least": "26100"}},
        {"edition": "*enterprise"},
        {"manufacturer": "contoso"},
        {"language": "en-*"},
    ],
)
def test_an_approval_for_a_group_by_rule_comes_in_the_first_session(
    bench: Bench, rule: dict[str, object]
) -> None:
    """What the device says in a session counts in it."""
    device = bench.enrol()
    is_windows(device, "10.0.26100.1", "Windows 11 Enterprise")
    device.installable = {A: (1, 200)}
    approve_for(bench, rule)
    device.check_in()
    assert device.approved == [A]


def test_a_definition_counts_from_the_next_session_on(bench: Bench) -> None:
    """Nobody has to work out the other devices first."""
    device = bench.enrol()
    device.installable = {A: (1, 200)}
    device.check_in()
    approve_for(bench, {"language": "en-*"})
    device.check_in()
    assert device.approved == [A]


def test_an_upgraded_windows_leaves_the_group_of_the_old_ones(bench: Bench) -> None:
    """In the session that tells it."""
    device = bench.enrol()
    is_windows(device, "10.0.19045.1", "Windows 10 Enterprise")
    approve_for(bench, {"os_build": {"below": "22000"}})
    device.check_in()
    is_windows(device, "10.0.26100.1", "Windows 11 Enterprise")
    bench.now += timedelta(hours=25)
    device.installable = {A: (1, 200)}
    device.check_in()
    assert device.approved == []
    assert [row["group_id"] for row in bench.rows("group_member")] == ["unassigned"]


def test_questions_the_device_did_not_look_at_are_asked_again(bench: Bench) -> None:
    """Refused credentials of ours are no answer about its Windows."""
    device = bench.enrol(server_auth="syncml:auth-md5")
    is_windows(device, "10.0.26100.1", "Windows 11 Enterprise")
    device.server_nonce = b"another nonce 01"
    assert device.check_in() is Verdict.END
    assert bench.rows("device")[0]["os_version"] == "10.0.26100.1"


def test_a_session_without_news_reads_memberships_once(bench: Bench) -> None:
    """One statement more than without groups, however many groups there are."""
    device = bench.enrol()
    approve_for(bench, {"language": "en-*"})
    device.check_in()
    statements: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_rest: object) -> None:
        if any(name in statement for name in ("groups_version", "static_member", "device_tag", "group_link")):
            statements.append(statement)

    engines = {bench.database._writer, bench.database._reader}
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    device.check_in()
    for engine in engines:
        event.remove(engine, "before_cursor_execute", note)
    assert len(statements) == 1
    assert statements[0].startswith("SELECT")
