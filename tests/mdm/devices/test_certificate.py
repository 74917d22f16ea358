"""A device's certificate: which of several counts, the word for it, the sentence, and the same as a condition in SQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from mdm.ca.renewal import RenewalPeriod
from mdm.devices.certificate import (
    CertificateState,
    DeviceCertificate,
    certificate_in_state,
    certificate_view,
    last_certificate,
)
from mdm.storage.statements import table_of
from mdm.storage.tables import Device

if TYPE_CHECKING:
    from conftest import Bench

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
YEAR = RenewalPeriod.of(365 * DAY)
WEEK = RenewalPeriod.of(7 * DAY)

STATES = [
    (YEAR, 300 * DAY, "good", "Good until 2027-09-17; the device renews it from 2027-08-06 on."),
    (YEAR, 42 * DAY + SECOND, "good", "Good until 2027-01-02; the device renews it from 2026-11-21 on."),
    (YEAR, 42 * DAY, "renewal_due", "Good until 2027-01-02; the device should renew it when it is on next."),
    (
        YEAR,
        14 * DAY + SECOND,
        "renewal_due",
        "Good until 2026-12-05; the device should renew it when it is on next.",
    ),
    (
        YEAR,
        14 * DAY,
        "ends_soon",
        (
            "It ends on 2026-12-05 and was not renewed: have the device switched on before then, and look for "
            "enrolment_refused in the log. After that the device has to be enrolled again."
        ),
    ),
    (
        YEAR,
        timedelta(0),
        "ends_soon",
        (
            "It ends on 2026-11-21 and was not renewed: have the device switched on before then, and look for "
            "enrolment_refused in the log. After that the device has to be enrolled again."
        ),
    ),
    (
        YEAR,
        -SECOND,
        "ended",
        (
            "Its certificate ended on 2026-11-21; Windows does not renew after that: the device has to be enrolled "
            "again."
        ),
    ),
    (WEEK, 4 * DAY, "good", "Good until 2026-11-25; the device renews it from 2026-11-22 on."),
    (WEEK, 3 * DAY, "renewal_due", "Good until 2026-11-24; the device should renew it when it is on next."),
]


@pytest.mark.parametrize(("renewal", "left", "state", "sentence"), STATES)
def test_the_state_of_one_that_was_not_taken_back(
    renewal: RenewalPeriod, left: timedelta, state: str, sentence: str
) -> None:
    """Its days are those of the setting; the first and the last second of each state."""
    certificate = DeviceCertificate("1" * 40, NOW + left)
    assert (certificate.state(renewal, NOW), certificate.sentence(renewal, NOW)) == (state, sentence)
    assert certificate.is_over(NOW) is (state == "ended")


@pytest.mark.parametrize("left", [-DAY, DAY])
def test_one_that_was_taken_back(left: timedelta) -> None:
    """Whether it would have ended since or not."""
    certificate = DeviceCertificate("1" * 40, NOW + left, NOW - 2 * DAY, "keyCompromise")
    assert certificate.is_over(NOW)
    assert certificate.state(YEAR, NOW) is CertificateState.REVOKED
    assert certificate.sentence(YEAR, NOW) == (
        "Its certificate was revoked on 2026-11-19 (keyCompromise); the device is refused until it is enrolled again."
    )


def issue(bench: Bench, serial: str, device_pk: int | None, left: timedelta, **values: Any) -> None:
    """A row of a certificate that ends so long from now on."""
    if not bench.rows("certificate_authority"):
        bench.add(
            "certificate_authority",
            id="ca_1",
            origin="created",
            current=True,
            root_der=b"root",
            sealed_key=b"key",
            created_at=bench.now,
        )
    bench.add(
        "issued_certificate",
        serial=serial * 40,
        authority_id="ca_1",
        device_pk=device_pk,
        subject="CN=x",
        sha256="0" * 64,
        thumbprint="0" * 40,
        issued_at=bench.now,
        not_before=bench.now,
        not_after=bench.now + left,
        **values,
    )


REVOKED: dict[str, Any] = {"revoked_at": NOW, "revocation_reason": "superseded"}


def enrolled(bench: Bench, name: str = "DEV1", *, required: bool = True) -> int:
    """The key of a new device."""
    bench.enrol(name, certificate_required=required)
    (found,) = [each["pk"] for each in bench.rows("device") if each["device_id"] == name]
    return int(found)


def test_the_one_that_ends_last_counts(bench: Bench) -> None:
    """Of those not taken back, if there is any; of several taken back the one that would have ended last."""
    pk = enrolled(bench)

    def last() -> str | None:
        with bench.database.read() as conn:
            found = last_certificate(conn, pk)
        return None if found is None else found.serial[0]

    assert last() is None
    issue(bench, "1", pk, DAY, **REVOKED)
    issue(bench, "2", pk, 2 * DAY, **REVOKED)
    assert last() == "2"
    issue(bench, "3", pk, -DAY)
    issue(bench, "4", pk, timedelta(0))
    issue(bench, "5", None, 9 * DAY)
    assert last() == "4"


def test_only_a_device_that_needs_one_has_one(bench: Bench) -> None:
    """One that proves itself by its messages may have had one before."""
    pk = enrolled(bench, required=False)
    issue(bench, "1", pk, DAY)
    with bench.database.read() as conn:
        assert certificate_view(conn, pk, YEAR, bench.now) is None
        for state in CertificateState:
            condition = certificate_in_state(state, YEAR, bench.now)
            assert conn.scalars(select(table_of(Device).c.pk).where(condition)).all() == []


@pytest.mark.parametrize("renewal", [YEAR, WEEK], ids=["year", "week"])
def test_word_and_condition_agree(bench: Bench, renewal: RenewalPeriod) -> None:
    """Each device is found by the state that it is shown with, and by no other, at the edges too."""
    lefts = [
        edge + off
        for edge in (timedelta(0), renewal.alarm, renewal.window)
        for off in (-SECOND, timedelta(0), SECOND)
    ]
    for number, left in enumerate(lefts):
        pk = enrolled(bench, f"DEV{number}")
        issue(bench, f"{number}", pk, left)
        issue(bench, "abcdefghi"[number], pk, left + 400 * DAY, **REVOKED)
    gone = enrolled(bench, "GONE")
    issue(bench, "z", gone, 400 * DAY, **REVOKED)
    without = enrolled(bench, "WITHOUT")
    device = table_of(Device)
    with bench.database.read() as conn:
        shown = {
            pk: view.state
            for pk in conn.scalars(select(device.c.pk))
            if (view := certificate_view(conn, pk, renewal, bench.now)) is not None
        }
        found = {
            pk: state
            for state in CertificateState
            for pk in conn.scalars(select(device.c.pk).where(certificate_in_state(state, renewal, bench.now)))
        }
    assert found == shown
    assert without not in shown
    assert set(shown.values()) == set(CertificateState)
    assert len(shown) == len(lefts) + 1
