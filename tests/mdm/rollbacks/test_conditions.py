"""What is known to speak against a rollback, and what is not known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from csp.classifications import CLASSIFICATIONS, DEFINITION_UPDATES, SECURITY_UPDATES
from csp.rollback import RollbackKind
from mdm.rollbacks.conditions import Facts, is_paused, pause_day, read_facts, refusal

if TYPE_CHECKING:
    from conftest import Bench

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = timedelta(days=1)
QUALITY, FEATURE = RollbackKind
UPGRADES = next(guid for guid, name in CLASSIFICATIONS.items() if name == "Upgrades")
OLD, NEW, OTHER = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "abc")


@pytest.mark.parametrize(
    ("kind", "facts", "why"),
    [
        (QUALITY, Facts(), None),
        (QUALITY, Facts(os_version="10.0.17134.1"), None),
        (QUALITY, Facts(os_version="6.3.9600"), None),
        (QUALITY, Facts(os_version="10.0.16299.15"), "needs Windows 10 1803"),
        (QUALITY, Facts(unenrolled=True), "has left management"),
        (QUALITY, Facts(unenrolled=True, retiring=True), "has left management"),
        (QUALITY, Facts(retiring=True), "was asked to leave management"),
        (
            QUALITY,
            Facts(lacking=frozenset({"PauseQualityUpdatesStartTime"})),
            "only while updates are paused",
        ),
        (FEATURE, Facts(lacking=frozenset({"PauseQualityUpdatesStartTime"})), None),
        (QUALITY, Facts(offered=("KB2", "KB1")), "is offered 'KB2', which replaces the installed 'KB1'"),
        (FEATURE, Facts(policies={"BranchReadinessLevel": "8"}), "BranchReadinessLevel is 8"),
        (FEATURE, Facts(policies={"BranchReadinessLevel": "16"}), None),
        (QUALITY, Facts(policies={"BranchReadinessLevel": "8"}), None),
        (FEATURE, Facts(upgraded_at=NOW - 10 * DAY), None),
        (
            FEATURE,
            Facts(upgraded_at=NOW - 11 * DAY),
            "on 2026-11-10 or before, and can be uninstalled for 10 days",
        ),
        (QUALITY, Facts(upgraded_at=NOW - 11 * DAY), None),
        (
            FEATURE,
            Facts(upgraded_at=NOW - 11 * DAY, policies={"ConfigureFeatureUpdateUninstallPeriod": "20"}),
            None,
        ),
    ],
)
def test_the_first_known_obstacle_is_told(kind: RollbackKind, facts: Facts, why: str | None) -> None:
    """And nothing that is only not known."""
    found = refusal(kind, facts, NOW)
    assert (found is None) is (why is None)
    assert why is None or why in str(found)


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        (None, False),
        ("2026-11-22", False),
        ("2026-11-21", True),
        ("2026-10-18", True),
        ("2026-10-16", False),
    ],
)
def test_a_pause_lasts_its_days(since: str | None, *, expected: bool) -> None:
    """One that is over is none, nor is one that has not begun."""
    policies = {} if since is None else {"PauseQualityUpdatesStartTime": since}
    assert is_paused(QUALITY, Facts(policies=policies), NOW) is expected
    assert not is_paused(FEATURE, Facts(policies=policies), NOW)


@pytest.mark.parametrize(("hours", "expected"), [(-1, "2026-11-20"), (0, "2026-11-21"), (23, "2026-11-21")])
def test_a_pause_begins_on_a_day_that_has_begun_everywhere(hours: int, expected: str) -> None:
    """At noon in UTC the day begins in the last time zone: a device there must not wait for its midnight."""
    assert pause_day(NOW + timedelta(hours=hours)) == expected


def facts(bench: Bench, kind: RollbackKind = QUALITY, pk: int = 1) -> Facts:
    """What is known of one of two devices."""
    with bench.database.read() as conn:
        return read_facts(conn, kind, [1, 2])[pk]


def has(bench: Bench, update_id: str, state: str, since: datetime = NOW) -> None:
    """The first device lists an update."""
    lists = {"installable": 1, "installed": 2}[state]
    bench.add("device_update", device_pk=1, update_id=update_id, lists=lists, state=state, since=since)


def policy(bench: Bench, name: str, status: str, value: str | None = None) -> None:
    """What the first device said of a policy."""
    bench.add(
        "device_policy",
        device_pk=1,
        name=name,
        status=status,
        value=value,
        status_code=200,
        at=NOW,
        repairs=0,
    )


def replaces(bench: Bench, newer: str, older: str) -> None:
    """An edge of the catalogue."""
    bench.add(
        "revision_relation",
        update_id=newer,
        revision_number=200,
        kind="supersedes",
        clause=0,
        target_id=older,
    )


@pytest.fixture
def two(bench: Bench) -> Bench:
    """A bench with two devices."""
    for number in (1, 2):
        bench.enrol(f"DEV{number}")
    return bench


def test_what_the_rows_say_of_a_device(two: Bench) -> None:
    """Its build, and the policies it has taken or has not; nothing of that passes to another device."""
    policy(two, "PauseQualityUpdatesStartTime", "set", "2026-11-21")
    policy(two, "BranchReadinessLevel", "failed", "8")
    policy(two, "PauseFeatureUpdatesStartTime", "unsupported")
    policy(two, "AllowAutoUpdate", "set", "3")
    found = facts(two)
    assert (found.policies, found.lacking) == (
        {"PauseQualityUpdatesStartTime": "2026-11-21"},
        {"PauseFeatureUpdatesStartTime"},
    )
    assert facts(two, pk=2) == Facts()


@pytest.mark.parametrize(
    ("kind", "classification", "expected"),
    [
        (QUALITY, SECURITY_UPDATES, ("New", "Old")),
        (QUALITY, None, ("New", "Old")),
        (QUALITY, DEFINITION_UPDATES, None),
        (QUALITY, UPGRADES, None),
        (FEATURE, UPGRADES, ("New", "Old")),
        (FEATURE, SECURITY_UPDATES, None),
    ],
)
def test_an_offer_that_replaces_an_installed_update(
    two: Bench, kind: RollbackKind, classification: str | None, expected: Any
) -> None:
    """Of the kind that is rolled back; definition updates are never."""
    two.catalogue(OLD, title="Old", classification_id=classification)
    two.catalogue(NEW, title="New", classification_id=classification)
    replaces(two, NEW, OLD)
    has(two, OLD, "installed")
    has(two, NEW, "installable")
    assert facts(two, kind).offered == expected
    assert facts(two, kind, pk=2).offered is None


def test_an_offer_that_replaces_nothing_installed_is_no_obstacle(two: Bench) -> None:
    """Nor is one that replaces what the device is only offered, too."""
    for update_id in (OLD, NEW, OTHER):
        two.catalogue(update_id)
    replaces(two, NEW, OLD)
    has(two, OLD, "installable")
    has(two, NEW, "installable")
    has(two, OTHER, "installed")
    assert facts(two).offered is None


def test_when_a_feature_update_came(two: Bench) -> None:
    """The latest one counts, and quality updates do not."""
    two.catalogue(OLD, classification_id=UPGRADES)
    two.catalogue(NEW, classification_id=UPGRADES)
    two.catalogue(OTHER, classification_id=SECURITY_UPDATES)
    has(two, NEW, "installed", NOW - 5 * DAY)
    has(two, OLD, "installed", NOW - 400 * DAY)
    has(two, OTHER, "installed", NOW)
    assert facts(two, FEATURE).upgraded_at == NOW - 5 * DAY
    assert facts(two, QUALITY).upgraded_at is None


def test_a_device_that_has_left_says_so(two: Bench) -> None:
    """By its row."""
    with two.database.write() as conn:
        conn.exec_driver_sql(
            "UPDATE device SET unenrolled_at = '2026-11-21', os_version = '10.0.1' WHERE pk = 1"
        )
    assert (facts(two).unenrolled, facts(two).os_version) == (True, "10.0.1")
    assert not facts(two).retiring
    with two.database.write() as conn:
        conn.exec_driver_sql("UPDATE device SET retire_requested_at = '2026-11-21' WHERE pk = 1")
    assert facts(two).retiring
