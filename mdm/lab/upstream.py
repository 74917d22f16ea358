"""A virtual WSUS on a real socket: `UpstreamServer` for tests and the demo, `csp-bridge upstream serve` to play with.

with UpstreamServer(build_catalogue(seed=1, now=now)) as server:
    client = UpstreamClient(server.url, ...)
    server.publish(document)
    assert server.calls("GetUpdateData") == 1
"""

from __future__ import annotations

import argparse
import math
import signal
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from mdm.clock import utc_now
from mdm.commands.base import CommandError
from mdm.lab.app_server import AppServer, base_url
from mdm.lab.bulk import LEAST, BulkCatalogue
from mdm.lab.catalogue import Catalogue
from mdm.lab.faults import FaultKind, FaultRule
from mdm.lab.generate import build_catalogue
from mdm.lab.upstream_app import RequestRecord, VirtualUpstream
from mdm.lab.upstream_options import UpstreamOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from mdm.lab.documents import Document, Identity
    from mdm.lab.upstream_deployments import Deployment, TargetGroup
    from mdm.lab.upstream_drivers import DriverSet

__all__ = ["RequestRecord", "UpstreamOptions", "UpstreamServer", "add_parser", "serve_upstream"]

_WSUS_PORT = 8530


class UpstreamServer:
    """A virtual upstream serving a catalogue from a thread of its own; every method may be called while it runs."""

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        options: UpstreamOptions | None = None,
        clock: Callable[[], datetime] = utc_now,
        bulk: BulkCatalogue | None = None,
        released: int | None = None,
    ) -> None:
        """Port 0 takes a free one, and keeps it if the server is stopped and started again.

        Below the catalogue lies `bulk`, of which `released` blocks are published, or all of them.
        """
        self._host = host
        self._port = port
        self._upstream = VirtualUpstream(
            catalogue.documents, options or UpstreamOptions(), clock, bulk, released
        )
        self._running: AppServer | None = None

    # --- running ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Listen and serve; returns when requests are answered.

        Raises OSError if the port cannot be had, TimeoutError if the server does not come up.
        """
        self._running = AppServer(self._upstream.app(), host=self._host, port=self._port)
        self._port = self._running.port
        self._running.start()

    def stop(self) -> None:
        """Stop serving and give the port back; what was published stays."""
        if self._running is not None:
            self._running.stop()
            self._running = None

    def wait(self, seconds: float = math.inf) -> bool:
        """Return True when the server has stopped, or False after so many seconds.

        In the main thread a signal may interrupt it.
        """
        return self._running is None or self._running.wait(seconds)

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop."""
        self.stop()

    @property
    def url(self) -> str:
        """The base URL to give a client, without a slash at the end."""
        return base_url(self._host, self._port)

    # --- what a test may see and change -----------------------------------------------------------------

    @property
    def requests(self) -> tuple[RequestRecord, ...]:
        """Every request so far, in the order they were answered."""
        return tuple(self._upstream.requests)

    def calls(self, operation: str) -> int:
        """How often an operation was asked for."""
        return sum(record.operation == operation for record in self.requests)

    @property
    def options(self) -> UpstreamOptions:
        """The switches; setting them arms `fail_next`, `faults` and `rules` anew."""
        return self._upstream.options

    @options.setter
    def options(self, options: UpstreamOptions) -> None:
        self._upstream.options = options

    def publish(self, document: Document) -> None:
        """Offer a revision from now on: it is newer than every anchor given out."""
        self._upstream.store.publish(document, self._upstream.clock())

    def release(self, blocks: int) -> None:
        """Publish the next blocks of the bulk catalogue."""
        self._upstream.store.release(blocks, self._upstream.clock())

    def become(self, catalogue: Catalogue) -> int:
        """Offer this catalogue from now on, as when time has passed; return how many revisions came or went.

        What is in both as it was keeps its place before the anchors given out.
        """
        return self._upstream.store.become(catalogue.documents, self._upstream.clock())

    def withdraw(self, identity: Identity) -> None:
        """Stop offering a revision; raises KeyError if it is not offered."""
        self._upstream.store.withdraw(identity)

    def deploy(self, deployment: Deployment) -> None:
        """Decide about an update, or decide anew."""
        ledger = self._upstream.store.deployments
        self._change(lambda at: ledger.put(deployment.deployment_id, deployment, at))

    def undeploy(self, deployment_id: str) -> None:
        """Take a decision back; raises KeyError if there is none of that id."""
        ledger = self._upstream.store.deployments
        self._change(lambda at: ledger.drop(deployment_id, at))

    def offer_driver_set(self, driver_set: DriverSet) -> None:
        """Offer a driver set from now on."""
        ledger = self._upstream.store.driver_sets
        self._change(lambda at: ledger.put(driver_set.driver_set_id, driver_set, at))

    def remove_driver_set(self, driver_set_id: str) -> None:
        """Offer it no longer; raises KeyError if it is not offered."""
        ledger = self._upstream.store.driver_sets
        self._change(lambda at: ledger.drop(driver_set_id, at))

    def decide(
        self,
        *,
        groups: Iterable[TargetGroup] = (),
        hidden_updates: Iterable[str] = (),
        accepted_eulas: Iterable[str] = (),
    ) -> None:
        """What replicas read as a whole: own groups, hidden updates and accepted licences, from now on these."""
        store = self._upstream.store
        store.groups = tuple(groups)
        store.hidden_updates, store.accepted_eulas = frozenset(hidden_updates), frozenset(accepted_eulas)

    def _change(self, make: Callable[[datetime], None]) -> None:
        self._upstream.store.change(make, self._upstream.clock())

    def bump_generation(self) -> None:
        """Behave as if the database had been replaced: every anchor given out so far means ServerChanged."""
        self._upstream.bump_generation()


