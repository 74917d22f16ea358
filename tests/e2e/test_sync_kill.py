"""A sync is killed again and again: in the end the store is the same as if nothing had happened.

BRIDGE_TEST_SYNC_KILLS=50x25000 kills fifty times a sync of 25,000 revisions; the default is small. Each of them is
a SIGKILL that met a sync under way: a life that ended before its own is not counted, and another one is begun.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

import pytest
from sqlalchemy import select

from mdm.lab.bench_sync import database_url, sync_once
from mdm.lab.dice import Dice
from mdm.lab.upstream_process import UpstreamProcess
from mdm.storage.engine import Database
from mdm.storage.statements import table_of
from mdm.storage.tables import (
    Category,
    Eula,
    EulaText,
    ListedUpdate,
    PendingList,
    QueuedRevision,
    RevisionCategory,
    RevisionRelation,
    RevisionText,
    UpdateRevision,
    UpstreamAnchor,
)

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

pytestmark = pytest.mark.e2e

KILLS, REVISIONS = map(int, os.environ.get("BRIDGE_TEST_SYNC_KILLS", "3x800").split("x"))
DICE: Final = Dice(20_261_121)
STORE: Final = (
    Category,
    Eula,
    EulaText,
    ListedUpdate,
    PendingList,
    QueuedRevision,
    RevisionCategory,
    RevisionRelation,
    RevisionText,
    UpdateRevision,
    UpstreamAnchor,
)
"""Everything a sync leaves behind but its own history."""
OF_THE_MOMENT: Final = {"fetched_at", "first_seen_at", "kept_at", "anchor"}
"""Columns that say when, and so differ between two syncs of the same."""
POLL: Final = 0.01
LONGEST_DELAY: Final = min(300, REVISIONS // 8)
"""Milliseconds between the moment that is waited for and the kill: a hundred batches or so have their chance."""
LIVES: Final = 3 * KILLS
"""Enough for every kill, if no more than two of three lives end before theirs."""
IN_FLIGHT: Final = 6
"""Batches that a kill may cost: fetched, or being fetched, and not stored."""

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["mdm.lab.bench_sync"])


def store_of(data_dir: Path) -> dict[str, tuple[int, str]]:
    """Of each table the number of rows and a digest of all of them."""
    database = Database(database_url(data_dir))
    found: dict[str, tuple[int, str]] = {}
    try:
        with database.read() as connection:
            for model in STORE:
                table = table_of(model)
                columns = [column for column in table.c if column.name not in OF_THE_MOMENT]
                rows = sorted(repr(tuple(row)) for row in connection.execute(select(*columns)))
                digest = hashlib.sha256("\n".join(rows).encode()).hexdigest()
                found[table.name] = len(rows), digest
    finally:
        database.close()
    return found


def sync(pipe: Connection, upstream_url: str, data_dir: Path) -> None:
    """Sync in a process of its own; tell when it begins, and how it ended."""
    pipe.send("begun")
    pipe.send(sync_once(upstream_url, data_dir).state)


def live(upstream_url: str, data_dir: Path, until: tuple[int, float] | None = None) -> str | None:
    """Sync in another process and return how the run ended.

    `until` so many revisions are stored, and so many seconds longer; then it is killed, and None is returned if
    that ended it.
    """
    ours, theirs = _processes.Pipe(duplex=False)
    process = _processes.Process(target=sync, args=(theirs, upstream_url, data_dir))
    process.start()
    theirs.close()
    assert ours.recv() == "begun"
    if until is not None and not _ends_before(ours, data_dir, *until):
        process.kill()
    process.join()
    try:
        return str(ours.recv())
    except EOFError:
        assert process.exitcode == -signal.SIGKILL
        return None
    finally:
        ours.close()


def _ends_before(pipe: Connection, data_dir: Path, stored: int, seconds: float) -> bool:
    while not pipe.poll(POLL):
        if stored_in(data_dir) >= stored:
            return pipe.poll(seconds)
    return True


def stored_in(data_dir: Path) -> int:
    """How many revisions are stored so far, seen from outside."""
    try:
        with closing(sqlite3.connect(f"file:{data_dir / 'bridge.sqlite3'}?mode=ro", uri=True)) as connection:
            (count,) = connection.execute("SELECT count(*) FROM update_revision").fetchone()
    except sqlite3.OperationalError:  # no database yet, or no table in it
        return 0
    return int(count)


def test_a_sync_that_is_killed_ends_with_the_same_store(tmp_path: Path) -> None:
    """At random moments by SIGKILL, each time started anew; and little is fetched that was stored already."""
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    with UpstreamProcess(REVISIONS) as upstream:
        assert live(upstream.url, undisturbed) == "succeeded"
        fetches = upstream.calls("GetUpdateData")
        expected = store_of(undisturbed)
        total = expected["update_revision"][0]
        assert total > 0.9 * REVISIONS
        lives, left = kill(upstream.url, killed, total)
        assert lives.count(None) == KILLS
        assert all(state in {None, "succeeded"} for state in lives)
        assert sum(each > 0 for each in left) > KILLS / 2, (
            "most kills met a sync that had nothing left to store"
        )
        assert live(upstream.url, killed) == "succeeded"
        again = upstream.calls("GetUpdateData") - fetches
    assert expected["pending_list"] == expected["queued_revision"]
    assert store_of(killed) == expected
    assert again <= fetches + len(lives) * IN_FLIGHT


def kill(upstream_url: str, data_dir: Path, total: int) -> tuple[list[str | None], list[int]]:
    """Kill syncs as often as is wanted; return how each life ended, and how much each kill left to be stored.

    The moments are spread over the first four fifths of the work. Where all of it is done nevertheless, what is
    killed is a sync that looks for something new, as soon as it has begun.
    """
    moments = iter(sorted(DICE.number(f"moment/{number}", 0, total * 4 // 5) for number in range(KILLS)))
    lives: list[str | None] = []
    left: list[int] = []
    moment = next(moments)
    while lives.count(None) < KILLS and len(lives) < LIVES:
        delay = DICE.number(f"delay/{len(lives)}", 0, LONGEST_DELAY) / 1000
        done = stored_in(data_dir) == total
        lives.append(live(upstream_url, data_dir, (0, POLL) if done else (moment, delay)))
        if lives[-1] is None:
            left.append(total - stored_in(data_dir))
            moment = next(moments, total)
    return lives, left
