"""Certificate authorities and certificates over REST, and what of them is public."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import delete, select

from mdm.audit import Origin
from mdm.ca.authority import Authority, install
from mdm.ca.certificates import build_intermediate, build_root
from mdm.ca.chain import Material
from mdm.rest import pki
from mdm.storage.statements import table_of
from mdm.storage.tables import CertificateAuthority, Device

if TYPE_CHECKING:
    from conftest import Bench

    from mdm.ca.authority import Issued

PUBLIC_KEY = (
    rsa.generate_private_key(public_exponent=65537, key_size=2048)
    .public_key()
    .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
)


def found(bench: Bench, name: str = "Example", *, intermediate: bool = True) -> Authority:
    """An authority of curves, because those keys are made at once; it stands in for the one before."""
    key = ec.generate_private_key(ec.SECP256R1())
    end = bench.now + timedelta(days=3650)
    root = build_root(key, name, intermediates=1, now=bench.now, not_after=end)
    material = Material(key, root, None)
    if intermediate:
        below = ec.generate_private_key(ec.SECP256R1())
        certificate = build_intermediate(
            below, f"{name} Devices", issuer=root, issuer_key=key, now=bench.now, not_after=end
        )
        material = Material(below, root, certificate)
    with bench.database.write() as conn:
        return install(
            conn, Origin("test"), bench.secrets, material, kind="created", instead=True, now=bench.now
        )


def issue(bench: Bench, authority: Authority, device: str | None = None, days: int = 365) -> Issued:
    """A certificate, a second after the one before."""
    bench.now += timedelta(seconds=1)
    devices = table_of(Device)
    with bench.database.write() as conn:
        pk = conn.execute(select(devices.c.pk).where(devices.c.device_id == device)).scalar_one_or_none()
        return Authority.load(conn, bench.secrets, lifetime=timedelta(days=days)).issue(
            conn, public_key=PUBLIC_KEY, subject_name="PC-1", device_pk=pk, now=bench.now
        )


def test_no_authority_yet(api: Any) -> None:
    """An empty list, and nothing behind an id."""
    assert api.get("/certificate-authorities") == {"items": [], "next_cursor": None, "total": 0}
    api.refused("GET", "/certificate-authorities/ca_0", 404, "not_found")
    api.refused("GET", "/certificate-authorities/ca_0/crl", 404, "not_found")
    api.refused("GET", "/certificate-authorities/a%00b", 404, "not_found")


def test_authorities(api: Any) -> None:
    """The one that issues comes first, each with its certificates and no key."""
    old = found(api.bench, "Old", intermediate=False)
    api.bench.now += timedelta(seconds=1)
    new = found(api.bench, "New")
    first, second = api.get("/certificate-authorities")["items"]
    assert (first["id"], first["state"], second["id"], second["state"]) == (
        new.id,
        "issues",
        old.id,
        "replaced",
    )
    assert second["intermediate"] is None
    assert second["replaced_at"] is not None
    assert x509.load_pem_x509_certificate(first["root"]["pem"].encode()) == new.root
    assert x509.load_pem_x509_certificate(first["intermediate"]["pem"].encode()) == new.intermediate
    assert first["intermediate"]["subject"] == "CN=New Devices"
    assert first["crl_url"] == f"/pki/{new.id}.crl"
    assert api.get(f"/certificate-authorities/{new.id}") == first
    assert "key" not in str(first).lower()


def test_urls_are_whole_where_the_address_is_known(addressed_api: Any) -> None:
    """BRIDGE_PUBLIC_URL stands before them."""
    authority = found(addressed_api.bench)
    one = addressed_api.get(f"/certificate-authorities/{authority.id}")
    assert one["certificate_url"] == f"https://mdm.example.test/pki/{authority.id}.cer"
    assert one["crl_url"] == f"https://mdm.example.test/pki/{authority.id}.crl"


def test_certificates_page_by_page(api: Any) -> None:
    """Newest first, and each once."""
    authority = found(api.bench)
    issued = [issue(api.bench, authority).serial for _ in range(5)]
    pages = api.pages("/certificates", limit=2)
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [each["serial"] for page in pages for each in page] == issued[::-1]


def test_certificates_of_one_moment_page_by_page(api: Any) -> None:
    """The serial number decides between those issued at once."""
    authority = found(api.bench)
    for _ in range(3):
        issue(api.bench, authority)
        api.bench.now -= timedelta(seconds=1)
    serials = [each["serial"] for page in api.pages("/certificates", limit=1) for each in page]
    assert serials == sorted(set(serials))
    assert len(serials) == 3


def test_certificates_by_device_and_state(api: Any) -> None:
    """Each filter leaves the others' out; both together leave less."""
    api.bench.enrol("DEV1")
    authority = found(api.bench)
    mine = issue(api.bench, authority, "DEV1")
    ended = issue(api.bench, authority, "DEV1", days=1)
    others = issue(api.bench, authority)
    api.post(f"/certificates/{others.serial}/revoke", {"reason": "superseded"}, 200)
    api.clock.now = api.bench.now + timedelta(days=2)

    def serials(**params: str) -> list[str]:
        return [each["serial"] for each in api.get("/certificates", **params)["items"]]

    assert serials() == [others.serial, ended.serial, mine.serial]
    assert serials(device="id-DEV1") == [ended.serial, mine.serial]
    assert serials(device="DEV1") == []
    assert serials(state="active") == [mine.serial]
    assert serials(state="expired") == [ended.serial]
    assert serials(state="revoked") == [others.serial]
    assert serials(device="id-DEV1", state="revoked") == []
    one = api.get(f"/certificates/{mine.serial}")
    assert one in api.get("/certificates")["items"]
    assert (one["device"], one["device_id"], one["state"]) == ("id-DEV1", "DEV1", "active")


