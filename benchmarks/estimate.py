"""The table of stages/command/estimate.py, from a run of everything on a machine with nothing else to do.

    people run                       in a fresh clone, so that every stage runs
    python -m benchmarks.estimate    prints this machine's speed, and the table with the seconds of .state/run.log

A stage's seconds are those beside the fixed ones, of which a run says too little to renew them: compare what the table
estimates for `compare` and `tune`, printed below it, with what they took.
"""

import re

from stages.command import estimate
from stages.shared.project import params, state

LINE = re.compile(r"# (?P<stage>\w+@\w+): (?P<seconds>[0-9.]+) s")


def main() -> None:
    settings = params()
    with estimate.measuring() as measured:
        speed = measured()
    took = {found["stage"]: float(found["seconds"]) for found in LINE.finditer(state("run.log").read_text())}
    missing = [stage for stage in estimate.REFERENCE if stage not in took]
    if missing:
        raise SystemExit(f"{state('run.log')} has no time of {', '.join(missing)}; run everything in a fresh clone, then this")
    values = f"{speed['step_s']:.4f}, {speed['frame_s']:.5f}, {speed['cores']}, {speed['threads']}"
    print(f"STEP_S, FRAME_S, CORES, THREADS = {values}")
    for stage in estimate.REFERENCE:
        own_s = max(1.0, took[stage] - estimate.fixed_s(stage.partition("@")[0]))
        print(f'    "{stage}": Measured({own_s:.0f}, {estimate.size(stage, settings):.4g}),')
    print()
    for stage in (stage for stage in took if stage not in estimate.REFERENCE):
        system = stage.partition("@")[2]
        training_s = took[f"train@{system}"] - estimate.NETWORK_FIXED_S
        ratio = estimate.size(stage, settings) / estimate.size(f"train@{system}", settings)
        print(f"{stage}: took {took[stage]:.0f} s, estimated {estimate.NETWORK_FIXED_S + training_s * ratio:.0f} s")
    print(f"all {len(took)} stages: {sum(took.values()):.0f} s")


if __name__ == "__main__":
    main()
