"""Microsoft's offline scan file, in miniature: its updates are in the catalogue as if a server had sent them."""

from __future__ import annotations

import hashlib
import io
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select
from sqlmodel import SQLModel

from mdm.audit import Origin
from mdm.catalog import offline_scan, scan_index
from mdm.catalog.metadata import METADATA_LIMITS, MetadataError
from mdm.catalog.offline_scan import SCAN_UPSTREAM, ScanError, import_scan
from mdm.catalog.scan_documents import assemble
from mdm.catalog.scan_index import ScanEntry, ScanIndex
from mdm.lab.scan_file import ScanRevision, pack_folders, pack_scan_file
from mdm.upstream.messages import UpdateIdentity
from mdm.upstream.xml import XmlLimits

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from mdm.catalog.intake import Summary
    from mdm.storage.engine import Database


def guid(letter: str) -> str:
    """An id that begins with this letter."""
    return f"{letter * 8}-0000-4000-8000-000000000000"


SECURITY, PRODUCT, DETECTOID = guid("0"), guid("1"), guid("2")
BUNDLE, PART, OTHER_PART, OLD, EULA = guid("a"), guid("b"), guid("c"), guid("d"), guid("e")


def entry(revision_id: int, update_id: str, inner: str = "", *, number: int = 200, more: str = "") -> str:
    """An Update of the master list."""
    return (
        f'<Update UpdateId="{update_id.upper()}" RevisionId="{revision_id}" RevisionNumber="{number}" '
        f'CreationDate="2026-08-11T17:00:00Z" DefaultLanguage="en" IsLeaf="true"{more}>{inner}</Update>'
    )


def core(update_type: str, more: str = "", *, attributes: str = "") -> tuple[str, str]:
    """A core fragment, as the client protocol has it: several roots, undeclared prefixes."""
    rules = "<ApplicabilityRules><IsInstalled>rule<b.WindowsVersion/></IsInstalled></ApplicabilityRules>"
    identity = f'<UpdateIdentity UpdateID="{guid("9")}" RevisionNumber="1"/>'
    return "c", f'{identity}<Properties UpdateType="{update_type}"{attributes}/>{more}{rules}'


def text(language: str, title: str) -> tuple[str, str]:
    """A localised fragment."""
    return (
        f"l/{language}",
        f"<LocalizedProperties><Language>{language}</Language><Title>{title}</Title></LocalizedProperties>",
    )


CATEGORIES = (
    f'<Categories><Category Type="UpdateClassification" Id="{SECURITY}"/>'
    f'<Category Type="Product" Id="{PRODUCT}"/></Categories>'
)
PROPERTIES = (
    '\ufeff<ExtendedProperties MsrcSeverity="Critical" MaxDownloadSize="10" xsi:x="1">'
    '<InstallationBehavior RebootBehavior="CanRequestReboot"/><UninstallationBehavior/>'
    "<SupportUrl>https://support.example</SupportUrl><KBArticleID>5041585</KBArticleID></ExtendedProperties>"
    '<Files><File Digest="x"/></Files>'
)
EXTENDED = ("x", PROPERTIES)
REVISIONS = (
    ScanRevision(1, entry(1, SECURITY), (core("Category"), text("en", "Security Updates"))),
    ScanRevision(
        2,
        entry(2, PRODUCT),
        (
            core(
                "Category",
                '<HandlerSpecificData><cat:CategoryInformation CategoryType="Product"/></HandlerSpecificData>',
            ),
            text("en", "Windows 11"),
        ),
    ),
    ScanRevision(3, entry(3, DETECTOID), (core("Detectoid"), text("en", "x64"))),
    ScanRevision(
        10,
        entry(10, OLD, f'{CATEGORIES}<SupersededBy><Revision Id="11"/></SupersededBy>'),
        (core("Software", attributes=' ExplicitlyDeployable="true"'), text("en", "July")),
    ),
    ScanRevision(
        11,
        entry(
            11,
            BUNDLE,
            f'{CATEGORIES}<Prerequisites><UpdateId Id="{DETECTOID}"/><Or><UpdateId Id="{OLD}"/>'
            f'<UpdateId Id="{PART}"/></Or></Prerequisites><EulaFiles><File Id="sha1=" Language="en"/></EulaFiles>',
            more=' IsBundle="true"',
        ),
        (
            core("Software", attributes=f' ExplicitlyDeployable="true" EulaID="{EULA}"'),
            EXTENDED,
            text("en", "August"),
            text("de", "Augustüberraschung"),
            ("e/en", "a licence"),
        ),
    ),
    ScanRevision(12, entry(12, PART, '<BundledBy><Revision Id="11"/></BundledBy>'), (core("Software"),)),
    ScanRevision(
        13, entry(13, OTHER_PART, '<BundledBy><Revision Id="11"/></BundledBy>'), (core("Software"),)
    ),
)
LOCATIONS = '<FileLocation Id="sha1=" Url="http://download.example/eula.txt"/>'
WHOLE = pack_scan_file(REVISIONS, locations=LOCATIONS)


