"""Real bugs, each with the test that finds it: the patches fit the code, and (slowly) each test turns red."""

from __future__ import annotations

import re
import subprocess

import pytest
from bugbank.run import ROOT, bugs, test_of, turns_red

test_of.__test__ = False  # not one of pytest's


@pytest.mark.parametrize("patch", bugs(), ids=lambda patch: patch.stem)
def test_a_patch_fits_and_names_its_test(patch):
    done = subprocess.run(
        ["git", "apply", "--check", str(patch)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    file, _, name = test_of(patch).partition("::")
    assert re.search(rf"^def {name or 'test_'}", (ROOT / file).read_text(), re.MULTILINE)


def test_the_bank_is_full():
    assert len(bugs()) >= 24


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("patch", bugs(), ids=lambda patch: patch.stem)
def test_a_bug_is_found(patch):
    assert turns_red(patch)
