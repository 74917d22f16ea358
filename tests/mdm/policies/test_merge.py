"""Of several values for a policy one wins, in a fixed order, and the others are named."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csp.policy import POLICIES
from mdm.policies.merge import Assigned, Claim, Wanted, merge

if TYPE_CHECKING:
    from random import Random

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
AUTO = "AllowAutoUpdate"
DEFER = "DeferQualityUpdatesPeriodInDays"
PAUSE = "PauseQualityUpdatesStartTime"


def profile(
    number: int, settings: dict[str, str], *, rank: int = 10, group: str = "g", repair: bool = True
) -> Assigned:
    """A profile that is for the device."""
    return Assigned(f"prf_{number}", f"Profile {number}", rank, group, settings, repair)


def claim(number: int, value: str, *, rank: int = 10, group: str = "g", repair: bool = True) -> Claim:
    """What such a profile claims."""
    return Claim(value, f"prf_{number}", repair, f"Profile {number}", rank, group)


def test_without_profiles_nothing_is_wanted() -> None:
    """And nothing changes by time."""
    merged = merge([], NOW)
    assert (merged.winners, merged.losers, merged.conflicts, merged.problems, merged.until) == (
        {},
        {},
        (),
        (),
        None,
    )


def test_the_lower_rank_wins_each_policy_on_its_own() -> None:
    """A profile that wins one policy may lose another; who loses with the same value is no conflict."""
    merged = merge(
        [
            profile(1, {AUTO: "1", DEFER: "3"}, rank=20),
            profile(2, {AUTO: "2"}, rank=10),
            profile(3, {DEFER: "3"}, rank=30),
        ],
        NOW,
    )
    assert merged.winners == {AUTO: claim(2, "2"), DEFER: claim(1, "3", rank=20)}
    assert merged.losers == {AUTO: (claim(1, "1", rank=20),), DEFER: (claim(3, "3", rank=30),)}
    assert merged.conflicts == (AUTO,)
    assert merged.ties == ()
    assert merged.values == {AUTO: "2", DEFER: "3"}


def test_equal_ranks_are_told_as_a_tie() -> None:
    """The id decides, so that every node and every day comes to the same; and IT is told that no rank did."""
    merged = merge([profile(2, {AUTO: "2", DEFER: "1"}), profile(1, {AUTO: "1", DEFER: "1"})], NOW)
    assert merged.winners == {AUTO: claim(1, "1"), DEFER: claim(1, "1")}
    assert merged.conflicts == merged.ties == (AUTO,)


def test_a_profile_for_several_groups_counts_once_with_its_best_rank() -> None:
    """It neither loses to itself nor conflicts with itself."""
    settings = {AUTO: "2"}
    merged = merge([profile(1, settings, rank=9, group="b"), profile(1, settings, rank=5, group="c")], NOW)
    assert merged.winners == {AUTO: claim(1, "2", rank=5, group="c")}
    assert merged.losers == {}


def test_what_must_hold_wins_over_profiles_and_what_fills_gaps_loses() -> None:
    """Approvals and rollbacks above, the schedule of windows below."""
    merged = merge(
        [profile(1, {AUTO: "1"}, rank=0)],
        NOW,
        above={AUTO: Wanted("2", "approvals")},
        below={AUTO: Wanted("3", "win_1"), "ScheduledInstallDay": Wanted("1", "win_1")},
    )
    assert merged.winners == {
        AUTO: Claim("2", "approvals"),
        "ScheduledInstallDay": Claim("1", "win_1"),
    }
    assert merged.losers == {AUTO: (claim(1, "1", rank=0), Claim("3", "win_1"))}
    assert merged.conflicts == (AUTO,)
    assert merged.ties == ()


def test_the_result_is_checked_as_a_set() -> None:
    """Two profiles that are each right can be wrong together."""
    merged = merge(
        [
            profile(1, {AUTO: "3", "ScheduledInstallDay": "7"}, rank=20),
            profile(2, {AUTO: "2"}, rank=10),
        ],
        NOW,
    )
    assert merged.problems == ("ScheduledInstallDay has no effect unless AllowAutoUpdate is 3 or 4.",)


def test_a_pause_is_wanted_until_it_is_over() -> None:
    """Then the policy is nobody's, or that of a later pause; `until` tells when."""
    assigned = [profile(1, {PAUSE: "2026-11-01"}, rank=1), profile(2, {PAUSE: "2026-11-20"}, rank=2)]
    first = merge(assigned, NOW)
    assert first.values == {PAUSE: "2026-11-01"}
    assert first.until == datetime(2026, 12, 6, 12, 0, tzinfo=UTC)
    second = merge(assigned, first.until)
    assert second.values == {PAUSE: "2026-11-20"}
    assert second.until == datetime(2026, 12, 25, 12, 0, tzinfo=UTC)
    assert merge(assigned, second.until).winners == {}
    assert merge(assigned, second.until - timedelta(microseconds=1)).winners != {}


def test_a_pause_from_elsewhere_is_over_when_its_owner_says_so() -> None:
    """A rollback takes back its own pause; the merge does not."""
    merged = merge([], NOW, above={PAUSE: Wanted("2020-01-01", "rbk_1")})
    assert merged.values == {PAUSE: "2020-01-01"}
    assert merged.until is None


def test_a_policy_of_a_newer_release_is_left_out() -> None:
    """After a downgrade a profile may hold names that cannot be sent."""
    assert merge([profile(1, {"NotYetKnown": "1", AUTO: "1"})], NOW).values == {AUTO: "1"}


names = st.sampled_from(sorted(POLICIES)[:5])
settings_of = st.fixed_dictionaries(
    {
        profile_id: st.dictionaries(names, st.sampled_from(["0", "1"]))
        for profile_id in ("prf_1", "prf_2", "prf_3")
    }
)
places = st.lists(
    st.tuples(st.sampled_from(["prf_1", "prf_2", "prf_3"]), st.sampled_from(["a", "b"]), st.integers(0, 2)),
    max_size=6,
    unique_by=lambda each: each[:2],
)
profiles = st.builds(
    lambda settings, places: [
        Assigned(profile_id, "P", rank, group, settings[profile_id], repair=True)
        for profile_id, group, rank in places
    ],
    settings_of,
    places,
)


@given(profiles, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(assigned: list[Assigned], random: Random) -> None:
    """The database may return them in any."""
    expected = merge(assigned, NOW)
    random.shuffle(assigned)
    assert merge(assigned, NOW) == expected


@given(profiles)
def test_nobody_is_lost(assigned: list[Assigned]) -> None:
    """Each profile stands once with each policy it sets, as winner or loser, and no loser has a better rank."""
    merged = merge(assigned, NOW)
    for name, winner in merged.winners.items():
        claims = [winner, *merged.losers.get(name, ())]
        sources = [each.source for each in claims]
        assert len(set(sources)) == len(sources)
        assert all(
            winner.rank is not None and each.rank is not None and winner.rank <= each.rank for each in claims
        )
    for each in assigned:
        for name in each.settings:
            claims = [merged.winners[name], *merged.losers.get(name, ())]
            (own,) = [claim for claim in claims if claim.source == each.profile_id]
            assert own.rank is not None
            assert own.rank <= each.rank


@pytest.mark.parametrize("repair", [True, False])
def test_what_to_do_about_drift_comes_from_the_winner(repair: bool) -> None:  # noqa: FBT001 - a case
    """The losers' wishes do not count."""
    merged = merge(
        [profile(1, {AUTO: "1"}, repair=repair), profile(2, {AUTO: "1"}, rank=11, repair=not repair)], NOW
    )
    assert merged.winners[AUTO].repair is repair
