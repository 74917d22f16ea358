"""A check-in over a real database, and a scripted device that speaks through `syncml.client`."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, select, text
from sqlmodel import SQLModel

from mdm.approvals.versions import facts_changed
from mdm.catalog.listing import list_again, superseded_again
from mdm.checkin.delivery import Delivery
from mdm.checkin.service import CheckIn
from mdm.storage.secrets import SecretBox
from syncml import client
from syncml.auth import (
    BASIC,
    MAC,
    MD5,
    Credentials,
    Proof,
    challenge,
    credential_hash,
    make_cred,
    make_mac,
    verify,
)
from syncml.auth import Verdict as Trust
from syncml.client import Outcome, Verdict
from syncml.messages import Delete, Get, Item, Location, Meta, Replace
from syncml.reader import read_message
from syncml.status import StatusCode
from syncml.writer import write_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from mdm.checkin.delivery import Reply
    from mdm.storage.engine import Database
    from syncml.client import ClientState, Turn
    from syncml.messages import Alert, Cred, Message

UPDATE = "./Vendor/MSFT/Update"
NONCE = b"first nonce 0123"
SERVER_NONCE = b"the server's one"
HASH = credential_hash("user", "secret")
SERVER_HASH = credential_hash("bridge", "server secret")


@dataclass
class Bench:
    """A check-in, its database, and the clock of the test."""

    checkin: CheckIn
    database: Database
    now: datetime
    secrets: SecretBox
    private: bool = True
    remote_addr: str = "192.0.2.1"
    certificate: bytes | None = None
    """The client certificate of the connection."""

    def post(self, message: Message | bytes) -> bytes:
        """Hand over one message; the clock moves a second."""
        return self.send(message if isinstance(message, bytes) else write_message(message)).body

    def send(self, body: bytes, mac: str | None = None) -> Reply:
        """Hand over one message as the transport does; the clock moves a second."""
        self.now += timedelta(seconds=1)
        delivery = Delivery(body, self.private, self.remote_addr, mac, self.certificate)
        return self.checkin.handle(delivery, self.now)

    def add(self, table: str, **values: Any) -> None:
        """Insert one row."""
        with self.database.write() as connection:
            connection.execute(insert(SQLModel.metadata.tables[table]), values)
            facts_changed(connection)  # behind everybody's back, so that all must look again
            if table in {"update_revision", "revision_relation"}:
                superseded_again(connection, [values["update_id"]])
                list_again(connection, [values["update_id"]])

    def rows(self, table: str, *order: str) -> list[dict[str, Any]]:
        """All rows of a table."""
        found = SQLModel.metadata.tables[table]
        with self.database.read() as connection:
            result = connection.execute(select(found).order_by(*(found.c[name] for name in order)))
            return [dict(row) for row in result.mappings()]

    def dump(self) -> dict[str, list[dict[str, Any]]]:
        """Every row of every table: what must not change when a message proves nothing."""
        return {name: self.rows(name) for name in SQLModel.metadata.tables}

    def enrol(
        self,
        device_id: str = "DEV1",
        scheme: str = MD5,
        *,
        each_message: bool = True,
        server_auth: str | None = None,
        certificate_required: bool = False,
    ) -> ScriptedDevice:
        """Create a device row and the device; with `server_auth` the device wants the bridge's credentials."""
        server = {}
        if server_auth is not None:
            server = {
                "server_auth_scheme": server_auth,
                "server_auth_username": "bridge",
                "server_auth_verifier": self.secrets.seal(SERVER_HASH.encode()),
                "server_auth_nonce": b64encode(SERVER_NONCE).decode(),
            }
        self.add(
            "device",
            id=f"id-{device_id}",
            device_id=device_id,
            name=device_id.lower(),
            created_at=self.now,
            auth_scheme=scheme,
            auth_username="user",
            auth_verifier=self.secrets.seal(HASH.encode()),
            auth_nonce=b64encode(NONCE).decode(),
            auth_each_message=each_message,
            certificate_required=certificate_required,
            **server,
        )
        return ScriptedDevice(self, device_id, scheme, server_auth=server_auth, transport=self.send)

    def approve(self, target_id: str, target_type: str = "update", **values: Any) -> None:
        """Approve for all devices."""
        approval_id = f"approval-{target_id[:8]}-{len(self.rows('approval'))}"
        self.add(
            "approval",
            id=approval_id,
            target_type=target_type,
            target_id=target_id,
            action=values.pop("action", "approve"),
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

    def expire(self, update_id: str) -> None:
        """Withdraw an update, as Microsoft does with a new revision."""
        with self.database.write() as connection:
            connection.execute(
                text("UPDATE update_revision SET publication_state = 'Expired' WHERE update_id = :id"),
                {"id": update_id},
            )
            superseded_again(connection, [update_id])
            list_again(connection, [update_id])
            facts_changed(connection)


@dataclass
class ScriptedDevice:
    """A device whose Update tree is what the test says.

    It proves itself as the bridge's last answer wants it: in each message, or once a session after 212.
    """

    bench: Bench
    device_id: str
    scheme: str
    transport: Callable[[bytes, str | None], Reply]
    """Sends a message and its MAC; the bridge's reply and its MAC come back."""
    nonce: bytes = NONCE
    sessions: int = 0
    installable: dict[str, tuple[int, int]] = field(default_factory=dict)
    """GUID to (Type, RevisionNumber)."""
    failed: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    """GUID to (HResult, State, RevisionNumber)."""
    pending: dict[str, int] = field(default_factory=dict)
    installed: dict[str, int] = field(default_factory=dict)
    approved: list[str] = field(default_factory=list)
    forgetful: bool = False
    """Whether its build lets an approval be taken back."""
    policies: dict[str, str] = field(default_factory=dict)
    """Policies in effect, by name."""
    answers: dict[str, Outcome] = field(default_factory=dict)
    """LocURI (as sent) to an outcome that overrides the tree's."""
    asked: list[str] = field(default_factory=list)
    """`verb LocURI` of every command carried out, in order."""
    password: str = "secret"
    proving: bool = True
    """Whether the next message carries credentials."""
    statuses: list[int] = field(default_factory=list)
    """The bridge's status for the SyncHdr of each message."""
    server_auth: str | None = None
    """How the bridge has to prove itself; None: not at all."""
    server_nonce: bytes = SERVER_NONCE
    trusts: list[Trust] = field(default_factory=list)
    """What the bridge's credentials were worth in each reply with commands."""
    trust_once: bool = False
    """Accept the bridge's credentials for the whole session (212)."""
    trusted: bool = False

    # --- one message at a time --------------------------------------------------------------------------

    def begin(self, session_id: str = "1", *alerts: Alert) -> tuple[Message, ClientState]:
        """Package 1 of a new session, with credentials unless `proving` is off."""
        self.trusted = False
        return client.begin(
            session_id=session_id,
            device_id=self.device_id,
            server_uri="https://mdm.example.test/omadm",
            device_info={
                "./DevInfo/DevId": self.device_id,
                "./DevInfo/Man": "Contoso",
                "./DevInfo/Lang": "en-US",
            },
            alerts=alerts,
            cred=self.cred(),
            username=self.username(),
        )

    def answer(
        self, turn: Turn, outcomes: list[Outcome] | None = None, **more: Any
    ) -> tuple[Message, ClientState]:
        """The package that answers commands, carried out now unless their outcomes are given."""
        if outcomes is None:
            outcomes = [self.carry_out(command) for command in turn.commands]
        return client.answer(turn, outcomes, cred=self.cred(), username=self.username(), **more)

    def cred(self) -> Cred | None:
        """The Cred of the next message."""
        if not self.proving or self.scheme == MAC:
            return None
        return make_cred(self.scheme, "user", self.password, self.nonce)

    def username(self) -> str | None:
        """The Source LocName of the next message."""
        return "user" if self.proving else None

    def mac(self, body: bytes) -> str | None:
        """The MAC of the next message."""
        if not self.proving or self.scheme != MAC:
            return None
        return make_mac("user", credential_hash("user", self.password), self.nonce, body)

    def post(self, message: Message) -> Reply:
        """Send a message; the reply is still to be read."""
        body = write_message(message)
        return self.transport(body, self.mac(body))

    def hear(self, state: ClientState, reply: Reply | bytes) -> Turn:
        """Read a reply: a nonce in it is the next one, and 212 ends the proving until the next session."""
        turn = client.receive(state, read_message(reply if isinstance(reply, bytes) else reply.body))
        self.statuses.append(turn.status)
        if turn.next_nonce is not None:
            self.nonce = turn.next_nonce
        if turn.status == StatusCode.AUTHENTICATION_ACCEPTED:
            self.proving = False
        return turn

    def say(self, message: Message, state: ClientState) -> Turn:
        """Send a message and read its reply."""
        return self.hear(state, self.post(message))

    # --- whole sessions ---------------------------------------------------------------------------------

    def check_in(self, *, first: bool = True) -> Verdict:
        """One whole session; `first` sends credentials with package 1."""
        self.sessions += 1
        self.proving = first
        message, state = self.begin(str(self.sessions))
        for _ in range(20):
            reply = self.post(message)
            turn = self.hear(state, reply)
            if turn.verdict is Verdict.CHALLENGED:
                self.proving = True
                message, state = client.retry(turn, self.cred(), "user")
            elif turn.verdict is Verdict.COMMANDS:
                message, state = self._weigh(turn, reply)
            else:
                return turn.verdict
        raise AssertionError("the session does not end")

    def _weigh(self, turn: Turn, reply: Reply) -> tuple[Message, ClientState]:
        """Carry the commands out if the bridge has proved itself, else ask it to."""
        if self.server_auth is None or self.trusted:
            return self.answer(turn)
        header = read_message(reply.body).header
        given = Proof(header.cred, header.source.loc_name, reply.body, reply.mac)
        known = Credentials(self.server_auth, "bridge", SERVER_HASH, self.server_nonce)
        self.trusts.append(verify(given, known))
        if self.trusts[-1] is not Trust.ACCEPTED:
            missing = self.trusts[-1] is Trust.MISSING
            code = StatusCode.MISSING_CREDENTIALS if missing else StatusCode.INVALID_CREDENTIALS
            chal = challenge(self.server_auth, self.server_nonce)
            return client.distrust(turn, code, chal, cred=self.cred(), username=self.username())
        self.server_nonce = b"server nonce %03d" % len(self.trusts)
        self.trusted = self.trust_once
        code = StatusCode.AUTHENTICATION_ACCEPTED if self.trust_once else StatusCode.OK
        return self.answer(turn, code=code, chal=challenge(self.server_auth, self.server_nonce))

    def carry_out(self, command: Any) -> Outcome:
        """Do as the tree says."""
        uri = command.items[0].target.loc_uri
        self.asked.append(f"{type(command).__name__} {uri}")
        if uri in self.answers:
            return self.answers[uri]
        path = uri.partition("?")[0]
        if "/Policy/" in path:
            return self.handle_policy(command, path)
        if isinstance(command, Get):
            return self.read(path)
        if "/ApprovedUpdates/" in path:
            guid = path.rpartition("/")[2].removeprefix("%7b").removesuffix("%7d")
            if isinstance(command, Delete):
                return self.forget(guid)
            if guid in self.approved:
                return Outcome(418)
            self.approved.append(guid)
        return Outcome(200)

    def forget(self, guid: str) -> Outcome:
        """Take an approval back, if its build can."""
        if not self.forgetful:
            return Outcome(405)
        self.approved = [each for each in self.approved if each != guid]
        return Outcome(200)

    def handle_policy(self, command: Any, path: str) -> Outcome:
        """Set, reset or show a policy, as Windows does it."""
        name = path.rpartition("/")[2]
        if isinstance(command, Replace):
            self.policies[name] = command.items[0].data
            return Outcome(200)
        if name not in self.policies:
            return Outcome(404)
        if isinstance(command, Delete):
            del self.policies[name]
            return Outcome(200)
        return Outcome(200, (Item(source=Location(path), data=self.policies[name]),))

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
        if name not in lists:
            return Outcome(404)
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


@pytest.fixture(scope="session")
def open_bench() -> Callable[[Database, Any, datetime, Callable[[], bytes]], Bench]:
    """Make a bench over a database of the test's own, for tests that need many."""
    return _bench


def _bench(database: Database, data_dir: Any, now: datetime, make_nonce: Callable[[], bytes]) -> Bench:
    secrets = SecretBox.from_file(data_dir / "secret.key")
    return Bench(CheckIn(database, secrets, make_nonce), database, now, secrets)


__all__ = ["BASIC", "MAC", "MD5", "UPDATE", "Bench", "ScriptedDevice", "Trust", "struct_data"]
