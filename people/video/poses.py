"""Keypoint R-CNN on silhouettes: a student that is trained on a teacher's keypoints and predicts those of every silhouette.

GaitTAKE (Hsu et al.): "we use the human pose label to train the keypoint R-CNN based on the silhouette images so that we can
use the trained keypoint R-CNN model to infer the human pose information on the silhouette images". The network: He et al., ICCV
2017.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int32, UInt8
from torch import Tensor, nn
from torch.nn import functional

from people.records import COCO_KEYPOINTS, MIRRORED_KEYPOINTS
from people.storage.serialization import serialize
from people.storage.trained_weights import read_tensors
from people.video.keypoints import interpolate

STRIDE = 4  # px of the image for a cell of the feature map
KEYPOINT_CELLS, BOX_CELLS = 14, 7  # sides of the pooled features of the two heads, as published
PEAK_CELLS = 5  # side of the neighbourhood of the peak in a heat map of 56 x 56
BATCH_SIZE = 256  # silhouettes at once in inference; more is not faster
STUDENT_FILE = "student.pt"  # in the store of poses
TEACHERS = ("truth", "keypointrcnn", "mediapipe")

if TYPE_CHECKING:
    from torchvision.models.detection import KeypointRCNN
else:
    KeypointRCNN = nn.Module  # torchvision takes a second to import, and few of those who come by here build the network


@dataclass(frozen=True)
class Config:
    """The teacher, the size of the student, its training and its inference.

    `weights` is the file of the teacher `keypointrcnn`, or of MediaPipe's landmark model ("": torch's cache). The silhouette is
    enlarged `enlarge` times. `widths` are the channels of the two halves of the trunk, each of which halves the image's sides,
    `head` those of the convolutions before the heat maps. `frames` of the training subjects are labelled. Keypoints are
    predicted in every `every`-th frame of a clip and interpolated in the others.
    """

    teacher: str
    weights: str
    enlarge: int
    widths: Sequence[int]
    head: Sequence[int]
    frames: int
    epochs: int
    batch_size: int
    learning_rate: float
    every: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        object.__setattr__(self, "head", tuple(self.head))
        rules = {
            "teacher": (self.teacher in TEACHERS, f"one of {', '.join(TEACHERS)}"),
            "widths": (len(self.widths) == 2 and min(self.widths) >= 1, "two numbers of channels"),
            "head": (len(self.head) >= 1 and min(self.head) >= 1, "at least one number of channels"),
            "learning_rate": (self.learning_rate > 0, "above 0"),
            **{
                name: (getattr(self, name) >= 1, "at least 1")
                for name in ("enlarge", "frames", "epochs", "batch_size", "every")
            },
        }
        for name, (is_valid, rule) in rules.items():
            if not is_valid:
                raise ValueError(f"poses: {name} must be {rule}, got {getattr(self, name)!r}; correct params.yaml")


class Trunk(nn.Sequential):
    """Convolutions down to a quarter of the image's sides: the feature map of all heads."""

    def __init__(self, widths: Sequence[int]) -> None:
        half, quarter = widths
        steps = ((1, half, 2), (half, half, 1), (half, quarter, 2), (quarter, quarter, 1), (quarter, quarter, 1))
        super().__init__(*(_convolution(*step) for step in steps))
        self.out_channels = quarter


