"""/eulas over HTTP."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Api

E1 = "eeeeeeee-0000-4000-8000-000000000001"
E2 = "eeeeeeee-0000-4000-8000-000000000002"
A = "a317dafe-baf4-453f-b232-a7075efae36e"
TEXT = "You may not.\n"
HASH = hashlib.sha256(TEXT.encode()).hexdigest()
BODY = {"locale": "en", "text_sha256": HASH}


def fill(api: Api) -> None:
    """One EULA with an English text that one update waits for, and one without any text."""
    bench = api.bench
    for eula_id in (E1, E2):
        bench.add("eula", id=eula_id, first_seen_at=bench.now)
    bench.add("eula_text", eula_id=E1, locale="en", file_sha1="x", text=TEXT, text_sha256=HASH)
    bench.add("eula_text", eula_id=E1, locale="de", file_sha1="y", error="The file is gone.")
    bench.catalogue(A, eula_id=E1, title=".NET")


def test_lists(api: Api) -> None:
    """What waits, in which languages it can be read, page by page."""
    fill(api)
    ((first,), (second,)) = api.pages("/eulas", limit=1)
    assert first == {
        "id": E1,
        "title": ".NET",
        "accepted": False,
        "changed": False,
        "first_seen_at": "2026-11-21T12:00:00Z",
        "texts": [
            {
                "locale": "de",
                "geo_id": None,
                "available": False,
                "text_sha256": None,
                "error": "The file is gone.",
                "current": True,
            },
            {
                "locale": "en",
                "geo_id": None,
                "available": True,
                "text_sha256": HASH,
                "error": None,
                "current": True,
            },
        ],
        "update_count": 1,
        "updates_waiting": 1,
        "waiting": None,
    }
    assert second["id"] == E2
    assert api.get("/eulas", accepted="true")["items"] == []
    assert len(api.get("/eulas", accepted="false")["items"]) == 2


def test_reading_a_text(api: Api) -> None:
    """By language, whatever the case of the id."""
    fill(api)
    document = api.get(f"/eulas/{E1.upper()}")
    assert (document["locale"], document["text"], document["text_sha256"]) == ("en", TEXT, HASH)
    assert api.get(f"/eulas/{E1}", locale="de")["text"] is None
    assert api.refused("GET", f"/eulas/{E1}", 404, "not_found", params={"locale": "fr"})["locales"] == [
        "de",
        "en",
    ]
    api.refused("GET", f"/eulas/{A}", 404, "not_found")


def test_a_text_for_one_country_and_one_that_was_replaced(accepting_api: Api) -> None:
    """The first is asked for by country, the second by the hash that the ledger names."""
    fill(accepting_api)
    bench = accepting_api.bench
    german = hashlib.sha256(b"Nur hier.").hexdigest()
    bench.add(
        "eula_text",
        eula_id=E1,
        locale="en",
        geo_id="DEU",
        file_sha1="z",
        text="Nur hier.",
        text_sha256=german,
    )
    bench.add(
        "eula_text", eula_id=E1, locale="en", file_sha1="o", text="Old.", text_sha256="a" * 64, current=False
    )
    document = accepting_api.get(f"/eulas/{E1}", locale="en", geo_id="deu")
    assert (document["geo_id"], document["text"]) == ("DEU", "Nur hier.")
    assert accepting_api.get(f"/eulas/{E1}", text_sha256="A" * 64)["text"] == "Old."
    body = {"locale": "en", "geo_id": "DEU", "text_sha256": german}
    accepted = accepting_api.post(f"/eulas/{E1}/accept", body)
    assert (accepted["geo_id"], accepted["holds"]) == ("DEU", True)
    old = {"locale": "en", "text_sha256": "a" * 64}
    accepting_api.refused("POST", f"/eulas/{E1}/accept", 409, "eula_text_changed", json=old)
    accepting_api.refused("GET", f"/eulas/{E1}", 422, "validation_failed", params={"geo_id": "Germany"})


def test_accepting(accepting_api: Api) -> None:
    """201 the first time, 200 with the same row afterwards; the ledger says by whom, and where from."""
    fill(accepting_api)
    first = accepting_api.post(f"/eulas/{E1}/accept", {**BODY, "text_sha256": HASH.upper()})
    assert (first["accepted_by"], first["locale"], first["text_sha256"]) == ("client:tests", "en", HASH)
    assert accepting_api.post(f"/eulas/{E1}/accept", BODY, 200) == first
    document = accepting_api.get(f"/eulas/{E1}")
    assert (document["accepted"], document["updates_waiting"]) == (True, 0)
    assert document["acceptances"] == [first]
    assert (first["remote_addr"], first["request_id"]) == ("testclient", "from-the-test")
    assert (first["by_machine"], first["organization"]) == (True, "Contoso Ltd.")


@pytest.mark.parametrize(
    ("eula_id", "body", "status", "code"),
    [
        (E1, {"locale": "de", "text_sha256": HASH}, 409, "eula_text_unavailable"),
        (E1, {"locale": "en", "text_sha256": "0" * 64}, 409, "eula_text_changed"),
        (E1, {"locale": "fr", "text_sha256": HASH}, 422, "validation_failed"),
        (E1, {"locale": "en", "text_sha256": "abc"}, 422, "validation_failed"),
        (E1, {"locale": "en"}, 422, "validation_failed"),
        (A, BODY, 404, "not_found"),
    ],
)
def test_refused_acceptances(
    accepting_api: Api, eula_id: str, body: dict[str, Any], status: int, code: str
) -> None:
    """Only the text as it is stored, in a language there is."""
    fill(accepting_api)
    problem = accepting_api.refused("POST", f"/eulas/{eula_id}/accept", status, code, json=body)
    if code == "eula_text_changed":
        assert problem["text_sha256"] == HASH
    assert accepting_api.bench.rows("eula_acceptance") == []


def test_tokens_may_not_accept_unless_told(api: Api) -> None:
    """The setting is off by default, and `admin` does not bring the scope along."""
    fill(api)
    api.refused("POST", f"/eulas/{E1}/accept", 403, "eula_accept_by_token_disabled", json=BODY)
    problem = api.refused(
        "POST", f"/eulas/{E1}/accept", 403, "insufficient_scope", json=BODY, token=api.token_with("admin")
    )
    assert problem["scope"] == "eula.accept"
    assert api.bench.rows("eula_acceptance") == []


def test_the_queue(api: Api) -> None:
    """Only what approvals wait for, with who waits and for how long."""
    fill(api)
    assert api.get("/eulas", waiting="true")["items"] == []
    assert len(api.get("/eulas", waiting="false")["items"]) == 2
    api.bench.approve(A)
    (view,) = api.get("/eulas", waiting="true")["items"]
    (row,) = api.bench.rows("approval")
    assert (view["id"], view["waiting"]["devices"], view["waiting"]["since"]) == (
        E1,
        0,
        "2026-11-21T12:00:00Z",
    )
    assert view["waiting"]["approvals"] == [
        {
            "id": row["id"],
            "target_type": "update",
            "target_id": A,
            "created_by": "test",
            "rule_id": None,
            "rollout_id": None,
            "stage": None,
            "since": "2026-11-21T12:00:00Z",
            "update_ids": [A],
        }
    ]
    assert api.get(f"/eulas/{E1}")["waiting"] == view["waiting"]
    api.refused("GET", "/eulas", 422, "validation_failed", params={"waiting": "maybe"})


def test_the_ledger(accepting_api: Api) -> None:
    """Newest first, page by page, in the name of the organisation of the settings."""
    fill(accepting_api)
    accepting_api.bench.add("eula_text", eula_id=E2, locale="en", file_sha1="z", text=TEXT, text_sha256=HASH)
    first = accepting_api.post(f"/eulas/{E1}/accept", BODY)
    accepting_api.clock.now += timedelta(seconds=1)
    second = accepting_api.post(f"/eulas/{E2}/accept", BODY)
    assert accepting_api.pages("/eula-acceptances", limit=1) == [[second], [first]]
    assert accepting_api.get("/eula-acceptances", eula_id=E1.upper())["items"] == [first]


@pytest.mark.parametrize(
    ("params", "status", "code"),
    [
        ({"eula_id": "x"}, 422, "validation_failed"),
        ({"eula_id": "a\x00b"}, 422, "validation_failed"),
        ({"limit": "501"}, 422, "validation_failed"),
        ({"cursor": "bm8"}, 400, "invalid_cursor"),
        ({"accepted_by": "me"}, 400, "unknown_parameter"),
    ],
)
def test_wrong_questions_to_the_ledger(
    sqlite_api: Api, params: dict[str, str], status: int, code: str
) -> None:
    """Each is refused with a code."""
    sqlite_api.refused("GET", "/eula-acceptances", status, code, params=params)
