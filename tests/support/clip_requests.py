"""Raw pictures of a run's own test clips, and what the run's network says of the stores that the stages have made of them."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from people import checkpoints, datasets, systems
from people.config import build
from people.nn.inference import joined, over_split
from people.serving import raw_input
from people.storage.store import Store

BATCH_SIZE = 32
CLIPS = 3  # of the test split: the first, one in the middle, the last


class Run:
    """One system of a run in the current folder: the judged network, its stores, and how these were made."""

    def __init__(self, system: str, params: dict[str, Any]) -> None:
        block = params["systems"][system]
        self.system, self.dataset = system, datasets.find(block["dataset"])
        self.reads = {slot: Path(path) for slot, path in block["reads"].items()}
        self.checkpoint = Path(json.loads(Path("data/metrics", system, "selected.json").read_text())["checkpoint"])
        self.network, self.entries = checkpoints.load(self.checkpoint)
        self.recorded = raw_input.recorded(system, self.reads, self.entries["config"]["data"])

    def preparation(self) -> raw_input.Preparation:
        return raw_input.Preparation(self.network, self.entries, self.recorded.slots, self.recorded.files)

    def requests(self) -> list[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
        """Of some clips the raw pictures, and the numbers that the network gives of the stores."""
        if self.recorded.slots["frames"]["kind"] == "scenes":
            return self.of_scenes()
        serving: Any = systems.find(self.system, "serving")
        data, spec = systems.find(self.system, "data"), self.entries["spec"]
        config = build(data.Config, self.entries["config"]["data"])
        samples = data.open_samples(self.reads, config, "test", spec["tasks"])
        batches = over_split(self.network, samples, spec, self.entries["statistics"], BATCH_SIZE)
        said = serving.predictions(joined([outputs for outputs, _ in batches]))
        clip, rows = samples.targets(spec)["clip"].numpy(), samples.clips.to_dict("records")
        chosen = np.unique(np.linspace(0, len(rows) - 1, CLIPS).astype(int)).tolist()
        return [(self.raw(rows[each]), {name: values[clip == each] for name, values in said.items()}) for each in chosen]

    def raw(self, row: dict[str, Any]) -> dict[str, np.ndarray]:
        """The clip as a camera has seen it."""
        module: ModuleType = self.dataset
        frames = np.stack(list(module.frames(Path(row["root"]), row["frames"])))
        if self.recorded.slots["frames"]["kind"] == "crops":
            return {"photos": frames}
        if self.recorded.slots["frames"]["kind"] == "flow" or not isinstance(row.get("background"), str):
            return {"frames": frames}
        return {"frames": frames, "background": np.stack(list(module.background(Path(row["root"]), row["background"])))}

    def of_scenes(self) -> list[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
        serving, store = systems.find(self.system, "serving"), Store.open(self.reads["frames"])
        found = []
        for index in np.flatnonzero(store.clips["split"] == "test")[:CLIPS].tolist():
            row, image = store.clips.iloc[index], store.clip(index, "image").astype(np.float32) / 255
            photos = np.stack(list(self.dataset.frames(Path(row["root"]), row["frames"])))
            found.append(({"photos": photos}, serving.predict(self.network, self.entries["statistics"], {"image": image})))
        return found
