"""Adversarial losses: known probabilities, ranges, and what each objective pulls the encoders towards."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ast_lib.errors import AstError
from ast_lib.losses.adversarial import discriminator_cross_entropy, negative_entropy
from ast_lib.published.code_losses import negative_cross_entropy


def random_logits(*shape, seed=0):
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_known_probabilities():
    logits = torch.tensor([[0.9, 0.1], [0.2, 0.8]], dtype=torch.float64).log()
    labels = torch.tensor([0, 0])
    expected = -(math.log(0.9) + math.log(0.2)) / 2
    assert discriminator_cross_entropy(logits, labels).item() == pytest.approx(expected)
    assert negative_cross_entropy(logits, labels).item() == pytest.approx(-expected)
    entropies = [p * math.log(p) + (1 - p) * math.log(1 - p) for p in (0.9, 0.2)]
    assert negative_entropy(logits).item() == pytest.approx(sum(entropies) / 2)


@pytest.mark.parametrize("classes", [1, 2, 3, 5])
def test_logits_that_say_nothing_are_at_chance(classes):
    logits, labels = torch.full((4, 6, classes), 2.5, dtype=torch.float64), torch.arange(4) % classes
    assert discriminator_cross_entropy(logits, labels).item() == pytest.approx(math.log(classes))
    assert negative_cross_entropy(logits, labels).item() == pytest.approx(-math.log(classes))
    assert negative_entropy(logits).item() == pytest.approx(-math.log(classes))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 4), st.integers(0, 10**6))
def test_ranges(batch, sections, classes, seed):
    logits, labels = random_logits(batch, sections, classes, seed=seed), torch.arange(batch) % classes
    assert discriminator_cross_entropy(logits, labels).item() >= 0
    assert negative_cross_entropy(logits, labels).item() <= 0
    assert -math.log(classes) - 1e-12 <= negative_entropy(logits).item() <= 0


def test_positions_share_the_label_of_their_clip():
    logits, labels = random_logits(3, 4, 2), torch.tensor([0, 1, 1])
    apart = [discriminator_cross_entropy(logits[:, s], labels).item() for s in range(4)]
    assert discriminator_cross_entropy(logits, labels).item() == pytest.approx(sum(apart) / 4)
    deeper = logits.unflatten(1, (2, 2))
    assert discriminator_cross_entropy(deeper, labels).item() == pytest.approx(sum(apart) / 4)
    assert negative_entropy(deeper).item() == pytest.approx(negative_entropy(logits).item())


def test_a_clip_of_no_class_does_not_count():
    """The mean over the others, as if it were not there: no value, and no gradient on its logits."""
    logits, labels = random_logits(4, 3, 2).requires_grad_(), torch.tensor([0, -100, 1, -100])
    kept = torch.tensor([0, 2])
    loss, expected = (
        discriminator_cross_entropy(logits, labels),
        discriminator_cross_entropy(logits[kept], labels[kept]),
    )
    assert loss.item() == pytest.approx(expected.item())
    assert negative_cross_entropy(logits, labels).item() == pytest.approx(-expected.item())
    (found,), (wanted,) = torch.autograd.grad(loss, logits), torch.autograd.grad(expected, logits)
    torch.testing.assert_close(found, wanted)
    assert not found[[1, 3]].any() and found[[0, 2]].all()


def test_where_no_clip_is_of_a_class_the_loss_is_0():
    logits = random_logits(3, 4, 2).requires_grad_()
    loss = discriminator_cross_entropy(logits, torch.full((3,), -100))
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()


def test_sure_discriminator():
    # 1e4 nats apart: no overflow, and the entropy of certainty is 0, not 0 · log 0 = NaN.
    logits = torch.tensor([[1e4, -1e4]])
    assert discriminator_cross_entropy(logits, torch.tensor([0])).item() == 0
    assert negative_cross_entropy(logits, torch.tensor([1])).item() == pytest.approx(-2e4)
    assert negative_entropy(logits).item() == 0


def test_entropy_rests_at_confusion_and_cross_entropy_does_not():
    logits = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    (entropy,) = torch.autograd.grad(negative_entropy(logits), logits)
    (reversed_,) = torch.autograd.grad(negative_cross_entropy(logits, torch.tensor([0])), logits)
    assert entropy.tolist() == [[0, 0]]
    assert reversed_.tolist() == [[0.5, -0.5]]


def test_entropy_fades_where_the_discriminator_is_sure():
    sizes = []
    for logit in (1.0, 5.0, 20.0):
        logits = torch.tensor([[logit, 0]], dtype=torch.float64, requires_grad=True)
        sizes.append(torch.autograd.grad(negative_entropy(logits), logits)[0].abs().max().item())
    assert sizes[0] > 0.19 > 0.04 > sizes[1] and sizes[2] < 1e-6


def test_invariances():
    logits, labels, order = random_logits(4, 5, 3), torch.tensor([0, 1, 2, 1]), torch.tensor([2, 0, 3, 1])
    shift = random_logits(4, 5, 1, seed=1)
    relabelled = torch.tensor([2, 0, 1])  # class k becomes class relabelled[k]
    for moved, moved_labels in [
        (logits + shift, labels),
        (logits[order], labels[order]),
        (logits[..., relabelled.argsort()], relabelled[labels]),
    ]:
        expected = discriminator_cross_entropy(logits, labels).item()
        assert discriminator_cross_entropy(moved, moved_labels).item() == pytest.approx(expected)
        assert negative_entropy(moved).item() == pytest.approx(negative_entropy(logits).item())


def test_gradients_agree_with_finite_differences():
    logits, labels = random_logits(3, 4, 3).requires_grad_(), torch.tensor([0, 2, 2])
    assert torch.autograd.gradcheck(negative_entropy, (logits,))
    assert torch.autograd.gradcheck(lambda x: discriminator_cross_entropy(x, labels), (logits,))
    assert torch.autograd.gradcheck(lambda x: negative_cross_entropy(x, labels), (logits,))


@pytest.mark.parametrize("shape, labels", [((1, 2), [1]), ((1, 6, 2), [0]), ((4, 2), [1, 1, 1, 1])])
def test_one_clip_and_one_class(shape, labels):
    logits, labels = random_logits(*shape), torch.tensor(labels)
    log_probability = logits.log_softmax(-1)[..., labels[0]]
    assert discriminator_cross_entropy(logits, labels).item() == pytest.approx(-log_probability.mean().item())
    assert negative_entropy(logits).item() < 0


def test_silent_logits_have_a_finite_gradient():
    logits = torch.zeros(2, 3, 2, requires_grad=True)
    loss = negative_entropy(logits) + discriminator_cross_entropy(logits, torch.tensor([0, 1]))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6) and torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_lower_precision_agrees(dtype, tolerance):
    logits, labels = random_logits(6, 8, 3), torch.arange(6) % 3
    for found, exact in [
        (negative_entropy(logits.to(dtype)), negative_entropy(logits)),
        (discriminator_cross_entropy(logits.to(dtype), labels), discriminator_cross_entropy(logits, labels)),
        (negative_cross_entropy(logits.to(dtype), labels), negative_cross_entropy(logits, labels)),
    ]:
        assert found.dtype == torch.float32
        assert found.item() == pytest.approx(exact.item(), rel=tolerance)


def test_nan_shows():
    logits = random_logits(3, 2)
    logits[1, 0] = math.nan
    assert torch.isnan(negative_entropy(logits))
    assert torch.isnan(discriminator_cross_entropy(logits, torch.tensor([0, 1, 0])))
    assert torch.isnan(negative_cross_entropy(logits, torch.tensor([0, 1, 0])))


def test_wrong_number_of_labels_is_named():
    with pytest.raises(AstError, match=r"labels: found shape \(2,\), accepted is the shape of clips, \(3,\)"):
        discriminator_cross_entropy(random_logits(3, 2, 2), torch.tensor([0, 1]))
