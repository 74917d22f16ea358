"""The migrations, on both databases: pytest-alembic's checks, and what `Database.migrate` promises."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from pytest_alembic import tests as checks
from pytest_alembic.plugin.fixtures import alembic_runner  # noqa: F401 - the checks ask for it
from sqlalchemy import Engine, text

from mdm.errors import Unavailable
from mdm.storage.engine import Database, _head
from mdm.storage.migration import migration_config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_alembic.runner import MigrationContext


@pytest.fixture
def empty_database(empty_database_url: str) -> Iterator[Database]:
    """A database without any table."""
    with closing(Database(empty_database_url)) as database:
        yield database


@pytest.fixture
def alembic_config() -> Any:
    """What `Database.migrate` uses."""
    return migration_config()


@pytest.fixture
def alembic_engine(empty_database: Database) -> Iterator[Engine]:
    """The engine a migration runs on."""
    engine = empty_database._migration_engine()
    yield engine
    engine.dispose()


def test_there_is_one_head(alembic_runner: MigrationContext) -> None:  # noqa: F811 - the fixture
    """The history is one chain."""
    checks.test_single_head_revision(alembic_runner)


def test_the_files_tell_the_head() -> None:
    """`at_head` asks their names, and not Alembic, which of them is the last."""
    assert _head() == ScriptDirectory.from_config(migration_config()).get_current_head()


def test_upgrades_from_nothing(alembic_runner: MigrationContext) -> None:  # noqa: F811
    """Every migration runs on an empty database."""
    checks.test_upgrade(alembic_runner)


def test_tables_equal_the_models(alembic_runner: MigrationContext) -> None:  # noqa: F811
    """After all migrations the schema is the one of mdm.storage.tables."""
    checks.test_model_definitions_match_ddl(alembic_runner)


def test_goes_down_and_up_again(alembic_runner: MigrationContext) -> None:  # noqa: F811
    """Every migration can be undone and repeated, from the head to nothing."""
    checks.test_up_down_consistency(alembic_runner)
    alembic_runner.migrate_down_to("base", return_current=False)
    alembic_runner.migrate_up_to("heads", return_current=False)


def test_migrate_reaches_the_head_and_is_repeatable(empty_database: Database) -> None:
    """`at_head` tells an empty database from a migrated one; a second `migrate` changes nothing."""
    assert not empty_database.at_head()
    empty_database.migrate()
    assert empty_database.at_head()
    empty_database.migrate()
    assert empty_database.at_head()


def test_the_built_in_groups_are_there(database: Database) -> None:
    """A new database knows the groups of all devices and of the unassigned ones, and nothing else."""
    with database.read() as connection:
        groups = connection.execute(text("SELECT id, name, builtin FROM device_group ORDER BY id")).all()
        assert [tuple(group) for group in groups] == [
            ("all-devices", "All devices", True),
            ("unassigned", "Unassigned", True),
        ]
        assert connection.execute(text("SELECT count(*) FROM device")).scalar_one() == 0


def test_constraints_are_named_by_one_convention(database: Database) -> None:
    """Names a later migration must use are the same on both databases."""
    query = {
        "sqlite": "SELECT sql FROM sqlite_master WHERE name = 'eula_acceptance'",
        "postgresql": "SELECT string_agg(conname, ' ') FROM pg_constraint WHERE conrelid = 'eula_acceptance'::regclass",
    }[database.dialect]
    with database.read() as connection:
        found = connection.execute(text(query)).scalar_one()
    for name in (
        "pk_eula_acceptance",
        "uq_eula_acceptance_eula_id_text_sha256",
        "fk_eula_acceptance_eula_id",
    ):
        assert name in found


def test_two_that_start_together_both_reach_the_head(empty_database_url: str) -> None:
    """Several threads and several processes migrate one new database at once, and none fails."""
    script = f"from mdm.storage.engine import Database; Database({empty_database_url!r}).migrate()"
    processes = [
        subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    failures: list[BaseException] = []

    def migrate() -> None:
        try:
            with closing(Database(empty_database_url)) as database:
                database.migrate()
        except Exception as error:  # noqa: BLE001 - handed to the asserting thread
            failures.append(error)

    threads = [threading.Thread(target=migrate) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outputs = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert failures == []
    with closing(Database(empty_database_url)) as database:
        assert database.at_head()


def test_a_failing_migration_leaves_no_trace(
    empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All migrations are one transaction: the database is as before, and the next try succeeds."""
    real = command.upgrade

    def upgrade_and_fail(*arguments: Any) -> None:
        real(*arguments)
        raise RuntimeError("power cut")

    monkeypatch.setattr(command, "upgrade", upgrade_and_fail)
    with pytest.raises(RuntimeError, match="power cut"):
        empty_database.migrate()
    assert not empty_database.at_head()
    monkeypatch.undo()
    empty_database.migrate()
    assert empty_database.at_head()


def test_a_database_of_a_newer_version_is_refused_with_a_reason(database: Database) -> None:
    """An old bridge neither serves nor changes a database it does not know."""
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert not database.at_head()
    with pytest.raises(Unavailable, match=r"revision 9999.*newer version"):
        database.migrate()


