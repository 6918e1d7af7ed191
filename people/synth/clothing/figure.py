"""A dressed body as one list of tubes, and their triangles."""

import numpy as np
from jaxtyping import Float, Int

from people.synth.body.shape import Rings, Shape, Skeleton, faces, normals, surface
from people.synth.clothing import body_parts, garments, luggage
from people.synth.clothing.body_parts import Part
from people.synth.clothing.outfit import Outfit


class Figure:
    """All tubes of a dressed person, and their triangles."""

    def __init__(self, shape: Shape, outfit: Outfit) -> None:
        self.shape = shape
        self.parts = _parts(shape, outfit)
        counts = tuple(len(part.along_m) for part in self.parts)
        self.faces: Int[np.ndarray, "face 3"] = faces(counts)
        first = np.cumsum([0, *counts])
        ring = np.arange(first[-1])
        start, stop = np.repeat(first[:-1], counts), np.repeat(first[1:] - 1, counts)
        self._before, self._after = np.maximum(ring - 1, start), np.minimum(ring + 1, stop)
        self._swell = np.concatenate([part.swell for part in self.parts]).astype(np.float32)
        feet = [i for i, part in enumerate(self.parts) if part.name.endswith("foot")]
        self._feet = np.concatenate([np.arange(first[i], first[i + 1]) for i in feet])

    def vertices(
        self, frame: Skeleton
    ) -> tuple[Float[np.ndarray, "frame ring column 3"], Float[np.ndarray, "frame ring column 3"]]:
        """Places and outward normals of all vertices in some frames."""
        tubes = [part.rings(frame) for part in self.parts]
        rings = Rings(
            *(np.concatenate([getattr(tube, name) for tube in tubes], axis=1) for name in ("middle", "side", "front"))
        )
        places = surface(rings, self._swell)
        # Toes bend on the ground instead of passing through it.
        places[:, self._feet, :, 2] = np.maximum(places[:, self._feet, :, 2], 0.004)
        return places, normals(places, self._before, self._after)


def _parts(shape: Shape, outfit: Outfit) -> list[Part]:
    """The tubes of one person in one outfit."""
    found = [body_parts.torso(shape, outfit), body_parts.head(shape), *body_parts.hair(shape)]
    for side in ("left", "right"):
        found += [
            body_parts.leg(side, shape, outfit),
            body_parts.arm(side, shape, outfit),
            body_parts.foot(side, shape, outfit),
        ]
    if outfit.hem > 0:
        found.append(garments.skirt(shape, outfit))
    if outfit.pack is not None:
        found.append(luggage.backpack(shape))
    if outfit.hat is not None:
        found.append(garments.hat(shape, outfit.hat))
    if outfit.bag is not None:
        found.append(luggage.bag(shape, outfit.bag))
    if outfit.handbag is not None:
        found.append(luggage.handbag(shape, outfit.handbag))
    return found
