"""Distances between embeddings of several strips: the mean over the strips of the Euclidean distances within each strip."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

# ‖a - b‖² as ‖a‖² + ‖b‖² - 2ab keeps about 1e-7 of ‖a‖² + ‖b‖²: pairs that are nearer than this share of it are computed anew.
NEAR_SHARE = 1e-2
PROBES_TOGETHER, GALLERY_TOGETHER, NEAR_TOGETHER = 512, 4096, 65_536


def mean_strip_distance(
    probe: Float[Tensor, "probe strip channel"], gallery: Float[Tensor, "gallery strip channel"]
) -> Float[Tensor, "probe gallery"]:
    """D(a, b) = 1/S Σ_s ‖a_s - b_s‖₂, in float32; not the distance of the concatenations, which ranks differently."""
    return torch.cat([distance for _, distance in blocks(probe, gallery)])


def blocks(
    probe: Float[Tensor, "probe strip channel"], gallery: Float[Tensor, "gallery strip channel"]
) -> Iterator[tuple[slice, Float[Tensor, "part gallery"]]]:
    """The rows of `mean_strip_distance` a few probes at a time: memory for some hundred rows, however many probes there are."""
    parts = gallery.split(GALLERY_TOGETHER)
    centre = torch.stack([part.float().sum(0) for part in parts]).sum(0) / len(gallery)  # an offset of all costs no digits
    for start in range(0, len(probe), PROBES_TOGETHER):
        rows = slice(start, min(start + PROBES_TOGETHER, len(probe)))
        mine = probe[rows].float() - centre
        yield rows, torch.cat([_block(mine, part.float() - centre) for part in parts], dim=1)


def _block(
    probe: Float[Tensor, "probe strip channel"], gallery: Float[Tensor, "gallery strip channel"]
) -> Float[Tensor, "probe gallery"]:
    strips = probe.shape[1]
    total = probe.new_zeros(len(probe), len(gallery))
    for strip in range(strips):
        first, second = probe[:, strip].contiguous(), gallery[:, strip].contiguous()
        norms = first.square().sum(1)[:, None] + second.square().sum(1)[None, :]
        squared = torch.addmm(norms, first, second.T, alpha=-2)
        near = (squared < NEAR_SHARE * norms).nonzero()
        squared.clamp_(min=0).sqrt_()
        for pairs in near.split(NEAR_TOGETHER):
            of_first, of_second = pairs.unbind(1)
            squared[of_first, of_second] = (first[of_first] - second[of_second]).norm(dim=1)
        total += squared
    return total / strips
