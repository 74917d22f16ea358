"""`csp-bridge catalog cleanup [--dry-run]`: remove from the catalogue what nobody needs, and say why."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from mdm.audit import Origin, record
from mdm.catalog.cleanup import DEFAULT_POLICY, CleanupPolicy, clean_up
from mdm.clock import utc_now
from mdm.commands.base import add_data_dir, open_database, prepare_schema, settings_of

if TYPE_CHECKING:
    from mdm.catalog.cleanup import Finding

__all__ = ["add_verbs"]

_ORIGIN: Final = Origin(actor="command-line")
_FOR_EVER: Final = "-1"
_MAX_AGE: Final = 10_000


def add_verbs(verbs: Any) -> None:
    """Add `cleanup`."""
    cleanup = verbs.add_parser(
        "cleanup",
        help="remove superseded, expired and old revisions that nobody refers to",
        description="Remove what nobody needs, some hundred revisions at a time; the service may be running. "
        "What is approved, or named by a device or another stored update, stays. -1 keeps for ever.",
    )
    add_data_dir(cleanup)
    cleanup.add_argument("--dry-run", action="store_true", help="say what would be removed and why, and stop")
    for option, default, text in (
        ("superseded-months", DEFAULT_POLICY.superseded_months, "the update that supersedes it appeared"),
        ("expired-days", DEFAULT_POLICY.expired_days, "we learned that it has expired"),
        ("old-revision-days", DEFAULT_POLICY.old_revision_days, "a newer revision came"),
        ("orphan-days", DEFAULT_POLICY.orphan_days, "a part came that no stored update contains"),
    ):
        unit = option.rpartition("-")[2]
        cleanup.add_argument(
            f"--{option}", type=_age, default=default, metavar="N", help=f"{unit} after {text} ({default})"
        )
    cleanup.set_defaults(func=_cleanup)


def _cleanup(args: argparse.Namespace) -> int:
    policy = CleanupPolicy(
        superseded_months=args.superseded_months,
        expired_days=args.expired_days,
        old_revision_days=args.old_revision_days,
        orphan_days=args.orphan_days,
    )
    removed: Counter[str] = Counter()
    examined = held = licences = listed = 0
    now = utc_now()
    with open_database(settings_of(args)) as database:
        prepare_schema(database)
        for step in clean_up(database, now, policy=policy, dry_run=args.dry_run):
            for finding in step.removed:
                sys.stdout.write(_line("would go" if args.dry_run else "removed", finding))
            if args.dry_run:
                for finding in step.held:
                    sys.stdout.write(_line("stays", finding))
            removed.update(finding.reason for finding in step.removed)
            examined, held = examined + step.examined, held + len(step.held)
            licences, listed = licences + step.licences, listed + step.listed
        if removed and not args.dry_run:
            with database.write() as conn:
                record(
                    conn,
                    _ORIGIN,
                    now=now,
                    action="catalog.cleanup",
                    object_type="catalog",
                    object_id="catalog",
                    detail={"removed": dict(removed), "licences": licences},
                )
    counts = ", ".join(f"{count} {reason}" for reason, count in sorted(removed.items())) or "nothing"
    sys.stdout.write(
        f"{examined} revisions looked at. {'Would remove' if args.dry_run else 'Removed'}: {counts}. "
        f"Held by references: {held}. Licences removed: {licences}. Missing from the list: {listed}.\n"
    )
    return 0


def _age(text: str) -> int | None:
    """How long something is kept; None for ever."""
    if text == _FOR_EVER:
        return None
    if not (text.isascii() and text.isdigit() and int(text[:10]) <= _MAX_AGE):
        raise argparse.ArgumentTypeError(f"must be a whole number up to {_MAX_AGE}, or -1 for ever")
    return int(text)


def _line(word: str, finding: Finding) -> str:
    held = f" It stays, because {finding.held_by}." if finding.held_by else ""
    return f"{word} {finding.identity} {finding.title!r}: {finding.sentence}{held}\n"
