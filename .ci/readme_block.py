# ruff: noqa: INP001 - a script, not a package
"""Print the n-th `sh` block of README.md, so that CI runs what a reader would type."""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def main() -> None:
    """Print block `sys.argv[1]`, counted from 1; fails when there is none."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    sys.stdout.write(blocks[int(sys.argv[1]) - 1])


if __name__ == "__main__":
    main()
