# ruff: noqa: INP001, S603, T201 - a script that starts our own tools and talks to a person
"""The coverage gates.

`syncml` and `csp`: each module 100 % of its branches by its own test file, so that nothing counts as tested
because something else happens to pass through it. `mdm`: at least 95 % by the whole suite.

    cover.py          run the suite with coverage, then judge
    cover.py --reuse  judge `mdm` by the data file a run of the suite has just left
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
PURE = ("syncml", "csp")
MDM_FLOOR = 95


def main() -> int:
    """Run every gate, print what fails, and return the exit code."""
    if (
        "--reuse" not in sys.argv[1:]
        and _run("-m", "pytest", "-q", "-n", "2", "--cov", "--cov-report=").returncode
    ):
        print("the suite fails: its coverage says nothing")
        return 1
    modules = [
        path for package in PURE for path in sorted((ROOT / package).glob("*.py")) if path.stem != "__init__"
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        complaints = [line for line in pool.map(_own_test_covers, modules) if line]
    print(
        "\n".join(complaints) or f"{len(modules)} modules of syncml and csp: 100 % each, by their own tests"
    )
    report = _run("-m", "coverage", "report", "--include=mdm/*", f"--fail-under={MDM_FLOOR}", "--precision=1")
    print(report.stdout, report.stderr, sep="", end="")
    return 1 if complaints or report.returncode else 0


def _own_test_covers(module: Path) -> str | None:
    """Return None if the module's own test file covers it whole, else what is missing."""
    name = f"{module.parent.name}.{module.stem}"
    test = ROOT / "tests" / module.parent.name / f"test_{module.name}"
    with tempfile.TemporaryDirectory() as directory:
        done = _run(
            *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(test)),
            *(f"--cov={name}", "--cov-branch", "--cov-report=term-missing", "--cov-fail-under=100"),
            COVERAGE_FILE=f"{directory}/data",
            BRIDGE_TEST_PROFILE="thorough",
            PYTEST_ADDOPTS="",
        )
    if done.returncode == 0:
        return None
    return (
        f"{name} is not covered whole by {test.relative_to(ROOT)}:\n{done.stdout[-2000:]}{done.stderr[-500:]}"
    )


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main())
