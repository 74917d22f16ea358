"""Messages of one device are processed one at a time, whoever processes them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING

from mdm.checkin.service import CheckIn
from mdm.storage.engine import Database
from syncml import client
from syncml.auth import make_cred
from syncml.reader import read_message
from syncml.writer import write_message

if TYPE_CHECKING:
    from conftest import Bench

    from syncml.messages import Message

TOGETHER = 6


def at_once(bench: Bench, database_url: str, message: Message) -> set[bytes]:
    """The replies when as many processes as threads, each with its own connections, get one message at once."""
    barrier = Barrier(TOGETHER)
    body = write_message(message)

    def post(_: int) -> bytes:
        database = Database(database_url)
        try:
            checkin = CheckIn(database, bench.secrets, bench.checkin.make_nonce)
            barrier.wait(30)
            return checkin.handle(body, bench.now, private=True)
        finally:
            database.close()

    with ThreadPoolExecutor(TOGETHER) as pool:
        return set(pool.map(post, range(TOGETHER)))


def test_one_message_many_times_at_once(bench: Bench, database_url: str) -> None:
    """A message that arrives several times at once has one effect and one answer, at every step of a session."""
    device = bench.enrol()
    device.installable = {"a317dafe-baf4-453f-b232-a7075efae36e": (1, 200)}
    bench.catalogue("a317dafe-baf4-453f-b232-a7075efae36e")
    bench.approve("a317dafe-baf4-453f-b232-a7075efae36e")
    message, state = client.begin(
        session_id="1",
        device_id="DEV1",
        server_uri="https://mdm.example.test/omadm",
        device_info={"./DevInfo/Man": "Contoso"},
        cred=make_cred(device.scheme, "user", "secret", device.nonce),
        username="user",
    )
    for exchange in range(1, 4):
        (reply,) = at_once(bench, database_url, message)
        assert len(bench.rows("dm_reply")) == exchange
        turn = client.receive(state, read_message(reply))
        if turn.commands:
            message, state = client.answer(turn, [device.carry_out(command) for command in turn.commands])
    assert turn.verdict is client.Verdict.END
    assert device.approved == ["a317dafe-baf4-453f-b232-a7075efae36e"]
    assert len([row for row in bench.rows("device_event") if row["kind"] == "approval_delivered"]) == 1
