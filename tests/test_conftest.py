"""How the tests are run."""

import re
import sys

from conftest import OF_SMALL_RUN, ROOT, run


def test_the_tests_run_without_xdist_too():
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "--collect-only", "tests/stages/test_configure.py"]
    assert "test_configure.py::" in run(command, ROOT).stdout


def test_every_file_that_needs_the_small_run_shares_it():
    asks = re.compile(r"def \w+\([^)]*\bsmall_run: Path")
    files = {path.name for path in ROOT.glob("tests/**/test_*.py") if asks.search(path.read_text())}
    assert files - {"test_torture.py"} == set(OF_SMALL_RUN)
