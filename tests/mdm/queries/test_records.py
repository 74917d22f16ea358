"""Records: what criteria are asked about, as the catalogue has it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import text

from mdm.queries.records import Categories, read_records, walk

if TYPE_CHECKING:
    from conftest import Bench, Shelf

    from mdm.queries.criteria import UpdateRecord

SECURITY = "0fa1201d-4330-4fa8-8ae9-b877473b6441"
PRODUCT = "72e7624a-5b00-45d2-b92f-e561c0a6a160"
FAMILY = "6964aab4-c5b5-43bd-a17d-ffb4346a8e1d"


def only(bench: Bench) -> UpdateRecord:
    """The record of the one update there is."""
    with bench.database.read() as connection:
        (found,) = read_records(connection, Categories.load(connection), as_of=bench.now, after=None, limit=5)
    return found.record


def test_everything_known_is_in_the_record(shelf: Shelf) -> None:
    """Facts of the highest revision, of its categories with what they belong to, of texts and of devices."""
    bench = shelf.bench
    for category_id, kind, parent in (
        (SECURITY, "UpdateClassification", None),
        (PRODUCT, "Product", FAMILY),
        (FAMILY, "ProductFamily", PRODUCT),
    ):
        bench.add(
            "category",
            id=category_id,
            revision_number=1,
            category_type=kind,
            title=f"The {kind}",
            parent_id=parent,
        )
    update_id = shelf.put(
        "An update",
        days=3,
        categories=(SECURITY, PRODUCT),
        update_type="Driver",
        language="en",
        description="About CVE-2026-12345",
        kb_all=["1", "2"],
        msrc_severity="Low",
        security_bulletin="MS26-001",
        classification_id=SECURITY,
        reboot_behavior="NeverReboots",
        download_size=7,
    )
    bench.add("revision_text", update_id=update_id, revision_number=200, language="de", title="Ein Update")
    bench.add("revision_text", update_id=update_id, revision_number=100, language="fr", title="Une")
    shelf.need(update_id, "DEV1", "DEV2")
    shelf.need(update_id, "DEV3", state="failed")
    shelf.need(update_id, "DEV4", state="installed")
    record = only(bench)
    assert record.names == {
        SECURITY: "The UpdateClassification",
        PRODUCT: "The Product",
        FAMILY: "The ProductFamily",
    }
    assert (record.update_id, record.title, record.update_type) == (update_id, "An update", "Driver")
    assert (record.classification_id, record.categories) == (SECURITY, {PRODUCT, FAMILY})
    assert (record.severity, record.bulletin, record.kb_all) == ("Low", "MS26-001", {"1", "2"})
    assert (record.languages, record.cves) == ({"en", "de"}, {"cve-2026-12345"})
    assert (record.age, record.needed_by, record.size) == (timedelta(days=3), 3, 7)
    assert (record.reboot, record.superseded, record.expired) == ("NeverReboots", False, False)


def test_what_is_superseded_or_withdrawn_says_so(shelf: Shelf) -> None:
    """Both are facts of the list and of the highest revision."""
    shelf.put("Old", publication_state="Expired", days=None)
    with shelf.bench.database.write() as connection:
        connection.execute(text("UPDATE listed_update SET superseded_at = '2026-11-01 00:00:00+00:00'"))
    record = only(shelf.bench)
    assert (record.superseded, record.expired, record.age, record.languages) == (
        True,
        True,
        None,
        frozenset(),
    )


def test_only_what_is_listed_is_walked_once_and_newest_first(shelf: Shelf) -> None:
    """In batches of any size."""
    for number in range(7):
        shelf.put(f"Update {number}", days=10 - number)
    shelf.put("Part of a bundle", explicitly_deployable=False)
    for size in (1, 3, 7, 100):
        titles = [
            found.record.title
            for batch in walk(shelf.bench.database.read, shelf.bench.now, batch=size)
            for found in batch
        ]
        assert titles == [f"Update {number}" for number in reversed(range(7))]
