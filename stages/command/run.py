"""Everything that is not done yet: DVC's `dvc repro` with an estimate, a line for each stage, and the figures at the end.

    people run                      the whole pipeline
    people run report@dmt           what one page needs
    people run --force train@reid   what is done already, once more

Arguments are those of `dvc repro` (its own help: dvc repro --help). The output of every stage is kept in .state/run.log. Ctrl-C
ends a run; the same command goes on where it was.
"""

import signal
import sys
from collections.abc import Sequence

from stages.command import estimate, headlines, plan
from stages.command.plan import NotPlanned
from stages.command.reproduction import REPORTS, Reproduction, Stopped, command_line
from stages.command.screen import Screen, roughly
from stages.shared.project import argument_parser, params, state

LOG = "run.log"
WORTH_MEASURING_S = 60.0  # a run that is shorter is not worth the seconds that measuring the machine takes


def main() -> None:
    _, arguments = argument_parser(__doc__).parse_known_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        sys.exit(run(arguments))
    except NotPlanned as refused:
        print(f"{refused}\n\nCorrect what it names, then run the same command again: {command_line(arguments)}")
        sys.exit(refused.code)
    except Stopped as stopped:
        print(f"\nstopped; what is done stays done. To go on: {command_line(arguments)}")
        sys.exit(128 + stopped.number)


def run(arguments: Sequence[str]) -> int:
    """Run `dvc repro` with these arguments, and show it: DVC's exit code."""
    planned, screen = plan.make(arguments), Screen()
    estimates = announce(planned, screen)
    with state(LOG).open("w") as log:
        log.write(f"# dvc repro {' '.join(arguments)}\n")
        code = Reproduction(arguments, estimates, screen, log).run()
    if code:
        print(
            f"\nIt ended with an error, shown above; all output is in {state(LOG)}. What is done stays done: correct what it "
            f"names, then run the same command again: {command_line(arguments)}"
        )
        return code
    for line in summary():
        print(line)
    return 0


def announce(planned: plan.Plan, screen: Screen) -> dict[str, float]:
    """Say what will run and how long that takes here; the seconds of each stage."""
    done = f"; {planned.done} are done already" if planned.done else ""
    if not planned.to_run:
        screen.line(f"nothing to do{done}")
        return {}
    settings = params()
    estimates = estimate.seconds(planned.to_run, settings)
    if sum(estimates.values()) > WORTH_MEASURING_S:
        estimates = estimate.seconds(planned.to_run, settings, estimate.measure())
    stages = f"{len(planned.to_run)} stage{'s' * (len(planned.to_run) > 1)} to run{done}"
    screen.line(f"{stages}: {roughly(sum(estimates.values()))} on this machine, if it has nothing else to do")
    official = [key for key, block in settings.get("datasets", {}).items() if block.get("source") == "official"]
    if read := [key for key in official if f"ingest@{key}" in estimates]:
        screen.line(f"(without what the official archives of {', '.join(read)} take, whose size is not known yet)")
    return estimates


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
