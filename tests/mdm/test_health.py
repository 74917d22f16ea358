"""The probes: alive, ready, or which part is not."""

from __future__ import annotations

import shutil
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.testclient import TestClient

from mdm.catalog.upstreams import ensure_upstream
from mdm.errors import Unavailable
from mdm.health import check_readiness, health_routes
from mdm.storage.engine import Database

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from conftest import Bench
    from httpx2 import Response


def probe(database: Database, path: str = "/readyz") -> Response:
    """The answer of an application that has the probes only."""
    app = Starlette(routes=health_routes(database))
    client = TestClient(app)
    response = client.get(path)
    client.close()
    return response


def test_ready(database: Database) -> None:
    """The database answers and has this release's schema."""
    response = probe(database)
    assert response.status_code == 200
    assert response.json() == {
        "status": "ready",
        "checks": {"database": "ok", "migrations": "head"},
        "upstream": {"configured": False},
    }


def test_the_state_of_the_upstream_is_told_and_does_not_matter(bench: Bench) -> None:
    """Devices are served while the upstream is down."""
    with bench.database.write() as connection:
        ensure_upstream(connection, "http://secret.example")
    assert check_readiness(bench.database).upstream["last_sync"] is None
    counts = dict.fromkeys(
        ("categories", "needed", "fetched", "not_offered", "failed", "eula_texts", "bytes_received"), 0
    )
    bench.add(
        "sync_run",
        id="run-1",
        upstream_url="http://secret.example",
        trigger="schedule",
        requested_by="schedule",
        state="failed",
        requested_at=bench.now,
        finished_at=bench.now,
        error="connection refused",
        **counts,
    )
    response = probe(bench.database)
    assert response.status_code == 200
    assert response.json()["upstream"] == {
        "configured": True,
        "last_sync": {
            "state": "failed",
            "requested_at": "2026-11-21T12:00:00Z",
            "finished_at": "2026-11-21T12:00:00Z",
        },
    }
    assert "secret.example" not in response.text


def test_a_schema_that_is_not_ours(empty_database_url: str, data_dir: Path) -> None:
    """503 names the migrations, not the database."""
    data_dir.mkdir(exist_ok=True)
    with closing(Database(empty_database_url)) as database:
        response = probe(database)
        assert response.status_code == 503
        body = response.json()
        assert (body["code"], body["failing"]) == ("unavailable", ["migrations"])
        assert body["checks"]["database"] == "ok"
        assert "csp-bridge db upgrade" in body["detail"]
        assert response.headers["retry-after"] == "5"
        database.migrate()
        assert probe(database).status_code == 200


def test_a_database_that_is_away_and_comes_back(sqlite_url: str, data_dir: Path) -> None:
    """503 names the database; no restart is needed afterwards."""
    path = data_dir / "bridge.sqlite3"
    shutil.move(path, data_dir / "elsewhere")
    path.mkdir()
    with closing(Database(sqlite_url)) as database:
        response = probe(database)
        assert response.status_code == 503
        assert response.json()["failing"] == ["database"]
        assert response.json()["checks"]["migrations"] == "unknown"
        path.rmdir()
        shutil.move(data_dir / "elsewhere", path)
        assert probe(database).status_code == 200


def test_a_database_that_hangs(sqlite_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe answers in time all the same."""
    monkeypatch.setattr("mdm.health._TIMEOUT", 0.05)
    monkeypatch.setattr(sqlite_database, "ping", lambda: time.sleep(0.3))
    response = probe(sqlite_database)
    assert response.status_code == 503
    assert "in time" in response.json()["detail"]


def test_live_whatever_happens(sqlite_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process answers; nothing else is asked."""

    def away() -> Any:
        raise Unavailable("The database is away.")

    monkeypatch.setattr(sqlite_database, "ping", away)
    assert probe(sqlite_database, "/livez").json() == {"status": "ok"}
    assert probe(sqlite_database).status_code == 503


def test_version(sqlite_database: Database) -> None:
    """The installed version, without a token."""
    body = probe(sqlite_database, "/version").json()
    assert body["name"] == "csp-bridge"
    assert body["version"][0].isdigit()
