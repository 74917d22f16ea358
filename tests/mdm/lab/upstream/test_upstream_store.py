"""What the virtual upstream selects: anchors, filters, Delta, inherited categories and the closure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.lab import products
from mdm.lab.bulk import BulkCatalogue
from mdm.lab.documents import Document, Identity
from mdm.lab.upstream_store import Anchor, InvalidAnchor, RevisionFilter, UnknownGeneration, UpstreamStore

NOW = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)
COMPANY, FAMILY, WINDOWS, OFFICE = "company", "family", "windows", "office"
SECURITY, DRIVERS = "security", "drivers"

BUNDLE, HIDDEN, LEAF = Identity("bundle", 2), Identity("hidden", 1), Identity("leaf", 1)
STACK, STACK_LEAF = Identity("stack", 1), Identity("stack-leaf", 1)
OTHER = Identity("other", 1)


def category(key: str, *parents: str) -> Document:
    """A Category document."""
    return Document(key, 1, "<c/>", update_type="Category", categories=frozenset(parents))


def update(
    identity: Identity, *categories: str, bundled: tuple[Identity, ...] = (), needs: str = ""
) -> Document:
    """A Software document."""
    return Document(
        *identity,
        "<u/>",
        categories=frozenset(categories),
        bundled=bundled,
        prerequisites=frozenset(needs.split()),
    )


DOCUMENTS = (
    category(COMPANY),
    category(FAMILY, COMPANY),
    category(WINDOWS, FAMILY),
    category(OFFICE, COMPANY),
    category(SECURITY),
    category(DRIVERS),
    Document("detectoid", 1, "<d/>", update_type="Detectoid"),
    update(Identity("bundle", 1), WINDOWS, SECURITY),
    update(BUNDLE, WINDOWS, SECURITY, bundled=(HIDDEN,), needs="detectoid stack"),
    update(HIDDEN, bundled=(LEAF,)),
    update(LEAF),
    # no product a filter names: listed only because another update needs it
    update(STACK, bundled=(STACK_LEAF, Identity("withdrawn", 1))),
    update(STACK_LEAF),
    update(OTHER, OFFICE, SECURITY),
)


def store() -> UpstreamStore:
    """A store with all of them."""
    return UpstreamStore(DOCUMENTS, NOW, 5)


def select(
    upstream: UpstreamStore,
    categories: dict[str, bool] | None,
    classifications: dict[str, bool] | None,
    anchor: str | None = None,
) -> set[Identity]:
    """The identities a filter on updates selects."""
    wanted = RevisionFilter(
        configuration=False, anchor=anchor, categories=categories, classifications=classifications
    )
    found = upstream.revisions(wanted, NOW)[1]
    assert len(found) == len(set(found))
    return set(found)


def test_configuration_is_categories_and_detectoids() -> None:
    """GetConfig lists them, and nothing that installs."""
    _, found = store().revisions(RevisionFilter(configuration=True), NOW)
    assert [identity.update_id for identity in found] == [
        COMPANY, FAMILY, WINDOWS, OFFICE, SECURITY, DRIVERS, "detectoid",
    ]  # fmt: skip


def test_configuration_ignores_the_categories_of_the_filter() -> None:
    """With GetConfig the other members mean nothing."""
    _, found = store().revisions(RevisionFilter(configuration=True, categories={}, classifications={}), NOW)
    assert len(found) == 7


ALL = {document.identity for document in DOCUMENTS if document.update_type == "Software"}
WHOLE = {Identity("bundle", 1), BUNDLE, HIDDEN, LEAF, STACK, STACK_LEAF}


@pytest.mark.parametrize(
    ("categories", "classifications", "expected"),
    [
        (None, None, ALL),
        ({WINDOWS: False}, {SECURITY: False}, WHOLE),
        ({FAMILY: False}, {SECURITY: False}, WHOLE),
        ({COMPANY: False}, {SECURITY: False}, WHOLE | {OTHER}),
        ({OFFICE: False}, {SECURITY: False, DRIVERS: False}, {OTHER}),
        ({WINDOWS: False}, {DRIVERS: False}, set()),
        ({WINDOWS: False}, None, set()),
        (None, {SECURITY: False}, set()),
        ({WINDOWS: False}, {}, set()),
        ({}, {}, set()),
    ],
)
def test_product_and_classification_must_both_match(
    categories: dict[str, bool] | None, classifications: dict[str, bool] | None, expected: set[Identity]
) -> None:
    """Families stand for their products; one of the two arrays alone selects nothing; neither, everything."""
    assert select(store(), categories, classifications) == expected


def test_delta_lists_what_is_newer_and_what_it_needs() -> None:
    """With Delta true only new revisions are listed, but with all their parts, old or not."""
    upstream = store()
    both = {WINDOWS: True}, {SECURITY: True}
    anchor = str(upstream.anchor(NOW))
    assert select(upstream, *both, anchor) == set()
    new = Identity("bundle", 3)
    upstream.publish(update(new, WINDOWS, SECURITY, bundled=(HIDDEN,)), NOW)
    assert select(upstream, *both, anchor) == {new, HIDDEN, LEAF}
    assert select(upstream, {OFFICE: True}, {SECURITY: True}, anchor) == set()


def test_a_newly_ticked_category_is_listed_whole() -> None:
    """Delta false means everything of that id in spite of the anchor; the others stay deltas."""
    upstream = store()
    anchor = str(upstream.anchor(NOW))
    assert select(upstream, {WINDOWS: True, OFFICE: False}, {SECURITY: True}, anchor) == {OTHER}
    assert select(upstream, {WINDOWS: True, OFFICE: True}, {SECURITY: False}, anchor) == WHOLE | {OTHER}


def test_without_a_filter_the_anchor_alone_decides() -> None:
    """Neither array, but an anchor: what was published since."""
    upstream = store()
    anchor = str(upstream.anchor(NOW))
    upstream.publish(update(Identity("late", 1)), NOW)
    assert select(upstream, None, None, anchor) == {Identity("late", 1)}


def test_configuration_obeys_the_anchor() -> None:
    """A category published again is listed again."""
    upstream = store()
    anchor = str(upstream.anchor(NOW))
    upstream.publish(category(OFFICE, FAMILY), NOW)
    _, found = upstream.revisions(RevisionFilter(configuration=True, anchor=anchor), NOW)
    assert found == [Identity(OFFICE, 1)]


def test_bundles_may_contain_each_other_without_end() -> None:
    """A circle, which no real catalogue has, does not hang the server."""
    a, b = Identity("a", 1), Identity("b", 1)
    upstream = UpstreamStore(
        [
            category("x", "y"),
            category("y", "x"),
            update(a, "x", SECURITY, bundled=(b,)),
            update(b, bundled=(a,)),
        ],
        NOW,
        1,
    )
    assert select(upstream, {"y": False}, {SECURITY: False}) == {a, b}


def test_parts_of_a_withdrawn_bundle_belong_nowhere() -> None:
    """A child is in its product through its bundle alone."""
    upstream = store()
    upstream.withdraw(BUNDLE)
    assert select(upstream, {WINDOWS: False}, {SECURITY: False}) == {Identity("bundle", 1)}
    assert LEAF in select(upstream, None, None)


def test_newest_is_the_highest_number() -> None:
    """Not the one published last."""
    upstream = store()
    upstream.publish(update(Identity("bundle", 1), WINDOWS), NOW)
    newest = upstream.newest("bundle")
    assert newest is not None
    assert newest.identity == BUNDLE
    assert upstream.newest("nothing") is None


def test_anchors_never_repeat_and_see_every_change() -> None:
    """With a clock that stands still each anchor differs, and a publication falls between two of them."""
    upstream = store()
    before = upstream.anchor(NOW)
    upstream.publish(update(Identity("late", 1)), NOW)
    after = upstream.anchor(NOW)
    assert before.at < after.at
    assert select(upstream, None, None, str(before)) == {Identity("late", 1)}
    assert select(upstream, None, None, str(after)) == set()


def test_a_future_anchor_selects_nothing() -> None:
    """The time part decides, as on a WSUS."""
    anchor = Anchor(5, NOW + timedelta(days=400))
    assert select(store(), None, None, str(anchor)) == set()


def test_an_anchor_looks_like_a_real_one() -> None:
    """Counter, comma, date and time to the millisecond."""
    assert str(store().anchor(NOW + timedelta(seconds=1))) == "5,2026-11-21 12:00:01.123"
    assert str(Anchor(5, NOW.replace(microsecond=0))) == "5,2026-11-21 12:00:00.000"


@given(st.integers(0, 10**9 - 1), st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31)))  # noqa: DTZ001
def test_anchors_are_read_back(generation: int, moment: datetime) -> None:
    """Whatever anchor we write we can read."""
    anchor = Anchor(generation, moment.replace(microsecond=moment.microsecond // 1000 * 1000, tzinfo=UTC))
    assert Anchor.parse(str(anchor)) == anchor


@given(st.text())
def test_other_text_is_no_anchor(text: str) -> None:
    """Anything else is InvalidAnchor and nothing worse."""
    with pytest.raises(InvalidAnchor):
        Anchor.parse(text)


def test_another_generation_is_known_as_such() -> None:
    """An anchor of a replaced database is not taken for one of ours."""
    upstream = store()
    anchor = str(upstream.anchor(NOW))
    upstream.generation = 6
    with pytest.raises(UnknownGeneration):
        upstream.read_anchor(anchor)


# --- languages ------------------------------------------------------------------------------------------

GERMAN, FRENCH = Identity("german", 1), Identity("french", 1)


def in_language(identity: Identity, *languages: str) -> Document:
    """A Software document for products in these languages."""
    return Document(
        *identity, "<u/>", categories=frozenset({WINDOWS, SECURITY}), languages=frozenset(languages)
    )


@pytest.mark.parametrize(
    ("languages", "expected"),
    [
        (None, {GERMAN, FRENCH}),
        ({"de": False}, {GERMAN}),
        ({"de": False, "fr": False}, {GERMAN, FRENCH}),
        ({"all": False}, {GERMAN, FRENCH}),
        ({"ja": False}, set()),
        ({}, set()),
    ],
)
@pytest.mark.parametrize("filtered", [True, False])
def test_languages_leave_out_updates_for_other_languages(
    languages: dict[str, bool] | None, expected: set[Identity], *, filtered: bool
) -> None:
    """What is for no language in particular is always listed; with and without products and classifications."""
    upstream = store()
    for identity, language in ((GERMAN, "de"), (FRENCH, "fr")):
        upstream.publish(in_language(identity, language), NOW)
    ids = ({WINDOWS: False}, {SECURITY: False}) if filtered else (None, None)
    wanted = RevisionFilter(
        configuration=False, categories=ids[0], classifications=ids[1], languages=languages
    )
    found = set(upstream.revisions(wanted, NOW)[1])
    assert found & {GERMAN, FRENCH} == expected
    assert found >= (WHOLE if filtered else ALL)


def test_a_newly_ticked_language_is_listed_whole() -> None:
    """Delta false of a language means everything of it, and nothing more, in spite of the anchor."""
    upstream = store()
    for identity, language in ((GERMAN, "de"), (FRENCH, "fr")):
        upstream.publish(in_language(identity, language), NOW)
    wanted = RevisionFilter(
        configuration=False,
        anchor=str(upstream.anchor(NOW)),
        categories={WINDOWS: True},
        classifications={SECURITY: True},
        languages={"de": True, "fr": False},
    )
    assert upstream.revisions(wanted, NOW)[1] == [FRENCH]


# --- a catalogue that moves on --------------------------------------------------------------------------


def test_becoming_another_catalogue_publishes_and_withdraws() -> None:
    """New and changed revisions are newer than the anchor, equal ones are not, those left out are gone."""
    upstream = store()
    anchor = str(upstream.anchor(NOW))
    changed, new = update(STACK, bundled=(STACK_LEAF,)), update(Identity("new", 1), WINDOWS, SECURITY)
    kept = [each for each in DOCUMENTS if each.identity not in (STACK, OTHER)]
    assert upstream.become([*kept, changed, new], NOW) == 3
    assert select(upstream, None, None, anchor) == {STACK, new.identity}
    assert upstream.get(OTHER) is None
    assert upstream.become([*kept, changed, new], NOW) == 0


# --- a bulk catalogue below -----------------------------------------------------------------------------

BULK = BulkCatalogue(3, 2_000)
BLOCK_0 = list(BULK.select(lambda facts: not facts.configuration, 0, 1))


def test_a_bulk_catalogue_is_listed_and_served() -> None:
    """Its categories and detectoids with GetConfig, the rest without; each document can be had."""
    upstream = UpstreamStore(DOCUMENTS, NOW, 5, BULK)
    _, configuration = upstream.revisions(RevisionFilter(configuration=True), NOW)
    updates = select(upstream, None, None)
    assert len(configuration) + len(updates) == len(DOCUMENTS) + 2_000
    assert updates >= {*BLOCK_0, BUNDLE}
    for identity in (*configuration, *updates):
        document = upstream.get(identity)
        assert document is not None
        assert document.identity == identity
    assert upstream.get(Identity(BLOCK_0[0].update_id, 199)) is None


def test_a_filter_reaches_into_the_bulk_catalogue() -> None:
    """Products, families above them, classifications and languages count as for any other document."""
    upstream = UpstreamStore(DOCUMENTS, NOW, 5, BULK)
    bundle = upstream.get(BLOCK_0[0])
    assert bundle is not None
    (product,) = bundle.categories - {products.SECURITY}
    (family,) = next(each for each in BULK.fixed if each.update_id == product).categories
    ids = {products.SECURITY: False}
    by_product = select(upstream, {product: False}, ids)
    assert set(BLOCK_0[:23]) <= by_product
    assert by_product < select(upstream, {family: False}, ids)
    assert by_product < select(upstream, {products.COMPANY: False}, ids)
    assert select(upstream, {product: False}, {products.DRIVERS: False}) == set()
    wanted = RevisionFilter(
        configuration=False, categories={product: False}, classifications=ids, languages={"fr": False}
    )
    assert by_product - set(upstream.revisions(wanted, NOW)[1]) == {
        each for each in by_product if (found := upstream.get(each)) and found.languages
    }


def test_a_release_is_newer_than_the_anchors_before_it() -> None:
    """Blocks not yet released are neither listed nor served; released ones are a delta, and only once."""
    upstream = UpstreamStore((), NOW, 5, BULK, released=1)
    first = upstream.revisions(RevisionFilter(configuration=False), NOW)
    assert first[1] == BLOCK_0
    later = next(iter(BULK.select(lambda facts: not facts.configuration, 1, 2)))
    assert upstream.get(later) is None
    assert upstream.newest(later.update_id) is None
    upstream.release(2, NOW)
    assert upstream.get(later) is not None
    newest = upstream.newest(later.update_id)
    assert newest is not None
    assert newest.revision_number == 201
    wanted = RevisionFilter(configuration=False, anchor=str(first[0]))
    anchor, delta = upstream.revisions(wanted, NOW)
    assert delta == list(BULK.select(lambda facts: not facts.configuration, 1, 3))
    assert upstream.revisions(RevisionFilter(configuration=False, anchor=str(anchor)), NOW)[1] == []
    upstream.release(10**6, NOW)
    assert len(select(upstream, None, None)) == BULK.blocks * 25


def test_without_a_bulk_catalogue_there_is_nothing_to_release() -> None:
    """It is no error to ask."""
    upstream = store()
    upstream.release(5, NOW)
    assert select(upstream, None, None) == ALL


def test_a_document_covers_one_of_the_bulk_catalogue() -> None:
    """Published, it is listed once and newer than the anchor; withdrawn, neither of the two comes back."""
    upstream = UpstreamStore((), NOW, 5, BULK)
    identity = BLOCK_0[5]
    anchor = str(upstream.anchor(NOW))
    upstream.publish(Document(*identity, "<mine/>"), NOW)
    found = upstream.revisions(RevisionFilter(configuration=False), NOW)[1]
    assert found.count(identity) == 1
    assert select(upstream, None, None, anchor) == {identity}
    held = upstream.get(identity)
    assert held is not None
    assert held.xml == "<mine/>"
    upstream.withdraw(identity)
    upstream.withdraw(BLOCK_0[6])
    for gone in (identity, BLOCK_0[6]):
        assert upstream.get(gone) is None
        with pytest.raises(KeyError):
            upstream.withdraw(gone)
    assert not {identity, BLOCK_0[6]} & select(upstream, None, None)
    assert upstream.become([], NOW) == 0
    assert not {identity, BLOCK_0[6]} & select(upstream, None, None)


def test_files_of_the_bulk_catalogue_are_known() -> None:
    """Payloads by their digests; licence texts are served."""
    upstream = UpstreamStore((), NOW, 5, BULK)
    leaf = upstream.get(BLOCK_0[4])
    assert leaf is not None
    assert upstream.knows_digest(leaf.files[0].digest)
    assert not upstream.knows_digest("AAAA")
    text = next(BULK.licence_texts)
    assert upstream.content(text.content_path) == text.content
    assert upstream.knows_digest(text.digest)
