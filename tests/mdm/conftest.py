"""A check-in over a real database, and a scripted device that speaks through `syncml.client`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, select
from sqlmodel import SQLModel

from mdm.checkin.service import CheckIn
from mdm.storage.secrets import SecretBox
from syncml import client
from syncml.auth import BASIC, MD5, credential_hash, make_cred
from syncml.client import Outcome, Verdict
from syncml.messages import Get, Item, Location, Meta
from syncml.reader import read_message
from syncml.writer import write_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from mdm.storage.engine import Database
    from syncml.messages import Message

UPDATE = "./Vendor/MSFT/Update"
NONCE = b"first nonce 0123"


@dataclass
class Bench:
    """A check-in, its database, and the clock of the test."""

    checkin: CheckIn
    database: Database
    now: datetime
    secrets: SecretBox
    private: bool = True

    def post(self, message: Message | bytes) -> bytes:
        """Hand over one message; the clock moves a second."""
        self.now += timedelta(seconds=1)
        body = message if isinstance(message, bytes) else write_message(message)
        return self.checkin.handle(body, self.now, private=self.private)

    def add(self, table: str, **values: Any) -> None:
        """Insert one row."""
        with self.database.write() as connection:
            connection.execute(insert(SQLModel.metadata.tables[table]), values)

    def rows(self, table: str, *order: str) -> list[dict[str, Any]]:
        """All rows of a table."""
        found = SQLModel.metadata.tables[table]
        with self.database.read() as connection:
            result = connection.execute(select(found).order_by(*(found.c[name] for name in order)))
            return [dict(row) for row in result.mappings()]

    def dump(self) -> dict[str, list[dict[str, Any]]]:
        """Every row of every table: what must not change when a message proves nothing."""
        return {name: self.rows(name) for name in SQLModel.metadata.tables}

    def enrol(self, device_id: str = "DEV1", scheme: str = MD5) -> ScriptedDevice:
        """Create a device row and the device."""
        verifier = self.secrets.seal(credential_hash("user", "secret").encode())
        self.add(
            "device",
            id=f"id-{device_id}",
            device_id=device_id,
            name=device_id.lower(),
            created_at=self.now,
            auth_scheme=scheme,
            auth_username="user",
            auth_verifier=verifier,
            auth_nonce="Zmlyc3Qgbm9uY2UgMDEyMw==",
        )
        return ScriptedDevice(self, device_id, scheme)

    def approve(self, target_id: str, target_type: str = "update", **values: Any) -> None:
        """Approve for all devices."""
        approval_id = f"approval-{target_id[:8]}-{len(self.rows('approval'))}"
        self.add(
            "approval",
            id=approval_id,
            target_type=target_type,
            target_id=target_id,
            action="approve",
            allow_without_metadata=values.pop("allow_without_metadata", False),
            created_at=self.now,
            created_by="test",
            **values,
        )
        self.add("approval_group", approval_id=approval_id, group_id="all-devices")

    def catalogue(self, update_id: str, **values: Any) -> None:
        """Store the metadata of an update."""
        defaults: dict[str, Any] = {
            "update_id": update_id,
            "revision_number": 200,
            "is_latest": True,
            "update_type": "Software",
            "title": f"Update {update_id[:4]}",
            "kb_all": [],
            "publication_state": "Published",
            "explicitly_deployable": True,
            "can_uninstall": False,
            "original": b"",
            "upstream_url": "http://upstream.test",
            "fetched_at": self.now,
        }
        self.add("update_revision", **{**defaults, **values})


@dataclass
class ScriptedDevice:
    """A device whose Update tree is what the test says."""

    bench: Bench
    device_id: str
    scheme: str
    nonce: bytes = NONCE
    sessions: int = 0
    installable: dict[str, tuple[int, int]] = field(default_factory=dict)
    """GUID to (Type, RevisionNumber)."""
    failed: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    """GUID to (HResult, State, RevisionNumber)."""
    pending: dict[str, int] = field(default_factory=dict)
    installed: dict[str, int] = field(default_factory=dict)
    approved: list[str] = field(default_factory=list)
    answers: dict[str, Outcome] = field(default_factory=dict)
    """LocURI (as sent) to an outcome that overrides the tree's."""
    asked: list[str] = field(default_factory=list)
    """`verb LocURI` of every command carried out, in order."""
    password: str = "secret"

    def check_in(self, *, first: bool = True) -> Verdict:
        """One whole session; `first` sends credentials with package 1."""
        self.sessions += 1
        cred = make_cred(self.scheme, "user", self.password, self.nonce) if first else None
        message, state = client.begin(
            session_id=str(self.sessions),
            device_id=self.device_id,
            server_uri="https://mdm.example.test/omadm",
            device_info={
                "./DevInfo/DevId": self.device_id,
                "./DevInfo/Man": "Contoso",
                "./DevInfo/Lang": "en-US",
            },
            cred=cred,
            username="user",
        )
        for _ in range(20):
            turn = client.receive(state, read_message(self.bench.post(message)))
            if turn.next_nonce is not None:
                self.nonce = turn.next_nonce
            if turn.verdict is Verdict.CHALLENGED:
                message, state = client.retry(
                    turn, make_cred(self.scheme, "user", self.password, self.nonce), "user"
                )
            elif turn.verdict is Verdict.COMMANDS:
                message, state = client.answer(turn, [self.carry_out(command) for command in turn.commands])
            else:
                return turn.verdict
        raise AssertionError("the session does not end")

    def carry_out(self, command: Any) -> Outcome:
        """Do as the tree says."""
        uri = command.items[0].target.loc_uri
        self.asked.append(f"{type(command).__name__} {uri}")
        if uri in self.answers:
            return self.answers[uri]
        path = uri.partition("?")[0]
        if isinstance(command, Get):
            return self.read(path)
        if "/ApprovedUpdates/" in path:
            guid = path.rpartition("/")[2].removeprefix("%7b").removesuffix("%7d")
            if guid in self.approved:
                return Outcome(418)
            self.approved.append(guid)
        return Outcome(200)

    def read(self, path: str) -> Outcome:
        """Answer a Get in StructData form."""
        name = path.removeprefix(f"{UPDATE}/")
        if name == "LastSuccessfulScanTime":
            return Outcome(200, (Item(source=Location(path), data="2026-11-21T08:00:00Z"),))
        if name.startswith("InstalledUpdates/"):
            guid = name.rpartition("/")[2].removeprefix("%7b").removesuffix("%7d")
            if guid not in self.installed:
                return Outcome(404)
            leaves = {guid: {"RevisionNumber": self.installed[guid]}}
            return Outcome(200, struct_data(f"{UPDATE}/InstalledUpdates", leaves)[1:])
        lists: dict[str, dict[str, dict[str, Any]]] = {
            "InstallableUpdates": {
                g: {"Type": t, "RevisionNumber": r} for g, (t, r) in self.installable.items()
            },
            "FailedUpdates": {
                g: {"HResult": h, "State": s, "RevisionNumber": r} for g, (h, s, r) in self.failed.items()
            },
            "PendingRebootUpdates": {g: {"RevisionNumber": r} for g, r in self.pending.items()},
            "InstalledUpdates": {g: {"RevisionNumber": r} for g, r in self.installed.items()},
            "ApprovedUpdates": {g: {"ApprovedTime": "0"} for g in self.approved},
        }
        return Outcome(200, struct_data(path, lists[name]))


