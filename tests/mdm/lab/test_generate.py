"""The generated catalogue has what makes real ones hard, is the same for the same seed, and hangs together."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from mdm.lab.documents import NAMESPACES, AtLeastOne
from mdm.lab.generate import build_catalogue
from mdm.lab.products import (
    CLASSIFICATIONS,
    COMPANY,
    DEFENDER,
    LINES,
    OFFICE,
    WINDOWS_10,
    WINDOWS_11,
    WINDOWS_FAMILY,
)
from mdm.lab.releases.numbering import patch_tuesdays

if TYPE_CHECKING:
    from mdm.lab.catalogue import Catalogue
    from mdm.lab.documents import Revision

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
CATALOGUE = build_catalogue(7, NOW)
REVISIONS = {revision.identity: revision for revision in CATALOGUE.revisions}
LATEST: dict[str, Revision] = {}
for _revision in sorted(CATALOGUE.revisions, key=lambda each: each.revision_number):
    LATEST[_revision.update_id] = _revision
UPD = f"{{{NAMESPACES['upd']}}}"


def titled(pattern: str) -> list[Revision]:
    """Latest revisions whose English title matches."""
    return [
        revision
        for revision in LATEST.values()
        for text in revision.texts
        if text.language == "en" and re.search(pattern, text.title)
    ]


# --- repeatability --------------------------------------------------------------------------------------


def test_same_seed_and_time_give_the_same_bytes() -> None:
    """Every document, file and licence text."""
    assert build_catalogue(7, NOW) == CATALOGUE


def test_another_seed_gives_other_ids() -> None:
    """Nothing but the real categories is shared."""
    other = {document.update_id for document in build_catalogue(8, NOW).documents}
    shared = other & LATEST.keys()
    assert shared == {key for key in shared if LATEST[key].update_type == "Category"}
    assert set(CLASSIFICATIONS) < shared


@pytest.mark.parametrize(
    "later", [timedelta(minutes=1), timedelta(hours=30), timedelta(days=9), timedelta(days=40)]
)
def test_a_revision_never_changes_as_time_goes_on(later: timedelta) -> None:
    """What is in the catalogues of two days is the same in both, so a client's copy stays right."""
    before = {document.identity: document for document in CATALOGUE.documents}
    after = {document.identity: document for document in build_catalogue(7, NOW + later).documents}
    shared = before.keys() & after.keys()
    assert len(shared) > 100
    assert [before[each] for each in shared] == [after[each] for each in shared]


def test_a_latest_revision_never_goes_back() -> None:
    """As months pass, an update's highest revision only rises."""
    highest: dict[str, int] = {}
    for days in range(0, 200, 17):
        newest: Counter[str] = Counter()
        for document in build_catalogue(7, NOW + timedelta(days=days)).documents:
            newest[document.update_id] = max(newest[document.update_id], document.revision_number)
        for key, number in newest.items():
            assert number >= highest.get(key, 0)
        highest |= newest


def test_there_is_no_catalogue_before_2026() -> None:
    """Its numbers would begin below zero."""
    with pytest.raises(ValueError, match="2026"):
        build_catalogue(1, datetime(2025, 12, 31, tzinfo=UTC))


@settings(max_examples=15)
@given(st.datetimes(datetime(2026, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)), st.integers())  # noqa: DTZ001
def test_any_day_and_seed_give_a_sound_catalogue(now: datetime, seed: int) -> None:
    """Nothing is published in the future, no revision twice, no child or prerequisite is missing."""
    _check(build_catalogue(seed, now), now)


def _check(catalogue: Catalogue, now: datetime) -> None:
    identities = [document.identity for document in catalogue.documents]
    assert len(identities) == len(set(identities))
    assert max(revision.created for revision in catalogue.revisions) <= now
    ids = {identity.update_id for identity in identities}
    for document in catalogue.documents:
        assert set(document.bundled) <= set(identities)
        assert document.prerequisites <= ids
        assert document.categories <= ids


@settings(max_examples=40)
@given(st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)), st.integers(1, 30))  # noqa: DTZ001
def test_patch_tuesdays_are_second_tuesdays(now: datetime, count: int) -> None:
    """One a month, the latest not after now and less than six weeks ago."""
    days = patch_tuesdays(now, count)
    assert len({(day.year, day.month) for day in days}) == count
    assert all(day.weekday() == 1 and 8 <= day.day <= 14 for day in days)
    assert days == sorted(days)
    assert timedelta(0) <= now - days[-1] < timedelta(weeks=6)


# --- what is in it --------------------------------------------------------------------------------------


def test_documents_are_well_formed_and_say_who_they_are() -> None:
    """Every document parses, and names the revision it is listed as."""
    for document in CATALOGUE.documents:
        root = etree.fromstring(document.xml)
        identity = root.find(f"{UPD}UpdateIdentity")
        assert identity is not None
        assert identity.get("UpdateID", "").lower() == document.update_id
        assert identity.get("RevisionNumber") == str(document.revision_number)
        assert document.update_type == root.find(f"{UPD}Properties").get("UpdateType")  # type: ignore[union-attr]


