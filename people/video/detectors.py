"""torchvision's detectors with their COCO weights, on frames: Mask R-CNN for silhouettes, Keypoint R-CNN for poses, and
Faster R-CNN for the presence of a person.

Nothing is downloaded: the weights are a given file, or one in torch's cache of downloaded weights.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8

from people.storage import trained_weights

PERSON = 1  # among COCO's classes


def _torchvision(name: str) -> tuple[Callable[..., Any], Any]:
    """torchvision's constructor of a detector, and its COCO weights."""
    from torchvision.models import detection  # takes seconds to import, and not every stage that comes by here needs it

    return {
        "fasterrcnn": (detection.fasterrcnn_resnet50_fpn, detection.FasterRCNN_ResNet50_FPN_Weights.COCO_V1),
        "maskrcnn": (detection.maskrcnn_resnet50_fpn, detection.MaskRCNN_ResNet50_FPN_Weights.COCO_V1),
        "keypointrcnn": (detection.keypointrcnn_resnet50_fpn, detection.KeypointRCNN_ResNet50_FPN_Weights.COCO_V1),
    }[name]


def weights_file(detector: str, file: str) -> Path:
    """The weights `file`, or where it is empty torchvision's in torch's cache; see `people.storage.trained_weights`."""
    return trained_weights.weights_file(trained_weights.of_torchvision(_torchvision(detector)[1]), file)


@functools.lru_cache(maxsize=1)  # one process reads many clips
def detector(name: str, weights: Path) -> Any:
    """The detector in evaluation mode, on the GPU where there is one."""
    network = _torchvision(name)[0](weights=None, weights_backbone=None)
    network.load_state_dict(trained_weights.read_tensors(weights))
    return network.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def person_masks(frames_rgb: Iterable[UInt8[np.ndarray, "_ _ 3"]], weights: Path) -> Iterator[Float[np.ndarray, "_ _"]]:
    """The mask, 0 to 1, of the person with the highest score, by Mask R-CNN; 0 throughout without a detection."""
    for frame, prediction in _detections("maskrcnn", frames_rgb, weights):
        masks = prediction["masks"][prediction["labels"] == PERSON, 0]  # sorted by score
        yield masks[0].cpu().numpy() if len(masks) else np.zeros(frame.shape[:2], np.float32)


def person_keypoints(frames_rgb: Iterable[UInt8[np.ndarray, "_ _ 3"]], weights: Path) -> Iterator[Float[np.ndarray, "17 3"]]:
    """Keypoints of the person with the highest score: x, y (px) and 2 where their score is above 0, else 0, 0, 0."""
    for _, prediction in _detections("keypointrcnn", frames_rgb, weights):
        keypoints = torch.zeros(17, 3)
        if len(prediction["keypoints"]):
            keypoints[:, :2] = prediction["keypoints"][0, :, :2].cpu()
            keypoints[:, 2] = 2 * (prediction["keypoints_scores"][0] > 0).cpu()
        yield (keypoints * (keypoints[:, 2:] > 0)).numpy()


def person_scores(frames_rgb: Iterable[UInt8[np.ndarray, "_ _ 3"]], weights: Path) -> Iterator[float]:
    """Faster R-CNN's highest score of a person in each frame, from 0 to 1; 0 without a detection."""
    for _, prediction in _detections("fasterrcnn", frames_rgb, weights):
        yield (
            float(prediction["scores"][prediction["labels"] == PERSON].max()) if (prediction["labels"] == PERSON).any() else 0.0
        )


def people(
    name: str, frame_rgb: UInt8[np.ndarray, "height width 3"], weights: Path
) -> tuple[Float[np.ndarray, "person 4"], Float[np.ndarray, " person"], list[UInt8[np.ndarray, "height width"]] | None]:
    """Everybody in a frame: boxes (x0, y0, x1, y1; px), scores, and of a detector that has them masks, 0 to 255."""
    ((_, prediction),) = _detections(name, [frame_rgb], weights)
    chosen = prediction["labels"] == PERSON
    masks = None
    if "masks" in prediction:
        masks = [np.rint(255 * mask.cpu().numpy()).astype(np.uint8) for mask in prediction["masks"][chosen, 0]]
    return prediction["boxes"][chosen].cpu().numpy(), prediction["scores"][chosen].cpu().numpy(), masks


@torch.no_grad()
def _detections(
    name: str, frames_rgb: Iterable[UInt8[np.ndarray, "_ _ 3"]], weights: Path
) -> Iterator[tuple[np.ndarray, dict[str, torch.Tensor]]]:
    """Each frame with its detections as torchvision returns them: boxes, labels, scores, and masks or keypoints."""
    network = detector(name, weights)
    device = next(network.parameters()).device
    for frame in frames_rgb:
        image = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1).to(device, torch.float32) / 255
        yield frame, network([image])[0]