def test_a_migration_may_not_leave_dangling_references(sqlite_database: Database) -> None:
    """Foreign keys are off while SQLite migrates, so they are checked before the commit."""
    with pytest.raises(RuntimeError, match="dangling references in \\['group_member'\\]"):  # noqa: SIM117
        with sqlite_database.migrating() as connection:
            connection.exec_driver_sql("INSERT INTO group_member VALUES (7, 'all-devices')")
    with sqlite_database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM group_member").scalar_one() == 0


def test_rebuilding_a_table_keeps_the_rows_that_refer_to_it(sqlite_database: Database) -> None:
    """SQLite drops and remakes a table to change it; its members must survive that."""
    with sqlite_database.write() as connection:
        connection.exec_driver_sql("INSERT INTO eula VALUES ('e', '2026-11-21 00:00:00')")
        connection.exec_driver_sql(
            "INSERT INTO eula_text (eula_id, locale, file_sha1) VALUES ('e', 'en', 'x')"
        )
    with sqlite_database.migrating() as connection:
        connection.exec_driver_sql("CREATE TABLE copy AS SELECT * FROM eula")
        connection.exec_driver_sql("DROP TABLE eula")
        connection.exec_driver_sql(
            "CREATE TABLE eula (id VARCHAR PRIMARY KEY, first_seen_at DATETIME NOT NULL)"
        )
        connection.exec_driver_sql("INSERT INTO eula SELECT * FROM copy")
    with sqlite_database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM eula_text").scalar_one() == 1


def test_migrating_leaves_logging_alone(sqlite_url: str, data_dir: Any) -> None:
    """Alembic's usual env.py would replace the service's log handlers."""
    (data_dir / "bridge.sqlite3").unlink()
    before = (logging.getLogger().handlers[:], logging.getLogger().level, logging.getLogger("mdm").disabled)
    with closing(Database(sqlite_url)) as database:
        database.migrate()
    after = (logging.getLogger().handlers[:], logging.getLogger().level, logging.getLogger("mdm").disabled)
    assert after == before


def test_the_command_line_migrates_the_database_of_the_environment(empty_database_url: str) -> None:
    """`alembic` itself works on BRIDGE_DATABASE_URL, for the developer who writes the next migration."""
    script = (
        "from alembic import command; from mdm.storage.migration import migration_config; "
        "command.upgrade(migration_config(), 'head')"
    )
    environment = os.environ | {"BRIDGE_DATABASE_URL": empty_database_url}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=60)
    with closing(Database(empty_database_url)) as database:
        assert database.at_head()


def test_the_command_line_asks_for_a_database() -> None:
    """Without BRIDGE_DATABASE_URL nothing is migrated by guess."""
    with pytest.raises(SystemExit, match="BRIDGE_DATABASE_URL must name the database"):
        command.upgrade(migration_config(), "head")


def test_a_new_migration_uses_portable_types(empty_database_url: str, tmp_path: Any) -> None:
    """What autogenerate writes names no class of this version of the code."""
    script = (
        "from alembic import command; from mdm.storage.migration import migration_config; "
        f"c = migration_config(); c.set_main_option('version_locations', {str(tmp_path)!r}); "
        "c.set_main_option('path_separator', 'os'); "
        "command.revision(c, 'Try', autogenerate=True, rev_id='try')"
    )
    environment = os.environ | {"BRIDGE_DATABASE_URL": empty_database_url}
    subprocess.run(
        [sys.executable, "-c", script], env=environment, check=True, timeout=60, capture_output=True
    )
    written = (tmp_path / "try_try.py").read_text()
    assert "sa.DateTime(timezone=True)" in written
    assert "sqlmodel" not in written
    assert "mdm." not in written
    compile(written, "try_try.py", "exec")


def test_the_schema_survives_a_kill_between_any_two_statements(empty_database_url: str) -> None:
    """A process killed while it migrates leaves a database that the next one migrates."""
    script = (
        "import os, signal, sys\n"
        "from sqlalchemy import event\n"
        "from mdm.storage.engine import Database\n"
        f"database = Database({empty_database_url!r})\n"
        "make, left = database._migration_engine, [int(sys.argv[1])]\n"
        "def killing(*_):\n"
        "    left[0] -= 1\n"
        "    if left[0] == 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "def engine():\n"
        "    made = make()\n"
        "    event.listen(made, 'before_cursor_execute', killing)\n"
        "    return made\n"
        "database._migration_engine = engine\n"
        "database.migrate()\n"
    )
    for statement in (4, 45):
        process = subprocess.run([sys.executable, "-c", script, str(statement)], check=False, timeout=60)
        assert process.returncode == -9
        with closing(Database(empty_database_url)) as database:
            assert not database.at_head()
    with closing(Database(empty_database_url)) as database:
        database.migrate()
        assert database.at_head()
        if database.dialect == "sqlite":
            with closing(sqlite3.connect(str(database._url.database))) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