def bring(database: Database, data: bytes, scratch: Path, now: datetime, **options: Any) -> Summary:
    """Import a scan file, and see that the scratch directory is empty again."""
    origin = Origin(actor="command-line")
    try:
        return import_scan(
            database, io.BytesIO(data), scratch=scratch, origin=origin, clock=lambda: now, **options
        )
    finally:
        assert [each.name for each in scratch.iterdir() if each.name.startswith("csp")] == []


def rows(database: Database, table: str, key: str) -> dict[Any, Any]:
    """The rows of a table by a column."""
    found = SQLModel.metadata.tables[table]
    with database.read() as connection:
        return {row[key]: row for row in connection.execute(select(found)).mappings()}


@pytest.mark.parametrize("signed", [True, False])
def test_an_update_is_stored_with_all_that_the_file_says(
    database: Database, tmp_path: Path, now: datetime, *, signed: bool
) -> None:
    """From four kinds of fragments and the master list."""
    summary = bring(database, pack_scan_file(REVISIONS, locations=LOCATIONS, signed=signed), tmp_path, now)
    row = rows(database, "update_revision", "update_id")[BUNDLE]
    assert (row["revision_number"], row["is_latest"], row["upstream_url"]) == (200, True, SCAN_UPSTREAM)
    assert (row["title"], row["kb"], row["msrc_severity"]) == ("August", "5041585", "Critical")
    assert (row["reboot_behavior"], row["can_uninstall"]) == ("CanRequestReboot", True)
    assert (row["classification_id"], row["eula_id"]) == (SECURITY, EULA)
    assert row["created"].isoformat() == "2026-08-11T17:00:00+00:00"
    assert (row["support_url"], row["explicitly_deployable"]) == ("https://support.example", True)
    assert b"WindowsVersion" not in zlib.decompress(row["original"])
    assert rows(database, "revision_text", "language")["de"]["title"] == "Augustüberraschung"
    assert rows(database, "eula_text", "locale")["en"]["url"] == "http://download.example/eula.txt"
    assert (summary.new, summary.categories, summary.refused) == (4, 3, 0)


def test_categories_get_the_kind_that_updates_name_them_by(
    database: Database, tmp_path: Path, now: datetime
) -> None:
    """Where their own fragments do not say it."""
    bring(database, WHOLE, tmp_path, now)
    categories = rows(database, "category", "id")
    assert (categories[SECURITY]["title"], categories[SECURITY]["category_type"]) == (
        "Security Updates",
        "UpdateClassification",
    )
    assert (categories[PRODUCT]["title"], categories[PRODUCT]["category_type"]) == ("Windows 11", "Product")


def test_relations_are_turned_round(database: Database, tmp_path: Path, now: datetime) -> None:
    """The list names the newer update and the bundle; the catalogue keeps the older one and the parts."""
    bring(database, WHOLE, tmp_path, now)
    table = SQLModel.metadata.tables["revision_relation"]
    with database.read() as connection:
        edges = {
            (row.kind, row.clause, row.target_id, row.target_revision)
            for row in connection.execute(select(table).where(table.c.update_id == BUNDLE))
        }
    assert edges == {
        ("supersedes", 0, OLD, None),
        ("requires", 0, DETECTOID, None),
        ("requires", 1, OLD, None),
        ("requires", 1, PART, None),
        ("bundles", 0, PART, 200),
        ("bundles", 1, OTHER_PART, 200),
    }
    assert rows(database, "listed_update", "update_id")[OLD]["superseded_at"] is not None


