"""Prints a table of what comes out of every archive."""

import tempfile
from pathlib import Path

from tests.wild import LAYOUTS, VARIATIONS, build, read

for name, layout in LAYOUTS.items():
    for title, variation in VARIATIONS.items():
        with tempfile.TemporaryDirectory() as folder:
            outcome = read(build(Path(folder), layout, variation), layout)
            unread = f", unread {', '.join(outcome.unread)}" if outcome.unread else ""
            counts = f"{outcome.valid} of {layout.clips} clips{unread}"
            print(f"{name:18} {title:38} {outcome.error.replace(folder, '') or counts}")
