"""One texture image for all tubes of a dressed person."""

import numpy as np
from jaxtyping import Float

from people.synth.body.shape import COLUMNS
from people.synth.clothing.figure import Figure
from people.synth.clothing.outfit import Outfit
from people.synth.clothing.textures import part_texture


class TextureAtlas:
    """The textures of all tubes in one image and the texture coordinates of all vertices."""

    def __init__(self, figure: Figure, outfit: Outfit, texel_m: float) -> None:
        textures, column_parts, row_parts, first_row = [], [], [], 0
        for tube in figure.tubes:
            height = max(round(tube.along_m[-1] / texel_m), 8)
            width = max(round(tube.girth_m / texel_m), 8)
            ring_positions = tube.along_m / tube.along_m[-1]
            textures.append(part_texture(tube.name, figure.shape, outfit, (height, width), ring_positions, texel_m))
            row_parts.append(np.repeat(first_row + 0.01 + ring_positions * (height - 0.02), COLUMNS + 1))
            column_parts.append(np.tile(np.linspace(0.01, width - 0.01, COLUMNS + 1), len(ring_positions)))
            first_row += height
        self.width = max(tube_texture.shape[1] for tube_texture in textures)
        image = np.zeros((first_row, self.width, 3), np.float32)
        first_row = 0
        for tube_texture in textures:
            image[first_row : first_row + len(tube_texture), : tube_texture.shape[1]] = tube_texture
            first_row += len(tube_texture)
        self.texels = np.clip(image, 6, 250).reshape(-1, 3)
        self.row, self.column = np.concatenate(row_parts).astype(np.float32), np.concatenate(column_parts).astype(np.float32)

    def colours(self, vertex: np.ndarray, weights: Float[np.ndarray, "2 pixel"]) -> Float[np.ndarray, "pixel 3"]:
        """Texels at barycentric positions in triangles of three vertices each."""
        row, column = interpolate(self.row[vertex], weights), interpolate(self.column[vertex], weights)
        # On a face seen edge-on, barycentric weights may lead slightly outside of the image.
        row = np.clip(row, 0, len(self.texels) // self.width - 1)
        column = np.clip(column, 0, self.width - 1)
        return self.texels[row.astype(np.int32) * self.width + column.astype(np.int32)]


def interpolate(values: Float[np.ndarray, "pixel 3"], weights: Float[np.ndarray, "2 pixel"]) -> Float[np.ndarray, " pixel"]:
    """Values at barycentric positions in triangles, from those of the three corners."""
    return values[:, 0] + weights[0] * (values[:, 1] - values[:, 0]) + weights[1] * (values[:, 2] - values[:, 0])
