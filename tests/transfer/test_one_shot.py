"""One-shot style: what the encoder makes of a clip, what fitting changes, and clips that have no style."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from models import noise, tiny, tone, untrained

from ast_lib.audio.levels import normalise_rms
from ast_lib.config import ModelConfig
from ast_lib.errors import AstError
from ast_lib.transfer import transfer
from ast_lib.transfer.one_shot import FIT_RATE, clip_style, clip_styles, fit_rate, fit_styles, redraw_error

RATE = 22050


def with_steps(model, steps):
    """The same networks, which fit a style by so many steps."""

    class Sizes(ModelConfig):
        style_fit = steps

    other = untrained(dataclasses.replace(model.config, model=Sizes(**dataclasses.asdict(model.config.model))))
    other.load_state_dict(model.state_dict())
    return other


@pytest.fixture(scope="module")
def model():
    return with_steps(untrained(tiny("model.window=32", "model.overlap=8")), 5)


@pytest.fixture(scope="module")
def unfitted(model):
    return with_steps(model, 0)


def stacked(*clips):
    return torch.from_numpy(np.stack([normalise_rms(clip) for clip in clips]))


def error_of(model, audio, style):
    """Error of the whole clips, section by section."""
    features = model.representation(audio)
    with torch.no_grad():
        target, content = model.target(features), model.encode_content(features)
        parts = [
            (b - a) * redraw_error(model, target[:, a:b], content[:, a:b], style)
            for a, b in model.windows(content.shape[1])
        ]
    return sum(parts)


# --- What the encoder makes of a clip


def test_without_fitting_the_style_of_a_short_clip_is_the_encoder_s(unfitted):
    clip = noise(0.6, 3)  # 14 sections: one window of 32
    clip = clip - clip.mean()
    features = unfitted.representation(stacked(clip))
    expected = unfitted.style_encoder(unfitted.encoder_input(features))
    torch.testing.assert_close(clip_style(unfitted, clip), expected)
    assert clip_style(unfitted, clip).shape == (1, unfitted.config.model.style_size)


def test_without_fitting_the_style_of_a_long_clip_is_the_mean_over_its_windows(unfitted):
    clip = noise(5.0, 4)
    clip = clip - clip.mean()
    inputs = unfitted.encoder_input(unfitted.representation(stacked(clip)))
    windows = unfitted.windows(inputs.shape[1])
    parts = torch.cat([unfitted.style_encoder(inputs[:, start:stop]) for start, stop in windows])
    assert len(windows) > 3 and parts.std(dim=0).max() > 1e-4
    torch.testing.assert_close(clip_style(unfitted, clip)[0], parts.mean(dim=0))


@pytest.mark.parametrize("gain", [2e-3, 0.1, 30.0])
def test_the_loudness_of_a_style_clip_does_not_matter(unfitted, gain):
    clip = noise(1.0, 5)
    torch.testing.assert_close(clip_style(unfitted, gain * clip), clip_style(unfitted, clip), atol=1e-4, rtol=1e-3)


# --- What fitting changes


def test_the_error_is_the_mean_distance_of_a_known_prediction(model):
    target = torch.randn(2, 5, 4, 513, generator=torch.Generator().manual_seed(0))
    content, style = torch.zeros(2, 5, model.config.model.content_size), torch.zeros(2, model.config.model.style_size)
    with torch.no_grad():
        nothing = torch.zeros(2, 5, dtype=torch.bool)
        drawn = model.decoder(target, nothing, content, style).context.float()
        assert redraw_error(model, drawn, content, style).abs().max() == 0
        expected = (drawn[1] - target[1]).abs().mean()
        assert redraw_error(model, target, content, style)[1].item() == pytest.approx(expected.item(), rel=1e-5)
        torch.testing.assert_close(redraw_error(model, drawn + 3, content, style), torch.full((2,), 3.0))


@pytest.mark.parametrize("seconds", [0.6, 5.0])  # one window, several
def test_fitting_lowers_the_error_of_every_clip(model, unfitted, seconds):
    audio = stacked(noise(seconds, 1), tone(seconds))
    before, after = (error_of(model, audio, clip_styles(m, audio)) for m in (unfitted, model))
    assert (after < before).all()


def test_a_step_is_adam_s_and_goes_against_the_gradient(model):
    audio = stacked(noise(0.6, 1))
    features = model.representation(audio)
    start = torch.zeros(1, model.config.model.style_size)
    with torch.no_grad():
        target, content = model.target(features), model.encode_content(features)
    style = start.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(redraw_error(model, target, content, style).sum(), style)
    moved = fit_styles(model, features, start, 1) - start
    # Adam's first step has the size of its rate and the sign of the gradient, whatever the gradient's size.
    clear = gradient.abs() > 1e-6
    assert clear.any()
    torch.testing.assert_close(moved[clear], -fit_rate(model) * gradient[clear].sign(), atol=1e-3, rtol=0)
    assert torch.equal(fit_styles(model, features, start, 0), start)


def test_the_rate_follows_the_scale_of_the_styles(model):
    moved = copy.deepcopy(model)
    moved.prototypes.zero_()
    moved.prototypes[1:, 0] = 3.0 * torch.arange(1, len(moved.prototypes))  # neighbours are 3 apart
    assert fit_rate(moved) == pytest.approx(FIT_RATE * 3 / model.config.model.style_size**0.5)


def test_a_clip_is_fitted_the_same_alone_and_in_a_batch(model):
    audio = stacked(noise(1.5, 1), tone(1.5), noise(1.5, 2))
    styles = clip_styles(model, audio)
    assert styles.shape == (3, model.config.model.style_size) and styles.dtype == torch.float32
    torch.testing.assert_close(clip_styles(model, audio[1:2])[0], styles[1], rtol=1e-3, atol=2e-3)
    assert torch.equal(clip_styles(model, audio), styles)


def test_weights_and_their_gradients_are_left_alone(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for parameter in model.parameters():
        parameter.requires_grad_()
    clip_styles(model, stacked(noise(0.6, 1)))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_fitting_works_where_the_caller_computes_without_gradients(model):
    audio = stacked(noise(0.6, 1))
    expected = clip_styles(model, audio)
    with torch.inference_mode():
        torch.testing.assert_close(clip_styles(model, audio.clone()), expected)
    with torch.no_grad():
        torch.testing.assert_close(clip_styles(model, audio), expected)
    assert not expected.requires_grad


# --- What is refused


@pytest.mark.parametrize(
    ("style", "message"),
    [
        (np.zeros(RATE), "style: found silence"),
        (np.where(np.arange(RATE) == 7, np.nan, 0.1), "style: found 1 samples that are NaN or infinite"),
        (noise(0.49), "style: found 0.49 s, accepted as a style is 0.5 s or more"),
        (np.zeros((2, RATE)), r"style: found audio of shape \(2, 22050\)"),
        (np.zeros(0), r"style: found audio of shape \(0,\)"),
    ],
)
def test_clips_that_have_no_style(model, style, message):
    with pytest.raises(AstError, match=message):
        transfer(model, noise(0.5), style=style)
