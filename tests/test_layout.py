"""The house rules a machine can check: where things are, what they may touch, and that they say what they are."""

from __future__ import annotations

import ast
import os
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PURE = ("syncml", "csp")
SOURCES = sorted(
    path for package in ("mdm", "syncml", "csp", "migrations") for path in (ROOT / package).rglob("*.py")
)
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _callers(*functions: str) -> list[str]:
    """The modules that call one of these functions, by the dotted name it is called by."""
    return [
        _name(path)
        for path in SOURCES
        if any(
            isinstance(node, ast.Call) and ast.unparse(node.func) in functions
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )
    ]


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "Makefile",
        "requirements.lock",
        "docs/architecture.md",
        "docs/configuration.md",
        ".ci/run",
    ],
)
def test_a_promised_file_is_there(name: str) -> None:
    """Each file that others rely on exists and says something."""
    assert (ROOT / name).stat().st_size > 100


@pytest.mark.parametrize("name", [".ci/run", ".ci/postgres"])
def test_a_script_can_be_run(name: str) -> None:
    """Scripts are executable."""
    assert os.access(ROOT / name, os.X_OK)


def test_each_package_is_typed_and_in_the_wheel() -> None:
    """The packages of the wheel are those of the tree, with their marker for type checkers."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert set(packages) == found
    assert all((ROOT / package / "py.typed").exists() for package in found - {"migrations"})


def test_each_pure_module_has_a_test_file_of_its_name() -> None:
    """Coverage of syncml and csp is counted per module, by that file alone."""
    modules = [path for path in SOURCES if path.parent.name in PURE and path.stem != "__init__"]
    wanted = [ROOT / "tests" / path.parent.name / f"test_{path.name}" for path in modules]
    assert modules
    assert [_name(path) for path in wanted if not path.exists()] == []


def test_only_the_clock_reads_the_clock() -> None:
    """Everything else is handed the time."""
    assert _callers("datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time") == [
        "mdm/clock.py"
    ]


def test_xml_of_strangers_goes_through_the_guards() -> None:
    """The parsers without limits are called where the limits are added: once for upstreams, once for devices."""
    assert _callers("xmltodict.parse") == ["mdm/enrolment/envelope.py", "mdm/upstream/xml.py"]
    assert (
        _callers("etree.fromstring", "ElementTree.fromstring", "ET.fromstring", "minidom.parseString") == []
    )


def test_every_test_says_what_it_claims() -> None:
    """A test's docstring is the sentence that is false when it fails."""
    silent = [
        f"{_name(path)}::{node.name}"
        for path in TESTS
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert silent == []
