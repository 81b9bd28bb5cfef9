"""Equalisation and corrupted context: what changes, what does not, and how often."""

import pytest
import torch

from ast_lib.config import RepresentationConfig
from ast_lib.representation import Features
from ast_lib.representation.spectrogram import F_MIN
from ast_lib.training.augment import ContextRates, corrupt_context, equalise, ride_fader

SHAPE = RepresentationConfig()


class Octaves(RepresentationConfig):
    """At this rate STFT bin 2 ** k has the frequency of the CQT's bin 24 k, to one part in 30,000."""

    sample_rate = 33488


OCTAVES = Octaves()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def ones(clips=3, sections=2, shape=SHAPE):
    stft = torch.ones(clips, sections, shape.section_frames, shape.stft_bins)
    cqt = torch.ones(clips, sections, shape.section_frames, shape.cqt_bins)
    return Features(stft, cqt, torch.polar(stft, 6 * torch.rand(stft.shape, generator=generator(9))))


# --- Equalisation


def test_stft_and_cqt_get_the_same_gain_at_the_same_frequency():
    assert OCTAVES.sample_rate / OCTAVES.n_fft == pytest.approx(F_MIN, rel=1e-4)
    heard = equalise(ones(), OCTAVES, 5.0, generator())
    for octave in range(7):
        stft, cqt = heard.stft_magnitude[..., 2**octave], heard.cqt_magnitude[..., 24 * octave]
        torch.testing.assert_close(stft, cqt, rtol=2e-4, atol=0)


def test_between_two_cqt_bins_the_stft_gain_lies_between_theirs_in_decibels():
    heard = equalise(ones(clips=1), SHAPE, 5.0, generator())
    stft, cqt = heard.stft_magnitude[0, 0, 0].log(), heard.cqt_magnitude[0, 0, 0].log()
    for index in (3, 7, 40, 150):
        position = torch.log2(torch.tensor(index * 22050 / 1024 / F_MIN)) * 24
        low, high = sorted((cqt[int(position)], cqt[int(position) + 1]))
        assert low - 1e-6 <= stft[index] <= high + 1e-6


def test_beyond_the_cqt_the_curve_goes_on():
    heard = equalise(ones(), SHAPE, 5.0, generator())
    stft, cqt = heard.stft_magnitude, heard.cqt_magnitude
    torch.testing.assert_close(stft[..., 0], cqt[..., 0])  # 0 Hz
    assert (stft[:, 0, 0, 195] - stft[:, 0, 0, -1]).abs().min() > 1e-3


def test_the_curve_of_a_clip_is_the_same_in_every_frame_and_differs_between_clips():
    heard = equalise(ones(), SHAPE, 5.0, generator())
    for magnitude in (heard.stft_magnitude, heard.cqt_magnitude):
        assert torch.equal(magnitude, magnitude[:, :1, :1].expand_as(magnitude))
        assert (magnitude[0, 0, 0] - magnitude[1, 0, 0]).abs().max() > 0.01


def test_gains_have_the_deviation_asked_for():
    heard = equalise(ones(clips=2000, sections=1), SHAPE, 5.0, generator())
    decibels = 20 / SHAPE.compression * heard.cqt_magnitude[:, 0, 0].log10()
    # The first bin is a knot of the curve: a draw itself, not the mean of two.
    assert decibels[:, 0].std() == pytest.approx(5.0, rel=0.05) and decibels[:, 0].mean().abs() < 0.4


def test_a_gain_multiplies_whatever_is_there():
    features = ones()
    factor = equalise(features, SHAPE, 5.0, generator()).stft_magnitude
    doubled = Features(2 * features.stft_magnitude, 0 * features.cqt_magnitude, features.advance)
    heard = equalise(doubled, SHAPE, 5.0, generator())
    torch.testing.assert_close(heard.stft_magnitude, 2 * factor)
    assert not heard.cqt_magnitude.any()  # silence stays silence


def test_the_phase_advance_stays():
    features = ones()
    assert equalise(features, SHAPE, 5.0, generator()).advance is features.advance


def test_0_db_changes_nothing():
    features = ones()
    assert equalise(features, SHAPE, 0.0, generator()) is features


