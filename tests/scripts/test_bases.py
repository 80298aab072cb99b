"""What the scripts that make bases share."""

import bases
import torch


def test_newton_schulz_brings_singular_values_near_one():
    torch.manual_seed(0)
    for shape in ((8, 20), (20, 8)):
        values = torch.linalg.svdvals(bases.orthogonal(torch.randn(shape)))
        assert 0.6 < values.min() <= values.max() < 1.3