def test_it_has_every_kind_of_category() -> None:
    """Company, families, products, twelve classifications, and one document without CategoryType."""
    types = Counter(
        re.search(r'CategoryInformation(?: CategoryType="(\w+)")?', document.xml)[1]  # type: ignore[index]
        for document in CATALOGUE.documents
        if document.update_type == "Category" and document.revision_number != 1
    )
    assert types == {"Company": 1, "ProductFamily": 2, "Product": 6, "UpdateClassification": 12, None: 1}
    assert {
        COMPANY,
        WINDOWS_FAMILY,
        WINDOWS_11,
        WINDOWS_10,
        DEFENDER,
        OFFICE,
    } | CLASSIFICATIONS.keys() <= LATEST.keys()


def test_old_categories_are_in_upper_case_and_in_two_revisions() -> None:
    """Their own ids, and one reference, are shouted; revision 1 is still listed."""
    for key in (COMPANY, WINDOWS_FAMILY):
        assert f'UpdateID="{key.upper()}" RevisionNumber' in CATALOGUE.documents[_index(key)].xml
        assert (key, 1) in REVISIONS
    assert any(f'<upd:UpdateIdentity UpdateID="{COMPANY.upper()}" />' in d.xml for d in CATALOGUE.documents)


def _index(key: str) -> int:
    return next(i for i, revision in enumerate(CATALOGUE.revisions) if revision.update_id == key)


def test_there_are_more_than_sixty_visible_updates_of_many_classes() -> None:
    """With titles and descriptions in English and German."""
    visible = [revision for revision in LATEST.values() if revision.visible]
    assert len(visible) > 60
    assert len({offer.classification_id for offer in CATALOGUE.visible()}) >= 8
    for revision in visible:
        assert {text.language for text in revision.texts} == {"en", "de"}
        assert all(text.title and text.description for text in revision.texts)


def test_cumulative_updates_have_real_titles_and_share_kbs_by_branch() -> None:
    """24H2 and 25H2 are one branch: one KB, two UpdateIDs."""
    found = titled(
        r"^2026-11 Cumulative Update for Windows 11 Version 2[45]H2 for x64-based Systems \(KB5\d{6}\)$"
    )
    assert len(found) == 2
    assert len({revision.kb_articles for revision in found}) == 1
    (german,) = [text.title for text in found[0].texts if text.language == "de"]
    assert german.startswith("2026-11 Kumulatives Update für Windows 11")


def test_kb_numbers_are_on_bundles_and_drivers_never_on_children() -> None:
    """A child has none, its bundle has."""
    children = {child for document in CATALOGUE.documents for child in document.bundled}
    assert all(not REVISIONS[child].kb_articles for child in children)
    assert any(revision.kb_articles for revision in LATEST.values())


def test_definition_updates_are_three_levels_deep_and_hide_their_middle() -> None:
    """Bundle, hidden bundle, leaf with a file; the same file name in every leaf, never the same digest."""
    bundle = titled(r"^Security Intelligence Update for Microsoft Defender Antivirus - KB2267602")[-1]
    middle = [REVISIONS[clause[0]] for clause in bundle.bundled[:2]]
    assert all(hidden.texts[0].title.startswith("HIDDEN:") and not hidden.files for hidden in middle)
    leaves = [REVISIONS[child] for hidden in middle for clause in hidden.bundled for child in clause]
    assert all(leaf.files for leaf in leaves)
    everywhere = [
        file for revision in LATEST.values() for file in revision.files if file.name == "AM_Full.exe"
    ]
    assert len({file.sha1 for file in everywhere}) == len(everywhere) > 1


def test_hidden_children_repeat_their_categories_without_classifying() -> None:
    """The clause has no IsCategory."""
    for document in CATALOGUE.documents:
        for child in document.bundled:
            clauses = [clause for clause in REVISIONS[child].prerequisites if isinstance(clause, AtLeastOne)]
            assert clauses
            assert not any(clause.is_category for clause in clauses)


def test_supersedence_dangles_and_needs_a_closure() -> None:
    """Some superseded ids are unknown; Windows 10 names only the direct predecessor."""
    named = {key for revision in LATEST.values() for key in revision.superseded}
    assert named - LATEST.keys()
    ten = titled(r"^2026-1\d Cumulative Update for Windows 10 Version 22H2")
    assert [len(revision.superseded) for revision in ten] == [1, 1]
    assert ten[1].superseded == (ten[0].update_id,)


def test_some_updates_expired() -> None:
    """One with its published revision still listed, and one that superseded a live update."""
    expired = [revision for revision in LATEST.values() if revision.expired]
    assert len(expired) >= 3
    assert any((revision.update_id, revision.revision_number - 1) in REVISIONS for revision in expired)
    offered = {offer.update_id for offer in CATALOGUE.for_device("26100")}
    assert any(set(revision.superseded) & offered for revision in expired)


