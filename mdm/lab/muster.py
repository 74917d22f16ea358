"""The devices of a fleet: found in the state directory, or enrolled over REST.

Identity, Windows version and behaviour of a device follow from the seed and its number, so the same options
find the same devices again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx2

from mdm.clock import utc_now
from mdm.commands.base import CommandError
from mdm.lab.device import VirtualDevice
from mdm.lab.dice import Dice
from mdm.lab.enrol import ApiProblem, BridgeApi, BridgeAway, enrol
from mdm.lab.manners import Terms, terms_of
from mdm.lab.offers import offers_for, preinstalled_for
from mdm.lab.store import DeviceRecord, DeviceStore, Identity
from mdm.lab.versions import Build
from mdm.lab.windows import QUICK, TYPICAL, Habits

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from mdm.lab.catalogue import Catalogue, OfferedUpdate
    from mdm.lab.device import Patience
    from mdm.lab.manners import Manners

__all__ = ["BUILDS", "FleetOptions", "http_client", "identity_of", "make_device", "muster", "stored"]

BUILDS: Final = (
    ("10.0.26200.7000", 25),
    ("10.0.26100.4652", 40),
    ("10.0.22631.5500", 15),
    ("10.0.19045.6000", 15),
    ("10.0.14393.7606", 5),
)
"""Windows builds and how many devices of a hundred have them: 11 25H2, 24H2, 23H2, 10 22H2, 10 1607."""

_MODELS: Final = (
    ("Dell Inc.", "Latitude 5450"),
    ("LENOVO", "21HD004TGE"),
    ("HP", "HP EliteBook 840 G10"),
    ("Microsoft Corporation", "Surface Laptop 6"),
    ("VMware, Inc.", "VMware20,1"),
)
_FAILURE_PERCENT: Final = 5
_ENROL_WAITS: Final = (1.0, 2.0, 4.0, 8.0)
"""Seconds between attempts to enrol while the bridge is away."""


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """What `csp-bridge device run` was asked for."""

    server: str = ""
    """The bridge; empty: each device goes to where it was enrolled."""
    count: int = 1
    token: str | None = None
    """API token with devices.write; needed as long as a device has no credentials."""
    state_dir: Path = Path("devices")
    interval: float = 60
    """Seconds between two sessions of a device."""
    own_schedule: bool = False
    """Devices that were given a schedule, at their enrolment or since, follow that in place of `interval`."""
    sessions: int | None = None
    seed: int = 1
    """Identities, behaviour, and the catalogue: that of `csp-bridge upstream serve --seed`."""
    accelerate: bool = False
    """Scans, installations and restarts take seconds, not hours."""
    duration: float | None = None
    """Seconds after which no session is begun any more."""
    chaos: bool = False
    """Devices of different manners on a bad network, and a comparison at the end (`mdm.lab.chaos`)."""

    @property
    def habits(self) -> Habits:
        """How the devices behave, but for a seed of each one's own."""
        return Habits(
            pace=QUICK if self.accelerate else TYPICAL, seed=self.seed, failure_percent=_FAILURE_PERCENT
        )


def make_device(
    record: DeviceRecord,
    store: DeviceStore,
    catalogue: Catalogue,
    *,
    http: httpx2.Client,
    habits: Habits,
    stop: threading.Event,
    patience: Patience | None = None,
    manners: Manners | None = None,
    extra: tuple[OfferedUpdate, ...] = (),
) -> VirtualDevice:
    """The device of a record, offered what the catalogue has for its build, and `extra`; a new one comes with updates.

    No two devices of one seed fail at the same updates.
    """
    build = Build.parse(record.identity.os_build)
    own_seed = Dice(habits.seed).number(f"habits/{record.identity.device_id}", 0, 1 << 32)
    offers = (*offers_for(catalogue, build), *extra)
    device = VirtualDevice(
        record,
        store,
        lambda _now: offers,
        http=http,
        habits=replace(habits, seed=own_seed),
        patience=patience,
        manners=manners,
        sleep=stop.wait,
    )
    if record.windows.last_scan is None:
        device.windows.preinstall(preinstalled_for(catalogue, build), utc_now())
        device.save()
    return device


