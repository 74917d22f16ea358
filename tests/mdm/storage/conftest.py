"""Rows for the storage tests: the least each table takes."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from mdm.storage.engine import Database
from mdm.storage.tables import (
    ApiToken,
    Approval,
    AuditEntry,
    AuthFailure,
    Device,
    DevicePolicy,
    DeviceTag,
    DeviceUpdate,
    DmPart,
    DmReply,
    DmSession,
    Eula,
    EulaAcceptance,
    EulaText,
    GroupLink,
    GroupMember,
    NeededRevision,
    PolicyAssignment,
    PolicyProfile,
    PolicySupport,
    RevisionRelation,
    StaticMember,
    SyncRun,
    UpdateRevision,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOMENT = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)

ROWS: dict[type, dict[str, Any]] = {
    Device: {
        "pk": 1,
        "id": "d1",
        "device_id": "urn:uuid:1",
        "name": "Desk 1",
        "created_at": MOMENT,
        "auth_scheme": "syncml:auth-md5",
        "auth_username": "u",
        "auth_verifier": b"\x00\xff",
        "auth_nonce": "bm9uY2U=",
    },
    DeviceUpdate: {"device_pk": 1, "update_id": "u1", "lists": 1, "state": "installable", "since": MOMENT},
    DevicePolicy: {"device_pk": 1, "name": "P", "status": "set", "status_code": 200, "at": MOMENT},
    PolicyProfile: {
        "id": "prf_1",
        "name": "P",
        "settings": {"AllowAutoUpdate": "2"},
        "drift": "repair",
        "created_at": MOMENT,
        "changed_at": MOMENT,
    },
    PolicyAssignment: {"profile_id": "prf_1", "group_id": "all-devices", "rank": 1},
    PolicySupport: {"build": "10.0.26100.1", "edition": "", "name": "P", "supported": False, "at": MOMENT},
    AuthFailure: {"device_pk": 1, "remote_addr": "192.0.2.1", "failures": 0, "last_at": MOMENT},
    DmPart: {"device_pk": 1, "msg_id": 2, "items": [[0, "./Vendor/MSFT/Update", None, "x"]]},
    DmSession: {
        "device_pk": 1,
        "session_id": "1",
        "state": {},
        "opened_at": MOMENT,
        "last_message_at": MOMENT,
    },
    DmReply: {
        "device_pk": 1,
        "session_id": "1",
        "msg_id": "1",
        "request_sha256": b"\x00" * 32,
        "reply": bytes(range(256)),
        "sent_at": MOMENT,
    },
    GroupMember: {"device_pk": 1, "group_id": "all-devices"},
    StaticMember: {"device_pk": 1, "group_id": "all-devices"},
    DeviceTag: {"device_pk": 1, "tag": "kiosk"},
    GroupLink: {"group_id": "unassigned", "kind": "include", "other_id": "all-devices"},
    Approval: {
        "id": "a1",
        "target_type": "update",
        "target_id": "u1",
        "action": "approve",
        "allow_without_metadata": False,
        "created_at": MOMENT,
        "created_by": "client:it",
    },
    Eula: {"id": "e1", "first_seen_at": MOMENT},
    EulaText: {"eula_id": "e1", "locale": "en", "file_sha1": "x"},
    EulaAcceptance: {
        "id": "c1",
        "eula_id": "e1",
        "locale": "en",
        "text_sha256": "00",
        "accepted_by": "client:it",
        "accepted_at": MOMENT,
    },
    UpdateRevision: {
        "update_id": "u1",
        "revision_number": 1,
        "is_latest": True,
        "update_type": "Software",
        "title": "T",
        "kb_all": [],
        "publication_state": "Published",
        "explicitly_deployable": True,
        "can_uninstall": False,
        "original": b"x",
        "upstream_url": "http://wsus.example",
        "fetched_at": MOMENT,
    },
    RevisionRelation: {
        "update_id": "u1",
        "revision_number": 1,
        "kind": "bundles",
        "clause": 0,
        "target_id": "u2",
    },
    NeededRevision: {
        "update_id": "u1",
        "revision_number": 1,
        "state": "queued",
        "first_reported_at": MOMENT,
        "attempts": 0,
    },
    SyncRun: {
        "id": "s1",
        "upstream_url": "http://wsus.example",
        "trigger": "manual",
        "requested_by": "client:it",
        "state": "queued",
        "requested_at": MOMENT,
        **dict.fromkeys(
            ("categories", "needed", "fetched", "not_offered", "failed", "eula_texts", "bytes_received"), 0
        ),
    },
    ApiToken: {"id": "t1", "name": "it", "token_sha256": "00", "scopes": ["admin"], "created_at": MOMENT},
    AuditEntry: {
        "at": MOMENT,
        "actor": "client:it",
        "action": "device.create",
        "object_type": "device",
        "object_id": "d1",
        "detail": {},
        "hash": "0" * 64,
    },
}


@pytest.fixture
def moment() -> datetime:
    """The moment in every row."""
    return MOMENT


@pytest.fixture
def rows() -> dict[type, dict[str, Any]]:
    """A valid row for each table, as a fresh mapping."""
    return {model: dict(row) for model, row in ROWS.items()}


@pytest.fixture(params=["sqlite", "postgresql"])
def unreachable(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database nobody can open: a file below a file, a port where nobody listens."""
    (tmp_path / "file").touch()
    url = {
        "sqlite": f"sqlite:///{tmp_path}/file/bridge.sqlite3",
        "postgresql": "postgresql://nobody@127.0.0.1:1/nothing",
    }[request.param]
    with closing(Database(url)) as database:
        yield database
