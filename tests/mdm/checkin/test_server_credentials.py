"""The bridge proves itself: with which nonce, how often, and what it says to a device that does not believe it."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from mdm.storage.statements import table_of
from mdm.storage.tables import Device
from syncml.auth import MAC, MD5, credential_hash
from syncml.auth import Verdict as Trust
from syncml.client import Verdict
from syncml.messages import Status
from syncml.reader import read_message

if TYPE_CHECKING:
    from conftest import Bench, ScriptedDevice

    from syncml.messages import Message

A = "a317dafe-baf4-453f-b232-a7075efae36e"
BOTH = pytest.mark.parametrize("server_auth", [MD5, MAC])


def prepared(bench: Bench, **options: Any) -> ScriptedDevice:
    """A device with an update that is approved for it."""
    device = bench.enrol(**options)
    device.installable = {A: (1, 200)}
    bench.catalogue(A)
    bench.approve(A)
    return device


def distrusts(bench: Bench) -> int:
    """How often the timeline tells that the device does not believe us."""
    return [row["kind"] for row in bench.rows("device_event")].count("distrusted")


@BOTH
def test_the_nonce_is_the_one_the_device_gave_last(bench: Bench, server_auth: str) -> None:
    """Each answer of the device brings the nonce of our next message, also of the next session's first."""
    device = prepared(bench, server_auth=server_auth)
    assert device.check_in() is Verdict.END
    (row,) = bench.rows("device")
    assert row["server_auth_nonce"] == b64encode(device.server_nonce).decode()
    assert device.check_in() is Verdict.END
    assert device.trusts == [Trust.ACCEPTED] * 3


@BOTH
def test_each_reply_carries_its_proof_once(bench: Bench, server_auth: str) -> None:
    """md5 stands in the Cred, a MAC in the header only; the name beside it is ours."""
    device = bench.enrol(server_auth=server_auth)
    message, _ = device.begin()
    reply = device.post(message)
    header = read_message(reply.body).header
    assert header.source.loc_name == "bridge"
    assert (header.cred is None, reply.mac is None) == (server_auth == MAC, server_auth == MD5)


def test_a_refusal_proves_nothing(bench: Bench) -> None:
    """Whoever does not prove itself is not shown our credentials either."""
    device = bench.enrol(server_auth=MAC)
    device.proving = False
    message, _ = device.begin()
    reply = device.post(message)
    header = read_message(reply.body).header
    assert (reply.mac, header.cred, header.source.loc_name) == (None, None, None)


@BOTH
@pytest.mark.parametrize("each_message", [True, False], ids=["each", "once"])
def test_a_stale_nonce_is_renewed_and_the_message_sent_again(
    bench: Bench,
    server_auth: str,
    each_message: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """A device that lost the nonce it gave us says 401 and another: the same commands follow, and are carried out once."""
    device = prepared(bench, server_auth=server_auth, each_message=each_message)
    device.server_nonce = b"another one 0123"
    assert device.check_in() is Verdict.END
    assert device.trusts == [Trust.WRONG, Trust.ACCEPTED, Trust.ACCEPTED]
    assert len(device.asked) == len(set(device.asked))
    assert device.approved == [A]
    assert [row["state"] for row in bench.rows("device_update")] == ["installable"]
    assert distrusts(bench) == 0


def test_credentials_accepted_for_the_session_are_not_shown_again(bench: Bench) -> None:
    """After the device's 212 our messages of this session carry no Cred; the next session's first one does."""
    device = prepared(bench, server_auth=MD5)
    device.trust_once = True
    message, state = device.begin()
    turn = device.say(message, state)
    message, state = device.answer(turn)
    reply = device.post(replied(message, "212"))
    assert read_message(reply.body).header.cred is None
    device.hear(state, reply)
    device.sessions = 1
    assert device.check_in() is Verdict.END
    assert device.trusts == [Trust.ACCEPTED]


def test_a_mac_goes_with_each_message_all_the_same(bench: Bench) -> None:
    """A MAC proves one message and no other: 212 does not end it."""
    device = bench.enrol(server_auth=MAC)
    message, state = device.begin()
    message, _ = device.answer(device.say(message, state))
    assert device.post(replied(message, "212")).mac is not None


def replied(message: Message, code: str) -> Message:
    """The same message with another Status for our SyncHdr."""
    first = message.commands[0]
    assert isinstance(first, Status)
    return replace(message, commands=(replace(first, data=code), *message.commands[1:]))


@BOTH
def test_a_device_that_never_believes_is_left_in_peace(bench: Bench, server_auth: str) -> None:
    """Sent again twice, then silence: no state is read into the refusals, and the timeline says why, once."""
    device = prepared(bench, server_auth=server_auth)
    with bench.database.write() as connection:
        other = bench.secrets.seal(credential_hash("bridge", "another password").encode())
        connection.execute(update(table_of(Device)).values(server_auth_verifier=other))
    with capture_logs() as logs:
        assert device.check_in() is Verdict.END
    assert device.trusts == [Trust.WRONG] * 3
    assert device.asked == []
    assert bench.rows("device_update") == []
    assert bench.rows("device")[0]["state_read_at"] is None
    assert distrusts(bench) == 1
    assert [line["event"] for line in logs] == ["dm_distrusted", "dm_session"]
    assert bench.rows("dm_session")[0]["open"] is False


def test_a_device_that_wants_what_we_have_not_is_left_in_peace(bench: Bench) -> None:
    """Without credentials of ours there is nothing to send again."""
    device = prepared(bench)
    device.server_auth = MD5
    assert device.check_in() is Verdict.END
    assert device.trusts == [Trust.MISSING]
    assert device.asked == []
    assert distrusts(bench) == 1
