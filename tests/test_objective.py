"""The losses of a step: what back-translation changes, what noise on the content does, which label goes where."""

import dataclasses

import pytest
import torch
from models import made_dataset, tiny

from ast_lib import objective
from ast_lib.clips import RMS
from ast_lib.config import override
from ast_lib.losses.margin import class_prototypes
from ast_lib.metrics import log_spectral_distance
from ast_lib.training import Trainer

CONFIG = tiny("training.steps=8", "training.seconds=0.4", "training.batch=8")


@pytest.fixture(scope="module")
def run():
    return Trainer(CONFIG, made_dataset(CONFIG), "cpu")


def random(seed=0):
    return torch.Generator().manual_seed(seed)


def phases(share):
    return [
        {"name": "first", "start": 0.0, "reconstruction": 1.0},
        {"name": "last", "start": 0.5, "reconstruction": 1.0, "back_translation": share},
    ]


def test_back_translation_changes_what_is_heard_and_nothing_else(run):
    batch = run.batch(0)
    changed = objective.back_translate(CONFIG, run.model, batch, 0.5, random())
    moved = (changed.heard.stft_magnitude != batch.heard.stft_magnitude).flatten(1).any(dim=1)
    assert 0 < moved.sum() < 8
    # Every changed clip is heard on the other instrument, every other as it was.
    assert torch.equal(changed.heard_labels != batch.heard_labels, moved)
    assert torch.equal(changed.heard.cqt_magnitude[~moved], batch.heard.cqt_magnitude[~moved])
    for name in ("features", "labels", "slots", "frames"):
        assert getattr(changed, name) is getattr(batch, name)


def test_what_is_heard_is_the_models_own_transfer(run):
    batch = run.batch(0)
    changed = objective.back_translate(CONFIG, run.model, batch, 1.0, random())
    model = run.model
    style = class_prototypes(model.style_encoder(model.encoder_input(batch.features)), batch.slots, 2)[1]
    first = batch.heard.take(torch.tensor([0]))  # a piano clip, to be heard as a violin
    content = model.content_encoder(model.encoder_input(first))
    nothing = torch.zeros(content.shape[:2], dtype=torch.bool)
    prediction = model.decoder(model.normalise(first.stft_magnitude), nothing, content, style[None])
    samples = (batch.frames - 1) * CONFIG.representation.hop
    audio = model.representation.spectrogram.invert(model.to_stft(prediction, batch.frames), samples)
    expected = model.representation(audio * RMS / audio.square().mean().sqrt())
    torch.testing.assert_close(changed.heard.stft_magnitude[:1], expected.stft_magnitude, rtol=1e-3, atol=1e-3)


def test_back_translation_waits_for_its_phase_and_gives_no_gradient_of_its_own(run, monkeypatch):
    shares = []

    def spy(config, model, batch, share, random, part):
        shares.append(share)
        assert torch.is_grad_enabled()  # switched off inside
        return batch

    config = dataclasses.replace(CONFIG, curriculum=override(CONFIG).curriculum)
    config = dataclasses.replace(
        CONFIG, curriculum=tuple(type(CONFIG.curriculum[0])(**phase) for phase in phases(0.25))
    )
    monkeypatch.setattr(objective, "back_translate", spy)
    for step in (0, 3, 4, 7):
        objective.generator_losses(config, run.model, run.discriminator, run.batch(0), step, random())
    assert shares == [0.25, 0.25]
    monkeypatch.undo()
    changed = objective.back_translate(CONFIG, run.model, run.batch(0), 1.0, random())
    assert not changed.heard.stft_magnitude.requires_grad


def test_a_share_of_0_leaves_the_batch(run):
    batch = run.batch(0)
    assert objective.back_translate(CONFIG, run.model, batch, 0.0, random()) is batch


def test_noise_on_the_content_leaves_its_energy_and_costs_reconstruction(run):
    torch.nn.init.normal_(run.model.decoder.head.weight, std=0.2)
    batch = run.batch(0)
    noisy = override(CONFIG, "training.content_noise=5.0")
    plain, loud = (
        objective.generator_losses(config, run.model, run.discriminator, batch, 0, random())
        for config in (CONFIG, noisy)
    )
    assert torch.equal(plain[0]["content_energy"], loud[0]["content_energy"])
    assert not torch.equal(plain[0]["magnitude"], loud[0]["magnitude"])
    assert (loud[2] - plain[2]).std() == pytest.approx(5.0, rel=0.1)


def test_the_discriminator_is_asked_for_the_voice_that_is_heard(run, monkeypatch):
    asked = []

    def note(logits, labels):
        asked.append(labels.tolist())
        return logits.sum()

    batch = dataclasses.replace(run.batch(0), heard_labels=torch.ones(8, dtype=torch.long))
    content = run.model.content_encoder(run.model.encoder_input(batch.heard))
    monkeypatch.setattr(objective, "discriminator_cross_entropy", note)
    objective.discriminator_loss(CONFIG, run.model, run.discriminator, batch, content)
    assert asked == [[1] * 8, [0, 1] * 4 + [0, 1]]


def test_spectral_distance_is_the_metric_on_every_fourth_section():
    estimate, truth = torch.rand(2, 3, 8, 4, 20, generator=random()).unbind(0)
    expected = log_spectral_distance(
        (estimate[:, ::4].clamp_min(1e-3) ** (1 / 0.3)).flatten(1, 2), (truth[:, ::4] ** (1 / 0.3)).flatten(1, 2)
    ).mean()
    assert objective.spectral_distance(estimate, truth, 0.3, 1.0).item() == pytest.approx(expected.item(), rel=1e-4)
    assert objective.spectral_distance(estimate, truth, 0.3, 0.0).item() == 0
