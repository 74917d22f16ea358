"""A virtual device that leaves management: by its server's Unenroll, or by its user's will."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from mdm.lab.device import HasLeftError, Interruption, Patience, SessionEnd, VirtualDevice
from mdm.lab.manners import UNENROL_ALERT
from mdm.lab.store import DeviceCertificate, DeviceRecord, DeviceStore, Link
from syncml.messages import Alert, Exec, Item, Location, Meta, Replace, Status
from syncml.reader import read_message
from tests.mdm.lab.test_device import NOW, device, enrolled, get, respond

if TYPE_CHECKING:
    from pathlib import Path

    import httpx2

PROVIDER = "./Vendor/MSFT/DMClient/Provider/CSPBridge"
POLICY = "./Device/Vendor/MSFT/Policy/Config/Update/AllowAutoUpdate"
ONCE = Patience(attempts=1)


def unenroll(cmd_id: str = "2") -> Exec:
    """The server's wish."""
    item = Item(target=Location(f"{PROVIDER}/Unenroll"), meta=Meta(format="chr"), data="CSPBridge")
    return Exec(cmd_id, (item,))


def policy(cmd_id: str, value: str) -> Replace:
    """A policy of the server's."""
    return Replace(cmd_id, (Item(target=Location(POLICY), meta=Meta(format="int"), data=value),))


def stored(pc: VirtualDevice, state_dir: Path) -> DeviceRecord:
    """What the device finds when it is started again."""
    record = DeviceStore(state_dir).load(pc.device_id)
    assert record is not None
    return record


def restarted(pc: VirtualDevice, state_dir: Path, http: httpx2.Client) -> VirtualDevice:
    """Another process with what the first one left on the disk."""
    record = stored(pc, state_dir)
    return VirtualDevice(
        record, DeviceStore(state_dir), lambda _: (), http=http, patience=ONCE, sleep=lambda _: None
    )


def alerts(body: bytes) -> list[tuple[str, str | None, str | None, str | None]]:
    """Code, type, format and data of the generic alerts of a message."""
    return [
        (command.data, item.meta.type, item.meta.format, item.data)
        for command in read_message(body).commands
        if isinstance(command, Alert)
        for item in command.items
        if item.meta is not None and command.data == "1226"
    ]


GOODBYE = ("1226", "com.microsoft:mdm.unenrollment.userrequest", "int", "1")


def test_unenroll_gets_no_status_and_the_next_session_says_goodbye(
    scripted: Any, state_dir: Path, http: httpx2.Client
) -> None:
    """The session is broken off where the command stands; package 1 of a new one carries the alert."""
    pc = device(state_dir, scripted.url, http)
    scripted.script += [respond(policy("2", "3"), unenroll("3"), policy("4", "5")), respond()]
    report = pc.check_in(NOW)
    assert (report.end, report.ok, report.messages) == (SessionEnd.UNENROLLED, True, 1)
    assert [(each.verb, each.status) for each in report.commands] == [("Replace", 200), ("Exec", 200)]
    assert len(scripted.requests) == 1
    assert pc.windows.state.policies == {"AllowAutoUpdate": "3"}
    goodbye = pc.check_in(NOW)
    assert (goodbye.end, goodbye.session_id) == (SessionEnd.COMPLETE, "1")
    message = read_message(scripted.requests[1][2])
    assert (message.header.session_id, message.header.msg_id) == ("1", "1")
    assert not any(isinstance(command, Status) for command in message.commands)
    assert alerts(scripted.requests[1][2]) == [GOODBYE]
    assert pc.has_left


