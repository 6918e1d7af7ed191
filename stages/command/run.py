"""Everything that is not done yet: DVC's `dvc repro` with an estimate, a line for each stage, and the figures at the end.

    people run                      the whole pipeline
    people run report@dmt           what one page needs
    people run --force train@reid   what is done already, once more
    people run --jobs 4             what does not depend on each other, such as the systems, four at a time

Arguments are those of `dvc repro` (its own help: dvc repro --help). The output of every stage is kept in .state/run.log.
Ctrl-C ends a run; the same command goes on where it was. Side by side each stage has its share of the cores
(OMP_NUM_THREADS and PEOPLE_PROCESSES, unless they are set), and on another number of threads a training ends with other last
digits.
"""

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence

from stages.command import estimate, headlines, plan
from stages.command.plan import NotPlanned
from stages.command.reproduction import REPORTS, Chain, Reproduction, Stopped, command_line, side_by_side_s
from stages.command.screen import Screen, roughly
from stages.configure import refuse_old_keys
from stages.shared.executors import PROCESSES, available_cores
from stages.shared.project import PARAMS, argument_parser, params, state

LOG = "run.log"
AUTO = "auto"
THREADS = "OMP_NUM_THREADS"  # variable of the environment
MEMORY_OF_A_JOB = 3 * 2**30  # bytes: more than any stage takes at the default sizes
WORTH_MEASURING_S = 60.0  # a run that is shorter does not wait for the measurement of the machine's speed


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--jobs", default="1", help="how many stages at a time, where they do not depend on each other, or auto"
    )
    options, arguments = parser.parse_known_args()
    if options.jobs != AUTO and not (options.jobs.isdecimal() and int(options.jobs)):
        parser.error(f"--jobs is {options.jobs}; it must be a number from 1, or {AUTO}")
    if options.jobs != "1" and (others := [argument for argument in arguments if argument.startswith("-")]):
        parser.error(f"--jobs goes with names of stages, not with {' '.join(others)}")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        sys.exit(run(arguments, options.jobs))
    except NotPlanned as refused:
        print(f"{refused}\n\nCorrect what it names, then run the same command again: {command_line(arguments, options.jobs)}")
        sys.exit(refused.code)
    except Stopped as stopped:
        print(f"\nstopped; what is done stays done. To go on: {command_line(arguments, options.jobs)}")
        sys.exit(128 + stopped.number)


def run(arguments: Sequence[str], jobs: str = "1") -> int:
    """Run `dvc repro` with these arguments, or several of it at a time, and show it: DVC's exit code."""
    screen = Screen()
    most = most_jobs() if jobs == AUTO else int(jobs)
    with estimate.measuring() as measured:  # begun while DVC looks for what there is to do
        planned = plan.make(arguments)
        refuse_old_keys(PARAMS, params())
        count = max(1, min(most, len(planned.segments)))
        shares = shares_of(count)
        estimates = estimates_of(planned, count, shares, measured)
    chains = chains_of(planned, arguments, estimates, count)
    announce(planned, chains, count, screen)
    with state(LOG).open("w") as log:
        log.write("".join(f"# dvc repro {' '.join(chain.arguments)}\n" for chain in chains))
        code = Reproduction(chains, count, screen, log, shares).run()
    if code:
        print(
            f"\nIt ended with an error, shown above; all output is in {state(LOG)}. What is done stays done: correct what it "
            f"names, then run the same command again: {command_line(arguments, jobs)}"
        )
        return code
    for line in summary():
        print(line)
    return 0


def most_jobs() -> int:
    """As many as there are cores, and as the free memory is enough for."""
    import psutil

    return min(available_cores(), int(psutil.virtual_memory().available / MEMORY_OF_A_JOB))


def shares_of(jobs: int) -> dict[str, str]:
    """What tells each of so many stages at a time its share of the cores, for threads and for processes, where nobody has."""
    share = str(max(1, available_cores() // jobs))
    return {name: share for name in (THREADS, PROCESSES) if jobs > 1 and name not in os.environ}


def estimates_of(
    planned: plan.Plan, jobs: int, shares: Mapping[str, str], measured: Callable[[], dict[str, float]]
) -> dict[str, float]:
    """The seconds of each stage on this machine, of which each of so many at a time has its share."""
    settings = params()
    estimates = estimate.seconds(planned.to_run, settings)
    if sum(estimates.values()) > WORTH_MEASURING_S:
        speed = measured()
        share = {"cores": max(1.0, speed["cores"] / jobs), "threads": int(shares.get(THREADS, speed["threads"]))}
        estimates = estimate.seconds(planned.to_run, settings, speed | share)
    return estimates


def chains_of(planned: plan.Plan, arguments: Sequence[str], estimates: Mapping[str, float], jobs: int) -> list[Chain]:
    """What runs: all of it in DVC's order, or the segments of the plan, each after those that it needs."""
    if jobs == 1:
        return [Chain(arguments, estimates)]
    chains: list[Chain] = []
    for segment in planned.segments:
        own = {stage: estimates[stage] for stage in segment.stages}
        chains.append(Chain(["--single-item", *segment.stages], own, [chains[place] for place in segment.after]))
    return chains


def announce(planned: plan.Plan, chains: Sequence[Chain], jobs: int, screen: Screen) -> None:
    """Say what will run and how long that takes here."""
    done = f"; {planned.done} are done already" if planned.done else ""
    if not planned.to_run:
        screen.line(f"nothing to do{done}")
        return
    stages = f"{len(planned.to_run)} stage{'s' * (len(planned.to_run) > 1)} to run{done}"
    at_a_time = f", {jobs} at a time" if jobs > 1 else ""
    expected_s = side_by_side_s(chains, jobs)
    screen.line(f"{stages}{at_a_time}: {roughly(expected_s)} on this machine, if it has nothing else to do")
    official = [key for key, block in params().get("datasets", {}).items() if block.get("source") == "official"]
    if read := [key for key in official if f"ingest@{key}" in planned.to_run]:
        screen.line(f"(without what the official archives of {', '.join(read)} take, whose size is not known yet)")


def summary() -> list[str]:
    """The main figure of every system, and where the report is."""
    page = REPORTS / "index.html"
    lines = headlines.table(list(params().get("systems", {})))
    if page.is_file():
        lines += ["", f"report: {page.resolve()}   (people report --open)"]
    return ["", *lines] if lines else []


def _stop(number: int, _: object) -> None:
    raise Stopped(number)


if __name__ == "__main__":
    main()
