"""`csp-bridge catalog export|import|key`: two sites, a file between them, and sentences for what goes wrong."""

from __future__ import annotations

import hashlib
import re
import stat
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select
from sqlmodel import SQLModel

from mdm.catalog.store import Delivery, store_revisions
from mdm.cli import main
from mdm.commands import catalog_offline
from mdm.lab.scan_file import ScanRevision, pack_scan_file
from mdm.storage.engine import Database

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

UPDATE = "aaaaaaaa-0000-4000-8000-000000000000"
PRODUCT = "11111111-0000-4000-8000-000000000000"
DOCUMENT = (
    '<u:Update xmlns:u="http://schemas.microsoft.com/msus/2002/12/Update"><u:UpdateIdentity '
    f'UpdateID="{UPDATE}" RevisionNumber="200"/><u:Properties UpdateType="Software"/></u:Update>'
)


@pytest.fixture
def home(sqlite_url: str, data_dir: Path, now: datetime) -> Path:
    """The data directory of a site that has one update."""
    with closing(Database(sqlite_url)) as database, database.write() as connection:
        store_revisions(
            connection,
            [Delivery.of(DOCUMENT)],
            url_of=lambda _file: None,
            upstream_url="http://wsus.example",
            now=now,
        )
    return data_dir


@pytest.fixture
def away(tmp_path: Path) -> Path:
    """The data directory of a site that has nothing yet."""
    return tmp_path / "away"


def rows(data_dir: Path, table: str) -> list[dict[str, Any]]:
    """All rows of a table of the embedded database."""
    with closing(Database(f"sqlite:///{data_dir / 'bridge.sqlite3'}")) as database, database.read() as conn:
        return [dict(row) for row in conn.execute(select(SQLModel.metadata.tables[table])).mappings()]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Exit code, stdout and stderr of a `catalog` command."""

    def run(verb: str, data_dir: Path, *arguments: str | Path) -> tuple[int, str, str]:
        code = main(["catalog", verb, "--data-dir", str(data_dir), *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def archive(home: Path, tmp_path: Path, run: Callable[..., tuple[int, str, str]]) -> Path:
    """The first site's catalogue as a file."""
    path = tmp_path / "catalogue.tar"
    assert run("export", home, path)[0] == 0
    return path


