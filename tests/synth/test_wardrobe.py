from dataclasses import replace

import cv2
import numpy as np
import pytest

from people.records import ATTRIBUTES, COCO_KEYPOINTS, JOINTS, Take
from people.synth.clothing.wardrobe import build_person
from people.synth.motion.parametric import motions
from people.synth.render import render

SIZE = (208, 160)
K = {name: i for i, name in enumerate(COCO_KEYPOINTS)}
PEOPLE = motions(8, walks=1, frames=40, frame_rate_hz=25, seed=3)
PLAIN = {
    "age": "adult", "backpack": "no", "bag": "no", "handbag": "no", "clothes": "pants", "down": "long", "up": "long",
    "hair": "short", "hat": "no", "gender": "female", "upper_colour": "green", "lower_colour": "blue",
}  # fmt: skip
# Typical sRGB values of the colour names under ambient light.
NAMED_RGB = {
    "black": (30, 30, 30), "white": (225, 225, 225), "red": (175, 40, 40), "purple": (105, 55, 140),
    "yellow": (225, 195, 60), "gray": (120, 120, 120), "blue": (50, 90, 165), "green": (60, 120, 60),
    "pink": (230, 135, 175), "brown": (95, 65, 40),
}  # fmt: skip


def _take(person=0, view_deg=0.0, session=0, **attributes):
    motion = PEOPLE[person].piece(5 * person, 5 * person + 1)
    take = Take("0001", "c1s1", motion, "normal", session, view_deg, identity_seed=20 + person, seed=9)
    return replace(take, appearance=PLAIN | attributes)


def _photo(**options):
    return next(render(_take(**options), size_hw=SIZE))


def _changed(a, b):
    return np.abs(a.frame_rgb.astype(int) - b.frame_rgb.astype(int)).sum(axis=-1) > 60


def _lab(rgb):
    pixels = np.asarray(rgb, np.float32).reshape(-1, 1, 3) / 255
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB).reshape(-1, 3)


NAMED_LAB = dict(zip(NAMED_RGB, _lab(list(NAMED_RGB.values())), strict=True))


def _nearest_colour_name(rgb):
    return min(NAMED_LAB, key=lambda name: np.linalg.norm(NAMED_LAB[name] - _lab(rgb)[0]))


def _garment(attribute, colour, **options):
    """Pixels of a garment: those that differ between the garment in white and in black."""
    white, black = (_photo(**options, **{attribute: dye}) for dye in ("white", "black"))
    dyed = np.abs(white.frame_rgb.astype(int) - black.frame_rgb.astype(int)).sum(axis=-1) > 250
    return _photo(**options, **{attribute: colour}).frame_rgb[dyed].astype(float)


