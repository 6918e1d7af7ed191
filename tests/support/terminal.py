"""Commands typed in a terminal: programs that ask questions there, and nowhere else, are seen to ask."""

import os
import pty
import select
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path


def typed(command: str, folder: Path, environment: Mapping[str, str], within_s: float = 300) -> tuple[int, str]:
    """Run a line of shell with a pseudo-terminal as input and output, on which nobody answers: exit code and output."""
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        ["sh", "-c", command], cwd=folder, env=dict(environment), stdin=end, stdout=end, stderr=end, start_new_session=True
    )
    os.close(end)
    output, deadline = b"", time.monotonic() + within_s
    try:
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.2)[0]:
                try:
                    output += os.read(terminal, 65536)
                except OSError:  # every process that had the other end has ended
                    break
            elif process.poll() is not None:
                break
        else:
            process.kill()
        return process.wait(timeout=30), output.decode(errors="replace")
    finally:
        process.kill()
        os.close(terminal)
