"""The whole application behind a test client, with tokens, on SQLite and on PostgreSQL."""

from __future__ import annotations

import logging
import shutil
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from starlette.testclient import TestClient

from mdm.access.scopes import Scope
from mdm.access.tokens import create_token
from mdm.app import build_app
from mdm.audit import Origin
from mdm.log import configure_logging
from mdm.settings import load_settings
from mdm.storage.engine import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta
    from pathlib import Path

    from conftest import Bench
    from httpx2 import Response

PREFIX = "/api/v1"


@dataclass
class Clock:
    """The application's clock, which the test moves."""

    now: datetime

    def __call__(self) -> datetime:
        """The present moment."""
        return self.now


@dataclass
class Api:
    """Requests with a token, and the database behind them."""

    client: TestClient
    bench: Bench
    clock: Clock
    token: str

    def __call__(self, method: str, path: str, *, token: str | None = None, **values: Any) -> Response:
        """One request below /api/v1, with an all-powerful token unless told."""
        headers = {"Authorization": f"Bearer {token or self.token}", **values.pop("headers", {})}
        return self.client.request(method, PREFIX + path, headers=headers, **values)

    def get(self, path: str, **params: Any) -> Any:
        """The JSON of a GET that succeeds."""
        response = self("GET", path, params=params)
        assert response.status_code == 200, response.text
        return response.json()

    def post(self, path: str, body: Any, status: int = 201) -> Any:
        """The JSON of a POST that answers `status`."""
        response = self("POST", path, json=body)
        assert response.status_code == status, response.text
        return response.json()

    def refused(self, method: str, path: str, status: int, code: str, **values: Any) -> Any:
        """The problem a request is answered with."""
        response = self(method, path, **values)
        assert (response.status_code, response.json()["code"]) == (status, code), response.text
        return response.json()

    def pages(self, path: str, **params: Any) -> list[list[Any]]:
        """The items of every page, following `next_cursor` and checking that Link says the same."""
        found: list[list[Any]] = []
        cursor: str | None = None
        while True:
            response = self("GET", path, params={**params, **({"cursor": cursor} if cursor else {})})
            assert response.status_code == 200, response.text
            body = response.json()
            assert body["total"] is None
            found.append(body["items"])
            cursor = body["next_cursor"]
            if cursor is None:
                assert "link" not in response.headers
                return found
            followed = self("GET", response.links["next"]["url"].removeprefix(PREFIX))
            assert followed.status_code == 200
            assert followed.json() == self("GET", path, params={**params, "cursor": cursor}).json()

    def token_with(self, *scopes: str, lifetime: timedelta | None = None) -> str:
        """A token with these scopes."""
        with self.bench.database.write() as conn:
            return create_token(
                conn, Origin("test"), name="some", scopes=scopes, lifetime=lifetime, now=self.clock.now
            )[1]


def make_api(bench: Bench, data_dir: Path, **overrides: Any) -> Iterator[Api]:
    """The application over the bench's database."""
    settings = load_settings(data_dir=data_dir, **overrides)
    clock = Clock(bench.now)
    app = build_app(settings, bench.database, bench.secrets, clock=clock)
    with bench.database.write() as conn:
        _, token = create_token(
            conn, Origin("test"), name="tests", scopes=list(Scope), lifetime=None, now=bench.now
        )
    client = TestClient(app, raise_server_exceptions=False, headers={"X-Request-Id": "from-the-test"})
    yield Api(client, bench, clock, token)
    client.close()


@pytest.fixture
def api(bench: Bench, data_dir: Path) -> Iterator[Api]:
    """The API on SQLite and on PostgreSQL."""
    yield from make_api(bench, data_dir)


@pytest.fixture
def sqlite_api(sqlite_bench: Bench, data_dir: Path) -> Iterator[Api]:
    """The API on SQLite, where the kind of database makes no difference."""
    yield from make_api(sqlite_bench, data_dir)


@pytest.fixture(scope="module")
def _module_api(
    tmp_path_factory: pytest.TempPathFactory, _sqlite_template: Path, open_bench: Callable[..., Bench]
) -> Iterator[Api]:
    directory = tmp_path_factory.mktemp("kept")
    shutil.copyfile(_sqlite_template, directory / "bridge.sqlite3")
    with closing(Database(f"sqlite:///{directory / 'bridge.sqlite3'}")) as database:
        bench = open_bench(database, directory, datetime(2026, 11, 21, 12, 0, tzinfo=UTC), lambda: b"nonce")
        yield from make_api(bench, directory)


@pytest.fixture
def kept_api(request: pytest.FixtureRequest, _bare_environment: None) -> Api:
    """One API on SQLite for the tests of a module that only ask and are refused."""
    found: Api = request.getfixturevalue("_module_api")
    return found


@pytest.fixture
def accepting_api(bench: Bench, data_dir: Path) -> Iterator[Api]:
    """The API of a bridge whose tokens may accept EULAs."""
    yield from make_api(bench, data_dir, eula_accept_by_token=True, organization="Contoso Ltd.")


@pytest.fixture
def upstream_api(bench: Bench, data_dir: Path) -> Iterator[Api]:
    """The API of a bridge with an upstream; without lifespan, so that no worker runs."""
    yield from make_api(bench, data_dir, upstream_url="http://127.0.0.1:9/")


@pytest.fixture
def addressed_api(bench: Bench, data_dir: Path) -> Iterator[Api]:
    """The API of a bridge that knows the address devices reach it under."""
    yield from make_api(bench, data_dir, public_url="https://mdm.example.test")


@pytest.fixture
def pushing_api(sqlite_bench: Bench, data_dir: Path) -> Iterator[Api]:
    """The API of a bridge that sends notifications; without lifespan, so that no worker runs."""
    yield from make_api(
        sqlite_bench,
        data_dir,
        public_url="https://mdm.example.test",
        wns_pfn="Contoso.Bridge_8wekyb3d8bbwe",
        wns_package_sid="ms-app://s-1-15-2-1",
        wns_secret="c4nary",
    )


@pytest.fixture
def logged() -> Iterator[StringIO]:
    """The log as JSON lines, for the length of the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = StringIO()
    configure_logging("json", "debug", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
