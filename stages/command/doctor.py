"""Whether this machine and this folder are ready for a run, and what to do where they are not.

    people doctor

Each line is ok, a warning (a run goes on, something is missing), or a problem (it does not), with a remedy. The exit code is
1 if there is a problem. Nothing is changed.
"""

import sys
from collections.abc import Callable, Iterable, Iterator

from stages.command import folder, machine
from stages.command.findings import PROBLEM, WARNING, Finding, problem
from stages.shared.project import argument_parser

Check = Callable[[], Iterator[Finding]]

CHECKS: dict[str, Check] = {
    "python": machine.python,
    "packages": machine.packages,
    "video": machine.video,
    "processor": machine.processor,
    "memory": machine.memory,
    "disk": machine.disk,
    "ports": machine.ports,
    "params.yaml": folder.parameters,
    "rights": folder.rights,
    "git": folder.repository,
    "databases": folder.databases,
    "leftovers": folder.leftovers,
}


def main() -> None:
    argument_parser(__doc__).parse_args()
    counts = {PROBLEM: 0, WARNING: 0}
    for finding in findings(CHECKS.items()):
        print("\n".join(finding.lines()), flush=True)
        if finding.status in counts:
            counts[finding.status] += 1
    print("\n" + ", ".join(f"{count} {status}{'s' * (count != 1)}" for status, count in counts.items()))
    sys.exit(1 if counts[PROBLEM] else 0)


def findings(checks: Iterable[tuple[str, Check]]) -> Iterator[Finding]:
    """What each check finds; one that cannot be made, as where a package does not load, is a problem itself."""
    for name, check in checks:
        try:
            yield from check()
        except (ImportError, OSError, ValueError) as error:
            yield problem(name, f"cannot be checked: {error}")


if __name__ == "__main__":
    main()
