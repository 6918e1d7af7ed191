"""`people run` on a small project of its own, with the real DVC: what it shows, what it keeps, how it ends."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from terminal import typed

from stages.command import plan
from stages.command.output import Outcome, Reader, read
from stages.command.plan import Plan, Segment
from stages.command.reproduction import in_order, lines_of, side_by_side_s, urgencies
from stages.command.run import chains_of
from stages.command.screen import duration, roughly

STAGES = """
stages:
  count:
    foreach: {a: 1}
    do: {cmd: python count.py, deps: [count.py], outs: [data/count]}
  judge:
    foreach: {a: 1}
    do: {cmd: python judge.py, deps: [judge.py, data/count], outs: [data/judged]}
  report:
    foreach: {a: 1}
    do: {cmd: python page.py, deps: [page.py, data/judged], outs: [data/report/a]}
"""
COUNT = """import stages, time
from tqdm import tqdm
for _ in tqdm(range(5), desc="counting", mininterval=0):
    time.sleep(0.05)
open("data/count", "w").write("5")
print("a: 5 things counted")
"""
JUDGE = """import sys
print("a table")
print("a: judged, 1 warning of it")
print("Warning: this is shown too")
print("  with this")
print("UserWarning: of a library")
open("data/judged", "w").write("ok")
"""
FAILING = """import sys
print("what was read before")
raise ValueError("expected 3 things, got 5; count again")
"""
PAGE = """import os
os.makedirs("data/report/a")
open("data/report/a/index.html", "w").write("page")
"""
REPORT = """import sys
assert sys.argv[1:] == ["--index"]
open("data/report/index.html", "a").write("front page\\n")
"""
HEADLINE = [
    {"name": "rank1", "title": "Rank-1", "value": 0.854, "low": 0.75, "high": 0.95, "baseline": 0.5,
     "baseline_title": "nearest neighbour", "unit": "%", "better": "higher"},
]  # fmt: skip


@pytest.fixture
def project(root: Path, tmp_path: Path) -> Path:
    """Three stages, the second of which reads the first's output; the commands are this project's."""
    shutil.copytree(root / "stages", tmp_path / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "people").mkdir()
    (tmp_path / "data/metrics/a").mkdir(parents=True)
    (tmp_path / "params.yaml").write_text("seed: 1\nsystems: {a: {}}\n")
    (tmp_path / "dvc.yaml").write_text(STAGES)
    (tmp_path / "data/metrics/a/headline.json").write_text(json.dumps(HEADLINE))
    programs = {"count": COUNT, "judge": JUDGE, "page": PAGE, "stages/report": REPORT}
    for name, program in programs.items():
        (tmp_path / f"{name}.py").write_text(program)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    (tmp_path / ".dvc").mkdir()
    return tmp_path


def environment(**variables: str) -> dict[str, str]:
    own = ("PEOPLE_PROGRESS", "TQDM_DISABLE", "PEOPLE_STATE", "PYTHONPATH")
    return {key: value for key, value in os.environ.items() if key not in own} | variables


def people_run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stages", "run", *arguments]
    return subprocess.run(command, cwd=project, env=environment(), capture_output=True, text=True, timeout=120)


def test_a_run_says_what_each_stage_made_and_ends_with_the_figures(project: Path):
    done = people_run(project)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("3 stages to run: about ")
    assert lines[1].startswith("[1/3] count@a ")
    assert lines[1].endswith(" s  5 things counted")
    assert lines[2].endswith("judged, 1 warning of it")
    assert [line.strip() for line in lines[3:5]] == ["Warning: this is shown too", "with this"]
    assert lines[5].startswith("[3/3] report@a")
    assert "a table" not in done.stdout
    assert "of a library" not in done.stdout
    assert [line.split() for line in lines[-4:-2]] == [
        ["system", "figure", "value", "(interval)", "baseline"],
        ["a", "Rank-1", "85.4", "%", "(75.0", "\N{EN DASH}", "95.0)", "50.0", "%", "(nearest", "neighbour)"],
    ]
    assert lines[-1].startswith(f"report: {project}/data/report/index.html")
    assert (project / "data/report/index.html").read_text() == "front page\n", "made once: one page changed once"
    log = (project / ".state/run.log").read_text()
    assert "a table" in log
    assert "# count@a: " in log
    again = people_run(project)
    assert again.stdout.startswith("nothing to do; 3 are done already")
    assert (project / "data/report/index.html").read_text() == "front page\n", "no page changed"


def test_without_a_terminal_no_bar_is_drawn(project: Path):
    done = people_run(project, "count@a")
    assert "\r" not in done.stdout + done.stderr + (project / ".state/run.log").read_text()
    assert "counting" not in done.stdout + done.stderr


def test_on_a_terminal_bars_pass_through_with_the_time_left(project: Path):
    code, output = typed(f"{sys.executable} -m stages run count@a", project, environment(), within_s=120)
    assert code == 0, output
    assert "s left" in output
    assert "counting: " in output
    assert output.replace("\r\n", "\n").rpartition("\r\x1b[K")[2].startswith("[1/1] count@a"), "the bar is gone at the end"


def test_a_failing_stage_shows_its_error_and_how_to_go_on(project: Path):
    (project / "judge.py").write_text(FAILING)
    done = people_run(project)
    assert done.returncode == subprocess.run(["dvc", "repro"], cwd=project, env=environment(), capture_output=True).returncode
    for text in ("what was read before", "Traceback", "ValueError: expected 3 things, got 5; count again", "judge@a  failed"):
        assert text in done.stdout
    assert "failed to reproduce 'judge@a'" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("run the same command again: people run")
    assert "page" not in done.stdout
    (project / "judge.py").write_text(JUDGE)
    after = people_run(project)
    assert after.returncode == 0
    assert after.stdout.startswith("2 stages to run; 1 are done already")
    assert "count@a" not in after.stdout


def test_arguments_are_those_of_dvc_repro(project: Path):
    assert people_run(project, "judge@a").stdout.startswith("2 stages to run")
    assert people_run(project, "judge@a").stdout.startswith("nothing to do; 2 are done already")
    once_more = people_run(project, "--force", "--single-item", "count@a")
    assert once_more.stdout.splitlines()[1].startswith("[1/1] count@a")
    unknown = people_run(project, "cuont@a")
    assert unknown.returncode == 255
    assert "'cuont@a'" in unknown.stdout
    assert unknown.stdout.splitlines()[-1].endswith("people run cuont@a")
    assert people_run(project, "--foce").returncode == 254


def stopped(
    folder: Path, number: signal.Signals, is_begun: Callable[[psutil.Process], object], *arguments: str
) -> list[psutil.Process]:
    """What `people run` had started when it got a signal, sent once it has begun; all of that has ended with it."""
    command = [sys.executable, "-m", "stages", "run", *arguments]
    process = subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True)
    started, until_s = psutil.Process(process.pid), time.monotonic() + 60
    try:
        while not is_begun(started) and time.monotonic() < until_s:
            time.sleep(0.05)
        children = started.children(recursive=True)
        process.send_signal(number)
        printed, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + number
    again = " ".join(("people run", *arguments))
    assert printed.splitlines()[-1] == f"stopped; what is done stays done. To go on: {again}"
    assert psutil.wait_procs(children, timeout=20)[1] == []
    return children


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_with_its_stages(project: Path, number: signal.Signals):
    (project / "judge.py").write_text("import time\nprint('begun', flush=True)\ntime.sleep(300)\n")
    log = project / ".state/run.log"
    assert len(stopped(project, number, lambda _: log.is_file() and "begun" in log.read_text())) >= 2


def pieces(*chunks: bytes) -> Iterator[tuple[str, bool]]:
    """What is read from a pipe into which these chunks come."""
    end, begin = os.pipe()
    with os.fdopen(end, "rb") as pipe:
        texts = read(pipe)
        for chunk in chunks:
            os.write(begin, chunk)
            time.sleep(0.05)
        os.close(begin)
        yield from ((text.text, text.is_bar) for text in texts if text.text)


MEETING = """import sys, time
from pathlib import Path
one, other = sys.argv[1:]
Path(f"seen-{one}").touch()
until_s = time.monotonic() + 60
while not Path(f"seen-{other}").exists():
    assert time.monotonic() < until_s, "the other one does not run"
    time.sleep(0.05)
