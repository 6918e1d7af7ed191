"""The README's picture: rendered people, and what systems read of them. python -m benchmarks.picture

Of each pedestrian the frame, the silhouette and the joints as the renderer knows them, and the optical flow to the next frame.
The same versions make the same bytes.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from people.datasets.market1501.pedestrians import draw_attributes
from people.evaluation.plots import flow_colours, with_people
from people.records import Rendered, Take
from people.synth.motion import parametric
from people.synth.render import render
from people.video import flow

OUT = Path("docs/people.webp")
VIEWS_DEG = (20.0, 75.0, 110.0, 150.0, 205.0, 250.0, 290.0, 335.0)
PLACES = (0, 1, 2, 3, 4, 7, 6, 11)
SIZE_HW, FRAMES, SHOWN = (640, 640), 12, 6
CELL_HW = (200, 112)
ENLARGED = 2  # cells are drawn so many times as large, then reduced: smooth edges
GAP_PX, LABEL_PX, QUALITY = 4, 26, 82
LABELS = ("rendered", "silhouettes", "optical flow", "poses")
FULL_FLOW_PX = 10.0  # a frame: full colour
SEED = 3
DRAWN_HW = (ENLARGED * CELL_HW[0], ENLARGED * CELL_HW[1])
FLOW = flow.Config("dis", DRAWN_HW, DRAWN_HW)
Cell = UInt8[np.ndarray, "height width 3"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT, help="the file, webp or png")
    out = parser.parse_args().out
    picture = sheet([cells(take) for take in pedestrians()])
    options = [cv2.IMWRITE_WEBP_QUALITY, QUALITY] if out.suffix == ".webp" else []
    if not cv2.imwrite(str(out), picture[..., ::-1], options):
        raise SystemExit(f"{out} could not be written; name a .webp or .png file in a folder that exists")
    print(f"{out}: {picture.shape[1]}x{picture.shape[0]}, {out.stat().st_size // 1000} kB")


def pedestrians() -> Iterator[Take]:
    """One take of each person, each from another side and with clothes and bags of their own."""
    walks = parametric.motions(len(VIEWS_DEG), walks=1, frames=FRAMES, frame_rate_hz=25.0, seed=SEED)
    appearances = draw_attributes([walk.sex for walk in walks], np.random.default_rng(SEED))
    for number, (walk, view_deg, appearance) in enumerate(zip(walks, VIEWS_DEG, appearances, strict=True)):
        yield Take(
            subject_id=f"{number:04d}",
            sequence="c1",
            motion=walk,
            condition="normal",
            session=PLACES[number],
            view_deg=view_deg,
            identity_seed=number,
            seed=number,
            appearance=appearance,
        )


def cells(take: Take) -> list[Cell]:
    """The four pictures of one person, in the order of `LABELS`."""
    recorded = list(render(take, size_hw=SIZE_HW))
    frames = [each.frame_rgb for each in recorded]
    place = window(recorded[SHOWN])
    moved = flow.clip_flow([cut(frame, place, ENLARGED) for frame in frames[SHOWN : SHOWN + 2]], FLOW).flow[0]
    colours = flow_colours(flow.decode(moved), FULL_FLOW_PX)
    mask = 255 * recorded[SHOWN].mask.astype(np.uint8)[..., None].repeat(3, axis=2)
    drawn = cut(frames[SHOWN], place, ENLARGED), cut(mask, place, ENLARGED), colours
    return [*(flow.resize(cell, CELL_HW) for cell in drawn), posed(recorded[SHOWN], place)]


def window(rendered: Rendered) -> Float[np.ndarray, " 4"]:
    """The part of a frame that a cell shows (x0, y0, x1, y1; px): the person's box with a margin, in the cell's form."""
    x0, y0, x1, y1 = rendered.box_xyxy_px
    height = 1.12 * (y1 - y0)
    half_hw = np.array([height, height * CELL_HW[1] / CELL_HW[0]]) / 2
    row, column = (y0 + y1) / 2, (x0 + x1) / 2
    return np.array([column - half_hw[1], row - half_hw[0], column + half_hw[1], row + half_hw[0]])


def to_cell(place: Float[np.ndarray, " 4"], enlarged: int = 1) -> Float[np.ndarray, "2 3"]:
    """The affine map from a frame's pixels to those of a cell, or of one so many times as large."""
    scale = enlarged * CELL_HW[0] / (place[3] - place[1])
    return np.array([[scale, 0, -scale * place[0]], [0, scale, -scale * place[1]]])


def cut(image: Cell, place: Float[np.ndarray, " 4"], enlarged: int = 1) -> Cell:
    """A part of a frame at the size of a cell, or so many times as large."""
    size_wh = (enlarged * CELL_HW[1], enlarged * CELL_HW[0])
    return cv2.warpAffine(image, to_cell(place, enlarged), size_wh, borderMode=cv2.BORDER_REPLICATE)


def posed(rendered: Rendered, place: Float[np.ndarray, " 4"]) -> Cell:
    """The joints of a frame as a skeleton over the darkened frame."""
    joints = rendered.keypoints_px.copy()
    joints[:, :2] = joints[:, :2] @ to_cell(place)[:, :2].T + to_cell(place)[:, 2]
    dark = (0.35 * cut(rendered.frame_rgb, place)).astype(np.uint8)
    return with_people(dark, np.zeros((1, 4)) - 9, joints[None], [""])


def sheet(columns: list[list[Cell]]) -> Cell:
    """The people beside each other, on white; the names of the rows turned by 90 degrees at their left."""
    height, width = CELL_HW[0] + GAP_PX, CELL_HW[1] + GAP_PX
    page = np.full((len(LABELS) * height - GAP_PX, LABEL_PX + len(columns) * width - GAP_PX, 3), 255, np.uint8)
    for row, label in enumerate(LABELS):
        name = np.full((LABEL_PX, CELL_HW[0], 3), 255, np.uint8)
        (length, _), _ = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, 0.55, 1)
        cv2.putText(name, label, ((CELL_HW[0] - length) // 2, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (60, 60, 60), 1, cv2.LINE_AA)
        page[row * height : row * height + CELL_HW[0], :LABEL_PX] = np.rot90(name)
        for column, of_person in enumerate(columns):
            left = LABEL_PX + column * width
            page[row * height : row * height + CELL_HW[0], left : left + CELL_HW[1]] = of_person[row]
    return page


if __name__ == "__main__":
    main()
