"""An ASGI application on a socket of this process, in a thread of its own, with its lifespan."""

from __future__ import annotations

import math
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from mdm.log import UVICORN_OPTIONS

if TYPE_CHECKING:
    from typing import Self

__all__ = ["AppServer", "base_url"]

_START_SECONDS: Final = 10
_STOP_SECONDS: Final = 10
_POLL: Final = 0.01
_TICK_SECONDS: Final = 0.5


class AppServer:
    """Serves an application, once: from `start` to `stop`, or as a context."""

    def __init__(self, app: Any, *, host: str = "127.0.0.1", port: int = 0) -> None:
        """Take the port, or a free one for 0; raises OSError if it cannot be had."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family)
        self._host = host
        self.port: int = self._listener.getsockname()[1]
        """Where it listens, even when it has stopped."""
        config = uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan="on",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
            **UVICORN_OPTIONS,
        )
        self._server = uvicorn.Server(config)
        # a daemon, so that a run that fails before it stops the server does not hang
        self._thread = threading.Thread(target=self._run, name="app-server", daemon=True)

    @property
    def url(self) -> str:
        """The base URL to give a client, without a slash at the end."""
        return base_url(self._host, self.port)

    def start(self) -> None:
        """Serve; returns when requests are answered. Raises TimeoutError if the application does not come up."""
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                self.stop()
                raise TimeoutError("the application did not start")
            time.sleep(_POLL)

    def stop(self) -> None:
        """Stop serving and give the port back; again, nothing happens."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)
        self._listener.close()

    def wait(self, seconds: float = math.inf) -> bool:
        """Return True when it has stopped, or False after so many seconds.

        In the main thread a signal may interrupt it.
        """
        end = time.monotonic() + seconds
        # A signal that arrives on another thread does not wake a join: its handler runs when the join ends.
        while self._thread.is_alive():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self._thread.join(min(_TICK_SECONDS, left))
        return True

    def _run(self) -> None:
        # uvicorn would end its process if the application fails at its start; here `start` tells
        with suppress(SystemExit):
            self._server.run(sockets=[self._listener])

    def __enter__(self) -> Self:
        """Started."""
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stopped."""
        self.stop()


def base_url(host: str, port: int) -> str:
    """The URL of what listens there, without a slash at the end; an IPv6 address gets its brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