Path(f"met-{one}").write_text("met")
print(f"{one}: met {other}")
"""


@pytest.fixture
def two(project: Path) -> Path:
    """Two stages, each of which waits for the other one to run, and one that reads what the first has made."""
    (project / "meet.py").write_text(MEETING)
    (project / "dvc.yaml").write_text(
        "stages:\n"
        "  meeta: {cmd: python meet.py a b, deps: [meet.py], outs: [met-a]}\n"
        "  meetb: {cmd: python meet.py b a, deps: [meet.py], outs: [met-b]}\n"
        "  after: {cmd: cp met-a after, deps: [met-a], outs: [after]}\n"
    )
    return project


def test_stages_that_do_not_depend_on_each_other_run_at_a_time(two: Path):
    done = people_run(two, "--jobs", "8")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("3 stages to run, 2 at a time: about ")
    ended = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("[")]
    assert sorted(ended) == ["after", "meeta", "meetb"]
    log = (two / ".state/run.log").read_text()
    assert {"meeta: a: met b", "meetb: b: met a"} <= set(log.splitlines())
    assert {"# dvc repro --single-item meeta after", "# dvc repro --single-item meetb"} <= set(log.splitlines())
    assert subprocess.run(["dvc", "status", "--quiet"], cwd=two, env=environment()).returncode == 0, "dvc.lock has both"
    assert people_run(two, "--jobs", "auto").stdout.startswith("nothing to do; 3 are done already")


def test_a_stage_that_fails_stops_what_comes_after_it_alone(two: Path):
    (two / "meet.py").write_text(MEETING + "sys.exit(one == 'a')\n")
    done = people_run(two, "--jobs", "2")
    assert done.returncode == 255
    assert "meeta  failed" in done.stdout
    assert "failed to reproduce 'meeta'" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("people run --jobs 2")
    assert (two / "met-b").exists()
    assert not (two / "after").exists()


def test_a_signal_ends_all_that_runs_at_a_time(two: Path):
    (two / "meet.py").write_text(MEETING + "time.sleep(300)\n")
    met = (two / "met-a", two / "met-b")
    assert len(stopped(two, signal.SIGINT, lambda _: all(path.exists() for path in met), "--jobs", "2")) >= 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_dvc_looks_ends_the_measurement_too(two: Path, number: signal.Signals):
    assert len(stopped(two, number, lambda process: process.children(), "--jobs", "2")) == 1
    assert not (two / "met-a").exists()


def test_jobs_are_refused_where_they_cannot_be(project: Path):
    for number in ("0", "-1", "two"):
        assert people_run(project, "--jobs", number).returncode == 2
    refused = people_run(project, "--jobs", "2", "--force")
    assert refused.returncode == 2
    assert "--jobs goes with names of stages, not with --force" in refused.stderr


def test_what_most_waits_for_runs_first_and_the_time_is_that_of_a_share_or_of_the_longest_path():
    seconds = {"ingest@a": 10.0, "flow@a": 5.0, "train@a": 50.0, "compare@a": 20.0, "report@a": 5.0, "ingest@b": 30.0}
    segments = [
        Segment(["ingest@a", "flow@a"], []), Segment(["train@a"], [0]), Segment(["compare@a"], [0]),
        Segment(["report@a"], [1, 2]), Segment(["ingest@b"], []),
    ]  # fmt: skip
    planned = Plan(list(seconds), 0, segments)
    assert [chain.arguments for chain in chains_of(planned, ["report@a"], seconds, 1)] == [["report@a"]]
    chains = chains_of(planned, [], seconds, 2)
    assert chains[0].arguments == ["--single-item", "ingest@a", "flow@a"]
    assert chains[3].after == [chains[1], chains[2]]
    assert list(urgencies(chains).values()) == [70.0, 55.0, 25.0, 5.0, 30.0]
    assert in_order(chains) == [chains[place] for place in (4, 0, 1, 2, 3)], "b has a page with 30 s of work, a with 90"
    assert side_by_side_s(chains, 1) == 120.0
    assert side_by_side_s(chains, 2) == 70.0


def test_the_plan_is_cut_where_stages_branch_and_join(project: Path, monkeypatch: pytest.MonkeyPatch):
    stages = {
        "ingest": "", "flow": "ingest", "train": "flow ingest", "compare": "flow", "judge": "train flow",
        "report": "ingest judge compare train",
    }  # fmt: skip
    (project / "dvc.yaml").write_text(
        "stages:\n"
        + "".join(
            f"  {name}: {{cmd: touch {name}-out, deps: [{', '.join(f'{one}-out' for one in needs.split()) or 'meet.py'}], "
            f"outs: [{name}-out]}}\n"
            for name, needs in stages.items()
        )
    )
    (project / "meet.py").touch()
    monkeypatch.chdir(project)
    planned = plan.make([])
    names = {
        tuple(segment.stages): {tuple(planned.segments[place].stages) for place in segment.after}
        for segment in planned.segments
    }
    assert names == {
        ("ingest", "flow"): set(),
        ("train", "judge"): {("ingest", "flow")},
        ("compare",): {("ingest", "flow")},
        ("report",): {("train", "judge"), ("compare",)},
    }
    assert sorted(planned.to_run) == sorted(stages)


def test_states_of_bars_are_told_from_lines():
    bar = b"\rflow:  50%|#####     | 1/2 [00:01<00:01,  1.00s/clip]"
    full = b"\rflow: 100%|##########| 2/2 [00:02<00:00,  1.00s/clip]"
    found = list(pieces(b"first\n", bar, full + b"\n", b"second\r\n", bar + b"\r      \rwritten above\n", b"la", b"st"))
    assert [text for text, is_bar in found if not is_bar] == ["first", "second", "written above", "last"]
    assert (bar.decode()[1:], True) in found
    assert (full.decode()[1:], True) in found


def test_the_reader_ends_a_stage_at_the_lock_file_or_at_the_next_stage():
    reader = Reader()
    lines = [
        "Running stage 'ingest@a':", "> python -m stages.ingest a", "> kept", "a: 5 clips", "Generating lock file 'dvc.lock'",
        "Updating lock file 'dvc.lock'", "Stage 'flow@a' is cached - skipping run, checking out outputs",
        "Running stage 'train@a':", "> python -m stages.train a", "some line", "ERROR: failed to reproduce 'train@a': no",
    ]  # fmt: skip
    outcomes = [outcome for second, line in enumerate(lines) if (outcome := reader.line(line, second))]
    assert outcomes == [
        Outcome("ingest@a", ["> kept", "a: 5 clips"], 4, False, False),
        Outcome("flow@a", [], 1, True, False),
        Outcome("train@a", ["some line"], 3, False, True),
    ]


def test_an_evaluation_is_shown_with_its_main_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/metrics/dmt").mkdir(parents=True)
    (tmp_path / "data/metrics/dmt/headline.json").write_text(json.dumps(HEADLINE))
    of_dvc = "WARNING: 'data/plots/dmt/ranking' is empty."
    outcome = Outcome("evaluate@dmt", ["dmt: the trained checkpoint", "", "a table", " 1 2", of_dvc], 12.3, False, False)
    first, second = lines_of(outcome, "[1/1]")
    assert first.split() == ["[1/1]", "evaluate@dmt", "12", "s", "the", "trained", "checkpoint"]
    expected = "Rank-1: 85.4 % (75.0 \N{EN DASH} 95.0), above the baseline (nearest neighbour: 50.0 %)"
    assert second.strip().replace("\N{NO-BREAK SPACE}", " ") == expected


def test_durations_and_estimates_in_words():
    assert [duration(seconds) for seconds in (0.4, 59, 125, 4800)] == ["0 s", "59 s", "2 min 05 s", "1 h 20 min"]
    estimates = ["about 10 s", "about 40 s", "about 12 minutes", "about 3 hours"]
    assert [roughly(seconds) for seconds in (3, 44, 720, 10800)] == estimates
