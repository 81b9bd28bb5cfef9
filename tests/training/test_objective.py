"""The losses of a step: what back-translation changes, what noise on the content does, which label goes where."""

import dataclasses

import numpy as np
import pytest
import torch
from models import made_dataset, tiny

from ast_lib.audio.levels import RMS
from ast_lib.config import override
from ast_lib.evaluation.metrics import log_spectral_distance
from ast_lib.losses.margin import class_prototypes
from ast_lib.networks.decoder import Prediction
from ast_lib.training import Trainer, objective
from ast_lib.training.back_translation import back_translate
from ast_lib.training.batches import Translation
from ast_lib.training.groups import group_styles, style_spread
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


def phases(share):
    return [
        {"name": "first", "start": 0.0},
        {"name": "last", "start": 0.5, "back_translation": share},
    ]


def test_back_translation_changes_what_is_heard_and_nothing_else(run):
    batch = run.batch(0)
    changed = back_translate(run.objective, batch, 0.5, random())
    moved = (changed.heard.stft_magnitude != batch.heard.stft_magnitude).flatten(1).any(dim=1)
    assert 0 < moved.sum() < 8
    # Every changed clip is heard on the other instrument, every other as it was.
    assert torch.equal(changed.heard_labels != batch.heard_labels, moved)
    assert torch.equal(changed.heard.cqt_magnitude[~moved], batch.heard.cqt_magnitude[~moved])
    for name in ("features", "labels", "groups", "frames"):
        assert getattr(changed, name) is getattr(batch, name)


def test_a_clip_that_is_heard_on_a_third_instrument_is_played_on_any_that_is_known(run):
    """Clips that are heard on an instrument change it; of no voice, they get one of the batch, both in the long run."""
    heard = torch.tensor([0, 1, 0, 1, -100, -100, -100, -100])
    batch = dataclasses.replace(run.batch(0), heard_labels=heard)
    played = []
    for seed in range(6):
        changed = back_translate(run.objective, batch, 1.0, random(seed))
        translation = changed.translation
        assert translation.chosen.tolist() == list(range(8)) and torch.equal(changed.heard_labels, translation.voices)
        assert changed.heard_labels[:4].tolist() == [1, 0, 1, 0]
        played += changed.heard_labels[4:].tolist()
        assert torch.isfinite(changed.heard.stft_magnitude).all() and torch.equal(changed.labels, batch.labels)
    assert set(played) == {0, 1}
    share = back_translate(run.objective, batch, 0.25, random())
    assert len(share.translation.chosen) == 2
    rest = torch.ones(8, dtype=torch.bool).index_fill(0, share.translation.chosen, False)
    assert torch.equal(share.heard_labels[rest], heard[rest])


def test_what_is_heard_is_the_models_own_transfer(run):
    batch = run.batch(0)
    changed = back_translate(run.objective, batch, 1.0, random())
    model = run.model
    style = class_prototypes(model.style_encoder(model.encoder_input(batch.features)), batch.groups, 2)[1]
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

    def spy(objective, batch, share, random):
        shares.append(share)
        assert torch.is_grad_enabled()  # switched off inside
        return batch

    config = dataclasses.replace(
        CONFIG, curriculum=tuple(type(CONFIG.curriculum[0])(**phase) for phase in phases(0.25))
    )
    monkeypatch.setattr(objective, "back_translate", spy)
    for step in (0, 3, 4, 7):
        of(config, run).generator(run.batch(0), step, random())
    assert shares == [0.25, 0.25]
    monkeypatch.undo()
    changed = back_translate(run.objective, run.batch(0), 1.0, random())
    assert not changed.heard.stft_magnitude.requires_grad


def test_a_share_of_0_leaves_the_batch(run):
    batch = run.batch(0)
    assert back_translate(run.objective, batch, 0.0, random()) is batch


def test_noise_on_the_content_leaves_its_energy_and_costs_reconstruction(run):
    torch.nn.init.normal_(run.model.decoder.head.weight, std=0.2)
    batch = run.batch(0)
    noisy = override(CONFIG, "model.content_noise=5.0")
    plain, loud = (of(config, run).generator(batch, 0, random()) for config in (CONFIG, noisy))
    assert torch.equal(plain[0]["content_energy"], loud[0]["content_energy"])
    assert not torch.equal(plain[0]["magnitude"], loud[0]["magnitude"])
    assert (loud[2] - plain[2]).square().mean().sqrt() == pytest.approx(5.0 * (4 / 3) ** 0.5, rel=0.1)


