"""The audit chain: its form, every way of tampering that is found out, and what survives a kill."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, text

import mdm.audit_chain as chain
from mdm.audit import Origin, record
from mdm.audit_chain import (
    GENESIS,
    Break,
    Link,
    UnreadableEntryError,
    canonical,
    entry_hash,
    export_entries,
    plain,
    verify,
)
from mdm.errors import NotFound
from mdm.storage.engine import Database
from mdm.storage.statements import table_of
from mdm.storage.tables import AuditEntry, AuditHead

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
ENTRIES = table_of(AuditEntry)
HEAD = table_of(AuditHead)


def write(database: Database, count: int, *, hours: int = 0) -> None:
    """As many entries, a transaction each."""
    for number in range(count):
        with database.write() as conn:
            record(
                conn,
                Origin("client:ci", request_id=f"r{number}"),
                now=NOW + timedelta(hours=number * hours),
                action="group.rename",
                object_type="group",
                object_id=str(number),
                before={"name": "a"},
                after={"name": "b"},
            )


def tamper(database: Database, *statements: str) -> None:
    """What somebody with the database's password does."""
    with database.write() as conn:
        for statement in statements:
            conn.execute(text(statement))


def judge(database: Database, **options: Any) -> chain.Verdict:
    """A verification."""
    with database.read() as conn:
        return verify(conn, **options)


def forge(database: Database, first: int) -> None:
    """Compute every hash from an entry on anew, and the head's, as who knows the form can."""
    with database.write() as conn:
        rows = conn.execute(select(ENTRIES).order_by(ENTRIES.c.seq)).mappings().all()
        last = Link(0, GENESIS)
        for row in rows:
            value = row["hash"] if row["seq"] < first else entry_hash(row, last.hash)
            conn.execute(ENTRIES.update().where(ENTRIES.c.seq == row["seq"]).values(hash=value))
            last = Link(row["seq"], value)
        conn.execute(HEAD.update().values(seq=last.seq, hash=last.hash))


# --- the form -------------------------------------------------------------------------------------------


def test_the_form_is_the_one_we_promised() -> None:
    """Computed here from the bytes: a change of the form would make every old export worthless."""
    fields = {
        "seq": 7,
        "at": datetime(2026, 11, 21, 13, 0, 0, 250, tzinfo=timezone(timedelta(hours=1))),
        "actor": "client:Jörg",
        "action": "group.rename",
        "object_type": "group",
        "object_id": "g",
        "detail": {"b": 1, "a": [None, True, "🎉"]},
        "before": None,
        "after": {"name": "x"},
        "request_id": None,
        "remote_addr": "::1",
        "hash": "is not part of what it is made of",
    }
    promised = (
        b'{"action":"group.rename","actor":"client:J\\u00f6rg","after":{"name":"x"},'
        b'"at":"2026-11-21T12:00:00.000250Z","before":null,"detail":{"a":[null,true,"\\ud83c\\udf89"],"b":1},'
        b'"object_id":"g","object_type":"group","previous":"' + b"f" * 64 + b'","remote_addr":"::1",'
        b'"request_id":null,"seq":7}'
    )
    assert entry_hash(fields, "f" * 64) == hashlib.sha256(promised).hexdigest()


@pytest.mark.parametrize("name", [c.name for c in ENTRIES.columns if c.name != "hash"])
def test_every_column_is_part_of_the_hash(name: str) -> None:
    """A column that a later release adds and forgets here would be free to change."""
    fields: dict[str, Any] = {c.name: None for c in ENTRIES.columns} | {"at": NOW}
    other = fields | {name: NOW + timedelta(microseconds=1) if name == "at" else "other"}
    assert entry_hash(fields, GENESIS) != entry_hash(other, GENESIS)
    assert entry_hash(fields, GENESIS) != entry_hash(fields, "1" * 64)


def test_plain_values_stay_as_they_are() -> None:
    """`plain` is what comes back from storage, and `canonical` of it has one text."""
    assert plain({"at": NOW, "ids": ("a", "b"), "n": 1.5}) == {
        "at": "2026-11-21T12:00:00Z",
        "ids": ["a", "b"],
        "n": 1.5,
    }
    assert canonical({"b": 1, "a": "é"}) == '{"a":"\\u00e9","b":1}'


# --- tampering ------------------------------------------------------------------------------------------


