"""An application on a socket of this process: it answers once `start` returns, and no longer once `stop` does."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from mdm.lab import app_server
from mdm.lab.app_server import AppServer, base_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def _hello(_request: Any) -> PlainTextResponse:
    return PlainTextResponse("hello")


def _app(lifespan: Any = None) -> Starlette:
    return Starlette(routes=[Route("/", _hello)], lifespan=lifespan)


@pytest.fixture
def http() -> Any:
    """A client that ignores the proxies of the environment."""
    with httpx2.Client(trust_env=False, timeout=5.0) as client:
        yield client


def test_it_answers_from_start_to_stop_within_its_lifespan(http: httpx2.Client) -> None:
    """The lifespan is entered before the first request and left after the last."""
    events: list[str] = []

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        events.append("up")
        yield
        events.append("down")

    with AppServer(_app(lifespan)) as server:
        assert http.get(server.url).text == "hello"
        assert events == ["up"]
    assert events == ["up", "down"]
    with pytest.raises(httpx2.ConnectError):
        http.get(server.url)
    assert server.url.endswith(f":{server.port}")


def test_the_port_is_had_at_once_and_given_back(http: httpx2.Client) -> None:
    """Whoever wants it meanwhile hears so; afterwards it can be had again."""
    first = AppServer(_app())
    with pytest.raises(OSError, match="in use"):
        AppServer(_app(), port=first.port)
    with first:
        pass
    first.stop()
    with AppServer(_app(), port=first.port) as second:
        assert second.url == first.url
        assert http.get(second.url).text == "hello"


def test_a_server_that_was_never_started_can_be_stopped() -> None:
    """It gives its port back."""
    server = AppServer(_app())
    server.stop()
    AppServer(_app(), port=server.port).stop()


def test_an_application_that_fails_at_its_start_is_reported() -> None:
    """At once, and neither port nor thread is left behind."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        raise RuntimeError("no database")
        yield

    threads = threading.active_count()
    server = AppServer(_app(lifespan))
    with pytest.raises(TimeoutError, match="did not start"):
        server.start()
    AppServer(_app(), port=server.port).stop()
    assert threading.active_count() <= threads


def test_an_application_that_does_not_come_up_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """`start` has a deadline; what comes up later is told to stop."""
    monkeypatch.setattr(app_server, "_START_SECONDS", 0.05)
    threads = threading.active_count()

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await asyncio.sleep(0.3)
        yield

    server = AppServer(_app(lifespan))
    with pytest.raises(TimeoutError, match="did not start"):
        server.start()
    assert threading.active_count() <= threads


def test_waiting_ends_when_it_stops_or_after_some_time() -> None:
    """What has stopped, or never began, is not waited for."""
    server = AppServer(_app())
    assert server.wait()
    with server:
        assert not server.wait(0.01)
        threading.Timer(0.05, server.stop).start()
        assert server.wait()


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_an_ipv6_address_has_brackets(http: httpx2.Client) -> None:
    """In the URL, not where it listens."""
    try:
        server = AppServer(_app(), host="::1")
    except OSError:
        pytest.skip("no IPv6 loopback here")
    with server:
        assert server.url == f"http://[::1]:{server.port}"
        assert http.get(server.url).text == "hello"


def test_a_base_url_has_no_slash_at_the_end() -> None:
    """Paths are put behind it."""
    assert base_url("wsus", 8530) == "http://wsus:8530"
