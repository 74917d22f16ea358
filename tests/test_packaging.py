"""The wheel: everything is in it, and it works where no source tree is near."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from contextlib import closing
from email.parser import Parser
from pathlib import Path

import pytest

from mdm.storage.engine import Database

ROOT = Path(__file__).parents[1]
PACKAGES = ("mdm", "syncml", "csp", "migrations")


def _run(*command: str | Path, cwd: Path) -> str:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))
    }
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this source tree, built by the locked build backend."""
    out = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", out, ROOT, cwd=out)
    [path] = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel and, so that nothing is downloaded, a view of our dependencies.

    A path in a .pth file is searched last and its own .pth files are not read: the editable installation of
    this tree, which is one of those, cannot stand in for the wheel.
    """
    environment = tmp_path_factory.mktemp("clean") / "venv"
    _run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=wheel.parent)
    python = environment / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    _run(*pip, "install", "-q", "--no-index", "--no-deps", wheel, cwd=wheel.parent)
    [site_packages] = environment.glob("lib/python3*/site-packages")
    dependencies = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    (site_packages / "dependencies.pth").write_text("\n".join(dependencies))
    return environment


def test_every_module_is_in_the_wheel(wheel: Path) -> None:
    """All four packages are there whole, typed, with the migrations and their template; tests are not."""
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    sources = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert inside == sources
    assert {f"{package}/py.typed" for package in ("mdm", "syncml", "csp")} <= inside
    assert {"migrations/env.py", "migrations/script.py.mako"} <= inside
    assert any(name.startswith("migrations/versions/0001_") for name in inside)


def test_the_metadata_names_licence_and_command(wheel: Path) -> None:
    """The wheel carries its licence, its Python version and the one command."""
    archive = zipfile.ZipFile(wheel)
    [info] = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
    metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
    assert metadata["Name"] == "update-csp-bridge"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert b"Apache License" in archive.read(f"{info}/licenses/LICENSE")
    assert b"csp-bridge = mdm.cli:main" in archive.read(f"{info}/entry_points.txt")


def test_the_installed_packages_are_the_wheels(installed: Path, tmp_path: Path) -> None:
    """What the clean environment imports comes from the wheel, not from this tree."""
    script = f"import {', '.join(PACKAGES)}; print(*(m.__file__ for m in ({', '.join(PACKAGES)})), sep='\\n')"
    for line in _run(installed / "bin" / "python", "-c", script, cwd=tmp_path).splitlines():
        assert Path(line).is_relative_to(installed), line


def test_the_command_says_its_version(installed: Path, tmp_path: Path) -> None:
    """`csp-bridge --version` starts in the clean environment."""
    assert _run(installed / "bin" / "csp-bridge", "--version", cwd=tmp_path) == "csp-bridge 0.1.0\n"


def test_the_command_makes_a_database(installed: Path, tmp_path: Path) -> None:
    """`csp-bridge db upgrade` finds the migrations it was installed with."""
    data = tmp_path / "data"
    _run(installed / "bin" / "csp-bridge", "db", "upgrade", "--data-dir", data, cwd=tmp_path)
    with closing(Database(f"sqlite:///{data}/bridge.sqlite3")) as database:
        assert database.at_head()
