"""The probes: `/livez` (the process answers), `/readyz` (it can do its work), `/version`.

They need no token, so they say what is wrong and nothing about the installation.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread
from sqlalchemy import select
from sqlmodel import col
from starlette.responses import Response
from starlette.routing import Route

from mdm.errors import Unavailable
from mdm.rest.encoding import to_json
from mdm.rest.problems import problem_response
from mdm.storage.tables import SyncRun, Upstream

if TYPE_CHECKING:
    from starlette.requests import Request

    from mdm.storage.engine import Database

__all__ = ["DISTRIBUTION", "Readiness", "check_readiness", "health_routes"]

DISTRIBUTION: Final = "update-csp-bridge"

_RETRY_AFTER: Final = "5"
"""Seconds until a probe should ask again."""

_TIMEOUT: Final = 5.0
"""Seconds a database may take to answer a probe."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """What the probe found."""

    database: str
    """`ok`, or a sentence."""
    migrations: str
    """`head`, `unknown` while the database does not answer, or a sentence."""
    upstream: dict[str, Any]
    """For information; a bridge whose upstream is down still serves devices."""

    @property
    def failing(self) -> list[str]:
        """The checks that keep the service from being ready."""
        failed = ["database"] if self.database != "ok" else []
        return [*failed, "migrations"] if self.migrations not in {"head", "unknown"} else failed


def check_readiness(database: Database, *, upstream_configured: bool = False) -> Readiness:
    """Ask the database whether it answers and has this release's schema; blocking, and never raises Unavailable.

    `upstream_configured` says that the settings name an upstream; others stand in the database.
    """
    upstream: dict[str, Any] = {"configured": upstream_configured}
    try:
        database.ping()
        at_head = database.at_head()
        if at_head:
            upstream = _upstream(database, upstream_configured=upstream_configured)
    except Unavailable as error:
        return Readiness(error.detail, "unknown", upstream)
    if not at_head:
        return Readiness("ok", "The schema is not this release's: run csp-bridge db upgrade.", upstream)
    return Readiness("ok", "head", upstream)


def health_routes(database: Database, *, upstream_configured: bool = False) -> list[Route]:
    """The routes of the probes."""
    # Probes take turns apart from the threads of requests: a flood of them delays nothing but probes.
    limiter = anyio.CapacityLimiter(1)

    async def livez(request: Request) -> Response:
        del request
        return _json({"status": "ok"})

    async def readyz(request: Request) -> Response:
        found: Readiness | None = None
        with anyio.move_on_after(_TIMEOUT):
            found = await anyio.to_thread.run_sync(
                lambda: check_readiness(database, upstream_configured=upstream_configured),
                limiter=limiter,
                abandon_on_cancel=True,
            )
        if found is None:
            found = Readiness("The database does not answer in time.", "unknown", {})
        checks = {"database": found.database, "migrations": found.migrations}
        if not found.failing:
            return _json({"status": "ready", "checks": checks, "upstream": found.upstream})
        sentences = [checks[name] for name in found.failing]
        return problem_response(
            request.scope,
            "unavailable",
            " ".join(sentences),
            members={"failing": found.failing, "checks": checks, "upstream": found.upstream},
            headers={"Retry-After": _RETRY_AFTER},
        )

    async def version_info(request: Request) -> Response:
        del request
        return _json({"name": "csp-bridge", "version": version(DISTRIBUTION)})

    return [
        Route("/livez", livez, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
        Route("/version", version_info, methods=["GET"]),
    ]


def _upstream(database: Database, *, upstream_configured: bool) -> dict[str, Any]:
    """Whether there is an upstream to read from, and how the last attempt went."""
    with database.read() as conn:
        known = conn.scalar(select(col(Upstream.url)).where(col(Upstream.enabled)).limit(1))
        if known is None and not upstream_configured:
            return {"configured": False}
        row = conn.execute(
            select(col(SyncRun.state), col(SyncRun.requested_at), col(SyncRun.finished_at))
            .order_by(col(SyncRun.requested_at).desc())
            .limit(1)
        ).one_or_none()
    last = None
    if row is not None:
        last = {"state": row.state, "requested_at": row.requested_at, "finished_at": row.finished_at}
    return {"configured": True, "last_sync": last}


def _json(body: dict[str, Any]) -> Response:
    return Response(to_json(body), media_type="application/json")
