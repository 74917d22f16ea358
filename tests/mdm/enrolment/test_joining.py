"""GetPolicies and RequestSecurityToken: a device gets its certificate, and its account works."""

from __future__ import annotations

import base64
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from sqlalchemy import update

from mdm.audit import Origin
from mdm.ca.authority import Authority
from mdm.ca.checking import check
from mdm.devices.registry import delete_device
from mdm.enrolment.authentication import Enroller
from mdm.enrolment.faults import Spelling
from mdm.enrolment.issuer import CertificateIssuer
from mdm.enrolment.joining import MAX_DAILY, _known
from mdm.enrolment.service import ENROLMENT_PATH, POLICY_PATH
from mdm.enrolment.throttle import count_try, take_back
from mdm.enrolment.tokens import list_tokens, revoke_token
from mdm.enrolment.users import change_user, delete_user, set_password
from mdm.errors import Unavailable
from mdm.lab.mde2 import (
    CLAIMS,
    MESSAGE_IDS,
    NAMESPACES,
    RST,
    envelope,
    get_policies,
    security_token,
    username_token,
)
from mdm.storage.statements import table_of
from mdm.storage.tables import Device
from syncml import client
from syncml.auth import MD5, make_cred
from syncml.writer import write_message

if TYPE_CHECKING:
    from io import StringIO

    from conftest import Bench, Station
    from lxml import etree

BASE = "https://mdm.example.test"
PASSWORD = "correct horse battery"
USER = "user@example.test"
ORIGIN = Origin("test")


def text(node: etree._Element, path: str) -> str:
    """The text of the one node there."""
    (found,) = node.xpath(path, namespaces=NAMESPACES)
    return found.text or ""


def parms(document: etree._Element, *path: str) -> dict[str, str | None]:
    """The parms of the one characteristic at this path of types."""
    where = "".join(f'/characteristic[@type="{each}"]' for each in path)
    (found,) = document.xpath("/wap-provisioningdoc" + where)
    return {parm.get("name"): parm.get("value") for parm in found.findall("parm")}


def certificate_of(document: etree._Element, store: str = "User") -> bytes:
    """The client certificate in a provisioning document."""
    (node,) = document.xpath(
        f'//characteristic[@type="My"]/characteristic[@type="{store}"]/characteristic[parm]'
    )
    der = base64.b64decode(node.find("parm").get("value"))
    found = x509.load_der_x509_certificate(der)
    assert node.get("type") == hashlib.sha1(der).hexdigest().upper()  # noqa: S324
    assert found
    return der


def children(node: etree._Element) -> list[str]:
    """Names of an element's children."""
    return [each.tag.split("}")[1] for each in node]


# --- the policy -----------------------------------------------------------------------------------------


def test_the_policy_has_the_documented_order(station: Station) -> None:
    """Every element, the nil ones too, in the order of MS-MDE2 4.2.2, and SHA-256."""
    station.user()
    found = station.answer(POLICY_PATH, get_policies(USER, PASSWORD))
    (response,) = found.xpath("//p:GetPoliciesResponse", namespaces=NAMESPACES)
    assert children(response) == ["response", "cAs", "oIDs"]
    assert children(response[0]) == [
        "policyID",
        "policyFriendlyName",
        "nextUpdateHours",
        "policiesNotChanged",
        "policies",
    ]
    (policy,) = found.xpath("//p:policies/p:policy", namespaces=NAMESPACES)
    assert children(policy) == ["policyOIDReference", "cAs", "attributes"]
    assert children(policy[2]) == [
        "commonName",
        "policySchema",
        "certificateValidity",
        "permission",
        "privateKeyAttributes",
        "revision",
        "supersededPolicies",
        "privateKeyFlags",
        "subjectNameFlags",
        "enrollmentFlags",
        "generalFlags",
        "hashAlgorithmOIDReference",
        "rARequirements",
        "keyArchivalAttributes",
        "extensions",
    ]
    (key,) = found.xpath("//p:privateKeyAttributes", namespaces=NAMESPACES)
    assert children(key) == [
        "minimalKeyLength",
        "keySpec",
        "keyUsageProperty",
        "permissions",
        "algorithmOIDReference",
        "cryptoProviders",
    ]
    nil = found.xpath('//p:*[@i:nil="true"]', namespaces=NAMESPACES)
    assert len(nil) == 17
    assert children(found.xpath("//p:oID", namespaces=NAMESPACES)[0]) == [
        "value",
        "group",
        "oIDReferenceID",
        "defaultName",
    ]
    assert text(found, "//p:oID/p:value") == "2.16.840.1.101.3.4.2.1"
    assert text(found, "//p:oID/p:group") == "4"
    assert text(found, "//p:validityPeriodSeconds") == str(365 * 86400)
    assert text(found, "//p:renewalPeriodSeconds") == str(42 * 86400)


