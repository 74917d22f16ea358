"""`csp-bridge demo --month`: a month of updates in seconds of virtual time, with a bad update in it.

Patch Tuesday brings a cumulative update. A rule starts a rollout; it fails on a fifth of the pilot ring and halts; IT
rolls it back; a week later it is approved again and goes through both rings. Bridge, WSUS and devices speak the real
protocols over real sockets, and only their clocks are set: by the one that tells the story.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from csp.classifications import DEFINITION_UPDATES
from mdm.access.tokens import create_token
from mdm.app import build_app
from mdm.audit import Origin
from mdm.audit_chain import verify
from mdm.catalog.worker import SyncWorker
from mdm.devices.worker import MembershipWorker
from mdm.lab.app_server import AppServer
from mdm.lab.cast import Member
from mdm.lab.device import Patience, VirtualDevice
from mdm.lab.enrol import ApiProblem, BridgeApi, BridgeAway, enrol
from mdm.lab.generate import build_catalogue
from mdm.lab.muster import http_client
from mdm.lab.offers import offers_for
from mdm.lab.store import DeviceStore, Identity
from mdm.lab.story import NotHeldError, StepResult
from mdm.lab.upstream import UpstreamServer
from mdm.lab.versions import Build
from mdm.lab.windows import TYPICAL, Habits
from mdm.rollouts.worker import RolloutWorker
from mdm.rules.worker import RuleWorker
from mdm.settings import Settings
from mdm.storage.engine import Database
from mdm.storage.secrets import SecretBox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    import httpx2

    from mdm.lab.catalogue import Catalogue, OfferedUpdate

__all__ = ["Month", "play_month"]

START: Final = datetime(2026, 11, 2, 9, tzinfo=UTC)
PATCH_TUESDAY: Final = datetime(2026, 11, 10, 18, tzinfo=UTC)
APPROVED_AGAIN: Final = datetime(2026, 11, 18, 9, tzinfo=UTC)
END: Final = datetime(2026, 12, 1, 9, tzinfo=UTC)

_TICK: Final = timedelta(hours=12)
"""Each device checks in that often, and the bridge's own work is done."""
_BUILD: Final = "10.0.26100.4652"
_PILOTS: Final = 5
_OTHERS: Final = 5
_HRESULT: Final = 0x800F0922
_SCOPES: Final = ("admin",)


class VirtualClock:
    """The one clock of the story."""

    def __init__(self, now: datetime) -> None:
        """Stands still until it is set."""
        self.now = now

    def __call__(self) -> datetime:
        """The moment it is in the story."""
        return self.now


def play_month(directory: Path, *, say: Callable[[str], object] = print, seed: int = 1) -> list[StepResult]:
    """Play the month in an empty directory, until a step does not hold; the results of the steps played."""
    with ExitStack() as stack:
        return Month(directory, stack, say, seed).play()


