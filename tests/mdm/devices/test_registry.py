"""The registry: enrolling, finding, describing and forgetting devices."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update
from sqlmodel import SQLModel

from mdm.audit import Origin
from mdm.devices.groups import add_member, create_group
from mdm.devices.registry import (
    AuthScheme,
    Credentials,
    DeviceView,
    PolicyAnswer,
    create_device,
    delete_device,
    device_pk,
    get_device,
    list_devices,
)
from mdm.errors import Conflict, NotFound
from syncml.auth import credential_hash

if TYPE_CHECKING:
    from conftest import Bench

ORIGIN = Origin(actor="client:test", token_id="tok_1")
A = "a317dafe-baf4-453f-b232-a7075efae36e"
B = "b317dafe-baf4-453f-b232-a7075efae36e"


def enrol(
    bench: Bench, device_id: str, name: str = "Front desk", auth: AuthScheme = "syncml:auth-md5"
) -> tuple[DeviceView, Credentials]:
    """A device made through the registry."""
    with bench.database.write() as conn:
        return create_device(
            conn, ORIGIN, bench.secrets, device_id=device_id, name=name, auth=auth, now=bench.now
        )


def names(bench: Bench, **values: str | None) -> list[str]:
    """The device_ids a list shows."""
    with bench.database.read() as conn:
        rows = list_devices(conn, group=values.get("group"), q=values.get("q"), after=None, limit=10)
    return [device.device_id for _, device in rows]


def test_a_new_device_has_said_nothing_yet(bench: Bench) -> None:
    """Everything unknown is None or unknown, never a zero that looks like an answer."""
    device, _ = enrol(bench, "urn:uuid:1")
    assert device.name == "Front desk"
    assert device.groups == ("all-devices", "unassigned")
    assert (device.os_version, device.os_edition, device.identity_as_of, device.enrolment_user) == (None,) * 4
    assert (device.computer_name, device.serial_number) == (None, None)
    assert (device.sync_requested_at, device.sync_answered) == (None, None)
    assert device.tags == ()
    assert device.require_update_approval == PolicyAnswer("unknown", None, None, None)
    assert (device.last_checkin_at, device.as_of, device.installed_as_of, device.last_scan_time) == (
        None,
    ) * 4
    assert device.update_counts == {"installable": 0, "installed": 0, "failed": 0, "pending_reboot": 0}
    with bench.database.read() as conn:
        assert get_device(conn, device.id) == device


@pytest.mark.parametrize("auth", ["syncml:auth-md5", "syncml:auth-basic"])
def test_credentials_verify_against_what_is_stored(sqlite_bench: Bench, auth: AuthScheme) -> None:
    """The verifier is sealed, the password nowhere, the username free of colons."""
    _, credentials = enrol(sqlite_bench, "urn:uuid:1", auth=auth)
    (row,) = sqlite_bench.rows("device")
    verifier = sqlite_bench.secrets.open(row["auth_verifier"]).decode()
    assert verifier == credential_hash(credentials.username, credentials.password)
    assert ":" not in credentials.username
    assert row["auth_username"] == credentials.username
    assert row["auth_nonce"] == credentials.nonce
    assert credentials.scheme == row["auth_scheme"] == auth
    assert len(base64.b64decode(credentials.nonce)) == 16
    assert credentials.password not in str(sqlite_bench.dump())


def test_secrets_differ_from_device_to_device(sqlite_bench: Bench) -> None:
    """No two devices share an id, a password or a nonce."""
    made = [enrol(sqlite_bench, f"DEV{number}") for number in range(5)]
    for values in (
        {device.id for device, _ in made},
        {credentials.password for _, credentials in made},
        {credentials.nonce for _, credentials in made},
    ):
        assert len(values) == 5


def test_a_device_is_enrolled_once(bench: Bench) -> None:
    """The conflict names the device that has the id, and nothing is written."""
    device, _ = enrol(bench, "DEV1")
    before = bench.dump()
    with pytest.raises(Conflict) as caught:
        enrol(bench, "DEV1")
    assert caught.value.code == "device_exists"
    assert caught.value.members == {"existing": device.id}
    assert bench.dump() == before


def test_enrolment_is_audited_without_secrets(sqlite_bench: Bench) -> None:
    """The row says who, what and by which token."""
    device, credentials = enrol(sqlite_bench, "DEV1")
    (row,) = sqlite_bench.rows("audit_entry")
    assert (row["actor"], row["action"], row["object_id"]) == ("client:test", "device.create", device.id)
    assert row["detail"]["token_id"] == "tok_1"
    assert credentials.password not in str(row)


def test_lists_are_filtered_and_paged(bench: Bench) -> None:
    """`q` looks into names and device_ids in any case and takes % and _ literally."""
    for device_id, name in (("DEV1", "Front desk"), ("DEV2", "Lab 100%"), ("DEV_3", "lab bench")):
        enrol(bench, device_id, name)
    assert names(bench) == ["DEV1", "DEV2", "DEV_3"]
    assert names(bench, q="LAB") == ["DEV2", "DEV_3"]
    assert names(bench, q="dev1") == ["DEV1"]
    assert names(bench, q="%") == ["DEV2"]
    assert names(bench, q="_") == ["DEV_3"]
    assert names(bench, q="nobody") == []
    with bench.database.read() as conn:
        first = list_devices(conn, after=None, limit=2)
        rest = list_devices(conn, after=first[-1][0], limit=2)
    assert [device.device_id for _, device in first + rest] == ["DEV1", "DEV2", "DEV_3"]


def test_the_group_filter(bench: Bench) -> None:
    """`all-devices` is everybody, another group its members."""
    (first, _), _ = enrol(bench, "DEV1"), enrol(bench, "DEV2")
    with bench.database.write() as conn:
        group = create_group(conn, ORIGIN, name="pilots", now=bench.now)
        add_member(conn, ORIGIN, group.id, first.id, now=bench.now)
    assert names(bench, group="all-devices") == ["DEV1", "DEV2"]
    assert names(bench, group=group.id) == ["DEV1"]
    assert names(bench, group=group.id, q="dev2") == []
    with bench.database.read() as conn:
        ((_, summary),) = list_devices(conn, group=group.id, after=None, limit=5)
    assert summary.groups == ("all-devices", group.id)


def test_a_described_device(bench: Bench) -> None:
    """Counts by state, policy, device info and freshness come from what the device said."""
    device = bench.enrol("DEV1")
    device.installable, device.installed = {A: (1, 200)}, {B: 4}
    bench.approve(A, allow_without_metadata=True)
    device.check_in()
    with bench.database.read() as conn:
        view = get_device(conn, "id-DEV1")
    assert view.update_counts == {"installable": 1, "installed": 1, "failed": 0, "pending_reboot": 0}
    assert view.device_info.manufacturer == "Contoso"
    assert view.device_info.language == "en-US"
    assert view.last_scan_time == "2026-11-21T08:00:00Z"
    assert view.as_of is not None
    assert view.installed_as_of is not None
    assert view.last_checkin_at is not None
    assert view.require_update_approval.status == "set"
    assert view.require_update_approval.value == "1"


def test_a_refusal_is_shown_with_its_meaning(bench: Bench) -> None:
    """The HRESULT behind a refused policy has its words, an unknown one stands alone, and a success has none."""
    bench.enrol("DEV1")
    bench.add(
        "device_policy",
        device_pk=1,
        name="RequireUpdateApproval",
        status="failed",
        status_code=500,
        at=bench.now,
    )
    for error, words in (
        (None, None),
        ("0x80070005", "Access to a file or registry key was denied."),
        ("0x8F000001", None),
        ("busy", None),
    ):
        with bench.database.write() as conn:
            conn.execute(update(SQLModel.metadata.tables["device_policy"]).values(error=error))
            shown = get_device(conn, "id-DEV1").require_update_approval
        assert shown == PolicyAnswer("failed", None, 500, bench.now, error, words)


def test_the_session_version_is_shown_as_told(sqlite_bench: Bench) -> None:
    """None until the device has said it."""
    sqlite_bench.enrol("DEV1")
    with sqlite_bench.database.write() as conn:
        assert get_device(conn, "id-DEV1").sync_version is None
        conn.exec_driver_sql("UPDATE device SET sync_version = '3.0'")
        assert get_device(conn, "id-DEV1").sync_version == "3.0"


def test_a_scan_that_never_was(sqlite_bench: Bench) -> None:
    """LastSuccessfulScanTime "0" means never."""
    sqlite_bench.enrol("DEV1")
    with sqlite_bench.database.write() as conn:
        conn.exec_driver_sql("UPDATE device SET last_scan_time = '0'")
        assert get_device(conn, "id-DEV1").last_scan_time is None


def test_rows_only_listed_are_not_counted(bench: Bench) -> None:
    """What stands in ApprovedUpdates alone is no update the device speaks of."""
    bench.enrol("DEV1")
    bench.add("device_update", device_pk=1, update_id=A, lists=16, state="listed", since=bench.now)
    with bench.database.read() as conn:
        assert set(get_device(conn, "id-DEV1").update_counts.values()) == {0}


def test_forgetting_a_device(bench: Bench) -> None:
    """All its rows go; what it still holds approved is counted, for it keeps that."""
    bench.enrol("DEV1")
    for update_id, lists in ((A, 16 | 1), (B, 2)):
        bench.add(
            "device_update", device_pk=1, update_id=update_id, lists=lists, state="installed", since=bench.now
        )
    with bench.database.write() as conn:
        assert delete_device(conn, ORIGIN, "id-DEV1", now=bench.now + timedelta(days=1)) == 1
    assert bench.rows("device") == []
    assert bench.rows("device_update") == []
    assert [row["action"] for row in bench.rows("audit_entry")] == ["device.delete"]


def test_unknown_devices_are_not_found(sqlite_bench: Bench) -> None:
    """Every function that takes an id says so."""
    with sqlite_bench.database.write() as conn:
        for call in (
            lambda: device_pk(conn, "dev_x"),
            lambda: get_device(conn, "dev_x"),
            lambda: delete_device(conn, ORIGIN, "dev_x", now=sqlite_bench.now),
        ):
            with pytest.raises(NotFound):
                call()


def test_a_device_is_found_by_computer_name_and_serial_number(bench: Bench) -> None:
    """Whatever the case; and the list shows both."""
    enrol(bench, "DEV1", "One")
    enrol(bench, "DEV2", "Two")
    device = SQLModel.metadata.tables["device"]
    with bench.database.write() as conn:
        conn.execute(
            update(device)
            .where(device.c.device_id == "DEV2")
            .values(computer_name="FRONT-DESK", serial_number="5CG0123XYZ")
        )
    assert names(bench, q="front-d") == names(bench, q="5cg0123") == ["DEV2"]
    with bench.database.read() as conn:
        ((_, found),) = list_devices(conn, q="front", after=None, limit=10)
    assert (found.computer_name, found.serial_number) == ("FRONT-DESK", "5CG0123XYZ")


def test_a_sync_is_answered_by_what_is_read_after_it(bench: Bench) -> None:
    """A read of before, or at the same moment, does not count."""
    made, _ = enrol(bench, "DEV1")
    answered = []
    for minutes in (None, -1, 0, 1):
        read_at = None if minutes is None else bench.now + timedelta(minutes=minutes)
        with bench.database.write() as conn:
            conn.execute(
                update(SQLModel.metadata.tables["device"]).values(
                    sync_requested_at=bench.now, state_read_at=read_at
                )
            )
            device = get_device(conn, made.id)
        assert device.sync_requested_at == bench.now
        answered.append(device.sync_answered)
    assert answered == [False, False, False, True]
