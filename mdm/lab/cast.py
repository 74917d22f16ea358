"""Who and what the demo's story is about; the devices' lists are read here, from the devices and nobody else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from csp.guid import parse_guid
from mdm.clock import utc_now
from syncml.messages import Get, Item, Location

if TYPE_CHECKING:
    from collections.abc import Callable

    from mdm.lab.bridge import BridgeProcess
    from mdm.lab.catalogue import Catalogue, OfferedUpdate
    from mdm.lab.device import VirtualDevice
    from mdm.lab.enrol import BridgeApi
    from mdm.lab.store import DeviceCertificate, DeviceStore

__all__ = ["Cast", "Member", "Props"]


@dataclass(frozen=True, slots=True)
class Member:
    """A device of the story."""

    device: VirtualDevice
    id: str
    """The bridge's id of it."""
    windows_name: str
    """`Windows 11 24H2`, for people."""
    applicable: frozenset[str]
    """UpdateIDs of what the device is offered."""
    comes_with: frozenset[str]
    """UpdateIDs of what it had when it was enrolled."""

    @property
    def name(self) -> str:
        """The computer's name."""
        return self.device.record.identity.name

    @property
    def certificate(self) -> DeviceCertificate:
        """What it proves itself with; only for a device that has enrolled itself."""
        held = self.device.record.certificate
        assert held is not None, self.name  # noqa: S101 - the cast knows who has one
        return held

    def listed(self, which: str) -> set[str]:
        """The GUIDs of one list of the Update CSP, read from the device's own tree with a plain Get."""
        item = Item(target=Location(f"./Vendor/MSFT/Update/{which}"))
        outcome = self.device.tree.execute(Get("1", (item,)), utc_now())
        names = (name for each in outcome.items for name in (each.data or "").split("/"))
        return {parse_guid(name) for name in names if name}

    def states(self) -> dict[str, str]:
        """The state of each update by the device's own lists, as the bridge names it; the last list counts."""
        order = (
            ("InstalledUpdates", "installed"),
            ("InstallableUpdates", "installable"),
            ("FailedUpdates", "failed"),
            ("PendingRebootUpdates", "pending_reboot"),
        )
        return {update_id: state for which, state in order for update_id in self.listed(which)}

    def class_of(self, update_id: str) -> str:
        """The classification of an update the device knows."""
        return self.device.windows.state.jobs[update_id].update.classification_id


@dataclass(frozen=True, slots=True)
class Props:
    """The updates the story is about."""

    cumulative: OfferedUpdate
    """Of several devices; on one of them it fails at first."""
    licensed: OfferedUpdate
    """Of every device, with licence terms."""
    later: OfferedUpdate
    """Of every device, without licence terms; approved last."""
    unknown: OfferedUpdate
    """Offered to one device, and no upstream knows it."""


@dataclass(slots=True)
class Cast:
    """Everybody in the story."""

    catalogue: Catalogue
    props: Props
    upstream_url: str
    bridge: BridgeProcess
    connect: Callable[[], BridgeApi]
    """Makes the administrator's token; called once, when the bridge is up."""
    enrol: Callable[[BridgeApi, str, Callable[[str], object]], list[Member]]
    """Lets the devices enrol with this token, and says how; called once, in the step that tells it."""
    thieves: DeviceStore
    """Where devices that pretend to be others keep themselves."""
    domain: str = "contoso.test"
    """All that a device knows of its server: `enterpriseenrollment.` stands before it."""
    api: BridgeApi = field(init=False)
    members: list[Member] = field(default_factory=list)