def test_another_body_is_no_get_policies(sqlite_station: Station) -> None:
    """The Action alone does not make the message."""
    body = (
        get_policies("a", "b").replace(b"GetPolicies xmlns", b"Other xmlns").replace(b"</GetPol", b"</Other ")
    )
    subcode, _, _ = sqlite_station.fault(POLICY_PATH, body.replace(b"</Other icies>", b"</Other>"))
    assert subcode == "s:MessageFormat"


# --- joining --------------------------------------------------------------------------------------------


def test_a_device_joins_with_a_token(station: Station) -> None:
    """Policy and certificate with one token; the certificate is good, for a client, and bound to the device."""
    token = station.token()
    station.answer(POLICY_PATH, get_policies(USER, token))
    document = station.enrol(USER, token.lower().replace("-", ""))
    der = certificate_of(document)
    certificate = x509.load_der_x509_certificate(der)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    (device,) = station.bench.rows("device")
    with station.bench.database.read() as conn:
        verdict = check(conn, der, station.now)
    assert (verdict.ok, verdict.device_pk) == (True, device["pk"])
    assert (device["device_id"], device["name"]) == (CLAIMS["DeviceID"], "PC-1")
    assert device["enrolment_user"] == USER
    (row,) = station.bench.rows("enrolment")
    assert (row["kind"], row["hardware_id"], row["full"]) == ("token", CLAIMS["HWDevID"], True)
    assert row["serial"] == verdict.serial
    (entry,) = [each for each in station.bench.rows("audit_entry") if each["action"] == "device.enrol"]
    assert entry["actor"] == f"enrolment:{USER}"
    assert entry["remote_addr"] == "192.0.2.7"


def test_the_answer_has_the_documented_shape(station: Station) -> None:
    """SOAP 1.2, the times, and the elements of MS-MDE2 4.3.2 in their order."""
    station.user()
    found = station.answer(ENROLMENT_PATH, security_token(USER, PASSWORD, station.csr))
    assert children(found.find("s:Header", NAMESPACES)) == ["Action", "RelatesTo", "Security"]
    assert text(found, "//a:Action").endswith("/enrollment/RSTRC/wstep")
    assert text(found, "//a:RelatesTo") == MESSAGE_IDS[RST]
    assert text(found, "//o:Security/u:Timestamp[@u:Id='_0']/u:Created") == "2026-11-21T12:00:00.000Z"
    assert text(found, "//u:Expires") == "2026-11-21T12:05:00.000Z"
    (response,) = found.xpath(
        "/s:Envelope/s:Body/t:RequestSecurityTokenResponseCollection/t:RequestSecurityTokenResponse",
        namespaces=NAMESPACES,
    )
    assert children(response) == ["TokenType", "DispositionMessage", "RequestedSecurityToken", "RequestID"]
    assert text(found, "//e:RequestID") == "0"


@pytest.mark.parametrize(("lifetime", "period", "retry"), [(30, 15, 4), (7, 3, 3), (1, 1, 1)])
def test_a_short_certificate_is_renewed_in_its_second_half(
    sqlite_station: Station, lifetime: int, period: int, retry: int
) -> None:
    """The policy's answer and the document say the same; a certificate is not due on the day it is issued."""
    station = sqlite_station.open(certificate_lifetime=timedelta(days=lifetime))
    station.user()
    policy = station.answer(POLICY_PATH, get_policies(USER, PASSWORD))
    assert text(policy, "//p:validityPeriodSeconds") == str(lifetime * 86400)
    assert text(policy, "//p:renewalPeriodSeconds") == str(period * 86400)
    renew = station.enrol(USER, PASSWORD).xpath(
        '//characteristic[@type="WSTEP"]/characteristic[@type="Renew"]/parm'
    )
    told = {each.get("name"): each.get("value") for each in renew}
    assert told == {"ROBOSupport": "true", "RenewPeriod": str(period), "RetryInterval": str(retry)}


