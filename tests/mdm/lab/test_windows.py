"""The Windows Update agent of a virtual device."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csp.classifications import DEFINITION_UPDATES, SECURITY_UPDATES
from mdm.lab.catalogue import OfferedUpdate
from mdm.lab.windows import REQUIRE_UPDATE_APPROVAL, Habits, Pace, Windows
from mdm.lab.windows_state import Phase, UpdateStatus, WindowsState, iso_time

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
PACE = Pace(scan=22 * HOUR, install=HOUR, restart=8 * HOUR, retry=24 * HOUR)
UPGRADES = "3689bdc8-b205-4af4-8d4a-a63924c5e9d5"


def guid(number: int) -> str:
    """An UpdateID."""
    return f"00000000-0000-4000-8000-{number:012d}"


def update(
    number: int,
    *,
    revision: int = 200,
    classification: str = SECURITY_UPDATES,
    reboot: bool = False,
    supersedes: tuple[str, ...] = (),
) -> OfferedUpdate:
    """An update as a scan finds it."""
    return OfferedUpdate(
        update_id=guid(number),
        revision_number=revision,
        title=f"Update {number}",
        kb=None,
        classification_id=classification,
        eula_id=None,
        type=1,
        needs_reboot=reboot,
        supersedes=supersedes,
    )


def windows(*updates: OfferedUpdate, pace: Pace = PACE, failing: dict[str, int] | None = None) -> Windows:
    """An agent that is always offered these."""
    return Windows(lambda _: updates, Habits(pace=pace, failing=failing or {}))


def approving(*updates: OfferedUpdate, pace: Pace = PACE, failing: dict[str, int] | None = None) -> Windows:
    """The same, on a device that has scanned and installs only what is approved."""
    agent = windows(*updates, pace=pace, failing=failing)
    agent.set_policy(REQUIRE_UPDATE_APPROVAL, "1", NOON)
    agent.advance(NOON)
    return agent


def lists(agent: Windows) -> dict[str, list[int]]:
    """The numbers of the updates in each list."""
    return {
        name: [int(job.update.update_id[-12:]) for job in getattr(agent, name)()]
        for name in ("installable", "failed", "pending_reboot", "installed")
    }


def test_the_first_advance_scans() -> None:
    """A new device scans at once, remembers when, and lists what it is offered."""
    agent = windows(update(2), update(1))
    assert agent.state.last_scan is None
    agent.advance(NOON)
    assert agent.state.last_scan == NOON
    assert lists(agent) == {"installable": [1, 2], "failed": [], "pending_reboot": [], "installed": []}


def test_without_the_policy_everything_applicable_is_installed() -> None:
    """RequireUpdateApproval unset or 0: approval plays no part."""
    agent = windows(update(1), update(2, reboot=True))
    agent.advance(NOON)
    agent.advance(NOON + 2 * HOUR)
    assert lists(agent) == {"installable": [], "failed": [], "pending_reboot": [2], "installed": [1]}


def test_with_the_policy_only_approved_updates_are_installed() -> None:
    """RequireUpdateApproval 1: an approval names an update or a classification."""
    agent = approving(update(1), update(2), update(3, classification=DEFINITION_UPDATES), update(4))
    agent.approve(guid(2), iso_time(NOON), NOON)
    agent.approve(DEFINITION_UPDATES, iso_time(NOON), NOON)
    agent.advance(NOON + 3 * HOUR)
    assert lists(agent)["installed"] == [2, 3]
    assert lists(agent)["installable"] == [1, 4]
    assert agent.state.approved == {
        guid(2): "2026-11-21T12:00:00Z",
        DEFINITION_UPDATES: "2026-11-21T12:00:00Z",
    }


def test_a_policy_that_comes_in_time_stops_what_is_under_way() -> None:
    """What was begun before approval was required is not installed without one."""
    agent = windows(update(1))
    agent.advance(NOON)
    assert agent.state.jobs[guid(1)].phase is Phase.UNDER_WAY
    agent.set_policy(REQUIRE_UPDATE_APPROVAL, "1", NOON)
    agent.advance(NOON + 20 * HOUR)
    assert agent.state.jobs[guid(1)].phase is Phase.OFFERED
    agent.unset_policy(REQUIRE_UPDATE_APPROVAL, NOON + 20 * HOUR)
    agent.advance(NOON + 22 * HOUR)
    assert lists(agent)["installed"] == [1]


def test_an_installation_takes_its_time() -> None:
    """Between approval and result lies `Pace.install`, at most twice; the update is installable meanwhile."""
    agent = approving(update(1))
    agent.approve(guid(1), "0", NOON)
    agent.advance(NOON + HOUR - timedelta(seconds=1))
    assert lists(agent)["installable"] == [1]
    agent.advance(NOON + 2 * HOUR)
    assert lists(agent)["installed"] == [1]


def test_a_restart_finishes_what_waits_for_it() -> None:
    """PendingRebootUpdates empties at the restart, which comes `Pace.restart` after the first of them."""
    agent = approving(update(1, reboot=True), update(2, reboot=True))
    for number in (1, 2):
        agent.approve(guid(number), "0", NOON)
    agent.advance(NOON + 2 * HOUR)
    assert lists(agent)["pending_reboot"] == [1, 2]
    restart_at = agent.state.restart_at
    assert restart_at is not None
    assert NOON + 9 * HOUR <= restart_at <= NOON + 10 * HOUR
    agent.advance(restart_at)
    assert lists(agent)["installed"] == [1, 2]
    assert {job.installed_at for job in agent.installed()} == {restart_at}
    assert agent.state.restart_at is None


def test_a_person_may_restart_earlier() -> None:
    """`restart` does not wait for the schedule."""
    agent = approving(update(1, reboot=True))
    agent.approve(guid(1), "0", NOON)
    agent.advance(NOON + 2 * HOUR)
    agent.restart(NOON + 3 * HOUR)
    assert lists(agent)["installed"] == [1]


@pytest.mark.parametrize(
    ("hresult", "status"),
    [
        (0x80070070, UpdateStatus.DOWNLOAD_FAILED),
        (0x800F0922, UpdateStatus.INSTALL_FAILED),
        (0x80240017, UpdateStatus.INSTALL_BLOCKED),
        (0x8000FFFF, UpdateStatus.INSTALL_FAILED),
    ],
)
def test_a_failure_is_listed_and_tried_again_later(hresult: int, status: UpdateStatus) -> None:
    """A failed update stands in both lists until a later attempt succeeds, `Pace.retry` after the first."""
    agent = approving(update(1), failing={guid(1): hresult})
    agent.approve(guid(1), "0", NOON)
    agent.advance(NOON + 2 * HOUR)
    assert lists(agent) == {"installable": [1], "failed": [1], "pending_reboot": [], "installed": []}
    job = agent.state.jobs[guid(1)]
    assert (job.hresult, job.failure, job.attempts) == (hresult, status, 1)
    agent.advance(NOON + 24 * HOUR)
    assert lists(agent)["failed"] == [1]
    agent.advance(NOON + 28 * HOUR)
    assert lists(agent) == {"installable": [], "failed": [], "pending_reboot": [], "installed": [1]}
    assert agent.state.jobs[guid(1)].hresult is None


def test_a_share_of_updates_fails_always_the_same() -> None:
    """`failure_percent` picks updates by seed and UpdateID, so that every run fails at the same ones."""
    offers = [update(number) for number in range(1, 101)]

    def failed(seed: int) -> list[int]:
        agent = Windows(lambda _: offers, Habits(pace=PACE, seed=seed, failure_percent=20))
        agent.advance(NOON)
        agent.advance(NOON + 2 * HOUR)
        assert {job.hresult for job in agent.failed()} <= {
            0x80070070, 0x80246007, 0x80D02002, 0x80240017, 0x80240016, 0x800F0922, 0x80073712, 0x80070643,
            0x80242016,
        }  # fmt: skip
        found = lists(agent)["failed"]
        agent.advance(NOON + 99 * HOUR)
        assert lists(agent)["failed"] == []
        return found

    assert failed(1) == failed(1)
    assert failed(1) != failed(2)
    assert 10 <= len(failed(1)) <= 30


def test_an_installed_update_hides_what_it_supersedes() -> None:
    """What an installed or pending update supersedes leaves the list, and later scans do not bring it back."""
    newer = update(2, reboot=True, supersedes=(guid(1),))
    agent = approving(update(1), newer)
    agent.approve(guid(2), "0", NOON)
    agent.advance(NOON + 2 * HOUR)
    assert lists(agent) == {"installable": [], "failed": [], "pending_reboot": [2], "installed": []}
    agent.scan(NOON + 3 * HOUR)
    assert lists(agent)["installable"] == []


def test_a_scan_follows_what_is_offered() -> None:
    """A scan adds what is new, takes newer revisions, drops what is offered no more, keeps what was done."""
    offered = [update(1), update(2), update(3)]
    agent = Windows(lambda _: offered, Habits(pace=PACE))
    agent.set_policy(REQUIRE_UPDATE_APPROVAL, "1", NOON)
    agent.advance(NOON)
    agent.approve(guid(3), "0", NOON)
    agent.advance(NOON + 2 * HOUR)
    offered[:] = [update(2, revision=201), update(4)]
    agent.advance(NOON + 21 * HOUR)
    assert lists(agent)["installable"] == [1, 2]
    agent.advance(NOON + 22 * HOUR)
    assert lists(agent)["installable"] == [2, 4]
    assert lists(agent)["installed"] == [3]
    assert agent.state.jobs[guid(2)].update.revision_number == 201
    assert agent.state.last_scan == NOON + 22 * HOUR


def test_hurry_ends_what_is_under_way_only() -> None:
    """`hurry` lets installations end now, and nothing else happen."""
    agent = approving(update(1), update(2, reboot=True), update(3))
    agent.approve(guid(1), "0", NOON)
    agent.approve(guid(2), "0", NOON)
    agent.hurry(NOON + timedelta(seconds=1))
    assert lists(agent) == {"installable": [3], "failed": [], "pending_reboot": [2], "installed": [1]}


def test_a_device_comes_with_updates() -> None:
    """What is preinstalled is installed, and hides what it supersedes."""
    agent = windows(update(1), update(2))
    agent.preinstall([update(9, supersedes=(guid(1),))], NOON - 99 * HOUR)
    agent.advance(NOON)
    assert lists(agent)["installed"] == [9]
    assert lists(agent)["installable"] == [2]


@pytest.mark.parametrize(
    ("kind", "classification", "policy"),
    [
        ("quality", SECURITY_UPDATES, "PauseQualityUpdatesStartTime"),
        ("feature", UPGRADES, "PauseFeatureUpdatesStartTime"),
    ],
)
def test_a_rollback_needs_the_pause_and_an_update(kind: str, classification: str, policy: str) -> None:
    """A rollback takes back the latest update of its kind if its kind is paused, and says what came of it."""
    agent = windows(update(1, classification=classification), update(2, classification=DEFINITION_UPDATES))
    agent.roll_back(kind, NOON)
    assert agent.state.rollbacks[kind].endswith("not paused")
    agent.set_policy(policy, "2026-11-21", NOON)
    agent.roll_back(kind, NOON)
    assert agent.state.rollbacks[kind].endswith("no update of this kind")
    agent.unset_policy(policy, NOON)
    agent.advance(NOON)
    agent.advance(NOON + 2 * HOUR)
    assert lists(agent)["installed"] == [1, 2]
    agent.set_policy(policy, "2026-11-21", NOON + 2 * HOUR)
    agent.roll_back(kind, NOON + 3 * HOUR)
    assert agent.state.rollbacks[kind] == "Rolled back"
    agent.advance(NOON + 99 * HOUR)
    assert lists(agent) == {"installable": [1], "failed": [], "pending_reboot": [], "installed": [2]}


def test_only_the_latest_update_is_rolled_back() -> None:
    """While one is offered that replaces it, it is not the latest."""
    agent = windows(update(1, classification=SECURITY_UPDATES))
    agent.advance(NOON)
    agent.advance(NOON + 2 * HOUR)
    agent.set_policy("PauseQualityUpdatesStartTime", "2026-11-21", NOON + 2 * HOUR)
    newer = update(2, classification=SECURITY_UPDATES, supersedes=(guid(1),))
    agent._offers = lambda _now: [newer]
    agent.scan(NOON + 3 * HOUR)
    assert lists(agent)["installable"] == [2]
    agent.roll_back("quality", NOON + 3 * HOUR)
    assert agent.state.rollbacks["quality"].endswith("a newer update of this kind is offered")
    assert lists(agent)["installed"] == [1]


@pytest.mark.parametrize(("days", "period", "result"), [(9, None, True), (11, None, False), (11, "20", True)])
def test_a_feature_update_is_rolled_back_within_its_period(
    days: int, period: str | None, *, result: bool
) -> None:
    """Ten days, or what the policy says."""
    agent = windows(update(1, classification=UPGRADES))
    agent.advance(NOON)
    agent.advance(NOON + 2 * HOUR)
    agent.set_policy("PauseFeatureUpdatesStartTime", "2026-11-21", NOON + 2 * HOUR)
    if period is not None:
        agent.set_policy("ConfigureFeatureUpdateUninstallPeriod", period, NOON + 2 * HOUR)
    agent.roll_back("feature", NOON + days * 24 * HOUR)
    assert (agent.state.rollbacks["feature"] == "Rolled back") is result
    assert agent.state.rollbacks["feature"].endswith(
        "Rolled back" if result else "the uninstall period is over"
    )


MINUTES = st.integers(min_value=0, max_value=60 * 24 * 4)


@given(steps=st.lists(MINUTES, max_size=6), approved=st.sets(st.integers(1, 6)))
def test_many_small_steps_come_to_one_large(steps: list[int], approved: set[int]) -> None:
    """`advance` lets each thing happen at its own moment, whatever the steps are."""
    offers = [update(number, reboot=number % 2 == 0) for number in range(1, 7)]
    ends = []
    for moments in ([*sorted(steps), 60 * 24 * 5], [60 * 24 * 5]):
        agent = approving(*offers, failing={guid(3): 0x80070070, guid(4): 0x800F0922})
        for number in sorted(approved):
            agent.approve(guid(number), "0", NOON)
        for minutes in moments:
            agent.advance(NOON + timedelta(minutes=minutes))
        ends.append(agent.state)
    assert ends[0] == ends[1]
    assert {int(key[-12:]) for key, job in ends[0].jobs.items() if job.phase is Phase.INSTALLED} == approved


def test_the_state_survives_as_json() -> None:
    """Everything the agent knows goes through JSON and back unchanged, at each stage of its life."""
    agent = approving(
        update(1, supersedes=(guid(8),)), update(2, reboot=True), update(3), failing={guid(3): 0x80070070}
    )
    states = [WindowsState(), agent.state]
    for number in (1, 2, 3):
        agent.approve(guid(number), "0", NOON)
    states.append(agent.state)
    agent.advance(NOON + 2 * HOUR)
    agent.roll_back("quality", NOON)
    states.append(agent.state)
    for state in states:
        assert WindowsState.from_json(json.loads(json.dumps(state.to_json()))) == state
    again = Windows(lambda _: (), agent.habits, agent.state)
    assert lists(again) == lists(agent)


@pytest.mark.parametrize("spoil", [{"jobs": [{}]}, {"last_scan": 5}, {"next_scan": "soon"}])
def test_another_state_is_refused(spoil: dict[str, object]) -> None:
    """A file that is none of ours raises, so that the store can say so."""
    value = replace(WindowsState(), last_scan=NOON).to_json() | spoil
    with pytest.raises((KeyError, TypeError, ValueError)):
        WindowsState.from_json(value)


@pytest.mark.parametrize(
    ("name", "ours", "theirs", "before", "after"),
    [
        # the last writer wins
        ("ActiveHoursStart", "7", "9", "9", "7"),
        ("ProductVersion", "Windows 11", "Windows 10", "Windows 10", "Windows 11"),
        # the lowest and the highest win, whoever writes last
        ("AllowAutoUpdate", "3", "1", "1", "1"),
        ("AllowAutoUpdate", "3", "5", "3", "3"),
        ("AutomaticMaintenanceWakeUp", "0", "1", "1", "1"),
        ("AutomaticMaintenanceWakeUp", "1", "0", "1", "1"),
    ],
)
def test_what_others_set_is_merged(name: str, ours: str, theirs: str, before: str, after: str) -> None:
    """As the policy's merge algorithm says: `before` we write again, and `after`."""
    agent = windows()
    agent.set_policy(name, ours, NOON)
    assert agent.policy(name) == ours
    agent.meddle(name, theirs, NOON)
    assert (agent.state.policies[name], agent.policy(name)) == (ours, before)
    agent.set_policy(name, ours, NOON)
    assert agent.policy(name) == after
    agent.unset_policy(name, NOON)
    assert agent.policy(name) == agent.state.foreign.get(name)


def test_a_policy_that_others_set_holds() -> None:
    """It stops installations like our own, and another policy of ours leaves it alone."""
    agent = windows(update(1))
    agent.meddle(REQUIRE_UPDATE_APPROVAL, "1", NOON)
    agent.set_policy("AllowAutoUpdate", "2", NOON)
    agent.advance(NOON)
    agent.advance(NOON + 2 * HOUR)
    assert lists(agent)["installable"] == [1]