def test_some_updates_have_several_revisions() -> None:
    """A corrected text, and one update whose revisions are in two hundreds groups."""
    numbers: dict[str, list[int]] = {}
    for revision in CATALOGUE.revisions:
        if revision.visible:
            numbers.setdefault(revision.update_id, []).append(revision.revision_number)
    assert [200, 201] in numbers.values()
    assert [100, 101, 200] in numbers.values()


def test_an_update_needs_another_update_that_is_no_detectoid() -> None:
    """Whoever lists Windows 10's updates must list the servicing stack."""
    (stack,) = titled("Servicing Stack Update")
    assert all(stack.update_id in each.prerequisites for each in titled("Cumulative Update for Windows 10"))


def test_eulas_are_shared_and_their_texts_are_real() -> None:
    """Several updates, one EulaID, three languages; the digests are those of the bytes that are served."""
    owners = Counter(revision.eula_id for revision in LATEST.values() if revision.eula_id)
    assert sorted(owners.values()) == [1, 3, 4]
    for revision in LATEST.values():
        if revision.eula_id is None:
            assert not revision.eula_files
            continue
        assert {eula.language for eula in revision.eula_files if eula.geo_id is None} == {"en", "de", "fr"}
        for eula in revision.eula_files:
            content = eula.file.content
            assert content is not None
            assert len(content) == eula.file.size
            assert hashlib.sha1(content, usedforsecurity=False).digest() == eula.file.sha1
            assert hashlib.sha256(content).digest() == eula.file.sha256
            assert content.decode().startswith(("LICENCE TERMS", "LIZENZBEDINGUNGEN", "TERMES DU CONTRAT"))
    assert any(eula.geo_id == "AUS" for revision in LATEST.values() for eula in revision.eula_files)


def test_drivers_carry_their_metadata_themselves() -> None:
    """Every attribute the driver schema requires is there, and the file is on the visible update."""
    required = {
        "HardwareID", "DriverVerDate", "DriverVerVersion", "WhqlDriverID", "Class", "Company", "Provider",
        "Manufacturer", "Model",
    }  # fmt: skip
    drivers = [document for document in CATALOGUE.documents if document.update_type == "Driver"]
    assert len(drivers) == 3
    for document in drivers:
        metadata = etree.fromstring(document.xml).find(f".//{{{NAMESPACES['drv']}}}WindowsDriverMetaData")
        assert metadata is not None
        assert required == set(metadata.attrib)
        assert document.files


def test_documents_are_on_both_sides_of_compression_and_some_are_long() -> None:
    """Short ones go out plain, long ones as cabinets, a few of those in several frames."""
    sizes = [len(document.xml.encode("utf-16-le")) for document in CATALOGUE.documents]
    assert sum(size <= 5120 for size in sizes) > 50
    assert sum(size > 5120 for size in sizes) > 50
    assert max(sizes) > 8 * 32768


def test_severities_reboots_and_uninstallation_vary() -> None:
    """So that whoever shows them has something to show."""
    visible = [revision for revision in LATEST.values() if revision.visible]
    assert {"Critical", "Important", "Moderate", None} <= {revision.msrc_severity for revision in visible}
    assert {revision.reboot_behavior for revision in visible} == {
        "NeverReboots",
        "CanRequestReboot",
        "AlwaysRequiresReboot",
    }
    assert {revision.uninstallable for revision in visible} == {True, False}


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.key)
def test_every_windows_version_is_offered_its_own_updates(line: object) -> None:
    """One cumulative update, the newest; definitions; something with a licence; nothing superseded."""
    offers = CATALOGUE.for_device(f"10.0.{line.build}.1")  # type: ignore[attr-defined]
    cumulative = [offer for offer in offers if re.match(r"\S+ Cumulative Update for Windows", offer.title)]
    assert [offer.title.split(" for x64")[0] for offer in cumulative] == [
        f"2026-11 Cumulative Update for {line.title}"  # type: ignore[attr-defined]
    ]
    assert sum("KB2267602" in offer.title for offer in offers) == 1
    assert any(offer.eula_id for offer in offers)
    assert not {offer.update_id for offer in offers} & {key for offer in offers for key in offer.supersedes}
    assert {offer.type for offer in offers} >= {0, 1}


def test_a_patched_device_is_not_offered_the_cumulative_update_again() -> None:
    """The build revision an update brings is the one that ends its offer."""
    (bundle,) = titled(r"^2026-11 Cumulative Update for Windows 11 Version 24H2")
    assert bundle.reach is not None
    patched = CATALOGUE.for_device(f"10.0.26100.{bundle.reach.ubr}")
    assert bundle.update_id not in {offer.update_id for offer in patched}
    assert patched


def test_a_build_the_catalogue_does_not_know_is_offered_nothing() -> None:
    """No error: the device is simply not supported any more."""
    assert CATALOGUE.for_device("10.0.22000.1") == ()
