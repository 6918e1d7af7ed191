"""torchvision's detectors with their COCO weights, on frames: Mask R-CNN for silhouettes, Keypoint R-CNN for poses.

Nothing is downloaded: the weights are a file that is named, or that lies in torch's cache of downloaded weights.
"""

import functools
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torchvision.models import detection

PERSON = 1  # of COCO's classes
_MADE: dict[str, tuple[Callable[..., Any], Any]] = {
    "maskrcnn": (detection.maskrcnn_resnet50_fpn, detection.MaskRCNN_ResNet50_FPN_Weights.COCO_V1),
    "keypointrcnn": (detection.keypointrcnn_resnet50_fpn, detection.KeypointRCNN_ResNet50_FPN_Weights.COCO_V1),
}


def weights_file(detector: str, named: str) -> Path:
    """The weights file `named`, or where none is, torchvision's own in torch's cache.

    Its name ends in the first eight digits of its SHA-256, as torchvision's do: weights that change change a parameter.
    """
    weights = _MADE[detector][1]
    usual = weights.url.rpartition("/")[2]
    path = Path(named) if named else Path(torch.hub.get_dir(), "checkpoints", usual)
    if not path.is_file():
        raise ValueError(
            f"{path} is no file: expected the weights {type(weights).__name__}.{weights.name} of torchvision, {usual}; put the "
            "file there, or name its place with `weights` in params.yaml"
        )
    found = re.search(r"-([0-9a-f]{8})\.pth$", path.name)
    with path.open("rb") as file:
        begins = hashlib.file_digest(file, "sha256").hexdigest()[:8]
    if not found or found[1] != begins:
        raise ValueError(f"{path} should end in -{begins}.pth, the beginning of its SHA-256; fetch it again, or rename it")
    return path


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


@torch.no_grad()
def _found(
    name: str, frames_rgb: Iterable[UInt8[np.ndarray, "_ _ 3"]], weights: Path
) -> Iterator[tuple[np.ndarray, dict[str, torch.Tensor]]]:
    network = detector(name, weights)
    device = next(network.parameters()).device
    for frame in frames_rgb:
        picture = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1).to(device, torch.float32) / 255
        yield frame, network([picture])[0]
