"""torchvision's detectors with their COCO weights, on frames: Mask R-CNN for silhouettes, Keypoint R-CNN for poses, and
Faster R-CNN for whether there is anybody.

Nothing is downloaded: the weights are a file that is named, or that lies in torch's cache of downloaded weights.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torchvision.models import detection

from people.storage import trained_weights

PERSON = 1  # of COCO's classes
_MADE: dict[str, tuple[Callable[..., Any], Any]] = {
    "fasterrcnn": (detection.fasterrcnn_resnet50_fpn, detection.FasterRCNN_ResNet50_FPN_Weights.COCO_V1),
    "maskrcnn": (detection.maskrcnn_resnet50_fpn, detection.MaskRCNN_ResNet50_FPN_Weights.COCO_V1),
    "keypointrcnn": (detection.keypointrcnn_resnet50_fpn, detection.KeypointRCNN_ResNet50_FPN_Weights.COCO_V1),
}


def weights_file(detector: str, named: str) -> Path:
    """The weights file `named`, or where none is, torchvision's own in torch's cache; see `people.storage.trained_weights`."""
    return trained_weights.weights_file(_MADE[detector][1], named)


@functools.lru_cache(maxsize=1)  # one process looks at many clips
def detector(name: str, weights: Path) -> Any:
    """The detector in evaluation, on the GPU where there is one."""
    network = _MADE[name][0](weights=None, weights_backbone=None)
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def person_masks(frames_rgb: Iterable[UInt8[np.ndarray, "_ _ 3"]], weights: Path) -> Iterator[Float[np.ndarray, "_ _"]]:
    """How much each pixel is the likeliest person's, by Mask R-CNN; 0 everywhere where nobody is found."""
    for frame, found in _found("maskrcnn", frames_rgb, weights):
        masks = found["masks"][found["labels"] == PERSON, 0]  # the likeliest first
        yield masks[0].cpu().numpy() if len(masks) else np.zeros(frame.shape[:2], np.float32)


def person_keypoints(frames_rgb: Iterable[UInt8[np.ndarray, "_ _ 3"]], weights: Path) -> Iterator[Float[np.ndarray, "17 3"]]:
    """The likeliest person's keypoints x, y (pixels) and 2 where their score is above 0, else 0; 0 where nobody is found."""
    for _, found in _found("keypointrcnn", frames_rgb, weights):
        keypoints = torch.zeros(17, 3)
        if len(found["keypoints"]):
            keypoints[:, :2] = found["keypoints"][0, :, :2].cpu()
            keypoints[:, 2] = 2 * (found["keypoints_scores"][0] > 0).cpu()
        yield (keypoints * (keypoints[:, 2:] > 0)).numpy()


def person_scores(frames_rgb: Iterable[UInt8[np.ndarray, "_ _ 3"]], weights: Path) -> Iterator[float]:
    """How sure Faster R-CNN is of the likeliest person in each frame, from 0 to 1; 0 where nobody is found."""
    for _, found in _found("fasterrcnn", frames_rgb, weights):
        yield float(found["scores"][found["labels"] == PERSON].max()) if (found["labels"] == PERSON).any() else 0.0


@torch.no_grad()
def _found(
    name: str, frames_rgb: Iterable[UInt8[np.ndarray, "_ _ 3"]], weights: Path
) -> Iterator[tuple[np.ndarray, dict[str, torch.Tensor]]]:
    network = detector(name, weights)
    device = next(network.parameters()).device
    for frame in frames_rgb:
        picture = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1).to(device, torch.float32) / 255
        yield frame, network([picture])[0]
