"""Leaving management: retirement and its cancellation, and what a deleted device leaves behind."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import JSON, Boolean, Integer, LargeBinary, create_engine, func, insert, select, text
from sqlmodel import SQLModel

from mdm.audit import Origin
from mdm.devices.departure import cancel_retirement, forget, note_left, note_told, retire
from mdm.devices.timeline import list_timeline
from mdm.errors import Conflict, NotFound
from mdm.storage.statements import table_of
from mdm.storage.tables import Device, IssuedCertificate
from mdm.storage.types import UtcDateTime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Bench
    from sqlalchemy import Column, Connection, Row

ORIGIN = Origin(actor="client:test")
A = "a317dafe-baf4-453f-b232-a7075efae36e"
DAY = timedelta(days=1)


def certify(bench: Bench, serial: str = "aa", **values: Any) -> None:
    """A certificate of the first device."""
    if not bench.rows("certificate_authority"):
        bench.add(
            "certificate_authority",
            id="ca_1",
            origin="created",
            root_der=b"r",
            sealed_key=b"k",
            created_at=bench.now,
        )
    given = {
        "serial": serial * 20,
        "authority_id": "ca_1",
        "device_pk": 1,
        "subject": "CN=DEV1",
        "sha256": "0" * 64,
        "thumbprint": "0" * 40,
        "issued_at": bench.now,
        "not_before": bench.now,
        "not_after": bench.now + 365 * DAY,
    }
    bench.add("issued_certificate", **{**given, **values})


def leave(bench: Bench, **values: Any) -> None:
    """Retire the device DEV1."""
    with bench.database.write() as conn:
        retire(conn, ORIGIN, "id-DEV1", now=bench.now, **values)


def stay(bench: Bench) -> None:
    """Cancel that."""
    with bench.database.write() as conn:
        cancel_retirement(conn, ORIGIN, "id-DEV1", now=bench.now)


def row(bench: Bench) -> dict[str, Any]:
    """The only device."""
    (found,) = bench.rows("device")
    return found


def the_row(bench: Bench) -> Row[Any]:
    """The same as a check-in has it."""
    with bench.database.read() as conn:
        return conn.execute(select(table_of(Device))).one()


def timeline(bench: Bench) -> list[tuple[str, dict[str, Any]]]:
    """The device's events, oldest first."""
    with bench.database.read() as conn:
        return [(event.kind, event.detail) for event in reversed(list_timeline(conn, 1))]


def audited(bench: Bench) -> list[tuple[str, str, Any, Any]]:
    """Who did what, with what it was before and after."""
    return [
        (entry["actor"], entry["action"], entry["before"], entry["after"])
        for entry in bench.rows("audit_entry", "seq")
    ]


def test_retiring_is_a_wish_until_the_device_has_heard_it(bench: Bench) -> None:
    """Nothing is taken back yet, for only an enrolled device can be told; asking again changes nothing."""
    bench.enrol()
    certify(bench)
    asked = bench.now
    leave(bench, reason="INC-1")
    assert (row(bench)["retire_requested_at"], row(bench)["unenrolled_at"]) == (asked, None)
    assert bench.rows("issued_certificate")[0]["revoked_at"] is None
    assert timeline(bench) == [
        ("retire_requested", {"by": "client:test", "at_once": False, "reason": "INC-1"})
    ]
    (entry,) = bench.rows("audit_entry")
    assert (entry["action"], entry["object_id"]) == ("device.retire", "id-DEV1")
    assert entry["detail"] == {"device_id": "DEV1", "at_once": False, "reason": "INC-1"}
    assert entry["before"] == {"retire_requested_at": None}
    assert entry["after"] == {"retire_requested_at": "2026-11-21T12:00:00Z"}
    before = bench.dump()
    bench.now += DAY
    leave(bench)
    assert bench.dump() == before


def test_a_lost_device_is_gone_at_once(bench: Bench) -> None:
    """Its certificates are taken back and its open session is forgotten, in the same transaction."""
    device = bench.enrol()
    certify(bench)
    certify(bench, "bb", revoked_at=bench.now, revocation_reason="superseded")
    message, state = device.begin()
    device.say(message, state)
    assert bench.rows("dm_session")[0]["open"]
    leave(bench, at_once=True)
    assert (row(bench)["unenrolled_at"], row(bench)["retire_requested_at"]) == (bench.now, bench.now)
    assert [each["revocation_reason"] for each in bench.rows("issued_certificate", "serial")] == [
        "cessationOfOperation",
        "superseded",
    ]
    assert (bench.rows("dm_session"), bench.rows("dm_reply"), bench.rows("dm_part")) == ([], [], [])
    assert timeline(bench)[-2:] == [
        ("retire_requested", {"by": "client:test", "at_once": True}),
        ("unenrolled", {"by": "server", "told": False}),
    ]
    assert [entry[:2] for entry in audited(bench)] == [
        ("client:test", "certificate.revoke"),
        ("client:test", "device.retire"),
    ]
    with pytest.raises(Conflict, match="has left management already") as caught:
        leave(bench)
    assert caught.value.code == "device_left"
    with pytest.raises(Conflict) as caught:
        stay(bench)
    assert caught.value.code == "device_left"