def test_a_device_that_has_left_has_nothing_of_the_management(
    scripted: Any, state_dir: Path, http: httpx2.Client
) -> None:
    """Account, certificate, key, settings and policies are gone from the file; what belongs to the machine stays."""
    pc = device(state_dir, scripted.url, http)
    certificate = DeviceCertificate("KEY", "CERTIFICATE", "ROOT")
    pc.record = replace(
        pc.record,
        certificate=certificate,
        provisioned={"UPN": "user@example.test"},
        link=Link("https://bridge.example.test/rst", "127.0.0.1:1", "TRUSTED"),
        server_nonce=b"theirs",
    )
    pc.windows.set_policy("AllowAutoUpdate", "3", NOW)
    scripted.script += [respond()]
    assert pc.unenrol(NOW).ok
    text = DeviceStore(state_dir).path(pc.device_id).read_text()
    for secret in (
        '"password": "password"',
        '"KEY"',
        '"CERTIFICATE"',
        "omadm",
        "example.test",
        "AllowAutoUpdate",
    ):
        assert secret not in text
    record = stored(pc, state_dir)
    assert record == pc.record
    assert (record.account.password, record.account.server_uri, record.account.username) == ("", "", "")
    assert (record.certificate, record.provisioned, record.nonce, record.server_nonce) == (
        None,
        {},
        None,
        b"",
    )
    assert record.link == Link("", "127.0.0.1:1", "TRUSTED")
    assert record.identity == pc.record.identity
    assert (record.windows.policies, record.windows.settings, record.windows.leaving) == ({}, None, False)


def test_a_device_that_has_left_never_checks_in(scripted: Any, state_dir: Path, http: httpx2.Client) -> None:
    """Neither in this process nor after a restart; its Windows goes on without a server."""
    pc = device(state_dir, scripted.url, http)
    scripted.script += [respond()]
    pc.unenrol(NOW)
    for each in (pc, restarted(pc, state_dir, http)):
        assert each.has_left
        with pytest.raises(HasLeftError, match="PC-1 has left management"):
            each.check_in(NOW)
        each.advance(NOW)
    assert len(scripted.requests) == 1


@pytest.mark.parametrize("by_server", [True, False])
def test_a_kill_between_the_two_changes_nothing(
    scripted: Any, state_dir: Path, http: httpx2.Client, *, by_server: bool
) -> None:
    """The wish is on the disk before anything else happens: the goodbye is said at the next start."""
    pc = device(state_dir, scripted.url, http, patience=ONCE)
    if by_server:
        scripted.script += [respond(unenroll())]
        pc.check_in(NOW)
    else:
        assert pc.unenrol(NOW, interruption=Interruption(0)).end is SessionEnd.ABANDONED
    again = restarted(pc, state_dir, http)
    scripted.script += [respond()]
    assert not again.has_left
    assert again.check_in(NOW).ok
    assert alerts(scripted.requests[-1][2]) == [GOODBYE]
    assert stored(pc, state_dir).account.server_uri == ""


@pytest.mark.parametrize(
    "answer",
    [lambda _: None, lambda _: (503, {}, b"busy"), lambda _: (200, {}, b"<html>"), "unheard"],
    ids=["closed", "busy", "unreadable", "unheard"],
)
def test_a_goodbye_that_is_not_answered_is_said_again(
    scripted: Any, state_dir: Path, http: httpx2.Client, answer: Any
) -> None:
    """No connection, a server in trouble, a proxy's page, a loss of power: the device goes on trying."""
    pc = device(state_dir, scripted.url, http, patience=ONCE)
    interruption = Interruption(1, heard=False) if answer == "unheard" else None
    scripted.script += [respond() if answer == "unheard" else answer]
    assert not pc.unenrol(NOW, interruption=interruption).ok
    assert not pc.has_left
    assert stored(pc, state_dir).windows.leaving
    scripted.script += [respond()]
    assert restarted(pc, state_dir, http).check_in(NOW).ok
    assert alerts(scripted.requests[0][2]) == alerts(scripted.requests[1][2]) == [GOODBYE]
    assert stored(pc, state_dir).account.server_uri == ""


@pytest.mark.parametrize(
    ("answer", "end"),
    [
        (respond(status=401), SessionEnd.REFUSED),
        (lambda _: (404, {}, b"unknown"), SessionEnd.REJECTED),
        (respond(Alert("2", "1223")), SessionEnd.ABORTED),
    ],
)
def test_a_refused_goodbye_was_heard(
    scripted: Any, state_dir: Path, http: httpx2.Client, answer: Any, end: SessionEnd
) -> None:
    """A server that does not know the device any more cannot hold it."""
    pc = device(state_dir, scripted.url, http, patience=ONCE)
    scripted.script += [answer]
    assert pc.unenrol(NOW).end is end
    assert pc.has_left


