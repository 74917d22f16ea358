"""docs/enrol-windows.md: its commands are those of this release, and it names every answer a PC can get."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from mdm.cli import _parser
from mdm.enrolment.faults import ErrorType, Subcode
from mdm.enrolment.throttle import WINDOW
from mdm.settings import Settings

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "enrol-windows.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^    (csp-bridge .+)$", GUIDE, re.MULTILINE)
INLINE = [found for found in re.findall(r"`(csp-bridge [^`]+)`", GUIDE) if "\n" not in found]
COMMANDS = sorted({re.split(r"\s{3,}| > ", command)[0] for command in [*BLOCKS, *INLINE]})


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_are_taken(command: str) -> None:
    """Each is typed as it stands there."""
    arguments = shlex.split(command)[1:]
    if arguments[-1] == "--help":
        with pytest.raises(SystemExit) as ended:
            _parser(arguments).parse_args(arguments)
        assert ended.value.code == 0
    else:
        assert callable(_parser(arguments).parse_args(arguments).func)


def test_there_are_commands() -> None:
    """Else the test above would prove nothing."""
    verbs = {" ".join(shlex.split(command)[1:3]) for command in COMMANDS}
    assert {"ca create", "enrol token", "enroll-check --domain", "devices retire", "serve --tls"} <= verbs


@pytest.mark.parametrize("name", [*(each.value[1] for each in Subcode), *(each.value for each in ErrorType)])
def test_it_knows_every_fault(name: str) -> None:
    """Each has a row with its code, which is the one that the module gives."""
    source = (ROOT / "mdm" / "enrolment" / "faults.py").read_text(encoding="utf-8")
    code = re.search(rf'"{name}"\)?\n    """([0-9]{{8}}):', source)
    assert code is not None
    assert f"| {code[1]} | {name} |" in GUIDE


def test_its_settings_and_log_lines_are_there() -> None:
    """What it tells an administrator to set, or to look for, exists."""
    fields = {f"BRIDGE_{name.upper()}" for name in Settings.model_fields}
    named = set(re.findall(r"BRIDGE_[A-Z_]+[A-Z]", GUIDE))
    assert {name for name in named if name not in fields and name != "BRIDGE_WNS"} == set()
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "mdm").rglob("*.py"))
    for event in re.findall(r"^\| `([a-z_]+_[a-z_]+)`", GUIDE, re.MULTILINE):
        assert f'"{event}"' in source, event


def test_its_figures_are_those_of_the_program() -> None:
    """How long a lockout lasts."""
    assert f"locked for {int(WINDOW.total_seconds()) // 60} minutes" in GUIDE
