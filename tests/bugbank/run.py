"""Put each bug of the bank back into a copy of the project and demand that its test, green before, turns red.

python tests/bugbank/run.py [NAME..]
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

BANK = Path(__file__).parent
ROOT = BANK.parents[1]


def bugs() -> list[Path]:
    """The patches, in order of their numbers."""
    return sorted(BANK.glob("*.patch"))


def test_of(patch: Path) -> str:
    """The test that must turn red, as pytest names it. Raises ValueError for a patch that names none."""
    found = re.search(r"^turns red: (\S+)$", patch.read_text(), re.MULTILINE)
    if not found:
        raise ValueError(f"{patch.name}: no line 'turns red: TEST'")
    return found[1]


def turns_red(patch: Path) -> bool:
    """Whether the test passes without the bug and fails with it: pytest's exit codes 0 and 1, no others."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in listed.split("\0")[:-1]:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
        before = exit_code(test_of(patch), folder)
        subprocess.run(["git", "apply", str(patch)], cwd=folder, check=True)
        return (before, exit_code(test_of(patch), folder)) == (0, 1)


def exit_code(test: str, folder: str) -> int:
    """pytest's, of one test in a copy of the project."""
    environment = {**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    options = ("-n", "0", "-q", "-x", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", *options, test]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False).returncode


def main() -> int:
    chosen = [patch for patch in bugs() if not sys.argv[1:] or patch.stem in sys.argv[1:]]
    survivors = []
    for patch in chosen:
        red = turns_red(patch)
        print(f"{'red' if red else 'NOT TURNED':<12}{patch.stem}", flush=True)
        survivors += [] if red else [patch]
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} bugs are found")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
