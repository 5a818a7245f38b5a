import pytest
import torch

from pipeline.world import sum_in_pairs


@pytest.mark.parametrize(("number", "run"), [(8, 2), (8, 4), (6, 2), (12, 4), (5, 1)])
def test_a_sum_in_pairs_is_to_the_bit_that_of_the_sums_of_equal_runs(number, run):
    parts = torch.randn(number, 10_000, generator=torch.Generator().manual_seed(1))
    whole = sum_in_pairs(parts)
    assert torch.equal(whole, sum_in_pairs(sum_in_pairs(some) for some in parts.split(run)))
    torch.testing.assert_close(whole, parts.sum(0))
    assert number < 6 or not torch.equal(whole, sum(parts[1:], parts[0]))
