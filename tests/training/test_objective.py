"""The losses of a step: whose style a clip is predicted with, and which label goes where."""

import dataclasses

import pytest
import torch
from models import made_dataset, tiny

from ast_lib.config import override
from ast_lib.evaluation.metrics import log_spectral_distance
from ast_lib.networks.decoder import Prediction
from ast_lib.training import Trainer, objective
from ast_lib.training.objective import Objective

CONFIG = tiny("training.steps=8", "training.seconds=0.4", "training.batch=8")


@pytest.fixture(scope="module")
def run():
    return Trainer(CONFIG, made_dataset(CONFIG), "cpu")


def of(config, run):
    """The objective of another configuration with the networks of a run."""
    return Objective(config, run.model, run.discriminator)


def random(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_clip_is_predicted_with_the_mean_style_of_its_group(run, monkeypatch):
    torch.nn.init.normal_(run.model.decoder.head.weight, std=0.2)
    styles = torch.randn(8, CONFIG.model.style_size, generator=random(), requires_grad=True)
    monkeypatch.setattr(Objective, "styles", lambda self, batch: styles)
    seen = []
    call = run.model.decoder.forward
    monkeypatch.setattr(run.model.decoder, "forward", lambda *inputs: seen.append(inputs[3]) or call(*inputs))
    batch = run.batch(0)
    run.objective.generator(batch, random())
    for received in seen:
        (gradient,) = torch.autograd.grad(received[0].sum(), styles, retain_graph=True)
        expected = (batch.groups == batch.groups[0]).float() / 4  # two groups of four clips
        torch.testing.assert_close(gradient, expected[:, None].expand_as(styles))
    assert seen


def test_the_discriminator_learns_the_voice_that_is_heard(run, monkeypatch):
    asked = []

    def note(logits, labels):
        asked.append(labels.tolist())
        return logits.sum()

    batch = dataclasses.replace(run.batch(0), heard_labels=torch.ones(8, dtype=torch.long))
    content = run.model.content_encoder(run.model.encoder_input(batch.heard))
    monkeypatch.setattr(objective, "discriminator_cross_entropy", note)
    run.objective.discriminate(batch, content)
    assert asked == [[1] * 8, [0, 1] * 4 + [0, 1]]


def test_the_discriminator_learns_nothing_from_a_clip_of_no_voice(run):
    batch = run.batch(0)
    content = run.model.content_encoder(run.model.encoder_input(batch.heard)).detach().requires_grad_()
    known = torch.tensor([0, 1, 2, 5])
    labels = torch.full((8,), -100).index_put((known,), batch.labels[known])
    on_content, *_ = run.objective.discriminate(dataclasses.replace(batch, heard_labels=labels), content)
    logits = run.discriminator.content_logits(content[known])
    expected = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), batch.labels[known].repeat_interleave(logits.shape[1])
    )
    assert on_content.item() == pytest.approx(expected.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(on_content, content)
    assert gradient.flatten(1).any(dim=1).nonzero()[:, 0].tolist() == known.tolist()
    nobody = dataclasses.replace(batch, heard_labels=torch.full((8,), -100))
    assert run.objective.discriminate(nobody, content)[0].item() == 0


def test_spectral_distance_is_the_metric_on_every_fourth_section(run):
    batch = run.batch(0)
    shape = batch.features.stft_magnitude.shape
    estimate, truth = torch.rand(2, *shape, generator=random()).unbind(0)
    batch = dataclasses.replace(batch, features=dataclasses.replace(batch.features, stft_magnitude=truth))
    prediction = Prediction(run.model.normalise(estimate), torch.ones(shape), torch.zeros(shape))
    expected = log_spectral_distance(
        (estimate[:, ::4].clamp_min(1e-3) ** (1 / 0.3)).flatten(1, 2), (truth[:, ::4] ** (1 / 0.3)).flatten(1, 2)
    ).mean()
    for weight, distance in ((0.05, expected.item()), (0.0, 0.0)):
        found = of(override(CONFIG, f"loss.log_spectral={weight}"), run).reconstruction(prediction, batch)
        assert found["log_spectral"].item() == pytest.approx(distance, rel=1e-4)
