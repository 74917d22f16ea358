"""`csp-bridge ddf export` writes what the trees say, where it is told to."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from csp.ddf import write_ddf
from csp.trees import TREES
from mdm.cli import main

if TYPE_CHECKING:
    from pathlib import Path


def test_all_trees_make_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    """Without options every tree is a root of the document on standard output."""
    assert main(["ddf", "export"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out == write_ddf([node for tree in TREES.values() for node in tree])
    roots = ET.XML(captured.out).findall("Node")
    places = [f"{root.findtext('Path')}/{root.findtext('NodeName')}" for root in roots]
    assert places == [
        "./Vendor/MSFT/Update",
        "./Device/Vendor/MSFT/Policy/Config/Update",
        "./Device/Vendor/MSFT/Policy/Result/Update",
        "./User/Vendor/MSFT/DMClient",
        "./Device/Vendor/MSFT/DMClient",
        "./DevInfo",
        "./DevDetail",
        "./Device/Vendor/MSFT/Reboot",
    ]


@pytest.mark.parametrize("tree", TREES)
def test_one_tree_can_be_asked_for(tree: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each name that `--tree` takes gives that tree and no other."""
    assert main(["ddf", "export", "--tree", tree]) == 0
    assert capsys.readouterr().out == write_ddf(TREES[tree])


def test_several_trees_come_in_their_own_order(capsys: pytest.CaptureFixture[str]) -> None:
    """The order of the options changes nothing, nor does naming a tree twice."""
    assert main(["ddf", "export", "--tree", "reboot", "--tree", "devinfo", "--tree", "reboot"]) == 0
    assert capsys.readouterr().out == write_ddf([*TREES["devinfo"], *TREES["reboot"]])


def test_a_file_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--output` nothing is printed, and what was in the file is gone."""
    file = tmp_path / "update.xml"
    file.write_text("old" * 100_000, encoding="utf-8")
    assert main(["ddf", "export", "--tree", "update", "--output", str(file)]) == 0
    assert capsys.readouterr() == ("", "")
    assert file.read_bytes() == write_ddf(TREES["update"]).encode()


def test_a_file_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A directory that is not there is an error of one line and exit code 2."""
    file = tmp_path / "nowhere" / "update.xml"
    assert main(["ddf", "export", "--output", str(file)]) == 2
    assert capsys.readouterr() == ("", f"csp-bridge: Cannot write {file}: No such file or directory.\n")


@pytest.mark.parametrize("arguments", [["ddf"], ["ddf", "export", "--tree", "wlan"]])
def test_wrong_options_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A verb that is missing and a tree that is not known are shown with the usage."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: csp-bridge ddf" in capsys.readouterr().err


def test_the_process_writes_utf_8_and_nothing_else() -> None:
    """Run as a process, standard output is the document, byte for byte."""
    code = "from mdm.cli import main; raise SystemExit(main(['ddf', 'export', '--tree', 'devinfo']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == write_ddf(TREES["devinfo"]).encode()
