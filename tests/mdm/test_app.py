"""The application as a whole: device endpoint, lifespan, and what is on which path."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

from mdm.app import build_app
from mdm.checkin.delivery import Reply
from mdm.settings import load_settings
from mdm.storage.secrets import SecretBox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Bench

    from mdm.storage.engine import Database

DM = {"Content-Type": "application/vnd.syncml.dm+xml"}


@pytest.fixture
def box(data_dir: Path) -> SecretBox:
    """The key of the installation."""
    return SecretBox.from_file(data_dir / "secret.key")


@pytest.mark.parametrize(
    "query", ["", "?mode=Maintenance&Platform=WoA", "?mode=Multi&Platform=x&acsdevid=1&colour=red"]
)
def test_the_device_endpoint_answers_in_syncml(sqlite_bench: Bench, data_dir: Path, query: str) -> None:
    """With any query; over HTTP it is the same check-in."""
    device = sqlite_bench.enrol("DEV1")
    app = build_app(load_settings(data_dir=data_dir), sqlite_bench.database, sqlite_bench.secrets)
    client = TestClient(app)
    replies: list[Any] = []

    def post(body: bytes, mac: str | None) -> Reply:
        response = client.post(f"/omadm{query}", content=body, headers=DM)
        replies.append(response)
        return Reply(response.content, mac)

    device.transport = post
    device.check_in()
    client.close()
    assert {reply.status_code for reply in replies} == {200}
    assert {reply.headers["content-type"] for reply in replies} == {DM["Content-Type"]}
    assert all(re.fullmatch("[0-9a-f]{32}", reply.headers["x-request-id"]) for reply in replies)
    assert sqlite_bench.rows("device")[0]["state_read_at"] is not None


def test_errors_of_the_device_endpoint_are_no_problems(
    sqlite_database: Database, box: SecretBox, data_dir: Path
) -> None:
    """A device is answered in its own terms; only a wrong method is HTTP's business."""
    client = TestClient(build_app(load_settings(data_dir=data_dir), sqlite_database, box))
    assert client.post("/omadm", content=b"<", headers=DM).status_code == 400
    assert client.post("/omadm", json={}).headers["content-type"].startswith("text/plain")
    assert client.get("/omadm").status_code == 405
    client.close()


def test_the_worker_lives_as_long_as_the_application(
    sqlite_database: Database, box: SecretBox, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started with the lifespan, stopped at its end, also after a failure."""
    calls: list[str] = []

    def noted(name: str) -> Callable[[object], None]:
        return lambda _self: calls.append(name)

    for name in ("start", "stop"):
        monkeypatch.setattr(f"mdm.catalog.worker.SyncWorker.{name}", noted(name))
    settings = load_settings(data_dir=data_dir, upstream_url="http://127.0.0.1:9")
    with TestClient(build_app(settings, sqlite_database, box)) as client:
        assert calls == ["start"]
        assert client.get("/readyz").json()["upstream"]["configured"] is True
    assert calls == ["start", "stop"]


@pytest.mark.parametrize(("public_url", "hsts"), [("https://b.example", True), ("http://b.example", False)])
def test_https_is_taken_from_the_public_url(
    sqlite_database: Database, box: SecretBox, data_dir: Path, public_url: str, *, hsts: bool
) -> None:
    """And so are the links in problems."""
    settings = load_settings(data_dir=data_dir, public_url=public_url)
    client = TestClient(build_app(settings, sqlite_database, box))
    response = client.get("/nowhere")
    client.close()
    assert ("strict-transport-security" in response.headers) is hsts
    assert response.json()["documentation_url"] == f"{public_url}/problems/not-found"
