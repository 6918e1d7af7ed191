"""RetinaNet's person detector [Lin et al., ICCV 2017] from torchvision's parts: anchors, matching, box coding, losses, NMS."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from torchvision import ops
from torchvision.models.detection import _utils as torchvision_detection
from torchvision.models.detection.anchor_utils import AnchorGenerator

STRIDES = (8, 16, 32, 64, 128)  # of the pyramid's maps P3 to P7
SCALES = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
RATIOS = (0.5, 1.0, 2.0)  # height / width
ANCHORS_EACH = len(SCALES) * len(RATIOS)
POSITIVE_IOU, NEGATIVE_IOU = 0.5, 0.4  # anchors between the two are neither
BETA = 1 / 9  # of the smooth L1 loss
BACKGROUND, NEITHER = -1, -2  # anchors that are nobody's
CANDIDATES = 1000  # anchors that go into non-maximum suppression
IGNORED_SHARE = 0.5  # of an anchor's area within a region that is not labelled person by person
_CODER = torchvision_detection.BoxCoder(weights=(10.0, 10.0, 5.0, 5.0))  # deviations 0.1, 0.1, 0.2, 0.2


class Boxes(NamedTuple):
    """The boxes that were found in one image, best first, with their scores in [0, 1]."""

    box_xyxy_px: Float[Tensor, "box 4"]
    score: Float[Tensor, " box"]


def anchors(
    sizes_px: Sequence[int | float], maps_hw: Sequence[tuple[int, int]], device: torch.device
) -> Float[Tensor, "anchor 4"]:
    """The anchors of an image: at every cell of each map `ANCHORS_EACH` boxes of that map's size, in the order of the head."""
    generator = AnchorGenerator(tuple(tuple(size * scale for scale in SCALES) for size in sizes_px), (RATIOS,) * len(sizes_px))
    generator.set_cell_anchors(torch.float32, device)
    strides = [[torch.tensor(stride, device=device)] * 2 for stride in STRIDES]
    return torch.cat(generator.grid_anchors([list(size) for size in maps_hw], strides))


def match(
    anchor: Float[Tensor, "anchor 4"],
    box: Float[Tensor, "sample box 4"],
    is_person: Bool[Tensor, "sample box"],
    is_crowd: Bool[Tensor, "sample box"],
) -> Int[Tensor, "sample anchor"]:
    """For each anchor of each image the index of its person's box, `BACKGROUND`, or `NEITHER`. A box that is neither a person's
    nor a crowd's is not there.

    An anchor is a person's at an overlap of 0.5 or where no anchor fits that person better, background below 0.4, as in
    torchvision. One that lies half or more in a crowd, and is nobody's, is not background.
    """
    samples, count = box.shape[:2]
    index = torch.full((samples, len(anchor)), BACKGROUND, device=anchor.device)
    if not count:
        return index
    flat = box.flatten(0, 1)
    overlap = ops.box_iou(flat, anchor).view(samples, count, -1).masked_fill(~is_person[..., None], -1)
    best, person = overlap.max(1)
    fits_best = (overlap == overlap.amax(2, keepdim=True)) & is_person[..., None]
    index = torch.where(best >= NEGATIVE_IOU, NEITHER, index)
    index = torch.where((best >= POSITIVE_IOU) | fits_best.any(1), person, index)
    inside = intersection(flat, anchor).view(samples, count, -1) / ops.box_area(anchor)
    in_crowd = ((inside >= IGNORED_SHARE) & is_crowd[..., None]).any(1)
    return torch.where(in_crowd & (index == BACKGROUND), NEITHER, index)


def intersection(first: Float[Tensor, "first 4"], second: Float[Tensor, "second 4"]) -> Float[Tensor, "first second"]:
    """The area that each of the first boxes shares with each of the second."""
    corner = torch.maximum(first[:, None, :2], second[None, :, :2])
    other = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    return (other - corner).clamp(min=0).prod(2)


