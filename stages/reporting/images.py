"""Pictures and animations inside a page: a data URL, a size in pixels, a text for who cannot see them."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8
from markupsafe import Markup

WIDE_PX = 680  # small pictures are enlarged to about this width, larger ones scroll on a narrow screen
LOSSLESS_BYTES = 60_000  # a picture that is larger without loss is compressed with loss
QUALITY = 88
FRAMES_KEPT, THUMBNAIL_PX = 24, 480  # of the animation on the front page

Picture = UInt8[np.ndarray, "_ _ 3"]


class Image(NamedTuple):
    """An encoded picture; of an animation also its first frame, shown to those who want no motion and on paper."""

    content: bytes
    suffix: str
    width: int
    height: int
    still: bytes = b""


def encode(picture_rgb: Picture) -> Image:
    """A picture as WebP: without loss where that is small."""
    bgr = cv2.cvtColor(picture_rgb, cv2.COLOR_RGB2BGR)
    content = webp(bgr, 101)
    if len(content) > LOSSLESS_BYTES:
        content = webp(bgr, QUALITY)
    return Image(content, ".webp", picture_rgb.shape[1], picture_rgb.shape[0])


def webp(bgr: np.ndarray, quality: int) -> bytes:
    """WebP of this quality; above 100 without loss."""
    return cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()


def read(file: Path) -> Image:
    """A picture of `evaluate`, or an animation (.webp), encoded for a page."""
    content = file.read_bytes()
    if file.suffix == ".webp":
        frames = animation_frames(content)
        height, width = frames[0].shape[:2]
        return Image(content, ".webp", width, height, webp(frames[0], QUALITY))
    bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError(f"{file} is not a picture that OpenCV reads; run dvc repro evaluate")
    return encode(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))


def animation_frames(content: bytes) -> list[np.ndarray]:
    """The frames of an animation, BGR."""
    is_read, animation = cv2.imdecodeanimation(np.frombuffer(content, np.uint8))
    if not is_read or not len(animation.frames):
        raise ValueError("an animation has no frame that OpenCV reads; run dvc repro evaluate")
    return [np.ascontiguousarray(frame[..., :3]) for frame in animation.frames]


def thumbnail(image: Image) -> Image:
    """A picture or animation of at most THUMBNAIL_PX pixels a side and FRAMES_KEPT frames."""
    factor = min(1.0, THUMBNAIL_PX / max(image.width, image.height))
    size = (round(factor * image.width), round(factor * image.height))

    def small(bgr: np.ndarray) -> np.ndarray:
        return cv2.resize(bgr, size, interpolation=cv2.INTER_AREA) if factor < 1 else bgr

    if not image.still:
        bgr = cv2.imdecode(np.frombuffer(image.content, np.uint8), cv2.IMREAD_COLOR)
        assert bgr is not None
        return Image(webp(small(bgr), QUALITY), ".webp", *size)
    frames = [small(frame) for frame in animation_frames(image.content)[:FRAMES_KEPT]]
    return animated(frames, QUALITY)


def animated(frames_bgr: Sequence[np.ndarray], quality: int, frame_ms: int = 100) -> Image:
    """Frames as an animation that loops."""
    animation = cv2.Animation()
    animation.frames = list(frames_bgr)
    animation.durations = [frame_ms] * len(frames_bgr)
    _, content = cv2.imencodeanimation(".webp", animation, [cv2.IMWRITE_WEBP_QUALITY, quality])
    height, width = frames_bgr[0].shape[:2]
    return Image(content.tobytes(), ".webp", width, height, webp(frames_bgr[0], quality))


def markup(image: Image, alt: str, *, wide_px: int = WIDE_PX, region: bool = True) -> Markup:
    """An <img>, enlarged by a whole number where it is small. A wide one scrolls in a region of its own on narrow screens."""
    factor = max(1, wide_px // image.width)
    width, height = factor * image.width, factor * image.height
    if not width or not alt:
        raise ValueError(f"a picture must have pixels and a text, got {width} x {height} and {alt!r}")
    attributes = f'width="{width}" height="{height}" alt="{escape(alt)}"' + (' class="pixels"' if factor > 1 else "")
    img = f'<img src="{url(image.content, image.suffix)}" {attributes}>'
    if image.still:
        source = f'<source media="(prefers-reduced-motion: reduce), print" srcset="{url(image.still, ".webp")}">'
        img = f"<picture>{source}{img}</picture>"
    if region and width / height > 2.2:
        img = f'<div class="region wide" role="region" tabindex="0" aria-label="{escape(alt)}">{img}</div>'
    return Markup(img)


def url(content: bytes, suffix: str) -> str:
    """A data URL."""
    return f"data:image/{suffix[1:]};base64,{base64.b64encode(content).decode()}"


def strip(frames_rgb: Sequence[Picture], gap_px: int = 3) -> Picture:
    """Frames side by side on white, as high as the first."""
    height = frames_rgb[0].shape[0]
    parts = []
    for frame in frames_rgb:
        resized = cv2.resize(frame, (round(frame.shape[1] * height / frame.shape[0]), height), interpolation=cv2.INTER_AREA)
        parts += [resized, np.full((height, gap_px, 3), 128, np.uint8)]
    return np.hstack(parts[:-1])