def test_a_certificate_at_its_very_end(api: Any) -> None:
    """The filter and the word agree about the last moment."""
    issued = issue(api.bench, found(api.bench))
    for moment, state in ((issued.not_after, "active"), (issued.not_after + timedelta(seconds=1), "expired")):
        api.clock.now = moment
        (item,) = api.get("/certificates", state=state)["items"]
        assert item["state"] == state


@pytest.mark.parametrize(
    ("params", "pointer"),
    [({"state": "lost"}, "/state"), ({"device": ""}, "/device"), ({"device": "x" * 201}, "/device")],
)
def test_a_wrong_filter(sqlite_api: Any, params: dict[str, str], pointer: str) -> None:
    """It is named."""
    problem = sqlite_api.refused("GET", "/certificates", 422, "validation_failed", params=params)
    assert problem["errors"][0]["pointer"] == pointer


def test_a_certificate_is_taken_back(api: Any) -> None:
    """It is revoked from now on, once, with its reason, and the trail says so."""
    issued = issue(api.bench, found(api.bench))
    path = f"/certificates/{issued.serial}/revoke"
    first = api.post(path, {"reason": "keyCompromise"}, 200)
    assert (first["state"], first["revocation_reason"]) == ("revoked", "keyCompromise")
    assert api.post(path, {}, 200) == first
    entries = [each for each in api.get("/audit")["items"] if each["action"] == "certificate.revoke"]
    assert [each["actor"] for each in entries] == ["client:tests"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"reason": "cACompromise"}, "invalid_value"),
        ({"reason": None}, "invalid_value"),
        ({"why": "x"}, "unknown_member"),
    ],
)
def test_a_wrong_revocation(sqlite_api: Any, body: dict[str, Any], code: str) -> None:
    """Nothing is taken back, and the member is named."""
    issued = issue(sqlite_api.bench, found(sqlite_api.bench))
    path = f"/certificates/{issued.serial}/revoke"
    problem = sqlite_api.refused("POST", path, 422, "validation_failed", json=body)
    assert problem["errors"][0]["code"] == code
    assert sqlite_api.get(f"/certificates/{issued.serial}")["state"] == "active"


@pytest.mark.parametrize("serial", ["0" * 40, "x", "a%00b", "0" * 300])
def test_a_certificate_that_was_not_issued_here(api: Any, serial: str) -> None:
    """There is nothing to read and nothing to take back."""
    api.refused("GET", f"/certificates/{serial}", 404, "not_found")
    api.refused("POST", f"/certificates/{serial}/revoke", 404, "not_found", json={})


