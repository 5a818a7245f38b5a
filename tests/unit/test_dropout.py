"""Masks that follow from a seed and the sequence alone."""

import pytest
import torch

from models.dropout import Dropout, Noise, _hashed, _scramble

KEYS = torch.arange(40)


@pytest.mark.parametrize("rate", [0.1, 0.4, 0.5, 0.9])
def test_the_asked_for_share_is_dropped_and_the_rest_is_scaled_up(rate):
    mask = Noise(3, KEYS).mask(rate, 50, 60)
    dropped = mask == 0
    deviation = (rate * (1 - rate) / mask.numel()) ** 0.5
    assert abs(dropped.double().mean().item() - rate) < 5 * deviation
    torch.testing.assert_close(mask[~dropped], torch.full_like(mask[~dropped], 1 / (1 - rate)))


def test_rows_units_steps_seeds_and_layers_draw_apart():
    masks = Noise(3, KEYS).mask(0.5, 20, 30)
    others = [
        Noise(4, KEYS).mask(0.5, 20, 30),
        Noise(3, KEYS).fold(0).mask(0.5, 20, 30),
        Noise(3, KEYS).fold(1).mask(0.5, 20, 30),
    ]
    for first, second in [
        (masks[:-1], masks[1:]),
        (masks[:, :-1], masks[:, 1:]),
        (masks[:, :, :-1], masks[:, :, 1:]),
        *((masks, other) for other in others),
        (others[1], others[2]),
    ]:
        correlation = torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1]
        assert abs(correlation) < 5 / first.numel() ** 0.5


def test_a_sequence_draws_the_same_mask_in_any_batch_and_under_any_padding():
    whole = Noise(3, KEYS).mask(0.4, 20, 30)
    part = Noise(3, KEYS[[5, 2, 39]]).mask(0.4, 12, 30)
    assert torch.equal(part, whole[[5, 2, 39], :12])


def test_single_steps_draw_what_the_whole_mask_has_there():
    steps = torch.arange(40) % 7
    one = Noise(3, KEYS[:40]).mask_at(0.4, steps, 25)
    assert torch.equal(one, Noise(3, KEYS[:40]).mask(0.4, 7, 25)[torch.arange(40), steps])


def test_a_mask_of_known_numbers_stays_what_it_is():
    """So that a training can be repeated by a later version."""
    masks = Noise(2024, torch.tensor([0, 7])).mask(0.5, 1, 16).flatten(1)
    assert ["".join(str(int(number > 0)) for number in row) for row in masks] == ["1010100000101100", "0011010110001001"]


def test_torch_and_numpy_hash_alike():
    keys = torch.tensor([0, 7, -3, 2**62])
    steps, pairs = torch.arange(5, dtype=torch.int32), torch.arange(6, dtype=torch.int32)
    rows = _scramble(keys).to(torch.int32)
    assert rows.numpy().tolist() == _scramble(keys.numpy()).astype("int32").tolist()
    assert _hashed(rows, steps, pairs).tolist() == _hashed(rows.numpy(), steps.numpy(), pairs.numpy()).tolist()


def test_nothing_is_dropped_out_of_training():
    layer, x = Dropout(0.5), torch.ones(4, 3, 2)
    assert layer.eval()(x) is x and (layer.train()(x) == 0).any()


def test_by_itself_a_layer_draws_from_torchs_generator():
    layer, x = Dropout(0.5), torch.ones(4, 3, 2)
    torch.manual_seed(1)
    first, second = layer(x), layer(x)
    torch.manual_seed(1)
    assert torch.equal(layer(x), first) and not torch.equal(first, second)
