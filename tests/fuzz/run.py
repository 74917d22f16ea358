# ruff: noqa: T201 - a script that starts itself and talks to a person
"""Run the fuzz targets for a bounded time, or one of them with libFuzzer's own arguments.

    run.py --seconds 20             every target for 20 seconds; exit code 1 and the input if one fails
    run.py --target reader FILE     run one input again
    run.py --target reader -help=1  anything libFuzzer can do

What a run finds is kept in a scratch folder and forgotten, unless `--keep` names a folder.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from base64 import b64encode
from importlib import import_module
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
GOLDEN: Final = HERE.parent / "golden"
TARGETS: Final = ("client_cert", "pkcs7", "reader", "session", "snapshot")
MAX_LEN: Final = 16_384


def main() -> int:
    """Run what the arguments ask for; 0 when nothing was found."""
    if sys.argv[1:2] == ["--target"]:
        return _fuzz(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(description="Fuzz the protocol for a bounded time.")
    parser.add_argument("--seconds", type=int, default=20, help="for each target (20)")
    parser.add_argument("--keep", type=Path, help="folder for inputs worth keeping, one folder a target")
    arguments = parser.parse_args()
    failed = [target for target in TARGETS if not _bounded(target, arguments.seconds, arguments.keep)]
    return 1 if failed else 0


def _bounded(target: str, seconds: int, keep: Path | None) -> bool:
    """One target in a process of its own, so that a crash of the interpreter is seen too."""
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        found = scratch / "corpus" if keep is None else keep / target
        found.mkdir(parents=True, exist_ok=True)
        seeds = [str(folder) for folder in (HERE / "corpus" / target, GOLDEN) if folder.is_dir()]
        options = (f"-max_total_time={seconds}", f"-max_len={MAX_LEN}", "-timeout=10", "-rss_limit_mb=1024")
        command = [sys.executable, __file__, "--target", target, *options, f"-artifact_prefix={scratch}/"]
        done = subprocess.run([*command, str(found), *seeds], capture_output=True, text=True, check=False)
        lines = done.stderr.splitlines()
        if done.returncode == 0:
            print(f"{target}: {_summary(lines)}")
            return True
        print(f"{target}: FAILED", *(done.stdout + done.stderr).splitlines()[-40:], sep="\n")
        for path in sorted(scratch.iterdir()):
            if path.is_file():
                print(
                    f"reproduce: echo {b64encode(path.read_bytes()).decode()} | base64 -d >/tmp/{path.name}"
                )
                print(
                    f"           python {Path(__file__).relative_to(HERE.parents[1])} --target {target} /tmp/{path.name}"
                )
        return False


def _summary(lines: list[str]) -> str:
    """`N runs in S seconds, C branches covered`, out of libFuzzer's last lines."""
    done = next((line for line in reversed(lines) if line.startswith("Done ")), "no runs")
    covered = re.findall(r"\bcov: (\d+)", "\n".join(lines))
    return f"{done.removeprefix('Done ')}, {covered[-1] if covered else '?'} edges covered"


def _fuzz(target: str, arguments: list[str]) -> int:
    """Hand the target to libFuzzer; it ends the process itself."""
    import atheris  # noqa: PLC0415 - the suite runs the targets where it is not installed

    sys.path.insert(0, str(HERE))
    sys.path.insert(0, str(HERE.parents[1]))
    with atheris.instrument_imports(include=["syncml", "csp", "mdm.tls", "mdm.ca"]):
        module = import_module(f"fuzz_{target}")
    shapes = import_module("shapes")

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        # blind bytes rarely pass the grammar; only now and then are they what is wanted
        changed = shapes.mutate(data, max_size, seed) if seed % 4 else None
        return bytes(atheris.Mutate(data, max_size)) if changed is None else changed

    atheris.Setup([f"fuzz_{target}", *arguments], module.run, custom_mutator=mutate)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
