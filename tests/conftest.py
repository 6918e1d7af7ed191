"""Shapes in the library's signatures are checked while tests run; real recordings are found or their tests skipped."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

ROOT = Path(__file__).parent.parent
_hook = install_import_hook("people", "beartype.beartype")

os.environ.setdefault("DO_NOT_TRACK", "true")


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real recordings: $PEOPLE_REAL_DATA, or `shared/real` beside the checkout."""
    named = os.environ.get("PEOPLE_REAL_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "real"
    if not folder.is_dir():
        pytest.skip(f"no recordings of real people at {folder}; name their folder with PEOPLE_REAL_DATA")
    return folder
