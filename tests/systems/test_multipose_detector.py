"""Detector: anchors and losses against torchvision's RetinaNet and loops, boxes, average precision against COCO's."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision import ops
from torchvision.models.detection import _utils as torchvision_detection
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNetClassificationHead, RetinaNetRegressionHead, _default_anchorgen

from people.evaluation import coco
from people.records import Annotation
from people.systems.multipose.model import detector

SIZES_PX = (32, 64, 128, 256, 512)
SIZE_HW = (128, 192)
MAPS_HW = [(-(-SIZE_HW[0] // stride), -(-SIZE_HW[1] // stride)) for stride in detector.STRIDES]
FOCAL = {"alpha": 0.25, "gamma": 2.0}
MATCHER = torchvision_detection.Matcher(detector.POSITIVE_IOU, detector.NEGATIVE_IOU, allow_low_quality_matches=True)


def anchors(maps_hw: list[tuple[int, int]] = MAPS_HW) -> torch.Tensor:
    return detector.anchors(SIZES_PX, maps_hw, torch.device("cpu"))


def boxes(count: int, seed: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    size = 16 + 60 * torch.rand(count, 2, generator=draw)
    corner = torch.rand(count, 2, generator=draw) * (torch.tensor([192.0, 128.0]) - size)
    return torch.cat([corner, corner + size], dim=1)


def match(anchor: torch.Tensor, box: torch.Tensor, is_crowd: torch.Tensor) -> torch.Tensor:
    """The matches of one image, which lies in a batch beside an image of nobody and has places for two more."""
    padded, flags = torch.zeros(2, len(box) + 2, 4), torch.zeros(2, 2, len(box) + 2, dtype=torch.bool)
    padded[1, : len(box)], flags[0, 1, : len(box)], flags[1, 1, : len(box)] = box, ~is_crowd, is_crowd
    nobody, index = detector.match(anchor, padded, *flags)
    assert (nobody == detector.BACKGROUND).all()
    return index


def none(*counts: int) -> list[torch.Tensor]:
    """Of each image: none of its people is a crowd."""
    return [torch.zeros(count, dtype=torch.bool) for count in counts]


def outputs(images: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw, count = torch.Generator().manual_seed(seed), len(anchors())
    return torch.randn(images, count, generator=draw), 0.1 * torch.randn(images, count, 4, generator=draw)


# --- anchors ---------------------------------------------------------------------------------------------------------


def test_anchors_are_those_of_torchvision_in_its_order():
    size_hw = (256, 384)  # whole strides, which torchvision takes from the sizes of image and maps
    maps_hw = [(size_hw[0] // stride, size_hw[1] // stride) for stride in detector.STRIDES]
    images, maps = ImageList(torch.zeros(1, 3, *size_hw), [size_hw]), [torch.zeros(1, 8, *size) for size in maps_hw]
    exact = tuple(tuple(size * scale for scale in detector.SCALES) for size in SIZES_PX)
    found, generator = anchors(maps_hw), AnchorGenerator(exact, (detector.RATIOS,) * 5)
    torch.testing.assert_close(found, generator(images, maps)[0], atol=0, rtol=0)
    default = _default_anchorgen()(images, maps)[0]  # its sizes are cut to whole pixels
    assert default.shape == found.shape
    assert (found - default).abs().max() <= 1


def test_every_cell_of_each_map_has_nine_anchors_round_the_corner_of_its_block():
    found = anchors()
    assert len(found) == 9 * sum(height * width for height, width in MAPS_HW)
    middle = (found[:, :2] + found[:, 2:]) / 2
    second_cell, second_row = middle[9:18], middle[9 * MAPS_HW[0][1] : 9 * MAPS_HW[0][1] + 9]
    torch.testing.assert_close(second_cell, torch.tensor([8.0, 0.0]).expand(9, 2))
    torch.testing.assert_close(second_row, torch.tensor([0.0, 8.0]).expand(9, 2))
    size = found[:9, 2:] - found[:9, :2]
    assert size[3].tolist() == [32, 32]  # scales within ratios: the first of ratio 1
    assert (size[0, 1] / size[0, 0]).item() == pytest.approx(0.5, abs=0.03)  # low first
    assert (size[8, 1] / size[8, 0]).item() == pytest.approx(2.0, abs=0.05)


# --- matching --------------------------------------------------------------------------------------------------------


def test_anchors_of_overlap_from_04_to_05_are_neither_and_the_best_of_a_person_is_the_persons():
    anchor = torch.tensor(
        [[0.0, 0, 10, 10], [0, 0, 10, 4.9], [0, 0, 10, 4.0], [0, 0, 10, 3.9], [0, 0, 10, 5.0], [50, 50, 60, 60]]
    )
    person = torch.tensor([[0.0, 0, 10, 10], [50.0, 50, 53, 60]])
    index = match(anchor, person, torch.zeros(2, dtype=torch.bool))
    assert index.tolist() == [0, -2, -2, -1, 0, 1]  # the second person has no better anchor than one of overlap 0.3


def test_anchors_are_matched_as_torchvision_matches_them():
    for seed in range(20):
        people = boxes(1 + seed % 6, seed)
        index = match(anchors(), people, torch.zeros(len(people), dtype=torch.bool))
        assert torch.equal(index, MATCHER(ops.box_iou(people, anchors())))


def test_anchors_half_in_a_crowd_are_not_background_and_crowds_have_none():
    anchor = torch.tensor([[0.0, 0, 10, 10], [15, 0, 25, 10], [14.9, 0, 25, 10], [100, 0, 110, 10]])
    regions = torch.tensor([[20.0, 0, 80, 40], [0, 0, 10, 10]])
    index = match(anchor, regions, torch.tensor([True, False]))
    assert index.tolist() == [1, -2, -1, -1]  # rows are those of all boxes
    assert match(anchor, regions[:1], torch.tensor([True])).tolist() == [-1, -2, -1, -1]
    assert match(anchor, regions[:0], torch.zeros(0, dtype=torch.bool)).tolist() == [-1] * 4


def test_a_persons_anchor_stays_the_persons_in_a_crowd():
    anchor = torch.tensor([[20.0, 0, 30, 10]])
    regions = torch.tensor([[0.0, 0, 80, 40], [20, 0, 30, 10]])
    assert match(anchor, regions, torch.tensor([True, False])).tolist() == [1]


# --- losses ----------------------------------------------------------------------------------------------------------


def test_the_focal_loss_is_that_of_torchvisions_head_and_the_box_loss_that_of_a_loop():
    anchor, people = anchors(), [boxes(3, 1), boxes(1, 2)]
    logit, delta = outputs(2)
    focal, smooth = detector.loss(logit, delta, anchor, people, none(3, 1), **FOCAL)
    matched = [MATCHER(ops.box_iou(each, anchor)) for each in people]
    head = SimpleNamespace(BETWEEN_THRESHOLDS=torchvision_detection.Matcher.BETWEEN_THRESHOLDS)
    targets = [{"labels": torch.zeros(len(each), dtype=torch.long)} for each in people]
    expected = RetinaNetClassificationHead.compute_loss(head, targets, {"cls_logits": logit[..., None]}, matched)  # type: ignore[arg-type]
    torch.testing.assert_close(focal, expected)
    total = 0.0
    for image in range(2):
        owner = matched[image].tolist()
        positive = [row for row, person in enumerate(owner) if person >= 0]
        of_image = 0.0
        for row in positive:
            size = anchor[row, 2:] - anchor[row, :2]
            box = people[image][owner[row]]
            shift = ((box[:2] + box[2:]) - (anchor[row, :2] + anchor[row, 2:])) / 2 / size
            coded = torch.cat([10 * shift, 5 * ((box[2:] - box[:2]) / size).log()])
            for error in (delta[image, row] - coded).abs().tolist():
                of_image += error - 1 / 18 if error >= 1 / 9 else error**2 / (2 / 9)
        total += of_image / max(1, len(positive))
    assert smooth.item() == pytest.approx(total / 2, rel=1e-4)


def test_the_box_loss_is_torchvisions_but_for_its_weights_and_its_form():
    anchor, person = anchors(), boxes(2, 1)
    logit, delta = outputs(1)
    head = SimpleNamespace(_loss_type="l1", box_coder=detector._CODER)
    matched = [MATCHER(ops.box_iou(person, anchor))]
    expected = RetinaNetRegressionHead.compute_loss(
        head,
        [{"boxes": person}],
        {"bbox_regression": delta},
        [anchor],
        matched,  # type: ignore[arg-type]
    )
    _, smooth = detector.loss(logit, delta, anchor, [person], none(2), **FOCAL)
    count = int((matched[0] >= 0).sum())
    errors = delta[0][matched[0] >= 0] - detector._CODER.encode_single(
        person[matched[0][matched[0] >= 0]], anchor[matched[0] >= 0]
    )
    assert expected.item() == pytest.approx(errors.abs().sum().item() / count, rel=1e-4)
    difference = torch.where(errors.abs() >= 1 / 9, torch.full_like(errors, 1 / 18), errors.abs() - 4.5 * errors.square())
    assert smooth.item() == pytest.approx(expected.item() - difference.sum().item() / count, rel=1e-4)


def test_an_image_without_people_has_a_focal_loss_a_box_loss_of_0_and_gradients():
    logit, delta = (each.requires_grad_() for each in outputs(1))
    focal, smooth = detector.loss(logit, delta, anchors(), [torch.zeros(0, 4)], none(0), **FOCAL)
    assert torch.isfinite(focal)
    assert focal.item() > 0
    assert smooth.item() == 0
    (focal + smooth).backward()
    assert logit.grad is not None
    assert (logit.grad > 0).all()
    assert delta.grad is not None
    assert not delta.grad.any()


def test_logits_of_ignored_anchors_and_of_those_in_crowds_do_not_count():
    anchor, person = anchors(), boxes(1, 1)
    regions, crowd = torch.cat([person, torch.tensor([[0.0, 0.0, 60.0, 128.0]])]), torch.tensor([False, True])
    index = match(anchor, regions, crowd)
    logit, delta = outputs(1)
    before = detector.loss(logit, delta, anchor, [regions], [crowd], **FOCAL)
    changed = torch.where(index == -2, 9.0, logit)
    torch.testing.assert_close(detector.loss(changed, delta, anchor, [regions], [crowd], **FOCAL), before)
    alone = match(anchor, person, torch.zeros(1, dtype=torch.bool))
    assert (index == -2).sum() > (alone == -2).sum() > 0
    assert detector.loss(changed, delta, anchor, [person], none(1), **FOCAL)[0] > before[0] + 1


def test_losses_are_means_over_images():
    anchor, people = anchors(), [boxes(2, 1), boxes(3, 2)]
    logit, delta = outputs(2)
    both = detector.loss(logit, delta, anchor, people, none(2, 3), **FOCAL)
    single = [detector.loss(logit[[row]], delta[[row]], anchor, [people[row]], none(2 + row), **FOCAL) for row in range(2)]
    for together, first, second in zip(both, *single, strict=True):
        torch.testing.assert_close(together, (first + second) / 2)


# --- boxes -----------------------------------------------------------------------------------------------------------


def decoded(anchor: torch.Tensor, delta: torch.Tensor, logit: torch.Tensor, **changes: float) -> detector.Boxes:
    options = {"threshold": 0.5, "nms_iou": 0.5} | changes
    return detector.decode(
        logit,
        delta,
        anchor,
        SIZE_HW,
        threshold=options["threshold"],
        nms_iou=options["nms_iou"],
        most=int(options.get("most", 9)),
    )


def test_what_is_encoded_is_decoded():
    anchor, person = anchors(), boxes(4, 3)
    index = ops.box_iou(person, anchor).argmax(1)
    delta, logit = torch.zeros(len(anchor), 4), torch.full((len(anchor),), -9.0)
    delta[index] = detector._CODER.encode_single(person, anchor[index])
    logit[index] = torch.tensor([4.0, 3.0, 2.0, 1.0])
    found = decoded(anchor, delta, logit, nms_iou=0.99)
    torch.testing.assert_close(found.box_xyxy_px, person, atol=1e-3, rtol=0)
    torch.testing.assert_close(found.score, torch.tensor([4.0, 3.0, 2.0, 1.0]).sigmoid())


def test_boxes_are_cut_at_the_image_best_first_one_of_each_person_and_no_more_than_asked():
    anchor = torch.tensor([[-20.0, -20, 30, 30], [0, 0, 30, 31], [100, 40, 140, 90], [300, 0, 340, 40], [100, 90, 140, 128]])
    logit = torch.tensor([1.0, 2.0, 3.0, 4.0, -1.0])
    found = decoded(anchor, torch.zeros(5, 4), logit)
    assert found.box_xyxy_px.tolist() == [
        [100, 40, 140, 90],
        [0, 0, 30, 31],
    ]  # the fourth is outside, the last below the threshold
    assert len(decoded(anchor, torch.zeros(5, 4), logit, most=1).score) == 1
    nothing = decoded(anchor, torch.zeros(5, 4), logit - 20)
    assert nothing.box_xyxy_px.shape == (0, 4)
    assert nothing.score.shape == (0,)


def test_the_shared_area_is_that_of_the_overlap():
    first, second = boxes(5, 1), boxes(6, 2)
    area = detector.intersection(first, second)
    union = ops.box_area(first)[:, None] + ops.box_area(second) - area
    torch.testing.assert_close(area / union, ops.box_iou(first, second))


# --- average precision -----------------------------------------------------------------------------------------------


def random_images(seed: int, crowds: bool) -> list[tuple[torch.Tensor, ...]]:
    draw, images = np.random.default_rng(seed), []
    for number in range(60):
        true = boxes(int(draw.integers(0, 5)), 1000 * seed + number)
        noise = torch.from_numpy(draw.normal(0, 3.5, (len(true), 4))).float()
        found = torch.cat(
            [true + noise, true + 1.5 * noise.flip(0), boxes(int(draw.integers(0, 3)), 500 + 1000 * seed + number)]
        )
        score = torch.from_numpy(draw.random(len(found))).float()
        is_crowd = torch.from_numpy(draw.random(len(true)) < (0.3 if crowds else 0))
        images.append((found, score, true, is_crowd))
    return images


def naive_precision(images: list[tuple[torch.Tensor, ...]], iou: float) -> float:
    """The area under the curve of the running best precision, box by box in the order of all scores."""
    rights = []
    for found, score, true, is_crowd in images:
        free = [person for person in range(len(true)) if not is_crowd[person]]
        for row in sorted(range(len(found)), key=lambda row, score=score: -score[row]):
            overlap = {person: ops.box_iou(found[[row]], true[[person]]).item() for person in free}
            best = max(overlap, key=lambda person, overlap=overlap: overlap[person], default=None)
            if best is not None and overlap[best] >= iou:
                free.remove(best)
                rights.append((score[row].item(), 1))
                continue
            area = ops.box_area(found[[row]])
            shared = [
                (detector.intersection(found[[row]], true[[person]]) / area).item()
                for person in range(len(true))
                if is_crowd[person]
            ]
            if max(shared, default=0) < iou:
                rights.append((score[row].item(), 0))
    people = sum(int((~is_crowd).sum()) for *_, is_crowd in images)
    rights.sort(key=lambda pair: -pair[0])
    hits = np.cumsum([right for _, right in rights])
    precision = hits / np.arange(1, len(hits) + 1)
    return float(sum(precision[rank:].max() for rank, (_, right) in enumerate(rights) if right) / people)


@pytest.mark.parametrize("crowds", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_average_precision_is_that_of_a_loop_and_of_pycocotools(seed: int, crowds: bool):
    images = random_images(seed, crowds)
    found = detector.average_precision(images, 0.5)  # type: ignore[arg-type]
    assert found == pytest.approx(naive_precision(images, 0.5), abs=1e-9)
    truth, detections = [], []
    for box, score, true, is_crowd in images:
        people = [
            Annotation(1, each.numpy(), np.zeros((17, 3), np.float32), float(ops.box_area(each[None])), bool(crowd))
            for each, crowd in zip(true, is_crowd, strict=True)
        ]
        truth.append(people)
        detections.append(coco.Detections(box.double().numpy(), score.double().numpy(), np.zeros((len(box), 17, 3))))
    assert found == pytest.approx(coco.box_metrics(truth, detections)["ap_50"], abs=0.01)
    assert 0.2 < found < 0.95


def test_average_precision_by_hand():
    true = torch.tensor([[0.0, 0, 10, 10], [50, 0, 60, 10]])
    found = torch.tensor([[0.0, 0, 10, 10], [100, 0, 110, 10], [50, 0, 60, 10], [0, 0, 10, 10]])
    score = torch.tensor([0.9, 0.8, 0.7, 0.6])
    assert detector.average_precision([(found, score, true, none(2)[0])], 0.5) == pytest.approx((1 + 2 / 3) / 2)
    assert detector.average_precision([(found, score, true, torch.tensor([False, True]))], 0.5) == 1.0
    assert detector.average_precision([(found, score.flip(0), true, none(2)[0])], 0.5) == pytest.approx((1 + 1) / 2)


def test_nothing_found_is_0_and_without_people_there_is_no_precision():
    empty, person = torch.zeros(0, 4), boxes(2, 1)
    assert detector.average_precision([(empty, torch.zeros(0), person, none(2)[0])], 0.5) == 0
    for images in ([], [(person, torch.ones(2), empty, none(0)[0])], [(person, torch.ones(2), person, ~none(2)[0])]):
        with pytest.raises(ValueError, match="needs a labelled person, got none"):
            detector.average_precision(images, 0.5)