def http_client() -> httpx2.Client:
    """The connections of the lab: no proxy of the environment, one pool for all devices."""
    return httpx2.Client(trust_env=False, timeout=30)


def identity_of(seed: int, number: int) -> Identity:
    """The device with this number in a fleet of this seed."""
    dice = Dice(seed)
    lot = dice.number(f"fleet/{number}/build", 0, 99)
    manufacturer, model = _MODELS[dice.number(f"fleet/{number}/model", 0, len(_MODELS) - 1)]
    return Identity(
        device_id=dice.bytes(f"fleet/{number}/device-id")[:16].hex().upper(),
        name=f"LAB{seed}-{number + 1:04d}",
        os_build=_build_of(lot),
        manufacturer=manufacturer,
        model=model,
        hardware_id=dice.bytes(f"fleet/{number}/hardware").hex().upper(),
    )


def _build_of(lot: int) -> str:
    for build, share in BUILDS[:-1]:
        if lot < share:
            return build
        lot -= share
    return BUILDS[-1][0]


def muster(
    options: FleetOptions,
    store: DeviceStore,
    http: httpx2.Client,
    say: Callable[[str], object],
    stop: threading.Event,
) -> list[DeviceRecord]:
    """The stored records of the devices; those that have none are enrolled. A stop leaves the rest out.

    Raises CommandError if a device cannot be had: no token, the bridge away or unwilling, a foreign state.
    """
    records: list[DeviceRecord] = []
    for number in range(options.count):
        identity = identity_of(options.seed, number)
        endpoint = f"{options.server.rstrip('/')}/omadm" if options.server else None
        record = stored(identity, store, endpoint)
        if record is None:
            if endpoint is None:
                raise CommandError(
                    f"{identity.name} is not in {store.directory}. Enrol it with `csp-bridge device enrol`, or name a "
                    "--server and a --token, by which it is made over REST."
                )
            if options.token is None:
                raise CommandError(
                    f"{identity.name} has no credentials in {store.directory}. Give a token that may enrol it: "
                    "csp-bridge token create --name lab --scope devices.write --plain"
                )
            api = BridgeApi(options.server, options.token, http)
            terms = terms_of(options.seed, number) if options.chaos else Terms()
            record = _enrolled(identity, terms, api, store, say=say, stop=stop)
        if stop.is_set():
            break
        records.append(record)
    return records


def stored(identity: Identity, store: DeviceStore, endpoint: str | None = None) -> DeviceRecord | None:
    """The record of a device, if there is one; raises CommandError if it is spoilt, or of another endpoint than this."""
    try:
        record = store.load(identity.device_id)
    except ValueError as error:
        raise CommandError(f"{error}.") from None
    if record is not None and not record.account.server_uri:
        raise CommandError(
            f"{identity.name} in {store.directory} has left management. Enrol it again with `csp-bridge device enrol`."
        )
    if record is not None and endpoint is not None and record.account.server_uri != endpoint:
        raise CommandError(
            f"{identity.name} in {store.directory} belongs to {record.account.server_uri}; "
            "use another --state-dir or --seed for this server."
        )
    return record


def _enrolled(
    identity: Identity,
    terms: Terms,
    api: BridgeApi,
    store: DeviceStore,
    *,
    say: Callable[[str], object],
    stop: threading.Event,
) -> DeviceRecord:
    waits = iter(_ENROL_WAITS)
    while True:
        try:
            enrolment = enrol(api, identity, terms)
        except BridgeAway as away:
            pause = next(waits, None)
            if pause is None or stop.is_set():
                raise CommandError(f"{identity.name} could not be enrolled: {away}.") from None
            say(f"{away}; trying again in {pause:g} s")
            stop.wait(pause)
        except ApiProblem as problem:
            raise CommandError(_enrol_problem(identity, problem, store)) from None
        else:
            record = enrolment.record(identity)
            store.save(record)
            return record


def _enrol_problem(identity: Identity, problem: ApiProblem, store: DeviceStore) -> str:
    if problem.code == "device_exists":
        return (
            f"The bridge knows {identity.name} already, but its credentials are not in {store.directory}: "
            "use the --state-dir it was made with, or another --seed."
        )
    return f"The bridge does not enrol {identity.name}: {problem}"
