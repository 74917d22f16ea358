"""What the service may rely on, said once and held to on SQLite and on PostgreSQL."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
from sqlmodel import Session

from mdm.errors import Unavailable
from mdm.storage.statements import insert_ignore, table_of, upsert
from mdm.storage.tables import (
    ApiToken,
    Approval,
    ApprovalGroup,
    AuditEntry,
    AuthFailure,
    Device,
    DeviceGroup,
    DevicePolicy,
    DeviceTag,
    DeviceUpdate,
    DmPart,
    DmReply,
    DmSession,
    Eula,
    EulaAcceptance,
    EulaText,
    GroupLink,
    GroupMember,
    NeededRevision,
    PolicyProfile,
    RevisionRelation,
    StaticMember,
    SyncRun,
    UpdateRevision,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from mdm.storage.engine import Database

Rows = dict[type, dict[str, Any]]

CHILDREN = (
    AuthFailure,
    DeviceUpdate,
    DevicePolicy,
    DeviceTag,
    DmPart,
    DmReply,
    DmSession,
    GroupMember,
    StaticMember,
)


def add(connection: Connection, model: type, row: dict[str, Any]) -> None:
    """Insert one row."""
    connection.execute(insert(table_of(model)), row)


def count(database: Database, model: type) -> int:
    """How many rows a table has."""
    with database.read() as connection:
        return connection.execute(select(func.count()).select_from(table_of(model))).scalar_one()


# --- constraints ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "column", "value"),
    [
        (DeviceUpdate, "state", "broken"),
        (DevicePolicy, "status", "perhaps"),
        (PolicyProfile, "drift", "ignore"),
        (GroupLink, "kind", "likes"),
        (Approval, "target_type", "device"),
        (Approval, "action", "decline"),
        (UpdateRevision, "update_type", "Hardware"),
        (RevisionRelation, "kind", "likes"),
        (NeededRevision, "state", "lost"),
        (SyncRun, "state", "tired"),
    ],
)
def test_a_value_outside_its_set_is_refused(
    database: Database, rows: Rows, model: type, column: str, value: str
) -> None:
    """Each CHECK of the tables holds, and the valid row beside it goes in."""
    with database.write() as connection:
        if model in CHILDREN:
            add(connection, Device, rows[Device])
        add(connection, model, rows[model])
    keys = [key.name for key in table_of(model).primary_key if key.name not in {column, "device_pk"}]
    other = {key: 9 if isinstance(rows[model][key], int) else "other" for key in keys}
    with pytest.raises(IntegrityError), database.write() as connection:
        add(connection, model, rows[model] | other | {column: value})
    assert count(database, model) == 1


@pytest.mark.parametrize(
    ("model", "row"),
    [
        (GroupMember, {"device_pk": 99, "group_id": "all-devices"}),
        (GroupMember, {"device_pk": 1, "group_id": "nobody"}),
        (StaticMember, {"device_pk": 1, "group_id": "nobody"}),
        (GroupLink, {"group_id": "unassigned", "kind": "include", "other_id": "nobody"}),
        (ApprovalGroup, {"approval_id": "absent", "group_id": "all-devices"}),
        (EulaText, {"eula_id": "absent", "locale": "en", "file_sha1": "x"}),
    ],
)
def test_a_reference_to_nothing_is_refused(
    database: Database, rows: Rows, model: type, row: dict[str, Any]
) -> None:
    """Foreign keys are enforced."""
    with database.write() as connection:
        add(connection, Device, rows[Device])
    with pytest.raises(IntegrityError), database.write() as connection:
        add(connection, model, row)
    assert count(database, model) == 0


def test_a_deleted_device_leaves_nothing_behind(database: Database, rows: Rows) -> None:
    """Deleting a device deletes its state, memberships and session, and no group."""
    with database.write() as connection:
        for model in (Device, *CHILDREN):
            add(connection, model, rows[model])
    with database.write() as connection:
        connection.execute(delete(table_of(Device)))
    assert [count(database, model) for model in CHILDREN] == [0] * len(CHILDREN)
    assert count(database, DeviceGroup) == 2


def test_an_accepted_eula_cannot_be_deleted(database: Database, rows: Rows) -> None:
    """The ledger of acceptances outlives any cleaning up."""
    with database.write() as connection:
        for model in (Eula, EulaText, EulaAcceptance):
            add(connection, model, rows[model])
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(delete(table_of(Eula)))
    assert count(database, EulaText) == 1


@pytest.mark.parametrize(
    ("model", "other"),
    [
        (Device, {"pk": 2, "id": "d2"}),
        (Device, {"pk": 2, "device_id": "urn:uuid:2"}),
        (ApiToken, {"id": "t2"}),
        (EulaAcceptance, {"id": "c2"}),
        (UpdateRevision, {}),
    ],
)
def test_a_second_of_its_kind_is_refused(
    database: Database, rows: Rows, model: type, other: dict[str, Any]
) -> None:
    """Unique columns and primary keys are."""
    with database.write() as connection:
        add(connection, Eula, rows[Eula])
        add(connection, model, rows[model])
    with pytest.raises(IntegrityError), database.write() as connection:
        add(connection, model, rows[model] | other)
    assert count(database, model) == 1


@pytest.mark.parametrize("column", ["id", "device_id", "name", "created_at", "auth_verifier"])
def test_a_missing_value_is_refused(database: Database, rows: Rows, column: str) -> None:
    """NOT NULL holds."""
    with pytest.raises(IntegrityError), database.write() as connection:
        add(connection, Device, rows[Device] | {column: None})


def test_ids_differ_by_case(database: Database, rows: Rows) -> None:
    """Texts are compared byte for byte."""
    with database.write() as connection:
        add(connection, Device, rows[Device])
        add(connection, Device, rows[Device] | {"pk": 2, "id": "D1", "device_id": "URN:UUID:1"})
    assert count(database, Device) == 2


# --- types ----------------------------------------------------------------------------------------------


def test_a_time_comes_back_in_utc_with_its_microseconds(
    database: Database, rows: Rows, moment: datetime
) -> None:
    """Times of any zone are the same moment in UTC afterwards."""
    elsewhere = moment.astimezone(timezone(timedelta(hours=5, minutes=30)))
    with database.write() as connection:
        add(connection, Device, rows[Device] | {"created_at": elsewhere})
    with database.read() as connection:
        device = connection.execute(select(table_of(Device))).one()
    assert device.created_at == moment
    assert device.created_at.tzinfo is UTC or device.created_at.utcoffset() == timedelta(0)
    assert device.last_checkin_at is None


def test_a_time_without_zone_is_refused(database: Database, rows: Rows, moment: datetime) -> None:
    """A naive time never reaches the database."""
    with pytest.raises(StatementError, match="a time without a zone"), database.write() as connection:
        add(connection, Device, rows[Device] | {"created_at": moment.replace(tzinfo=None)})
    assert count(database, Device) == 0


def test_times_are_compared_as_moments(database: Database, rows: Rows, moment: datetime) -> None:
    """Order and comparison follow time, whatever zone a value was given in."""
    west = timezone(timedelta(hours=-8))
    moments = [moment + timedelta(hours=hours) for hours in (2, -1, 0, 1)]
    with database.write() as connection:
        for number, at in enumerate(moments):
            add(
                connection,
                AuditEntry,
                rows[AuditEntry] | {"at": at.astimezone(west), "object_id": str(number)},
            )
    entries = table_of(AuditEntry)
    with database.read() as connection:
        found = connection.execute(
            select(entries.c.at).where(entries.c.at >= moment.astimezone(west)).order_by(entries.c.at)
        ).scalars()
        assert list(found) == sorted(moments)[1:]


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"a": [1, None, {"b": "ü 🎉"}], "empty": "", "flag": False, "text": 'quote " and \\ back'},
        {"control": "\x00\x1f\u2028", "big": 2**53},
    ],
)
def test_json_comes_back_as_it_went(database: Database, rows: Rows, value: dict[str, Any]) -> None:
    """JSON columns keep nesting, signs and control characters."""
    with database.write() as connection:
        add(connection, Device, rows[Device])
        add(connection, DmSession, rows[DmSession] | {"state": value})
        add(connection, ApiToken, rows[ApiToken] | {"scopes": ["admin", "eula.accept"]})
    with database.read() as connection:
        assert connection.execute(select(table_of(DmSession).c.state)).scalar_one() == value
        assert connection.execute(select(table_of(ApiToken).c.scopes)).scalar_one() == [
            "admin",
            "eula.accept",
        ]


def test_bytes_booleans_and_long_texts_come_back(database: Database, rows: Rows) -> None:
    """Every byte, a real bool, and a text of a mebibyte survive."""
    title = "ä🎉\n" * 2**18
    with database.write() as connection:
        add(connection, Device, rows[Device])
        add(connection, DmReply, rows[DmReply])
        add(connection, UpdateRevision, rows[UpdateRevision] | {"title": title})
    with database.read() as connection:
        assert connection.execute(select(table_of(DmReply).c.reply)).scalar_one() == bytes(range(256))
        revision = connection.execute(select(table_of(UpdateRevision))).one()
    assert revision.title == title
    assert revision.is_latest is True
    assert revision.can_uninstall is False


@pytest.mark.parametrize(
    ("model", "column", "value"),
    [
        (DeviceUpdate, "hresult", 0xFFFFFFFF),
        (DeviceUpdate, "failure_state", 0xFFFFFFFF),
        (UpdateRevision, "max_download_size", 40 * 2**30),
        (SyncRun, "bytes_received", 2**40),
        (UpdateRevision, "revision_number", 2**31 - 1),
    ],
)
def test_a_large_number_fits(database: Database, rows: Rows, model: type, column: str, value: int) -> None:
    """Unsigned HRESULTs and sizes past 4 GiB fit, on a database with 32-bit integers too."""
    with database.write() as connection:
        add(connection, Device, rows[Device])
        add(connection, model, rows[model] | {column: value})
    with database.read() as connection:
        assert connection.execute(select(table_of(model).c[column])).scalar_one() == value


@hypothesis_settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.text(alphabet=st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=50)
)
def test_any_text_is_data(database: Database, name: str) -> None:
    """No text is taken for SQL, trimmed or changed."""
    groups = table_of(DeviceGroup)
    with database.write() as connection:
        connection.execute(update(groups).where(groups.c.id == "all-devices"), {"name": name})
    with database.read() as connection:
        found = connection.execute(select(groups.c.name).where(groups.c.id == "all-devices"))
        assert found.scalar_one() == name


# --- transactions ---------------------------------------------------------------------------------------


def test_an_exception_undoes_the_whole_block(database: Database, rows: Rows) -> None:
    """Nothing of a failed block stays, and the exception comes out unchanged."""

    def fail() -> None:
        with database.write() as connection:
            add(connection, Device, rows[Device])
            raise KeyError("why")

    with pytest.raises(KeyError, match="why"):
        fail()
    assert count(database, Device) == 0


def test_a_session_does_not_commit_by_itself(database: Database, rows: Rows) -> None:
    """An ORM session on the connection takes part in its transaction."""

    def fail() -> None:
        with database.write() as connection:
            with Session(bind=connection) as session:
                session.add(Eula(**rows[Eula]))
                session.commit()
            raise KeyError("why")

    with pytest.raises(KeyError, match="why"):
        fail()
    assert count(database, Eula) == 0
    with database.write() as connection, Session(bind=connection) as session:
        session.add(Eula(**rows[Eula]))
        session.commit()
    assert count(database, Eula) == 1


def test_a_reader_cannot_write(database: Database, rows: Rows) -> None:
    """A write in a reader's block is a programming error, not a fault of the database."""
    with pytest.raises(DBAPIError, match=r"read-?only"), database.read() as connection:
        add(connection, Device, rows[Device])
    assert count(database, Device) == 0


