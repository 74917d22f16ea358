"""The thread that looks after running rollouts: opens stages, goes on with gradual offers, halts what fails.

All it knows is in the database, so any number of processes may have one, and one that is killed is missed by nobody:
whoever looks next finds the same evidence and the same time elapsed. A rollout is looked at by one at a time because
who looks first puts off `look_at`; and each change names the version it was worked out from, so that of two that look
all the same only one changes anything.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import select, update

from mdm.audit import Origin
from mdm.background import Worker
from mdm.devices.refresh import count_behind
from mdm.rollouts.evidence import reach, read_all_evidence
from mdm.rollouts.stages import Kind, State, Step, advance, due_offer, offer
from mdm.rollouts.store import load, write_step
from mdm.storage.statements import table_of
from mdm.storage.tables import Rollout as RolloutRow

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.rollouts.stages import Rollout
    from mdm.storage.engine import Database

__all__ = ["RolloutWorker"]

POLL_SECONDS: Final = 5.0
"""How often it asks whether a rollout is due: one indexed read each time."""

LOOK_EVERY: Final = timedelta(seconds=60)
"""How often each running rollout is looked at."""

_SURE_WITHOUT_MEMBERS: Final = frozenset({Kind.OPENED, Kind.HALTED, Kind.COMPLETED})

_rollout: Final = table_of(RolloutRow)


class RolloutWorker(Worker):
    """Looks after rollouts, in a thread of its own between `start` and `stop`, or in the caller's."""

    def __init__(
        self, database: Database, clock: Callable[[], datetime], *, poll_seconds: float = POLL_SECONDS
    ) -> None:
        """Does nothing yet."""
        super().__init__(database, "rollout", poll_seconds=poll_seconds)
        self._clock = clock

    def work(self) -> bool:
        """As `run_pending`, now."""
        self.run_pending(self._clock())
        return False

    def run_pending(self, now: datetime) -> int:
        """Look at each running rollout that is due, and make all changes that follow; returns how many.

        Raises Unavailable if the database is down.
        """
        done = 0
        while not self._stopping.is_set():
            rollout_id = self._claim(now)
            if rollout_id is None:
                break
            done += self._look(rollout_id, now)
        return done

    def _claim(self, now: datetime) -> str | None:
        """Put off the rollout that has waited longest, and look at it; None if none is due."""
        due = (
            select(_rollout.c.id)
            .where(_rollout.c.state == State.RUNNING.value, _rollout.c.look_at <= now)
            .order_by(_rollout.c.look_at)
            .limit(1)
        )
        with self._database.read() as connection:
            if connection.scalar(due) is None:
                return None
        with self._database.write() as connection:
            rollout_id = connection.scalar(due.with_for_update(skip_locked=True))
            if rollout_id is not None:
                connection.execute(
                    update(_rollout).where(_rollout.c.id == rollout_id).values(look_at=now + LOOK_EVERY)
                )
            return rollout_id

    def _look(self, rollout_id: str, now: datetime) -> int:
        """Make one change after the other until nothing follows any more; returns how many."""
        origin = Origin(f"rollout:{rollout_id}")
        done = 0
        while not self._stopping.is_set():
            # Reading takes as long as the fleet is large: nobody waits for it, and the version guards what follows.
            with self._database.read() as connection:
                rollout = load(connection, rollout_id)
                step = _next_step(connection, rollout, origin.actor, now)
            if step is None:
                break
            with self._database.write() as connection:
                if not write_step(connection, origin, rollout, step, now=now):
                    break  # somebody else was faster, and whoever looks next starts from what is there then
            if step.event is not None:
                done += 1
                self._log.info(
                    "rollout.changed",
                    kind=step.event.kind.value,
                    rollout=rollout_id,
                    stage=step.event.stage,
                    code=step.event.reason.get("code"),
                )
        return done


def _next_step(conn: Connection, rollout: Rollout, actor: str, now: datetime) -> Step | None:
    """The next change of a rollout: what its evidence leads to, or else the next period of a gradual offer.

    While memberships are being worked out, nobody knows who is in a ring: an empty one would pass, or offer to nobody
    for a whole period. Until that is done it halts and opens stages only.
    """
    if rollout.state is not State.RUNNING:
        return None
    members_known = count_behind(conn) == 0
    step = advance(rollout, read_all_evidence(conn, rollout, now), actor, now)
    if step is not None:
        sure = step.event is None or step.event.kind in _SURE_WITHOUT_MEMBERS
        return step if members_known or sure else None
    due = due_offer(rollout, now)
    if due is None or not members_known:
        return None
    stage, slots = due
    below, devices = reach(conn, rollout, stage, slots)
    return offer(rollout, stage, slots, below=below, devices=devices, now=now)
