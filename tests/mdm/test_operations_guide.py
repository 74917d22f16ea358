"""docs/operations.md: each reason, each refusal at the check-in and each event of the log stands there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from mdm.ca.checking import Refusal
from mdm.devices.reasons import REASONS

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
SOURCES = [path for path in (ROOT / "mdm").rglob("*.py") if "lab" not in path.parts]
LEVELS = {"debug", "info", "warning", "error", "exception"}


def calls(path: Path, names: set[str]) -> list[ast.Call]:
    """The calls of a function or method of one of these names."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (getattr(node.func, "attr", None) in names or getattr(node.func, "id", None) in names)
    ]


def events() -> set[str]:
    """The events of every logger, apart from those whose names are put together."""
    found = set()
    for path in SOURCES:
        for call in calls(path, LEVELS | {"log"}):
            if isinstance(call.func, ast.Attribute) and re.search(
                r"\b_?log(ger)?$", ast.unparse(call.func.value)
            ):
                said = {each.value for each in call.args[:2] if isinstance(each, ast.Constant)}
                found |= {each for each in said if re.fullmatch(r"[a-z_.]+", str(each))}
    return found


def refusals() -> set[str]:
    """Why a message is refused, as the code says it, but for what a certificate adds."""
    path = ROOT / "mdm" / "checkin" / "admission.py"
    return {
        each.value
        for call in calls(path, {"Refused"})
        for each in call.args[2:3]
        if isinstance(each, ast.Constant)
    }


@pytest.mark.parametrize("code", sorted({each.code for each in REASONS}))
def test_each_reason_has_a_row(code: str) -> None:
    """With what to do."""
    assert re.search(rf"^\| `{code}` \| \S", GUIDE, re.MULTILINE)


def test_each_event_has_a_row() -> None:
    """An administrator can look up every line of the log."""
    rows = set(re.findall(r"`([a-z_.]+)`", "".join(re.findall(r"^\| `.*$", GUIDE, re.MULTILINE))))
    assert len(events()) > 30
    assert events() - rows == {"rules.woken"}, "debug: of no use to an administrator"


def test_each_refusal_has_a_row() -> None:
    """Whoever proves itself by credentials, and whoever does by a certificate."""
    rows = "".join(re.findall(r"^\| `.*$", GUIDE, re.MULTILINE))
    assert {"unknown device", "unenrolled device", "wrong credentials"} <= refusals()
    for why in sorted(refusals() | {str(each) for each in Refusal}):
        assert why in rows, why
