"""Create the work pools and the deployments of prefect.yaml on the Prefect server at PREFECT_API_URL.

    python -m pipelines.deploy

Deployments that the server has already are updated; their schedules, and pools that it has, stay as they are.
"""

import argparse
import os
import sys
from contextlib import suppress
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists
from prefect.workers.process import ProcessWorker
from ruamel.yaml import YAML

CONFIGURATION = Path("prefect.yaml")
READ_BY_WORKERS = ("PEOPLE_WORKSPACE", "PEOPLE_REPOSITORY")  # when a run begins; in this process they would become fixed


def main() -> None:
    argparse.ArgumentParser(prog="python -m pipelines.deploy", description=(__doc__ or "").splitlines()[0]).parse_args()
    if not CONFIGURATION.is_file():
        sys.exit(f"no {CONFIGURATION} in {Path.cwd()}: run this in the project's root folder")
    create_pools()
    environment = {name: value for name, value in os.environ.items() if name not in READ_BY_WORKERS}
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    os.execve(sys.executable, command, environment)


def create_pools() -> None:
    """Create the pools that deployments name, of type `process`, where the server has none of that name."""
    deployments = YAML(typ="safe", pure=True).load(CONFIGURATION)["deployments"]
    template = ProcessWorker.get_default_base_job_template()
    with get_client(sync_client=True) as client:
        for name in sorted({deployment["work_pool"]["name"] for deployment in deployments}):
            with suppress(ObjectAlreadyExists):
                client.create_work_pool(WorkPoolCreate(name=name, type=ProcessWorker.type, base_job_template=template))


if __name__ == "__main__":
    main()
