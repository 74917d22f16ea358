"""An iterator that runs ahead of who uses it, in a thread of its own and by a bounded number of items."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

__all__ = ["ahead"]

_ITEMS: Final = 2
"""Items made and not taken yet: a bound on memory."""
_PATIENCE: Final = 0.1
"""Seconds between two looks whether anybody still wants what is made."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Made(Generic[T]):
    item: T


@dataclass(frozen=True, slots=True)
class _Over:
    problem: BaseException | None


class _Maker(Generic[T]):
    def __init__(self, source: Iterable[T]) -> None:
        self.unwanted = threading.Event()
        self.made: queue.Queue[_Made[T] | _Over] = queue.Queue(_ITEMS)
        self._source = source

    def work(self) -> None:
        try:
            for item in self._source:
                self._put(_Made(item))
                if self.unwanted.is_set():
                    return
        except BaseException as problem:  # noqa: BLE001 - raised again in the thread that waits for the items
            self._put(_Over(problem))
        else:
            self._put(_Over(None))

    def _put(self, made: _Made[T] | _Over) -> None:
        while not self.unwanted.is_set():
            try:
                self.made.put(made, timeout=_PATIENCE)
            except queue.Full:
                continue
            return


def ahead(source: Iterable[T]) -> Generator[T]:
    """Yield what `source` yields, in order; what it raises is raised after all it has yielded.

    When the iterator is closed its thread ends after the item it is at, and is waited for.
    """
    maker = _Maker(source)
    thread = threading.Thread(target=maker.work, name="sync-fetch", daemon=True)
    thread.start()
    try:
        while isinstance(made := maker.made.get(), _Made):
            yield made.item
        if made.problem is not None:
            raise made.problem
    finally:
        maker.unwanted.set()
        thread.join()
