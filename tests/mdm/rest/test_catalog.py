"""/catalog over HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

from mdm.app import build_app
from mdm.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Api

A = "a317dafe-baf4-453f-b232-a7075efae36e"
B = "b317dafe-baf4-453f-b232-a7075efae36e"
C = "c317dafe-baf4-453f-b232-a7075efae36e"
CLASS = "0fa1201d-4330-4fa8-8ae9-b877473b6441"
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
    bench.catalogue(C, title="Three")
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


@pytest.mark.parametrize("text", ["x", "0" * 36, "b317dafe-baf4-453f-b232-a7075efae36f"])
def test_unknown_updates(sqlite_api: Api, text: str) -> None:
    """A GUID nobody named, and what is no GUID, are not found."""
    sqlite_api.refused("GET", f"/catalog/updates/{text}", 404, "not_found")


FILTERS: list[tuple[dict[str, str], list[str]]] = [
    ({}, [A, B, C]),
    ({"classification": CLASS.upper()}, [A]),
    ({"classification": f"{{{CLASS}}}"}, [A]),
    ({"product": PRODUCT}, [A]),
    ({"severity": "critical"}, [A]),
    ({"severity": "Critical"}, [A]),
    ({"severity": "low"}, []),
    ({"kb": "5041585"}, [A]),
    ({"kb": "KB5041585"}, [A]),
    ({"superseded": "true"}, [A]),
    ({"superseded": "false"}, [B, C]),
    ({"needed": "true"}, [C]),
    ({"needed": "false"}, [A, B, C]),
    ({"q": "TWO"}, [B]),
    ({"q": "e", "superseded": "false"}, [C]),
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
    assert [[row["update_id"] for row in page] for page in pages] == [[B], [C]]


def test_categories_are_listed_by_title_with_counts(api: Api) -> None:
    """Both lists have pages like every other."""
    fill(api)
    api.bench.add("category", id=B, revision_number=1, category_type="Product", title="Apple")
    assert api.get("/catalog/classifications")["items"] == [{"id": CLASS, "title": "Security", "updates": 1}]
    assert api.pages("/catalog/products", limit=1) == [
        [{"id": B, "title": "Apple", "updates": 0}],
        [{"id": PRODUCT, "title": "Windows 11", "updates": 1}],
    ]


def test_a_sync_needs_an_upstream(api: Api) -> None:
    """Without one configured the answer says which setting is missing."""
    problem = api.refused("POST", "/catalog/syncs", 409, "no_upstream")
    assert "BRIDGE_UPSTREAM_URL" in problem["detail"]


@pytest.mark.parametrize("values", [{}, {"json": {}}])
def test_a_sync_is_queued(upstream_api: Api, values: dict[str, Any]) -> None:
    """202 with the run, its Location, and when to ask again; asked twice while queued, it is one run."""
    response = upstream_api("POST", "/catalog/syncs", **values)
    assert response.status_code == 202
    run = response.json()
    assert response.headers["location"] == f"/api/v1/catalog/syncs/{run['id']}"
    assert response.headers["retry-after"] == "2"
    assert (run["state"], run["trigger"], run["requested_by"]) == ("queued", "manual", "client:tests")
    assert upstream_api.get(f"/catalog/syncs/{run['id']}") == run
    assert upstream_api.post("/catalog/syncs", {}, 202)["id"] == run["id"]
    assert [entry["action"] for entry in upstream_api.get("/audit")["items"]][:2] == ["catalog.sync"] * 2
    upstream_api.refused("GET", "/catalog/syncs/nowhere", 404, "not_found")
    upstream_api.refused("POST", "/catalog/syncs", 422, "validation_failed", json={"full": True})


def test_syncs_are_listed_latest_first(upstream_api: Api) -> None:
    """Page by page."""
    bench = upstream_api.bench
    counts = dict.fromkeys(
        ("categories", "needed", "fetched", "not_offered", "failed", "eula_texts", "bytes_received"), 0
    )
    for number in range(3):
        bench.add(
            "sync_run",
            id=f"run-{number}",
            upstream_url="http://127.0.0.1:9",
            trigger="schedule",
            requested_by="schedule",
            state="succeeded",
            requested_at=bench.now + timedelta(minutes=number),
            **counts,
        )
    pages = upstream_api.pages("/catalog/syncs", limit=2)
    assert [[row["id"] for row in page] for page in pages] == [["run-2", "run-1"], ["run-0"]]


def test_asking_for_a_sync_wakes_the_worker_after_the_commit(
    upstream_api: Api, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker finds the run in the database when it is woken."""
    bench = upstream_api.bench
    seen: list[str] = []

    def wake(_worker: object) -> None:
        seen.extend(row["state"] for row in bench.rows("sync_run"))

    monkeypatch.setattr("mdm.catalog.worker.SyncWorker.wake", wake)
    settings = load_settings(data_dir=data_dir, upstream_url="http://127.0.0.1:9")
    app = build_app(settings, bench.database, bench.secrets, clock=upstream_api.clock)
    headers = {"Authorization": f"Bearer {upstream_api.token}"}
    with_worker = TestClient(app, headers=headers)
    assert with_worker.post("/api/v1/catalog/syncs").status_code == 202
    with_worker.close()
    assert seen == ["queued"]