def test_a_reader_sees_one_state(database: Database, rows: Rows) -> None:
    """What others commit meanwhile stays out of a reader's sight until its next block."""
    devices = select(func.count()).select_from(table_of(Device))
    with database.read() as reader:
        assert reader.execute(devices).scalar_one() == 0
        with database.write() as writer:
            add(writer, Device, rows[Device])
        assert reader.execute(devices).scalar_one() == 0
    assert count(database, Device) == 1


def test_a_wrong_statement_is_no_fault_of_the_database(database: Database) -> None:
    """Only real outages become Unavailable."""
    for block in (database.read, database.write):
        with pytest.raises(DBAPIError, match="absent"), block() as connection:
            connection.execute(text("SELECT * FROM absent"))


def test_errors_do_not_show_values(database: Database, rows: Rows) -> None:
    """An error that reaches the log has no verifier, token or nonce in it."""
    with database.write() as connection:
        add(connection, Device, rows[Device])
    with pytest.raises(IntegrityError) as caught, database.write() as connection:
        add(connection, Device, rows[Device] | {"auth_nonce": "c4nary"})
    assert "c4nary" not in str(caught.value)


@pytest.mark.parametrize("read_first", [False, True])
def test_concurrent_writers_lose_no_update(database: Database, rows: Rows, read_first: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """16 threads of 50 increments make 800, also when each reads the row before it writes."""
    failures = table_of(AuthFailure)
    with database.write() as connection:
        add(connection, Device, rows[Device])
        add(connection, AuthFailure, rows[AuthFailure])

    def increment() -> None:
        for _ in range(50):
            with database.write() as connection:
                if read_first:
                    seen = connection.execute(select(failures.c.failures).with_for_update()).scalar_one()
                    connection.execute(update(failures), {"failures": seen + 1})
                else:
                    connection.execute(update(failures).values(failures=failures.c.failures + 1))

    with ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(increment) for _ in range(16)]:
            done.result()
    with database.read() as connection:
        assert connection.execute(select(failures.c.failures)).scalar_one() == 800