def test_one_that_was_told_can_be_counted_as_gone(bench: Bench) -> None:
    """When it was asked to leave first stays as it was."""
    bench.enrol()
    asked = bench.now
    leave(bench)
    with bench.database.write() as conn:
        note_told(conn, the_row(bench), bench.now)
    bench.now += 4 * DAY
    leave(bench, at_once=True)
    assert (row(bench)["retire_requested_at"], row(bench)["unenrolled_at"]) == (asked, bench.now)
    assert timeline(bench)[-1] == ("unenrolled", {"by": "server", "told": True})


def test_a_retirement_can_be_cancelled(bench: Bench) -> None:
    """As long as the device has not left; then there is nothing left of it but the trail."""
    bench.enrol()
    with pytest.raises(Conflict, match="not being retired") as caught:
        stay(bench)
    assert caught.value.code == "not_retiring"
    for told in (False, True):
        leave(bench)
        if told:
            with bench.database.write() as conn:
                note_told(conn, the_row(bench), bench.now)
        stay(bench)
        assert (row(bench)["retire_requested_at"], row(bench)["retire_told_at"]) == (None, None)
        assert timeline(bench)[-1] == ("retire_cancelled", {"by": "client:test", "told": told})
    assert audited(bench)[-1][1] == "device.retire_cancel"
    assert set(audited(bench)[-1][2]) == {"retire_requested_at", "retire_told_at"}


def test_unknown_devices_are_not_found(sqlite_bench: Bench) -> None:
    """Whatever is asked of them."""
    with sqlite_bench.database.write() as conn:
        for call in (
            lambda: retire(conn, ORIGIN, "dev_x", now=sqlite_bench.now),
            lambda: cancel_retirement(conn, ORIGIN, "dev_x", now=sqlite_bench.now),
            lambda: forget(conn, ORIGIN, "dev_x", now=sqlite_bench.now),
        ):
            with pytest.raises(NotFound, match="dev_x"):
                call()


def test_a_device_that_is_told_at_each_session_says_so_daily(bench: Bench) -> None:
    """The time is that of the last one."""
    bench.enrol()
    leave(bench)
    for hours in (0, 8, 16, 24):
        bench.now += timedelta(hours=hours and 8)
        with bench.database.write() as conn:
            note_told(conn, the_row(bench), bench.now)
        assert row(bench)["retire_told_at"] == bench.now
    assert [kind for kind, _ in timeline(bench)] == ["retire_requested", "retire_told"]
    bench.now += DAY
    with bench.database.write() as conn:
        note_told(conn, the_row(bench), bench.now)
    assert [kind for kind, _ in timeline(bench)].count("retire_told") == 2


@pytest.mark.parametrize(
    ("asked", "told", "by"), [(False, False, "user"), (True, False, "user"), (True, True, "server")]
)
def test_who_began_it(bench: Bench, asked: bool, told: bool, by: str) -> None:  # noqa: FBT001 - a case
    """The alert is the same: whether we had told the device makes the difference, and hearing it twice none."""
    bench.enrol()
    certify(bench)
    with bench.database.write() as conn:
        if asked:
            retire(conn, ORIGIN, "id-DEV1", now=bench.now)
    with bench.database.write() as conn:
        if told:
            note_told(conn, the_row(bench), bench.now)
    with bench.database.write() as conn:
        note_left(conn, the_row(bench), bench.now)
    assert row(bench)["unenrolled_at"] == bench.now
    assert timeline(bench)[-1] == ("unenrolled", {"by": by})
    assert bench.rows("issued_certificate")[0]["revocation_reason"] == "cessationOfOperation"
    assert audited(bench)[-1][:2] == ("device:id-DEV1", "certificate.revoke")
    before = bench.dump()
    with bench.database.write() as conn:
        note_left(conn, the_row(bench), bench.now + DAY)
    assert bench.dump() == before


