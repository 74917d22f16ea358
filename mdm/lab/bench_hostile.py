"""What the worst messages cost the server, beside the promise: 50 ms of CPU time and 16 MiB each, and no HTTP 5xx."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mdm.lab.bench_bridge import bench_bridge, yardstick
from mdm.lab.hostile import ATTACKS, Peer
from mdm.lab.tables import render_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from mdm.lab.bench_bridge import BenchBridge, Cost
    from mdm.lab.hostile import Attack

__all__ = ["CPU_MS", "MEMORY_MIB", "Figure", "Figures", "render", "run"]

CPU_MS: Final = 50.0
"""Milliseconds of CPU time that no message may exceed, on a machine that does nothing else."""
MEMORY_MIB: Final = 16.0
"""MiB that no message may exceed, itself included."""
_SERVER_ERRORS: Final = 500


@dataclass(frozen=True, slots=True)
class Figure:
    """The dearest message of one attack."""

    kind: str
    name: str
    cpu_ms: float
    peak_mib: float
    http: int

    @property
    def holds(self) -> bool:
        """Whether the promise is kept."""
        return self.cpu_ms <= CPU_MS and self.peak_mib <= MEMORY_MIB and self.http < _SERVER_ERRORS


@dataclass(frozen=True, slots=True)
class Figures:
    """All of them, with the speed of the machine before and after."""

    yardstick_ms: tuple[float, float]
    rows: tuple[Figure, ...]


def run(
    data_dir: Path,
    *,
    rounds: int = 5,
    attacks: Sequence[Attack] = ATTACKS,
    progress: Callable[[str], object] = lambda _name: None,
) -> Figures:
    """Make each attack `rounds` times for its CPU time, of which the best counts, and once for its memory.

    Each time a device of its own attacks. `data_dir` must be empty or absent.
    """
    before = yardstick()
    rows: list[Figure] = []
    with bench_bridge(data_dir) as bridge:
        for number, attack in enumerate(attacks):
            progress(attack.name)
            names = (f"ATTACKER-{number}-{turn}" for turn in range(rounds + 1))
            weight = max(cost.peak_mib for cost in _costs(bridge, attack, next(names), bridge.weigh))
            dearest = [_dearest(_costs(bridge, attack, name, bridge.post)) for name in names]
            best = min(dearest, key=lambda cost: cost.cpu_ms)
            http = max(cost.http for cost in dearest)
            rows.append(Figure(attack.kind, attack.name, best.cpu_ms, weight, http))
    return Figures((before, yardstick()), tuple(rows))


def _costs(bridge: BenchBridge, attack: Attack, device_id: str, post: Callable[[bytes], Cost]) -> list[Cost]:
    peer = Peer(device_id, bridge.enrol(device_id), post)
    attack.act(peer)
    return peer.costs


def _dearest(costs: Sequence[Cost]) -> Cost:
    return max(costs, key=lambda cost: cost.cpu_ms)


def render(figures: Figures) -> str:
    """The figures as a table, with what is left to the bound; what breaks the promise is marked."""
    return "\n".join(_lines(figures))


def _lines(figures: Figures) -> Iterator[str]:
    yield render_table(
        ("CPU ms", "LEFT", "MiB", "LEFT", "HTTP", "", "KIND", "MESSAGE"),
        [
            (
                f"{row.cpu_ms:6.1f}",
                f"{CPU_MS - row.cpu_ms:6.1f}",
                f"{row.peak_mib:5.1f}",
                f"{MEMORY_MIB - row.peak_mib:5.1f}",
                str(row.http),
                "" if row.holds else "BROKEN",
                row.kind,
                row.name,
            )
            for row in figures.rows
        ],
    )
    broken = sum(not row.holds for row in figures.rows)
    before, after = figures.yardstick_ms
    yield ""
    yield (
        f"{len(figures.rows) - broken} of {len(figures.rows)} attacks stay within {CPU_MS:g} ms of CPU time, "
        f"{MEMORY_MIB:g} MiB and HTTP below 500."
    )
    yield f"A fixed piece of work took {before:.1f} ms before and {after:.1f} ms after: less is a quieter machine."
