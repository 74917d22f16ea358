"""A stage for the end-to-end tests: an upstream, a bridge in a process of its own, an administrator's decisions."""

from __future__ import annotations

import itertools
import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from csp.classifications import DEFINITION_UPDATES
from mdm.clock import utc_now
from mdm.lab.bridge import BridgeProcess
from mdm.lab.device import Patience, VirtualDevice
from mdm.lab.enrol import BridgeApi, enrol
from mdm.lab.generate import build_catalogue
from mdm.lab.offers import offers_for
from mdm.lab.store import DeviceStore, Identity
from mdm.lab.upstream import UpstreamServer
from mdm.lab.versions import Build

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mdm.lab.catalogue import Catalogue

BUILD = Build.parse("10.0.26100.4652")


@dataclass(slots=True)
class Stage:
    """What the tests play on; every test enrols a device of its own."""

    catalogue: Catalogue
    bridge: BridgeProcess
    api: BridgeApi
    http: httpx2.Client
    directory: Path
    approved: set[str] = field(default_factory=set)
    """UpdateIDs and classifications that are approved for all devices."""
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def enrol(self, *, endpoint: str | None = None, **options: Any) -> tuple[str, VirtualDevice]:
        """A new device and the bridge's id of it; `endpoint` is where it finds the bridge."""
        number = next(self.numbers)
        identity = Identity(f"{number:032X}", f"E2E-{number}", str(BUILD))
        made = enrol(self.api, identity)
        account = made.account
        if endpoint is not None:
            account = replace(account, server_uri=f"{endpoint}/omadm")
        offers = offers_for(self.catalogue, BUILD)
        device = VirtualDevice(
            replace(made.record(identity), account=account),
            DeviceStore(self.directory / "devices"),
            lambda _: offers,
            http=self.http,
            patience=Patience(attempts=5, first_wait=0.05, timeout=60),
            **options,
        )
        return made.id, device

    def sync(self) -> None:
        """Let the bridge read the upstream's catalogue, and wait for the end."""
        run = self.api.post("/catalog/syncs")
        while run["state"] in {"queued", "running"}:
            time.sleep(0.05)
            run = self.api.get(f"/catalog/syncs/{run['id']}")
        assert run["state"] == "succeeded", run

    def approve(self, kind: str, target: str) -> None:
        """Approve something for all devices."""
        body = {"target": {"type": kind, "id": target}, "action": "approve", "group_ids": ["all-devices"]}
        assert self.api.post("/approvals", body)["effective_state"] == "active"
        self.approved.add(target)


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Two updates, one of them with accepted licence terms, and a classification are approved."""
    directory = tmp_path_factory.mktemp("stage")
    catalogue = build_catalogue(1, utc_now())
    with ExitStack() as stack:
        upstream = stack.enter_context(UpstreamServer(catalogue))
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        environment = {"BRIDGE_UPSTREAM_URL": upstream.url, "BRIDGE_EULA_ACCEPT_BY_TOKEN": "true"}
        bridge = BridgeProcess(directory / "bridge", port, environment)
        stack.callback(bridge.stop)
        bridge.start()
        http = stack.enter_context(httpx2.Client(trust_env=False, timeout=60))
        api = BridgeApi(bridge.url, bridge.make_token("tests", ["admin", "eula.accept"]), http)
        stage = Stage(catalogue, bridge, api, http, directory)
        _, first = stage.enrol()
        assert first.check_in(utc_now()).ok
        stage.sync()
        offers = offers_for(catalogue, BUILD)
        licensed = next(update for update in offers if update.eula_id is not None and not update.needs_reboot)
        eula = api.get(f"/eulas/{licensed.eula_id}")
        api.post(
            f"/eulas/{licensed.eula_id}/accept",
            {"locale": eula["locale"], "text_sha256": eula["text_sha256"]},
        )
        stage.approve("update", licensed.update_id)
        stage.approve("update", next(update for update in offers if update.needs_reboot).update_id)
        stage.approve("classification", DEFINITION_UPDATES)
        yield stage
