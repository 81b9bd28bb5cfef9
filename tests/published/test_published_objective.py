"""Discriminators of the published system, and the losses that a configuration names."""

import math

import pytest
import torch
from published_models import SHORT, SMALL_PAPER, parameters, published_tiny, trainer

from ast_lib.config import override
from ast_lib.losses.adversarial import discriminator_cross_entropy, negative_entropy
from ast_lib.losses.hsic import hsic_biased
from ast_lib.losses.margin import class_prototypes, prototype_margin
from ast_lib.published.code_losses import (
    hsic_published,
    negative_cross_entropy,
    prototype_margin_squared,
)
from ast_lib.published.decoders import ComplexPrediction
from ast_lib.published.discriminators import build_discriminator
from ast_lib.published.losses import (
    complex_mse,
    magnitude_mse,
    spectral_difference,
    spectral_difference_published,
    temporal_difference,
    temporal_difference_published,
    wrapped_phase,
)
from ast_lib.published.objective import PublishedObjective


@pytest.mark.parametrize("kind", ["conv", "mlp"])
def test_two_discriminators_share_nothing(kind):
    both = build_discriminator(published_tiny("model.discriminators=2", f"model.discriminator={kind}"))
    content, style = torch.randn(3, 7, 64), torch.randn(3, 32)
    one = parameters(both)
    both.content_logits(content).sum().backward()
    learnt = {name for name, parameter in both.named_parameters() if parameter.grad is not None}
    assert learnt == {name for name in one if name.startswith("content.")}
    both.style_logits(style).sum().backward()
    assert all(parameter.grad is not None for parameter in both.parameters())
    single = build_discriminator(published_tiny("model.style_size=64", f"model.discriminator={kind}"))
    shared = {id(parameter) for parameter in single.parameters()}
    single.content_logits(content).sum().backward()
    assert len(shared) > sum(parameter.grad is None for parameter in single.parameters())


def test_the_papers_discriminator_reads_the_mean_over_sections():
    judge = build_discriminator(SMALL_PAPER)
    content = torch.randn(3, 7, 32)
    assert [tuple(layer.weight.shape) for layer in judge.layers[::2]] == [(128, 32), (128, 128), (2, 128)]
    torch.testing.assert_close(judge.content_logits(content), judge.style_logits(content.mean(dim=1)))
    torch.testing.assert_close(judge.content_logits(content), judge.content_logits(content.flip(1)))


# --- Losses


@pytest.fixture(scope="module")
def run(dataset):
    return trainer(dataset, published_tiny(*SHORT, "training.equalisation=0"))


def losses_with(run, *assignments):
    """Losses of the same networks on the same batch under another configuration."""
    config, batch = override(run.config, *assignments), run.batch(0)
    objective = PublishedObjective(config, run.model, run.discriminator)
    return objective.generator(batch, run._random(0))[0], batch


def test_named_losses_are_the_ones_that_are_used(run):
    losses, batch = losses_with(run)
    model, labels = run.model, batch.labels
    content, style = model.content_encoder(model.encoder_input(batch.heard)), run.objective.styles(batch)
    prototypes = class_prototypes(style, labels, 2)
    logits, helped = run.discriminator.content_logits(content), run.discriminator.style_logits
    help = discriminator_cross_entropy(helped(torch.cat([style, prototypes])), torch.cat([labels, torch.arange(2)]))
    expected = {
        "loss.encoder_objective=entropy": ("adversarial", negative_entropy(logits) + help),
        "loss.encoder_objective=cross_entropy": ("adversarial", negative_cross_entropy(logits, labels) + help),
        "loss.style_help=0": ("adversarial", negative_entropy(logits)),
        "loss.hsic=biased": ("hsic", hsic_biased(style, content.mean(1))),
        "loss.margin_form=hinge": ("margin", prototype_margin(prototypes, 1.0, relative=True)),
        "loss.margin_form=squared": ("margin", prototype_margin_squared(prototypes, 1.0, relative=True)),
        "loss.margin_relative=false": ("margin", prototype_margin(prototypes, 1.0)),
    }
    for assignment, (name, value) in expected.items():
        torch.testing.assert_close(losses_with(run, assignment)[0][name], value)
    assert torch.equal(losses["hsic"], losses_with(run, "loss.hsic=biased")[0]["hsic"])


@pytest.mark.parametrize("axes", ["frames_bins", "published"])
def test_losses_of_the_papers_output(dataset, axes):
    config = override(SMALL_PAPER, f"loss.difference_axes={axes}", "training.seconds=0.5")
    run = trainer(dataset, config)
    run.model.eval()
    batch = run.batch(0)
    losses, content = run.generator_losses(batch, 0)
    model, style = run.model, run.objective.styles(batch)
    target = model.target(batch.features)
    spread = class_prototypes(style, batch.groups, 2)[batch.groups]
    prediction = model.decoder(target, torch.ones(target.shape[:2], dtype=torch.bool), content, spread)
    assert isinstance(prediction, ComplexPrediction) and target.shape[1] >= 2
    estimate, truth = torch.complex(prediction.real, prediction.imaginary), torch.complex(*target.chunk(2, dim=2))
    along_time, along_frequency = {
        "frames_bins": (temporal_difference, spectral_difference),
        "published": (temporal_difference_published, spectral_difference_published),
    }[axes]
    expected = {
        "mse": complex_mse(estimate, truth),
        "magnitude": magnitude_mse(estimate, truth),
        "phase": wrapped_phase(estimate, truth, squared=True),
        "temporal": along_time(estimate, truth),
        "spectral": along_frequency(estimate, truth),
        "hsic": hsic_published(style, content.mean(dim=1)),
    }
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, rtol=1e-4, atol=1e-6)
    weights = {"mse": 1, "magnitude": 0.5, "phase": 0.2, "temporal": 0.3, "spectral": 0.1}
    reconstruction = sum(weight * losses[name].item() for name, weight in weights.items())
    others = {"contrastive": 5, "margin": 0.5, "hsic": 1, "adversarial": 9}
    others = sum(weight * losses[name].item() for name, weight in others.items())
    for step, grown in enumerate((0.5, 1, 1)):  # the weights of the other losses grow over two steps here
        total = run.objective.total(losses, step).item()
        assert total == pytest.approx(5 * reconstruction + grown * others, rel=1e-5)


def test_the_papers_discriminator_weighs_styles_content_and_prototypes(dataset):
    run = trainer(dataset, SMALL_PAPER)
    run.model.eval()
    batch = run.batch(0)
    losses, content = run.generator_losses(batch, 0)
    with torch.no_grad():
        found = sum(run.objective.discriminate(batch, content))
        style, judge = run.objective.styles(batch), run.discriminator
        prototypes = class_prototypes(style, batch.labels, 2)
        parts = [(style, batch.labels), (content.mean(1), batch.labels), (prototypes, torch.arange(2))]
        entropies = [discriminator_cross_entropy(judge.style_logits(codes), labels) for codes, labels in parts]
    assert found.item() == pytest.approx((entropies[0] + 2 * entropies[1] + 0.5 * entropies[2]).item(), rel=1e-5)
    # Before training it knows nothing, and its loss is 3.5 ln 2.
    assert found.item() == pytest.approx(3.5 * math.log(2), abs=0.05)
