"""`csp-bridge catalog ...`: the stored catalogue; each family of verbs has a module of its own."""

from __future__ import annotations

from typing import Any

from mdm.commands import catalog_cleanup, catalog_offline

__all__ = ["add_parser"]


def add_parser(subparsers: Any) -> None:
    """Add `catalog` and its verbs."""
    parser = subparsers.add_parser("catalog", help="clean up the catalogue, or carry it to other sites")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    catalog_cleanup.add_verbs(verbs)
    catalog_offline.add_verbs(verbs)
