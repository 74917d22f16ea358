"""docs/state-machine.md shows the tables the code runs by; `--write` as an argument of this file renews it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from syncml import client, phases

if TYPE_CHECKING:
    from collections.abc import Mapping
    from enum import StrEnum

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "state-machine.md"


def diagram(transitions: Mapping[Any, Mapping[Any, Any]]) -> str:
    """A Mermaid state diagram: the first phase begins, those without successors end, events share their arrow."""
    lines = ["stateDiagram-v2", f"    [*] --> {next(iter(transitions))}"]
    for phase, row in transitions.items():
        arrows: dict[StrEnum, list[str]] = {}
        for event, after in row.items():
            arrows.setdefault(after, []).append(event.value)
        lines += [f"    {phase} --> {after}: {', '.join(events)}" for after, events in arrows.items()]
        if not row:
            lines.append(f"    {phase} --> [*]")
    return "\n".join(lines)


def renewed(document: str) -> str:
    """The document with both diagrams drawn anew; each stands between a begin and an end comment."""
    for name, transitions in (("server", phases.TRANSITIONS), ("client", client.TRANSITIONS)):
        before, begin, rest = document.partition(f"<!-- begin {name} -->\n")
        _, end, after = rest.partition(f"<!-- end {name} -->\n")
        assert begin, f"no place for the diagram of the {name}"
        assert end, f"the diagram of the {name} has no end"
        document = f"{before}{begin}```mermaid\n{diagram(transitions)}\n```\n{end}{after}"
    return document


def test_the_diagrams_are_those_of_the_tables() -> None:
    """The document is what it would be if it were drawn now; renew it by running this file with `--write`."""
    document = DOCUMENT.read_text(encoding="utf-8")
    assert document == renewed(document)


def test_every_transition_is_drawn() -> None:
    """Each (phase, event) of either table is on exactly one arrow."""
    for transitions in (phases.TRANSITIONS, client.TRANSITIONS):
        drawn = []
        for line in diagram(transitions).splitlines():
            arrow, _, events = line.strip().partition(": ")
            phase, _, after = arrow.partition(" --> ")
            drawn += [(phase, event, after) for event in events.split(", ") if event]
        assert sorted(drawn) == sorted(
            (phase.value, event.value, after.value)
            for phase, row in transitions.items()
            for event, after in row.items()
        )


def test_every_name_is_explained() -> None:
    """The document has a line for each phase, event and verdict."""
    document = DOCUMENT.read_text(encoding="utf-8")
    names = (phases.Phase, phases.Event, client.ClientPhase, client.Verdict)
    missing = [name.value for group in names for name in group if f"| `{name.value}` |" not in document]
    assert missing == []


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    DOCUMENT.write_text(renewed(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