def struct_data(base: str, entries: dict[str, dict[str, Any]]) -> tuple[Item, ...]:
    """Items of a `?list=StructData` answer."""
    node = Meta(format="node")
    items = [Item(source=Location(base), meta=node)]
    for guid, leaves in entries.items():
        items.append(Item(source=Location(f"{base}/{guid}"), meta=node))
        items += [
            Item(source=Location(f"{base}/{guid}/{name}"), meta=Meta(format="int"), data=str(value))
            for name, value in leaves.items()
        ]
    return tuple(items)


@pytest.fixture
def make_nonce() -> Callable[[], bytes]:
    """Nonces that differ, and that a test can foretell."""
    numbers = count(1)
    return lambda: b"nonce %010d" % next(numbers)


@pytest.fixture
def bench(database: Database, data_dir: Any, now: datetime, make_nonce: Callable[[], bytes]) -> Bench:
    """A check-in on SQLite and on PostgreSQL."""
    return _bench(database, data_dir, now, make_nonce)


@pytest.fixture
def sqlite_bench(
    sqlite_database: Database, data_dir: Any, now: datetime, make_nonce: Callable[[], bytes]
) -> Bench:
    """A check-in on SQLite, where the kind of database makes no difference."""
    return _bench(sqlite_database, data_dir, now, make_nonce)


def _bench(database: Database, data_dir: Any, now: datetime, make_nonce: Callable[[], bytes]) -> Bench:
    secrets = SecretBox.from_file(data_dir / "secret.key")
    return Bench(CheckIn(database, secrets, make_nonce), database, now, secrets)


__all__ = ["BASIC", "MD5", "UPDATE", "Bench", "ScriptedDevice", "struct_data"]