# --- deletion -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("approved", "seen", "left", "words"),
    [
        (False, False, False, []),
        (False, True, True, []),
        (True, True, True, ["approvals it holds"]),
        (False, True, False, ["was not told", "Retire a device first"]),
        (True, True, False, ["approvals it holds", "was not told"]),
    ],
)
def test_what_stays_on_a_deleted_device_is_said(
    bench: Bench,
    approved: bool,  # noqa: FBT001 - a case
    seen: bool,  # noqa: FBT001 - a case
    left: bool,  # noqa: FBT001 - a case
    words: list[str],
) -> None:
    """Its approvals, and the enrolment itself if it has not left."""
    bench.enrol()
    with bench.database.write() as conn:
        values = {
            "last_checkin_at": bench.now if seen else None,
            "unenrolled_at": bench.now if left else None,
        }
        conn.execute(table_of(Device).update().values(**values))
    if approved:
        bench.add("device_update", device_pk=1, update_id=A, lists=17, state="installable", since=bench.now)
    with bench.database.write() as conn:
        residue = forget(conn, ORIGIN, "id-DEV1", now=bench.now)
    assert (residue is None) is (not words)
    if residue is not None:
        assert (residue.approvals, residue.enrolled) == (int(approved), not left)
        assert all(each in residue.detail for each in words)


STAYS = {("issued_certificate", "device_pk")}
"""What a deleted device leaves: that its certificates are revoked is said until they end."""
NAMES = {("device", "device_id"), ("enrolment", "device_id")}
"""What the device is called by itself."""


def columns_on_devices() -> set[tuple[str, str]]:
    """Each column that names a device by its key."""
    device = table_of(Device)
    return {
        (table.name, column.name)
        for table in SQLModel.metadata.sorted_tables
        for column in table.columns
        if column.references(device.c.pk)
    }


def test_every_column_that_names_a_device_says_what_a_deletion_means_to_it() -> None:
    """A new table is no place where a deleted device lives on: it goes with the device or is listed here."""
    found = columns_on_devices()
    assert len(found) >= 15
    for table, column in found:
        (key,) = SQLModel.metadata.tables[table].c[column].foreign_keys
        assert key.ondelete == ("SET NULL" if (table, column) in STAYS else "CASCADE"), (table, column)
    named = {
        (table.name, column.name)
        for table in SQLModel.metadata.sorted_tables
        for column in table.columns
        if column.name in {"device", "device_pk", "device_id"}
    }
    assert named == found | NAMES


def test_nothing_of_a_deleted_device_is_left(sqlite_bench: Bench, sqlite_url: str) -> None:
    """A row in every table that names it, another device's row beside it: the first go, the others stay."""
    bench = sqlite_bench
    bench.enrol("DEV1")
    bench.enrol("DEV2")
    with careless(sqlite_url) as conn:
        for table, column in columns_on_devices():
            for pk in (1, 2):
                fill(bench, conn, table, **{column: pk})
    with bench.database.write() as conn:
        forget(conn, ORIGIN, "id-DEV1", now=bench.now)
    with bench.database.read() as conn:
        for table, column in columns_on_devices():
            found = SQLModel.metadata.tables[table].c[column]
            assert conn.scalar(select(func.count()).where(found == 1)) == 0, table
            assert conn.scalar(select(func.count()).where(found == 2)) == 1, table
        (mine,) = conn.execute(
            select(table_of(IssuedCertificate)).where(table_of(IssuedCertificate).c.device_pk.is_(None))
        )
    assert mine.revocation_reason == "cessationOfOperation"


@contextmanager
def careless(url: str) -> Iterator[Connection]:
    """A transaction in which a row's other keys and rules do not count, for they are of no interest here."""
    engine = create_engine(url)
    with engine.begin() as conn:
        conn.execute(text("PRAGMA ignore_check_constraints = ON"))
        yield conn
    engine.dispose()


def fill(bench: Bench, conn: Any, table: str, **values: Any) -> None:
    """A row of a table, made up but for these values."""
    made = SQLModel.metadata.tables[table]
    needed = [
        each
        for each in made.columns
        if not each.nullable and not (each.primary_key and each.autoincrement is True)
    ]
    conn.execute(insert(made).values({each.name: made_up(bench, each, values) for each in needed} | values))


def made_up(bench: Bench, column: Column[Any], values: dict[str, Any]) -> Any:
    """Something a column of this type takes, different for each of the devices."""
    number = next(iter(values.values()))
    if isinstance(column.type, UtcDateTime):
        return bench.now + DAY
    if isinstance(column.type, Boolean):
        return False
    if isinstance(column.type, Integer):
        return number
    if isinstance(column.type, LargeBinary):
        return b"x"
    return {} if isinstance(column.type, JSON) else f"made up {number}"
