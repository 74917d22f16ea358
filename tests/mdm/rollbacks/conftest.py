"""Virtual devices that check in, and rollbacks for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from csp.classifications import SECURITY_UPDATES
from csp.rollback import RollbackKind
from mdm.audit import Origin
from mdm.devices.groups import create_group
from mdm.devices.refresh import refresh_memberships
from mdm.devices.timeline import list_timeline
from mdm.lab.catalogue import OfferedUpdate
from mdm.lab.tree import DeviceTree
from mdm.lab.versions import Build
from mdm.lab.windows import Habits, Pace, Windows
from mdm.rollbacks.store import OutcomeView, RollbackScope, RollbackView, create_rollback, list_outcomes
from mdm.storage.statements import table_of
from mdm.storage.tables import Device

if TYPE_CHECKING:
    from conftest import Bench, ScriptedDevice

ORIGIN = Origin(actor="client:test")
HOUR = timedelta(hours=1)
PACE = Pace(scan=HOUR, install=HOUR / 4, restart=HOUR / 4, retry=24 * HOUR)


def guid(number: int) -> str:
    """An UpdateID."""
    return f"00000000-0000-4000-8000-{number:012d}"


def offer(number: int, classification: str, supersedes: tuple[str, ...] = ()) -> OfferedUpdate:
    """An update as a scan finds it."""
    return OfferedUpdate(
        update_id=guid(number),
        revision_number=200,
        title=f"Update {number}",
        kb=None,
        classification_id=classification,
        eula_id=None,
        type=1,
        needs_reboot=False,
        supersedes=supersedes,
    )


@dataclass
class VirtualPc:
    """A virtual Windows whose sessions are those of a scripted device."""

    device: ScriptedDevice
    windows: Windows
    tree: DeviceTree
    offers: list[OfferedUpdate]

    def check_in(self) -> list[str]:
        """One session at the bench's time; what it was told and asked, besides the usual, comes back."""
        bench, before = self.device.bench, len(self.device.asked)
        self.windows.advance(bench.now)
        self.tree.begin_session()
        self.device.check_in()
        return [each for each in self.device.asked[before:] if "Rollback" in each or "Pause" in each]


@dataclass
class Ward:
    """A bench with virtual devices, and rollbacks for them."""

    bench: Bench
    pcs: dict[str, VirtualPc] = field(default_factory=dict)

    def enrol(
        self,
        device_id: str = "PC1",
        build: str = "10.0.22631.4460",
        classification: str = SECURITY_UPDATES,
    ) -> VirtualPc:
        """A device with two updates of the class installed, the second of which replaces the first; checked in."""
        device = self.bench.enrol(device_id)
        offers = [offer(1, classification), offer(2, classification, (guid(1),))]
        windows = Windows(lambda _: tuple(offers), Habits(pace=PACE))
        known = Build.parse(build)
        tree = DeviceTree(
            windows, known, {"./DevDetail/SwV": build, "./DevDetail/Ext/Microsoft/OSPlatform": known.edition}
        )
        pc = self.pcs[device_id] = VirtualPc(device, windows, tree, offers)

        def carry_out(command: Any) -> Any:
            uri = command.items[0].target.loc_uri
            device.asked.append(f"{type(command).__name__} {uri}")
            return device.answers[uri] if uri in device.answers else tree.execute(command, self.bench.now)

        device.carry_out = carry_out
        windows.preinstall(offers, self.bench.now - 9 * HOUR)
        pc.check_in()
        return pc

    def pass_time(self, time: timedelta = HOUR) -> None:
        """Let it go by."""
        self.bench.now += time

    def ask(
        self,
        *device_ids: str,
        kind: RollbackKind = RollbackKind.QUALITY,
        group_ids: tuple[str, ...] = (),
        days: int = 14,
    ) -> RollbackView:
        """Ask these devices to roll back."""
        scope = RollbackScope(group_ids, tuple(f"id-{each}" for each in device_ids))
        with self.bench.database.write() as conn:
            return create_rollback(
                conn, ORIGIN, kind=kind, scope=scope, reason="breaks VPN", days=days, now=self.bench.now
            )

    def outcome(self, job: RollbackView, device_id: str = "PC1") -> OutcomeView:
        """What has become of a device."""
        with self.bench.database.read() as conn:
            rows = list_outcomes(conn, job.id, after=None, limit=100, now=self.bench.now)
        return next(view for _, view in rows if view.device_id == device_id)

    def group(self, name: str, *device_ids: str) -> str:
        """Make a group of these devices; its id comes back."""
        with self.bench.database.write() as conn:
            members = [f"id-{each}" for each in device_ids]
            made = create_group(conn, ORIGIN, name=name, members=members, now=self.bench.now)
            refresh_memberships(conn)
        return made.id

    def know(self, device_id: str, **values: Any) -> None:
        """Write down something else about a device."""
        device = table_of(Device)
        with self.bench.database.write() as conn:
            conn.execute(update(device).where(device.c.device_id == device_id).values(**values))

    def steps(self, device_id: str = "PC1") -> list[str]:
        """The states of rollbacks on a device's timeline, oldest first."""
        pk = next(row["pk"] for row in self.bench.rows("device") if row["device_id"] == device_id)
        with self.bench.database.read() as conn:
            events = list_timeline(conn, pk, limit=500)
        return [each.detail["state"] for each in reversed(events) if each.kind == "rollback"]


@pytest.fixture
def ward(bench: Bench) -> Ward:
    """On SQLite and on PostgreSQL."""
    return Ward(bench)


@pytest.fixture
def origin() -> Origin:
    """Who asks."""
    return ORIGIN
