"""Arrays and tables are read as they were written, and an incomplete store is an error."""

import errno
import json
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from people.storage.store import Field, Store, StoreWriter

FIELDS = {"flow": Field("int16", (2, 6, 8)), "box": Field("float32", (4,))}


def clip(length: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    flow = rng.integers(-32768, 32767, (length, 2, 6, 8), dtype=np.int16)
    return {"flow": flow, "box": rng.random((length, 4), dtype=np.float32)}


def row(number: int) -> dict[str, object]:
    return {
        "clip_id": f"{number:03d}",
        "gender": "female" if number % 2 else None,
        "age_years": number / 7 if number else np.nan,
    }


def write(path: Path, lengths: tuple[int, ...] = (3, 1, 5)) -> Path:
    return write_all(path, FIELDS, ((row(number), clip(length, number)) for number, length in enumerate(lengths)))


def write_all(path: Path, fields: dict[str, Field], clips: Iterable[tuple[dict, dict[str, np.ndarray]]]) -> Path:
    with StoreWriter(path, fields, {"flow_scale": 100}) as store:
        for columns, arrays in clips:
            store.append(columns, arrays)
    return path


def one_clip_and_an_error() -> Iterator[tuple[dict, dict[str, np.ndarray]]]:
    yield row(0), clip(2, 9)
    raise RuntimeError("stop")


def left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_clip_is_read_as_it_was_written(tmp_path: Path) -> None:
    store = Store.open(write(tmp_path / "store"))
    assert len(store) == 3
    assert store.meta == {"flow_scale": 100}
    assert store.clips["start"].tolist() == [0, 3, 4]
    assert store.clips["length"].tolist() == [3, 1, 5]
    for number, length in enumerate((3, 1, 5)):
        for name, array in clip(length, number).items():
            np.testing.assert_array_equal(store.clip(number, name), array)
            assert store.clip(number, name).dtype == array.dtype
    np.testing.assert_array_equal(store.field("flow"), np.concatenate([clip(n, i)["flow"] for i, n in enumerate((3, 1, 5))]))
    store.verify()


def test_the_table_keeps_leading_zeros_missing_cells_and_every_digit(tmp_path: Path) -> None:
    clips = Store.open(write(tmp_path / "store")).clips
    assert clips["clip_id"].tolist() == ["000", "001", "002"]
    assert clips["gender"].isna().tolist() == [True, False, True]
    assert np.isnan(clips["age_years"][0])
    assert clips["age_years"][1:].tolist() == [1 / 7, 2 / 7]


def test_a_clip_is_a_view_of_the_file_and_cannot_be_written_to(tmp_path: Path) -> None:
    store = Store.open(write(tmp_path / "store"))
    assert np.shares_memory(store.clip(1, "flow"), store.field("flow"))
    with pytest.raises(ValueError, match="read-only"):
        store.clip(1, "flow")[0] = 0


def test_a_store_is_sent_to_another_process_as_its_path_not_its_contents(tmp_path: Path) -> None:
    store = Store.open(write(tmp_path / "store", (400,)))
    sent = pickle.dumps(store)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent).clip(0, "flow"), store.clip(0, "flow"))


def test_equal_clips_make_equal_bytes_and_another_value_another_digest(tmp_path: Path) -> None:
    first, second = write(tmp_path / "first"), write(tmp_path / "second")
    for name in left_behind(first):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert Store.open(first).digest == Store.open(second).digest
    clips = [(row(number), clip(length, number)) for number, length in enumerate((3, 1, 5))]
    clips[2][1]["flow"][-1, 0, 0, 0] ^= 1
    write_all(tmp_path / "third", FIELDS, clips)
    assert Store.open(tmp_path / "third").digest != Store.open(first).digest


def test_a_store_is_replaced_only_by_a_complete_one(tmp_path: Path) -> None:
    write(tmp_path / "store")
    with pytest.raises(RuntimeError, match="stop"):
        write_all(tmp_path / "store", FIELDS, one_clip_and_an_error())
    assert len(Store.open(tmp_path / "store")) == 3
    write(tmp_path / "store", (2,))
    assert len(Store.open(tmp_path / "store")) == 1
    assert left_behind(tmp_path) == ["store"]


def test_a_folder_of_something_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(ValueError, match="no packed store"):
        write(tmp_path / "thesis")
    assert left_behind(tmp_path / "thesis") == ["chapter.txt"]


def test_an_error_while_writing_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stop"):
        write_all(tmp_path / "store", FIELDS, one_clip_and_an_error())
    assert left_behind(tmp_path) == []


def test_a_store_without_clips_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no clip was appended"), StoreWriter(tmp_path / "store", FIELDS, {}):
        pass
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flow": np.zeros((2, 2, 6, 8), np.float32)}, "takes int16 of shape"),
        ({"flow": np.zeros((2, 6, 8, 2), np.int16)}, "takes int16 of shape"),
        ({"box": np.zeros((3, 4), np.float32)}, "same number of frames"),
        ({"mask": np.zeros((2, 1), np.int16)}, "brings the fields"),
    ],
)
def test_an_array_that_does_not_fit_its_field_is_refused(tmp_path: Path, change: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message), StoreWriter(tmp_path / "store", FIELDS, {}) as store:
        store.append(row(0), clip(2, 0) | change)
    assert left_behind(tmp_path) == []