def test_what_a_server_still_sends_after_the_goodbye_is_answered(
    scripted: Any, state_dir: Path, http: httpx2.Client
) -> None:
    """Even Unenroll once more: the session goes to its end, and then everything is forgotten."""
    pc = device(state_dir, scripted.url, http)
    scripted.script += [respond(get("2", f"{PROVIDER}/Push/Status"), unenroll("3")), respond()]
    report = pc.unenrol(NOW)
    assert (report.end, report.messages) == (SessionEnd.COMPLETE, 2)
    assert [(each.verb, each.status) for each in report.commands] == [("Get", 200), ("Exec", 200)]
    assert pc.has_left


def test_a_reboot_does_not_forget_the_wish(scripted: Any, state_dir: Path, http: httpx2.Client) -> None:
    """SessionIDs begin again, the goodbye is still to be said."""
    pc = device(state_dir, scripted.url, http)
    scripted.script += [respond(unenroll()), respond()]
    pc.check_in(NOW)
    pc.reboot(NOW)
    assert pc.check_in(NOW).session_id == "0"
    assert alerts(scripted.requests[-1][2]) == [GOODBYE]


def test_a_bridge_takes_note_of_the_user_who_leaves(
    served: Any, state_dir: Path, http: httpx2.Client
) -> None:
    """Against the real thing: one message, no command, and the bridge knows."""
    pc = enrolled(served, state_dir, http)
    assert pc.check_in(NOW).ok
    report = pc.unenrol(NOW)
    assert (report.end, report.messages, report.commands) == (SessionEnd.COMPLETE, 1, ())
    (known,) = [each for each in served.api(http).every("/devices") if each["device_id"] == pc.device_id]
    assert known["state"] == "unenrolled"
    assert pc.has_left


def test_a_device_of_a_bridge_is_told_to_leave(served: Any, state_dir: Path, http: httpx2.Client) -> None:
    """IT retires it: Unenroll and nothing else, the goodbye, and then nothing more on either side."""
    pc, api = enrolled(served, state_dir, http), served.api(http)
    assert pc.check_in(NOW).ok
    (known,) = [each for each in api.every("/devices") if each["device_id"] == pc.device_id]
    api.post(f"/devices/{known['id']}/retire", {"reason": "sold"})
    told = pc.check_in(NOW)
    assert told.end is SessionEnd.UNENROLLED
    assert [(each.verb, each.loc_uri) for each in told.commands] == [("Exec", f"{PROVIDER}/Unenroll")]
    goodbye = pc.check_in(NOW)
    assert (goodbye.end, goodbye.messages, goodbye.commands) == (SessionEnd.COMPLETE, 1, ())
    assert api.get(f"/devices/{known['id']}")["state"] == "unenrolled"
    assert pc.has_left


def test_the_goodbye_stands_behind_the_alerts_of_the_devices_manners(
    scripted: Any, state_dir: Path, http: httpx2.Client
) -> None:
    """And before those of the caller: it is said once."""
    pc = device(state_dir, scripted.url, http)
    scripted.script += [respond()]
    pc.windows.leave()
    pc.check_in(NOW, alerts=(replace(UNENROL_ALERT, data="1224"),))
    codes = [each.data for each in read_message(scripted.requests[0][2]).commands if isinstance(each, Alert)]
    assert codes == ["1201", "1224", "1226", "1224"]


def test_what_the_document_said_holds_until_a_server_changes_it(
    scripted: Any, state_dir: Path, http: httpx2.Client
) -> None:
    """The enrolment's settings are taken over once; after a restart the changed ones stand."""
    record = replace(
        device(state_dir, scripted.url, http).record, provisioned={"UPN": "user@example.test", "EntDMID": "7"}
    )
    pc = VirtualDevice(record, DeviceStore(state_dir), lambda _: (), http=http)
    assert pc.windows.settings == {"UPN": "user@example.test", "EntDMID": "7"}
    change = Replace("2", (Item(target=Location(f"{PROVIDER}/EntDMID"), data="8"),))
    scripted.script += [respond(change), respond()]
    assert pc.check_in(NOW).ok
    assert restarted(pc, state_dir, http).windows.settings == {"UPN": "user@example.test", "EntDMID": "8"}
