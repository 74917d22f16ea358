"""What a check-in costs the server, beside what it cannot do without: a commit, and reading the message."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Final

from sqlalchemy import update

from mdm.clock import utc_now
from mdm.lab.bench_bridge import bench_bridge
from mdm.lab.hostile import Peer, answer_lists, guids
from mdm.lab.tables import render_table
from mdm.storage.statements import table_of
from mdm.storage.tables import Device
from syncml.reader import read_message

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mdm.lab.bench_bridge import BenchBridge, Cost

__all__ = ["Figure", "render", "run"]

_device = table_of(Device)
_COMMIT: Final = "a commit that changes one row"


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: the middle of what was measured."""

    what: str
    cpu_ms: float
    commits: float
    """The same as a multiple of a bare commit in this run."""


def run(data_dir: Path, *, devices: int = 20, updates: int = 100) -> list[Figure]:
    """Let that many devices check in twice, with that many installable updates each, the same both times.

    `data_dir` must be empty or absent.
    """
    with bench_bridge(data_dir) as bridge:
        told = [_two_sessions(bridge, f"DEVICE-{number}", updates) for number in range(devices)]
        commit = median(_cpu_ms(lambda: _commit(bridge)) for _ in range(max(devices, 20)))
    reads = [[_cpu_ms(partial(read_message, body)) for body in each.bodies] for each in told]
    first, answer, again, same = zip(*(each.costs for each in told), strict=True)
    rows = {
        _COMMIT: [commit],
        "reading package 1": [each[0] for each in reads],
        "reading the answer with all lists": [each[1] for each in reads],
        "package 1": [*map(_ms, first), *map(_ms, again)],
        "the answer, every update new": [*map(_ms, answer)],
        "the answer, no update new": [*map(_ms, same)],
        "a session, every update new": [_ms(a) + _ms(b) for a, b in zip(first, answer, strict=True)],
        "a session, no update new": [_ms(a) + _ms(b) for a, b in zip(again, same, strict=True)],
    }
    return [Figure(what, median(values), median(values) / commit) for what, values in rows.items()]


@dataclass(frozen=True, slots=True)
class _Told:
    """What one device said: the messages of its first session, and the cost of those of both."""

    bodies: Sequence[bytes]
    costs: tuple[Cost, Cost, Cost, Cost]


def _two_sessions(bridge: BenchBridge, device_id: str, updates: int) -> _Told:
    bodies: list[bytes] = []

    def post(body: bytes) -> Cost:
        bodies.append(body)
        return bridge.post(body)

    peer = Peer(device_id, bridge.enrol(device_id), post)
    offered = guids(updates)
    for _ in range(2):
        peer.open()
        peer.send(answer_lists(peer, "InstallableUpdates", offered))
    first, again = peer.openings
    answer, same = peer.costs
    return _Told(bodies[:2], (first, answer, again, same))


def _commit(bridge: BenchBridge) -> None:
    with bridge.database.write() as connection:
        connection.execute(update(_device).where(_device.c.pk == 1).values(last_checkin_at=utc_now()))


def _cpu_ms(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return (time.process_time() - before) * 1000


def _ms(cost: Cost) -> float:
    return cost.cpu_ms


def render(figures: Sequence[Figure]) -> str:
    """The figures as a table."""
    return render_table(
        ("CPU ms", "COMMITS", "WHAT"),
        [(f"{each.cpu_ms:6.2f}", f"{each.commits:7.1f}", each.what) for each in figures],
    )
