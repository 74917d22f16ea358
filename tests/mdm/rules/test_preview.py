"""Previews of rules: counts, the newest of what matches, and of what does not and why."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Desk


def test_what_is_shown(desk: Desk) -> None:
    """Fifty of each at most, of misses only those of the last 90 days; the counts are of all."""
    for number in range(55):
        desk.put(f"Good {number}", days=number)
        desk.put(f"Bad {number}", days=60 + number, kb_all=["2", "1"])
    desk.put("Bad undated", days=None)
    before = desk.bench.dump()
    preview = desk.preview(desk.definition())
    assert desk.bench.dump() == before
    assert (preview.of, preview.outcomes) == (111, {"approved": 55, "not_matched": 56})
    assert preview.recent_since == desk.bench.now - timedelta(days=90)
    assert preview.recent_outcomes == {"approved": 55, "not_matched": 31}
    assert [each.title for each in preview.matched] == [f"Good {number}" for number in range(50)]
    assert [each.title for each in preview.not_matched] == [f"Bad {number}" for number in range(31)]
    miss = preview.not_matched[0]
    assert (miss.kb, miss.reason, miss.would_have_matched_on) == (("1", "2"), 'Its title is "Bad 0".', None)


def test_what_only_its_age_keeps_out_says_when_it_was_in(desk: Desk) -> None:
    """A rule that runs daily would have caught it then."""
    desk.put("Good one", days=40.5)
    desk.put("Bad one", days=40)
    preview = desk.preview(
        desk.definition({"all": [{"title": "good*"}, {"age_days": {"min": 3, "max": 10}}]})
    )
    found = {each.title: each.would_have_matched_on for each in preview.not_matched}
    assert found == {"Good one": desk.bench.now - timedelta(days=37.5), "Bad one": None}
    early = desk.preview(desk.definition({"age_days": {"min": 60}}))
    assert [each.would_have_matched_on for each in early.not_matched] == [None, None]
