"""Random loss weighting: the weights are drawn anew for every step."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from people.training.task_weights.base import Weighting


class RandomWeights(Weighting):
    """w = K softmax(z), z_t drawn from N(0, 1) for each of the K terms at every step (Lin et al., TMLR 2022).

    The numbers are drawn on the host from torch's generator, for the step that follows. Over several processes the first one's
    are used by all: buffers are broadcast.
    """

    z: Tensor

    def __init__(self, given: Mapping[str, float]) -> None:
        super().__init__(given)
        self.register_buffer("z", torch.randn(len(self.names)))

    def weights(self, active: Sequence[str]) -> dict[str, Tensor]:
        """w_t in the present step; they sum to the number of terms."""
        return dict(zip(active, len(active) * torch.softmax(self.z[self.rows(active)], 0), strict=True))

    def step_end(self) -> None:
        """Draw the weights of the next step."""
        self.z.copy_(torch.randn(len(self.names)))
