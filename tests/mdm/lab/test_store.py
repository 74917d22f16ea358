"""Where a virtual device keeps itself."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from mdm.lab.store import Account, DeviceCertificate, DeviceRecord, DeviceStore, Identity, Link
from mdm.lab.windows_state import WindowsState

if TYPE_CHECKING:
    from pathlib import Path

RECORD = DeviceRecord(
    identity=Identity("B5B954E81FBCB94EB79BD08BE625F4EE", "PC-1", "10.0.26100.4652"),
    account=Account("http://127.0.0.1:1/omadm", "syncml:auth-md5", "dev_1", "secret"),
    nonce=b"\x00\xff nonce",
    windows=WindowsState(last_scan=datetime(2026, 11, 21, tzinfo=UTC), policies={"AllowAutoUpdate": "3"}),
    sessions=7,
)
ENROLLED = replace(
    RECORD,
    identity=replace(RECORD.identity, hardware_id="8F" * 32),
    certificate=DeviceCertificate(
        "secret key", "certificate", "root", "middle", "Subject=CN%3Dx", "System", 60, 5
    ),
    provisioned={"EntDMID": "dev_1", "Poll/NumberOfFirstRetries": "5"},
    link=Link("https://mdm.example.test/EnrollmentServer/Enrolment.svc", "127.0.0.1:8443", "roots"),
)


@pytest.mark.parametrize(
    "record", [RECORD, replace(RECORD, nonce=None, windows=WindowsState(), sessions=0), ENROLLED]
)
def test_a_record_comes_back_as_it_was(state_dir: Path, record: DeviceRecord) -> None:
    """What is saved is loaded, by another store on the same directory too."""
    store = DeviceStore(state_dir)
    store.save(replace(record, sessions=99))
    store.save(record)
    assert DeviceStore(state_dir).load(RECORD.identity.device_id) == record


def test_nobody_else_can_read_it(state_dir: Path) -> None:
    """The directory and the files, which hold passwords, are the owner's alone; nothing temporary is left."""
    store = DeviceStore(state_dir)
    store.save(RECORD)
    assert state_dir.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in state_dir.iterdir()] == [0o600]
    assert "secret" not in repr(ENROLLED)


def test_an_unknown_device_has_no_record(state_dir: Path) -> None:
    """None, not an error: it is to be enrolled."""
    assert DeviceStore(state_dir).load("nobody") is None


def test_a_device_of_before_has_the_usual_server(state_dir: Path) -> None:
    """A file of format 2, without the server's name or a certificate, is read with what such a device had."""
    store = DeviceStore(state_dir)
    store.save(RECORD)
    path = store.path(RECORD.identity.device_id)
    value = json.loads(path.read_text())
    del value["account"]["provider_id"], value["windows"]["sync_version"], value["identity"]["hardware_id"]
    del value["certificate"], value["provisioned"], value["link"]
    value["format"] = 2
    path.write_text(json.dumps(value))
    assert store.load(RECORD.identity.device_id) == RECORD
    assert RECORD.account.provider_id == "CSPBridge"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 2}', '{"format": 1}', "\xff"])
def test_a_file_that_is_something_else_is_named(state_dir: Path, content: str) -> None:
    """A spoiled file raises ValueError with its path; it is not taken for a new device."""
    store = DeviceStore(state_dir)
    store.path("x").write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=r"x\.json is no state of a virtual device"):
        store.load("x")
