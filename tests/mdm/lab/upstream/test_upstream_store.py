"""What the virtual upstream selects: anchors, filters, Delta, inherited categories and the closure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
