"""The server's table of phases: every pair of phase and event has its outcome."""

from __future__ import annotations

from typing import Final

import pytest

from syncml.errors import LocalProtocolError
from syncml.phases import OPEN_PHASES, TRANSITIONS, Event, Phase, fire

TABLE: Final = """
              unauthenticated exhausted more      abort   chunk   commands nothing
    new        challenged     refused   receiving aborted sending awaiting complete
    challenged challenged     refused   receiving aborted sending awaiting complete
    receiving  -              -         receiving aborted sending awaiting complete
    awaiting   -              -         receiving aborted sending awaiting complete
    sending    -              -         -         aborted sending awaiting complete
    complete   -              -         -         -       -       -        -
    aborted    -              -         -         -       -       -        -
    refused    -              -         -         -       -       -        -
"""


def cells(table: str) -> list[tuple[str, str, str]]:
    """(row, column, cell) of a table in text."""
    first, *rows = (line.split() for line in table.strip().splitlines())
    return [(row[0], column, cell) for row in rows for column, cell in zip(first, row[1:], strict=True)]


def test_the_table_names_every_phase_and_event() -> None:
    """Nothing is left out of the table above: each phase has a cell for each event."""
    assert {(phase, event) for phase, event, _ in cells(TABLE)} == {
        (phase.value, event.value) for phase in Phase for event in Event
    }
    assert set(TRANSITIONS) == set(Phase)


@pytest.mark.parametrize(("phase", "event", "after"), cells(TABLE))
def test_every_phase_and_event_has_its_outcome(phase: str, event: str, after: str) -> None:
    """Each pair leads where the table says, or is refused as our own mistake."""
    if after == "-":
        with pytest.raises(LocalProtocolError, match=f"phase {phase} cannot take {event}"):
            fire(Phase(phase), Event(event))
    else:
        assert fire(Phase(phase), Event(event)) is Phase(after)


def test_open_phases_are_those_that_go_on_without_credentials() -> None:
    """A phase is open exactly if it has successors and none of them is about credentials."""
    open_phases = {phase for phase, row in TRANSITIONS.items() if row and Event.UNAUTHENTICATED not in row}
    assert open_phases == OPEN_PHASES


def test_every_open_phase_can_end() -> None:
    """From each open phase the session can be completed and aborted: none is a trap."""
    for phase in OPEN_PHASES:
        assert {Phase.COMPLETE, Phase.ABORTED} <= set(TRANSITIONS[phase].values())
