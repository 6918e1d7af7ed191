"""One HTML page per system, its results beside those of the paper, and a front page over all systems.

python -m stages.report dmt      writes data/report/dmt/ and makes the front page, data/report/index.html, again
python -m stages.report --index  makes the front page from the reports that are there
python -m stages.report --open   the same, and opens it in a browser
python -m stages.report --where  prints the paths of the reports and the results
"""

import argparse
import json
import webbrowser
from pathlib import Path
from typing import Any

from stages.reporting import front_page, system_page
from stages.shared.project import output, params


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("system", nargs="?", help="one of the systems in params.yaml")
    wanted.add_argument("--index", action="store_true", help="make the front page from the reports that are there")
    wanted.add_argument("--open", action="store_true", help="make the front page and open it in a browser")
    wanted.add_argument("--where", action="store_true", help="print the paths of the reports and the results")
    arguments = parser.parse_args()
    if arguments.where:
        print_paths()
    elif arguments.system:
        write(arguments.system)
    else:
        page = front_page.write(params("systems")).resolve()
        print(f"the front page: {page}")
        if arguments.open and not webbrowser.open(page.as_uri()):
            raise SystemExit(f"no browser was found; open {page} by hand")


def write(system: str) -> None:
    """Write the report of one system and the front page, and log the page to MLflow."""
    params("systems", system)
    page = system_page.build(system, params())
    with output(Path("data/report", system)) as folder:
        folder.mkdir()
        system_page.write(page, folder)
    front_page.write(params("systems"))
    log_page(Path("data/report", system, "index.html"), json.loads(Path("data/registry", f"{system}.json").read_text()))


def log_page(page: Path, entry: dict[str, Any]) -> None:
    """Log the page to the run in MLflow that registered the version; a run that is not in this database is told."""
    from mlflow.exceptions import MlflowException  # the import takes a second

    from stages.tracking import runs

    client, _ = runs.connect(entry["model"])
    try:
        client.log_artifact(entry["run_id"], str(page))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        print(f"the report is not in MLflow: its database has no run {entry['run_id']} (docs/registry.md)")


def print_paths() -> None:
    """Print the paths of the front page, and of each system's report, results and model."""
    print(f"all systems: {Path(front_page.REPORT, 'index.html').resolve()}  (or: python -m stages.report --open)")
    for system in params("systems"):
        print(f"\n{system}: report    {Path('data/report', system, 'index.html').resolve()}")
        print(f"{' ' * len(system)}  results   {Path('data/metrics', system).resolve()}  (or: dvc metrics show)")
        print(f"{' ' * len(system)}  model     {Path('data/models', system, 'checkpoint.pt').resolve()}")
    print("\nsearch of task weights: make dashboard")


if __name__ == "__main__":
    main()
