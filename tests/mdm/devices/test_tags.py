"""Tags of devices, and the groups that follow them at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mdm.audit import Origin
from mdm.devices.groups import GroupDefinition, create_group, groups_of
from mdm.devices.tags import set_tags, tags_of
from mdm.errors import NotFound

if TYPE_CHECKING:
    from conftest import Bench

ORIGIN = Origin(actor="client:test")


def test_tags_are_a_set_of_small_words(bench: Bench) -> None:
    """Given in any order and in capitals; each call says all of them."""
    bench.enrol("DEV1")
    bench.enrol("DEV2")
    with bench.database.write() as conn:
        set_tags(conn, ORIGIN, "id-DEV1", ["Lobby", " kiosk ", "KIOSK"], now=bench.now)
        assert tags_of(conn, [1, 2]) == {1: ("kiosk", "lobby")}
        set_tags(conn, ORIGIN, "id-DEV1", ["kiosk", "straße"], now=bench.now)
        set_tags(conn, ORIGIN, "id-DEV1", ["STRASSE", "kiosk"], now=bench.now)
        assert tags_of(conn, [1, 2]) == {1: ("kiosk", "strasse")}
        set_tags(conn, ORIGIN, "id-DEV1", [], now=bench.now)
        assert tags_of(conn, [1]) == {}
    entries = [row for row in bench.rows("audit_entry", "seq") if row["action"] == "device.tags"]
    assert [(row["before"]["tags"], row["after"]["tags"]) for row in entries] == [
        ([], ["kiosk", "lobby"]),
        (["kiosk", "lobby"], ["kiosk", "strasse"]),
        (["kiosk", "strasse"], []),
    ]


def test_groups_follow_in_the_same_transaction(bench: Bench) -> None:
    """In with the tag, out without it."""
    bench.enrol("DEV1")
    with bench.database.write() as conn:
        definition = GroupDefinition({"tag": "kiosk"})
        group = create_group(conn, ORIGIN, name="kiosks", definition=definition, now=bench.now)
        set_tags(conn, ORIGIN, "id-DEV1", ["kiosk"], now=bench.now)
        assert groups_of(conn, [1]) == {1: ("all-devices", group.id)}
        set_tags(conn, ORIGIN, "id-DEV1", ["lobby"], now=bench.now)
        assert groups_of(conn, [1]) == {1: ("all-devices", "unassigned")}


def test_an_unknown_device(sqlite_bench: Bench) -> None:
    """It is not found."""
    with pytest.raises(NotFound), sqlite_bench.database.write() as conn:
        set_tags(conn, ORIGIN, "dev_nowhere", ["x"], now=sqlite_bench.now)
