"""Plain-text tables."""

from __future__ import annotations

import pytest

from mdm.lab.tables import render_table


def test_columns_are_as_wide_as_they_need() -> None:
    """Two blanks between columns, a rule under the header, nothing behind the last cell."""
    table = render_table(("NAME", "N", "WHY"), [("a", "10", "because"), ("longer", "", "")])
    assert table.splitlines() == [
        "NAME    N   WHY",
        "------  --  -------",
        "a       10  because",
        "longer",
    ]


def test_the_last_column_wraps() -> None:
    """A long last cell goes on below itself, within the width."""
    table = render_table(("A", "WHY"), [("x", "word " * 20)], width=40)
    lines = table.splitlines()
    assert max(map(len, lines)) <= 40
    assert lines[3].startswith("   word")
    assert " ".join(" ".join(lines[2:]).split()) == "x " + " ".join(["word"] * 20)


def test_the_last_column_keeps_some_room() -> None:
    """Wide first columns do not squeeze the last one to nothing."""
    table = render_table(("A", "WHY"), [("x" * 60, "word " * 10)], width=40)
    assert table.splitlines()[2].endswith("word word word word word")


def test_a_row_has_as_many_cells_as_the_header() -> None:
    """Anything else is a mistake of the caller."""
    with pytest.raises(ValueError, match="cells"):
        render_table(("A", "B"), [("a",)])
