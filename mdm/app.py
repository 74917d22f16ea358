"""The service put together: the one place that knows every part and hands each what it needs."""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import anyio.to_thread
import structlog
from starlette.applications import Starlette
from starlette.middleware import Middleware

from mdm.ca.authority import Authority
from mdm.catalog.worker import SyncWorker
from mdm.checkin.channel import Channel
from mdm.checkin.endpoint import omadm_route
from mdm.checkin.service import CheckIn
from mdm.clock import utc_now
from mdm.devices.worker import MembershipWorker
from mdm.enrolment.endpoint import enrolment_routes
from mdm.enrolment.faults import Spelling
from mdm.enrolment.poll_schedule import PollSchedule
from mdm.enrolment.service import EnrolmentService
from mdm.enrolment.sign_in_routes import configured_sign_in, sign_in_routes
from mdm.health import health_routes
from mdm.push.worker import configured_push
from mdm.rest.middleware import RequestId, RequestLog, SecurityHeaders
from mdm.rest.operations import Services, operation_routes
from mdm.rest.pki import pki_routes
from mdm.rest.problems import EXCEPTION_HANDLERS, problem_routes
from mdm.rest.table import OPERATIONS
from mdm.rollouts.worker import RolloutWorker
from mdm.rules.worker import RuleWorker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime

    from mdm.background import Worker
    from mdm.settings import Settings
    from mdm.storage.engine import Database
    from mdm.storage.secrets import SecretBox

__all__ = ["build_app"]

log = structlog.get_logger(__name__)

_NONCE_BYTES: Final = 16


def build_app(
    settings: Settings,
    database: Database,
    box: SecretBox,
    *,
    clock: Callable[[], datetime] = utc_now,
    background: bool = True,
) -> Starlette:
    """The ASGI application: device endpoint, REST API, probes, and what runs beside requests.

    The caller migrates the database before and closes it after; the application's lifespan only starts and
    stops the workers, unless the caller runs them himself (`background` is False).
    """
    rules = RuleWorker(database, clock)
    syncs = SyncWorker(database, settings, clock, after_sync=rules.after_sync)
    pushes = configured_push(settings, database, clock)
    workers: tuple[Worker, ...] = ()
    if background:
        workers = (syncs, MembershipWorker(database), rules, RolloutWorker(database, clock))
        workers += () if pushes is None else (pushes,)
    services = Services(
        settings=settings,
        database=database,
        secrets=box,
        clock=clock,
        wake_sync=syncs.wake,
        wake_rules=rules.wake,
        wake_push=None if pushes is None else pushes.wake,
    )

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        del app
        for worker in workers:
            worker.start()
        try:
            yield
        finally:
            for worker in reversed(workers):
                await anyio.to_thread.run_sync(worker.stop)

    poll = PollSchedule.parse(settings.poll_schedule)
    checkin = CheckIn(
        database=database,
        secrets=box,
        make_nonce=lambda: secrets.token_bytes(_NONCE_BYTES),
        server_uri=None if settings.public_url is None else f"{settings.public_url}/omadm",
        manage_policy=settings.manage_require_update_approval,
        provider_id=settings.provider_id,
        channel=Channel(settings.provider_id, poll, settings.wns_pfn),
        max_sessions_per_address=settings.max_sessions_per_address,
    )
    lifetime = timedelta(days=settings.certificate_days)
    enrolment = EnrolmentService(
        database=database,
        secrets=box,
        issuer=lambda conn: Authority.load(conn, box, lifetime=lifetime),
        provider_id=settings.provider_id,
        certificate_lifetime=lifetime,
        poll=poll,
        spelling=Spelling(settings.enrolment_faults),
        web_sign_in=settings.enrolment_sign_in == "web",
    )
    app = Starlette(
        routes=[
            omadm_route(checkin, clock=clock),
            *enrolment_routes(enrolment, public_url=settings.public_url, clock=clock),
            *sign_in_routes(
                configured_sign_in(settings, database, box), public_url=settings.public_url, clock=clock
            ),
            *operation_routes(OPERATIONS, services),
            *pki_routes(database, box, clock=clock),
            *health_routes(database, upstream_configured=settings.upstream_url is not None),
            *problem_routes(),
        ],
        middleware=[
            Middleware(RequestId, public_url=settings.public_url),
            Middleware(SecurityHeaders, https=(settings.public_url or "").startswith("https://")),
            Middleware(RequestLog),
        ],
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=lifespan,
    )
    # A path with a stray slash is a client's mistake; answering with a redirect would hide it and drop the body.
    app.router.redirect_slashes = False
    return app