def test_readers_go_on_while_a_writer_works(database: Database, rows: Rows) -> None:
    """A long write blocks no reader, and more readers than connections take turns."""
    with database.write() as connection:
        add(connection, Device, rows[Device])
        with ThreadPoolExecutor(30) as pool:
            assert list(pool.map(lambda _: count(database, Device), range(90))) == [0] * 90
    assert count(database, Device) == 1


def test_a_closed_database_opens_again(database: Database) -> None:
    """`close` lets connections go; it does not end the object's use."""
    database.ping()
    database.close()
    database.ping()


# --- insert on conflict ---------------------------------------------------------------------------------


def test_insert_ignore_adds_what_is_new(database: Database, moment: datetime) -> None:
    """A row that exists stays as it is; the count tells of the new ones."""
    with database.write() as connection:
        statement = insert_ignore(Eula, connection)
        first = connection.execute(statement, {"id": "e", "first_seen_at": moment})
        again = connection.execute(statement, {"id": "e", "first_seen_at": moment + timedelta(1)})
        connection.execute(statement, [{"id": name, "first_seen_at": moment} for name in ("e", "f", "g")])
        assert (first.rowcount, again.rowcount) == (1, 0)
        kept = connection.execute(select(table_of(Eula).c.first_seen_at).where(table_of(Eula).c.id == "e"))
        assert kept.scalar_one() == moment
    assert count(database, Eula) == 3