def test_a_second_import_changes_nothing(database: Database, tmp_path: Path, now: datetime) -> None:
    """Everything is here already."""
    told: list[int] = []
    bring(database, WHOLE, tmp_path, now, progress=told.append)
    assert told == [3, 6, 7]
    before = rows(database, "update_revision", "update_id")
    summary = bring(database, WHOLE, tmp_path, now)
    assert (summary.here, summary.new, summary.refused) == (7, 0, 0)
    assert rows(database, "update_revision", "update_id") == before


def test_an_import_is_in_the_audit_and_among_the_runs(
    sqlite_database: Database, tmp_path: Path, now: datetime
) -> None:
    """With the file's SHA-256, so that one can say later which it was."""
    sha256 = hashlib.sha256(WHOLE).hexdigest()
    bring(sqlite_database, WHOLE, tmp_path, now, sha256=sha256)
    (run,) = rows(sqlite_database, "sync_run", "id").values()
    (audit,) = rows(sqlite_database, "audit_entry", "seq").values()
    assert (run["state"], run["upstream_url"]) == ("succeeded", f"offline-scan:{sha256}")
    assert audit["detail"] == {"source": f"offline-scan:{sha256}", "revisions": 7}


def test_another_file_than_the_pinned_one_is_not_touched(
    sqlite_database: Database, tmp_path: Path, now: datetime
) -> None:
    """The sentence names what the file has."""
    with pytest.raises(ScanError, match=hashlib.sha256(WHOLE).hexdigest()):
        bring(sqlite_database, WHOLE, tmp_path, now, sha256="0" * 64)
    assert rows(sqlite_database, "sync_run", "id") == {}


