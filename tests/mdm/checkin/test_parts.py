"""A package in many messages: what each brought is kept as it came, read once, and then gone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mdm.checkin.admission import SESSION_IDLE
from mdm.checkin.service import CheckIn
from mdm.storage.engine import Database
from syncml import client, session
from syncml.client import Outcome, Verdict
from syncml.messages import Alert, Item, Location, Meta, Results, Status
from syncml.reader import read_message
from syncml.writer import write_message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Bench, ScriptedDevice

    from syncml.client import ClientState, Turn
    from syncml.messages import Command, Message

GUIDS = [f"{n:08x}-0000-4000-8000-000000000000" for n in range(40)]
PARTS = 6


class Package:
    """A device's long answer, said part by part; each part is a message of its own with its own proof."""

    def __init__(self, device: ScriptedDevice, session_id: str = "1") -> None:
        """Begin a session, and have the answers to its queries ready."""
        self.device = device
        device.installable = dict.fromkeys(GUIDS, (1, 200))
        message, state = device.begin(session_id)
        self.turn: Turn = device.say(message, state)
        commands = device.answer(self.turn)[0].commands[1:]
        self.turn = replace(self.turn, commands=())
        pieces = list(divided(commands))
        size = -(-len(pieces) // PARTS)
        self.parts = [pieces[n : n + size] for n in range(0, len(pieces), size)]
        assert len(self.parts) == PARTS

    def write(self, commands: list[Command], *, final: bool) -> tuple[Message, ClientState]:
        """The next message of the package."""
        return self.device.answer(self.turn, [], more=commands, final=final)

    def say(self, *, final: bool = False) -> Turn:
        """Send the next part."""
        self.turn = self.device.say(*self.write(self.parts.pop(0), final=final))
        return self.turn

    def say_all(self) -> Turn:
        """Send what is left."""
        while len(self.parts) > 1:
            assert self.say().verdict is Verdict.NEXT
        return self.say(final=True)


def divided(commands: tuple[Command, ...]) -> Iterator[Command]:
    """The same commands, with Results of many items in several Results."""
    for command in commands:
        if isinstance(command, Results):
            for n in range(0, len(command.items), 10):
                yield replace(command, items=command.items[n : n + 10])
        else:
            yield command


def kept(bench: Bench) -> list[dict[str, Any]]:
    """The rows of parts."""
    return bench.rows("dm_part", "msg_id")


def known(bench: Bench) -> list[str]:
    """The updates the bridge knows of."""
    return [row["update_id"] for row in bench.rows("device_update", "update_id")]


def test_each_message_appends_one_row_and_final_reads_them_all(bench: Bench) -> None:
    """What is kept is not written again with each message; the lists count once the package is complete."""
    package = Package(bench.enrol())
    rows: list[dict[str, Any]] = []
    for n in range(1, PARTS):
        assert package.say().verdict is Verdict.NEXT
        assert kept(bench)[:-1] == rows
        rows = kept(bench)
        assert [row["msg_id"] for row in rows] == list(range(2, n + 2))
        assert known(bench) == []
    assert package.say(final=True).verdict is Verdict.END
    assert kept(bench) == []
    assert known(bench) == GUIDS


def test_the_session_row_does_not_grow(bench: Bench) -> None:
    """Its state is rewritten with each message, so what the package brought is not in it."""
    package = Package(bench.enrol())
    sizes = []
    while len(package.parts) > 1:
        package.say()
        sizes.append(len(str(bench.rows("dm_session")[0]["state"])))
    assert max(sizes) - min(sizes) < 100
    assert GUIDS[0] not in str(bench.rows("dm_session")[0]["state"])


def test_a_repeated_part_is_kept_once(bench: Bench) -> None:
    """The same bytes again, between two parts: the stored reply, and not a row more."""
    device = bench.enrol()
    package = Package(device)
    package.say()
    message, state = package.write(package.parts.pop(0), final=False)
    reply = device.post(message)
    before = bench.dump()
    assert bench.send(write_message(message)) == reply
    assert bench.dump() == before
    package.turn = device.hear(state, reply)
    assert package.say_all().verdict is Verdict.END
    assert known(bench) == GUIDS


def test_a_part_that_proves_nothing_is_not_kept(bench: Bench) -> None:
    """Left out once, the proof is asked for, and the part comes again under its own number."""
    device = bench.enrol()
    package = Package(device)
    package.say()
    before = bench.dump()
    device.proving = False
    message, state = package.write(package.parts.pop(0), final=False)
    turn = device.say(message, state)
    assert turn.verdict is Verdict.CHALLENGED
    assert bench.dump() == before
    device.proving = True
    package.turn = device.say(*client.retry(turn, device.cred(), "user"))
    assert package.turn.verdict is Verdict.NEXT
    assert len(kept(bench)) == 2
    assert package.say_all().verdict is Verdict.END
    assert known(bench) == GUIDS


def test_a_killed_process_loses_nothing(bench: Bench, database_url: str) -> None:
    """Each part is committed before its reply goes: any process goes on with the package."""
    package = Package(bench.enrol())
    while len(package.parts) > 1:
        bench.database.close()  # what the process knew is gone
        bench.database = Database(database_url)
        bench.checkin = CheckIn(bench.database, bench.secrets, bench.checkin.make_nonce)
        assert package.say().verdict is Verdict.NEXT
    assert package.say(final=True).verdict is Verdict.END
    assert kept(bench) == []
    assert known(bench) == GUIDS
    bench.database.close()


def test_an_abort_forgets_them(bench: Bench) -> None:
    """Half a list must not pass for the list: Alert 1223 ends the session, and what was known stays."""
    device = bench.enrol()
    device.installable = {GUIDS[0]: (1, 200)}
    device.check_in()
    package = Package(device, "7")
    package.say()
    package.say()
    assert len(kept(bench)) == 2
    device.post(package.write([Alert(cmd_id="", data="1223")], final=False)[0])
    assert kept(bench) == []
    assert known(bench) == GUIDS[:1]
    assert bench.rows("dm_session")[0]["open"] is False


@pytest.mark.parametrize("after", [timedelta(), SESSION_IDLE], ids=["at once", "idle"])
def test_a_new_session_forgets_them(bench: Bench, after: timedelta) -> None:
    """A device that begins anew in the middle of a package says it all again."""
    device = bench.enrol()
    package = Package(device)
    package.say()
    package.say()
    bench.now += after
    device.installable = {GUIDS[1]: (1, 200)}
    message, state = device.begin("2")
    turn = device.say(message, state)
    assert kept(bench) == []
    assert device.say(*device.answer(turn)).verdict is Verdict.END
    assert known(bench) == [GUIDS[1]]


def test_too_much_ends_the_session_and_is_forgotten(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package without end is bounded: the reply is an abort, and nothing of it stays or counts."""
    monkeypatch.setattr(session, "MAX_HELD_CHARS", 12_000)
    package = Package(bench.enrol())
    verdicts = []
    for _ in range(PARTS - 1):
        verdicts.append(package.say().verdict)
        if verdicts[-1] is Verdict.ABORTED:
            break
        assert len(kept(bench)) == len(verdicts)
    assert verdicts[-1] is Verdict.ABORTED
    assert len(verdicts) > 1
    assert kept(bench) == []
    assert known(bench) == []
    assert bench.rows("dm_session")[0]["open"] is False
    monkeypatch.undo()
    package.device.sessions = 1
    assert package.device.check_in() is Verdict.END
    assert known(bench) == GUIDS


def test_a_message_of_statuses_keeps_no_row(bench: Bench) -> None:
    """Only what a message brought is kept: a part without Results has nothing to keep."""
    device = bench.enrol()
    message, state = device.begin()
    turn = device.say(message, state)
    statuses = device.answer(turn, [Outcome(404)] * len(turn.commands))[0].commands[1:]
    turn = device.say(*device.answer(replace(turn, commands=()), [], more=statuses, final=False))
    assert turn.verdict is Verdict.NEXT
    assert kept(bench) == []
    assert device.say(*device.answer(turn, [], final=True)).verdict is Verdict.END


def test_while_final_has_not_come_no_command_is_sent(bench: Bench) -> None:
    """Status and Alert 1222 without Final: the device goes on (DM_Protocol 6)."""
    package = Package(bench.enrol())
    reply = read_message(package.device.post(package.write(package.parts[0], final=False)[0]).body)
    assert not reply.final
    assert [type(command) for command in reply.commands] == [Status, Alert]


def test_chunks_of_one_value_over_several_messages(bench: Bench) -> None:
    """A large object of the device's arrives in pieces, and its value is the whole."""
    device = bench.enrol()
    message, state = device.begin()
    turn = device.say(message, state)
    first = next(c for c in device.answer(turn)[0].commands if isinstance(c, Results))
    names = "/".join(GUIDS)
    uri = "./Vendor/MSFT/Update/InstallableUpdates"
    status = Status("", turn.server_msg_id, first.cmd_ref or "", "Get", "200")
    turn = replace(turn, commands=())
    cuts = [names[n : n + 400] for n in range(0, len(names), 400)]
    for n, cut in enumerate(cuts):
        last = n == len(cuts) - 1
        item = Item(
            source=Location(uri),
            meta=Meta(size=len(names)) if n == 0 else None,
            data=cut,
            more_data=not last,
        )
        piece = replace(first, cmd_id="", items=(item,))
        more = [status, piece] if n == 0 else [piece]
        turn = device.say(*device.answer(turn, [], more=more, final=last))
    assert kept(bench) == []
    assert known(bench) == GUIDS
