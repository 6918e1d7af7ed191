"""The flow that answers who is in a video, with the champions of the registry."""

import json
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from pydantic import Field

from pipelines import commands, names
from pipelines.flows import failed
from pipelines.parameters import Seconds

MAX_PATH_CHARS = 4096
RESULTS = "results.json"  # as stages/identify.py writes it

Text = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=MAX_PATH_CHARS)]
GalleryName = Annotated[str, Field(pattern=r"^([A-Za-z0-9_][A-Za-z0-9_-]{0,99})?$")]


@flow(flow_run_name=names.identification_title)
def identify(video: Text, gallery: GalleryName = "", out: Text = "", seconds: Seconds = 0.0) -> str | State[Any]:
    """Find and describe the people in a video file, a folder of images or before a camera, in this workspace.

    The path of the folder with the results is returned. A source that ends early fails the run; what was seen before is there.

    Args:
        video: A video file, a folder of images, or the address of a camera, as the worker's machine reaches it.
        gallery: The gallery of enrolled people with whom each track is compared; empty: people are described, not recognised.
        out: The folder for the results; empty: a new one in identified/.
        seconds: How much of the source is looked at; 0: all of it.
    """
    folder = Path(out or f"identified/{flow_run.id}")
    options = [
        f"--out={folder}",
        *([f"--gallery={gallery}"] if gallery else []),
        *([f"--seconds={seconds}"] if seconds else []),
    ]
    try:
        commands.run(["python", "-m", "stages.identify", *options, "--", video], get_run_logger().info)
    except commands.Failed as error:
        if "what was seen before is in" in str(error):
            create_artifacts(folder)
        return failed(error)
    create_artifacts(folder)
    return str(folder)


def create_artifacts(folder: Path) -> None:
    """A table of the tracks, and where the page is."""
    results = json.loads((folder / RESULTS).read_text())
    rows = [
        {
            "track": card["track"],
            "seconds": f"{card['start_s']:.1f} to {card['end_s']:.1f}",
            "who": (card["identity"] or {}).get("name") or "",
            "told": ", ".join(f"{each['name']}: {each['value']}" for told in card["attributes"].values() for each in told),
        }
        for card in results["cards"]
    ]
    create_table_artifact(rows, key="tracks", description=f"The people in {results['source']}")
    create_markdown_artifact(
        f"The page: `{(folder / 'index.html').resolve()}`", key="page", description="On the worker's machine"
    )