def test_a_bad_fragment_costs_only_its_revision(
    sqlite_database: Database, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what the list names without any fragment is counted."""
    good = REVISIONS[0]
    bad = [
        ScanRevision(20, entry(20, guid("a")), (("c", "<Properties"),)),
        ScanRevision(21, entry(21, guid("b")), (("x", "<ExtendedProperties/>"),)),
        ScanRevision(22, entry(22, guid("c")), (("c", "<!DOCTYPE x>"),)),
        ScanRevision(23, entry(23, guid("d"))),
        ScanRevision(24, "", (core("Software"),)),
        ScanRevision(25, entry(25, guid("e")), (("c", "x" * 3000),)),
    ]
    monkeypatch.setattr(offline_scan, "METADATA_LIMITS", XmlLimits(bytes=2000, depth=METADATA_LIMITS.depth))
    summary = bring(sqlite_database, pack_scan_file([good, *bad]), tmp_path, now)
    assert (summary.categories, summary.refused) == (1, 5)
    assert [reason.partition(": ")[2][:30] for reason in summary.reasons] == [
        "a fragment cannot be read: not",
        "its core fragment is missing, ",
        "a fragment cannot be read: not",
        "its fragments are larger than ",
        "the file lists them and has no",
    ]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is damaged: the cabinet ends too early"),
        (b"PK" + bytes(100), "it is damaged: the file is no cabinet"),
        (pack_folders([[("readme.txt", b"x")]]), "has no package.cab"),
        (pack_folders([[("package.cab", pack_folders([[("a", b"x")]]))]]), "has no package.xml"),
        (pack_folders([[("package.cab", b"x" * 100)]]), "it is damaged: the file is no cabinet"),
    ],
)
def test_what_is_no_scan_file_is_refused(
    sqlite_database: Database, tmp_path: Path, now: datetime, data: bytes, words: str
) -> None:
    """In one sentence, which the run has too."""
    with pytest.raises(ScanError, match=words):
        bring(sqlite_database, data, tmp_path, now)
    (run,) = rows(sqlite_database, "sync_run", "id").values()
    assert run["state"] == "failed"
    assert words in run["error"]


@pytest.mark.parametrize(
    "master",
    [
        "",
        "<x/>",
        "<!DOCTYPE x><OfflineSyncPackage/>",
        "<OfflineSyncPackage><Updates>",
        "<OfflineSyncPackage><Updates><Update/></Updates></OfflineSyncPackage>",
        f'<OfflineSyncPackage><Update UpdateId="{OLD}" RevisionId="9999999999" RevisionNumber="1"/></OfflineSyncPackage>',
        '<OfflineSyncPackage><Update UpdateId="x" RevisionId="1" RevisionNumber="1"/></OfflineSyncPackage>',
    ],
)
def test_a_senseless_list_is_refused(
    sqlite_database: Database, tmp_path: Path, now: datetime, master: str
) -> None:
    """Before anything is stored."""
    inner = pack_folders([[("package.xml", master.encode())]])
    with pytest.raises(ScanError):
        bring(sqlite_database, pack_folders([[("package.cab", inner)]]), tmp_path, now)
    assert rows(sqlite_database, "update_revision", "update_id") == {}


def test_the_scratch_directory_is_not_filled_without_end(
    sqlite_database: Database, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cabinet that unpacks to more than any real one ends the import."""
    monkeypatch.setattr(offline_scan, "_MAX_UNPACKED", 100)
    with pytest.raises(ScanError, match="unpacks to more than 100 bytes"):
        bring(sqlite_database, WHOLE, tmp_path, now)


# --- the pieces -----------------------------------------------------------------------------------------


def listed(**members: Any) -> ScanEntry:
    """What the list says of an update that has nothing special."""
    nothing: dict[str, Any] = {
        "created": None,
        "language": None,
        "categories": (),
        "requires": (),
        "supersedes": (),
        "bundles": (),
        "eula_files": (),
        "category_type": None,
    }
    return ScanEntry(identity=UpdateIdentity(BUNDLE, 1), **nothing | members)


def test_the_core_fragment_decides_which_parts_are_alternatives() -> None:
    """The list only says which parts there are."""
    bundled = (
        f'<Relationships><BundledUpdates><AtLeastOne><UpdateIdentity UpdateID="{PART}" RevisionNumber="1"/>'
        f'<UpdateIdentity UpdateID="{OTHER_PART}" RevisionNumber="2"/></AtLeastOne></BundledUpdates></Relationships>'
    )
    document = assemble(listed(bundles=(UpdateIdentity(OLD, 9),)), [core("Software", bundled)[1].encode()])
    assert OLD not in document
    assert document.count("AtLeastOne") == 2  # opened once, closed once


def test_an_unknown_kind_of_category_is_kept() -> None:
    """As the server's documents without CategoryType are."""
    assert "CategoryType" not in assemble(listed(), [core("Category")[1].encode()])
    assert 'CategoryType="Company"' in assemble(
        listed(category_type="Company"), [core("Category")[1].encode()]
    )


def test_licence_files_whose_language_nobody_knows_are_left_out() -> None:
    """One without a language is for all; of two, nobody could say which is whose."""
    fragment = [core("Software")[1].encode()]
    assert 'Language="all"' in assemble(listed(eula_files=(("a=", None),)), fragment)
    two = assemble(listed(eula_files=(("a=", None), ("b=", "de"), ("", "fr"))), fragment)
    assert two.count("EulaFile ") == 1
    assert 'Digest="b="' in two


def test_a_fragment_may_not_be_larger_than_a_document(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guards of all metadata hold here as well."""
    monkeypatch.setattr("mdm.catalog.scan_documents.METADATA_LIMITS", XmlLimits(bytes=50))
    with pytest.raises(MetadataError, match="more than 50 bytes"):
        assemble(listed(), [b"<a/>" * 50])


def test_an_index_knows_only_what_it_has_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Piece by piece, from the middle of a file."""
    monkeypatch.setattr(scan_index, "_CHUNK", 7)
    master = f"<OfflineSyncPackage>{entry(5, OLD, number=3)}</OfflineSyncPackage>".encode()
    file = io.BytesIO(b"before" + master + b"behind")
    file.seek(6)
    index = ScanIndex(tmp_path / "index")
    assert index.read(file, len(master)) == 1
    assert index.identities([5, 6]) == {5: UpdateIdentity(OLD, 3)}
    assert index.url_of("x") is None
    index.close()