def loss(
    logit: Float[Tensor, "sample anchor"],
    delta: Float[Tensor, "sample anchor 4"],
    anchor: Float[Tensor, "anchor 4"],
    boxes: Sequence[Float[Tensor, "_ 4"]],
    is_crowd: Sequence[Bool[Tensor, " _"]],
    *,
    alpha: float | int,
    gamma: float | int,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Focal loss and smooth L1 loss of the box deltas, each divided by max(1, number of a person's anchors) of the image, and
    averaged over images. An image without people has a focal loss too.

    All images at once, and nothing of it is read back: on a GPU the host does not wait.
    """
    box = pad_sequence(list(boxes), batch_first=True)
    crowd = pad_sequence(list(is_crowd), batch_first=True)
    people = pad_sequence([~flags for flags in is_crowd], batch_first=True)
    index = match(anchor, box, people, crowd)
    is_person = index >= 0
    count = is_person.sum(1).clamp(min=1)
    target = is_person.to(logit.dtype)
    focal = ops.sigmoid_focal_loss(logit, target, alpha, gamma, reduction="none") * (index != NEITHER)
    if not box.shape[1]:  # nobody in any image
        return (focal.sum(1) / count).mean(), (0 * delta).sum()
    own = box.gather(1, index.clamp(min=0)[..., None].expand(-1, -1, 4))
    coded = _CODER.encode_single(own.flatten(0, 1), anchor.repeat(len(own), 1)).view_as(delta)
    coded = torch.where(is_person[..., None], coded, 0)
    smooth = functional.smooth_l1_loss(delta, coded, beta=BETA, reduction="none").sum(2) * is_person
    return (focal.sum(1) / count).mean(), (smooth.sum(1) / count).mean()


def decode(
    logit: Float[Tensor, " anchor"],
    delta: Float[Tensor, "anchor 4"],
    anchor: Float[Tensor, "anchor 4"],
    size_hw: tuple[int, int],
    *,
    threshold: float | int,
    nms_iou: float | int,
    most: int,
) -> Boxes:
    """The boxes of one image whose score is above `threshold`, after non-maximum suppression, cut off at the image's edges."""
    score = logit.sigmoid()
    best, rows = score.topk(min(CANDIDATES, len(score)))
    rows, best = rows[best > threshold], best[best > threshold]
    box = _CODER.decode_single(delta[rows], anchor[rows]).view(-1, 4)
    box = ops.clip_boxes_to_image(box, size_hw)
    kept = ops.remove_small_boxes(box, 1e-2)
    kept = kept[ops.nms(box[kept], best[kept], nms_iou)][:most]
    return Boxes(box[kept], best[kept])


def average_precision(
    images: Sequence[tuple[Float[Tensor, "_ 4"], Float[Tensor, " _"], Float[Tensor, "_ 4"], Bool[Tensor, " _"]]], iou: float
) -> float:
    """The area under the precision-recall curve of the boxes of all images, each point with the best precision at its recall or
    beyond. Of each image the found boxes with their scores, the true ones, and which of these are crowds.

    Best first, a box is right if it overlaps by `iou` or more a true one that no better box has: the one that it overlaps most.
    A box of which that share lies in a crowd instead does not count. 0 where nothing is found.
    """
    scores, rights, people = [], [], 0
    for found, score, true, is_crowd in images:
        order = score.argsort(descending=True, stable=True)
        right, counts = _matched(found[order], true[~is_crowd], true[is_crowd], iou)
        scores.append(score[order][counts])
        rights.append(right[counts])
        people += int((~is_crowd).sum())
    if not people:
        raise ValueError("average precision needs a labelled person, got none; provide images with people")
    is_right = torch.cat(rights)[torch.cat(scores).argsort(descending=True, stable=True)].double()
    precision = is_right.cumsum(0) / torch.arange(1, len(is_right) + 1, device=is_right.device)
    best = precision.flip(0).cummax(0).values.flip(0) if len(precision) else precision
    return (best * is_right).sum().item() / people


def _matched(
    found: Float[Tensor, "box 4"], true: Float[Tensor, "person 4"], crowd: Float[Tensor, "crowd 4"], iou: float
) -> tuple[Bool[Tensor, " box"], Bool[Tensor, " box"]]:
    """Of boxes, best first: which are right, and which count."""
    area = ops.box_area(found)[:, None].clamp(min=1e-9)
    overlap = ops.box_iou(found, true)
    in_crowd = (intersection(found, crowd) / area >= iou).any(1)
    right = torch.zeros(len(found), dtype=torch.bool, device=found.device)
    for row in range(len(found) if len(true) else 0):
        best, person = overlap[row].max(0)
        if best >= iou:
            right[row] = True
            overlap[:, person] = -1
    return right, right | ~in_crowd
