"""A bridge inside this process for measurements: the device endpoint on a database of its own, and a meter.

Messages enter as an ASGI server would hand them over, so what is measured is the whole of the server's side,
from the body to the reply, without the sockets.
"""

from __future__ import annotations

import asyncio
import gc
import secrets
import time
import tracemalloc
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette

from mdm.audit import Origin
from mdm.checkin.endpoint import MEDIA_TYPE, omadm_route
from mdm.checkin.service import CheckIn
from mdm.clock import utc_now
from mdm.commands.base import CommandError
from mdm.devices.registry import create_device
from mdm.heap import settle_heap
from mdm.storage.engine import Database
from mdm.storage.secrets import SecretBox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mdm.devices.registry import Credentials

__all__ = ["BenchBridge", "Cost", "bench_bridge", "yardstick"]

_SECRET_BYTES: Final = 16
_MEBI: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Cost:
    """What one message cost the server."""

    cpu_ms: float
    """CPU time of the process, all threads, in milliseconds; 0 if memory was measured instead."""
    peak_mib: float
    """Memory in use at the worst moment beyond what was in use before, the body included; 0 likewise."""
    http: int
    """Status of the HTTP answer."""
    reply: bytes


def yardstick() -> float:
    """CPU milliseconds of a fixed piece of work, the best of ten: how fast this machine is at this moment.

    Figures of two runs compare only as multiples of it.
    """
    best = float("inf")
    for _ in range(10):
        before = time.process_time()
        made = {str(number): [number] for number in range(20_000)}
        best = min(best, time.process_time() - before)
        made.clear()
    return best * 1000


class BenchBridge:
    """The endpoint with a loop to run it on; made by `bench_bridge`."""

    def __init__(self, database: Database, runner: asyncio.Runner) -> None:
        """The database has its schema already."""
        self.database = database
        self._runner = runner
        self._box = SecretBox(secrets.token_bytes(32))
        checkin = CheckIn(
            database=database, secrets=self._box, make_nonce=lambda: secrets.token_bytes(_SECRET_BYTES)
        )
        self._app = Starlette(routes=[omadm_route(checkin)])

    def enrol(self, device_id: str) -> Credentials:
        """Make a device known; what it proves itself with comes back."""
        with self.database.write() as connection:
            _, credentials = create_device(
                connection,
                Origin(actor="bench"),
                self._box,
                device_id=device_id,
                name=device_id.lower(),
                auth="syncml:auth-md5",
                now=utc_now(),
            )
        return credentials

    def post(self, body: bytes) -> Cost:
        """Send one message and take its CPU time."""
        before = time.process_time()
        status, reply = self._runner.run(self._call(body))
        return Cost((time.process_time() - before) * 1000, 0.0, status, reply)

    def weigh(self, body: bytes) -> Cost:
        """Send one message and take the memory it needs at the worst moment; far slower than `post`."""
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            status, reply = self._runner.run(self._call(body))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        return Cost(0.0, (peak - before + len(body)) / _MEBI, status, reply)

    async def _call(self, body: bytes) -> tuple[int, bytes]:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(event: Any) -> None:
            sent.append(event)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/omadm",
            "raw_path": b"/omadm",
            "query_string": b"",
            "root_path": "",
            "headers": [(b"content-type", MEDIA_TYPE.encode())],
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 8480),
        }
        await self._app(scope, receive, send)
        return sent[0]["status"], b"".join(event.get("body", b"") for event in sent)


@contextmanager
def bench_bridge(data_dir: Path) -> Iterator[BenchBridge]:
    """A bridge whose data lie in `data_dir`, which must be empty or absent; raises CommandError if it is not."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(data_dir.iterdir()):
        raise CommandError(f"{data_dir} is not empty; a measurement begins with nothing.")
    database = Database(f"sqlite:///{data_dir / 'bridge.sqlite3'}")
    threshold = gc.get_threshold()
    try:
        database.migrate()
        with asyncio.Runner() as runner:
            bridge = BenchBridge(database, runner)
            settle_heap()
            yield bridge
    finally:
        gc.set_threshold(*threshold)
        gc.unfreeze()
        database.close()
