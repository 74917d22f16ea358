"""`csp-bridge enrol schedule`: when enrolled devices come by themselves, and the load that means."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, Final

from mdm.commands.base import add_data_dir, open_database, prepare_schema, settings_of
from mdm.enrolment.poll_schedule import PollSchedule
from mdm.enrolment.terms import enrolled_devices

if TYPE_CHECKING:
    from collections.abc import Callable

    from mdm.settings import Settings

__all__ = ["add_kind"]

_MAX_DEVICES: Final = 10_000_000
_MAX_WAVE: Final = 1_000_000


def add_kind(kinds: Any) -> None:
    """Add `schedule` beside the other kinds of `enrol`."""
    parser = kinds.add_parser("schedule", help="say when devices come by themselves, and the load that means")
    add_data_dir(parser)
    parser.add_argument(
        "--devices",
        type=_number(_MAX_DEVICES),
        metavar="N",
        help="devices to reckon with (those that are enrolled now)",
    )
    parser.add_argument(
        "--at-a-time",
        type=_number(_MAX_WAVE),
        default=100,
        metavar="N",
        help="devices enrolled at the same time (100)",
    )
    parser.set_defaults(func=_show)


def _show(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    schedule = PollSchedule.parse(settings.poll_schedule)
    load = schedule.load(_enrolled(settings) if args.devices is None else args.devices)
    fleet, newcomers = load.sentences(args.at_a_time)
    sys.stdout.write(
        f"schedule     {schedule} (BRIDGE_POLL_SCHEDULE)\n"
        f"means        {_in_words(schedule)}\n"
        f"in the end   {fleet}\n"
        f"at first     {newcomers}\n\n"
        "Devices also come when somebody signs in. Those that are enrolled get a changed\nschedule in their next session.\n"
    )
    return 0


def _enrolled(settings: Settings) -> int:
    with open_database(settings) as database:
        prepare_schema(database)
        with database.read() as conn:
            return enrolled_devices(conn)


def _in_words(schedule: PollSchedule) -> str:
    sets = [(schedule.first_count, schedule.first_minutes), (schedule.second_count, schedule.second_minutes)]
    quick = [f"{_times(count)} every {_minutes(each)}" for count, each in sets if count]
    return f"{', then '.join(quick)}, then every {_minutes(schedule.minutes)} for ever"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _minutes(number: int) -> str:
    return "minute" if number == 1 else f"{number:,} minutes"


def _number(most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not 1 <= int(text[:10]) <= most:
            raise argparse.ArgumentTypeError(f"it is a whole number from 1 to {most}")
        return int(text)

    return read
