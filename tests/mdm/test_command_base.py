"""The key of stored secrets: from the settings, or from the file beside the database."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from mdm.cli import main
from mdm.commands.base import secret_box
from mdm.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

KEY = b64encode(bytes(range(32))).decode()


def test_the_setting_comes_first(data_dir: Path) -> None:
    """No file is made or looked at then; the same setting opens what it has sealed, on any host."""
    there, here = (
        secret_box(load_settings(data_dir=each, secret_key=KEY)) for each in (data_dir, data_dir / "x")
    )
    assert here.open(there.seal(b"x")) == b"x"
    assert not data_dir.exists()


def test_without_it_the_file_has_the_key(data_dir: Path) -> None:
    """Made at the first start; what is in it may as well become the setting."""
    box = secret_box(load_settings(data_dir=data_dir))
    line = (data_dir / "secret.key").read_text()
    assert secret_box(load_settings(data_dir=data_dir / "x", secret_key=line)).open(box.seal(b"x")) == b"x"


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_a_file_that_others_can_read_is_warned_of(
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    mode: int,
    *,
    warned: bool,
) -> None:
    """On stderr, with its mode; the command goes on."""
    monkeypatch.setenv("BRIDGE_LOG_FORMAT", "json")
    secret_box(load_settings(data_dir=data_dir))
    (data_dir / "secret.key").chmod(mode)
    assert main(["ca", "create", "--data-dir", str(data_dir)]) == 0
    err = capsys.readouterr().err
    assert ("key_file_open_to_others" in err) == warned
    assert (f"{mode:04o}" in err) == warned


def test_the_setting_is_never_shown(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the settings' own text."""
    monkeypatch.setenv("BRIDGE_SECRET_KEY", KEY)
    assert KEY not in repr(load_settings(data_dir=data_dir))
