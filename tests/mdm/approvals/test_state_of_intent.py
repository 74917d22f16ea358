"""Whatever IT wishes, the catalogue learns and a device reports, in any order: what goes is what a plain model says.

The model below is written from the rules, not from the code: it knows nothing of groups of reasons or of the order
they are told in. Check-ins run through the real service over a real database.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Literal

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mdm.approvals.store import create_approval, revoke_approval
from mdm.audit import Origin
from mdm.devices.updates import DeviceUpdateView, list_device_updates
from mdm.errors import Conflict
from mdm.rollouts.actions import pause_rollout, resume_rollout, stop_rollout
from mdm.rollouts.plans import create_plan
from mdm.rollouts.rings import Halt, Ring
from mdm.rollouts.store import start_rollout
from mdm.rollouts.worker import RolloutWorker
from mdm.storage.engine import Database

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Bench

ORIGIN = Origin(actor="client:ops")
START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
HALF = timedelta(minutes=30)
SECURITY = "0fa1201d-4330-4fa8-8ae9-b877473b6441"
DEFINITIONS = "e0789628-ce08-4437-be74-2495b842f43b"
EULAS = ("eeeeeeee-0000-4000-8000-000000000001", "eeeeeeee-0000-4000-8000-000000000002")


@dataclass(frozen=True)
class Patch:
    """What the metadata of an update will say when it arrives."""

    class_id: str | None
    eula_id: str | None = None


PATCHES = {
    "a0000000-0000-4000-8000-000000000000": Patch(SECURITY),
    "b0000000-0000-4000-8000-000000000000": Patch(SECURITY, EULAS[0]),
    "c0000000-0000-4000-8000-000000000000": Patch(DEFINITIONS),
    "d0000000-0000-4000-8000-000000000000": Patch(DEFINITIONS, EULAS[1]),
    "f0000000-0000-4000-8000-000000000000": Patch(None, EULAS[0]),
}
OLDER, NEWER = list(PATCHES)[:2]

hours = st.none() | st.sampled_from([-1, 0, 1])
updates = st.sampled_from(list(PATCHES))
classes = st.sampled_from([SECURITY, DEFINITIONS])


@dataclass
class Wish:
    """One approval or block, as the model remembers it."""

    action: Literal["approve", "block"]
    target_id: str
    how: Literal["update", "device", "expanded"]
    """Of an update, or how the classification is delivered."""
    blind: bool = False
    not_before: datetime | None = None
    expires_at: datetime | None = None
    revoked: bool = False
    id: str = ""

    def holds(self, now: datetime) -> bool:
        """True if it is neither revoked nor over."""
        return not self.revoked and (self.expires_at is None or now < self.expires_at)

    def approves(self, now: datetime) -> bool:
        """True if it asks for a delivery now."""
        due = self.not_before is None or self.not_before <= now
        return self.action == "approve" and due and self.holds(now)


class Intent(RuleBasedStateMachine):
    """One device, a small catalogue, and an administrator who changes their mind."""

    template: ClassVar[Path]
    folder: ClassVar[Path]
    open_bench: ClassVar[Callable[[Database, Path, datetime, Callable[[], bytes]], Bench]]
    runs: ClassVar[int] = 0
    deliveries: ClassVar[int] = 0

    def __init__(self) -> None:
        """A database of its own, with one device that offers nothing yet."""
        super().__init__()
        type(self).runs += 1
        path = self.folder / f"{self.runs}.sqlite3"
        shutil.copyfile(self.template, path)
        path.chmod(0o600)
        numbers = iter(range(1, 10**6))
        self.url = f"sqlite:///{path}"
        self.database = Database(self.url)
        self.bench = type(self).open_bench(
            self.database, self.folder, START, lambda: b"nonce %010d" % next(numbers)
        )
        self.device = self.bench.enrol()
        for eula_id in EULAS:
            self.bench.add("eula", id=eula_id, first_seen_at=START)
        self.wishes: list[Wish] = []
        self.known: set[str] = set()
        self.withdrawn: set[str] = set()
        self.superseded: set[str] = set()
        self.accepted: set[str] = set()
        self.rollouts: dict[str, str] = {}
        """The update that each rollout brings."""
        self.revisions = dict.fromkeys(PATCHES, 200)
        self.changed = True
        """The device's tree is not what it last reported."""

    def teardown(self) -> None:
        """Leave no connection open."""
        self.database.close()

    # --- the model --------------------------------------------------------------------------------------

    def class_of(self, update_id: str) -> str | None:
        """The classification, as far as the catalogue knows it."""
        return PATCHES[update_id].class_id if update_id in self.known else None

    def licence_open(self, update_id: str) -> bool:
        """True if the update is known to have a licence that nobody has accepted."""
        eula_id = PATCHES[update_id].eula_id
        return update_id in self.known and eula_id is not None and eula_id not in self.accepted

    def blocked(self, target_id: str | None) -> bool:
        """True if a block of exactly this holds."""
        now = self.bench.now
        return any(w.action == "block" and w.target_id == target_id and w.holds(now) for w in self.wishes)

    def update_may_go(self, update_id: str) -> bool:
        """The rule for an update, from its own approvals and those of its classification expanded."""
        now, class_id = self.bench.now, self.class_of(update_id)
        if self.blocked(update_id) or (class_id is not None and self.blocked(class_id)):
            return False
        direct = [w for w in self.wishes if w.approves(now) and w.target_id == update_id]
        if update_id not in self.known:
            return any(w.blind for w in direct)
        rolling = any(update_id == each and self.lets_through(key) for key, each in self.rollouts.items())
        by_class = update_id not in self.superseded and any(
            w.approves(now) and w.how == "expanded" and w.target_id == class_id for w in self.wishes
        )
        allowed = update_id not in self.withdrawn and not self.licence_open(update_id)
        return allowed and (bool(direct) or rolling or by_class)

    def lets_through(self, rollout_id: str) -> bool:
        """The rule for a rollout: neither paused, halted nor stopped, and its one stage has begun."""
        states = {row["id"]: row["state"] for row in self.bench.rows("rollout")}
        stages = {row["rollout_id"]: row["state"] for row in self.bench.rows("rollout_stage")}
        return states[rollout_id] in {"running", "completed"} and stages[rollout_id] != "waiting"

    def class_may_go(self, class_id: str) -> bool:
        """The rule for the GUID of a classification: it brings all of it."""
        now = self.bench.now
        inside = [update_id for update_id in self.known if PATCHES[update_id].class_id == class_id]
        return (
            any(w.approves(now) and w.how == "device" and w.target_id == class_id for w in self.wishes)
            and not self.blocked(class_id)
            and not any(self.blocked(update_id) for update_id in inside)
            and not any(self.licence_open(each) for each in inside if each not in self.withdrawn)
        )

    def due(self) -> set[str]:
        """Every GUID the next check-in must bring."""
        offered = {update_id for update_id in self.device.installable if self.update_may_go(update_id)}
        wanted = {class_id for class_id in (SECURITY, DEFINITIONS) if self.class_may_go(class_id)}
        return (offered | wanted) - set(self.device.approved)

    def views(self) -> dict[str, DeviceUpdateView]:
        """What the bridge says of the updates the device can install."""
        with self.database.read() as connection:
            found = list_device_updates(connection, 1, now=self.bench.now, state="installable")
        return {view.update_id: view for view in found}

    def moment(self, number: int | None) -> datetime | None:
        """Half past some hour: no session runs across it."""
        return None if number is None else self.bench.now.replace(minute=0, second=0) + number * HOUR + HALF

    def make(self, wish: Wish) -> None:
        """Wish for something; a refusal must have the reason the model has."""
        refused: str | None = None
        try:
            with self.database.write() as conn:
                view = create_approval(
                    conn,
                    ORIGIN,
                    target_type="update" if wish.how == "update" else "classification",
                    target_id=wish.target_id,
                    group_ids=["all-devices"],
                    action=wish.action,
                    delivery=None if wish.action == "block" or wish.how == "update" else wish.how,
                    not_before=wish.not_before,
                    expires_at=wish.expires_at,
                    allow_without_metadata=wish.blind,
                    reason="INC-1",
                    now=self.bench.now,
                )
            wish.id = view.id
            self.wishes.append(wish)
        except Conflict as error:
            refused = error.code
        assert refused is None or self.refused_rightly(refused, wish), (refused, wish)

    def refused_rightly(self, code: str, wish: Wish) -> bool:
        """True if the model knows the reason."""
        if code == "approval_conflict":
            return any(
                w.holds(self.bench.now) and (w.action, w.target_id) == (wish.action, wish.target_id)
                for w in self.wishes
            )
        if code == "update_expired":
            return wish.target_id in self.withdrawn
        inside = [each for each in self.known if wish.target_id in {each, PATCHES[each].class_id}]
        return code == "eula_not_accepted" and any(
            self.licence_open(each) and each not in self.withdrawn for each in inside
        )

    # --- what happens -----------------------------------------------------------------------------------

    @initialize(
        known=st.just(set(PATCHES)) | st.sets(updates),
        offered=st.just(set(PATCHES)) | st.sets(updates),
        accepted=st.just(set(EULAS)) | st.sets(st.sampled_from(EULAS)),
    )
    def begin(self, known: set[str], offered: set[str], accepted: set[str]) -> None:
        """Most histories are of updates that are known and offered, and of licences that are accepted."""
        for update_id in sorted(known):
            self.metadata_arrives(update_id)
        for eula_id in sorted(accepted):
            self.accept(eula_id)
        self.offer(offered)
        self.check_in()

    @rule(update_id=updates, blind=st.booleans(), begins=hours, lasts=st.none() | st.integers(1, 2))
    def approve_update(self, *, update_id: str, blind: bool, begins: int | None, lasts: int | None) -> None:
        """Now, or from half past some hour on, and for some hours."""
        end = None if lasts is None else max(begins or 0, 0) + lasts
        self.make(Wish("approve", update_id, "update", blind, self.moment(begins), self.moment(end)))

    @rule(class_id=classes, how=st.sampled_from(["device", "expanded"]), begins=hours)
    def approve_classification(
        self, class_id: str, how: Literal["device", "expanded"], begins: int | None
    ) -> None:
        """On the device, or expanded."""
        self.make(Wish("approve", class_id, how, not_before=self.moment(begins)))

    @rule(update_id=updates, lasts=st.none() | st.integers(0, 2))
    def block_update(self, update_id: str, lasts: int | None) -> None:
        """For good, or for some hours."""
        self.make(Wish("block", update_id, "update", expires_at=self.moment(lasts)))

    @rule(class_id=classes, lasts=st.none() | st.integers(0, 2))
    def block_classification(self, class_id: str, lasts: int | None) -> None:
        """For good, or for some hours."""
        self.make(Wish("block", class_id, "device", expires_at=self.moment(lasts)))

    @precondition(lambda self: self.wishes)
    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        """Any wish, revoked or over already or not."""
        wish = data.draw(st.sampled_from(self.wishes))
        with self.database.write() as conn:
            revoke_approval(conn, ORIGIN, wish.id, now=self.bench.now)
        wish.revoked = True

    @rule(eula_id=st.sampled_from(EULAS))
    def accept(self, eula_id: str) -> None:
        """Somebody reads a licence."""
        if eula_id in self.accepted:
            return
        self.accepted.add(eula_id)
        self.bench.add(
            "eula_acceptance",
            id=f"acc-{eula_id}",
            eula_id=eula_id,
            locale="en",
            text_sha256="0" * 64,
            accepted_by="client:legal",
            accepted_at=self.bench.now,
        )

    @rule(update_id=updates)
    def roll_out(self, update_id: str) -> None:
        """One ring of all devices, which halts at the first failure."""
        refused: str | None = None
        try:
            with self.database.write() as conn:
                if not self.rollouts:
                    halt = Halt(failures=1)
                    ring = Ring("All", ("all-devices",), halt=halt)
                    self.plan = create_plan(
                        conn, ORIGIN, name="One ring", rings=(ring,), now=self.bench.now
                    ).id
                rollout = start_rollout(
                    conn,
                    ORIGIN,
                    plan_id=self.plan,
                    update_ids=[update_id],
                    name="November",
                    now=self.bench.now,
                )
            self.rollouts[rollout.id] = update_id
        except Conflict as error:
            refused = error.code
        assert (refused == "update_expired") == (update_id in self.withdrawn), refused

    @precondition(lambda self: self.rollouts)
    @rule(data=st.data(), what=st.sampled_from([pause_rollout, resume_rollout, stop_rollout]))
    def steer(self, data: st.DataObject, what: Callable[..., object]) -> None:
        """Pause, resume or stop one; what its state forbids is refused."""
        rollout_id = data.draw(st.sampled_from(sorted(self.rollouts)))
        with suppress(Conflict), self.database.write() as conn:
            what(conn, ORIGIN, rollout_id, remark="INC-2", now=self.bench.now)

    @precondition(lambda self: self.rollouts)
    @rule()
    def look(self) -> None:
        """The worker looks at the rollouts: stages open, and what fails halts."""
        RolloutWorker(self.database, lambda: self.bench.now).run_pending(self.bench.now)

    @precondition(lambda self: set(self.device.approved) & self.device.installable.keys())
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        """Windows tries to install one of what it may, and fails."""
        ready = sorted(set(self.device.approved) & self.device.installable.keys())
        self.device.failed[data.draw(st.sampled_from(ready))] = (-2147023504, 256, 200)
        self.changed = True

    @rule()
    def restart(self) -> None:
        """The bridge is killed between two messages and started again."""
        self.database.close()
        self.database = Database(str(self.url))
        self.bench.checkin = replace(self.bench.checkin, database=self.database)

    @precondition(lambda self: self.known - {NEWER})
    @rule(data=st.data())
    def revise(self, data: st.DataObject) -> None:
        """Microsoft publishes a revision that says the same: no approval changes by that."""
        update_id = data.draw(st.sampled_from(sorted(self.known - {NEWER})))
        patch, number = PATCHES[update_id], self.revisions[update_id] + 1
        with self.database.write() as conn:
            conn.exec_driver_sql("UPDATE update_revision SET is_latest = 0 WHERE update_id = ?", (update_id,))
        self.bench.catalogue(
            update_id,
            revision_number=number,
            classification_id=patch.class_id,
            eula_id=patch.eula_id,
            publication_state="Expired" if update_id in self.withdrawn else "Published",
        )
        self.revisions[update_id] = number

    @rule(number=st.integers(1, 2))
    def time_passes(self, number: int) -> None:
        """An hour or two."""
        self.bench.now += number * HOUR

    @rule(update_id=updates)
    def metadata_arrives(self, update_id: str) -> None:
        """The catalogue learns of an update."""
        if update_id in self.known:
            return
        patch = PATCHES[update_id]
        self.bench.catalogue(update_id, classification_id=patch.class_id, eula_id=patch.eula_id)
        self.known.add(update_id)

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        """Microsoft takes an update back; what it superseded no longer is."""
        update_id = data.draw(st.sampled_from(sorted(self.known)))
        self.withdrawn.add(update_id)
        if update_id == NEWER:
            self.superseded.clear()
        self.bench.expire(update_id)

    @precondition(lambda self: NEWER in self.known - self.withdrawn and not self.superseded)
    @rule()
    def supersede(self) -> None:
        """One update turns out to replace another."""
        self.superseded.add(OLDER)
        self.bench.add(
            "revision_relation",
            update_id=NEWER,
            revision_number=200,
            kind="supersedes",
            clause=0,
            target_id=OLDER,
        )

    @rule(update_ids=st.sets(updates, min_size=1))
    def offer(self, update_ids: set[str]) -> None:
        """Windows finds that it could install these, unless it has."""
        self.device.installable |= {
            each: (1, 200) for each in update_ids if each not in self.device.installed
        }
        self.changed = True

    @precondition(lambda self: set(self.device.approved) & self.device.installable.keys())
    @rule(data=st.data())
    def install(self, data: st.DataObject) -> None:
        """Windows installs one of what it may."""
        ready = sorted(set(self.device.approved) & self.device.installable.keys())
        update_id = data.draw(st.sampled_from(ready))
        del self.device.installable[update_id]
        self.device.failed.pop(update_id, None)
        self.device.installed[update_id] = 200
        self.changed = True

    @rule()
    def check_in(self) -> None:
        """The device gets exactly what the model says, as it was explained before, and nothing is left over."""
        due = self.due()
        told = {} if self.changed else self.views()
        before = set(self.device.approved)
        self.device.check_in()
        came = set(self.device.approved) - before
        assert came == due
        type(self).deliveries += len(came)
        for update_id, view in told.items():
            comes = bool({update_id, self.class_of(update_id)} & came)
            assert comes == (view.reason == "awaiting_checkin") or view.delivered, view
        for view in self.views().values():
            assert view.reason != "awaiting_checkin", view
            assert view.delivered == bool(
                {view.update_id, self.class_of(view.update_id)} & set(self.device.approved)
            )
        self.changed = False

    @precondition(lambda self: not self.changed)
    @rule()
    def explain(self) -> None:
        """Each reason is one the model agrees with."""
        due = self.due()
        for update_id, view in self.views().items():
            class_id = self.class_of(update_id)
            blocked = self.blocked(update_id) or (class_id is not None and self.blocked(class_id))
            assert (view.reason == "blocked") == blocked
            if not blocked and not view.delivered:
                assert (view.reason == "awaiting_checkin") == bool({update_id, class_id} & due)
            if view.reason == "eula_not_accepted":
                assert any(self.licence_open(each) for each in self.known)
            if view.reason.startswith("rollout_"):
                assert not any(
                    self.lets_through(key) for key, each in self.rollouts.items() if each == update_id
                )


@pytest.fixture
def machine(
    _sqlite_template: Path,
    tmp_path: Path,
    open_bench: Callable[[Database, Path, datetime, Callable[[], bytes]], Bench],
) -> type[Intent]:
    """The machine with a template to copy and a folder to work in."""
    (tmp_path / "data").mkdir(mode=0o700)
    values = {
        "template": _sqlite_template,
        "folder": tmp_path / "data",
        "open_bench": staticmethod(open_bench),
    }
    return type("Machine", (Intent,), values)


def test_any_history_delivers_what_the_rules_say(machine: type[Intent]) -> None:
    """Nothing blocked or under an open licence goes, nothing else is left, and the explanation is the behaviour."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=20,
            # A history is read as it is: shrinking one takes minutes, because each step is a real check-in.
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
    assert machine.deliveries > 0