# --- the command ----------------------------------------------------------------------------------------


def serve_upstream(
    host: str = "127.0.0.1",
    port: int = _WSUS_PORT,
    seed: int = 1,
    *,
    options: UpstreamOptions | None = None,
    bulk: BulkCatalogue | None = None,
    day: float | None = None,
    announce: Callable[[str], object] = print,
) -> None:
    """Serve a generated catalogue until SIGINT or SIGTERM; to be called from the main thread.

    With a bulk catalogue, that instead. With `day`, the generated one moves on by a day in so many seconds.
    Raises OSError if the port cannot be had.
    """
    today = utc_now()
    catalogue = build_catalogue(seed, today) if bulk is None else Catalogue((), ())
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with (
            suppress(KeyboardInterrupt),
            UpstreamServer(catalogue, host=host, port=port, options=options, bulk=bulk) as server,
        ):
            what = (
                f"{len(catalogue.documents)} revisions, "
                f"{len(catalogue.visible())} updates an administrator would see"
                if bulk is None
                else f"{bulk.size} revisions"
            )
            announce(f"Virtual upstream at {server.url}: {what} (seed {seed}).")
            while not server.wait(math.inf if day is None else day):
                today += timedelta(days=1)
                changed = server.become(build_catalogue(seed, today))
                announce(f"It is {today:%Y-%m-%d}: {changed} revisions came or went.")
    finally:
        signal.signal(signal.SIGTERM, previous)


def add_parser(subparsers: Any) -> None:
    """Add `upstream serve`."""
    parser = subparsers.add_parser("upstream", help="run a simulated WSUS")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    serve = verbs.add_parser(
        "serve", help="serve a generated catalogue over the WSUS server-to-server protocol"
    )
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    serve.add_argument(
        "--port", type=int, default=_WSUS_PORT, help="port, 0 for a free one (default %(default)s)"
    )
    serve.add_argument("--seed", type=int, default=1, help="another number is another catalogue (default 1)")
    serve.add_argument(
        "--flavour",
        choices=["wsus", "mu"],
        default="wsus",
        help="behave as a WSUS or as Microsoft Update, where the two differ (default wsus)",
    )
    serve.add_argument(
        "--missing",
        choices=["wsus", "mu"],
        help="how an unknown revision is answered: as WSUS or as Microsoft Update does (default: by flavour)",
    )
    serve.add_argument(
        "--compress",
        choices=["auto", "always", "never"],
        default="auto",
        help="which documents are sent as cabinets (default auto: the long ones)",
    )
    serve.add_argument(
        "--revisions",
        type=_size,
        metavar="N",
        help="serve a catalogue of N revisions, made as they are asked for, instead of the small one",
    )
    serve.add_argument(
        "--big-document", action="store_true", help="with --revisions: one of its documents has 47 MB"
    )
    serve.add_argument(
        "--day",
        type=float,
        metavar="SECONDS",
        help="let the small catalogue move on by a day in so many seconds",
    )
    serve.add_argument(
        "--fault",
        type=_fault_rule,
        action="append",
        default=[],
        metavar="KIND[=ARGUMENT][:OPERATION][@WHEN]",
        help="go wrong, e.g. fault=ServerBusy:GetUpdateData@3, cookies@*50, truncated@5%%; may be given several "
        f"times. KIND is one of {', '.join(FaultKind)}; WHEN is 3, 3-5, 3-, *7 or 2.5%%",
    )
    serve.set_defaults(func=_serve)


def _fault_rule(text: str) -> FaultRule:
    try:
        return FaultRule.parse(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def _size(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < LEAST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of revisions from {LEAST} on")
    return int(text)


def _serve(args: argparse.Namespace) -> int:
    if args.revisions is None and args.big_document:
        raise CommandError("--big-document needs --revisions.")
    if args.revisions is not None and args.day is not None:
        raise CommandError("--day moves the small catalogue on: leave --revisions out.")
    options = UpstreamOptions(
        flavour=args.flavour,
        missing=args.missing or args.flavour,
        compress=args.compress,
        rules=tuple(args.fault),
        seed=args.seed,
    )
    bulk = None
    if args.revisions is not None:
        bulk = BulkCatalogue(args.seed, args.revisions, big_document=args.big_document)
    try:
        serve_upstream(args.host, args.port, args.seed, options=options, bulk=bulk, day=args.day)
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]  # the address is in parentheses, and in our own words
        raise CommandError(f"Cannot listen on {args.host} port {args.port}: {reason}.") from None
    return 0
