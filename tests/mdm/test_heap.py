"""The heap after the start: what is there stays, and is not looked at again."""

from __future__ import annotations

import gc

from mdm.heap import YOUNG, settle_heap


def test_what_exists_is_left_out_of_collection() -> None:
    """Objects move out of the collector's sight; those made later are collected as ever."""
    before, threshold = gc.get_freeze_count(), gc.get_threshold()
    try:
        settle_heap()
        assert gc.get_freeze_count() > before
        assert gc.get_threshold() == (YOUNG, *threshold[1:])
        cycle: list[object] = []
        cycle.append(cycle)
        del cycle
        assert gc.collect() >= 1
    finally:
        gc.set_threshold(*threshold)
        if not before:
            gc.unfreeze()
