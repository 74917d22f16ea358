"""The search benchmark: it asks what administrators ask, of rows like real ones, and counts honestly."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from mdm.lab.bench_search import QUESTIONS, run

if TYPE_CHECKING:
    from mdm.storage.engine import Database


def test_every_question_is_measured(database: Database) -> None:
    """With a clock that ticks evenly every answer takes one tick; a small catalogue answers most questions."""
    ticks = count()
    done: list[int] = []
    figures = run(database, 1500, rounds=2, clock=lambda: next(ticks) / 1000, progress=done.append)
    assert [figure.question for figure in figures] == [*QUESTIONS, "all"]
    assert {(round(each.p50, 6), round(each.p95, 6), round(each.worst, 6)) for each in figures} == {(1, 1, 1)}
    assert [figure.asked for figure in figures] == [2] * len(QUESTIONS) + [2 * len(QUESTIONS)]
    assert done == [1000, 1500]
    rows = {figure.question: figure.rows for figure in figures}
    assert rows["first page"] == rows["superseded"] == rows["not superseded"] == 50
    assert rows["the beginning of a word"] == rows["one word"] == 50
    assert rows["expired"] == 30
    assert rows["a word nobody wrote"] == 0
    assert 0 < rows["needed, words"] <= rows["needed"]