def test_a_chain_that_nobody_touched_is_whole(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty one, one of a page, of exactly two pages, and of more."""
    monkeypatch.setattr(chain, "_PAGE", 3)
    assert judge(database) == chain.Verdict(0, None, Link(0, GENESIS), None, complete=True)
    for count in (2, 6, 7):
        write(database, count - judge(database).checked)
        verdict = judge(database)
        assert (verdict.checked, verdict.fault, verdict.complete) == (count, None, True)
        assert verdict.last == verdict.head
        assert verdict.last is not None
        assert verdict.last.seq == count


CHANGED = "This entry does not match its hash: it, or the entry before it, is not what the bridge wrote."


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE audit_entry SET actor = 'client:other' WHERE seq = 3", Break(3, CHANGED)),
        ("UPDATE audit_entry SET action = 'group.delete' WHERE seq = 1", Break(1, CHANGED)),
        ("UPDATE audit_entry SET object_id = 'x' WHERE seq = 5", Break(5, CHANGED)),
        ("UPDATE audit_entry SET object_type = 'x' WHERE seq = 5", Break(5, CHANGED)),
        ("UPDATE audit_entry SET detail = '{\"x\": 1}' WHERE seq = 2", Break(2, CHANGED)),
        ("UPDATE audit_entry SET before = NULL WHERE seq = 2", Break(2, CHANGED)),
        ("UPDATE audit_entry SET before = 'null' WHERE seq = 2", Break(2, CHANGED)),
        ('UPDATE audit_entry SET after = \'{"name": "c"}\' WHERE seq = 2', Break(2, CHANGED)),
        ("UPDATE audit_entry SET request_id = NULL WHERE seq = 2", Break(2, CHANGED)),
        ("UPDATE audit_entry SET remote_addr = '' WHERE seq = 2", Break(2, CHANGED)),
        ("UPDATE audit_entry SET at = '2026-11-21 12:00:00.000001+00:00' WHERE seq = 4", Break(4, CHANGED)),
        ("UPDATE audit_entry SET hash = upper(hash) WHERE seq = 4", Break(4, CHANGED)),
        (
            "DELETE FROM audit_entry WHERE seq = 3",
            Break(4, "Entry 3 is missing, or this entry was changed."),
        ),
        (
            "DELETE FROM audit_entry WHERE seq < 3",
            Break(3, "Entries 1 to 2 are missing, or this entry was changed."),
        ),
        ("DELETE FROM audit_entry WHERE seq = 5", Break(5, "Entry 5 is missing at the end of the chain.")),
        (
            "DELETE FROM audit_entry WHERE seq > 3",
            Break(4, "Entries 4 to 5 are missing at the end of the chain."),
        ),
        ("DELETE FROM audit_entry", Break(1, "Entries 1 to 5 are missing at the end of the chain.")),
        (
            "DELETE FROM audit_head",
            Break(5, "The bridge's note of where the chain ends (audit_head) is missing."),
        ),
        (
            "UPDATE audit_head SET seq = 4",
            Break(5, "The chain ends with entry 4: something else than the bridge added this one."),
        ),
        (
            "UPDATE audit_head SET hash = 'x'",
            Break(5, "The chain ends with another hash than the bridge has noted in audit_head."),
        ),
    ],
)
def test_tampering_is_found_where_it_happened(database: Database, statement: str, fault: Break) -> None:
    """A changed field, a missing entry, a cut end, a changed head: the first wrong place and why."""
    write(database, 5)
    tamper(database, statement)
    assert judge(database).fault == fault


def test_swapped_entries_are_found(database: Database) -> None:
    """Although both are entries of ours, with their own hashes."""
    write(database, 5)
    tamper(
        database,
        "UPDATE audit_entry SET seq = 99 WHERE seq = 2",
        "UPDATE audit_entry SET seq = 2 WHERE seq = 3",
        "UPDATE audit_entry SET seq = 3 WHERE seq = 99",
    )
    assert judge(database).fault == Break(2, CHANGED)


@pytest.mark.parametrize(("seq", "found_at"), [(6, 6), (0, 0), (-3, -3)])
def test_an_entry_of_somebody_else_is_found(database: Database, seq: int, found_at: int) -> None:
    """Behind the end or before the beginning, with a hash that is some other entry's."""
    write(database, 5)
    tamper(
        database,
        "INSERT INTO audit_entry (seq, at, actor, action, object_type, object_id, detail, hash) "
        "SELECT 99, at, actor, action, object_type, object_id, detail, hash FROM audit_entry WHERE seq = 5",
        f"UPDATE audit_entry SET seq = {seq} WHERE seq = 99",  # noqa: S608 - a number of ours
    )
    fault = judge(database).fault
    assert fault is not None
    assert fault.seq == found_at


def test_an_entry_put_between_two_is_found(database: Database) -> None:
    """The numbers behind it moved up by one, its own hash right: the next one does not follow it."""
    write(database, 5)
    tamper(
        database,
        "UPDATE audit_entry SET seq = seq + 100 WHERE seq > 2",
        "UPDATE audit_entry SET seq = seq - 99 WHERE seq > 100",
        "INSERT INTO audit_entry (seq, at, actor, action, object_type, object_id, detail, hash) "
        "SELECT 3, at, actor, action, object_type, object_id, detail, hash FROM audit_entry WHERE seq = 2",
        "UPDATE audit_head SET seq = 6",
    )
    with database.write() as conn:
        rows = conn.execute(select(ENTRIES).where(ENTRIES.c.seq.in_([2, 3])).order_by(ENTRIES.c.seq))
        before, between = rows.mappings().all()
        conn.execute(
            ENTRIES.update().where(ENTRIES.c.seq == 3).values(hash=entry_hash(between, before["hash"]))
        )
    assert judge(database).fault == Break(4, CHANGED)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET detail = '{' WHERE seq = 4",
        "UPDATE audit_entry SET after = x'ff' WHERE seq = 4",
        "UPDATE audit_entry SET before = replace(hex(zeroblob(100000)), '0', '[') WHERE seq = 4",
        "UPDATE audit_entry SET at = 'yesterday' WHERE seq = 4",
        "UPDATE audit_entry SET at = 5 WHERE seq = 4",
        "UPDATE audit_entry SET actor = x'ff00' WHERE seq = 4",
    ],
)
def test_what_cannot_be_read_is_found_and_not_stumbled_over(
    sqlite_database: Database, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite keeps anything in any column; the entries around it are still looked at one by one."""
    monkeypatch.setattr(chain, "_PAGE", 3)
    write(sqlite_database, 5)
    tamper(sqlite_database, statement)
    verdict = judge(sqlite_database)
    assert verdict.fault == Break(
        4, "A field of this entry cannot be read, so it is not what the bridge wrote."
    )
    assert verdict.checked == 3


def test_the_first_entry_may_be_the_one_that_cannot_be_read(sqlite_database: Database) -> None:
    """There is nothing before it to name."""
    write(sqlite_database, 1)
    tamper(sqlite_database, "UPDATE audit_entry SET detail = '{'")
    fault = judge(sqlite_database).fault
    assert fault is not None
    assert fault.seq == 1
    with pytest.raises(UnreadableEntryError, match="entry 1 cannot be read"), sqlite_database.read() as conn:
        list(export_entries(conn))


# --- a chain written anew -------------------------------------------------------------------------------


def _change(database: Database) -> None:
    tamper(database, "UPDATE audit_entry SET actor = 'client:other' WHERE seq = 2")
    forge(database, 2)


def _cut(database: Database) -> None:
    tamper(database, "DELETE FROM audit_entry WHERE seq > 3")
    forge(database, 4)


def _remove(database: Database) -> None:
    tamper(database, "DELETE FROM audit_entry WHERE seq = 4")
    forge(database, 5)


@pytest.mark.parametrize(
    ("crime", "fault"),
    [
        (_change, Break(4, "This entry has another hash than the one noted: the chain was written anew.")),
        (_cut, Break(4, "The entry noted is missing: the chain was written anew without it.")),
        (_remove, Break(4, "The entry noted is missing: the chain was written anew without it.")),
    ],
)
def test_a_forged_chain_is_found_by_what_was_noted(
    database: Database, crime: Callable[[Database], None], fault: Break
) -> None:
    """Who writes everything anew, head included, is found out by a hash kept elsewhere, and only by that."""
    write(database, 4)
    noted = judge(database).last
    write(database, 2)
    assert judge(database, noted=noted).fault is None
    crime(database)
    assert judge(database).fault is None
    assert judge(database, noted=noted).fault == fault


# --- parts ----------------------------------------------------------------------------------------------


def test_a_chain_is_verified_in_parts(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each begins where the last one ended, and the last one compares the end with the head."""
    monkeypatch.setattr(chain, "_PAGE", 2)
    write(database, 7)
    parts = []
    after = None
    while True:
        part = judge(database, after=after, limit=3)
        parts.append((part.checked, part.complete, part.fault))
        if part.complete:
            break
        assert part.last is not None
        after = part.last.seq
    assert parts == [(3, False, None), (3, False, None), (1, True, None)]
    assert judge(database, after=7, limit=3).complete
    tamper(database, "UPDATE audit_entry SET actor = 'x' WHERE seq = 4")
    assert judge(database, limit=3).fault is None
    assert judge(database, after=3, limit=3).fault == Break(4, CHANGED)
    assert judge(database, after=4).fault is None
    with pytest.raises(NotFound, match="no audit entry 8"):
        judge(database, after=8)


# --- export ---------------------------------------------------------------------------------------------


def exported(database: Database, **bounds: Any) -> list[dict[str, Any]]:
    """An export, as it comes back from a file."""
    with database.read() as conn:
        return [json.loads(json.dumps(entry)) for entry in export_entries(conn, **bounds)]


def test_an_export_holds_the_chain(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each entry names the one before, and its hash is that of the rest of its line."""
    monkeypatch.setattr(chain, "_PAGE", 2)
    write(database, 5)
    entries = exported(database)
    assert [entry["seq"] for entry in entries] == [1, 2, 3, 4, 5]
    assert entries[0]["previous"] == GENESIS
    for entry, following in pairwise(entries):
        assert following["previous"] == entry["hash"]
    for entry in entries:
        claimed = entry.pop("hash")
        assert hashlib.sha256(canonical(entry).encode()).hexdigest() == claimed
    assert (entries[2]["before"], entries[2]["after"]) == ({"name": "a"}, {"name": "b"})
    assert list(entries[0]) == [
        *("seq", "at", "actor", "action", "object_type", "object_id", "detail"),
        *("before", "after", "request_id", "remote_addr", "previous"),
    ]


def test_an_export_of_a_time_has_no_holes(database: Database) -> None:
    """From the first entry in it to the last; one between them whose clock was early is there too."""
    write(database, 6, hours=1)
    everything = exported(database)

    def hours(since: int | None, until: int | None) -> list[int]:
        bounds = {
            name: NOW + timedelta(hours=value)
            for name, value in (("since", since), ("until", until))
            if value is not None
        }
        part = exported(database, **bounds)
        assert part == [entry for entry in everything if entry in part]
        return [entry["seq"] for entry in part]

    assert hours(2, None) == [3, 4, 5, 6]
    assert hours(None, 2) == [1, 2]
    assert hours(1, 3) == [2, 3]
    assert hours(9, None) == hours(None, 0) == hours(4, 4) == []
    with database.write() as conn:
        record(conn, Origin("x"), now=NOW, action="a", object_type="b", object_id="late commit")
    write(database, 1)
    everything = exported(database)
    assert hours(5, 6) == [6]
    assert hours(0, 1) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_an_export_shows_what_is_there(database: Database) -> None:
    """It does not judge: who checks it finds the break."""
    write(database, 4)
    tamper(database, "DELETE FROM audit_entry WHERE seq = 2")
    entries = exported(database)
    assert [entry["seq"] for entry in entries] == [1, 3, 4]
    claimed = entries[1].pop("hash")
    assert hashlib.sha256(canonical(entries[1]).encode()).hexdigest() != claimed


# --- kill -9 --------------------------------------------------------------------------------------------

WRITERS = """
import sys, threading
from datetime import UTC, datetime
from sqlalchemy import text
from mdm.audit import Origin, record
from mdm.storage.engine import Database

database = Database(sys.argv[1])
lock = threading.Lock()

def work(writer):
    for number in range(10_000):
        name = f"{sys.argv[2]}.{writer}.{number}"
        with database.write() as conn:
            conn.execute(
                text("INSERT INTO device_group (id, name, builtin, created_at) VALUES (:id, :id, false, :now)"),
                {"id": name, "now": datetime(2026, 11, 21, tzinfo=UTC).isoformat(" ")},
            )
            record(conn, Origin("x"), now=datetime(2026, 11, 21, tzinfo=UTC), action="a", object_type="g", object_id=name)
        with lock:
            print(name, flush=True)

for writer in range(3):
    threading.Thread(target=work, args=(writer,)).start()
"""


def test_a_kill_leaves_a_whole_chain(database_url: str, tmp_path: Path) -> None:
    """Killed three times in the middle of writing: what was acknowledged is there, and each change has its entry."""
    acknowledged: set[str] = set()
    with closing(Database(database_url)) as database:
        for life in range(3):
            said = tmp_path / f"said.{life}"
            with said.open("w") as out:
                process = subprocess.Popen(
                    [sys.executable, "-c", WRITERS, database_url, str(life)], stdout=out
                )
                while said.stat().st_size < 400:
                    assert process.poll() is None
                    time.sleep(0.002)
                process.send_signal(signal.SIGKILL)
                process.wait(30)
            acknowledged.update(said.read_text().splitlines(keepends=False)[:-1])
        with database.read() as conn:
            groups = set(conn.scalars(text("SELECT id FROM device_group WHERE NOT builtin")))
            noted = list(conn.scalars(select(ENTRIES.c.object_id)))
            verdict = verify(conn)
        write(database, 1)
        assert judge(database).fault is None
    assert acknowledged
    assert verdict.fault is None
    assert len(noted) == len(set(noted))
    assert set(noted) == groups
    assert acknowledged <= groups
