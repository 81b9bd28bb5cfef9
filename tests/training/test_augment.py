"""Equalisation and corrupted context: what changes, what does not, and how often."""

import numpy as np
import pytest
import torch

from ast_lib.config import RepresentationConfig
from ast_lib.data.scores import Notes
from ast_lib.data.synth import shared_synth
from ast_lib.representation import Features, Representation
from ast_lib.training.augment import (
    LOWEST,
    ContextRates,
    change_decay,
    change_gain,
    corrupt_context,
    equalise,
    since_onset,
)

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
    assert OCTAVES.sample_rate / OCTAVES.n_fft == pytest.approx(LOWEST, rel=1e-4)
    heard = equalise(ones(), OCTAVES, 5.0, generator())
    for octave in range(7):
        stft, cqt = heard.stft_magnitude[..., 2**octave], heard.cqt_magnitude[..., 24 * octave]
        torch.testing.assert_close(stft, cqt, rtol=2e-4, atol=0)


def test_between_two_cqt_bins_the_stft_gain_lies_between_theirs_in_decibels():
    heard = equalise(ones(clips=1), SHAPE, 5.0, generator())
    stft, cqt = heard.stft_magnitude[0, 0, 0].log(), heard.cqt_magnitude[0, 0, 0].log()
    for index in (3, 7, 40, 150):
        position = torch.log2(torch.tensor(index * 22050 / 1024 / LOWEST)) * 24
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


# --- Gain


def test_gain_is_the_same_for_every_bin_and_moves_slowly():
    features = ones(sections=50)
    heard = change_gain(features, SHAPE, 6.0, generator())
    for magnitude in (heard.stft_magnitude, heard.cqt_magnitude):
        assert torch.equal(magnitude, magnitude[..., :1].expand_as(magnitude))
    decibels = 20 / SHAPE.compression * heard.stft_magnitude[..., 0].flatten(1).log10()
    torch.testing.assert_close(decibels, 20 / SHAPE.compression * heard.cqt_magnitude[..., 0].flatten(1).log10())
    knots = 2 + round(200 * SHAPE.hop / SHAPE.sample_rate / 0.5)
    # Straight lines between the knots: a second difference only at a knot.
    bends = (decibels.diff(n=2, dim=1).abs() > 1e-3).sum(dim=1)
    assert (bends <= 2 * (knots - 2)).all() and decibels.std() > 1
    assert heard.advance is features.advance


def test_gains_of_clips_have_the_deviation_asked_for_and_0_changes_nothing():
    features = ones(clips=3000, sections=1)
    decibels = (
        20 / SHAPE.compression * change_gain(features, SHAPE, 6.0, generator()).stft_magnitude[:, 0, 0, 0].log10()
    )
    assert decibels.std() == pytest.approx(6.0, rel=0.05) and abs(decibels.mean()) < 0.4
    assert change_gain(features, SHAPE, 0.0, generator()) is features


# --- Decay


def notes(starts=(10, 60), frames=120):
    """A clip of held notes in every bin: level 1 from the first start on, with a peak at each start; ``(1, ...)``."""
    level = torch.zeros(frames)
    level[starts[0] :] = 1
    level[list(starts)] = 1.5
    stft = level.view(1, frames // 4, 4, 1).expand(-1, -1, -1, SHAPE.stft_bins)
    return Features(stft, stft[..., : SHAPE.cqt_bins], torch.ones_like(stft))


def test_onsets_are_where_notes_begin():
    since = since_onset(notes().cqt_magnitude.flatten(1, 2))[0]
    starts = (since.diff() < 0).nonzero()[:, 0] + 1
    assert len(starts) == 2 and (starts - torch.tensor([10, 60])).abs().max() <= 2
    assert since[:5].tolist() == list(range(5)) and (since.diff()[starts[0] : starts[1] - 1] == 1).all()
    assert since_onset(torch.zeros(1, 5, 3)).tolist() == [[0, 1, 2, 3, 4]]  # silence has none


def test_vibrato_is_no_onset():
    time, bins = torch.arange(120.0), torch.arange(SHAPE.cqt_bins)
    centre = 60 + torch.sin(2 * torch.pi * time / 16)[:, None]
    partial = torch.exp(-((bins - centre) ** 2) / 2)[None] * (time >= 20)[:, None]
    since = since_onset(partial)[0]
    assert ((since.diff() < 0).nonzero()[:, 0] - 19).abs().tolist() in ([0], [1])


def test_onsets_of_rendered_notes_are_those_of_the_score():
    played = Notes(np.arange(1, 6) * 0.4, np.full(5, 0.38), np.array([60, 64, 62, 67, 65]), np.full(5, 90))
    audio = shared_synth("TimGM6mb").render(played, "violin", 2.6)
    since = since_onset(Representation(SHAPE)(torch.from_numpy(audio)[None]).cqt_magnitude.flatten(1, 2))[0]
    found = ((since.diff() < 0).nonzero()[:, 0] + 1) * SHAPE.hop / SHAPE.sample_rate
    assert len(found) == 5 and np.abs(found.numpy() - played.onset).max() < 0.08


def decays(features, decibels, seed=0):
    heard = change_decay(features, SHAPE, decibels, generator(seed))
    ratio = heard.stft_magnitude / features.stft_magnitude.clamp_min(1e-9)
    return 20 / SHAPE.compression * ratio.clamp_min(1e-9).log10().flatten(1, 2)[0], heard


def test_levels_change_in_proportion_to_the_time_since_the_onset():
    features = notes()
    level, heard = decays(features, 40.0, seed=1)
    seconds = since_onset(features.cqt_magnitude.flatten(1, 2))[0] * SHAPE.hop / SHAPE.sample_rate
    slope = level[50] / seconds[50]
    torch.testing.assert_close(level[10:], seconds[10:, None] * slope, rtol=1e-3, atol=1e-3)
    octave4 = 24  # bin of the STFT nearest to four octaves above the lowest, whose slope is the rate itself
    assert 1 < slope[octave4].abs() <= 40.5
    assert slope[200].abs() > slope[octave4].abs() > slope[2].abs()
    assert not heard.stft_magnitude.flatten(1, 2)[:, :10].any()  # silence stays silence
    assert heard.advance is features.advance


def test_rates_go_both_ways_up_to_the_one_asked_for_and_stop_at_30_db():
    ends = torch.stack([decays(notes((0,), 400), 1000.0, seed)[0][-1] for seed in range(20)])
    assert ends.max() == pytest.approx(30, abs=0.01) and ends.min() == pytest.approx(-30, abs=0.01)
    rates = torch.stack([decays(notes((0,), 40), 10.0, seed)[0][-1, 24] for seed in range(300)]) / (39 * 256 / 22050)
    assert rates.abs().max() == pytest.approx(10, rel=0.05) and abs(rates.mean()) < 1
    features = notes()
    assert change_decay(features, SHAPE, 0.0, generator()) is features


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
