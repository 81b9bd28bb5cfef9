"""STFT, CQT, phase advance and sections against analytic signals, librosa, and their own inverses."""

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ast_lib.config import RepresentationConfig
from ast_lib.representation import (
    ConstantQ,
    Representation,
    Spectrogram,
    accumulate_phase,
    bin_rotation,
    compress,
    lock_phase,
    phase_advance,
    refine_phase,
    to_sections,
)

RATE = 22050
F_MIN = 32.703


def sine(frequency, seconds=1.0, amplitude=0.5, phase=0.0):
    time = torch.arange(round(seconds * RATE), dtype=torch.float64) / RATE
    return (amplitude * torch.cos(2 * torch.pi * frequency * time + phase)).float()[None]


def to_stft(representation, magnitude, advance):
    (stft,) = representation.stft_blocks([(magnitude, advance)])
    return stft


def noise(batch=2, samples=8000, seed=0):
    return 0.1 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def spectrogram():
    return Spectrogram()


@pytest.fixture(scope="module")
def constant_q():
    return ConstantQ()


@pytest.fixture(scope="module")
def representation():
    return Representation(RepresentationConfig())


# --- STFT


@pytest.mark.parametrize("samples", [1025, 8000, 8192, 22050])
def test_the_stft_is_invertible(spectrogram, samples):
    audio = noise(samples=samples)
    stft = spectrogram(audio)
    assert stft.shape == (2, 1 + samples // 256, 513) and stft.is_complex()
    assert torch.allclose(spectrogram.invert(stft, samples), audio, atol=1e-5)


@pytest.mark.parametrize("samples", [1, 100, 512, 513, 1000])
def test_short_clips_have_frames_and_come_back(spectrogram, samples):
    audio = noise(samples=samples)
    stft = spectrogram(audio)
    assert stft.shape[1] >= 1 and stft.shape[2] == 513
    back = spectrogram.invert(stft, samples)
    assert back.shape == audio.shape and torch.allclose(back, audio, atol=1e-5)


def test_the_stft_is_librosas(spectrogram):
    audio = noise(1)
    expected = librosa.stft(audio[0].numpy(), n_fft=1024, hop_length=256, pad_mode="reflect").T
    assert np.allclose(spectrogram(audio)[0].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("k", [10, 100, 400])
def test_the_magnitude_of_a_sinusoid_at_a_bin_is_amplitude_times_256(spectrogram, k):
    stft = spectrogram(sine(k * RATE / 1024, amplitude=0.5))[0, 20].abs()
    assert torch.argmax(stft) == k
    assert stft[k].item() == pytest.approx(128, rel=1e-3)
    assert stft[k + 1].item() == pytest.approx(64, rel=1e-2)  # Hann: half in the neighbours, nothing beyond
    assert stft[k + 2].item() < 0.1


def test_gradients_flow_through_the_transform_pair(spectrogram):
    audio = noise(1, 3000).requires_grad_()
    spectrogram.invert(spectrogram(audio), 3000).sum().backward()
    assert torch.allclose(audio.grad, torch.ones_like(audio), atol=1e-4)


# --- CQT


@pytest.mark.parametrize("k", [0, 5, 23, 24, 40, 61, 72, 90, 100, 121, 144, 155, 167])
def test_the_cqt_of_a_sinusoid_peaks_in_its_bin_at_amplitude_times_256(constant_q, k):
    audio = sine(F_MIN * 2 ** (k / 24), seconds=4, amplitude=0.3)
    cqt = constant_q(audio)
    assert cqt.shape == (1, 1 + audio.shape[-1] // 256, 168) and cqt.is_complex()
    middle = cqt[0, 150:190].abs()
    assert torch.all(torch.argmax(middle, dim=1) == k)
    assert middle[:, k].numpy() == pytest.approx(np.full(40, 0.3 * 256), rel=0.02)
    # Two semitones off, beyond the kernel's main lobe, there is next to nothing.
    far = [b for b in (k - 4, k + 4) if 0 <= b < 168]
    assert middle[:, far].max() < 0.02 * 0.3 * 256


@pytest.mark.parametrize("frequency", [60.0, 146.83, 523.25, 1500.0, 3000.0])
def test_the_cqt_peaks_where_librosas_does(constant_q, frequency):
    audio = sine(frequency, seconds=4)
    expected = np.abs(
        librosa.cqt(audio[0].numpy(), sr=RATE, hop_length=256, fmin=F_MIN, n_bins=168, bins_per_octave=24)
    ).T
    found = constant_q(audio)[0].abs().numpy()
    assert found.shape == expected.shape
    assert np.argmax(found[170]) == np.argmax(expected[170])
    near = slice(max(np.argmax(found[170]) - 2, 0), np.argmax(found[170]) + 3)
    a, b = found[170, near], expected[170, near]
    assert a / a.max() == pytest.approx(b / b.max(), abs=0.05)


def test_the_cqt_is_linear_and_in_time(constant_q):
    x, y = noise(1, 20000, 0), noise(1, 20000, 1)
    assert torch.allclose(constant_q(2 * x - y), 2 * constant_q(x) - constant_q(y), atol=1e-3)
    click = torch.zeros(1, 22050)
    click[0, 40 * 256] = 1
    # The highest bins have the shortest kernels: their energy is centred on the frame of the click.
    assert torch.argmax(constant_q(click)[0, :, 150:].abs().sum(dim=1)) == 40


@pytest.mark.parametrize("samples", [1, 100, 256, 5000])
def test_short_clips_have_a_cqt(constant_q, samples):
    cqt = constant_q(noise(2, samples))
    assert cqt.shape == (2, 1 + samples // 256, 168)
    assert torch.isfinite(torch.view_as_real(cqt)).all()


def test_a_grid_that_the_sample_rate_cannot_hold_is_refused():
    with pytest.raises(ValueError, match="octaves: the highest bin"):
        ConstantQ(octaves=8)
    with pytest.raises(ValueError, match="hop: found 200, accepted are multiples of 128"):
        ConstantQ(hop=200)


# --- compression, phase advance, sections


@given(st.floats(1e-3, 1e3), st.floats(0.1, 1), st.floats(-3, 3))
def test_compression_is_undone_by_its_inverse(size, power, angle):
    value = torch.polar(torch.tensor(size, dtype=torch.float64), torch.tensor(angle, dtype=torch.float64))
    compressed = compress(value, power)
    assert compressed.item() == pytest.approx(size**power)
    assert compressed.item() ** (1 / power) == pytest.approx(size)


def test_compressed_silence_is_silence():
    assert compress(torch.zeros(3, dtype=torch.complex64), 0.3).tolist() == [0, 0, 0]


def test_the_rotation_of_a_bin_is_what_its_sinusoid_turns_in_a_hop():
    rotation = bin_rotation(1024, 256)
    assert rotation.shape == (513,)
    assert rotation[:5].tolist() == pytest.approx([0, np.pi / 2, np.pi, 3 * np.pi / 2, 0])
    assert bin_rotation(1024, 100)[3].item() == pytest.approx(2 * np.pi * 300 / 1024)


@pytest.mark.parametrize("k", [7, 50, 301])
def test_a_sinusoid_at_a_bin_centre_advances_by_nothing(spectrogram, k):
    advance = phase_advance(spectrogram(sine(k * RATE / 1024, phase=1.0)), bin_rotation(1024, 256))
    inner = advance[0, 4:-4, k - 1 : k + 2]
    # Its neighbours see the same sinusoid one bin off: a quarter turn each way.
    assert torch.allclose(inner, torch.tensor([1j, 1, -1j]).expand_as(inner), atol=1e-3)


@pytest.mark.parametrize("offset", [-0.4, -0.1, 0.25, 0.5])
def test_a_sinusoid_off_a_bin_centre_advances_by_its_offset(spectrogram, offset):
    stft = spectrogram(sine((60 + offset) * RATE / 1024, phase=0.3))
    angle = phase_advance(stft, bin_rotation(1024, 256)).angle()[0, 4:-4, 60]
    # 256 samples of hop are a quarter of the window: offset bins turn by offset quarters.
    assert angle.numpy() == pytest.approx(np.full(len(angle), 2 * np.pi * offset / 4), abs=1e-2)


def test_phase_advances_are_unit_phasors_that_begin_with_1(spectrogram):
    advance = phase_advance(spectrogram(noise()), bin_rotation(1024, 256))
    assert torch.allclose(advance.abs(), torch.ones(()), atol=1e-5)
    assert torch.all(advance[:, 0] == 1)


def test_silence_advances_by_nothing(spectrogram):
    advance = phase_advance(spectrogram(torch.zeros(1, 4000)), bin_rotation(1024, 256))
    assert torch.all(advance == 1)


def test_very_soft_audio_keeps_its_phase_advance(spectrogram):
    """Magnitudes of 1e-12, whose product 1e-24 is near the smallest that float32 divides well."""
    loud, soft = (phase_advance(spectrogram(gain * noise()), bin_rotation(1024, 256)) for gain in (1.0, 1e-12))
    assert (loud - soft).abs().median() < 1e-3


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_accumulated_advances_give_the_phase_back_up_to_the_first_frame(seed):
    stft, rotation = Spectrogram()(noise(2, 20000, seed)), bin_rotation(1024, 256)
    phase = accumulate_phase(phase_advance(stft, rotation), rotation)
    assert torch.all((phase >= 0) & (phase <= 2 * torch.pi + 1e-6))
    expected = stft.angle() - stft[:, :1].angle()
    # The real bins 0 and 512 included: their phase is 0 or pi.
    assert torch.allclose(
        torch.polar(torch.ones(()), phase - expected), torch.ones(1, dtype=torch.complex64), atol=2e-3
    )


def test_advances_of_accumulated_phases_are_the_same_advances():
    rotation = bin_rotation(1024, 256)
    angle = torch.rand(1, 30, 513, generator=torch.Generator().manual_seed(0)) * 6.28
    angle[:, 0] = 0
    advance = torch.polar(torch.ones_like(angle), angle)
    phase = accumulate_phase(advance, rotation)
    assert torch.allclose(phase_advance(torch.polar(torch.ones_like(phase), phase), rotation), advance, atol=1e-4)


@given(frames=st.integers(1, 40), length=st.integers(1, 9))
def test_sections_are_a_cut_without_overlap_filled_with_zeros(frames, length):
    values = torch.arange(1.0, 2 * frames * 3 + 1).reshape(2, frames, 3)
    sections = to_sections(values, length)
    assert sections.shape == (2, -(-frames // length), length, 3)
    flat = sections.flatten(1, 2)
    assert torch.equal(flat[:, :frames], values)
    assert torch.all(flat[:, frames:] == 0)


# --- the whole representation


@pytest.mark.parametrize("samples", [1, 300, 1024, 8000, 22050])
def test_features_have_the_shapes_and_ranges_they_promise(representation, samples):
    features = representation(noise(2, samples))
    frames = representation.spectrogram(noise(2, samples)).shape[1]
    sections = -(-frames // 4)
    assert features.stft_magnitude.shape == features.advance.shape == (2, sections, 4, 513)
    assert features.cqt_magnitude.shape == (2, sections, 4, 168)
    assert features.stft_magnitude.min() >= 0 and features.cqt_magnitude.min() >= 0
    inner = features.advance.flatten(1, 2)[:, :frames]
    assert torch.allclose(inner.abs(), torch.ones(()), atol=1e-5)


@pytest.mark.parametrize("samples", [4000, 22050])
def test_features_turn_back_into_their_stft(representation, samples):
    audio = noise(2, samples)
    features, stft = representation(audio), representation.spectrogram(audio)
    back = to_stft(representation, features.stft_magnitude, features.advance)[:, : stft.shape[1]]
    assert torch.allclose(back.abs(), stft.abs(), rtol=1e-3, atol=1e-5)
    # Up to the first frame's phase, which the advance does not hold.
    turned = back * torch.polar(torch.ones(()), stft[:, :1].angle())
    assert ((turned - stft).abs().mean() / stft.abs().mean()).item() < 2e-3
    assert torch.allclose(representation.spectrogram.invert(turned, samples), audio, atol=2e-3)


@pytest.mark.parametrize("frequency", [300.0, 443.0, 1234.5, 5000.0])
def test_the_true_phases_of_a_sinusoid_are_locked_already(spectrogram, frequency):
    time = torch.arange(8192) / 22050
    stft = spectrogram(torch.sin(2 * torch.pi * frequency * time)[None])[:, 4:-4]
    assert ((lock_phase(stft) - stft).abs() / stft.abs().amax(dim=-1, keepdim=True)).max() < 0.01


def test_locking_keeps_magnitudes_and_peaks_and_turns_their_neighbours():
    magnitude = torch.tensor([0.1, 0.5, 2.0, 1.0, 0.3, 0.2, 0.4, 0.0, 0.0])
    stft = torch.polar(magnitude, torch.linspace(0, 3, 9))[None, None]
    locked = lock_phase(stft)
    torch.testing.assert_close(locked.abs(), stft.abs())
    kept = [0, 2, 4, 6]  # two peaks, and bins beside no peak
    assert torch.equal(locked[..., kept], stft[..., kept])
    for bin_, peak in ((1, 2), (3, 2), (5, 6)):
        opposite = -stft[..., peak] / stft[..., peak].abs()
        torch.testing.assert_close(locked[..., bin_], opposite * magnitude[bin_])
    assert locked[..., 7:].abs().max() == 0
    assert lock_phase(torch.zeros(1, 3, 513, dtype=torch.complex64)).abs().max() == 0


def test_a_clip_has_the_same_features_alone_and_in_a_batch(representation):
    audio = torch.from_numpy(np.random.default_rng(0).normal(0, 0.07, (3, 11025)).astype(np.float32))
    together = representation(audio)
    for index in range(3):
        alone = representation(audio[index : index + 1])
        for name in ("stft_magnitude", "cqt_magnitude", "advance"):
            torch.testing.assert_close(getattr(together, name)[index], getattr(alone, name)[0], rtol=1e-5, atol=1e-6)


def test_silence_is_all_zero_and_comes_back_silent(representation):
    features = representation(torch.zeros(1, 5000))
    assert features.stft_magnitude.max() == 0 and features.cqt_magnitude.max() == 0
    assert to_stft(representation, features.stft_magnitude, features.advance).abs().max() == 0


def test_negative_predictions_are_silence_not_nan(representation):
    magnitude = torch.full((1, 2, 4, 513), -0.3)
    stft = to_stft(representation, magnitude, torch.ones(1, 2, 4, 513, dtype=torch.complex64))
    assert torch.all(stft == 0)


# --- Griffin-Lim


def inconsistency(spectrogram, audio, magnitude):
    """Relative distance between the magnitudes wanted and those of the audio."""
    return ((spectrogram(audio).abs() - magnitude).norm() / magnitude.norm()).item()


def test_griffin_lim_lowers_the_inconsistency(spectrogram):
    audio = sum(sine(f, amplitude=0.1) for f in (220.0, 441.3, 1000.0)) + 0.01 * noise(1, RATE)
    magnitude = spectrogram(audio).abs()
    random = torch.rand(magnitude.shape, generator=torch.Generator().manual_seed(0)) * 6.28
    first = torch.polar(magnitude, random)
    errors = [
        inconsistency(spectrogram, refine_phase(spectrogram, first, RATE, steps), magnitude) for steps in (0, 2, 8, 32)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.5 * errors[0]


def test_griffin_lim_leaves_a_consistent_spectrogram_alone(spectrogram):
    audio = noise(2, 8000)
    for steps in (0, 1, 5):
        assert torch.allclose(refine_phase(spectrogram, spectrogram(audio), 8000, steps), audio, atol=1e-4)


def test_griffin_lim_of_silence_is_silence(spectrogram):
    silence = torch.zeros(1, 16, 513, dtype=torch.complex64)
    assert torch.all(refine_phase(spectrogram, silence, 4000, 3) == 0)
