"""A catalogue that travels: what one site has stored, another has after the import, and nothing else."""

from __future__ import annotations

import hashlib
import io
import shutil
import signal
import subprocess
import sys
import zlib
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, event, insert, select, update
from sqlmodel import SQLModel

from mdm.audit import Origin
from mdm.catalog import archive, archive_import, intake
from mdm.catalog.archive import Selection, export_catalogue
from mdm.catalog.archive_format import ArchiveError, ArchiveReader, ArchiveWriter
from mdm.catalog.archive_import import import_archive
from mdm.catalog.eula_bytes import sha1_of
from mdm.catalog.eula_texts import missing_texts, store_text
from mdm.catalog.signing import SigningKey
from mdm.catalog.store import Delivery, store_revisions
from mdm.storage.engine import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mdm.catalog.archive import Exported
    from mdm.catalog.intake import Summary

KEY = SigningKey(bytes(range(32)))
TRUSTED = {KEY.public.fingerprint}
ORIGIN = Origin(actor="command-line")
HOME = "http://wsus.example"
OTHER = "https://mu.example"


def guid(letter: str) -> str:
    """An id that begins with this letter."""
    return f"{letter * 8}-0000-4000-8000-000000000000"


SECURITY, PRODUCT, OTHER_PRODUCT = guid("0"), guid("1"), guid("2")
UPDATE, PART, NEEDED, OLD, FOREIGN, EULA = (guid(letter) for letter in "abcdef")
TEXTS = {"en": b"Do not eat.", "de": "Nicht essen: Wärme.".encode("cp1252"), "fr": b"\x81"}


def store(database: Database, now: datetime, *documents: str, upstream: str = HOME) -> None:
    """Store documents as a sync does."""
    with database.write() as connection:
        store_revisions(
            connection,
            [Delivery.of(each) for each in documents],
            url_of=lambda file: f"{HOME}/{file.file_name}",
            upstream_url=upstream,
            now=now,
        )


def fetch_texts(database: Database, now: datetime) -> None:
    """Store the licence texts as a sync does."""
    with database.write() as connection:
        for missing in missing_texts(connection):
            data = TEXTS[missing.locale]
            store_text(connection, missing, data, data.decode("cp1252", errors="replace"), now)


@pytest.fixture
def filled(sqlite_database: Database, document: Callable[..., str], now: datetime) -> Database:
    """A catalogue with all that hangs together: categories, a bundle, a prerequisite, an old update, a licence."""
    store(
        sqlite_database,
        now,
        document(SECURITY, update_type="Category", category_type="UpdateClassification", title="Security"),
        document(PRODUCT, update_type="Category", category_type="Product", title="Windows 11"),
        document(OTHER_PRODUCT, update_type="Category", category_type="Product", title="Office"),
        document(UPDATE, 100, categories=(SECURITY, PRODUCT), title="Before"),
        document(
            UPDATE,
            200,
            categories=(SECURITY, PRODUCT),
            supersedes=(OLD,),
            bundles=((PART, 100),),
            requires=(NEEDED,),
            eula=(EULA, TEXTS),
        ),
        document(PART, 100, deployable=False),
        document(NEEDED, 101, update_type="Detectoid"),
        document(OLD, 100, categories=(SECURITY, PRODUCT)),
    )
    store(sqlite_database, now, document(FOREIGN, categories=(SECURITY, OTHER_PRODUCT)), upstream=OTHER)
    fetch_texts(sqlite_database, now)
    return sqlite_database


@pytest.fixture
def site(_sqlite_template: Path, tmp_path: Path) -> Iterator[Database]:
    """Another site's database, on SQLite; `target` has it on PostgreSQL as well."""
    path = tmp_path / "site.sqlite3"
    shutil.copyfile(_sqlite_template, path)
    with closing(Database(f"sqlite:///{path}")) as database:
        yield database


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def target(request: pytest.FixtureRequest) -> Iterator[Database]:
    """Another site's database."""
    if request.param == "sqlite":
        yield request.getfixturevalue("site")
        return
    with closing(Database(request.getfixturevalue("postgresql_url"))) as database:
        yield database


def export(database: Database, now: datetime, **selection: Any) -> tuple[bytes, Exported]:
    """An archive in memory, and what was said of it."""
    file = io.BytesIO()
    exported = export_catalogue(database, file, KEY, Selection(**selection), now=now)
    return file.getvalue(), exported


def bring(database: Database, data: bytes, now: datetime, **options: Any) -> Summary:
    """Import an archive."""
    return import_archive(database, io.BytesIO(data), TRUSTED, origin=ORIGIN, clock=lambda: now, **options)


