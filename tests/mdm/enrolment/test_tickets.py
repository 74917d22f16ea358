"""Tickets of the sign-in page: good for GetPolicies and one certificate request, and for nothing else."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mdm.audit import Origin
from mdm.devices.registry import delete_device
from mdm.enrolment.authentication import TICKET_TYPE
from mdm.enrolment.envelope import BinaryToken
from mdm.enrolment.service import ENROLMENT_PATH, POLICY_PATH
from mdm.enrolment.throttle import ADDRESS_TRIES
from mdm.enrolment.tickets import LIFETIME, issue_ticket
from mdm.enrolment.tokens import list_tokens, revoke_token
from mdm.enrolment.users import change_user, delete_user, set_password
from mdm.lab.mde2 import NAMESPACES, get_policies, security_token, username_token

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import StringIO

    from conftest import Station

PASSWORD = "correct horse battery"
USER = "user@example.test"
ENTRA = "urn:ietf:params:oauth:token-type:jwt"
ORIGIN = Origin("test")


def shown(message: bytes, ticket: str, value_type: str = TICKET_TYPE) -> bytes:
    """The same message with a ticket in its header, broken into lines as Windows may."""
    encoded = base64.encodebytes(ticket.encode()).decode()
    header = (
        f'<wsse:Security s:mustUnderstand="1"><wsse:BinarySecurityToken ValueType="{value_type}" '
        f'EncodingType="{NAMESPACES["o"]}#base64binary">{encoded}</wsse:BinarySecurityToken></wsse:Security>'
    )
    return message.replace(username_token("", "").encode(), header.encode())


def policies(ticket: str, value_type: str = TICKET_TYPE) -> bytes:
    """GetPolicies with a ticket."""
    return shown(get_policies("", ""), ticket, value_type)


def request(ticket: str, csr: bytes, **claims: str | None) -> bytes:
    """RequestSecurityToken with a ticket."""
    return shown(security_token("", "", csr, **claims), ticket)


def ticket_of(station: Station, kind: str, by_id: str, username: str = USER) -> str:
    """A ticket of somebody who has just signed in."""
    with station.bench.database.write() as conn:
        return issue_ticket(conn, kind=kind, by_id=by_id, username=username, now=station.now)  # type: ignore[arg-type]


def new_token(station: Station, name: str) -> str:
    """The id of a new enrolment token."""
    station.token(name=name)
    with station.bench.database.read() as conn:
        (found,) = (each.id for each in list_tokens(conn) if each.name == name)
    return found


def succeeds(station: Station, path: str, body: bytes) -> bool:
    """Whether the message is answered with no fault."""
    return not station.answer(path, body).xpath("//s:Fault", namespaces=NAMESPACES)


@pytest.mark.parametrize("kind", ["user", "token", "federated"])
def test_a_ticket_enrols_one_device(station: Station, kind: str) -> None:
    """Policies, certificate, the same request again within the hour; then nothing more, and no other request."""
    if kind == "token":
        ticket = ticket_of(station, kind, new_token(station, "a token"))
    else:
        ticket = ticket_of(station, kind, station.user() if kind == "user" else "fed_1")
    assert succeeds(station, POLICY_PATH, policies(ticket))
    assert succeeds(station, POLICY_PATH, policies(ticket))
    assert succeeds(station, ENROLMENT_PATH, request(ticket, station.csr))
    station.bench.now += timedelta(minutes=50)
    assert succeeds(station, ENROLMENT_PATH, request(ticket, station.csr))
    subcode, why, _ = station.fault(
        ENROLMENT_PATH, request(ticket, station.other_csr, DeviceID="B", HWDevID="C" * 64)
    )
    assert (subcode, "enrolled a device already" in why) == ("s:Authorization", True)
    station.bench.now += timedelta(minutes=11)
    subcode, why, _ = station.fault(ENROLMENT_PATH, request(ticket, station.csr))
    assert (subcode, "Begin the enrolment again" in why) == ("s:Authentication", True)
    first, again = station.bench.rows("enrolment", "pk")
    assert (first["kind"], first["username"]) == (kind, USER)
    assert first["by_id"] == again["by_id"]
    assert len(station.bench.rows("device")) == 1
    assert [row["uses"] for row in station.bench.rows("enrolment_token")] == [1] * (kind == "token")


def test_a_ticket_is_for_one_device_id(station: Station) -> None:
    """The same certificate request for another DeviceID is no repetition."""
    ticket = ticket_of(station, "federated", "fed_1")
    assert succeeds(station, ENROLMENT_PATH, request(ticket, station.csr))
    subcode, why, _ = station.fault(
        ENROLMENT_PATH, request(ticket, station.csr, DeviceID="B", HWDevID="C" * 64)
    )
    assert (subcode, "enrolled a device already" in why) == ("s:Authorization", True)
    assert len(station.bench.rows("device")) == 1


def test_a_ticket_brings_no_deleted_device_back(station: Station) -> None:
    """A repetition answers for a device that is there; whoever was deleted signs in again."""
    ticket = ticket_of(station, "federated", "fed_1")
    assert succeeds(station, ENROLMENT_PATH, request(ticket, station.csr))
    with station.bench.database.write() as conn:
        delete_device(conn, ORIGIN, station.bench.rows("device")[0]["id"], now=station.now)
    assert station.fault(ENROLMENT_PATH, request(ticket, station.csr))[0] == "s:Authorization"
    assert station.bench.rows("device") == []


def test_a_ticket_is_soon_over(station: Station) -> None:
    """Ten minutes after the sign-in, at either step; and then it is forgotten."""
    ticket = ticket_of(station, "federated", "fed_1")
    station.bench.now += LIFETIME - timedelta(seconds=1)
    assert succeeds(station, POLICY_PATH, policies(ticket))
    station.bench.now += timedelta(seconds=1)
    assert station.fault(POLICY_PATH, policies(ticket))[0] == "s:Authentication"
    assert station.fault(ENROLMENT_PATH, request(ticket, station.csr))[0] == "s:Authentication"
    assert station.bench.rows("device") == []
    station.bench.now += timedelta(hours=1)
    ticket_of(station, "federated", "fed_2")
    assert [row["by_id"] for row in station.bench.rows("enrolment_ticket")] == ["fed_2"]


def test_two_requests_at_once_are_one(station: Station) -> None:
    """A ticket that is shown for two devices at the same moment enrols one of them."""
    ticket = ticket_of(station, "federated", "fed_1")
    bodies = [
        request(ticket, station.csr),
        request(ticket, station.other_csr, DeviceID="B", HWDevID="C" * 64),
    ]
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda body: succeeds(station, ENROLMENT_PATH, body), bodies))
    assert sorted(done) == [False, True]
    assert len(station.bench.rows("device")) == 1


def test_a_refused_request_leaves_the_ticket(station: Station) -> None:
    """What is refused after the ticket was taken gives it back: nothing of it has happened."""
    ticket = ticket_of(station, "federated", "fed_1")
    assert (
        station.fault(ENROLMENT_PATH, request(ticket, station.csr, DeviceID=None))[0] == "s:EnrollmentServer"
    )
    assert [row["used_at"] for row in station.bench.rows("enrolment_ticket")] == [None]
    assert succeeds(station, ENROLMENT_PATH, request(ticket, station.csr))


def _disable(station: Station, user: str) -> None:
    with station.bench.database.write() as conn:
        change_user(conn, ORIGIN, user, enabled=False, max_devices=None, now=station.now)


def _delete(station: Station, user: str) -> None:
    with station.bench.database.write() as conn:
        delete_user(conn, ORIGIN, user, now=station.now)


def _other_password(station: Station, user: str) -> None:
    station.bench.now += timedelta(seconds=1)
    with station.bench.database.write() as conn:
        set_password(conn, ORIGIN, user, password="another horse battery", now=station.now)


@pytest.mark.parametrize("change", [_disable, _delete, _other_password])
def test_a_user_who_is_stopped_has_no_ticket(
    station: Station, change: Callable[[Station, str], None]
) -> None:
    """What IT does between the sign-in and the enrolment counts."""
    user = station.user()
    ticket = ticket_of(station, "user", user)
    change(station, user)
    assert station.fault(ENROLMENT_PATH, request(ticket, station.csr))[0] == "s:Authentication"
    assert station.bench.rows("device") == []


def test_the_limit_of_a_user_counts(station: Station) -> None:
    """A ticket is no way around the number of devices that IT allows."""
    user = station.user(max_devices=1)
    assert succeeds(station, ENROLMENT_PATH, request(ticket_of(station, "user", user), station.csr))
    other = request(ticket_of(station, "user", user), station.other_csr, DeviceID="B", HWDevID="C" * 64)
    assert station.fault(ENROLMENT_PATH, other)[2] == "DeviceCapReached"


def test_a_token_that_is_stopped_has_no_ticket(station: Station) -> None:
    """Revoked, or used up by another device, between the sign-in and the enrolment."""
    revoked, used = new_token(station, "revoked"), new_token(station, "used")
    first, second, third = (ticket_of(station, "token", each) for each in (revoked, used, used))
    with station.bench.database.write() as conn:
        revoke_token(conn, ORIGIN, revoked, now=station.now)
    assert station.fault(POLICY_PATH, policies(first))[0] == "s:Authentication"
    assert succeeds(station, ENROLMENT_PATH, request(second, station.csr))
    other = request(third, station.other_csr, DeviceID="B", HWDevID="C" * 64)
    subcode, why, _ = station.fault(ENROLMENT_PATH, other)
    assert (subcode, "as many devices as it may" in why) == ("s:Authorization", True)


def test_the_same_person_may_enrol_again(station: Station) -> None:
    """Whoever the provider names enrols his device again; somebody else whom it names may not."""
    assert succeeds(station, ENROLMENT_PATH, request(ticket_of(station, "federated", "fed_1"), station.csr))
    for name in ("other@example.test", USER):  # a name that people may give themselves
        other = ticket_of(station, "federated", "fed_2", name)
        assert "not by this user" in station.fault(ENROLMENT_PATH, request(other, station.other_csr))[1]
    again = ticket_of(station, "federated", "fed_1", "renamed@example.test")
    assert succeeds(station, ENROLMENT_PATH, request(again, station.other_csr))
    assert len(station.bench.rows("device")) == 1


@pytest.mark.parametrize("ticket", ["", "x" * 43, "x" * 600, "ä" * 20])
def test_what_is_no_ticket(station: Station, logged: StringIO, ticket: str) -> None:
    """Guessed, empty, too long, not ours: one answer."""
    ticket_of(station, "federated", "fed_1")
    subcode, why, _ = station.fault(POLICY_PATH, policies(ticket))
    assert (subcode, "Begin the enrolment again" in why) == ("s:Authentication", True)
    assert "no such ticket" in logged.getvalue()


def test_what_is_no_base64(sqlite_station: Station) -> None:
    """A ticket as it is, not in base64 as Windows sends it, is none."""
    ticket = ticket_of(sqlite_station, "federated", "fed_1")
    encoded = base64.encodebytes(ticket.encode()).decode()
    body = policies(ticket).replace(encoded.encode(), ticket.encode() + b"-_*")
    assert sqlite_station.fault(POLICY_PATH, body)[0] == "s:Authentication"


def test_guessing_is_throttled(sqlite_station: Station) -> None:
    """An address that has guessed often waits, even with a good ticket."""
    ticket = ticket_of(sqlite_station, "federated", "fed_1")
    for _ in range(ADDRESS_TRIES):
        assert "used up" in sqlite_station.fault(POLICY_PATH, policies("guess"))[1]
    assert "Wait 15 minutes" in sqlite_station.fault(POLICY_PATH, policies(ticket))[1]


def test_tokens_of_entra_are_refused_in_words(sqlite_station: Station) -> None:
    """What an Entra-joined PC brings is another product's; the person is told which way works here."""
    subcode, why, _ = sqlite_station.fault(POLICY_PATH, policies("jwt", ENTRA))
    assert subcode == "a:InvalidSecurity"
    assert "Entra ID" in why
    assert "Enrol only in device management" in why
    subcode, why, _ = sqlite_station.fault(POLICY_PATH, policies("x", "urn:other"))
    assert (subcode, "sign-in page" in why) == ("a:InvalidSecurity", True)


def test_tickets_are_never_written(station: Station, logged: StringIO) -> None:
    """Right, used and wrong, a ticket is in no log line, no row and no representation."""
    ticket = ticket_of(station, "federated", "fed_1")
    station.answer(POLICY_PATH, policies(ticket))
    station.answer(ENROLMENT_PATH, request(ticket, station.csr))
    station.fault(ENROLMENT_PATH, request(ticket, station.other_csr, DeviceID="B"))
    station.fault(POLICY_PATH, policies(ticket, ENTRA))
    station.fault(POLICY_PATH, policies(f"{ticket}x"))
    everything = logged.getvalue() + json.dumps(station.bench.dump(), default=repr)
    everything += repr(BinaryToken(TICKET_TYPE, ticket))
    assert ticket not in everything
    assert base64.b64encode(ticket.encode()).decode() not in everything
    assert "enrolment_refused" in everything