def test_scopes(sqlite_api: Any) -> None:
    """Reading takes devices.read, taking back takes devices.write."""
    issued = issue(sqlite_api.bench, found(sqlite_api.bench))
    reader, other = sqlite_api.token_with("devices.read"), sqlite_api.token_with("catalog.read")
    for path in ("/certificate-authorities", "/certificates", f"/certificates/{issued.serial}"):
        assert sqlite_api("GET", path, token=reader).status_code == 200
        assert sqlite_api("GET", path, token=other).status_code == 403
    path = f"/certificates/{issued.serial}/revoke"
    assert sqlite_api("POST", path, token=reader, json={}).status_code == 403


def test_the_revocation_list_over_rest(api: Any) -> None:
    """It is in PEM, signed by the authority, and names what was taken back."""
    authority = found(api.bench)
    issued = issue(api.bench, authority)
    api.post(f"/certificates/{issued.serial}/revoke", {}, 200)
    answer = api.get(f"/certificate-authorities/{authority.id}/crl")
    crl = x509.load_pem_x509_crl(answer["pem"].encode())
    assert (answer["revoked"], [each.serial_number for each in crl]) == (1, [int(issued.serial, 16)])
    assert crl.is_signature_valid(authority.issuer.public_key())


def test_the_public_revocation_list(api: Any) -> None:
    """Anybody may have it, until its own nextUpdate; it is signed anew when something was taken back."""
    authority = found(api.bench)
    issued = issue(api.bench, authority)
    url = f"/pki/{authority.id}.crl"
    first = api.client.get(url)
    assert first.status_code == 200
    assert first.headers["content-type"] == "application/pkix-crl"
    assert first.headers["cache-control"] == f"public, max-age={7 * 24 * 3600}"
    crl = x509.load_der_x509_crl(first.content)
    assert crl.is_signature_valid(authority.issuer.public_key())
    assert len(crl) == 0

    api.clock.now += timedelta(minutes=10)
    again = api.client.get(url)
    assert again.content == first.content
    assert again.headers["cache-control"] == f"public, max-age={7 * 24 * 3600 - 600}"

    api.post(f"/certificates/{issued.serial}/revoke", {}, 200)
    revoked = x509.load_der_x509_crl(api.client.get(url).content)
    assert [each.serial_number for each in revoked] == [int(issued.serial, 16)]

    api.clock.now += timedelta(minutes=16)
    later = x509.load_der_x509_crl(api.client.get(url).content)
    assert later.next_update_utc > revoked.next_update_utc


def test_the_list_of_a_replaced_authority(sqlite_api: Any) -> None:
    """What it has issued stays good, so what it has taken back stays said."""
    old = found(sqlite_api.bench, "Old", intermediate=False)
    issued = issue(sqlite_api.bench, old)
    new = found(sqlite_api.bench, "New")
    sqlite_api.post(f"/certificates/{issued.serial}/revoke", {}, 200)
    lengths = [
        len(x509.load_der_x509_crl(sqlite_api.client.get(f"/pki/{each.id}.crl").content))
        for each in (old, new)
    ]
    assert lengths == [1, 0]


def test_the_public_root(sqlite_api: Any) -> None:
    """It is the root's octets, as a PC imports them; a lost key file does not matter to it."""
    authority = found(sqlite_api.bench)
    answer = sqlite_api.client.get(f"/pki/{authority.id}.cer")
    assert answer.content == authority.root_der
    assert answer.headers["content-type"] == "application/pkix-cert"
    assert answer.headers["cache-control"] == "public, max-age=86400"


@pytest.mark.parametrize(
    "path", ["/pki/ca_0.crl", "/pki/ca_0.cer", "/pki/a%00b.crl", "/pki/a%00b.cer", "/pki/x"]
)
def test_nothing_public_about_a_stranger(api: Any, path: str) -> None:
    """404, whatever the name."""
    assert api.client.get(path).status_code == 404


def test_an_authority_that_is_gone(sqlite_api: Any) -> None:
    """Its last list is not given out any more."""
    authority = found(sqlite_api.bench)
    assert sqlite_api.client.get(pki.list_path(authority.id)).status_code == 200
    with sqlite_api.bench.database.write() as conn:
        conn.execute(delete(table_of(CertificateAuthority)))
    assert sqlite_api.client.get(pki.list_path(authority.id)).status_code == 404


def test_the_public_paths_take_get_only(sqlite_api: Any) -> None:
    """Nothing is written there."""
    assert sqlite_api.client.post("/pki/ca_0.crl").status_code == 405
