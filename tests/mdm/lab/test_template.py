"""Documents made from a template: the same text as a revision rendered by itself."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mdm.lab.documents import File, Revision, Text, render
from mdm.lab.template import CREATED, SHA1, SHA256, SIZE, Template, hole

PATTERN = Revision(
    update_id=hole("id"),
    revision_number=200,
    update_type="Software",
    texts=(Text("en", f"Update {hole('kb')} & more"),),
    created=CREATED,
    publisher_id="p",
    max_download_size=SIZE,
    kb_articles=(hole("kb"),),
    files=(File("a.exe", SIZE, SHA1, SHA256, CREATED),),
)


def test_a_filled_template_is_what_rendering_gives() -> None:
    """Each hole gets its value, wherever it stands and however often; everything else is the renderer's."""
    made = datetime(2026, 11, 21, 12, 30, 1, 5000, UTC)
    file = File("a.exe", 77, b"\x01" * 20, b"\x02" * 32, made)
    revision = replace(
        PATTERN,
        update_id="x",
        texts=(Text("en", "Update 500 & more"),),
        created=made,
        max_download_size=77,
        kb_articles=("500",),
        files=(file,),
    )
    values = {
        "id": "x",
        "kb": "500",
        "created": "2026-11-21T12:30:01.005Z",
        "modified": "2026-11-21T12:30:01Z",
        "size": "77",
        "sha1": file.digest,
        "sha256": base64.b64encode(file.sha256).decode(),
    }
    assert Template(PATTERN).fill(values) == render(revision)


def test_a_hole_must_be_filled() -> None:
    """A value that was forgotten is an error and not an empty attribute."""
    with pytest.raises(KeyError, match="kb"):
        Template(PATTERN).fill(dict.fromkeys(("id", "created", "modified", "size", "sha1", "sha256"), ""))
