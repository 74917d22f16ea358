"""`csp-bridge`: the command line. A command's module is imported only when the command is given."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["main"]

_PROGRAM: Final = "csp-bridge"
_DISTRIBUTION: Final = "update-csp-bridge"
_CUT_SHORT: Final = 141
"""What a shell reports of a program that SIGPIPE ended."""


@dataclass(frozen=True, slots=True)
class _Command:
    """Where a command lives, and its line in the list of commands."""

    module: str
    help: str


_COMMANDS: Final[Mapping[str, _Command]] = {
    "serve": _Command("mdm.commands.serve", "run the service"),
    "token": _Command("mdm.commands.token", "make, list and revoke API tokens"),
    "enrol": _Command("mdm.commands.enrol", "say who may enrol devices"),
    "enroll-check": _Command(
        "mdm.commands.enroll_check", "say whether DNS, TLS and the endpoints are as Windows needs them"
    ),
    "audit": _Command("mdm.commands.audit", "verify or export the audit trail"),
    "eulas": _Command("mdm.commands.eulas", "export the licence ledger"),
    "explain": _Command("mdm.commands.explain", "say why an update is not installed on a device"),
    "devices": _Command("mdm.commands.devices", "list, show, retire and delete devices"),
    "db": _Command("mdm.commands.db", "upgrade or check the database's schema"),
    "sync": _Command("mdm.commands.sync", "read the upstreams' catalogues now"),
    "upstreams": _Command("mdm.commands.upstreams", "list, add, change and remove upstreams"),
    "catalog": _Command("mdm.commands.catalog", "clean up the catalogue, or carry it to other sites"),
    "ca": _Command("mdm.commands.ca", "make, import and show the certificate authority"),
    "ddf": _Command("mdm.commands.ddf", "write device descriptions"),
    "demo": _Command("mdm.lab.demo", "play the whole story with simulated devices and upstream"),
    "device": _Command("mdm.lab.fleet", "run simulated Windows devices"),
    "bench": _Command("mdm.commands.bench", "measure what the service costs here"),
    "upstream": _Command("mdm.lab.upstream", "run a simulated WSUS"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the process's exit code: 0 done, 1 the answer is no, 2 could not run."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    gc.disable()  # modules stay: to look for garbage among them takes a fifth of a start
    try:
        args = _parser(arguments).parse_args(arguments)
        # Imported here for the same reason as the commands: `--version` and `--help` need no database library.
        from mdm.commands.base import EXIT_USAGE, CommandError  # noqa: PLC0415
        from mdm.errors import Unavailable  # noqa: PLC0415
        from mdm.settings import SettingsError  # noqa: PLC0415
    finally:
        gc.enable()

    try:
        code: int = args.func(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has seen enough (`| head`). The interpreter would flush into the pipe once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _CUT_SHORT
    except CommandError as error:
        return _fail(str(error), error.exit_code)
    except SettingsError as error:
        return _fail(f"{'; '.join(error.problems)}.", EXIT_USAGE)
    except Unavailable as error:
        return _fail(error.detail, EXIT_USAGE)
    return code


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser, with the options of the command at hand and only the names of the others."""
    parser = argparse.ArgumentParser(prog=_PROGRAM, description="An open update bridge for Windows MDM.")
    parser.add_argument("--version", action="version", version=f"{_PROGRAM} {version(_DISTRIBUTION)}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = arguments[0] if arguments else None
    for name, command in _COMMANDS.items():
        if name == chosen:
            import_module(command.module).add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=command.help)
    return parser


def _fail(sentence: str, code: int) -> int:
    print(f"{_PROGRAM}: {sentence}", file=sys.stderr)
    return code
