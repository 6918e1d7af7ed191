"""A dressed body as a list of tubes and one triangle mesh."""

import numpy as np
from jaxtyping import Float, Int

from people.synth.body.shape import Rings, Shape, Skeleton, ring_vertices, tube_faces, vertex_normals
from people.synth.clothing import body_parts, garments, luggage
from people.synth.clothing.body_parts import Tube
from people.synth.clothing.outfit import Outfit


class Figure:
    """All tubes of a dressed person and their triangles."""

    def __init__(self, shape: Shape, outfit: Outfit) -> None:
        self.shape = shape
        self.tubes = _build_tubes(shape, outfit)
        counts = tuple(len(tube.along_m) for tube in self.tubes)
        self.faces: Int[np.ndarray, "face 3"] = tube_faces(counts)
        first_ring = np.cumsum([0, *counts])
        rings = np.arange(first_ring[-1])
        first_of_tube, last_of_tube = np.repeat(first_ring[:-1], counts), np.repeat(first_ring[1:] - 1, counts)
        self._previous_ring, self._next_ring = np.maximum(rings - 1, first_of_tube), np.minimum(rings + 1, last_of_tube)
        self._radial_scale = np.concatenate([tube.radial_scale for tube in self.tubes]).astype(np.float32)
        foot_tubes = [i for i, tube in enumerate(self.tubes) if tube.name.endswith("foot")]
        self._foot_rings = np.concatenate([np.arange(first_ring[i], first_ring[i + 1]) for i in foot_tubes])

    def vertices(
        self, skeleton: Skeleton
    ) -> tuple[Float[np.ndarray, "frame ring column 3"], Float[np.ndarray, "frame ring column 3"]]:
        """Positions (m) and outward normals of all vertices per frame."""
        ring_sets = [tube.rings(skeleton) for tube in self.tubes]
        rings = Rings(
            *(
                np.concatenate([getattr(ring_set, name) for ring_set in ring_sets], axis=1)
                for name in ("middle", "side", "front")
            )
        )
        vertices_m = ring_vertices(rings, self._radial_scale)
        # Shoes are flattened at the ground instead of passing through it.
        vertices_m[:, self._foot_rings, :, 2] = np.maximum(vertices_m[:, self._foot_rings, :, 2], 0.004)
        return vertices_m, vertex_normals(vertices_m, self._previous_ring, self._next_ring)


def _build_tubes(shape: Shape, outfit: Outfit) -> list[Tube]:
    """The tubes of one person in one outfit."""
    tubes = [body_parts.torso(shape, outfit), body_parts.head(shape), *body_parts.hair(shape)]
    for side in ("left", "right"):
        tubes += [
            body_parts.leg(side, shape, outfit),
            body_parts.arm(side, shape, outfit),
            body_parts.foot(side, shape, outfit),
        ]
    if outfit.hem > 0:
        tubes.append(garments.skirt(shape, outfit))
    if outfit.backpack is not None:
        tubes.append(luggage.backpack(shape))
    if outfit.hat is not None:
        tubes.append(garments.hat(shape, outfit.hat))
    if outfit.bag is not None:
        tubes.append(luggage.bag(shape, outfit.bag))
    if outfit.handbag is not None:
        tubes.append(luggage.handbag(shape, outfit.handbag))
    return tubes
