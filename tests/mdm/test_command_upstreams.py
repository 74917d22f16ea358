"""`csp-bridge upstreams`: the list at the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mdm.cli import main

if TYPE_CHECKING:
    from pathlib import Path

WINDOWS = "72E7624A-5B00-45D2-B92F-E561C0A6A160"
SECURITY = "0fa1201d-4330-4fa8-8ae9-b877473b6441"
URL = "http://wsus.example:8530"


def run(capsys: pytest.CaptureFixture[str], data_dir: Path, *words: str) -> tuple[int, str, str]:
    """Exit code and output of a command."""
    code = main(["upstreams", *words, "--data-dir", str(data_dir)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_life_of_an_entry(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Added, listed, changed, removed."""
    assert run(capsys, data_dir, "list")[:2] == (0, "There is no upstream yet.\n")
    code, out, _ = run(
        capsys,
        data_dir,
        "add",
        URL + "/",
        "--mode",
        "filtered",
        "--product",
        WINDOWS,
        "--classification",
        SECURITY,
        "--language",
        "1033",
    )
    assert code == 0
    identifier = out.split()[0]
    line = f"{identifier}  0  {URL}  filtered, 1 products, 1 classifications"
    assert out == f"{line}\n"
    assert run(capsys, data_dir, "change", URL, "--disable")[1] == f"{line}, disabled\n"
    changed = run(capsys, data_dir, "change", identifier, "--enable", "--mode", "needed", "--position", "3")
    assert changed[1] == f"{identifier}  3  {URL}  needed\n"
    assert run(capsys, data_dir, "list")[1] == changed[1]
    assert run(capsys, data_dir, "remove", identifier)[1] == f"{URL} is no longer asked.\n"
    assert run(capsys, data_dir, "list")[1] == "There is no upstream yet.\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("add", "wsus.example"), "wsus.example must be a URL that starts with http:// or https://."),
        (("change", "ups_none"), "There is no upstream ups_none."),
        (("remove", "ups_none"), "There is no upstream ups_none."),
        (("add", URL, "--product", WINDOWS), "Select products and classifications"),
        (("add", URL, "--minutes", "3"), "every 15 minutes at most"),
    ],
)
def test_what_cannot_be(
    data_dir: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], sentence: str
) -> None:
    """One sentence, and nothing is written."""
    code, out, err = run(capsys, data_dir, *words)
    assert (code, out) == (2, "")
    assert sentence in err
    assert run(capsys, data_dir, "list")[1] == "There is no upstream yet.\n"


def test_the_upstream_of_the_settings_is_in_the_list(
    data_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be removed there; a single one can be read by its address."""
    monkeypatch.setenv("BRIDGE_UPSTREAM_URL", URL)
    assert URL in run(capsys, data_dir, "list")[1]
    assert "BRIDGE_UPSTREAM_URL" in run(capsys, data_dir, "remove", URL)[2]
    assert main(["sync", "--upstream", URL, "--data-dir", str(data_dir)]) == 0
    assert "is queued" in capsys.readouterr().out
    assert main(["sync", "--upstream", "ups_none", "--data-dir", str(data_dir)]) == 2
    assert "There is no upstream ups_none." in capsys.readouterr().err


def test_a_guid_is_a_guid(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Refused before anything is opened."""
    with pytest.raises(SystemExit):
        run(capsys, data_dir, "add", URL, "--product", "windows")
    assert "--product" in capsys.readouterr().err
