"""When an acceptance ends: with the text it was given for, and with nothing else."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert, update
from sqlmodel import SQLModel

from mdm.approvals.effective import class_facts, update_facts
from mdm.approvals.eulas import accept_eula, get_eula, list_eulas, open_eulas_of_update
from mdm.audit import Origin
from mdm.errors import Conflict

if TYPE_CHECKING:
    from conftest import Bench

ORIGIN = Origin(actor="client:legal")
EULA = "eeeeeeee-0000-4000-8000-000000000001"
UPDATE = "a317dafe-baf4-453f-b232-a7075efae36e"
CLASS = "0fa1201d-4330-4fa8-8ae9-b877473b6441"
TEXTS = SQLModel.metadata.tables["eula_text"]


def digest(text: str) -> str:
    """What an acceptance names."""
    return hashlib.sha256(text.encode()).hexdigest()


def add_text(bench: Bench, text: str | None, *, locale: str = "en", geo_id: str = "") -> None:
    """The file that is current from now on."""
    with bench.database.write() as conn:
        place = (TEXTS.c.locale == locale) & (TEXTS.c.geo_id == geo_id)
        conn.execute(update(TEXTS).where(place).values(current=False))
        conn.execute(
            insert(TEXTS).values(
                eula_id=EULA,
                locale=locale,
                geo_id=geo_id,
                file_sha1=f"sha1 {text}",
                current=True,
                text=text,
                text_sha256=None if text is None else digest(text),
            )
        )


def accept(bench: Bench, text: str, *, locale: str = "en", geo_id: str | None = None) -> None:
    """Accept a text."""
    with bench.database.write() as conn:
        accept_eula(conn, ORIGIN, EULA, locale=locale, geo_id=geo_id, text_sha256=digest(text), now=bench.now)


@pytest.fixture
def licensed(bench: Bench) -> Bench:
    """An update with a licence whose English text is accepted."""
    bench.add("eula", id=EULA, first_seen_at=bench.now)
    bench.catalogue(UPDATE, eula_id=EULA, classification_id=CLASS)
    add_text(bench, "first")
    accept(bench, "first")
    return bench


def accepted(bench: Bench) -> bool:
    """Whether the EULA is accepted, which everybody who asks must be told alike."""
    with bench.database.read() as conn:
        (view,) = list_eulas(conn, after=None, limit=5, now=bench.now)
        answers = {
            view.accepted,
            get_eula(conn, EULA, now=bench.now).accepted,
            not view.changed,
            not open_eulas_of_update(conn, UPDATE),
            not class_facts(conn, [], [CLASS]).with_open_eula,
            update_facts(conn, [UPDATE])[UPDATE].eula_accepted,
        }
    (answer,) = answers
    return answer


def test_an_accepted_text_holds(licensed: Bench) -> None:
    """Also when the licence gains another language or country."""
    assert accepted(licensed)
    add_text(licensed, "zweiter", locale="de")
    add_text(licensed, "for one country", geo_id="DEU")
    assert accepted(licensed)


@pytest.mark.parametrize("text", ["second", None])
def test_a_changed_text_needs_a_new_acceptance(licensed: Bench, text: str | None) -> None:
    """From the moment the metadata names another file, fetched or not."""
    add_text(licensed, text)
    assert not accepted(licensed)
    with licensed.database.read() as conn:
        document = get_eula(conn, EULA, now=licensed.now)
        assert (document.changed, document.updates_waiting) == (True, 1)
        assert [each.holds for each in document.acceptances] == [False]
        assert get_eula(conn, EULA, text_sha256=digest("first"), now=licensed.now).text == "first"
    with pytest.raises(Conflict):
        accept(licensed, "first")


def test_a_text_that_nobody_could_read_leaves_no_trace(licensed: Bench) -> None:
    """Named and replaced again before it was fetched; texts that were read stay behind the current one."""
    add_text(licensed, None)
    add_text(licensed, "third")
    with licensed.database.read() as conn:
        texts = get_eula(conn, EULA, now=licensed.now).texts
        assert [(text.current, text.text_sha256) for text in texts] == [
            (True, digest("third")),
            (False, digest("first")),
        ]
        (listed,) = list_eulas(conn, after=None, limit=1, now=licensed.now)
        assert [text.text_sha256 for text in listed.texts] == [digest("third")]


def test_the_new_text_is_accepted_like_the_first(licensed: Bench) -> None:
    """The ledger keeps both rows; if the first text returns, its acceptance holds again."""
    add_text(licensed, "second")
    accept(licensed, "second")
    assert accepted(licensed)
    with licensed.database.read() as conn:
        held = {each.text_sha256: each.holds for each in get_eula(conn, EULA, now=licensed.now).acceptances}
    assert held == {digest("first"): False, digest("second"): True}
    with licensed.database.write() as conn:
        conn.execute(update(TEXTS).values(current=False))
        conn.execute(update(TEXTS).where(TEXTS.c.text == "first").values(current=True))
    assert accepted(licensed)


def test_a_change_in_another_language_or_country_is_another_text(licensed: Bench) -> None:
    """What was accepted is unchanged."""
    add_text(licensed, "nur hier", geo_id="DEU")
    add_text(licensed, "nur noch hier", geo_id="DEU")
    assert accepted(licensed)
    accept(licensed, "nur noch hier", geo_id="DEU")
    add_text(licensed, "third", geo_id="DEU")
    assert accepted(licensed)
    add_text(licensed, "fourth")
    assert not accepted(licensed)