def test_the_document(station: Station) -> None:
    """Certificates, account and polling, with the names and datatypes Windows needs."""
    station.user()
    document = station.enrol(USER, PASSWORD)
    assert document.get("version") == "1.1"
    for store in ("Root", "CA"):
        (node,) = document.xpath(
            f'//characteristic[@type="{store}"]/characteristic[@type="System"]/characteristic'
        )
        value = node.find("parm").get("value")
        assert "\n" not in value
        assert x509.load_der_x509_certificate(base64.b64decode(value))
    (own,) = document.xpath('//characteristic[@type="My"]/characteristic[@type="User"]')
    assert [each.get("type") for each in own][1:] == ["PrivateKeyContainer"]
    renew = document.xpath('//characteristic[@type="WSTEP"]/characteristic[@type="Renew"]/parm')
    assert {(each.get("name"), each.get("value"), each.get("datatype")) for each in renew} == {
        ("ROBOSupport", "true", "boolean"),
        ("RenewPeriod", "42", "integer"),
        ("RetryInterval", "4", "integer"),
    }
    account = parms(document, "APPLICATION")
    assert account["APPID"] == "w7"
    assert account["PROVIDER-ID"] == "CSPBridge"
    assert account["ADDR"] == f"{BASE}/omadm"
    assert "INIT" not in account
    (device,) = station.bench.rows("device")
    subject = x509.load_der_x509_certificate(certificate_of(document)).subject.rfc4514_string()
    assert account["SSLCLIENTCERTSEARCHCRITERIA"] == f"Subject=CN%3D{device['id']}&Stores=My%5CUser"
    assert unquote(account["SSLCLIENTCERTSEARCHCRITERIA"]) == rf"Subject={subject}&Stores=My\User"
    auths = document.xpath('//characteristic[@type="APPAUTH"]')
    levels = [{parm.get("name"): parm.get("value") for parm in each} for each in auths]
    assert [each["AAUTHLEVEL"] for each in levels] == ["CLIENT", "APPSRV"]
    assert all(each["AAUTHTYPE"] == "DIGEST" and each["AAUTHSECRET"] for each in levels)
    provider = parms(document, "DMClient", "Provider", "CSPBridge")
    assert provider == {
        "UPN": USER,
        "EntDeviceName": "PC-1",
        "EntDMID": device["id"],
        "SyncApplicationVersion": "3.0",
    }
    poll = parms(document, "DMClient", "Provider", "CSPBridge", "Poll")
    assert poll == {
        "NumberOfFirstRetries": "5",
        "IntervalForFirstSetOfRetries": "3",
        "NumberOfSecondRetries": "8",
        "IntervalForSecondSetOfRetries": "15",
        "NumberOfRemainingScheduledRetries": "0",
        "IntervalForRemainingScheduledRetries": "480",
        "PollOnLogin": "true",
    }


def test_the_devices_own_enrolment_uses_the_system_store(station: Station) -> None:
    """EnrollmentType Device puts the certificate into My/System, and says so where it is searched."""
    document = station.enrol(USER, station.token(), EnrollmentType="Device")
    certificate_of(document, "System")
    assert str(parms(document, "APPLICATION")["SSLCLIENTCERTSEARCHCRITERIA"]).endswith("&Stores=My%5CSystem")


def test_the_account_works(station: Station) -> None:
    """The first session is let in by the certificate of the document, whose credentials alone prove nothing."""
    document = station.enrol(USER, station.token())
    (given,) = [
        {parm.get("name"): parm.get("value") for parm in each}
        for each in document.xpath('//characteristic[@type="APPAUTH"]')
        if each.find("parm").get("value") == "APPSRV"
    ]
    nonce = base64.b64decode(given["AAUTHDATA"])
    cred = make_cred(MD5, given["AAUTHNAME"], given["AAUTHSECRET"], nonce)
    message, _ = client.begin(
        session_id="1",
        device_id=CLAIMS["DeviceID"],
        server_uri=f"{BASE}/omadm",
        device_info={"./DevInfo/DevId": CLAIMS["DeviceID"]},
        cred=cred,
        username=given["AAUTHNAME"],
    )
    station.bench.post(write_message(message))
    assert station.bench.rows("device")[0]["last_checkin_at"] is None
    station.bench.certificate = certificate_of(document)
    station.bench.post(write_message(message))
    (device,) = station.bench.rows("device")
    assert device["last_checkin_at"] is not None
    assert [event["kind"] for event in station.bench.rows("device_event", "seq")][:1] == ["enrolled"]


