"""How the tests are run."""

import sys

from conftest import ROOT, run


def test_the_tests_run_without_xdist_too():
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "--collect-only", "tests/stages/test_configure.py"]
    assert "test_configure.py::" in run(command, ROOT).stdout
