"""Every archive as it may lie on a disk is read whole, or refused by an error that names the fault."""

import re
from pathlib import Path

import pytest

from tests import wild

CASES = [(layout, variation) for layout in wild.LAYOUTS for variation in wild.VARIATIONS]


@pytest.mark.parametrize(("layout", "variation"), CASES, ids=[": ".join(case) for case in CASES])
def test_an_archive_is_read_whole_or_refused_with_the_reason(tmp_path: Path, layout: str, variation: str):
    described, changed = wild.LAYOUTS[layout], wild.VARIATIONS[variation]
    outcome = wild.read(wild.build(tmp_path, described, changed), described)
    if changed.error:
        assert re.match(rf"ValueError: .*{changed.error}", outcome.error, re.DOTALL), outcome
    else:
        assert outcome[:2] == (described.clips, described.clips), outcome
        assert re.search(changed.unread, " ".join(outcome.unread)), outcome
        assert bool(outcome.unread) == bool(changed.unread)