def test_rows_with_other_columns_or_the_offsets_own_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="every clip has the columns"):
        write_all(tmp_path / "store", FIELDS, [({"clip_id": "a"}, clip(2, 0)), ({"name": "b"}, clip(2, 0))])
    with pytest.raises(ValueError, match="'start' is the store's own"):
        write_all(tmp_path / "store", FIELDS, [({"start": 7}, clip(2, 0))])


def test_a_data_file_that_is_cut_missing_or_longer_is_refused_with_both_sizes(tmp_path: Path) -> None:
    file = write(tmp_path / "store") / "flow.bin"
    complete = file.read_bytes()
    assert len(complete) == 9 * 2 * 6 * 8 * 2
    for content in (complete[:-1], complete + b"x"):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=rf"flow\.bin has {len(content):,} bytes, expected 1,728"):
            Store.open(tmp_path / "store")
    file.unlink()
    with pytest.raises(ValueError, match=r"flow\.bin is missing"):
        Store.open(tmp_path / "store")


def test_a_changed_value_is_found_when_every_byte_is_verified(tmp_path: Path) -> None:
    file = write(tmp_path / "store") / "box.bin"
    content = bytearray(file.read_bytes())
    content[5] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"box\.bin .*has changed"):
        Store.open(tmp_path / "store").verify()


def test_a_folder_that_is_incomplete_foreign_or_altered_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such folder"):
        Store.open(tmp_path / "nowhere")
    store = write(tmp_path / "store")
    shutil.copytree(store, tmp_path / "incomplete")
    (tmp_path / "incomplete" / "meta.json").unlink()
    with pytest.raises(ValueError, match="not written to its end"):
        Store.open(tmp_path / "incomplete")
    shutil.copytree(store, tmp_path / "foreign")
    (tmp_path / "foreign" / "meta.json").write_text('{"format": "photographs"}')
    with pytest.raises(ValueError, match="does not describe"):
        Store.open(tmp_path / "foreign")
    shutil.copytree(store, tmp_path / "table")
    (tmp_path / "table" / "clips.csv").write_text((store / "clips.csv").read_text().replace("female", "male"))
    with pytest.raises(ValueError, match=r"clips\.csv is not the table"):
        Store.open(tmp_path / "table")
    facts = json.loads((store / "meta.json").read_text())
    facts["meta"]["flow_scale"] = 50
    (store / "meta.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="has been altered"):
        Store.open(store)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte, real where the system lets the test mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        pytest.skip(f"no disk of one megabyte can be mounted: {error}")
    if done.returncode:
        pytest.skip(f"no disk of one megabyte can be mounted: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up_leaves_nothing_and_says_how_much_room_there_was(small_disk: Path) -> None:
    fields = {"flow": Field("int16", (2, 60, 80))}
    with pytest.raises(OSError, match=r"more than [\d,]+ bytes needed, [\d,]+ bytes free; nothing was kept") as caught:
        write_all(small_disk / "store", fields, [({"clip_id": 1}, {"flow": np.ones((10, 2, 60, 80), np.int16)})] * 20)
    assert caught.value.errno == errno.ENOSPC
    assert left_behind(small_disk) == []


def test_a_disk_that_is_too_small_is_refused_before_the_first_clip(small_disk: Path) -> None:
    fields = {"flow": Field("int16", (2, 60, 80))}
    with pytest.raises(OSError, match=r"no room for .*store: 1,920,000 bytes needed, 1,0\d\d,\d\d\d bytes free"):
        StoreWriter(small_disk / "store", fields, {}, expected_frames=100).__enter__()
    assert left_behind(small_disk) == []


def test_a_limit_on_the_size_of_files_counts_as_a_full_disk(tmp_path: Path) -> None:
    script = f"""
import resource, signal, sys
import numpy as np
from pathlib import Path
from people.storage.store import Field, StoreWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
with StoreWriter(Path({str(tmp_path / "store")!r}), {{"flow": Field("int16", (2, 60, 80))}}, {{}}) as store:
    for number in range(20):
        store.append({{"clip_id": number}}, {{"flow": np.ones((10, 2, 60, 80), np.int16)}})
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no room for" in done.stderr.splitlines()[-1]
    assert left_behind(tmp_path) == []


def test_a_writer_that_is_killed_leaves_no_store_and_the_next_one_clears_up(tmp_path: Path) -> None:
    script = f"""
import time
import numpy as np
from pathlib import Path
from people.storage.store import Field, StoreWriter
with StoreWriter(Path({str(tmp_path / "store")!r}), {{"flow": Field("int16", (2, 6, 8))}}, {{}}) as store:
    while True:
        store.append({{"clip_id": "a"}}, {{"flow": np.ones((10, 2, 6, 8), np.int16)}})
        print("written", flush=True)
        time.sleep(0.01)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert left_behind(tmp_path) == ["store.partial"]
    with pytest.raises(ValueError, match="not written to its end"):
        Store.open(tmp_path / "store.partial")
    with pytest.raises(ValueError, match="no such folder"):
        Store.open(tmp_path / "store")
    write(tmp_path / "store")
    assert left_behind(tmp_path) == ["store"]
