"""What a virtual device is offered of a catalogue."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mdm.lab.catalogue import Catalogue
from mdm.lab.documents import AtLeastOne, Reach, Revision, Text
from mdm.lab.products import CRITICAL, SECURITY, UPDATES

BUILD = 26100


def update(
    key: str, *superseded: str, number: int = 200, classification: str = UPDATES, ubr: int | None = None
) -> Revision:
    """A visible update for one build."""
    return Revision(
        update_id=key,
        revision_number=number,
        update_type="Software",
        texts=(Text("de", f"Titel {key}"), Text("en", f"Title {key}")),
        created=datetime(2026, 11, 10, tzinfo=UTC),
        publisher_id="p",
        explicitly_deployable=True,
        reboot_behavior="NeverReboots",
        kb_articles=("123",),
        prerequisites=("detectoid", AtLeastOne((classification,), is_category=True), AtLeastOne(("x",))),
        superseded=superseded,
        reach=Reach(frozenset({BUILD}), ubr),
    )


def offered(*revisions: Revision, build: str = "10.0.26100.1") -> list[tuple[str, int]]:
    """Ids and revisions a device is offered."""
    return [(each.update_id, each.revision_number) for each in Catalogue(revisions, ()).for_device(build)]


def test_an_offer_says_what_a_device_reports() -> None:
    """Title in English, KB, classification, Type, reboot and supersedence."""
    boot = replace(
        update("a", "old", classification=SECURITY), reboot_behavior="CanRequestReboot", eula_id="e"
    )
    (offer,) = Catalogue((boot,), ()).for_device("26100")
    assert (offer.title, offer.kb, offer.classification_id, offer.eula_id) == (
        "Title a",
        "123",
        SECURITY,
        "e",
    )
    assert (offer.type, offer.needs_reboot, offer.supersedes) == (1, True, ("old",))


@pytest.mark.parametrize(("classification", "type_"), [(SECURITY, 1), (CRITICAL, 2), (UPDATES, 0)])
def test_type_follows_from_the_classification(classification: str, type_: int) -> None:
    """InstallableUpdates knows security, critical and none."""
    (offer,) = Catalogue(
        (replace(update("a", classification=classification), kb_articles=()),), ()
    ).for_device("26100")
    assert (offer.type, offer.kb, offer.needs_reboot) == (type_, None, False)


def test_the_highest_revision_counts_in_any_order() -> None:
    """Also if an older one comes later."""
    assert offered(update("a", number=201), update("a", number=200)) == [("a", 201)]
    assert offered(update("a", number=200), update("a", number=201)) == [("a", 201)]


def test_an_expired_latest_revision_hides_the_update() -> None:
    """The published revision before it does not come back."""
    assert offered(update("a"), replace(update("a", number=201), expired=True)) == []


def test_superseded_updates_are_not_offered() -> None:
    """Directly, and through an update that is itself superseded; ids nobody has do no harm."""
    assert offered(update("a"), update("b", "a"), update("c", "b", "gone")) == [("c", 200)]


def test_an_expired_update_supersedes_only_through_a_live_one() -> None:
    """Alone it supersedes nothing; superseded itself by a live update, it passes that on."""
    expired = replace(update("b", "a"), expired=True)
    assert offered(update("a"), expired) == [("a", 200)]
    assert offered(update("a"), expired, update("c", "b")) == [("c", 200)]


def test_updates_superseding_each_other_are_gone_both() -> None:
    """A circle ends."""
    assert offered(update("a", "b"), update("b", "a")) == []


def test_hidden_updates_and_those_for_nobody_are_not_offered() -> None:
    """Children, and updates for hardware no virtual device has."""
    assert offered(replace(update("a"), explicitly_deployable=None), replace(update("b"), reach=None)) == []


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        ("10.0.26100.4651", [("a", 200)]),
        ("26100.4651", [("a", 200)]),
        ("26100", [("a", 200)]),
        ("10.0.26100.4652", []),
        ("10.0.26200.1", []),
    ],
)
def test_a_build_revision_already_there_is_not_offered(build: str, expected: list[tuple[str, int]]) -> None:
    """Build and UBR of the device decide."""
    assert offered(update("a", ubr=4652), build=build) == expected


@pytest.mark.parametrize("build", ["", "Windows 11", "10.0", "10.0.26100.1.2", "26100.", "²6100"])
def test_other_text_is_no_build(build: str) -> None:
    """Better an error than an empty offer."""
    with pytest.raises(ValueError, match="not a Windows build"):
        offered(update("a"), build=build)


def test_visible_lists_superseded_updates_too() -> None:
    """An administrator sees them."""
    catalogue = Catalogue((update("a"), update("b", "a"), replace(update("c"), expired=True)), ())
    assert [each.update_id for each in catalogue.visible()] == ["a", "b"]
