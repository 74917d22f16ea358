"""EULAs: what is listed, which text is shown, and what the ledger takes."""

from __future__ import annotations

import hashlib
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mdm.approvals.eulas import (
    OpenEula,
    accept_eula,
    get_eula,
    list_eulas,
    open_eulas_of_classification,
    open_eulas_of_update,
)
from mdm.audit import Origin
from mdm.errors import BridgeError, Conflict, Invalid, NotFound

if TYPE_CHECKING:
    from conftest import Bench

    from mdm.approvals.ledger import Acceptance

ORIGIN = Origin(actor="client:legal", token_id="tok_1", request_id="r1", remote_addr="10.0.0.9")
E1 = "eeeeeeee-0000-4000-8000-000000000001"
E2 = "eeeeeeee-0000-4000-8000-000000000002"
A = "a317dafe-baf4-453f-b232-a7075efae36e"
B = "b317dafe-baf4-453f-b232-a7075efae36e"
CLASS = "0fa1201d-4330-4fa8-8ae9-b877473b6441"
TEXT = "You may not.\r\n"
HASH = hashlib.sha256(TEXT.encode()).hexdigest()


def add_eula(bench: Bench, eula_id: str = E1, **texts: str | None) -> None:
    """A EULA with texts by locale; None stands for one not fetched."""
    bench.add("eula", id=eula_id, first_seen_at=bench.now)
    for locale, text in texts.items():
        bench.add(
            "eula_text",
            eula_id=eula_id,
            locale=locale.replace("_", "-"),
            file_sha1="c2hhMQ==",
            text=text,
            text_sha256=None if text is None else hashlib.sha256(text.encode()).hexdigest(),
            error="not found" if text is None else None,
        )


def accept(bench: Bench, **values: Any) -> tuple[Acceptance, bool]:
    """Accept in a transaction of its own."""
    given: dict[str, Any] = {"locale": "en", "text_sha256": HASH, "now": bench.now, **values}
    with bench.database.write() as conn:
        return accept_eula(conn, ORIGIN, given.pop("eula_id", E1), **given)


def test_the_list_says_what_waits(bench: Bench) -> None:
    """Published updates wait until somebody accepts; expired and older revisions do not count."""
    add_eula(bench, E1, en=TEXT, de=None)
    add_eula(bench, E2)
    bench.catalogue(A, eula_id=E1, title="Zulu")
    bench.catalogue(B, eula_id=E1, title="Alpha", explicitly_deployable=False)
    bench.catalogue(A.replace("a", "c", 1), eula_id=E1, publication_state="Expired")
    bench.catalogue(A, revision_number=100, is_latest=False, eula_id=E2)
    with bench.database.read() as conn:
        first, second = list_eulas(conn, after=None, limit=10, now=bench.now)
    assert (first.id, first.title, first.accepted) == (E1, "Alpha", False)
    assert (first.update_count, first.updates_waiting) == (2, 2)
    assert [(text.locale, text.available, text.text_sha256, text.error) for text in first.texts] == [
        ("de", False, None, "not found"),
        ("en", True, HASH, None),
    ]
    assert (second.title, second.texts, second.update_count) == (None, (), 0)
    accept(bench)
    with bench.database.read() as conn:
        first, second = list_eulas(conn, after=None, limit=10, now=bench.now)
        assert (first.accepted, first.update_count, first.updates_waiting) == (True, 2, 0)
        assert list_eulas(conn, accepted=True, after=None, limit=10, now=bench.now) == [first]
        assert list_eulas(conn, accepted=False, after=None, limit=10, now=bench.now) == [second]
        assert list_eulas(conn, after=E1, limit=10, now=bench.now) == [second]
        assert list_eulas(conn, after=None, limit=1, now=bench.now) == [first]


@pytest.mark.parametrize(
    ("texts", "locale", "shown"),
    [
        ({"en": TEXT, "de": "Nein."}, None, "en"),
        ({"en": TEXT, "de": "Nein."}, "de", "de"),
        ({"en": TEXT, "pt_BR": "Não."}, "PT-br", "pt-BR"),
        ({"en": None, "de": "Nein."}, None, "de"),
        ({"fr": "Non.", "de": "Nein."}, None, "de"),
        ({"en_us": TEXT, "aa": "x"}, None, "en-us"),
        ({"en": None}, None, "en"),
        ({}, None, None),
    ],
)
def test_the_language_shown(
    sqlite_bench: Bench, texts: dict[str, str | None], locale: str | None, shown: str | None
) -> None:
    """The one asked for; else a fetched one, in English if there is one."""
    add_eula(sqlite_bench, **texts)
    with sqlite_bench.database.read() as conn:
        document = get_eula(conn, E1, locale=locale, now=sqlite_bench.now)
    assert document.locale == shown
    assert document.text == (None if shown is None else texts[shown.replace("-", "_")])


