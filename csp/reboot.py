"""The tree `./Vendor/MSFT/Reboot` as data, and what its schedules may be set to.

Sources: the DDF of the Reboot CSP, and its page of 2025-03-12, which asks for date and time in all three
schedules and names Windows 11 24H2 for the weekly one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from csp.errors import InvalidValue, quoted
from csp.tree import Access, Node, Occurrence, Scope, validate_value
from csp.values import Moment

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["REBOOT_TREE", "schedule_uri", "validate", "validate_together"]

_ROOT: Final = "./Device/Vendor/MSFT/Reboot"
_SCHEDULE: Final = f"{_ROOT}/Schedule"
_SINCE: Final = "1607"
_WRITABLE: Final = Access.ADD | Access.DELETE | Access.GET | Access.REPLACE


def _permanent(path: str, format_: str, access: Access, description: str) -> Node:
    return Node(path, format_, access, Occurrence.ONE, Scope.PERMANENT, _SINCE, None, description)


def _schedule(name: str, since: str, description: str) -> Node:
    return Node(
        f"{_SCHEDULE}/{name}",
        "chr",
        _WRITABLE,
        Occurrence.ONE,
        Scope.DYNAMIC,
        since,
        None,
        description,
        allowed=Moment(),
    )


_SCHEDULES: Final = (
    _schedule("Single", _SINCE, "Date and time of one restart; empty takes it back."),
    _schedule(
        "DailyRecurrent", _SINCE, "Date and time from which the device restarts every day; empty ends it."
    ),
    _schedule(
        "WeeklyRecurrent",
        "W11 24H2",
        "Date and time from which the device restarts every week; empty ends it.",
    ),
)

REBOOT_TREE: Final[tuple[Node, ...]] = (
    _permanent(_ROOT, "node", Access.GET, "Restarting the device, now or by a schedule."),
    _permanent(
        f"{_ROOT}/RebootNow",
        "null",
        Access.EXEC | Access.GET,
        "Restarts the device within five minutes of the end of the session.",
    ),
    _permanent(_SCHEDULE, "node", Access.GET, "Restarts at set times."),
    *_SCHEDULES,
)
"""Parents before their children."""

_BY_NAME: Final = {node.name: node for node in _SCHEDULES}


def _named(name: str) -> Node:
    node = _BY_NAME.get(name)
    if node is None:
        raise InvalidValue(f"{quoted(name)} is not a restart schedule.")
    return node


def schedule_uri(name: str) -> str:
    """Where a schedule is written.

    Raises InvalidValue for a name other than `Single`, `DailyRecurrent` and `WeeklyRecurrent`.
    """
    return _named(name).path


def validate(name: str, value: str) -> None:
    """Pass if the schedule may have this value; otherwise InvalidValue says in one sentence what is wrong."""
    validate_value(_named(name), value)


def validate_together(values: Mapping[str, str]) -> tuple[str, ...]:
    """One sentence for each way in which these schedules contradict one another; an empty value is none."""
    if values.get("DailyRecurrent") and values.get("WeeklyRecurrent"):
        return ("DailyRecurrent and WeeklyRecurrent cannot be set at the same time.",)
    return ()