def rows(database: Database, table: str) -> list[dict[str, Any]]:
    """All rows of a table in one order; the order of words means nothing."""
    found = SQLModel.metadata.tables[table]
    with database.read() as connection:
        result = [dict(row) for row in connection.execute(select(found)).mappings()]
    for row in result:
        if "words" in row:
            row["words"] = sorted(row["words"].split())
    return sorted(result, key=str)


def ids(data: bytes) -> set[tuple[str, int]]:
    """The revisions in an archive."""
    reader = ArchiveReader(io.BytesIO(data))
    return {
        (each.text("id"), each.number("revision"))
        for part in reader.verify(TRUSTED).parts
        if part.kind == "revisions"
        for each in reader.records(part)
    }


CATALOGUE = (
    "update_revision",
    "revision_text",
    "revision_relation",
    "revision_category",
    "category",
    "listed_update",
    "eula",
)


def test_the_other_site_has_the_same_catalogue(filled: Database, target: Database, now: datetime) -> None:
    """Every table row for row: flags, classifications, lists, sizes and where each revision came from."""
    data, exported = export(filled, now)
    summary = bring(target, data, now)
    for table in CATALOGUE:
        assert rows(target, table) == rows(filled, table), table
    assert exported.manifest.counts["revisions"] == 9
    assert exported.manifest.upstreams == (HOME, OTHER)
    assert (summary.new, summary.revised, summary.categories) == (4, 0, 4)
    assert (summary.here, summary.refused, summary.eula_texts) == (0, 0, 2)


def test_licence_texts_come_with_their_digests(filled: Database, target: Database, now: datetime) -> None:
    """The hash that an acceptance names is the same; a text damaged at home stays out, its URL is known."""
    data, exported = export(filled, now)
    bring(target, data, now)
    texts = {row["locale"]: row for row in rows(target, "eula_text")}
    assert exported.texts_left_out == 1
    for locale in ("en", "de"):
        assert texts[locale]["text"] == TEXTS[locale].decode("cp1252")
        assert texts[locale]["text_sha256"] == hashlib.sha256(TEXTS[locale]).hexdigest()
    assert texts["fr"]["text"] is None
    assert texts["fr"]["url"] == f"{HOME}/eula-fr.txt"


def test_a_second_import_changes_nothing(filled: Database, target: Database, now: datetime) -> None:
    """Everything is here already, and the summary says so."""
    data, _ = export(filled, now)
    bring(target, data, now)
    before = {table: rows(target, table) for table in (*CATALOGUE, "eula_text")}
    summary = bring(target, data, now + timedelta(days=1))
    assert {table: rows(target, table) for table in before} == before
    assert (summary.new, summary.revised, summary.categories, summary.here) == (0, 0, 0, 9)
    assert (summary.eula_texts, summary.refused) == (0, 0)


def test_what_was_imported_can_be_exported_again(filled: Database, target: Database, now: datetime) -> None:
    """From either database the same archive comes, but for a text that could not be checked."""
    data, _ = export(filled, now)
    bring(target, data, now)
    again, exported = export(target, now)
    assert again == data
    assert exported.texts_left_out == 0


class Killed(BaseException):
    """What no code catches."""