def test_upsert_overwrites_the_named_columns_only(database: Database, rows: Rows, moment: datetime) -> None:
    """A second report of the same update changes its state and keeps the rest."""
    with database.write() as connection:
        add(connection, Device, rows[Device])
        statement = upsert(DeviceUpdate, connection, update=["state", "lists"])
        connection.execute(statement, rows[DeviceUpdate])
        changed = {"state": "installed", "lists": 2, "since": moment + timedelta(1)}
        connection.execute(
            statement, [rows[DeviceUpdate] | changed, rows[DeviceUpdate] | {"update_id": "u2"}]
        )
        found = connection.execute(
            select(table_of(DeviceUpdate)).order_by(table_of(DeviceUpdate).c.update_id)
        ).all()
    assert [(row.update_id, row.state, row.lists, row.since) for row in found] == [
        ("u1", "installed", 2, moment),
        ("u2", "installable", 1, moment),
    ]


def test_upsert_by_another_unique_column(database: Database, rows: Rows) -> None:
    """`key` names the unique constraint that decides, and the dialect may be given by name."""
    with database.write() as connection:
        add(connection, Device, rows[Device])
        statement = upsert(table_of(Device), database.dialect, key=["device_id"], update=["name"])
        connection.execute(statement, rows[Device] | {"pk": 2, "id": "d2", "name": "Desk 2"})
        device = connection.execute(select(table_of(Device))).one()
    assert (device.pk, device.id, device.name) == (1, "d1", "Desk 2")