def test_a_catalogue_goes_from_site_to_site(
    archive: Path, home: Path, away: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    """With the fingerprint that the first site prints."""
    code, printed, _ = run("key", home)
    fingerprint = re.search(r"SHA256:[0-9a-f]{64}", printed)
    assert code == 0
    assert fingerprint is not None
    code, out, err = run("import", away, archive, "--trust", fingerprint[0])
    assert (code, err) == (0, "")
    assert out.startswith(f"{archive}: 1 new and 0 revised updates, ")
    assert [row["update_id"] for row in rows(away, "update_revision")] == [UPDATE]
    assert run("import", away, archive, "--trust", fingerprint[0])[1].endswith(
        "1 revisions were here already, 0 were refused.\n"
    )


def test_the_printed_key_can_be_given_as_a_file(
    archive: Path, home: Path, away: Path, tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    """As somebody has redirected it."""
    path = tmp_path / "home.pem"
    path.write_text(run("key", home)[1], encoding="utf-8")
    assert run("import", away, archive, "--trust", path)[0] == 0


def test_a_site_trusts_itself(archive: Path, home: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    """An archive is a backup of the catalogue as well."""
    assert run("import", home, archive)[0] == 0


def test_an_export_says_what_it_wrote_and_is_audited(
    home: Path, tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    """And how to get what comes later; the private key is for its owner only."""
    path = tmp_path / "catalogue.tar"
    code, out, err = run("export", home, path)
    assert (code, err) == (0, "")
    assert f"{path}: 1 revisions and 0 licence texts, {path.stat().st_size} bytes, signed with SHA256:" in out
    since = re.search(r"export --since (\S+) FILE", out)
    assert since is not None
    (entry,) = rows(home, "audit_entry")
    assert (entry["action"], entry["detail"]["counts"]["revisions"]) == ("catalog.export", 1)
    assert stat.S_IMODE((home / "catalog-signing.key").stat().st_mode) == 0o600
    code, out, err = run("export", home, tmp_path / "later.tar", "--since", since[1])
    assert code == 0
    assert ": 0 revisions" in out
    assert "holds no revision" in err
    assert [each.name for each in tmp_path.iterdir() if each.name.endswith("partial")] == []


def test_an_export_replaces_no_file_unless_told(
    archive: Path, home: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    """With --force it does, at the very end."""
    archive.write_bytes(b"mine")
    code, _, err = run("export", home, archive)
    assert (code, archive.read_bytes()) == (2, b"mine")
    assert "is there already; --force replaces it." in err
    assert run("export", home, archive, "--force")[0] == 0
    assert archive.stat().st_size > 4


def test_an_export_that_cannot_be_written_leaves_nothing(
    home: Path, tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    """One sentence, no traceback."""
    code, _, err = run("export", home, tmp_path / "nowhere" / "catalogue.tar")
    assert code == 2
    assert err == f"csp-bridge: Cannot write {tmp_path}/nowhere/catalogue.tar: No such file or directory.\n"


def test_texts_that_are_left_out_are_told(
    home: Path,
    tmp_path: Path,
    run: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their licences cannot be accepted at the other site."""
    real = catalog_offline.export_catalogue

    def export(*arguments: Any, **options: Any) -> Any:
        exported = real(*arguments, **options)
        return type(exported)(exported.manifest, 3)

    monkeypatch.setattr(catalog_offline, "export_catalogue", export)
    assert "3 licence texts are left out: " in run("export", home, tmp_path / "catalogue.tar")[1]


def test_an_untrusted_archive_is_refused(
    archive: Path, away: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    """The sentence names the key and what to do, and nothing is stored."""
    code, out, err = run("import", away, archive)
    assert (code, out) == (1, "")
    assert "which is not trusted here. Compare that with what csp-bridge catalog key prints" in err
    assert rows(away, "update_revision") == []


def test_check_stores_nothing(
    archive: Path, home: Path, away: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    """It says what is in the file, without a database."""
    printed = run("key", home)[1].split()[1]
    code, out, _ = run("import", away, archive, "--check", "--trust", printed)
    assert code == 0
    assert "is whole and signed by SHA256:" in out
    assert "1 revisions and 0 licence texts" in out
    assert "from http://wsus.example." in out
    assert not away.exists()


def test_a_file_that_cannot_be_read_is_one_sentence(
    away: Path, tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    """Not there, or no archive."""
    code, _, err = run("import", away, tmp_path / "missing.tar")
    assert (code, err) == (2, f"csp-bridge: Cannot read {tmp_path}/missing.tar: No such file or directory.\n")
    path = tmp_path / "letter.txt"
    path.write_text("Dear colleague", encoding="utf-8")
    code, _, err = run("import", away, path)
    assert code == 1
    assert "is no archive of csp-bridge catalog export" in err


def test_what_is_refused_is_named(
    archive: Path,
    home: Path,
    run: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On stderr, with the reason."""
    real = catalog_offline.import_archive

    def bring(*arguments: Any, **options: Any) -> Any:
        summary = real(*arguments, **options)
        summary.refused, summary.reasons = 1, ["x.1: it is bad"]
        return summary

    monkeypatch.setattr(catalog_offline, "import_archive", bring)
    code, out, err = run("import", home, archive)
    assert (code, err) == (0, "Refused: x.1: it is bad\n")
    assert "1 were refused" in out


def test_an_import_can_be_stopped(
    archive: Path, home: Path, run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a sentence that says how to go on."""

    def stopped(*_arguments: Any, **_options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(catalog_offline, "import_archive", stopped)
    code, _, err = run("import", home, archive)
    assert (code, err) == (1, "csp-bridge: Stopped. What is stored stays; the same command goes on.\n")


def test_progress_is_told_now_and_then(
    home: Path,
    tmp_path: Path,
    run: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On stderr, so that stdout has the result only."""
    monkeypatch.setattr(catalog_offline, "_TOLD_EVERY", 1)
    assert run("export", home, tmp_path / "catalogue.tar")[2] == "1 revisions written\n"


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A scan file with one category."""
    path = tmp_path / "wsusscn2.cab"
    element = f'<Update UpdateId="{PRODUCT}" RevisionId="1" RevisionNumber="100"/>'
    fragment = '<Properties UpdateType="Category"/>'
    path.write_bytes(pack_scan_file([ScanRevision(1, element, (("c", fragment),))]))
    return path


def test_a_scan_file_is_imported(
    scan: Path, away: Path, tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    """With its SHA-256 silently; without, there is a warning."""
    sha256 = hashlib.sha256(scan.read_bytes()).hexdigest().upper()
    code, out, err = run("import-scan", away, scan, "--sha256", sha256, "--scratch-dir", tmp_path)
    assert (code, err) == (0, "")
    assert "1 categories and detectoids" in out
    assert [row["update_id"] for row in rows(away, "update_revision")] == [PRODUCT]
    code, out, err = run("import-scan", away, scan)
    assert (code, err) == (
        0,
        "Without --sha256 nothing says that this is the file Microsoft has signed.\n",
    )
    assert "1 revisions were here already" in out


def test_another_scan_file_is_refused(
    scan: Path, away: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    """And a scratch directory that is not there is named."""
    code, _, err = run("import-scan", away, scan, "--sha256", "0" * 64)
    assert (code, "not the one that was given" in err) == (1, True)
    code, _, err = run("import-scan", away, scan, "--scratch-dir", away / "none")
    assert code == 2
    assert f"{away}/none" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["export", "f", "--product", "x"], "it is not a GUID: 'x'"),
        (["export", "f", "--since", "tomorrow"], "is no date such as 2026-11-21"),
        (["import-scan", "f", "--sha256", "abc"], "64 hexadecimal digits"),
        (["import", "f", "--trust", "abc"], "64 hexadecimal digits"),
        (["import", "f", "--trust", "pyproject.toml"], "holds no key"),
    ],
)
def test_wrong_options_are_explained(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the usage error."""
    with pytest.raises(SystemExit) as caught:
        main(["catalog", *arguments])
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("text", ["2026-11-21", "2026-11-21T00:00Z", "2026-11-21T02:00+02:00"])
def test_a_date_is_utc_unless_it_says_otherwise(text: str) -> None:
    """However it is written."""
    assert catalog_offline._moment(text).isoformat() == "2026-11-21T00:00:00+00:00"


def test_a_selection_is_in_the_audit(
    home: Path, tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    """Products and classifications are given as GUIDs in any case."""
    path = tmp_path / "catalogue.tar"
    assert run("export", home, path, "--product", PRODUCT.upper(), "--classification", PRODUCT)[0] == 0
    (entry,) = rows(home, "audit_entry")
    assert entry["detail"]["products"] == entry["detail"]["classifications"] == [PRODUCT]
