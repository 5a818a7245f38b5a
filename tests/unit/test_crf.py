"""The conditional random field against brute force over all label sequences."""

from itertools import pairwise, product

import pytest
import torch

from models.config import IGNORED
from models.crf import CRF, forbidden_by_bio

LENGTHS = torch.tensor([6, 1, 4, 3])
BIO = ("O", "B-x", "I-x", "B-y")


def make_crf(num_labels=4, labels=()):
    torch.manual_seed(0)
    crf = CRF(num_labels, labels).double()
    for parameter in crf.parameters():
        torch.nn.init.normal_(parameter, std=3.0)
    emissions = torch.randn(4, 6, num_labels, dtype=torch.float64)
    for row, length in enumerate(LENGTHS.tolist()):
        emissions[row, length:] *= 30.0  # what stands in the padding would outweigh the rest
    return crf, emissions


def _all_paths(crf, emissions, length):
    """Give every label sequence of a length with its score, added up term by term."""
    for path in product(range(emissions.shape[1]), repeat=length):
        score = crf.start[path[0]] + crf.end[path[-1]]
        score = score + sum(emissions[t, label] for t, label in enumerate(path))
        score = score + sum(crf.transitions[a, b] for a, b in pairwise(path))
        yield path, score.item()


@pytest.mark.parametrize("num_labels", [1, 2, 4])
def test_the_log_partition_the_marginals_and_the_best_path_equal_brute_force(num_labels):
    crf, emissions = make_crf(num_labels)
    partitions, marginals, best = (f(emissions, LENGTHS) for f in (crf.log_partition, crf.marginals, crf.best_path))
    for row, length in enumerate(LENGTHS.tolist()):
        paths, scores = zip(*_all_paths(crf, emissions[row], length), strict=True)
        total = torch.logsumexp(torch.tensor(scores, dtype=torch.float64), 0)
        torch.testing.assert_close(partitions[row], total, atol=1e-12, rtol=0)
        assert tuple(best[row, :length].tolist()) == paths[max(range(len(paths)), key=scores.__getitem__)]
        expected = torch.zeros(length, num_labels, dtype=torch.float64)
        for path, score in zip(paths, scores, strict=True):
            expected[torch.arange(length), torch.tensor(path)] += (score - total).exp()
        torch.testing.assert_close(marginals[row, :length], expected, atol=1e-12, rtol=0)


def test_the_loss_is_the_negative_log_probability_of_the_labels():
    crf, emissions = make_crf()
    labels = torch.randint(4, (4, 6))
    expected = 0.0
    for row, length in enumerate(LENGTHS.tolist()):
        scores = dict(_all_paths(crf, emissions[row], length))
        total = torch.logsumexp(torch.tensor(list(scores.values()), dtype=torch.float64), 0).item()
        expected += total - scores[tuple(labels[row, :length].tolist())]
    assert crf.loss_sum(emissions, labels, LENGTHS).item() == pytest.approx(expected, abs=1e-11)


def test_at_an_ignored_step_every_label_counts_as_right():
    crf, emissions = make_crf()
    labels = torch.randint(4, (4, 6))
    labels[0, 2] = labels[2, 3] = IGNORED
    expected = 0.0
    for row, length in enumerate(LENGTHS.tolist()):
        scores = dict(_all_paths(crf, emissions[row], length))
        gold = labels[row, :length].tolist()
        fits = [s for path, s in scores.items() if all(g in (p, IGNORED) for p, g in zip(path, gold, strict=True))]
        total, right = (torch.logsumexp(torch.tensor(s, dtype=torch.float64), 0).item() for s in (list(scores.values()), fits))
        expected += total - right
    assert crf.loss_sum(emissions, labels, LENGTHS).item() == pytest.approx(expected, abs=1e-11)


def test_what_stands_in_the_padding_changes_nothing():
    crf, emissions = make_crf()
    labels, noisy, other = torch.randint(4, (4, 6)), emissions.clone(), torch.randint(4, (4, 6))
    for row, length in enumerate(LENGTHS.tolist()):
        noisy[row, length:], other[row, :length] = 50.0, labels[row, :length]
    other[1, 1] = IGNORED  # in the padding
    assert crf.loss_sum(emissions, labels, LENGTHS) == crf.loss_sum(noisy, other, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        assert torch.equal(crf.best_path(emissions, LENGTHS)[row, :length], crf.best_path(noisy, LENGTHS)[row, :length])
        assert torch.equal(crf.marginals(emissions, LENGTHS)[row, :length], crf.marginals(noisy, LENGTHS)[row, :length])


def test_gradients_are_right():
    crf, emissions = make_crf(3)
    labels = torch.randint(3, (4, 6))
    names = [name for name, _ in crf.named_parameters()]

    class Loss(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.crf = crf

        def forward(self, scores):
            return self.crf.loss_sum(scores, labels, LENGTHS)

    def run(scores, *weights):
        return torch.func.functional_call(Loss(), {f"crf.{n}": w for n, w in zip(names, weights, strict=True)}, (scores,))

    assert torch.autograd.gradcheck(run, (emissions.requires_grad_(), *crf.parameters()))


def test_the_gradient_of_the_loss_at_the_emissions_is_the_marginals_less_the_labels():
    crf, emissions = make_crf()
    labels = torch.randint(4, (4, 6))
    crf.loss_sum(emissions.requires_grad_(), labels, LENGTHS).backward()
    marginals = crf.marginals(emissions.detach(), LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        expected = marginals[row, :length] - torch.nn.functional.one_hot(labels[row, :length], 4)
        torch.testing.assert_close(emissions.grad[row, :length], expected, atol=1e-12, rtol=0)


def test_bio_forbids_an_inside_label_after_anything_but_its_own_kind():
    after, start = forbidden_by_bio(("O", "B-x", "I-x", "B-y", "I-y"))
    allowed = {2: {1, 2}, 4: {3, 4}}
    for before, label in product(range(5), repeat=2):
        assert after[before, label] == (label in allowed and before not in allowed[label])
    assert start.tolist() == [False, False, True, False, True]


def test_no_path_and_no_probability_breaks_bio():
    crf, emissions = make_crf(4, BIO)
    emissions[:, :, 2] += 20.0  # everything asks for I-x
    path, marginals = crf.best_path(emissions, LENGTHS), crf.marginals(emissions, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        names = [BIO[label] for label in path[row, :length].tolist()]
        assert all(a in ("B-x", "I-x") for a, b in zip(["O", *names], names, strict=False) if b == "I-x")
    assert marginals[:, 0, 2].max() < 1e-12 and crf.loss_sum(emissions, path, LENGTHS).isfinite()
