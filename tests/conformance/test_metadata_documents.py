"""Update documents of a real WSUS: every one is read, and says what it is known to say."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from mdm.catalog.metadata import ParsedRevision, Relation, parse_metadata

DATA: Final = Path(__file__).parents[2].parent / "shared" / "data" / "wsus"

pytestmark = pytest.mark.skipif(not DATA.exists(), reason="the captured documents are not at hand")

DEFINITIONS = "e0789628-ce08-4437-be74-2495b842f43b"
DEFENDER = "8c3fcc84-7410-4a95-8b89-a166a0190486"
MICROSOFT = "56309036-4c77-4dd9-951a-99ee9c246a94"
WINDOWS = "6964aab4-c5b5-43bd-a17d-ffb4346a8e1d"

KNOWN: Final[dict[str, dict[str, Any]]] = {
    "meta_266f6222-c89d-43f2-9f8a-69340271e677-r200.xml": {
        "update_type": "Software",
        "title": "Full Deltas 1.459.547.0 for Defender amd64fre [Ring0, Ring1, Ring2, Ring3, Ring4, Broad, Delayed]",
        "handler": "http://schemas.microsoft.com/msus/2002/12/UpdateHandlers/CommandLineInstallation",
        "max_download_size": 11606440,
        "explicitly_deployable": False,
        "created": datetime(2026, 10, 4, 12, 0, 58, 287000, tzinfo=UTC),
        "categories": (),
        "relations": (
            Relation("requires", 0, "be4048db-157c-4532-9582-7f05099590c9"),
            Relation("requires", 1, "59653007-e2e9-4f71-8525-2ff588527978"),
            Relation("requires", 2, "0aac58ee-82a0-4452-a7fa-19f68398f1fa"),
            Relation("requires", 3, DEFENDER),
        ),
    },
    "meta_ccb78947-6453-4ecc-9de8-bc0305c98f2d-r200.xml": {
        "update_type": "Software",
        "handler": None,
        "categories": (),
        "relations": (
            Relation("bundles", 0, "b6f443c9-ad38-4347-bab3-f1dc0b03d533", 200),
            Relation("bundles", 0, "0daf8592-9e3f-4a8a-9141-d83fafebd09f", 200),
            Relation("bundles", 0, "4c0a0a90-4bd5-4fe5-b306-8dbd6fde30a0", 200),
            Relation("bundles", 0, "e052d9bd-e49c-4d6e-876e-005b49b89812", 200),
            Relation("requires", 0, DEFINITIONS),
            Relation("requires", 1, DEFENDER),
        ),
    },
    f"meta_{MICROSOFT}-r101.xml": {
        "update_type": "Category",
        "category_type": "Company",
        "title": "Microsoft",
        "parent_id": None,
        "created": datetime(2005, 9, 22, 0, 5, 11, 471000, tzinfo=UTC),
    },
    f"meta_{WINDOWS}-r100.xml": {
        "update_type": "Category",
        "category_type": "ProductFamily",
        "title": "Windows",
        "parent_id": MICROSOFT,
    },
    "meta_dd78b8a1-0b20-45c1-add6-4da72e9364cf-r202.xml": {
        "update_type": "Category",
        "category_type": "Product",
        "title": "OOBE ZDP",
        "parent_id": WINDOWS,
        "relations": (),
    },
}


def parsed(name: str) -> ParsedRevision:
    """One of the documents."""
    return parse_metadata((DATA / name).read_text(encoding="utf-8"))


def test_no_document_is_left_out() -> None:
    """A file that is added is a test that is missing."""
    assert {path.name for path in DATA.glob("meta_*.xml")} == set(KNOWN)


@pytest.mark.parametrize("name", KNOWN)
def test_a_real_document_says_what_is_known_of_it(name: str) -> None:
    """Its identity is that of its name, in lower case however it is written."""
    revision = parsed(name)
    identity = f"meta_{revision.identity.update_id}-r{revision.identity.revision_number}.xml"
    assert identity == name
    assert {field: getattr(revision, field) for field in KNOWN[name]} == KNOWN[name]
    assert revision.publication_state == "Published"
    assert (revision.eula_id, revision.kb_articles) == (None, ())
    assert revision.text is not None


def test_a_category_in_many_languages_keeps_them_all() -> None:
    """And shows the English one."""
    revision = parsed(f"meta_{WINDOWS}-r100.xml")
    assert len(revision.texts) > 20
    assert len({each.language for each in revision.texts}) == len(revision.texts)
    assert revision.text is not None
    assert revision.text.language == "en"
