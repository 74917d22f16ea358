"""The server's side of a session as a table: which phase follows which, by what happened.

    phase        what the server waits for
    -----        -------------------------
    NEW          package 1
    CHALLENGED   package 1 again, with credentials
    RECEIVING    the rest of a package whose Final has not come yet
    AWAITING     the answers to the commands of our last package
    SENDING      leave to send the next chunk of a large object of ours
    COMPLETE     nothing: our last package had no command, so the device sends no more (MS-MDM 2.2.6.1)
    ABORTED      nothing: one side sent Alert 1223
    REFUSED      nothing: too many wrong credentials

Sources: OMA-TS-DM_Protocol V1_2_1 chapters 6, 8 and 9.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from syncml.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["OPEN_PHASES", "TRANSITIONS", "Event", "Phase", "fire"]


class Phase(StrEnum):
    """What the server waits for; the module's docstring has the table in words."""

    NEW = "new"
    CHALLENGED = "challenged"
    RECEIVING = "receiving"
    AWAITING = "awaiting"
    SENDING = "sending"
    COMPLETE = "complete"
    ABORTED = "aborted"
    REFUSED = "refused"


class Event(StrEnum):
    """What a device message, and the service's wish to speak, amount to."""

    UNAUTHENTICATED = "unauthenticated"
    """Credentials missing or wrong, and the device may try again."""
    EXHAUSTED = "exhausted"
    """Credentials wrong, and the device has had its tries."""
    MORE = "more"
    """The package goes on: no Final."""
    ABORT = "abort"
    """The device sent Alert 1223, or sent more than we keep."""
    CHUNK = "chunk"
    """An object of ours is too large for what is left of the message, and goes on in the next."""
    COMMANDS = "commands"
    """The package is complete and the service has commands."""
    NOTHING = "nothing"
    """The package is complete and the service has none."""


_UNAUTHENTICATED: Final[dict[Event, Phase]] = {
    Event.UNAUTHENTICATED: Phase.CHALLENGED,
    Event.EXHAUSTED: Phase.REFUSED,
}
_SPEAKING: Final[dict[Event, Phase]] = {
    Event.ABORT: Phase.ABORTED,
    Event.CHUNK: Phase.SENDING,
    Event.COMMANDS: Phase.AWAITING,
    Event.NOTHING: Phase.COMPLETE,
}
_AUTHENTICATED: Final[dict[Event, Phase]] = {Event.MORE: Phase.RECEIVING, **_SPEAKING}

TRANSITIONS: Final[Mapping[Phase, Mapping[Event, Phase]]] = {
    Phase.NEW: {**_UNAUTHENTICATED, **_AUTHENTICATED},
    Phase.CHALLENGED: {**_UNAUTHENTICATED, **_AUTHENTICATED},
    Phase.RECEIVING: _AUTHENTICATED,
    Phase.AWAITING: _AUTHENTICATED,
    Phase.SENDING: _SPEAKING,
    Phase.COMPLETE: {},
    Phase.ABORTED: {},
    Phase.REFUSED: {},
}
"""The whole machine: a pair that is not listed is a `LocalProtocolError`."""

OPEN_PHASES: Final = frozenset({Phase.RECEIVING, Phase.AWAITING, Phase.SENDING})
"""Phases in which a message may go on with the session."""


def fire(phase: Phase, event: Event) -> Phase:
    """The next phase; LocalProtocolError when the table has no such transition."""
    try:
        return TRANSITIONS[phase][event]
    except KeyError:
        raise LocalProtocolError(f"a session in phase {phase} cannot take {event}") from None
