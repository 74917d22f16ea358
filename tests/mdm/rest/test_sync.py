"""/catalog/upstreams, /catalog/syncs and /catalog/needed through the application."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

from mdm.app import build_app
from mdm.catalog import runs
from mdm.catalog.backlog import add_to_backlog
from mdm.catalog.store import enqueue_needed
from mdm.settings import load_settings
from mdm.upstream.messages import UpdateIdentity

if TYPE_CHECKING:
    from pathlib import Path

    from rest.conftest import Api

A, B = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "ab")
SECURITY = "0fa1201d-4330-4fa8-8ae9-b877473b6441"
WINDOWS = "72e7624a-5b00-45d2-b92f-e561c0a6a160"
OWN = "http://127.0.0.1:9"


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


def test_an_upstream_is_added_changed_and_removed(api: Api) -> None:
    """With a line in the audit each time; GUIDs in any form, and nothing but what the model knows."""
    body = {
        "url": "http://wsus.example:8530/",
        "name": "Main",
        "mode": "filtered",
        "products": [f"{{{WINDOWS.upper()}}}"],
        "classifications": [SECURITY],
        "languages": [1033],
    }
    created = api("POST", "/catalog/upstreams", json=body)
    assert created.status_code == 201
    view = created.json()
    path = f"/catalog/upstreams/{view['id']}"
    assert created.headers["location"] == f"/api/v1{path}"
    assert (view["url"], view["products"], view["languages"]) == (
        "http://wsus.example:8530",
        [WINDOWS],
        [1033],
    )
    assert (view["position"], view["enabled"], view["configured_by"]) == (0, True, "list")
    assert api.get(path) == view
    assert api.get("/catalog/upstreams")["items"] == [view]
    changed = api("PATCH", path, json={"enabled": False, "interval_minutes": 30, "languages": []})
    assert changed.status_code == 200
    assert changed.json() == {**view, "enabled": False, "interval_minutes": 30, "languages": []}
    assert api("DELETE", path).status_code == 204
    api.refused("GET", path, 404, "not_found")
    actions = [entry["action"] for entry in api.get("/audit")["items"]]
    assert actions[:3] == ["upstream.delete", "upstream.change", "upstream.create"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/url"),
        ({"url": "wsus"}, "/url"),
        ({"url": "http://u:p@wsus"}, "/url"),
        ({"url": "http://w", "mode": "all"}, "/mode"),
        ({"url": "http://w", "products": ["x"]}, "/products/0"),
        ({"url": "http://w", "languages": [-1]}, "/languages/0"),
        ({"url": "http://w", "anchor": "x"}, "/anchor"),
        ({"url": "http://w", "interval_minutes": 0}, "/interval_minutes"),
    ],
)
def test_wrong_upstreams(sqlite_api: Api, body: dict[str, Any], pointer: str) -> None:
    """Each wrong member is named."""
    problem = sqlite_api.refused("POST", "/catalog/upstreams", 422, "validation_failed", json=body)
    assert pointer in [error["pointer"] for error in problem["errors"]]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"url": OWN}, "upstream_exists"),
        ({"url": "http://w", "products": [WINDOWS]}, "incomplete_filter"),
        ({"url": "https://sws.update.microsoft.com", "interval_minutes": 59}, "interval_too_short"),
    ],
)
def test_upstreams_that_cannot_be(upstream_api: Api, body: dict[str, Any], code: str) -> None:
    """The state of things, or the protocol, forbids them; nothing is written."""
    upstream_api.refused("POST", "/catalog/upstreams", 409, code, json=body)
    assert upstream_api.bench.rows("upstream") == []  # rolled back, row and all


def test_the_upstream_of_the_settings_cannot_be_removed(upstream_api: Api) -> None:
    """But disabled; then there is nothing to sync with."""
    upstream_api.post("/catalog/syncs", {}, 202)
    (view,) = upstream_api.get("/catalog/upstreams")["items"]
    path = f"/catalog/upstreams/{view['id']}"
    upstream_api.refused("DELETE", path, 409, "upstream_in_settings")
    assert upstream_api("PATCH", path, json={"enabled": False}).json()["enabled"] is False
    upstream_api.refused("POST", "/catalog/syncs", 409, "no_upstream")


def test_one_upstream_is_synced_alone(upstream_api: Api) -> None:
    """And all of them by one request, in their order."""
    second = upstream_api.post("/catalog/upstreams", {"url": "http://w"})
    response = upstream_api("POST", f"/catalog/upstreams/{second['id']}/syncs")
    assert response.status_code == 202
    assert response.json()["upstream_url"] == "http://w"
    assert upstream_api.post("/catalog/syncs", {}, 202)["upstream_url"] == OWN
    assert len(upstream_api.get("/catalog/syncs")["items"]) == 2
    upstream_api.refused("POST", "/catalog/upstreams/none/syncs", 404, "not_found")


def test_a_sync_is_cancelled(upstream_api: Api) -> None:
    """Once; its log says so."""
    run = upstream_api.post("/catalog/syncs", {}, 202)
    cancelled = upstream_api("POST", f"/catalog/syncs/{run['id']}/cancel")
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    upstream_api.refused("POST", f"/catalog/syncs/{run['id']}/cancel", 409, "sync_ended")
    events = upstream_api.get(f"/catalog/syncs/{run['id']}/events")["items"]
    assert [each["kind"] for each in events] == ["cancelled"]
    upstream_api.refused("POST", "/catalog/syncs/none/cancel", 404, "not_found")


def test_the_log_of_a_sync_has_pages(upstream_api: Api) -> None:
    """The first line first."""
    run = upstream_api.post("/catalog/syncs", {}, 202)
    bench = upstream_api.bench
    with bench.database.write() as conn:
        claimed = runs.claim_next(conn, bench.now)
        assert claimed is not None
        runs.finish_run(conn, run["id"], bench.now, bench.now, "It rained.")
    pages = upstream_api.pages(f"/catalog/syncs/{run['id']}/events", limit=1)
    assert [[each["kind"] for each in page] for page in pages] == [["started"], ["failed"]]


def test_what_is_missing_can_be_listed(upstream_api: Api) -> None:
    """Of the devices' reports with their states, and of each upstream's lists."""
    upstream_api.post("/catalog/syncs", {}, 202)
    bench = upstream_api.bench
    with bench.database.write() as conn:
        enqueue_needed(conn, [(A, 0), (B, 200)], bench.now)
        add_to_backlog(conn, OWN, "updates", [UpdateIdentity(A, 7), UpdateIdentity(B, 8)])
    pages = upstream_api.pages("/catalog/needed", limit=1)
    assert [[(row["update_id"], row["revision_number"]) for row in page] for page in pages] == [
        [(A, None)],
        [(B, 200)],
    ]
    assert upstream_api.get("/catalog/needed", state="failed")["items"] == []
    upstream_api.refused("GET", "/catalog/needed", 422, "validation_failed", params={"state": "x"})
    (view,) = upstream_api.get("/catalog/upstreams")["items"]
    pages = upstream_api.pages(f"/catalog/upstreams/{view['id']}/backlog", limit=1)
    assert [[(row["list"], row["revision_number"], row["state"]) for row in page] for page in pages] == [
        [("updates", 7, "queued")],
        [("updates", 8, "queued")],
    ]


def test_what_the_upstreams_administrators_decided(upstream_api: Api) -> None:
    """Once it was read."""
    upstream_api.post("/catalog/syncs", {}, 202)
    (view,) = upstream_api.get("/catalog/upstreams")["items"]
    path = f"/catalog/upstreams/{view['id']}/replica"
    upstream_api.refused("GET", path, 404, "not_found")
    document = {"groups": [], "deployments": {}, "hidden_updates": [A], "accepted_eulas": []}
    upstream_api.bench.add(
        "upstream_replica", upstream_url=OWN, document=document, read_at=upstream_api.bench.now
    )
    assert upstream_api.get(path)["hidden_updates"] == [A]
