"""Batches of silhouettes per second: from the packed store, and from one pickle file per sequence, as OpenGait keeps them.

python -m benchmarks.reader [--sequences 4000]

The same random sequences, the same frames of each: 8 x 8 clips of 30 frames, as uint8, not yet converted; no sequence is read
twice in a pass. "cold" drops the files from the page cache first, "warm" has read them all before; every figure is the median
of the batches of its pass.
"""

import argparse
import os
import pickle
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from people.storage.store import Field, Store, StoreWriter
from people.systems.gaittake.data import padded

HEIGHT, WIDTH, CLIPS, FRAMES = 64, 44, 64, 30
LENGTHS = (60, 140)  # frames of a sequence: CASIA-B's are about a hundred long

Pieces = list[tuple[int, int]]  # sequence and first frame


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sequences", type=int, default=4000)
    parser.add_argument("--folder", type=Path, help="on the disk that is to be measured; a temporary one if left out")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        lengths = write(Path(folder), asked.sequences)
        draw = np.random.default_rng(1)
        order = draw.permutation(len(lengths))[: len(lengths) // CLIPS * CLIPS]
        batches = [[piece(draw, lengths, number) for number in batch] for batch in order.reshape(-1, CLIPS)]
        store = Store.open(Path(folder, "store"))
        readers = {"pickle files": from_pickles(Path(folder)), "packed store": from_store(store)}
        for one in batches[:3]:
            first, second = (read(one) for read in readers.values())
            np.testing.assert_array_equal(first, second)
        for state in ("cold", "warm"):
            seconds = {}
            for name, read in readers.items():
                if state == "cold":
                    forget(Path(folder))
                seconds[name] = np.median([timed(read, one) for one in batches])
                rate = CLIPS * FRAMES / seconds[name]
                print(f"{state} {name:13} {1000 * seconds[name]:8.2f} ms a batch {rate:12,.0f} frames/s")
            print(f"{state} the packed store is {seconds['pickle files'] / seconds['packed store']:.1f} times as fast\n")


def write(folder: Path, sequences: int) -> np.ndarray:
    """The same silhouettes both ways; how long each sequence is."""
    draw = np.random.default_rng(0)
    lengths = draw.integers(*LENGTHS, sequences)
    with StoreWriter(folder / "store", {"silhouette": Field("uint8", (HEIGHT, WIDTH))}, {}) as writer:
        for number, length in enumerate(lengths):
            silhouettes = draw.integers(0, 256, (length, HEIGHT, WIDTH), dtype=np.uint8)
            writer.append({"clip_id": str(number)}, {"silhouette": silhouettes})
            (folder / "pickles" / f"{number}").mkdir(parents=True)
            (folder / "pickles" / f"{number}" / f"{number}.pkl").write_bytes(pickle.dumps(silhouettes))
    return lengths


def piece(draw: np.random.Generator, lengths: np.ndarray, number: int) -> tuple[int, int]:
    return int(number), int(draw.integers(lengths[number] - FRAMES))


def from_store(store: Store) -> Callable[[Pieces], np.ndarray]:
    field, starts = store.field("silhouette"), store.clips["start"].to_numpy()
    return lambda batch: padded(field, [starts[number] + start + np.arange(FRAMES) for number, start in batch], FRAMES)


def from_pickles(folder: Path) -> Callable[[Pieces], np.ndarray]:
    def read(batch: Pieces) -> np.ndarray:
        clips = []
        for number, start in batch:
            with (folder / "pickles" / f"{number}" / f"{number}.pkl").open("rb") as file:
                clips.append(pickle.load(file)[start : start + FRAMES])
        return np.stack(clips)

    return read


def timed(read: Callable[[Pieces], np.ndarray], batch: Pieces) -> float:
    start = time.perf_counter()
    read(batch)
    return time.perf_counter() - start


def forget(folder: Path) -> None:
    """Ask the system to drop these files from its page cache."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    main()
