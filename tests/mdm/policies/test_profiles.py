"""Profiles are made, changed, given to groups, paused and deleted; each change is audited and makes devices plan anew."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mdm.audit import Origin
from mdm.errors import BridgeError, Conflict, Invalid, NotFound
from mdm.policies.profiles import (
    ProfileDraft,
    ProfileView,
    assign_profile,
    change_profile,
    create_profile,
    delete_profile,
    get_profile,
    list_profiles,
    pause_profile,
    resume_profile,
    unassign_profile,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Fleet

IT = Origin("client:it")
AUTO = "AllowAutoUpdate"
PAUSE = "PauseQualityUpdatesStartTime"


def do(fleet: Fleet, action: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """One change in a transaction of its own; the clock moves a second."""
    fleet.now += timedelta(seconds=1)
    with fleet.bench.database.write() as conn:
        return action(conn, IT, *arguments, **options, now=fleet.now)


def made(fleet: Fleet, name: str = "One", **settings: int | str) -> ProfileView:
    """A profile that is for nobody."""
    profile: ProfileView = do(fleet, create_profile, ProfileDraft(name, settings or {AUTO: 2}))
    return profile


def refused(
    fleet: Fleet, kind: type[BridgeError], action: Callable[..., Any], *arguments: Any, **options: Any
) -> Any:
    """The error that an action meets."""
    with pytest.raises(kind) as error:
        do(fleet, action, *arguments, **options)
    return error.value


def versions(fleet: Fleet) -> dict[str, int]:
    """How often the intent for each group has changed."""
    return {row["id"]: row["intent_version"] for row in fleet.bench.rows("device_group")}


def trail(fleet: Fleet) -> list[tuple[str, Any, Any]]:
    """What the audit trail has, oldest first."""
    rows = fleet.bench.rows("audit_entry", "seq")
    return [(row["action"], row["before"], row["after"]) for row in rows]


def test_a_profile_is_made_and_read(fleet: Fleet) -> None:
    """For nobody at first; numbers come back as numbers."""
    draft = ProfileDraft("One", {AUTO: 2, "ProductVersion": "Windows 11"}, "For all", "report")
    profile = do(fleet, create_profile, draft)
    assert profile.id.startswith("prf_")
    assert profile == ProfileView(
        profile.id,
        "One",
        "For all",
        {AUTO: 2, "ProductVersion": "Windows 11"},
        "report",
        (),
        (),
        fleet.now,
        fleet.now,
    )
    assert trail(fleet) == [
        (
            "policy_profile.create",
            None,
            {
                "name": "One",
                "description": "For all",
                "settings": {AUTO: 2, "ProductVersion": "Windows 11"},
                "drift": "report",
                "assignments": [],
            },
        )
    ]
    assert set(versions(fleet).values()) == {0}


def test_a_name_is_taken_once(fleet: Fleet) -> None:
    """When it is made, and when it is changed; a refusal leaves no trace."""
    one, two = made(fleet), made(fleet, "Two")
    before = fleet.bench.dump()
    for error in (
        refused(fleet, Conflict, create_profile, ProfileDraft("One", {})),
        refused(fleet, Conflict, change_profile, two.id, ProfileDraft("One", {})),
    ):
        assert (error.code, error.members) == ("profile_exists", {"existing": one.id})
    assert fleet.bench.dump() == before


def test_wrong_settings_are_refused_everywhere(sqlite_fleet: Fleet) -> None:
    """Before anything is written."""
    profile = made(sqlite_fleet)
    before = sqlite_fleet.bench.dump()
    for action, *arguments in ((create_profile,), (change_profile, profile.id)):
        error = refused(sqlite_fleet, Invalid, action, *arguments, ProfileDraft("Two", {AUTO: 9}))
        assert [each.pointer for each in error.errors] == [f"/settings/{AUTO}"]
    assert sqlite_fleet.bench.dump() == before


def test_a_change_reaches_the_groups_it_concerns(fleet: Fleet) -> None:
    """Settings and drift do; a name does not, and what changes nothing is nothing."""
    fleet.add_group("sales")
    fleet.add_group("other")
    profile = do(fleet, assign_profile, made(fleet).id, "sales", rank=5)
    assert [(each.group_id, each.group_name, each.rank) for each in profile.assignments] == [
        ("sales", "Group sales", 5)
    ]
    assert versions(fleet) == {"all-devices": 0, "unassigned": 0, "sales": 1, "other": 0}
    for draft, version in (
        (ProfileDraft("One", {AUTO: 2}), 1),
        (ProfileDraft("New name", {AUTO: 2}), 1),
        (ProfileDraft("New name", {AUTO: 3}), 2),
        (ProfileDraft("New name", {AUTO: 3}, drift="report"), 3),
    ):
        changed = do(fleet, change_profile, profile.id, draft)
        assert versions(fleet)["sales"] == version
    assert changed.changed_at == fleet.now
    assert trail(fleet)[1:] == [
        ("policy_profile.assign", {"assignments": []}, {"assignments": [{"group_id": "sales", "rank": 5}]}),
        ("policy_profile.change", {"name": "One"}, {"name": "New name"}),
        ("policy_profile.change", {"settings": {AUTO: 2}}, {"settings": {AUTO: 3}}),
        ("policy_profile.change", {"drift": "repair"}, {"drift": "report"}),
    ]


def test_a_rank_can_be_changed_and_a_profile_taken_back(fleet: Fleet) -> None:
    """Each raises the version of the group, and only what changes something does."""
    fleet.add_group("sales")
    profile = made(fleet)
    for action, options, version, ranks in (
        (assign_profile, {"rank": 5}, 1, [5]),
        (assign_profile, {"rank": 5}, 1, [5]),
        (assign_profile, {"rank": 7}, 2, [7]),
        (unassign_profile, {}, 3, []),
        (unassign_profile, {}, 3, []),
    ):
        view = do(fleet, action, profile.id, "sales", **options)
        assert [each.rank for each in view.assignments] == ranks
        assert versions(fleet)["sales"] == version
    assert [action for action, _, _ in trail(fleet)] == [
        "policy_profile.create",
        "policy_profile.assign",
        "policy_profile.assign",
        "policy_profile.unassign",
    ]


def test_one_that_is_for_a_group_is_not_deleted(fleet: Fleet) -> None:
    """Its devices would lose their policies by the way; taken back first, it goes."""
    fleet.add_group("sales")
    profile = do(fleet, assign_profile, made(fleet).id, "sales", rank=5)
    error = refused(fleet, Conflict, delete_profile, profile.id)
    assert (error.code, error.members) == ("profile_assigned", {"groups": ["sales"]})
    do(fleet, unassign_profile, profile.id, "sales")
    do(fleet, delete_profile, profile.id)
    assert fleet.bench.rows("policy_profile") == []
    action, before, after = trail(fleet)[-1]
    assert (action, before["name"], after) == ("policy_profile.delete", "One", None)


def test_what_does_not_exist_is_not_found(sqlite_fleet: Fleet) -> None:
    """Neither a profile nor a group."""
    profile = made(sqlite_fleet)
    for action, *arguments in (
        (change_profile, ProfileDraft("Two", {})),
        (delete_profile,),
        (unassign_profile, "all-devices"),
        (pause_profile, "quality"),
        (resume_profile, "quality"),
    ):
        error = refused(sqlite_fleet, NotFound, action, "prf_x", *arguments)
        assert (error.code, error.members) == ("profile_not_found", {"profile_id": "prf_x"})
    assert (
        refused(sqlite_fleet, NotFound, assign_profile, "prf_x", "all-devices", rank=1).code
        == "profile_not_found"
    )
    assert (
        refused(sqlite_fleet, NotFound, assign_profile, profile.id, "grp_x", rank=1).code == "group_not_found"
    )
    with sqlite_fleet.bench.database.read() as conn, pytest.raises(NotFound):
        get_profile(conn, "prf_x", now=sqlite_fleet.now)


def test_updates_are_paused_extended_and_resumed(fleet: Fleet) -> None:
    """A pause is a value of the profile, with its days left; resuming takes only it away."""
    profile = do(fleet, assign_profile, made(fleet).id, "all-devices", rank=5)
    paused = do(fleet, pause_profile, profile.id, "quality")
    assert paused.settings == {AUTO: 2, PAUSE: "2026-11-21"}
    assert [(each.kind, each.since, each.until, each.days_left) for each in paused.pauses] == [
        ("quality", "2026-11-21", "2026-12-26", 35)
    ]
    fleet.now += timedelta(days=30)
    with fleet.bench.database.read() as conn:
        assert [each.days_left for each in get_profile(conn, profile.id, now=fleet.now).pauses] == [5]
    extended = do(fleet, pause_profile, profile.id, "quality")
    assert [each.days_left for each in extended.pauses] == [35]
    both = do(fleet, pause_profile, profile.id, "feature", since=date(2026, 12, 1))
    assert [each.kind for each in both.pauses] == ["quality", "feature"]
    do(fleet, resume_profile, profile.id, "feature")
    resumed = do(fleet, resume_profile, profile.id, "quality")
    assert (resumed.settings, resumed.pauses) == ({AUTO: 2}, ())
    assert versions(fleet)["all-devices"] == 6
    do(fleet, resume_profile, profile.id, "quality")
    assert versions(fleet)["all-devices"] == 6
    assert [action for action, _, _ in trail(fleet)[2:]] == [
        f"policy_profile.{each}" for each in ("pause", "pause", "pause", "resume", "resume")
    ]


@pytest.mark.parametrize(("days", "fits"), [(-35, False), (-34, True), (0, True), (366, True), (367, False)])
def test_a_pause_begins_near_today(sqlite_fleet: Fleet, days: int, fits: bool) -> None:  # noqa: FBT001 - the expectation
    """One that would be over at once is a mistake, as is one in another year."""
    profile = made(sqlite_fleet)
    since = sqlite_fleet.now.date() + timedelta(days=days)
    if fits:
        (pause,) = do(sqlite_fleet, pause_profile, profile.id, "quality", since=since).pauses
        assert pause.days_left == days + 35
    else:
        error = refused(sqlite_fleet, Invalid, pause_profile, profile.id, "quality", since=since)
        assert [(each.pointer, each.code) for each in error.errors] == [("/since", "out_of_range")]


def test_profiles_are_listed_by_name(fleet: Fleet) -> None:
    """From the one behind a name on, with their groups by rank."""
    fleet.add_group("sales")
    ids = {name: made(fleet, name).id for name in ("b", "c", "a")}
    do(fleet, assign_profile, ids["b"], "sales", rank=9)
    do(fleet, assign_profile, ids["b"], "all-devices", rank=1)
    with fleet.bench.database.read() as conn:
        names = [each.name for each in list_profiles(conn, after=None, limit=2, now=fleet.now)]
        assert names == ["a", "b"]
        rest = list_profiles(conn, after="a", limit=9, now=fleet.now)
    assert [each.name for each in rest] == ["b", "c"]
    assert [each.group_id for each in rest[0].assignments] == ["all-devices", "sales"]