def test_the_generator_decides():
    first, again, other = (equalise(ones(), SHAPE, 5.0, generator(seed)).stft_magnitude for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_the_clips_of_a_group_share_a_curve_and_half_of_the_groups_have_none():
    heard = equalise(ones(clips=400), SHAPE, 5.0, generator(), groups=200)
    curves = heard.cqt_magnitude[:, 0, 0]
    assert torch.equal(curves[:200], curves[200:])
    unchanged = (curves[:200] == 1).all(dim=1)
    assert 0.4 < unchanged.float().mean() < 0.6
    # The others differ from each other by more than a gain.
    shapes = curves[:200][~unchanged].log()
    assert (shapes - shapes.mean(dim=1, keepdim=True)).std(dim=0).min() > 0.01


def test_a_groups_curve_keeps_the_energy_of_every_clip():
    magnitude = torch.rand(6, 3, 4, SHAPE.stft_bins, generator=generator())
    features = Features(magnitude, torch.ones(6, 3, 4, SHAPE.cqt_bins), torch.ones_like(magnitude))
    heard = equalise(features, SHAPE, 8.0, generator(3), groups=3)
    before, after = ((m ** (2 / SHAPE.compression)).sum(dim=(1, 2, 3)) for m in (magnitude, heard.stft_magnitude))
    torch.testing.assert_close(before, after, rtol=1e-4, atol=0)
    assert not torch.equal(magnitude, heard.stft_magnitude)


# --- Context


def context(own, null, drop, noise=0.0, clips=400, sections=50, seed=0):
    truth = torch.zeros(clips, sections, 1, 2)
    return corrupt_context(truth, truth + 7, generator(seed), rates=ContextRates(own, null, drop, noise))


def test_the_true_context_untouched():
    found, keep = context(own=0, null=0, drop=0)
    assert not found.any() and keep.all() and keep.dtype == torch.bool and keep.shape == (400, 50)


def test_always_its_own():
    found, keep = context(own=1, null=0, drop=0, noise=0.5)
    assert (found == 7).all() and keep.all()  # noise is for the truth alone


@pytest.mark.parametrize("rates", [{"null": 1, "drop": 0}, {"null": 0, "drop": 1}])
def test_never_any(rates):
    assert not context(own=0, **rates)[1].any()


def test_shares_of_clips_and_tokens():
    found, keep = context(own=0.5, null=0.3, drop=0.4)
    own = found[:, 0, 0, 0] == 7
    assert torch.equal(found == 7, own[:, None, None, None].expand_as(found))  # a clip's whole context or none of it
    empty = ~keep.any(dim=1)
    assert own.float().mean() == pytest.approx(0.5, abs=0.06)
    assert empty.float().mean() == pytest.approx(0.3, abs=0.06)
    assert keep[~empty].float().mean() == pytest.approx(0.6, abs=0.02)
    # The three are drawn apart from one another.
    assert empty[own].float().mean() == pytest.approx(0.3, abs=0.1)


def test_noise_has_the_deviation_asked_for():
    found, _ = context(own=0, null=0, drop=0, noise=0.1)
    assert found.std() == pytest.approx(0.1, rel=0.02) and found.mean().abs() < 2e-3


def test_the_context_depends_on_the_generator_alone():
    first, again, other = (context(0.5, 0.3, 0.4, 0.1, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])


def test_a_batch_of_one_section():
    found, keep = context(own=0, null=0, drop=0, clips=1, sections=1)
    assert found.shape == (1, 1, 1, 2) and keep.shape == (1, 1)


# --- A fader that is ridden


def test_a_fader_draws_straight_lines_in_decibels_between_gains_half_a_second_apart():
    audio = torch.full((400, 3 * 1000), 0.1)
    level = 20 * torch.log10(ride_fader(audio, 1000, 6.0, generator()))
    ends = level[:, [0, -1]]
    # Each clip is brought to its old power, by one gain: the difference of two gains is free of it.
    assert (ends[:, 0] - ends[:, 1]).std().item() == pytest.approx(6 * 2**0.5, rel=0.1)
    bends = level.diff(n=2).abs() > 1e-3
    assert bends.any(dim=0).sum() <= 2 * 6  # seven straight lines from end to end


def test_a_fader_keeps_power_silence_and_a_fader_of_0_db_everything():
    audio = torch.randn(4, 2000, generator=generator(1)) * torch.tensor([[1e-4], [0.07], [1.0], [0.0]])
    ridden = ride_fader(audio, 1000, 10.0, generator())
    torch.testing.assert_close(ridden.square().mean(dim=1), audio.square().mean(dim=1))
    assert not ridden[3].any() and (ridden[:3] != audio[:3]).any(dim=1).all()
    assert ride_fader(audio, 1000, 0.0, generator()) is audio
    assert ride_fader(audio[:1, :1], 1000, 10.0, generator()).shape == (1, 1)
