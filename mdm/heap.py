"""The heap of a process that has started: what lives as long as the process is not looked at again."""

from __future__ import annotations

import gc

__all__ = ["settle_heap"]


def settle_heap() -> None:
    """Leave everything that exists now out of garbage collection; to be called once, when all parts are there.

    Modules, tables and routes are some hundred thousand objects. A message with thousands of elements makes
    the collector look for garbage among all objects, and most of its time would go there.
    """
    gc.collect()
    gc.freeze()