def test_a_language_that_does_not_exist(sqlite_bench: Bench) -> None:
    """The error names those there are."""
    add_eula(sqlite_bench, en=TEXT, de=None)
    with pytest.raises(NotFound) as caught, sqlite_bench.database.read() as conn:
        get_eula(conn, E1, locale="fr", now=sqlite_bench.now)
    assert caught.value.members == {"locales": ["de", "en"]}


def test_acceptance_is_entered_once(bench: Bench) -> None:
    """The second acceptance of a text gives the first row back; the ledger and the audit have one row."""
    add_eula(bench, en=TEXT)
    first, new = accept(bench)
    assert new
    again, new_again = accept(bench, now=bench.now + timedelta(days=1))
    assert (again, new_again) == (first, False)
    (row,) = bench.rows("eula_acceptance")
    assert (row["accepted_by"], row["accepted_at"], row["remote_addr"], row["request_id"]) == (
        "client:legal",
        bench.now,
        "10.0.0.9",
        "r1",
    )
    (entry,) = bench.rows("audit_entry")
    assert (entry["action"], entry["object_id"]) == ("eula.accept", E1)
    assert entry["detail"]["text_sha256"] == HASH
    assert (entry["before"], entry["after"]) == ({"accepted": False}, {"accepted": True})
    with bench.database.read() as conn:
        assert get_eula(conn, E1, now=bench.now).acceptances == (first,)


def test_each_text_has_its_own_acceptance(bench: Bench) -> None:
    """Another language is another row; the EULA was accepted with the first."""
    add_eula(bench, en=TEXT, de="Nein.")
    accept(bench)
    _, new = accept(bench, locale="de", text_sha256=hashlib.sha256(b"Nein.").hexdigest())
    assert new
    assert len(bench.rows("eula_acceptance")) == 2
    _, second = bench.rows("audit_entry", "seq")
    assert (second["before"], second["after"]) == ({}, {})


@pytest.mark.parametrize(
    ("values", "kind", "code"),
    [
        ({"eula_id": E2}, NotFound, "not_found"),
        ({"locale": "fr"}, Invalid, "validation_failed"),
        ({"locale": "de"}, Conflict, "eula_text_unavailable"),
        ({"text_sha256": "0" * 64}, Conflict, "eula_text_changed"),
    ],
)
def test_what_is_not_accepted(
    bench: Bench, values: dict[str, Any], kind: type[BridgeError], code: str
) -> None:
    """Only exactly the stored text of a known language can be accepted, and nothing is written otherwise."""
    add_eula(bench, en=TEXT, de=None)
    before = bench.dump()
    with pytest.raises(kind) as caught:
        accept(bench, **values)
    assert caught.value.code == code
    assert bench.dump() == before


def test_acceptances_at_the_same_moment_become_one(bench: Bench) -> None:
    """Eight threads accept one text: one row is new, and all eight get it."""
    add_eula(bench, en=TEXT)
    barrier = threading.Barrier(8)
    results: list[tuple[Acceptance, bool]] = []

    def run() -> None:
        barrier.wait()
        results.append(accept(bench))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(bench.rows("eula_acceptance")) == 1
    assert [new for _, new in results].count(True) == 1
    assert len({acceptance.id for acceptance, _ in results}) == 1


def test_open_eulas(bench: Bench) -> None:
    """Those of published latest revisions that nobody has accepted, named by one of their updates."""
    add_eula(bench, E1, en=TEXT)
    add_eula(bench, E2, en="other")
    bench.catalogue(A, eula_id=E1, classification_id=CLASS, title="Two")
    bench.catalogue(B, eula_id=E1, classification_id=CLASS, title="One")
    bench.catalogue(B.replace("b", "d", 1), eula_id=E2, classification_id=CLASS, publication_state="Expired")
    with bench.database.read() as conn:
        assert open_eulas_of_update(conn, A) == [OpenEula(E1, "Two")]
        assert open_eulas_of_update(conn, B.replace("b", "d", 1)) == []
        assert open_eulas_of_classification(conn, CLASS) == [OpenEula(E1, "One")]
        assert open_eulas_of_classification(conn, A) == []
    accept(bench)
    with bench.database.read() as conn:
        assert open_eulas_of_update(conn, A) == []
        assert open_eulas_of_classification(conn, CLASS) == []
