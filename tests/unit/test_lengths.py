import pytest
import torch

from models.lengths import Packing, Steps, check_lengths, last_outputs, pad, reverse_real_part, step_mask

LENGTHS = torch.tensor([4, 1, 6, 3])


def test_reversing_turns_only_the_real_part_around():
    x = torch.arange(8).view(2, 4)
    assert reverse_real_part(x, torch.tensor([3, 4])).tolist() == [[2, 1, 0, 3], [7, 6, 5, 4]]


@pytest.mark.parametrize("lengths", [LENGTHS, torch.tensor([6, 6, 6, 6])])
def test_reversing_twice_gives_the_inputs_back(lengths):
    x = torch.randn(4, 6, 3)
    assert torch.equal(reverse_real_part(reverse_real_part(x, lengths), lengths), x)


def test_the_last_output_is_that_of_the_last_real_step():
    x = torch.arange(8).view(2, 4, 1)
    assert last_outputs(x, torch.tensor([3, 1])).tolist() == [[2], [4]]


@pytest.mark.parametrize("lengths", [LENGTHS, torch.tensor([6, 6, 6, 6])])
@pytest.mark.parametrize("move", [reverse_real_part, last_outputs])
def test_gradients_go_the_way_back(move, lengths):
    x = torch.randn(4, 6, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda inputs: move(inputs, lengths), x)


def test_padding_is_cleared_whatever_stands_there():
    x = torch.full((2, 3, 1), torch.nan)
    steps = Steps.of(torch.tensor([3, 1]), 3, x.device)
    assert steps.cleared(x).isnan().squeeze(2).tolist() == [[True, True, True], [True, False, False]]
    whole = Steps.of(torch.tensor([3, 3]), 3, x.device)
    assert whole.is_padding is None and whole.cleared(x) is x


def test_real_steps_are_marked():
    assert step_mask(torch.tensor([1, 3]), 3, torch.device("cpu")).tolist() == [[True, False, False], [True, True, True]]


@pytest.mark.parametrize("length", [1, 5, 6])
def test_lengths_from_1_to_the_longest_are_taken(length):
    check_lengths(torch.tensor([length, 6]), torch.zeros(2, 6, 3))


@pytest.mark.parametrize("lengths", [[0, 6], [7, 6], [-1, 6]])
def test_other_lengths_are_refused(lengths):
    with pytest.raises(ValueError, match=r"lengths go from .* expected 1 to 6.* leave empty sequences out"):
        check_lengths(torch.tensor(lengths), torch.zeros(2, 6, 3))


def test_a_length_is_wanted_for_each_row():
    with pytest.raises(ValueError, match=r"shape \(2,\); expected \(3,\)"):
        check_lengths(torch.tensor([1, 2]), torch.zeros(3, 6, 3))


GRID = {  # what Keras's pad_sequences gives for [[1], [2, 3], [4, 5, 6]]
    (None, "pre", "pre"): [[0, 0, 1], [0, 2, 3], [4, 5, 6]],
    (None, "post", "post"): [[1, 0, 0], [2, 3, 0], [4, 5, 6]],
    (1, "pre", "pre"): [[1], [3], [6]],
    (1, "post", "post"): [[1], [2], [4]],
    (2, "pre", "pre"): [[0, 1], [2, 3], [5, 6]],
    (2, "pre", "post"): [[0, 1], [2, 3], [4, 5]],
    (2, "post", "pre"): [[1, 0], [2, 3], [5, 6]],
    (2, "post", "post"): [[1, 0], [2, 3], [4, 5]],
    (4, "pre", "post"): [[0, 0, 0, 1], [0, 0, 2, 3], [0, 4, 5, 6]],
    (4, "post", "pre"): [[1, 0, 0, 0], [2, 3, 0, 0], [4, 5, 6, 0]],
}


@pytest.mark.parametrize(("max_length", "padding", "truncating"), GRID)
def test_padding_and_truncating_at_each_end(max_length, padding, truncating):
    padded, lengths = pad([[1], [2, 3], [4, 5, 6]], max_length, padding=padding, truncating=truncating)
    assert padded.tolist() == GRID[max_length, padding, truncating]
    assert lengths.tolist() == [min(length, max_length or 3) for length in (1, 2, 3)]


def test_an_empty_sequence_is_refused():
    with pytest.raises(ValueError, match=r"sequences \[1\] are empty"):
        pad([[1], [], [2]])


def test_packing_goes_step_by_step_and_knows_each_rows_ends():
    packing = Packing.of(torch.tensor([1, 2, 2, 4]))
    assert packing.counts == [4, 3, 1, 1]
    assert packing.rows.tolist() == [0, 1, 2, 3, 1, 2, 3, 3, 3]
    assert packing.steps.tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 3]
    assert packing.last.tolist() == [0, 4, 5, 8]
    assert packing.mirrored.tolist() == [0, 4, 5, 8, 1, 2, 7, 6, 3]
