"""`csp-bridge devices`: list, show, retire, keep and delete."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, update

from mdm.audit import Origin, list_entries
from mdm.cli import main
from mdm.clock import utc_now
from mdm.devices.registry import create_device, device_pk
from mdm.storage.engine import Database
from mdm.storage.secrets import SecretBox
from mdm.storage.statements import table_of
from mdm.storage.tables import CertificateAuthority, Device, IssuedCertificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ORIGIN = Origin("test")


@pytest.fixture
def database(data_dir: Path) -> Iterator[Database]:
    """The embedded database of the directory that the commands are given."""
    data_dir.mkdir()
    found = Database(f"sqlite:///{data_dir / 'bridge.sqlite3'}")
    found.migrate()
    yield found
    found.close()


@pytest.fixture
def run(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run one command and return its output; the exit code must be the one expected."""

    def command(verb: str, *arguments: str, code: int = 0) -> str:
        assert main(["devices", verb, "--data-dir", str(data_dir), *arguments]) == code
        captured = capsys.readouterr()
        return captured.err if code else captured.out

    return command


def enrol(database: Database, data_dir: Path, device_id: str, name: str, **values: Any) -> str:
    """A device's id."""
    box = SecretBox.from_file(data_dir / "secret.key")
    with database.write() as conn:
        view, _ = create_device(
            conn, ORIGIN, box, device_id=device_id, name=name, auth="syncml:auth-md5", now=utc_now()
        )
        if values:
            device = table_of(Device)
            conn.execute(update(device).where(device.c.id == view.id).values(**values))
    return view.id


@pytest.mark.usefixtures("database")
def test_nothing_is_a_table_without_rows(run: Callable[..., str]) -> None:
    """And an empty array."""
    assert run("list") == "ID                        STATE       LAST SEEN             NAME\n"
    assert json.loads(run("list", "--json")) == []


def test_the_list_fits_a_terminal(database: Database, data_dir: Path, run: Callable[..., str]) -> None:
    """One line a device, 80 characters, whatever it is called; by state, and by a part of its names."""
    seen = utc_now() - timedelta(days=1)
    first = enrol(database, data_dir, "DEV1", "Front desk", last_checkin_at=seen)
    second = enrol(database, data_dir, "DEV2", "Workshop " * 20)
    run("retire", second)
    lines = run("list").splitlines()
    assert re.fullmatch(rf"{first}  enrolled    [0-9: -]{{16}} UTC  Front desk", lines[1])
    assert lines[2].startswith(f"{second}  retiring    never                 Workshop")
    assert [len(line) for line in lines[1:]] == [70, 80]
    assert lines[2].endswith("…")
    for arguments, found in (
        (("--state", "retiring"), [second]),
        (("--state", "enrolled"), [first]),
        (("--state", "unenrolled"), []),
        (("--search", "DESK"), [first]),
    ):
        assert [each["id"] for each in json.loads(run("list", "--json", *arguments))] == found