def test_noise_on_the_style_reaches_its_losses_and_the_decoder(run):
    torch.nn.init.normal_(run.model.decoder.head.weight, std=0.2)
    batch = run.batch(0)
    noisy = override(CONFIG, "model.style_noise=5.0")
    plain, loud = (of(config, run).generator(batch, 0, random()) for config in (CONFIG, noisy))
    assert torch.equal(plain[2], loud[2])  # content has none
    for name in ("contrastive", "margin", "magnitude"):
        assert not torch.equal(plain[0][name], loud[0][name])


def test_the_style_of_a_group_counts_the_clip_itself_or_the_others_alone():
    styles = torch.tensor([[1.0, 0.0], [4.0, 4.0], [3.0, 2.0], [8.0, 4.0], [9.0, 9.0]])
    groups = torch.tensor([0, 1, 0, 1, 1])
    mine = group_styles(styles, groups, own=True)
    torch.testing.assert_close(mine, torch.tensor([[2.0, 1.0], [7, 17 / 3], [2, 1], [7, 17 / 3], [7, 17 / 3]]))
    others = group_styles(styles, groups, own=False)
    torch.testing.assert_close(others, torch.tensor([[3.0, 2.0], [8.5, 6.5], [1, 0], [6.5, 6.5], [6, 4]]))


@pytest.mark.parametrize("own", [True, False])
def test_a_clip_is_predicted_with_the_style_that_the_others_of_its_group_give_it(run, own, monkeypatch):
    torch.nn.init.normal_(run.model.decoder.head.weight, std=0.2)
    styles = torch.randn(8, CONFIG.model.style_size, generator=random(), requires_grad=True)
    monkeypatch.setattr(Objective, "styles", lambda self, batch: styles)
    seen = []
    call = run.model.decoder.forward
    monkeypatch.setattr(run.model.decoder, "forward", lambda *inputs: seen.append(inputs[3]) or call(*inputs))
    config = override(CONFIG, f"training.own_style={str(own).lower()}")
    batch = run.batch(0)
    of(config, run).generator(batch, 0, random())
    for received in seen:
        (gradient,) = torch.autograd.grad(received[0].sum(), styles, retain_graph=True)
        mates = (batch.groups == batch.groups[0]).float()
        expected = mates / 4 if own else (mates - torch.eye(8)[0]) / 3  # two groups of four clips
        torch.testing.assert_close(gradient, expected[:, None].expand_as(styles))
    assert seen


def test_the_spread_of_styles_is_that_within_groups_whatever_their_scale():
    styles, groups = torch.tensor([[1.0, 3.0], [2.0, 0.0], [3.0, 3.0], [2.0, 2.0]]), torch.tensor([0, 1, 0, 1])
    # Group 0 is 1 away from its mean in the first value, group 1 in the second: 4 of 8 squares, of a sum of 40.
    assert style_spread(styles, groups).item() == pytest.approx(4 / 40)
    assert style_spread(7 * styles, groups).item() == pytest.approx(4 / 40)
    assert style_spread(styles, torch.arange(4)).item() == 0  # a group of one clip
    assert style_spread(styles[[0, 1, 0, 1]], groups).item() == 0
    assert style_spread(torch.zeros(4, 2), groups).item() == 0


def test_the_spread_pulls_each_clip_towards_its_group_and_not_outwards():
    styles = torch.tensor([[1.0, 3.0], [2.0, 0.0], [3.0, 3.0], [2.0, 2.0]], requires_grad=True)
    style_spread(styles, torch.tensor([0, 1, 0, 1])).backward()
    expected = 2 / 40 * torch.tensor([[-1.0, 0.0], [0.0, -1.0], [1.0, 0.0], [0.0, 1.0]])
    torch.testing.assert_close(styles.grad, expected)


def test_the_spread_is_measured_before_the_noise_and_weighed_by_its_constant(run):
    batch = run.batch(0)
    noisy = override(CONFIG, "model.style_noise=5.0", "loss.style_spread=2.5")
    plain, loud = (of(config, run).generator(batch, 0, random())[0] for config in (CONFIG, noisy))
    assert plain["style_spread"] == loud["style_spread"] > 0
    total = of(noisy, run).total(loud, 0) - run.objective.total(loud, 0)
    assert total.item() == pytest.approx((2.5 - 5.0) * loud["style_spread"].item(), rel=1e-3)