def test_the_same_statement_is_made_once(database: Database) -> None:
    """Whoever asks for it again gets the same object; other columns, tables and databases get their own."""
    with database.read() as connection:
        ours = upsert(Device, connection, update=["name"])
        assert upsert(table_of(Device), database.dialect, update=("name",)) is ours
        assert upsert(Device, connection, update=["name"], key=["device_id"]) is not ours
        assert upsert(Device, connection, update=["name", "id"]) is not ours
        assert insert_ignore(Eula, connection) is insert_ignore(Eula, database.dialect)
        assert insert_ignore(Eula, "sqlite") is not insert_ignore(Eula, "postgresql")


# --- faults ---------------------------------------------------------------------------------------------


def test_an_unreachable_database_is_unavailable(unreachable: Database) -> None:
    """Every method says so in a sentence, with the driver's error as the cause."""
    for attempt in (unreachable.ping, unreachable.at_head, unreachable.migrate):
        with pytest.raises(
            Unavailable, match=r"^The (database file .* cannot be|PostgreSQL server)"
        ) as caught:
            attempt()
        assert caught.value.__cause__ is not None
        assert caught.value.retry_after == 10
    for block in (unreachable.read, unreachable.write, unreachable.migrating):
        with pytest.raises(Unavailable), block():
            pytest.fail("the block must not run")


WRITER = """
import sys
from mdm.storage.engine import Database
database = Database(sys.argv[1])
for number in range(100_000):
    with database.write() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO eula (id, first_seen_at) VALUES ('{sys.argv[2]}-{number}', '2026-11-21 00:00:00')"
        )
    print(number, flush=True)
"""


def test_kill_loses_no_acknowledged_row(database: Database, database_url: str) -> None:
    """A writer killed at any moment has lost nothing whose commit returned, and locks nobody out."""
    for round_number, acknowledged in enumerate((1, 40, 150)):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, database_url, str(round_number)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        timer = threading.Timer(60, process.kill)
        timer.start()
        seen = [int(process.stdout.readline()) for _ in range(acknowledged)]
        process.send_signal(signal.SIGKILL)
        seen += [int(line) for line in process.stdout if line.endswith("\n")]
        timer.cancel()
        process.wait()
        process.stdout.close()
        eulas = table_of(Eula)
        with database.write() as connection:
            found = connection.execute(select(eulas.c.id).where(eulas.c.id.like(f"{round_number}-%")))
            kept = {int(name.partition("-")[2]) for name in found.scalars()}
        assert set(seen) <= kept
        assert len(kept) <= len(seen) + 1, "at most the commit under way is unknown"