class Month:
    """The steps in their order; each is a method that raises `NotHeldError`."""

    def __init__(self, directory: Path, stack: ExitStack, say: Callable[[str], object], seed: int) -> None:
        """Everything that runs is ended by `stack`."""
        self._say = say
        self._seed = seed
        self._began = time.monotonic()
        self.clock = VirtualClock(START)
        self.catalogue: Catalogue = build_catalogue(seed, START)
        self.upstream = stack.enter_context(UpstreamServer(self.catalogue, clock=self.clock))
        settings = Settings(data_dir=directory / "bridge", upstream_url=self.upstream.url)
        (directory / "bridge").mkdir(mode=0o700, parents=True)
        self.database = Database(settings.resolved_database_url)
        stack.callback(self.database.close)
        self.database.migrate()
        self.syncs = SyncWorker(self.database, settings, self.clock)
        self.rules = RuleWorker(self.database, self.clock)
        self.rollouts = RolloutWorker(self.database, self.clock)
        self.memberships = MembershipWorker(self.database)
        box = SecretBox.from_file(directory / "bridge" / "secret.key")
        app = build_app(settings, self.database, box, clock=self.clock, background=False)
        self.url = stack.enter_context(AppServer(app)).url
        self.http: httpx2.Client = stack.enter_context(http_client())
        self.api = self._connect("administrator")
        self.second = self._connect("second person")
        self.store = DeviceStore(directory / "devices")
        self.pilots: list[Member] = []
        self.others: list[Member] = []
        self.bad: OfferedUpdate | None = None
        self.plan: dict[str, Any] = {}
        self.sessions: Counter[str] = Counter()

    def play(self) -> list[StepResult]:
        """Play the steps until one does not hold; the results of those played."""
        results: list[StepResult] = []
        for number, (title, step) in enumerate(self._steps(), start=1):
            self._say(f"\n{number:2}. {self.clock.now:%d %b}  {title}")
            start = time.monotonic()
            problem = None
            try:
                step()
            except (NotHeldError, ApiProblem, BridgeAway) as error:
                problem = str(error)
            results.append(StepResult(number, title, time.monotonic() - start, problem))
            self._tell("holds" if problem is None else f"DOES NOT HOLD: {problem}")
            if problem is not None:
                break
        return results

    def _steps(self) -> list[tuple[str, Callable[[], None]]]:
        return [
            ("Ten devices, two rings, one rule", self.prepare),
            ("A week without news", self.idle),
            (
                "Patch Tuesday: the rule starts a rollout, and the pilot ring is offered the update",
                self.release,
            ),
            ("A fifth of the pilot ring fails: the rollout halts", self.halt),
            ("IT rolls back", self.roll_back),
            ("The fault is found: IT approves the update again", self.approve_again),
            ("The pilot ring installs it; a second person lets it go on", self.promote),
            ("The other ring follows, two devices a day", self.complete),
            ("The books", self.close),
        ]

    # --- the steps ---------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Groups by name, a plan of two rings, and a rule for cumulative updates."""
        groups = {
            name: self.api.post("/groups", {"name": name, "rule": {"name": f"{prefix}-*"}})["id"]
            for name, prefix in (("Pilot", "PILOT"), ("Broad", "BROAD"))
        }
        self.plan = self.api.post(
            "/rollout-plans",
            {
                "name": "Quality updates",
                "rings": [
                    {
                        "name": "Pilot",
                        "group_ids": [groups["Pilot"]],
                        "soak_hours": 48,
                        "gate": {"percent": 90, "min_devices": 4},
                        "halt": {"percent": 20, "min_sample": 4},
                        "promote": "approval",
                    },
                    {
                        "name": "Broad",
                        "group_ids": [groups["Broad"]],
                        "offer": {"devices": 2, "every_hours": 24},
                        "gate": {"percent": 90, "min_devices": 4},
                        "halt": {"failures": 2},
                        "deadline_days": 7,
                    },
                ],
            },
        )
        self.api.post(
            "/rules",
            {
                "name": "Cumulative updates",
                "criteria": {
                    "all": [{"title": "*Cumulative Update for Windows 11*"}, {"age_days": {"max": 3}}]
                },
                "action": "rollout",
                "plan_id": self.plan["id"],
                "after_sync": True,
            },
        )
        self.api.post(
            "/approvals",
            {
                "target": {"type": "classification", "id": DEFINITION_UPDATES},
                "action": "approve",
                "group_ids": ["all-devices"],
            },
        )
        self.pilots = [self._enrol(f"PILOT-{number}") for number in range(1, _PILOTS + 1)]
        self.others = [self._enrol(f"BROAD-{number}") for number in range(1, _OTHERS + 1)]
        self._tick()
        self._tell(f"{_PILOTS} pilots and {_OTHERS} others, all up to date, checking in every 12 hours")

    def idle(self) -> None:
        """Devices without news cost next to nothing, and nothing happens to them."""
        self._until(PATCH_TUESDAY)
        found = list(self.api.every("/rollouts"))
        self._check(not found, f"there are rollouts already: {found}")

    def release(self) -> None:
        """Microsoft publishes; devices find it, the sync fetches it, the rule starts a rollout."""
        before = {each.update_id for each in offers_for(self.catalogue, Build.parse(_BUILD))}
        self.catalogue = build_catalogue(self._seed, self.clock.now)
        self.upstream.become(self.catalogue)
        new = [
            each for each in offers_for(self.catalogue, Build.parse(_BUILD)) if each.update_id not in before
        ]
        self.bad = bad = next(each for each in new if "Cumulative Update for Windows 11" in each.title)
        self._break(self.pilots[:1], {bad.update_id: _HRESULT})
        # A scan finds it within a day, then the sync and the rule have their turn, then the next check-in.
        self._until(self.clock.now + timedelta(hours=36))
        rollout = self._rollout()
        self._tell(f"{bad.title}: the rollout {rollout['name']!r} is {rollout['effective_state']}")
        self._check(rollout["rule_id"] is not None, "no rule started it")
        told = [each.name for each in self.pilots if bad.update_id in each.listed("ApprovedUpdates")]
        self._check(len(told) == _PILOTS, f"of the pilots only {told} have been told")
        self._check_untold()

    def halt(self) -> None:
        """The failure is evidence: nothing new goes to anybody, and everybody can read why."""
        self._until(self.clock.now + timedelta(days=2))
        rollout = self._rollout()
        self._check(rollout["effective_state"] == "halted", f"the rollout is {rollout['effective_state']}")
        self._check_untold()
        view = self._explain(self.others[0])
        self._check(view["reason"] == "rollout_halted", f"the explanation is {view['reason']}")
        self._tell(f"{self.others[0].name}: {view['reason_text']}")
        failed = self._explain(self.pilots[0])
        self._check(failed["reason"] == "install_failed", f"the failure is shown as {failed['reason']}")
        self._tell(f"{self.pilots[0].name}: {failed['reason_text']}")

    def roll_back(self) -> None:
        """The rollout stops, the update is blocked, and each device that has it is told to take it back."""
        rollout = self._rollout()
        self.api.post(
            f"/rollouts/{rollout['id']}/roll-back",
            {"reason": "Breaks printing, INC-4471", "kind": "quality"},
        )
        self._until(self.clock.now + timedelta(days=3))
        outcomes = self._rollback_outcomes()
        for sentence, count in outcomes.items():
            self._tell(f"{count} devices: {sentence}")
        have = [each.name for each in self._members() if self._state_of(each) == "installed"]
        self._check(not have, f"still installed on {have}")
        self._check(sum(outcomes.values()) == _PILOTS - 1, f"the outcomes are {dict(outcomes)}")
        view = self._explain(self.others[0])
        self._check(view["reason"] == "blocked", f"the explanation is {view['reason']}")
        self._tell(f"{self.others[0].name}: {view['reason_text']}")

    def approve_again(self) -> None:
        """The block goes, the pause ends, and the same update starts anew."""
        self._until(APPROVED_AGAIN)
        bad = self._bad()
        self._break(self.pilots, {})
        for approval in self.api.every("/approvals", active="true", target_id=bad.update_id):
            if approval["action"] == "block":
                self.api.post(f"/approvals/{approval['id']}/revoke")
        for job in self.api.every("/rollbacks"):
            self.api.post(f"/rollbacks/{job['id']}/release", {})
        self.api.post(
            "/rollouts",
            {"name": "November, again", "plan_id": self.plan["id"], "update_ids": [bad.update_id]},
        )
        self._check_untold()

    def promote(self) -> None:
        """The ring soaks for two days; then one person asks and another agrees."""
        self._until(self.clock.now + timedelta(days=4))
        rollout = self._rollout()
        installed = [each.name for each in self.pilots if self._state_of(each) == "installed"]
        self._check(len(installed) == _PILOTS, f"of the pilots only {installed} have it")
        self._check_untold()
        stage = rollout["stages"][0]
        self._check(stage["promotion"] == "asked", f"nobody is asked to agree: {stage['promotion']}")
        self.second.post(
            f"/rollouts/{rollout['id']}/approve-promotion",
            {"stage": stage["number"], "remark": "No calls from the pilots"},
        )

    def complete(self) -> None:
        """Never more than the plan says, and in the end everybody."""
        allowed = 0
        while self.clock.now < END:
            allowed += 2
            self._until(min(self.clock.now + timedelta(days=1), END))
            told = self._told()
            self._check(len(told) <= allowed, f"{len(told)} have been told after {allowed // 2} days")
        rollout = self._rollout()
        self._check(
            rollout["effective_state"] == "completed",
            f"the rollout is {rollout['effective_state']}: {rollout['stages'][1]}",
        )
        missing = [each.name for each in self._members() if self._state_of(each) != "installed"]
        self._check(not missing, f"not installed on {missing}")
        self._tell(f"installed on all {len(self._members())} devices, read from their own lists")

    def close(self) -> None:
        """What the bridge says of each device is what the device says; the audit chain holds."""
        for member in self._members():
            rows = self.api.every(f"/devices/{member.id}/updates")
            said = {row["update_id"]: row["state"] for row in rows}
            self._check(said == member.states(), f"the bridge and {member.name} do not agree")
        with self.database.read() as connection:
            verdict = verify(connection)
        self._check(verdict.fault is None, f"the audit chain is broken: {verdict.fault}")
        days = (self.clock.now - START).days
        seconds = time.monotonic() - self._began
        ended = sum(self.sessions.values())
        self._check(set(self.sessions) == {"complete"}, f"sessions ended {dict(self.sessions)}")
        self._tell(f"{days} days, {ended} sessions, {verdict.checked} audit entries in {seconds:.0f} s")

    # --- what happens -----------------------------------------------------------------------------------

    def _connect(self, name: str) -> BridgeApi:
        with self.database.write() as connection:
            origin = Origin(actor="command-line")
            _, secret = create_token(
                connection, origin, name=name, scopes=_SCOPES, lifetime=None, now=self.clock.now
            )
        return BridgeApi(self.url, secret, self.http)

    def _enrol(self, name: str) -> Member:
        identity = Identity(name.encode().hex().upper(), name, _BUILD, "Contoso", "Model 1")
        enrolment = enrol(self.api, identity)
        installed = offers_for(self.catalogue, Build.parse(_BUILD))
        device = VirtualDevice(
            enrolment.record(identity),
            self.store,
            lambda _now: offers_for(self.catalogue, Build.parse(_BUILD)),
            http=self.http,
            habits=Habits(pace=TYPICAL),
            patience=Patience(attempts=1),
            sleep=threading.Event().wait,
        )
        device.windows.preinstall(installed, self.clock.now)
        device.save()
        return Member(device, enrolment.id, "Windows 11 24H2", frozenset(), frozenset())

    def _break(self, members: Iterable[Member], broken: dict[str, int]) -> None:
        for member in members:
            member.device.windows.habits = replace(member.device.windows.habits, broken=broken)

    def _until(self, moment: datetime) -> None:
        while self.clock.now < moment:
            self.clock.now = min(self.clock.now + _TICK, moment)
            self._tick()

    def _tick(self) -> None:
        """What is due at this moment: each device's session, and then the bridge's own work."""
        for member in self._members():
            report = member.device.check_in(self.clock.now)
            self.sessions[report.end.value] += 1
        self.memberships.run_pending()
        while self.syncs.run_pending() is not None:
            pass
        self.rules.run_pending()
        self.rollouts.run_pending(self.clock.now)

    # --- what is found ----------------------------------------------------------------------------------

    def _members(self) -> list[Member]:
        return [*self.pilots, *self.others]

    def _bad(self) -> OfferedUpdate:
        assert self.bad is not None  # noqa: S101 - known since Patch Tuesday
        return self.bad

    def _rollout(self) -> dict[str, Any]:
        """The newest one, with its figures."""
        newest: dict[str, Any] = next(iter(self.api.every("/rollouts")), {})
        self._check(bool(newest), "no rollout was started")
        found: dict[str, Any] = self.api.get(f"/rollouts/{newest['id']}")
        return found

    def _rollback_outcomes(self) -> Counter[str]:
        jobs = list(self.api.every("/rollbacks"))
        self._check(len(jobs) == 1, f"there are {len(jobs)} rollbacks")
        return Counter(row["sentence"] for row in self.api.every(f"/rollbacks/{jobs[0]['id']}/devices"))

    def _explain(self, member: Member) -> dict[str, Any]:
        found: dict[str, Any] = self.api.get(f"/devices/{member.id}/updates/{self._bad().update_id}")[
            "update"
        ]
        return found

    def _state_of(self, member: Member) -> str | None:
        """The state of the update by the device's own lists."""
        return member.states().get(self._bad().update_id)

    def _told(self) -> list[str]:
        """The devices of the second ring that have been told they may install it."""
        bad = self._bad().update_id
        return [each.name for each in self.others if bad in each.listed("ApprovedUpdates")]

    def _check_untold(self) -> None:
        told = self._told()
        self._check(not told, f"{told} of the other ring have been told already")

    def _check(self, holds: bool, otherwise: str) -> None:  # noqa: FBT001 - the condition itself
        if not holds:
            raise NotHeldError(otherwise)

    def _tell(self, line: str) -> None:
        self._say(f"      {line}")
