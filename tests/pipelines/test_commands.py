"""Commands as child processes: their output, their end, and which failures are retryable."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines import commands

PYTHON = [sys.executable, "-c"]


def test_lines_come_one_by_one_while_the_command_still_runs():
    times: list[float] = []
    lines = commands.run(
        [*PYTHON, "import time; print('first'); time.sleep(1); print('second')"], lambda _: times.append(time.monotonic())
    )
    assert lines == ["first", "second"]
    assert times[1] - times[0] > 0.5


def test_of_a_progress_bar_one_state_per_interval_is_kept():
    bar = "import sys\nfor i in range(1000): sys.stderr.write(f'\\r{i}/1000')\nsys.stderr.write('\\n')"
    lines = commands.run([*PYTHON, bar], lambda _: None)
    assert 1 <= len(lines) <= 3
    assert lines[-1] == "999/1000"


@pytest.mark.parametrize(
    "line",
    [
        "ERROR: Unable to acquire lock. Most likely another DVC process is running",
        "ERROR: failed to reproduce 'train@dmt': '/a/b' is busy, it is being blocked by:",
        "ERROR: unexpected error - [Errno 111] Connect call failed ('127.0.0.1', 2222)",
        "ERROR: failed to reproduce 'train@dmt': failed to run: python -m stages.train dmt, exited with -9",
        "ssh: Could not resolve hostname store: Temporary failure in name resolution",
        "fatal: Could not read from remote repository.",
        "sqlalchemy.exc.OperationalError: (psycopg2.OperationalError) connection to 127.0.0.1 failed: Connection refused",
        "ConnectionError: the Dask scheduler tcp://127.0.0.1:8786 was lost; see that it runs, then run the stage again",
    ],
)
def test_a_lock_an_unreachable_remote_and_a_killed_process_are_retryable(line: str):
    with pytest.raises(commands.Retryable, match="trying again can help"):
        commands.run([*PYTHON, f"import sys; print({line!r}); sys.exit(1)"], lambda _: None)


@pytest.mark.parametrize(
    "line",
    [
        "ValueError: training.epochs must be at least 1, got 0; correct params.yaml",
        "ERROR: failed to reproduce 'validate@tumgaid': failed to run: python -m stages.validate tumgaid, exited with 1",
        "data/raw is missing",
        "ValueError: the condition must be one of n, b, s, got 'timed out'; correct the label",
        "the recording of n01 timed out: Broken pipe, exited with -9",
    ],
)
def test_bad_data_and_bad_parameters_are_not_retryable(line: str):
    with pytest.raises(commands.Failed, match="will not help") as caught:
        commands.run([*PYTHON, f"import sys; print({line!r}); sys.exit(1)"], lambda _: None)
    assert not isinstance(caught.value, commands.Retryable)
    assert line in str(caught.value)


def test_what_a_stage_printed_before_its_mistake_does_not_make_it_retryable():
    output = [
        "TimeoutError: timed out",
        "During handling of the above exception, another exception occurred:",
        "KeyError: 'n07'",
    ]
    with pytest.raises(commands.Failed, match="will not help"):
        commands.run([*PYTHON, f"import sys; print({chr(10).join(output)!r}); sys.exit(1)"], lambda _: None)


def test_a_killed_command_is_retryable():
    with pytest.raises(commands.Retryable, match="killed by signal 9"):
        commands.run([*PYTHON, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"], lambda _: None)


def test_a_command_is_ended_when_the_log_function_raises():
    def watch(line: str) -> None:
        raise commands.Retryable(line)

    started = time.monotonic()
    with pytest.raises(commands.Retryable, match="end it here"):
        commands.run([*PYTHON, "import time; print('end it here'); time.sleep(60)"], watch)
    assert time.monotonic() - started < 10


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals a process when its parent ends")
def test_a_stage_ends_with_the_process_that_waits_for_it(root: Path):
    """The chain of a flow: an engine runs a shell as dvc does, the shell runs a stage; the engine is killed with SIGKILL."""
    stage = f"{sys.executable} -c 'import os, stages, time; print(os.getpid(), flush=True); time.sleep(60)'"
    engine = f"from pipelines import commands; commands.run(['sh', '-c', {stage!r}], lambda line: print(line, flush=True))"
    process = subprocess.Popen([sys.executable, "-c", engine], cwd=root, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    pid = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert _gone(pid, within_s=5)


def _gone(pid: int, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.1)
    return False
