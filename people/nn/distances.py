"""Distances between embeddings of several strips: the mean over the strips of the Euclidean distances within each strip."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

# ‖a - b‖² as ‖a‖² + ‖b‖² - 2ab keeps about 1e-7 of ‖a‖² + ‖b‖²: pairs that are nearer than this share of it are computed again.
NEAR_SHARE = 1e-2
PROBE_BLOCK, GALLERY_BLOCK, NEAR_BLOCK = 512, 4096, 65_536


def mean_strip_distance(
    probe: Float[Tensor, "probe strip channel"], gallery: Float[Tensor, "gallery strip channel"]
) -> Float[Tensor, "probe gallery"]:
    """D(a, b) = 1/S Σ_s ‖a_s - b_s‖₂, in float32; not the distance of the concatenations, which ranks differently."""
    return torch.cat([distance for _, distance in blocks(probe, gallery)])


def blocks(
    probe: Float[Tensor, "probe strip channel"], gallery: Float[Tensor, "gallery strip channel"]
) -> Iterator[tuple[slice, Float[Tensor, "rows gallery"]]]:
    """The rows of `mean_strip_distance`, `PROBE_BLOCK` probes at a time: memory does not grow with the number of probes."""
    gallery_blocks = gallery.split(GALLERY_BLOCK)
    # Centred: a common offset of all embeddings would cost digits.
    centre = torch.stack([block.float().sum(0) for block in gallery_blocks]).sum(0) / len(gallery)
    for start in range(0, len(probe), PROBE_BLOCK):
        rows = slice(start, min(start + PROBE_BLOCK, len(probe)))
        centred = probe[rows].float() - centre
        yield rows, torch.cat([_block(centred, block.float() - centre) for block in gallery_blocks], dim=1)


def _block(
    probe: Float[Tensor, "probe strip channel"], gallery: Float[Tensor, "gallery strip channel"]
) -> Float[Tensor, "probe gallery"]:
    """`mean_strip_distance` of centred embeddings, a matrix product for each strip."""
    strips = probe.shape[1]
    total = probe.new_zeros(len(probe), len(gallery))
    for strip in range(strips):
        first, second = probe[:, strip].contiguous(), gallery[:, strip].contiguous()
        norms = first.square().sum(1)[:, None] + second.square().sum(1)[None, :]
        squared = torch.addmm(norms, first, second.T, alpha=-2)
        near = (squared < NEAR_SHARE * norms).nonzero()
        squared.clamp_(min=0).sqrt_()
        for pairs in near.split(NEAR_BLOCK):
            row, column = pairs.unbind(1)
            squared[row, column] = (first[row] - second[column]).norm(dim=1)
        total += squared
    return total / strips
