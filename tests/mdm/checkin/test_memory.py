"""What is remembered from message to message of a session."""

from __future__ import annotations

import json

import pytest

from csp.sync_version import SyncVersions
from mdm.checkin.memory import Memory
from syncml.exchange import Request

GET = Request("Get", "./Vendor/MSFT/Update/InstallableUpdates")
ADD = Request("Add", "./Vendor/MSFT/Update/ApprovedUpdates/x")


def full() -> Memory:
    """A memory of which nothing is as at the start."""
    memory = Memory()
    memory.queries_done = memory.user_scope = memory.proved = memory.unenrol_unknown = True
    memory.distrusted = 2
    memory.confirm.append("a")
    memory.sent((GET, ADD))
    memory.note_versions(SyncVersions(answered=True, current="2.0", ceiling="5.0"))
    return memory


def test_load_is_the_inverse_of_dump() -> None:
    """Through JSON, every field: what another process loads is what this one knew."""
    stored = json.loads(json.dumps(full().dump()))
    assert vars(Memory.load(stored)) == vars(full())
    assert set(stored) == set(vars(Memory()))
    assert all(stored[name] != value for name, value in vars(Memory()).items())


@pytest.mark.parametrize("name", list(Memory().dump()))
def test_what_lacks_a_field_is_of_another_version(name: str) -> None:
    """KeyError, which makes the session unreadable and the device begin anew."""
    stored = full().dump()
    del stored[name]
    with pytest.raises(KeyError):
        Memory.load(stored)


def test_nothing_is_sent_twice() -> None:
    """The same verb and address is the same request, whatever else it says; another verb is another."""
    memory = full()
    again = Request("Add", ADD.loc_uri, data="other")
    delete = Request("Delete", ADD.loc_uri)
    assert memory.without_attempted((GET, again, delete)) == (delete,)
    assert memory.counts == {"commands": 2}


def test_what_the_device_did_not_look_at_is_asked_again() -> None:
    """The queries too: they are not done."""
    memory = full()
    memory.not_looked_at([GET])
    assert memory.without_attempted((GET, ADD)) == (GET,)
    assert memory.queries_done is False


def test_a_new_session_knows_only_what_is_still_to_confirm() -> None:
    """Nothing else of the abandoned one, and nothing at all if none was abandoned."""
    abandoned = full()
    after = Memory.after(abandoned)
    after.confirm.append("b")
    assert abandoned.confirm == ["a"]
    assert after.dump() == {**Memory().dump(), "confirm": ["a", "b"]}
    assert Memory.after(None).dump() == Memory().dump()


def test_a_version_not_told_leaves_the_one_known() -> None:
    """The two nodes may be answered in different messages."""
    memory = full()
    memory.note_versions(SyncVersions(answered=True, current="3.0", ceiling=None))
    assert (memory.version, memory.newest_version) == ("3.0", "5.0")