def test_a_killed_import_is_simply_started_again(
    filled: Database, target: Database, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it stopped; the end is that of an undisturbed one."""
    data, _ = export(filled, now)
    monkeypatch.setattr(archive_import, "BATCH_SIZE", 3)

    def killer(after: int) -> Callable[[int], None]:
        def progress(done: int) -> None:
            if done >= after:
                raise Killed

        return progress

    for after in (3, 6, 9):
        with pytest.raises(Killed):
            bring(target, data, now, progress=killer(after))
    summary = bring(target, data, now)
    assert summary.here == 9
    for table in CATALOGUE:
        assert rows(target, table) == rows(filled, table), table
    assert [row["state"] for row in rows(target, "sync_run")] == ["succeeded"]


_IMPORT_AND_DIE = """
import os, signal, sys
from datetime import UTC, datetime
from mdm.audit import Origin
from mdm.catalog import archive_import
from mdm.storage.engine import Database
url, path, fingerprint, after = sys.argv[1:]
archive_import.BATCH_SIZE = 1
def progress(done):
    if done == int(after):
        os.kill(os.getpid(), signal.SIGKILL)
with open(path, "rb") as file:
    archive_import.import_archive(
        Database(url), file, {fingerprint}, origin=Origin(actor="x"),
        clock=lambda: datetime(2026, 11, 21, 12, tzinfo=UTC), progress=progress,
    )
"""


def test_a_process_that_was_killed_leaves_whole_batches(
    filled: Database, site: Database, tmp_path: Path, now: datetime
) -> None:
    """Kill -9 after one, four and seven revisions: the next import finds exactly those here."""
    path = tmp_path / "catalogue.tar"
    path.write_bytes(export(filled, now)[0])
    url = f"sqlite:///{tmp_path / 'site.sqlite3'}"
    program = [sys.executable, "-c", _IMPORT_AND_DIE, url, str(path), KEY.public.fingerprint]
    for after in (1, 4, 7):
        assert subprocess.run([*program, str(after)], check=False).returncode == -signal.SIGKILL
        assert len(rows(site, "update_revision")) == after
    assert bring(site, path.read_bytes(), now).here == 7
    for table in CATALOGUE:
        assert rows(site, table) == rows(filled, table), table


def test_what_devices_wait_for_is_settled(filled: Database, target: Database, now: datetime) -> None:
    """The exact revision, or any where none was named; another revision is still waited for."""
    needed = SQLModel.metadata.tables["needed_revision"]
    wanted = [(UPDATE, 200), (OLD, 0), (UPDATE, 300), (guid("9"), 0)]
    with target.write() as connection:
        connection.execute(
            insert(needed),
            [
                {
                    "update_id": update_id,
                    "revision_number": number,
                    "state": "queued",
                    "first_reported_at": now,
                    "attempts": 0,
                }
                for update_id, number in wanted
            ],
        )
    bring(target, export(filled, now)[0], now)
    states = {
        (row["update_id"], row["revision_number"]): row["state"] for row in rows(target, "needed_revision")
    }
    assert [states[each] for each in wanted] == ["synced", "synced", "queued", "queued"]


def test_an_import_is_in_the_audit_and_among_the_runs(
    filled: Database, target: Database, now: datetime
) -> None:
    """With whose signature it was, and what it brought."""
    summary = bring(target, export(filled, now)[0], now)
    (entry,) = rows(target, "audit_entry")
    (run,) = rows(target, "sync_run")
    (event,) = rows(target, "sync_event")
    source = f"archive:{KEY.public.fingerprint}"
    assert (entry["actor"], entry["action"], entry["object_id"]) == (
        "command-line",
        "catalog.import",
        run["id"],
    )
    assert entry["detail"]["source"] == run["upstream_url"] == source
    assert (run["state"], run["finished_at"], run["new"]) == ("succeeded", now, summary.new)
    assert event["message"] == f"Import done: {summary.sentence}"


def test_progress_is_told(filled: Database, site: Database, now: datetime) -> None:
    """By both sides, in revisions."""
    told: list[int] = []
    file = io.BytesIO()
    export_catalogue(filled, file, KEY, Selection(), now=now, progress=told.append)
    assert told == [3, 9]
    told.clear()
    bring(site, file.getvalue(), now, progress=told.append)
    assert told == [9]


# --- selections -----------------------------------------------------------------------------------------

CATEGORIES = {(SECURITY, 200), (PRODUCT, 200), (OTHER_PRODUCT, 200)}
WINDOWS = {(UPDATE, 100), (UPDATE, 200), (PART, 100), (NEEDED, 101), (OLD, 100)}
OFFICE = {(FOREIGN, 200)}


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({}, WINDOWS | OFFICE),
        ({"products": (PRODUCT,)}, WINDOWS),
        ({"products": (OTHER_PRODUCT,)}, OFFICE),
        ({"products": (PRODUCT, OTHER_PRODUCT)}, WINDOWS | OFFICE),
        ({"classifications": (SECURITY,), "products": (OTHER_PRODUCT,)}, OFFICE),
        ({"classifications": (guid("9"),), "products": (PRODUCT,)}, set()),
        ({"classifications": (guid("9"),)}, set()),
    ],
)
def test_a_selection_takes_what_it_needs_along(
    filled: Database, now: datetime, selection: dict[str, Any], expected: set[tuple[str, int]]
) -> None:
    """Parts and prerequisites, and always the category list."""
    data, exported = export(filled, now, **selection)
    assert ids(data) == expected | CATEGORIES
    assert exported.manifest.selection == {name: list(value) for name, value in selection.items()}


def test_since_takes_what_came_later(
    filled: Database, site: Database, document: Callable[..., str], now: datetime
) -> None:
    """Two archives, one after the other, make the whole; licence texts that came late are in the second."""
    texts = SQLModel.metadata.tables["eula_text"]
    with filled.write() as connection:
        kept = {row.locale: (row.text, row.text_sha256) for row in connection.execute(select(texts))}
        connection.execute(update(texts).values(text=None, text_sha256=None, fetched_at=None))
    first, _ = export(filled, now)
    later = now + timedelta(hours=1)
    store(filled, later, document(FOREIGN, 300, categories=(SECURITY,)))
    with filled.write() as connection:
        for locale, (text, sha256) in kept.items():
            connection.execute(
                update(texts)
                .where(texts.c.locale == locale)
                .values(text=text, text_sha256=sha256, fetched_at=later)
            )
    second, exported = export(filled, later, since=later)
    assert ids(second) == {(FOREIGN, 300)}
    assert exported.manifest.selection == {"since": later.isoformat()}
    bring(site, first, now)
    summary = bring(site, second, later)
    assert (summary.revised, summary.eula_texts) == (1, 2)
    for table in CATALOGUE:
        assert rows(site, table) == rows(filled, table), table


def test_documents_are_read_some_megabytes_at_a_time(
    filled: Database, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the pages fall, each revision is written once."""
    whole, _ = export(filled, now)
    for size in (1, 700, 2000):
        monkeypatch.setattr(archive, "_PAGE_BYTES", size)
        data, exported = export(filled, now)
        assert ids(data) == ids(whole)
        assert exported.manifest.counts["revisions"] == 9


def test_a_catalogue_of_any_size_is_read_by_its_keys(
    filled: Database, document: Callable[..., str], now: datetime
) -> None:
    """Once each way: no page and no level of the closure reads what it does not need to."""
    members = [f"{number:08x}-0000-4000-8000-00000000000a" for number in range(500)]
    store(
        filled, now, *(document(each, categories=(SECURITY, PRODUCT), requires=(NEEDED,)) for each in members)
    )
    plans: dict[str, str] = {}

    def explain(_connection: Any, cursor: Any, words: str, parameters: Any, *_more: Any) -> None:
        plan = cursor.connection.cursor()
        plan.execute(f"EXPLAIN QUERY PLAN {words}", parameters)
        plans[words] = " ".join(row[3] for row in plan.fetchall())

    event.listen(Engine, "before_cursor_execute", explain)
    try:
        data, _ = export(filled, now, products=(PRODUCT,))
    finally:
        event.remove(Engine, "before_cursor_execute", explain)
    assert {each for each, _ in ids(data)} > set(members)
    by_update = [plan for words, plan in plans.items() if "update_id IN" in words]
    assert len(by_update) >= 3
    for plan in by_update:
        assert "(update_id=?" in plan
        assert "SCAN" not in plan


def test_an_empty_catalogue_makes_an_archive(site: Database, now: datetime) -> None:
    """Which brings nothing."""
    data, exported = export(site, now)
    assert exported.manifest.counts == {"licences": 0, "revisions": 0, "texts": 0}
    assert bring(site, data, now).sentence.startswith("0 new and 0 revised updates")


# --- what is not believed -------------------------------------------------------------------------------


def forge(*records: tuple[Any, dict[str, Any], bytes]) -> bytes:
    """An archive of a trusted site that has gone wrong."""
    file = io.BytesIO()
    writer = ArchiveWriter(file, datetime(2026, 1, 1, tzinfo=UTC))
    for kind, members, payload in records:
        writer.add(kind, members, payload)
    writer.finish(KEY, selection={}, upstreams=())
    return file.getvalue()


def revision(payload: bytes, **members: Any) -> tuple[str, dict[str, Any], bytes]:
    """A record of a revision."""
    return "revisions", {"id": UPDATE, "revision": 200, "upstream": HOME, **members}, payload


def test_nothing_of_an_untrusted_archive_is_stored(filled: Database, site: Database, now: datetime) -> None:
    """Not even the line in the audit."""
    data, _ = export(filled, now)
    with pytest.raises(ArchiveError, match="not trusted here"):
        import_archive(site, io.BytesIO(data), (), origin=ORIGIN, clock=lambda: now)
    damaged = bytearray(data)
    damaged[3000] ^= 1
    with pytest.raises(ArchiveError, match="damaged"):
        bring(site, bytes(damaged), now)
    for table in (*CATALOGUE, "audit_entry", "sync_run"):
        assert rows(site, table) == []


def test_a_bad_document_costs_only_itself(
    site: Database, document: Callable[..., str], now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused with its reason; the others are stored."""
    good = document(UPDATE, 200)
    records = [
        revision(zlib.compress(good.encode())),
        revision(zlib.compress(document(OLD, 100).encode()), revision=1),
        revision(b"no zlib", revision=2),
        revision(zlib.compress(b"\xff"), revision=3),
        revision(zlib.compress(b"<x/>"), revision=4),
        revision(zlib.compress(good.encode())[:-5], revision=5),
        revision(zlib.compress(good.encode()) + b"more", revision=6),
    ]
    monkeypatch.setattr(intake, "REASONS_SHOWN", 5)
    summary = bring(site, forge(*records), now)
    assert (summary.new, summary.refused) == (1, 6)
    assert summary.reasons == [
        f"{UPDATE}.1: the document is that of {OLD}.100",
        f"{UPDATE}.2: the document cannot be unpacked",
        f"{UPDATE}.3: the document cannot be unpacked",
        f"{UPDATE}.4: the document is not an Update",
        f"{UPDATE}.5: the document is cut short, or unpacks to more than any update's",
    ]
    messages = [row["message"] for row in rows(site, "sync_event")]
    assert f"Refused {summary.reasons[0]}" in messages
    assert rows(site, "sync_run")[0]["failed"] == 6


def test_a_licence_file_without_a_place_is_not_told(
    site: Database, document: Callable[..., str], now: datetime
) -> None:
    """An upstream need not name the URL of every file."""
    licensed = revision(zlib.compress(document(UPDATE, eula=(EULA, {"en": b"x"})).encode()))
    bring(site, forge(licensed), now)
    assert rows(site, "eula_text")[0]["url"] is None
    assert export(site, now)[1].manifest.counts["licences"] == 0


def test_a_bomb_is_not_unpacked(site: Database, now: datetime) -> None:
    """A document that would fill the memory ends at the bound of all documents."""
    bomb = zlib.compress(bytes(70 * 1024 * 1024))
    summary = bring(site, forge(revision(bomb)), now)
    assert summary.reasons == [
        f"{UPDATE}.200: the document is cut short, or unpacks to more than any update's"
    ]


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (revision(b"", id="x"), "not a GUID"),
        (revision(b"", id=1), "id is no text"),
        (revision(b"", revision=2**31), "too large"),
        (revision(b"", revision="1"), "no number"),
        (("licences", {"sha1": "x"}, b""), "url is no text"),
        (("texts", {}, b"x"), "sha1 is no text"),
    ],
)
def test_a_senseless_record_ends_the_import(
    site: Database, now: datetime, record: tuple[Any, dict[str, Any], bytes], words: str
) -> None:
    """The run is told as failed, with the sentence."""
    with pytest.raises(ArchiveError, match=words):
        bring(site, forge(record), now)
    (run,) = rows(site, "sync_run")
    assert run["state"] == "failed"
    assert words in run["error"]


def test_licences_are_counted(site: Database, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their places are held in memory, so there is a bound."""
    monkeypatch.setattr(archive_import, "_MAX_LICENCES", 1)
    records = [("licences", {"sha1": each, "url": "http://x"}, b"") for each in "ab"]
    with pytest.raises(ArchiveError, match="more than 1 licence files"):
        bring(site, forge(*records), now)


def test_a_licence_text_needs_both_digests(
    site: Database, document: Callable[..., str], now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is not the one the metadata names, is no text or is too large is not shown to anybody."""
    good = b"Do not eat."
    licensed = revision(zlib.compress(document(UPDATE, eula=(EULA, {"en": good})).encode()))
    bring(site, forge(licensed), now)
    sha1 = sha1_of(good)
    for data, words in (
        (b"Eat!", "another SHA-1"),
        (b"\0", "not a text"),
        (bytes(100), "too large"),
    ):
        monkeypatch.setattr(archive_import, "MAX_TEXT_BYTES", 50)
        summary = bring(site, forge(("texts", {"sha1": sha1}, data)), now)
        assert words in summary.reasons[0]
    texts = SQLModel.metadata.tables["eula_text"]
    with site.write() as connection:
        connection.execute(update(texts).values(file_sha256="of another file"))
    summary = bring(site, forge(("texts", {"sha1": sha1}, good)), now)
    assert "names another SHA-256" in summary.reasons[0]
    assert rows(site, "eula_text")[0]["text"] is None
    with site.write() as connection:
        connection.execute(update(texts).values(file_sha256=None))
    assert bring(site, forge(("texts", {"sha1": sha1}, good)), now).eula_texts == 1


def test_a_text_that_is_gone_when_its_turn_comes_is_left_out(
    filled: Database, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The catalogue may be cleaned up while it is exported."""
    monkeypatch.setattr(archive, "_file", lambda _database, _sha1: None)
    assert export(filled, now)[1].texts_left_out == 3