def test_the_envelope_is_compared_in_the_phases_that_give_it_a_weight(run):
    batch = run.batch(0)
    louder = dataclasses.replace(CONFIG.curriculum[-1], envelope=0.5)
    with_envelope = dataclasses.replace(CONFIG, curriculum=(*CONFIG.curriculum[:-1], louder))
    losses = [of(with_envelope, run).generator(batch, step, random())[0] for step in (0, CONFIG.training.steps - 1)]
    assert losses[0]["envelope"] == 0 < losses[1]["envelope"]
    plain = run.objective.total(losses[1], CONFIG.training.steps - 1)
    total = of(with_envelope, run).total(losses[1], CONFIG.training.steps - 1)
    assert (total - plain).item() == pytest.approx(0.5 * losses[1]["envelope"].item(), rel=1e-4)


def test_the_error_of_envelopes_is_that_of_magnitudes(run):
    batch = run.batch(0)
    truth = batch.features.stft_magnitude
    exact = run.model.normalise(truth)
    prediction = Prediction(exact, torch.ones_like(exact), torch.zeros_like(exact))
    assert run.objective.envelope(prediction, batch, 1.0).item() == pytest.approx(0, abs=0.2)
    twice = dataclasses.replace(prediction, magnitude=run.model.normalise(truth * 2**0.3))
    assert run.objective.envelope(twice, batch, 1.0).item() == pytest.approx(20 * np.log10(2), abs=0.2)
    assert run.objective.envelope(twice, batch, 0.0).item() == 0


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


# --- Back-translated clips


def with_critic(*assignments):
    """A configuration that back-translates at every step, and a run of it."""
    first = phases(0.0)[0] | {"back_translation": 0.5}
    config = dataclasses.replace(
        override(CONFIG, "loss.realism=0.1", "loss.agreement=0.3", *assignments),
        curriculum=(type(CONFIG.curriculum[0])(**first),),
    )
    return config, Trainer(config, made_dataset(config), "cpu")


def test_agreement_is_the_change_of_the_content_over_its_energy():
    config, run = with_critic()
    content = torch.randn(8, 5, 6, generator=random())
    chosen = torch.tensor([1, 4])
    before = content[chosen] + 0.5
    translation = Translation(chosen, before, None, chosen, 0.5)
    agreeing = of(override(config, "loss.realism=0"), run)

    def losses_of(translation):
        return agreeing.translation(dataclasses.replace(run.batch(0), translation=translation), content)

    losses = losses_of(translation)
    assert losses["agreement"].item() == pytest.approx(0.5 * 0.25 / content.square().mean().item(), rel=1e-5)
    assert losses["realism"].item() == 0
    same = translation._replace(content=content[chosen])
    assert losses_of(same)["agreement"].item() == 0
    assert losses_of(None)["agreement"].item() == 0


def test_what_was_played_is_judged_as_the_voice_it_is_for_and_teaches_encoder_and_decoder():
    config, run = with_critic()
    losses, heard, _ = run.objective.generator(run.batch(0), 0, random())
    translation = heard.translation
    assert torch.equal(translation.voices, heard.heard_labels[translation.chosen])
    assert not translation.content.requires_grad and translation.magnitude.requires_grad
    scores = run.discriminator.critic.eval()(translation.magnitude, translation.voices)
    assert losses["realism"].item() == pytest.approx(-scores.mean().item(), abs=1e-6)
    run.model.zero_grad()
    losses["realism"].backward()
    for network in (run.model.content_encoder, run.model.style_encoder, run.model.decoder):
        assert any(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())


def test_the_critic_learns_from_its_own_loss_and_nothing_else_does():
    config, run = with_critic()
    _, heard, content = run.objective.generator(run.batch(0), 0, random())
    run.discriminator.zero_grad()
    run.model.zero_grad()
    *_, hinge = run.objective.discriminate(heard, content)
    assert 0 < hinge.item() < 4
    hinge.backward()
    learning = {name for name, value in run.discriminator.named_parameters() if value.grad is not None}
    assert learning and all(name.startswith("critic.") for name in learning)
    assert all(value.grad is None for value in run.model.parameters())


def test_without_back_translation_the_critic_waits():
    config, run = with_critic()
    config = dataclasses.replace(config, curriculum=CONFIG.curriculum)
    waiting = of(config, run)
    losses, heard, content = waiting.generator(run.batch(0), 0, random())
    assert losses["realism"].item() == losses["agreement"].item() == 0
    *_, hinge = waiting.discriminate(heard, content)
    assert hinge.item() == 0 and not hinge.requires_grad


def test_the_total_counts_both_losses_with_their_weights():
    config, run = with_critic()
    losses, *_ = run.objective.generator(run.batch(0), 0, random())
    without = override(config, "loss.agreement=0", "loss.realism=0")
    difference = run.objective.total(losses, 0) - of(without, run).total(losses, 0)
    expected = 0.3 * losses["agreement"] + 0.1 * losses["realism"]
    assert difference.item() == pytest.approx(expected.item(), abs=1e-5)