def test_the_authority_is_an_issuer(station: Station) -> None:
    """What this service asks of an authority, the embedded one has."""
    with station.bench.database.read() as conn:
        assert isinstance(Authority.load(conn, station.bench.secrets), CertificateIssuer)


def test_a_device_enrolled_by_somebody_at_the_same_moment(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two who enrol one new device at once the second is told to try again, and keeps his token's use."""
    station.enrol(USER, station.token())
    monkeypatch.setattr(
        "mdm.enrolment.joining._known", lambda *_: None
    )  # as if it had looked a moment before
    subcode, why, _ = station.refused(USER, station.token(name="second"), station.other_csr)
    assert (subcode, "Try again" in why) == ("s:EnrollmentServer", True)
    assert [row["uses"] for row in station.bench.rows("enrolment_token", "created_at", "name")] == [1, 0]


def test_a_new_device_id_taken_at_the_same_moment(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known by its hardware, and a moment before its new DeviceID became another device's: told to try again."""
    token = station.token(max_uses=3)
    station.enrol(USER, token)
    station.enrol(USER, token, station.other_csr, DeviceID="B", HWDevID=None)
    monkeypatch.setattr(
        "mdm.enrolment.joining._known",
        lambda conn, _, hardware_id: _known(conn, "unheard of", hardware_id),
    )
    subcode, why, _ = station.refused(USER, token, DeviceID="B")
    assert (subcode, "Try again" in why) == ("s:EnrollmentServer", True)
    assert [row["uses"] for row in station.bench.rows("enrolment_token")] == [2]
    assert len(station.bench.rows("enrolment")) == 2


def test_a_user_who_is_disabled_meanwhile(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between his password and his certificate."""
    user = station.user()
    authenticated = Enroller("user", user, USER, vouched=True)
    monkeypatch.setattr("mdm.enrolment.service.authenticate", lambda *_, **__: authenticated)
    with station.bench.database.write() as conn:
        change_user(conn, ORIGIN, user, enabled=False, max_devices=None, now=station.now)
    assert station.refused(USER, PASSWORD)[0] == "s:Authorization"
    assert station.bench.rows("device") == []


def test_a_database_that_is_away(sqlite_station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault that says so, and not an HTTP error, from which a device learns nothing."""

    def away(*_: object, **__: object) -> None:
        raise Unavailable("The database is away.")

    monkeypatch.setattr("mdm.enrolment.service.authenticate", away)
    subcode, why, _ = sqlite_station.refused(USER, PASSWORD)
    assert (subcode, why) == ("s:EnrollmentServer", "The database is away. Try again later.")


def test_the_printed_spelling(bare_station: Station) -> None:
    """The other way to write a fault: in lower case inside the body."""
    other = bare_station.open(spelling=Spelling.PRINTED)
    found = other.answer(
        ENROLMENT_PATH, security_token(USER, other.token(), other.csr, EnrollmentType="Half")
    )
    assert text(found, "//s:Body/s:fault/s:code/s:value") == "s:receiver"
    assert text(found, "//s:fault/s:code/s:subcode/s:value") == "s:enrollmentserver"
    assert (
        text(found, "//s:fault/s:detail/e:deviceenrollmentserviceerror/e:errortype")
        == "invalidenrollmentdata"
    )


# --- again ----------------------------------------------------------------------------------------------


def test_an_answer_that_was_lost_is_given_again(station: Station) -> None:
    """The same request takes no second use of a token, and both certificates are good."""
    token = station.token()
    first = certificate_of(station.enrol(USER, token))
    again = certificate_of(station.enrol(USER, token))
    with station.bench.database.read() as conn:
        assert [check(conn, each, station.now).ok for each in (first, again)] == [True, True]
    assert [row["uses"] for row in station.bench.rows("enrolment_token")] == [1]
    subcode, why, _ = station.refused(USER, token, station.other_csr)
    assert (subcode, "as many devices as it may" in why) == ("s:Authorization", True)
    station.bench.now += timedelta(minutes=59)
    station.enrol(USER, token)
    station.bench.now += timedelta(hours=2)
    assert station.refused(USER, token)[0] == "s:Authentication"


def test_one_use_is_one_device(station: Station) -> None:
    """The same certificate request for another DeviceID is no repetition: a token enrols no more than it may."""
    token = station.token()
    station.enrol(USER, token)
    subcode, why, _ = station.refused(USER, token, DeviceID="B", HWDevID="C" * 64)
    assert (subcode, "as many devices as it may" in why) == ("s:Authorization", True)
    assert len(station.bench.rows("device")) == 1
    station.enrol(USER, token)


@pytest.mark.parametrize("column", ["retire_requested_at", "unenrolled_at"])
def test_who_was_sent_away_needs_another_token(station: Station, column: str) -> None:
    """A device that IT lets go does not come back by the request it was enrolled with."""
    token = station.token()
    station.enrol(USER, token)
    with station.bench.database.write() as conn:
        conn.execute(update(table_of(Device)).values({column: station.now}))
    assert "as many devices as it may" in station.refused(USER, token)[1]
    station.enrol(USER, station.token(replaces=True))


def test_the_same_user_enrols_again(station: Station) -> None:
    """The device keeps its row under its new DeviceID; its old certificate is refused."""
    station.user()
    old = certificate_of(station.enrol(USER, PASSWORD))
    (before,) = station.bench.rows("device")
    new = certificate_of(station.enrol("USER@Example.Test", PASSWORD, station.other_csr, DeviceID="NEW"))
    (after,) = station.bench.rows("device")
    assert (after["pk"], after["id"], after["device_id"]) == (before["pk"], before["id"], "NEW")
    assert after["auth_verifier"] != before["auth_verifier"]
    assert len(station.bench.rows("enrolment")) == 2
    with station.bench.database.read() as conn:
        assert [check(conn, each, station.now).ok for each in (old, new)] == [False, True]


def test_a_new_enrolment_leaves_nothing_of_the_old_one(station: Station) -> None:
    """Its Windows may have been installed anew: nothing counts as read or as set, and no proof as given.

    What happened stays: the updates it had named, its timeline, tags and groups.
    """
    station.user()
    station.enrol(USER, PASSWORD)
    bench, pk = station.bench, station.bench.rows("device")[0]["pk"]
    bench.add("device_update", device_pk=pk, update_id="u", lists=2, state="installed", since=bench.now)
    bench.add("device_tag", device_pk=pk, tag="x")
    bench.add("device_policy", device_pk=pk, name="AllowAutoUpdate", status="set", source="p", at=bench.now)
    bench.add("approval_evidence", device_pk=pk, scans=5, installed=1, failed=0)
    bench.add("approval_trial", device_pk=pk, update_id="u", scan=3)
    bench.add("auth_failure", device_pk=pk, remote_addr="x", failures=1, last_at=bench.now)
    read = dict.fromkeys(
        ("state_read_at", "installed_read_at", "identity_read_at", "policies_due_at"), bench.now
    )
    told = {"last_scan_time": "now", "plan_key": "k", "renewed_serial": "1", "retire_told_at": bench.now}
    with bench.database.write() as conn:
        conn.execute(update(table_of(Device)).values(**read, **told, retire_requested_at=bench.now))
    station.enrol(USER, PASSWORD, station.other_csr)
    (device,) = bench.rows("device")
    assert {name: device[name] for name in (*read, *told, "retire_requested_at")} == dict.fromkeys(
        (*read, *told, "retire_requested_at")
    )
    gone = ("device_policy", "approval_evidence", "approval_trial", "auth_failure")
    assert [bench.rows(table) for table in gone] == [[], [], [], []]
    assert [len(bench.rows(table)) for table in ("device_update", "device_tag", "enrolment")] == [1, 1, 2]
    assert [row["detail"]["again"] for row in bench.rows("device_event", "seq")] == [False, True]


def test_a_device_enrols_so_often_a_day_and_no_oftener(sqlite_station: Station) -> None:
    """A lost answer is given again, but certificates are not issued without end; the next day it may again."""
    station = sqlite_station
    token = station.token(max_uses=50, lifetime=timedelta(days=3))
    for _ in range(MAX_DAILY):
        station.enrol(USER, token)
    subcode, why, _ = station.refused(USER, token)
    assert (subcode, f"{MAX_DAILY} times within a day" in why) == ("s:Authorization", True)
    assert len(station.bench.rows("issued_certificate")) == MAX_DAILY
    station.bench.now += timedelta(days=1, minutes=5)
    station.enrol(USER, token)


def test_what_nobody_foresaw_is_a_fault_too(
    sqlite_station: Station, monkeypatch: pytest.MonkeyPatch, logged: StringIO
) -> None:
    """80180006, with the request id that stands beside the exception in the log, and without its text."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("canary-7f3a")

    monkeypatch.setattr("mdm.enrolment.service.join", fail)
    subcode, why, _ = sqlite_station.refused(USER, sqlite_station.token())
    assert subcode == "a:InternalServiceFault"
    (line,) = (json.loads(each) for each in logged.getvalue().splitlines() if "enrolment_failed" in each)
    assert line["request_id"] in why
    assert "canary-7f3a" not in why
    assert "canary-7f3a" in json.dumps(line)


def test_nobody_takes_over_anothers_device(station: Station) -> None:
    """A DeviceID is a claim: not another user, nor a token of whoever says that he is the user."""
    station.user()
    station.user("other@example.test")
    station.enrol(USER, PASSWORD)
    before = station.bench.rows("device")
    token = station.token()
    for username, password in (("other@example.test", PASSWORD), (USER, token)):
        subcode, why, _ = station.refused(username, password, station.other_csr)
        assert subcode == "s:Authorization"
        assert f"enrolled already, as {before[0]['id']}" in why
    assert station.bench.rows("device") == before
    assert [row["uses"] for row in station.bench.rows("enrolment_token")] == [0]


def test_who_may_enrol_it_again(station: Station) -> None:
    """A token bound to its user, one that may replace, and anybody once the device has left."""
    station.user()
    station.enrol(USER, PASSWORD)
    station.enrol(USER, station.token(username=USER), station.other_csr)
    station.enrol("new@example.test", station.token(replaces=True), station.csr)
    (device,) = station.bench.rows("device")
    assert device["enrolment_user"] == "new@example.test"
    with station.bench.database.write() as conn:
        conn.execute(update(table_of(Device)).values(unenrolled_at=station.now))
    station.enrol("any@example.test", station.token(), station.other_csr)
    (device,) = station.bench.rows("device")
    assert device["unenrolled_at"] is None


def test_a_deleted_device_is_a_new_one(station: Station) -> None:
    """IT deletes it, and then anybody may enrol it."""
    station.user()
    station.enrol(USER, PASSWORD)
    (device,) = station.bench.rows("device")
    with station.bench.database.write() as conn:
        delete_device(conn, ORIGIN, device["id"], now=station.now)
    station.enrol("any@example.test", station.token(), station.other_csr)
    assert station.bench.rows("device")[0]["id"] != device["id"]


def test_a_users_limit(station: Station) -> None:
    """Its own devices count, each once, and the one that enrols again is no more."""
    station.user(max_devices=1)
    station.enrol(USER, PASSWORD)
    station.enrol(USER, PASSWORD, station.other_csr)
    subcode, why, error = station.refused(USER, PASSWORD, DeviceID="SECOND", HWDevID=None)
    assert (subcode, error) == ("s:Authorization", "DeviceCapReached")
    assert "1 devices enrolled" in why


# --- refusals -------------------------------------------------------------------------------------------


def test_tokens_that_are_not_good(station: Station) -> None:
    """Unknown, revoked, expired, and another user's: one text for all, and the log tells which."""
    revoked, expired = station.token(name="revoked"), station.token(lifetime=timedelta(seconds=1))
    bound = station.token(username="other@example.test")
    with station.bench.database.write() as conn:
        (token,) = [each for each in list_tokens(conn) if each.name == "revoked"]
        revoke_token(conn, ORIGIN, token.id, now=station.now)
    station.bench.now += timedelta(seconds=1)
    texts = {
        station.fault(POLICY_PATH, get_policies(USER, password))[:2]
        for password in (revoked, expired, bound, "A" * 24, "wrong", "")
    }
    ((subcode, why),) = texts
    assert (subcode, "used up, expired or revoked" in why) == ("s:Authentication", True)


def test_users_that_are_not_let_in(station: Station) -> None:
    """Disabled, deleted, with the old password."""
    user = station.user()
    with station.bench.database.write() as conn:
        change_user(conn, ORIGIN, user, enabled=False, max_devices=None, now=station.now)
    assert station.refused(USER, PASSWORD)[0] == "s:Authentication"
    with station.bench.database.write() as conn:
        change_user(conn, ORIGIN, user, enabled=True, max_devices=None, now=station.now)
        set_password(conn, ORIGIN, user, password="another password", now=station.now)
    assert station.refused(USER, PASSWORD)[0] == "s:Authentication"
    station.enrol(USER, "another password")
    with station.bench.database.write() as conn:
        delete_user(conn, ORIGIN, user, now=station.now)
    assert station.refused(USER, "another password")[0] == "s:Authentication"


@pytest.mark.parametrize("exists", [True, False])
def test_a_name_is_locked_out(station: Station, *, exists: bool) -> None:
    """After ten failures the right password is refused too, for a quarter of an hour; a name nobody has is no different."""
    user = station.user() if exists else None
    for _ in range(10):
        assert "wrong" in station.fault(POLICY_PATH, get_policies(USER, "not this one"))[1]
    subcode, why, _ = station.fault(POLICY_PATH, get_policies(USER.upper(), PASSWORD))
    assert (subcode, "Wait 15 minutes" in why) == ("s:Authentication", True)
    station.answer(POLICY_PATH, get_policies(USER, station.token()))  # IT's tokens are not locked out
    if user is None:
        return
    station.bench.now += timedelta(minutes=15)
    assert not station.answer(POLICY_PATH, get_policies(USER, PASSWORD)).xpath(
        "//s:Fault", namespaces=NAMESPACES
    )
    for _ in range(10):
        station.fault(POLICY_PATH, get_policies(USER, "not this one"))
    with station.bench.database.write() as conn:
        set_password(conn, ORIGIN, user, password="another password", now=station.now)
    station.enrol(USER, "another password")


def test_an_address_is_locked_out(sqlite_station: Station) -> None:
    """A hundred failures from one place, under whatever names, and nobody there is looked at."""
    token = sqlite_station.token()
    for number in range(100):
        sqlite_station.fault(POLICY_PATH, get_policies(f"user{number}", "A" * 24))
    assert "Wait 15 minutes" in sqlite_station.fault(POLICY_PATH, get_policies(USER, token))[1]
    for number in range(5):
        sqlite_station.fault(POLICY_PATH, get_policies(f"another{number}", PASSWORD))
    assert len(sqlite_station.bench.rows("enrolment_failure")) == 1  # names asked for in vain leave nothing
    sqlite_station.bench.now += timedelta(minutes=15)
    sqlite_station.enrol(USER, token)


def test_a_clock_that_was_ahead_locks_nobody_out(station: Station) -> None:
    """Failures of a future day count for nothing once the clock has been put right, and are forgotten."""
    station.user()
    right = station.now
    station.bench.now += timedelta(days=1)
    for _ in range(10):
        station.fault(POLICY_PATH, get_policies(USER, "not this one"))
    station.fault(POLICY_PATH, get_policies("another", "not this one"))
    station.bench.now = right
    station.enrol(USER, PASSWORD)
    assert [row["failures"] for row in station.bench.rows("enrolment_failure")] == [0, 0]


def test_two_from_one_place_never_wait_for_each_other(bench: Bench) -> None:
    """A try and the end of another hold their rows in one order, however these lie in the table."""
    keys = {"a": 5, "b": 5}
    with bench.database.write() as conn:
        for key in sorted(keys, reverse=True):
            count_try(conn, {key: 5}, now=bench.now)

    def end() -> None:
        with bench.database.write() as conn:
            take_back(conn, keys)

    with ThreadPoolExecutor(1) as pool:
        with bench.database.write() as conn:
            count_try(conn, {"a": 5}, now=bench.now)
            ended = pool.submit(end)
            wait([ended], timeout=0.2)  # by then it waits for the row that is held here
            count_try(conn, {"b": 5}, now=bench.now)
        ended.result()
    assert [row["failures"] for row in bench.rows("enrolment_failure")] == [1, 1]


def test_successes_count_for_nothing(sqlite_station: Station) -> None:
    """A site behind one address may enrol as many devices as it likes."""
    token = sqlite_station.token()
    for _ in range(105):
        found = sqlite_station.answer(POLICY_PATH, get_policies(USER, token))
        assert not found.xpath("//s:Fault", namespaces=NAMESPACES)


@pytest.mark.parametrize(
    ("body", "subcode"),
    [
        (envelope(RST, "<x/>", username_token("a", "b")), "s:MessageFormat"),
        (security_token("a", "b", b"x", kind="Other"), "s:MessageFormat"),
        (security_token("a", "b", b"x", kind="Renew"), "s:MessageFormat"),
        (security_token("a", "b", b"x", value_type="urn:x"), "s:MessageFormat"),
        (security_token("a", "b", b""), "s:MessageFormat"),
        (security_token("a", "b", b"x").replace(b"eA==", b"e!A=="), "s:MessageFormat"),
        (security_token("a", "b", b"x", EnrollmentType="Half"), "s:EnrollmentServer"),
        (security_token("a", "b", b"x", DeviceName="x" * 201), "s:EnrollmentServer"),
        (security_token("a", "b", b"x", **{f"N{n}": "1" for n in range(100)}), "s:MessageFormat"),
        (security_token("a" * 201, "b", b"x"), "s:Authentication"),
        (security_token("a", "b", b"x").replace(b"wsse:Security", b"wsse:Other"), "a:InvalidSecurity"),
        (
            security_token("a", "b", b"x")
            .replace(b"<wsse:UsernameToken ", b"<wsse:BinarySecurityToken ")
            .replace(b"/wsse:UsernameToken", b"/wsse:BinarySecurityToken"),
            "a:InvalidSecurity",
        ),
    ],
)
def test_requests_that_are_not_taken(sqlite_station: Station, body: bytes, subcode: str) -> None:
    """Each with the subcode of the documentation, and nothing stored."""
    assert sqlite_station.fault(ENROLMENT_PATH, body)[0] == subcode
    assert sqlite_station.bench.rows("device") == []


def test_bad_certificate_requests(station: Station) -> None:
    """What is no request, or is not signed by its key, takes no use of the token."""
    token = station.token()
    damaged = station.csr[:-1] + bytes([station.csr[-1] ^ 1])
    for csr in (b"x", damaged):
        assert station.refused(USER, token, csr)[0] == "s:CertificateRequest"
    assert [row["uses"] for row in station.bench.rows("enrolment_token")] == [0]
    station.enrol(USER, token)


def test_a_device_without_an_id(station: Station) -> None:
    """Its messages could not be told from another's."""
    subcode, _, error = station.refused(USER, station.token(), DeviceID=None)
    assert (subcode, error) == ("s:EnrollmentServer", "InvalidEnrollmentData")


def test_without_an_authority(bare_station: Station) -> None:
    """The administrator is told the command that makes one, and the token stays good."""
    station = bare_station
    subcode, why, _ = station.refused(USER, station.token())
    assert (subcode, "csp-bridge ca create" in why) == ("s:EnrollmentServer", True)
    assert [row["uses"] for row in station.bench.rows("enrolment_token")] == [0]


def test_secrets_are_never_written(station: Station, logged: StringIO) -> None:
    """A canary as password and token, right and wrong, is in no log line and in no row of any table."""
    canary = "canary-password-7f3a"
    station.user(password=canary)
    token = station.token()
    station.answer(POLICY_PATH, get_policies(USER, canary))
    document = station.enrol(USER, token)
    station.fault(POLICY_PATH, get_policies("nobody", canary))
    station.fault(POLICY_PATH, get_policies(USER, f"{canary}x"))
    station.fault(POLICY_PATH, get_policies(USER, canary)[:-20])
    everything = logged.getvalue() + json.dumps(station.bench.dump(), default=repr)
    given = [each.get("value") for each in document.xpath('//parm[@name="AAUTHSECRET"]')]
    for secret in (canary, token, token.replace("-", ""), *given):
        assert secret not in everything
    refusals = [json.loads(line) for line in logged.getvalue().splitlines() if "enrolment_refused" in line]
    assert [line["subcode"] for line in refusals] == ["Authentication", "Authentication", "MessageFormat"]
    assert refusals[0]["why"] == "no such user, or a wrong password"
