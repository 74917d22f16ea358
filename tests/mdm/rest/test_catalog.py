"""/catalog over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mdm.catalog.listing import list_again

if TYPE_CHECKING:
    from conftest import Api

A = "a317dafe-baf4-453f-b232-a7075efae36e"
B = "b317dafe-baf4-453f-b232-a7075efae36e"
C = "c317dafe-baf4-453f-b232-a7075efae36e"
CLASS = "0fa1201d-4330-4fa8-8ae9-b877473b6441"
EULA = "eeeeeeee-0000-4000-8000-000000000001"
PRODUCT = "72e7624a-5b00-45d2-b92f-e561c0a6a160"


def fill(api: Api) -> None:
    """Three updates, a classification, a product, and a device that lacks one of the updates."""
    bench = api.bench
    bench.add("category", id=CLASS, revision_number=1, category_type="UpdateClassification", title="Security")
    bench.add("category", id=PRODUCT, revision_number=1, category_type="Product", title="Windows 11")
    bench.catalogue(
        A, classification_id=CLASS, msrc_severity="Critical", kb="5041585", kb_all=["5041585"], title="One"
    )
    bench.add("revision_category", update_id=A, revision_number=200, category_id=PRODUCT)
    bench.catalogue(B, title="Two")
    bench.add("revision_relation", update_id=B, revision_number=200, kind="supersedes", clause=0, target_id=A)
    bench.add("revision_category", update_id=A, revision_number=200, category_id=CLASS)
    bench.catalogue(C, title="Three", eula_id=EULA)
    bench.add("eula", id=EULA, first_seen_at=bench.now)
    with bench.database.write() as connection:
        list_again(connection, (A, B, C))
    bench.enrol("DEV1")
    bench.add("device_update", device_pk=1, update_id=C, lists=1, state="installable", since=bench.now)


def test_an_update_is_read_by_any_form_of_its_guid(api: Api) -> None:
    """Braces, case and escapes do not matter; the answer has the lower-case form."""
    fill(api)
    for text in (A, A.upper(), f"{{{A}}}", f"%7B{A.upper()}%7D"):
        update = api.get(f"/catalog/updates/{text}")
        assert update["update_id"] == A
    assert update["kb"] == "5041585"
    assert update["classification"] == {"id": CLASS, "title": "Security"}
    assert update["products"] == [{"id": PRODUCT, "title": "Windows 11"}]
    assert (update["severity"], update["revision_number"], update["eula_id"]) == ("Critical", 200, None)
    assert (update["superseded_by"], update["source_state"]) == ([B], "synced")
    assert update["chain"] == {"supersedes": [], "superseded_by": [B]}
    assert [each["revision_number"] for each in update["revisions"]] == [200]
    assert (update["superseded"], update["needed_by"]) == (True, 0)


@pytest.mark.parametrize("text", ["x", "0" * 36, "b317dafe-baf4-453f-b232-a7075efae36f"])
def test_unknown_updates(sqlite_api: Api, text: str) -> None:
    """A GUID nobody named, and what is no GUID, are not found."""
    sqlite_api.refused("GET", f"/catalog/updates/{text}", 404, "not_found")


FILTERS: list[tuple[dict[str, str], list[str]]] = [
    ({}, [C, B, A]),
    ({"classification": CLASS.upper()}, [A]),
    ({"classification": f"{{{CLASS}}}"}, [A]),
    ({"product": PRODUCT}, [A]),
    ({"severity": "critical"}, [A]),
    ({"severity": "Critical"}, [A]),
    ({"severity": "low"}, []),
    ({"kb": "5041585"}, [A]),
    ({"kb": "KB5041585"}, [A]),
    ({"superseded": "true"}, [A]),
    ({"superseded": "false"}, [C, B]),
    ({"expired": "true"}, []),
    ({"type": "Software"}, [C, B, A]),
    ({"type": "driver"}, []),
    ({"eula": "open"}, [C]),
    ({"eula": "none"}, [B, A]),
    ({"eula": "accepted"}, []),
    ({"needed": "true"}, [C]),
    ({"needed": "false"}, [C, B, A]),
    ({"q": "TWO"}, [B]),
    ({"q": "thr", "superseded": "false"}, [C]),
    ({"q": "kb5041585"}, [A]),
    ({"q": '" OR words MATCH "*'}, []),
    ({"q": "'); DROP TABLE listed_update; --"}, []),
    ({"q": "!"}, []),
    ({"q": B.upper()}, [B]),
    ({"language": "de-AT"}, [C, B, A]),
]


def test_filters(api: Api) -> None:
    """Each filter narrows, and several join."""
    fill(api)
    found = [
        [row["update_id"] for row in api.get("/catalog/updates", **params)["items"]] for params, _ in FILTERS
    ]
    assert found == [expected for _, expected in FILTERS]


@pytest.mark.parametrize(
    "params",
    [
        {"classification": "security"},
        {"severity": "urgent"},
        {"kb": "KB"},
        {"kb": "5041585x"},
        {"superseded": "yes"},
        {"superseded": "1"},
        {"needed": ""},
        {"q": ""},
        {"expired": "no"},
        {"type": "detectoid"},
        {"eula": "yes"},
        {"language": "de_AT"},
        {"limit": "0"},
        {"limit": "501"},
        {"limit": "ten"},
    ],
)
def test_wrong_filter_values(sqlite_api: Api, params: dict[str, str]) -> None:
    """A value that cannot be meant is refused and named, never ignored."""
    problem = sqlite_api.refused("GET", "/catalog/updates", 422, "validation_failed", params=params)
    assert [error["pointer"] for error in problem["errors"]] == [f"/{name}" for name in params]


def test_paging_updates_with_a_filter(api: Api) -> None:
    """The filter holds on every page."""
    fill(api)
    pages = api.pages("/catalog/updates", limit=1, superseded="false")
    assert [[row["update_id"] for row in page] for page in pages] == [[C], [B]]


def test_categories_are_listed_by_title_with_counts(api: Api) -> None:
    """Both lists have pages like every other."""
    fill(api)
    api.bench.add("category", id=B, revision_number=1, category_type="Product", title="Apple")
    assert api.get("/catalog/classifications")["items"] == [{"id": CLASS, "title": "Security", "updates": 1}]
    assert api.pages("/catalog/products", limit=1) == [
        [{"id": B, "title": "Apple", "updates": 0}],
        [{"id": PRODUCT, "title": "Windows 11", "updates": 1}],
    ]
