"""The licence ledger: who accepted which text, when, from where and for whom."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mdm.approvals import ledger
from mdm.approvals.eulas import accept_eula
from mdm.approvals.ledger import acceptances_of, list_acceptances, oldest_acceptances
from mdm.audit import Origin

if TYPE_CHECKING:
    from conftest import Bench

EULA = "eeeeeeee-0000-4000-8000-00000000000{}"
MACHINE = Origin("client:ci", token_id="tok_1", request_id="r1", remote_addr="10.0.0.9")
PERSON = Origin("user:anna", request_id="r2", remote_addr="10.0.0.10")


@pytest.fixture
def accepted(bench: Bench) -> Bench:
    """Five acceptances, two of them at one moment."""
    for number in range(5):
        eula_id = EULA.format(number)
        bench.add("eula", id=eula_id, first_seen_at=bench.now)
        bench.add("eula_text", eula_id=eula_id, locale="en", file_sha1="x", text="No.", text_sha256="a" * 64)
        with bench.database.write() as conn:
            accept_eula(
                conn,
                PERSON if number == 4 else MACHINE,
                eula_id,
                locale="en",
                text_sha256="a" * 64,
                organization="Contoso Ltd." if number else None,
                now=bench.now + timedelta(hours=number // 2),
            )
    return bench


def test_a_row_says_all_there_is_to_know(accepted: Bench) -> None:
    """Who, what, when, from where, for whom, and whether it was a machine."""
    with accepted.database.read() as conn:
        (machine,) = acceptances_of(conn, EULA.format(1))
        (person,) = acceptances_of(conn, EULA.format(4))
    assert replace(machine, id="") == ledger.Acceptance(
        id="",
        eula_id=EULA.format(1),
        locale="en",
        geo_id=None,
        text_sha256="a" * 64,
        accepted_by="client:ci",
        by_machine=True,
        organization="Contoso Ltd.",
        accepted_at=accepted.now,
        remote_addr="10.0.0.9",
        request_id="r1",
        holds=True,
    )
    assert (person.accepted_by, person.by_machine, person.remote_addr) == ("user:anna", False, "10.0.0.10")


def test_the_list_runs_from_the_newest(accepted: Bench) -> None:
    """Page by page, also between two of one moment; or of one EULA only."""
    with accepted.database.read() as conn:
        everything = list_acceptances(conn, before=None, limit=10)
        paged = []
        before = None
        while rows := list_acceptances(conn, before=before, limit=1):
            paged += rows
            before = (rows[0].accepted_at, rows[0].id)
        only = list_acceptances(conn, eula_id=EULA.format(2), before=None, limit=10)
    assert [each.accepted_at for each in everything] == sorted(
        (each.accepted_at for each in everything), reverse=True
    )
    assert (len(everything), paged) == (5, everything)
    assert [each.eula_id for each in only] == [EULA.format(2)]


def test_an_export_reads_all_of_it_in_pieces(accepted: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oldest first, whatever the size of a piece."""
    with accepted.database.read() as conn:
        newest = list_acceptances(conn, before=None, limit=10)
        assert list(oldest_acceptances(conn)) == newest[::-1]
        monkeypatch.setattr(ledger, "_PAGE", 2)
        assert list(oldest_acceptances(conn)) == newest[::-1]


def test_an_acceptance_changes_what_is_known(accepted: Bench) -> None:
    """Devices are planned for anew after it; a repetition changes nothing."""
    accepted.add(
        "eula_text", eula_id=EULA.format(0), locale="de", file_sha1="y", text="Nein.", text_sha256="b" * 64
    )
    versions = [accepted.rows("facts_version")[0]["version"]]
    for _ in range(2):
        with accepted.database.write() as conn:
            accept_eula(conn, MACHINE, EULA.format(0), locale="de", text_sha256="b" * 64, now=accepted.now)
        versions.append(accepted.rows("facts_version")[0]["version"])
    assert versions == [versions[0], versions[0] + 1, versions[0] + 1]
