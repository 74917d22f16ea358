"""The heap of a process that has started: what lives as long as the process is not looked at again."""

from __future__ import annotations

import gc
from typing import Final

__all__ = ["YOUNG", "settle_heap"]

YOUNG: Final = 10_000
"""Objects made before the youngest are looked at; a message of thousands of elements makes tens of thousands."""


def settle_heap() -> None:
    """Leave everything that exists now out of garbage collection; to be called once, when all parts are there.

    Modules, tables and routes are some hundred thousand objects. A message with thousands of elements makes
    the collector look for garbage among all objects, and most of its time would go there.
    """
    gc.collect()
    gc.freeze()
    # What is left to collect is small, so Python's own 700 would have all of it looked at every second large message.
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
