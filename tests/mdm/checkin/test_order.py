"""Messages of one device are processed one at a time, whoever processes them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING

import pytest

from mdm.checkin.delivery import Delivery
from mdm.checkin.service import CheckIn
from mdm.storage.engine import Database
from syncml.auth import MAC, MD5
from syncml.client import Verdict
from syncml.writer import write_message

if TYPE_CHECKING:
    from conftest import Bench

    from mdm.checkin.delivery import Reply

A = "a317dafe-baf4-453f-b232-a7075efae36e"
TOGETHER = 6


def at_once(bench: Bench, database_url: str, body: bytes, mac: str | None) -> set[Reply]:
    """The replies when as many processes as threads, each with its own connections, get one message at once."""
    barrier = Barrier(TOGETHER)

    def post(_: int) -> Reply:
        database = Database(database_url)
        try:
            checkin = CheckIn(database, bench.secrets, bench.checkin.make_nonce)
            barrier.wait(30)
            return checkin.handle(Delivery(body, True, bench.remote_addr, mac), bench.now)
        finally:
            database.close()

    with ThreadPoolExecutor(TOGETHER) as pool:
        return set(pool.map(post, range(TOGETHER)))


@pytest.mark.parametrize("scheme", [MD5, MAC])
def test_one_message_many_times_at_once(bench: Bench, database_url: str, scheme: str) -> None:
    """A message that arrives several times at once has one effect and one answer, at every step of a session."""
    device = bench.enrol(scheme=scheme, server_auth=scheme)
    device.installable = {A: (1, 200)}
    bench.catalogue(A)
    bench.approve(A)
    message, state = device.begin()
    for exchange in range(1, 4):
        body = write_message(message)
        (reply,) = at_once(bench, database_url, body, device.mac(body))
        assert len(bench.rows("dm_reply")) == exchange
        turn = device.hear(state, reply)
        if turn.commands:
            message, state = device.answer(turn)
    assert turn.verdict is Verdict.END
    assert device.approved == [A]
    assert [row["kind"] for row in bench.rows("device_event")].count("approval_delivered") == 1
    assert bench.rows("auth_failure") == []
