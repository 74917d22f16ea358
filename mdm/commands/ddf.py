"""`csp-bridge ddf export`: the device trees this release knows, as a DM DDF 1.2 document."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csp.ddf import write_ddf
from csp.trees import TREES
from mdm.commands.base import CommandError

if TYPE_CHECKING:
    import argparse

__all__ = ["add_parser"]


def add_parser(subparsers: Any) -> None:
    """Add `ddf` and its verb."""
    parser = subparsers.add_parser("ddf", help="write device descriptions")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    export = verbs.add_parser(
        "export",
        help="write the device trees as a DM DDF 1.2 document",
        description="Write the device trees as one DM DDF 1.2 document with Microsoft's extensions (DDF v2): "
        "every tree is a root node of it, or only the ones asked for.",
    )
    export.add_argument(
        "--tree",
        action="append",
        choices=sorted(TREES),
        help="a tree to write; may be given several times (default: all)",
    )
    export.add_argument(
        "--output", type=Path, metavar="FILE", help="file to write (default: standard output)"
    )
    export.set_defaults(func=_export)


def _export(args: argparse.Namespace) -> int:
    chosen = args.tree or TREES
    document = write_ddf([node for name, tree in TREES.items() if name in chosen for node in tree])
    if args.output is None:
        sys.stdout.write(document)
        return 0
    try:
        args.output.write_text(document, encoding="utf-8", newline="\n")
    except OSError as error:
        raise CommandError(f"Cannot write {args.output}: {error.strerror}.") from None
    return 0