def test_the_list_is_read_in_pages(
    database: Database, data_dir: Path, run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each device once, in order."""
    ids = [enrol(database, data_dir, f"DEV{number}", f"pc{number}") for number in range(5)]
    for size in (1, 2, 5):
        monkeypatch.setattr("mdm.commands.devices._PAGE", size)
        assert [line.split()[0] for line in run("list").splitlines()[1:]] == ids


def test_a_device_is_shown(database: Database, data_dir: Path, run: Callable[..., str]) -> None:
    """By its id, its device_id or its name, whatever its case; and how far it is on its way out."""
    public_id = enrol(
        database, data_dir, "DEV1", "Front desk", os_edition="Windows 11", os_version="10.0.26100.1"
    )
    page = run("show", public_id)
    assert page == run("show", "dev1") == run("show", "FRONT DESK")
    assert "state      enrolled\n" in page
    assert "Windows    Windows 11 10.0.26100.1\n" in page
    assert "last seen  never\n" in page
    assert "\n\n" not in page
    run("retire", public_id)
    assert "\n\nAsked to leave management on " in run("show", public_id)
    shown = json.loads(run("show", public_id, "--json"))
    assert (shown["state"], shown["departure"].split()[0]) == ("retiring", "Asked")
    assert "not said yet" in run("show", enrol(database, data_dir, "DEV2", "Other"))


def test_certificates_that_end(
    database: Database, data_dir: Path, run: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Found by their state, said on the page of the device, and in JSON."""
    enrol(database, data_dir, "DEV1", "Front desk")
    late = enrol(database, data_dir, "DEV2", "Workshop", certificate_required=True)
    now = utc_now()
    with database.write() as conn:
        conn.execute(
            insert(CertificateAuthority).values(
                id="ca_1", origin="created", root_der=b"r", sealed_key=b"k", created_at=now
            )
        )
        conn.execute(
            insert(IssuedCertificate).values(
                serial="ab" * 20,
                authority_id="ca_1",
                device_pk=device_pk(conn, late),
                subject="CN=x",
                sha256="0" * 64,
                thumbprint="0" * 40,
                issued_at=now,
                not_before=now,
                not_after=now + timedelta(days=10),
            )
        )
    assert [line.split()[0] for line in run("list", "--certificate", "ends_soon").splitlines()] == [
        "ID",
        late,
    ]
    assert run("list", "--certificate", "good").count("\n") == 1
    assert run("list", "--certificate", "ends_soon", "--state", "retiring").count("\n") == 1
    page = run("show", late)
    assert f"identity   certificate {'ab' * 20}\n" in page
    assert "\n\nIt ends on " in page
    assert json.loads(run("show", late, "--json"))["certificate"]["state"] == "ends_soon"
    assert "identity   its messages\n" in run("show", "DEV1")
    assert json.loads(run("show", "DEV1", "--json"))["certificate"] is None
    for option in ("--certificate", "--state"):
        with pytest.raises(SystemExit):
            run("list", option, "soon")
        assert "invalid choice: 'soon' (choose from '" in capsys.readouterr().err


def test_retired_and_kept(database: Database, data_dir: Path, run: Callable[..., str]) -> None:
    """The command line is in the audit trail, with the reason."""
    public_id = enrol(database, data_dir, "DEV1", "Front desk")
    assert run("retire", "DEV1", "--reason", "INC-1").startswith(
        f"Front desk ({public_id}) is retiring.\nAsked to leave management on "
    )
    kept = run("cancel-retirement", "DEV1")
    assert kept == f"Front desk ({public_id}) is enrolled.\nIt stays in management.\n"
    assert "is not being retired" in run("cancel-retirement", "DEV1", code=1)
    with database.read() as conn:
        entries = list_entries(conn, before=None, limit=2)
    assert [(each.actor, each.action) for each in entries] == [
        ("command-line", "device.retire_cancel"),
        ("command-line", "device.retire"),
    ]
    assert entries[1].detail["reason"] == "INC-1"


def test_counted_as_gone(database: Database, data_dir: Path, run: Callable[..., str]) -> None:
    """Once."""
    public_id = enrol(database, data_dir, "DEV1", "Front desk")
    answer = json.loads(run("retire", "DEV1", "--now", "--json"))
    assert (answer["id"], answer["state"]) == (public_id, "unenrolled")
    assert "without being told" in answer["departure"]
    assert "has left management already" in run("retire", "DEV1", code=1)


def test_deletion_wants_to_be_meant(database: Database, data_dir: Path, run: Callable[..., str]) -> None:
    """Without --yes nothing happens; with it what stays on the device is said."""
    public_id = enrol(database, data_dir, "DEV1", "Front desk", last_checkin_at=utc_now())
    assert "Retire it first" in run("delete", "DEV1", code=2)
    assert public_id in run("list")
    text = run("delete", "DEV1", "--yes")
    assert text.startswith(f"{public_id} is deleted.\nThe device was not told")
    assert public_id not in run("list")
    other = enrol(database, data_dir, "DEV2", "Other")
    assert run("delete", other, "--yes") == f"{other} is deleted.\n"
    third = enrol(database, data_dir, "DEV3", "Third")
    assert json.loads(run("delete", third, "--yes", "--json")) == {"id": third, "residual": None}


def test_a_part_of_a_name_sends_nobody_away(
    database: Database, data_dir: Path, run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a name that several have is no name for one of them."""
    first = enrol(database, data_dir, "DEV1", "Front desk")
    assert run("retire", "desk", code=1) == "csp-bridge: There is no device 'desk'.\n"
    second = enrol(database, data_dir, "DEV2", "Front desk")
    text = run("retire", "front desk", code=1)
    assert "may be any of these" in text
    assert f"{first}  DEV1  Front desk" in text
    assert f"{second}  DEV2  Front desk" in text
    assert "and more" not in text
    monkeypatch.setattr("mdm.commands.devices.MOST", 1)
    assert text.splitlines()[1] in run("show", "front desk", code=1)
    assert "and more" in run("show", "front desk", code=1)


@pytest.mark.parametrize("text", ["", "   ", "x" * 201, "a\nb", "a\x00b"])
def test_what_is_no_name_is_refused(run: Callable[..., str], text: str) -> None:
    """Before any database is asked."""
    with pytest.raises(SystemExit) as caught:
        run("show", text)
    assert caught.value.code == 2
