"""The catalogue that is nowhere: its ids, its documents, and what of it a filter selects."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from mdm.catalog.metadata import ParsedRevision, parse_metadata
from mdm.lab.bulk import BIG_DOCUMENT_BYTES, BLOCK, LEAST, BulkCatalogue, Facts
from mdm.lab.documents import Document, Identity
from mdm.lab.products import DRIVERS, SECURITY

SIZE = 5_000
BULK = BulkCatalogue(1, SIZE)
MADE = SIZE - len(BULK.fixed)
"""Revisions that are not held."""
DETECTOIDS = MADE - BULK.blocks * BLOCK


def everything(_: Facts) -> bool:
    """Wants all."""
    return True


def block(number: int, bulk: BulkCatalogue = BULK) -> list[Document]:
    """The documents of one block."""
    start = bulk.size - len(bulk.fixed) - bulk.blocks * BLOCK + number * BLOCK
    return [bulk.document(start + slot) for slot in range(BLOCK)]


def parsed(document: Document) -> ParsedRevision:
    """As the bridge reads it."""
    return parse_metadata(document.xml)


@pytest.mark.parametrize("size", [LEAST, 201, 240, 1_000, SIZE])
def test_there_are_as_many_revisions_as_were_asked_for(size: int) -> None:
    """Categories, detectoids and blocks together, each identity once."""
    bulk = BulkCatalogue(7, size)
    found = [document.identity for document in bulk.fixed]
    found += bulk.select(everything, 0, bulk.blocks)
    assert len(found) == len(set(found)) == size


def test_a_catalogue_has_a_least_size() -> None:
    """Under it there would be no block, or no detectoid to name."""
    with pytest.raises(ValueError, match="at least 200 revisions, not 199"):
        BulkCatalogue(1, 199)


@given(st.integers(0, MADE - 1))
def test_ids_are_found_again(index: int) -> None:
    """An identity leads back to its number; another revision of the update does not."""
    identity = BULK.identity(index)
    assert BULK.index(identity) == index
    assert BULK.index(Identity(identity.update_id, identity.revision_number + 7)) is None


@given(st.uuids())
def test_other_ids_are_not_found(guid: object) -> None:
    """A GUID from elsewhere belongs to nothing."""
    assert BULK.index(Identity(str(guid), 200)) is None
    assert BULK.newest(str(guid)) is None
    assert BULK.block_of(Identity(str(guid), 200)) is None


def test_ids_of_a_larger_catalogue_are_not_found() -> None:
    """What lies behind the last block has an id of the right form and is not there."""
    larger = BulkCatalogue(1, 4 * SIZE)
    beyond = larger.identity(3 * SIZE)
    assert larger.index(beyond) == 3 * SIZE
    assert BULK.index(beyond) is None


def test_ids_are_spread_as_random_ones_are() -> None:
    """Neighbours are far apart: in an index on ids they go to different places."""
    heads = Counter(BULK.identity(index).update_id[0] for index in range(MADE))
    assert len(heads) == 16
    assert max(heads.values()) < 1.2 * min(heads.values())


def test_a_seed_is_a_catalogue() -> None:
    """The same seed and size give the same documents; another seed shares no id."""
    again, other = BulkCatalogue(1, SIZE), BulkCatalogue(2, SIZE)
    assert block(3) == block(3, again)
    assert {each.update_id for each in block(3)}.isdisjoint(each.update_id for each in block(3, other))


def test_the_bridge_reads_every_kind_as_it_is_meant() -> None:
    """Identity, type, categories and relations of the document are those the upstream lists it by."""
    for document in (*BULK.fixed, BULK.document(0), *block(0), *block(1), *block(50), *block(120)):
        read = parsed(document)
        assert (read.identity.update_id, read.identity.revision_number) == document.identity
        assert read.update_type == document.update_type
        assert set(read.categories) == document.categories
        bundled = [
            (each.target_id, each.target_revision) for each in read.relations if each.kind == "bundles"
        ]
        assert bundled == list(document.bundled)
        needed = {each.target_id for each in read.relations if each.kind == "requires"}
        assert needed == document.prerequisites


def test_no_hole_stays_open() -> None:
    """Every document is complete XML without a placeholder, and numbers its files as it announces them."""
    for document in (BULK.document(0), *block(0), *block(5), *block(50)):
        root = etree.fromstring(document.xml)
        assert "⟦" not in document.xml
        digests = [element.get("Digest") for element in root.iter("{*}File", "{*}EulaFile")]
        assert digests == [file.digest for file in document.files]


def test_a_block_is_a_release() -> None:
    """A bundle, once more in a corrected revision, over hidden bundles over leaves; one language; two drivers."""
    documents = block(0)
    first, second, *rest = documents
    assert first.update_id == second.update_id
    assert (first.revision_number, second.revision_number) == (200, 201)
    hidden = {document.identity: document for document in rest[:2]}
    assert set(second.bundled) == set(hidden)
    leaves = [child for document in hidden.values() for child in document.bundled]
    assert leaves == [document.identity for document in rest[2:20]]
    assert all(len(document.files) == 1 for document in rest[2:])
    visible = [document for document in documents if parsed(document).explicitly_deployable]
    assert [document.update_type for document in visible] == ["Software"] * 3 + ["Driver"] * 2
    assert visible[2].prerequisites == {first.update_id}
    assert len(visible[2].languages) == 1
    assert "<upd:Language>de</upd:Language>" in visible[2].xml.partition("</upd:Properties>")[0]


def test_some_bundles_expire() -> None:
    """Of every seventh block the corrected revision says so; the first never does."""
    states = [tuple(parsed(each).publication_state for each in block(number)[:2]) for number in range(15)]
    assert [state[1] == "Expired" for state in states] == [number % 7 == 0 for number in range(15)]
    assert {state[0] for state in states} == {"Published"}


def test_bundles_supersede_those_of_their_line() -> None:
    """Three by name; the first ones name updates nobody has."""
    bundles = [block(number)[0].update_id for number in range(BULK.blocks)]

    def superseded(number: int) -> list[str]:
        return [each.target_id for each in parsed(block(number)[0]).relations if each.kind == "supersedes"]

    assert superseded(180) == [bundles[120], bundles[60], bundles[0]]
    early = superseded(61)
    assert early[0] == bundles[1]
    assert [BULK.newest(guid) for guid in early[1:]] == [None, None]
    assert len({*superseded(0), *superseded(1)}) == 6


def test_the_newest_revision_of_an_update_is_known() -> None:
    """Of a bundle the corrected one, of anything else the only one."""
    bundle, leaf, driver = block(2)[0], block(2)[9], block(2)[23]
    assert BULK.newest(bundle.update_id) == Identity(bundle.update_id, 201)
    assert BULK.newest(leaf.update_id) == leaf.identity
    assert BULK.newest(driver.update_id) == Identity(driver.update_id, 1)
    detectoid = BULK.identity(0)
    assert BULK.newest(detectoid.update_id) == detectoid
    assert BULK.block_of(detectoid) == 0
    assert BULK.block_of(leaf.identity) == 2


def test_files_are_known_by_their_digests() -> None:
    """Payloads by arithmetic; other digests, and what is none, are not known."""
    leaf = block(2)[9]
    assert BULK.knows_digest(leaf.files[0].digest)
    hidden_number = BULK.index(block(2)[2].identity)
    assert hidden_number is not None
    sha1, _ = BULK._ids.digests(hidden_number)
    assert not BULK.knows_digest(base64.b64encode(sha1).decode())
    assert not BULK.knows_digest(base64.b64encode(b"x" * 20).decode())
    assert not BULK.knows_digest("?")


def test_licences_are_shared_and_their_texts_are_real() -> None:
    """Every fiftieth block has one of a few; each text has the digest it is announced with."""
    licences = [BULK.licence(number) for number in range(BULK.blocks)]
    assert {number for number, licence in enumerate(licences) if licence} == set(range(0, BULK.blocks, 50))
    assert parsed(block(50)[0]).eula_id == BULK.licence(50)[0]  # type: ignore[index]
    assert len({licence[0] for licence in licences if licence}) == 4
    texts = list(BULK.licence_texts)
    assert len(texts) == 24
    for file in texts:
        assert file.content is not None
        assert hashlib.sha1(file.content, usedforsecurity=False).digest() == file.sha1


def test_documents_have_the_sizes_of_real_ones() -> None:
    """Most are a few kilobytes, one in a thousand some hundred, and on request one has 47 MB."""
    assert min(len(each.xml) for each in block(1)) > 1_500
    assert 15_000 < len(block(1)[21].xml) < 30_000
    assert 300_000 < len(block(41)[21].xml) < 500_000
    large = BulkCatalogue(1, SIZE, big_document=True)
    text = block(0, large)[21].xml
    assert BIG_DOCUMENT_BYTES < len(text) < BIG_DOCUMENT_BYTES + 10_000
    assert block(0, large)[20] == block(0)[20]


# --- what a filter selects ------------------------------------------------------------------------------


def test_a_block_comes_whole_with_what_it_needs() -> None:
    """A filter on its product takes bundle, hidden and leaves, which name no category themselves."""
    product = next(iter(block(0)[0].categories - {SECURITY}))
    found = list(BULK.select(lambda facts: {product, SECURITY} <= facts.categories, 0, 60))
    assert found == [each.identity for each in block(0)[:23]]
    drivers = list(BULK.select(lambda facts: DRIVERS in facts.categories, 0, 60))
    assert drivers == [each.identity for number in range(60) for each in block(number)[23:]]


def test_a_language_comes_with_the_bundle_it_needs() -> None:
    """And without its language the update stays out."""
    french = list(BULK.select(lambda facts: "fr" in facts.languages, 12, 13))
    assert french == [each.identity for each in block(12)[:23]]
    neutral = list(BULK.select(lambda facts: not facts.languages and not facts.configuration, 12, 13))
    assert neutral == [each.identity for each in block(12) if not each.languages]


def test_detectoids_come_with_the_first_block() -> None:
    """And with no other."""
    found = list(BULK.select(lambda facts: facts.configuration, 0, 5))
    assert found == [BULK.identity(index) for index in range(DETECTOIDS)]
    assert list(BULK.select(lambda facts: facts.configuration, 1, 5)) == []