@pytest.mark.parametrize("attribute", ["upper_colour", "lower_colour"])
def test_the_mean_colour_of_a_garment_is_nearest_to_its_name(attribute):
    for number, colour in enumerate(ATTRIBUTES[attribute][:-1]):
        for person in (number % 4, number % 4 + 4):
            pixels = _garment(attribute, colour, person=person, view_deg=[0.0, 90.0, 180.0, 300.0][person // 2])
            assert len(pixels) > 300
            assert _nearest_colour_name(pixels.mean(axis=0)) == colour


@pytest.mark.parametrize("attribute", ["upper_colour", "lower_colour"])
def test_people_of_one_colour_do_not_wear_the_same_shade(attribute):
    shades = np.array([_garment(attribute, "blue", person=person).mean(axis=0) for person in range(4)])
    distances = np.linalg.norm(_lab(shades)[:, None] - _lab(shades)[None], axis=-1)
    assert distances[np.triu_indices(4, 1)].min() > 1
    assert distances.max() > 8


@pytest.mark.parametrize("attribute", ["upper_colour", "lower_colour"])
def test_other_is_several_colours_and_none_of_them_all_over(attribute):
    for person in range(6):
        names = [_nearest_colour_name(rgb) for rgb in _garment(attribute, "other", person=person, view_deg=180.0)[::7]]
        shares = sorted((names.count(name) / len(names) for name in set(names)), reverse=True)
        assert shares[0] < 0.75
        assert shares[1] > 0.1


def test_a_hat_rises_above_the_head_and_covers_the_forehead():
    for person in range(6):
        bare, hatted = _photo(person=person), _photo(person=person, hat="yes")
        assert hatted.box_xyxy_px[1] <= bare.box_xyxy_px[1] - 2
        changed = np.nonzero(_changed(bare, hatted))[0]
        assert changed.max() <= bare.keypoints_px[K["nose"], 1] + 2


def test_a_backpack_is_behind_the_back_in_a_side_view_and_has_straps_in_front():
    bare, packed = (_photo(view_deg=90.0, backpack=value) for value in ("no", "yes"))
    rows, columns = np.nonzero(packed.mask & ~bare.mask)
    shoulder, hip = packed.keypoints_px[K["left_shoulder"]], packed.keypoints_px[K["left_hip"]]
    # Seen from the left, walking to the image's left.
    assert len(rows) > 60
    assert np.median(columns) > shoulder[0] + 5
    assert shoulder[1] - 5 < np.median(rows) < hip[1]
    assert _changed(_photo(), _photo(backpack="yes")).sum() > 25


def test_a_bag_hangs_at_the_hip_and_its_strap_runs_over_the_chest():
    for person in range(4):
        bare, bagged = (_photo(person=person, bag=value) for value in ("no", "yes"))
        hips, shoulders = (bare.keypoints_px[[K[f"left_{name}"], K[f"right_{name}"]], 1].mean() for name in ("hip", "shoulder"))
        changed = _changed(bare, bagged)
        hip_rows = slice(int(hips) - 8, int(hips) + 8)
        chest_rows = slice(int(shoulders) + 4, int(hips) - 12)
        assert changed[hip_rows].sum() > 30
        assert changed[chest_rows].any(axis=1).mean() > 0.9


def test_a_handbag_hangs_below_one_hand():
    for person in range(4):
        bare, with_bag = (_photo(person=person, handbag=value) for value in ("no", "yes"))
        rows, columns = np.nonzero(_changed(bare, with_bag))
        wrists = bare.keypoints_px[[K["left_wrist"], K["right_wrist"]]]
        side = np.abs(wrists[:, 0] - np.median(columns)).argmin()
        assert len(rows) > 30
        assert rows.min() > wrists[side, 1]
        assert abs(np.median(columns) - wrists[side, 0]) < 8


def _mean_rgb_between(photo, first, second):
    """Mean colour of 3 x 3 pixels in the middle between two keypoints."""
    x, y = photo.keypoints_px[[K[first], K[second]], :2].mean(axis=0).astype(int)
    return photo.frame_rgb[y - 1 : y + 2, x - 1 : x + 2].astype(float).mean(axis=(0, 1))


def test_short_sleeves_show_skin_on_the_forearm_and_long_ones_cloth():
    for person in range(6):
        for value, redder in (("short", True), ("long", False)):
            rgb = _mean_rgb_between(_photo(person=person, up=value), "left_elbow", "left_wrist")
            assert (rgb[0] > rgb[1]) == redder


@pytest.mark.parametrize("clothes", ["pants", "dress"])
def test_short_clothes_show_skin_on_the_shank_and_long_ones_cloth(clothes):
    for person in range(6):
        for value, redder in (("short", True), ("long", False)):
            photo = _photo(person=person, clothes=clothes, down=value)
            x, y = (0.7 * photo.keypoints_px[K["left_knee"], :2] + 0.3 * photo.keypoints_px[K["left_ankle"], :2]).astype(int)
            assert (photo.frame_rgb[y, x, 0] > photo.frame_rgb[y, x, 2]) == redder


@pytest.mark.parametrize("down", ["short", "long"])
def test_a_dress_fills_the_gap_between_the_thighs(down):
    for person in range(6):
        trousers, dress = (_photo(person=person, clothes=value, down=down) for value in ("pants", "dress"))
        hips, knees = (trousers.keypoints_px[[K[f"left_{name}"], K[f"right_{name}"]], 1].mean() for name in ("hip", "knee"))
        thighs = slice(int(0.7 * hips + 0.3 * knees), int(0.35 * hips + 0.65 * knees))
        assert dress.mask[thighs].sum() > 1.1 * trousers.mask[thighs].sum()


def test_long_hair_lies_on_the_back_and_beside_the_neck():
    for person in range(6):
        short, long = (_photo(person=person, view_deg=180.0, hair=value) for value in ("short", "long"))
        shoulders = short.keypoints_px[[K["left_shoulder"], K["right_shoulder"]], 1].mean()
        assert _changed(short, long)[int(shoulders) :].sum() > 20
        assert not _changed(short, long)[int(short.keypoints_px[K["left_hip"], 1]) :].any()


def _head_share(photo):
    ears = photo.keypoints_px[[K["left_ear"], K["right_ear"]], 0]
    return abs(ears[0] - ears[1]) / (photo.box_xyxy_px[3] - photo.box_xyxy_px[1])


def test_children_are_small_with_large_heads_and_only_the_old_are_grey():
    for person in range(6):
        young, teen, adult, old = (_photo(person=person, age=age) for age in ATTRIBUTES["age"])
        height = [photo.box_xyxy_px[3] - photo.box_xyxy_px[1] for photo in (young, teen, adult)]
        assert height[0] < 0.85 * height[1]
        assert height[1] < height[2]
        assert _head_share(young) > 1.2 * _head_share(teen)
        assert _head_share(teen) > 1.02 * _head_share(adult)
        grey = [build_person(_take(person=person, age=age))[1].hair_rgb for age in ("young", "teenager", "old")]
        assert grey[2].min() > 150 > max(grey[0].min(), grey[1].min())
        assert _head_share(old) == pytest.approx(_head_share(adult), rel=0.12)


def test_a_childs_standing_foot_stays_where_it_steps():
    ankle = JOINTS.index("left_ankle")
    for person in range(4):
        take = replace(_take(person=person, age="young"), motion=PEOPLE[person])
        motion, _, _ = build_person(take)
        ankle_x_m = motion.joints_m[:, ankle, 0] + motion.forward_m
        low = motion.joints_m[:, ankle, 2] < motion.joints_m[:, ankle, 2].min() + 0.004
        is_standing = low[1:] & low[:-1]
        assert is_standing.sum() >= 3
        assert np.median(np.abs(np.diff(ankle_x_m))[is_standing]) * 25 < 0.12


def test_an_old_person_stoops():
    for person in range(4):
        neck, pelvis = JOINTS.index("neck"), JOINTS.index("pelvis")
        postures = [build_person(_take(person=person, age=age))[0].joints_m[0] for age in ("adult", "old")]
        lean = [np.arctan2(*(joints[neck] - joints[pelvis])[[0, 2]]) for joints in postures]
        assert np.degrees(lean[1] - lean[0]) > 5


def test_gender_decides_the_body():
    women, men = (
        np.mean([build_person(_take(person=person, gender=gender))[1].bmi for person in range(8)])
        for gender in ("female", "male")
    )
    assert women < men
    for person in range(4):
        assert build_person(_take(person=person, gender="male"))[1].sex == "male"
        assert _changed(_photo(person=person), _photo(person=person, gender="male")).sum() > 50


def test_clothes_are_the_same_in_all_cameras_and_each_camera_has_its_street():
    first, second = (_photo(session=session) for session in (0, 3))
    inside = cv2.erode(first.mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    is_equal = np.abs(first.frame_rgb[inside].astype(int) - second.frame_rgb[inside]).max(axis=1) <= 1
    assert is_equal.mean() > 0.95  # gaps between the limbs show the street
    corner = (slice(0, 60), slice(0, 40))
    assert np.abs(first.frame_rgb[corner].astype(int) - second.frame_rgb[corner]).mean() > 8
    turned = _photo(view_deg=150.0)
    np.testing.assert_array_equal(first.frame_rgb[corner], turned.frame_rgb[corner])


def test_one_attribute_changes_only_its_garment():
    plain, dyed = _photo(), _photo(lower_colour="brown")
    hips = int(plain.keypoints_px[K["left_hip"], 1])
    assert not _changed(plain, dyed)[: hips - 14].any()
    np.testing.assert_array_equal(plain.mask, dyed.mask)


def test_any_attributes_go_together_and_the_same_take_gives_the_same_bytes():
    rng = np.random.default_rng(0)
    for number in range(40):
        attributes = {name: str(rng.choice(classes)) for name, classes in ATTRIBUTES.items()}
        options = {"person": number % 8, "view_deg": float(rng.uniform(0, 360)), "session": number % 6}
        photo = _photo(**options, **attributes)
        assert 0.3 * SIZE[0] < photo.box_xyxy_px[3] - photo.box_xyxy_px[1] < 0.85 * SIZE[0]
        assert photo.mask.sum() > 600
        if number % 10 == 0:
            assert photo.frame_rgb.tobytes() == _photo(**options, **attributes).frame_rgb.tobytes()


def test_an_appearance_with_an_attribute_too_few_too_many_or_wrong_is_refused():
    with pytest.raises(ValueError, match=r"missing: \['hat'\]"):
        render(replace(_take(), appearance={name: PLAIN[name] for name in PLAIN if name != "hat"}), size_hw=SIZE)
    with pytest.raises(ValueError, match=r"unknown: \['shoes'\]"):
        render(_take(shoes="red"), size_hw=SIZE)
    with pytest.raises(ValueError, match=r"'upper_colour'.*must be one of black, white.*'pink'"):
        render(_take(upper_colour="pink"), size_hw=SIZE)
    with pytest.raises(ValueError, match="condition must be normal"):
        render(replace(_take(), condition="coat"), size_hw=SIZE)