def _convolution(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def build_student(config: Config, size_hw: Sequence[int]) -> KeypointRCNN:
    """torchvision's Keypoint R-CNN, as small as silhouettes allow: one anchor, of the image's shape, and few proposals."""
    from torchvision.models.detection import keypoint_rcnn
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
    from torchvision.ops import MultiScaleRoIAlign

    height, width = (config.enlarge * side for side in size_hw)
    channels, hidden = config.widths[1], config.head[-1]
    pooled = {"featmap_names": ["0"], "sampling_ratio": 2}
    return keypoint_rcnn.KeypointRCNN(
        Trunk(config.widths),
        min_size=min(height, width),
        max_size=max(height, width),
        image_mean=[0.0],
        image_std=[1.0],
        size_divisible=STRIDE,
        rpn_anchor_generator=AnchorGenerator((((height * width) ** 0.5,),), ((height / width,),)),
        rpn_pre_nms_top_n_train=16,
        rpn_pre_nms_top_n_test=16,
        rpn_post_nms_top_n_train=2,
        rpn_post_nms_top_n_test=2,
        rpn_batch_size_per_image=32,
        box_roi_pool=MultiScaleRoIAlign(output_size=BOX_CELLS, **pooled),
        box_head=TwoMLPHead(channels * BOX_CELLS**2, hidden),
        box_predictor=FastRCNNPredictor(hidden, 2),
        box_batch_size_per_image=2,
        box_positive_fraction=0.5,
        box_detections_per_img=1,
        keypoint_roi_pool=MultiScaleRoIAlign(output_size=KEYPOINT_CELLS, **pooled),
        keypoint_head=keypoint_rcnn.KeypointRCNNHeads(channels, config.head),
        keypoint_predictor=keypoint_rcnn.KeypointRCNNPredictor(hidden, len(COCO_KEYPOINTS)),
    )


def train_student(
    silhouettes: UInt8[np.ndarray, "sample height width"],
    keypoints: Float[np.ndarray, "sample 17 3"],
    config: Config,
    seed: int,
    on_epoch_end: Callable[[], object] = lambda: None,
) -> tuple[KeypointRCNN, float]:
    """The student, and its last epoch's keypoint loss: the mean cross-entropy of a labelled joint's cell in its heat map.

    The region proposals and the box head are trained too. Half of the samples are mirrored. `on_epoch_end()` is called after
    every epoch. The same seed and number of threads give the same student; the global random state does not change.
    """
    if not (keypoints[..., 2] > 0).any():
        raise ValueError("expected labelled joints to train the student with, got none; look at the teacher's keypoints")
    rng, losses = np.random.default_rng(seed), []
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build_student(config, silhouettes.shape[1:]).to(device).train()
        batches = -(-len(silhouettes) // config.batch_size)
        optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total_steps=config.epochs * batches)
        for _ in range(config.epochs):
            for rows in np.array_split(rng.permutation(len(silhouettes)), batches):
                images, targets = _augmented_batch(silhouettes[rows], keypoints[rows], config.enlarge, rng, device)
                terms = network(images, targets)
                optimizer.zero_grad()
                torch.stack(list(terms.values())).sum().backward()
                optimizer.step()
                schedule.step()
                losses.append(terms["loss_keypoint"].item())
            on_epoch_end()
    return network.eval(), float(np.mean(losses[-batches:]))


def student_bytes(network: KeypointRCNN, config: Config, size_hw: Sequence[int]) -> bytes:
    """A student as a file: weights and what it is built of."""
    built = {"widths": list(config.widths), "head": list(config.head), "enlarge": config.enlarge, "size_hw": list(size_hw)}
    return serialize({"student": built, "network": {name: value.cpu() for name, value in network.state_dict().items()}})


def load_student(path: Path, config: Config) -> KeypointRCNN:
    """The student in a file, in evaluation mode; ValueError where it is not the one that the configuration describes."""
    if not path.is_file():
        raise ValueError(f"{path} is no file: expected the network that finds keypoints in silhouettes; run dvc repro poses")
    entries = read_tensors(path)
    built = entries["student"]
    if (built["widths"], built["head"], built["enlarge"]) != (list(config.widths), list(config.head), config.enlarge):
        raise ValueError(f"{path} has another network than poses in params.yaml describes; run dvc repro poses")
    network = build_student(config, built["size_hw"])
    network.load_state_dict(entries["network"])
    return network.eval()


def _augmented_batch(
    silhouettes: UInt8[np.ndarray, "sample height width"],
    keypoints: Float[np.ndarray, "sample 17 3"],
    enlarge: int,
    rng: np.random.Generator,
    device: str,
) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Images and targets in torchvision's format, half of them mirrored; the person's box is the full image."""
    flip = rng.random(len(silhouettes))[:, None, None] < 0.5
    images = _enlarge(np.where(flip, silhouettes[..., ::-1], silhouettes), enlarge).to(device)
    labels = np.where(flip, mirror_keypoints(keypoints, silhouettes.shape[2]), keypoints)
    targets = torch.from_numpy(labels * np.array([enlarge, enlarge, 1], np.float32)).to(device)[:, None]
    height, width = images.shape[-2:]
    box = torch.tensor([[0, 0, width, height]], dtype=torch.float32, device=device)
    person = torch.ones(1, dtype=torch.int64, device=device)
    return list(images), [{"boxes": box, "labels": person, "keypoints": target} for target in targets]


def mirror_keypoints(keypoints: Float[np.ndarray, "sample 17 3"], width: int) -> Float[np.ndarray, "sample 17 3"]:
    """The keypoints of the mirrored image: left becomes right."""
    mirrored = keypoints[:, list(MIRRORED_KEYPOINTS)].copy()
    mirrored[..., 0] = np.where(mirrored[..., 2] > 0, width - mirrored[..., 0], 0)
    return mirrored


def _enlarge(silhouettes: UInt8[np.ndarray, "sample height width"], enlarge: int) -> Float[Tensor, "sample 1 rows columns"]:
    images = torch.from_numpy(np.ascontiguousarray(silhouettes))[:, None].float() / 255
    return functional.interpolate(images, scale_factor=enlarge, mode="bilinear") if enlarge > 1 else images


def predict_clip(
    network: KeypointRCNN,
    silhouettes: UInt8[np.ndarray, "frame height width"],
    frames: Int32[np.ndarray, " frame"],
    config: Config,
) -> Float[np.ndarray, "frame 17 3"]:
    """The keypoints in every silhouette of a clip; `frames` are their frame numbers, for the interpolation."""
    key_frames = np.unique(np.append(np.arange(0, len(silhouettes), config.every), len(silhouettes) - 1))
    batches = np.split(key_frames, range(BATCH_SIZE, len(key_frames), BATCH_SIZE))
    keypoints = np.concatenate([predict(network, silhouettes[batch], config.enlarge) for batch in batches])
    return interpolate(keypoints, frames[key_frames], frames)


@torch.inference_mode()
def predict(
    network: KeypointRCNN, silhouettes: UInt8[np.ndarray, "sample height width"], enlarge: int
) -> Float[np.ndarray, "sample 17 3"]:
    """The keypoints in each silhouette: x, y (px) and confidence, 0 to 1; (0, 0, 0) throughout where it is empty.

    The keypoint branch is applied to the full image, which is the person's box; no region is proposed.
    """
    device = next(network.parameters()).device
    images = _enlarge(silhouettes, enlarge).to(device)
    height, width = images.shape[-2:]
    boxes = [torch.tensor([[0, 0, width, height]], dtype=torch.float32, device=device)] * len(images)
    heads: Any = network.roi_heads
    features = {"0": network.backbone(images)}
    pooled = heads.keypoint_roi_pool(features, boxes, [(height, width)] * len(images))
    keypoints = heat_map_peaks(heads.keypoint_predictor(heads.keypoint_head(pooled))).cpu().numpy()
    is_visible = (silhouettes.max(axis=(1, 2)) > 0).reshape(-1, 1, 1)
    return keypoints * np.array([silhouettes.shape[2], silhouettes.shape[1], 1], np.float32) * is_visible


def heat_map_peaks(heat_maps: Float[Tensor, "sample joint rows columns"]) -> Float[Tensor, "sample joint 3"]:
    """Softmax of each heat map: the mean (x, y in shares of the map) of the 5x5 cells around its peak, and their mass.

    The mass is the confidence: the probability of the joint in these cells.
    """
    _, _, rows, columns = heat_maps.shape
    probability = heat_maps.flatten(2).softmax(2).unflatten(2, (rows, columns))
    peak = probability.flatten(2).argmax(2)
    offset = torch.arange(PEAK_CELLS, device=peak.device) - PEAK_CELLS // 2
    row = (peak // columns)[..., None, None] + offset[:, None]
    column = (peak % columns)[..., None, None] + offset
    inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    cell = row.clamp(0, rows - 1) * columns + column.clamp(0, columns - 1)
    near = probability.flatten(2).gather(2, cell.flatten(2)).unflatten(2, (PEAK_CELLS, PEAK_CELLS)) * inside
    mass = near.sum((2, 3))
    x = (near * (column + 0.5)).sum((2, 3)) / mass / columns
    y = (near * (row + 0.5)).sum((2, 3)) / mass / rows
    return torch.stack([x, y, mass.clamp(max=1)], dim=2)
