"""The whole model: windows, statistics, normalisation, and audio of any length through all of it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import noise, random_features, tiny, tone, untrained

from ast_lib.networks.decoder import Prediction
from ast_lib.networks.model import TransferModel
from ast_lib.representation import Features, lock_phase
from ast_lib.transfer import synthesise, transfer_batch

WINDOW, OVERLAP = 8, 2


@pytest.fixture(scope="module")
def model():
    """One whose free-running prediction is that with context alone."""
    return untrained(tiny("model.context_weight=1")).requires_grad_(False)


def with_windows(model, window, overlap):
    """The windows of a model of these sizes; nothing else of it is needed."""
    blank = TransferModel.__new__(TransferModel)
    torch.nn.Module.__init__(blank)
    blank.config = tiny(f"model.window={window}", f"model.overlap={overlap}")
    return blank


# --- Windows


@pytest.mark.parametrize(
    ("sections", "windows"),
    [
        (1, [(0, 1)]),
        (7, [(0, 7)]),
        (8, [(0, 8)]),
        (9, [(0, 8), (6, 9)]),
        (14, [(0, 8), (6, 14)]),
        (15, [(0, 8), (6, 14), (12, 15)]),
    ],
)
def test_windows_share_the_overlap_and_end_with_the_last_section(model, sections, windows):
    assert model.windows(sections) == windows


@given(st.integers(1, 200), st.integers(1, 20), st.integers(0, 10))
@settings(deadline=None)
def test_windows_cover_everything(sections, window, overlap):
    overlap = min(overlap, window // 2)
    found = with_windows(None, window, overlap).windows(sections)
    assert found[0][0] == 0 and found[-1][1] == sections
    assert all(0 < stop - start <= window for start, stop in found)
    assert all(a[1] - b[0] == overlap for a, b in zip(found, found[1:], strict=False))
    # Each but the last brings its full share of new sections, and the last brings at least one.
    assert all(b[1] > a[1] for a, b in zip(found, found[1:], strict=False))


@given(st.integers(1, 100), st.integers(1, 12), st.integers(0, 6))
@settings(deadline=None, max_examples=60)
def test_every_section_is_encoded_once_in_order_and_away_from_the_edges(sections, window, overlap):
    overlap = min(overlap, window // 2)
    blank = with_windows(None, window, overlap)
    lengths = []

    def encoder(inputs):  # gives the index of each section and its distance from the nearest edge of its window
        index = inputs[:, :, 0, 0]
        lengths.append(inputs.shape[1])
        place = torch.arange(inputs.shape[1])
        begins, ends = index[0, 0] > 0, index[0, -1] < sections - 1
        before = place if begins else torch.full_like(place, 1000)
        after = place.flip(0) if ends else torch.full_like(place, 1000)
        return torch.stack([index, torch.minimum(before, after).expand_as(index)], dim=-1)

    blank.content_encoder = encoder
    blank.encoder_input = lambda features: features
    found = blank.encode_content(torch.arange(sections, dtype=torch.float)[None, :, None, None])
    assert found[0, :, 0].tolist() == list(range(sections))
    assert set(lengths) == {min(window, sections)}  # as long as in training wherever the audio is
    assert found[0, :, 1].min() >= overlap // 2


def test_content_of_a_window_or_less_is_the_encoders(model):
    for sections in (1, 5, WINDOW):
        features = random_features(model.config, 2, sections)
        expected = model.content_encoder(model.encoder_input(features))
        torch.testing.assert_close(model.encode_content(features), expected)


def test_content_of_longer_audio_is_that_of_its_windows(model):
    features = random_features(model.config, 1, 11)
    inputs = model.encoder_input(features)
    first, last = model.content_encoder(inputs[:, 0:8]), model.content_encoder(inputs[:, 3:11])
    expected = torch.cat([first[:, :7], last[:, 4:]], dim=1)
    torch.testing.assert_close(model.encode_content(features), expected, rtol=1e-5, atol=1e-5)


def test_style_is_the_mean_over_windows(model):
    features = random_features(model.config, 2, 11)
    inputs = model.encoder_input(features)
    expected = (model.style_encoder(inputs[:, 0:8]) + model.style_encoder(inputs[:, 6:11])) / 2
    torch.testing.assert_close(model.encode_style(features), expected)


# --- Generation over windows


def codes(model, sections, clips=2, seed=0):
    random = torch.Generator().manual_seed(seed)
    sizes = model.config.model
    content = torch.randn(clips, sections, sizes.content_size, generator=random)
    return content, torch.randn(clips, sizes.style_size, generator=random)


@pytest.mark.parametrize("sections", [1, 2, WINDOW, WINDOW + 1, 2 * WINDOW - OVERLAP, 23])
def test_generation_equals_teacher_forcing_on_its_own_output(model, sections):
    content, style = codes(model, sections)
    own = model.generate(content, style)
    assert own.magnitude.shape == (2, sections, 4, 513) and torch.isfinite(own.magnitude).all()
    forced = model.teacher_forced(own.magnitude, content, style)
    for name in ("magnitude", "cosine", "sine"):
        torch.testing.assert_close(getattr(own, name), getattr(forced, name), rtol=0, atol=1e-5)


def test_without_overlap_windows_are_generated_apart():
    model = untrained(tiny("model.context_weight=1", "model.overlap=0")).requires_grad_(False)
    content, style = codes(model, 19)
    whole = model.generate(content, style).magnitude
    for start, stop in ((0, 8), (8, 16), (16, 19)):
        part = model.decoder.generate(content[:, start:stop], style).magnitude
        torch.testing.assert_close(whole[:, start:stop], part, rtol=0, atol=1e-5)


def test_a_window_continues_from_the_last_sections_of_the_one_before(model):
    content, style = codes(model, 11)
    whole = model.generate(content, style).magnitude
    first = model.decoder.generate(content[:, :8], style).magnitude
    second = model.decoder.generate(content[:, 6:11], style, first[:, 6:]).magnitude
    torch.testing.assert_close(whole, torch.cat([first, second], dim=1), rtol=0, atol=1e-5)


# --- Statistics


def test_statistics_are_the_mean_and_deviation_of_every_bin():
    model = TransferModel(tiny())
    features = random_features(model.config, 3, 5)
    scale, shift = torch.linspace(0.5, 2, 513), torch.linspace(0, 3, 513)
    known = Features(features.stft_magnitude * scale + shift, features.cqt_magnitude, features.advance)
    model.fit_statistics(known)
    flat = known.stft_magnitude.reshape(-1, 513)
    torch.testing.assert_close(model.stft_mean, flat.mean(dim=0))
    torch.testing.assert_close(model.stft_std, flat.std(dim=0))
    normalised = model.normalise(known.stft_magnitude).reshape(-1, 513)
    torch.testing.assert_close(normalised.mean(dim=0), torch.zeros(513), rtol=0, atol=1e-5)
    torch.testing.assert_close(normalised.std(dim=0), torch.ones(513), rtol=0, atol=1e-5)


def test_bins_that_do_not_vary_keep_a_finite_scale():
    model = TransferModel(tiny())
    silence = Features(torch.zeros(2, 3, 4, 513), torch.zeros(2, 3, 4, 168), torch.ones(2, 3, 4, 513) + 0j)
    model.fit_statistics(silence)
    assert torch.equal(model.stft_std, torch.full((513,), 0.05))
    assert not model.encoder_input(silence).any()


def test_denormalised_is_as_before(model):
    magnitude = torch.rand(2, 3, 4, 513) * 5
    torch.testing.assert_close(model.denormalise(model.normalise(magnitude)), magnitude, rtol=1e-4, atol=1e-5)


def test_the_encoders_read_both_magnitudes_side_by_side(model):
    features = random_features(model.config, 2, 3)
    inputs = model.encoder_input(features)
    assert inputs.shape == (2, 3, 4, 513 + 168)
    torch.testing.assert_close(inputs[..., :513], model.normalise(features.stft_magnitude))
    torch.testing.assert_close(
        inputs[..., 513:], (features.cqt_magnitude - model.cqt_mean) / model.cqt_std, rtol=1e-5, atol=1e-5
    )


def test_statistics_and_prototypes_are_part_of_the_weights_and_kernels_are_not(model):
    names = set(model.state_dict())
    assert {"stft_mean", "stft_std", "cqt_mean", "cqt_std", "prototypes"} <= names
    assert not any(name.startswith("representation") for name in names)


# --- Back to a spectrum


def test_the_true_features_give_the_true_sound(model):
    audio = torch.from_numpy(tone(1.0) + noise(1.0, rms=0.01))[None]
    features = model.representation(audio)
    prediction = Prediction(model.normalise(features.stft_magnitude), features.advance.real, features.advance.imag)
    stft = model.to_stft(prediction, 1 + audio.shape[-1] // 256)
    torch.testing.assert_close(stft, lock_phase(stft))
    truth = model.representation.spectrogram(audio)
    assert stft.shape == truth.shape
    torch.testing.assert_close(stft.abs(), truth.abs(), rtol=1e-2, atol=1e-3)
    # Neighbours of peaks are locked to them; the rest keeps its advances.
    (stft,) = model.representation.stft_blocks([(features.stft_magnitude, features.advance)])
    stft = stft[:, : truth.shape[1]]
    # The phase of the first frame is free, one constant a bin; its change from frame to frame is not.
    turned = stft * torch.polar(torch.ones_like(truth[:, :1].abs()), truth[:, :1].angle() - stft[:, :1].angle())
    assert ((turned - truth).abs().square().sum() / truth.abs().square().sum()).sqrt() < 1e-2


# --- End to end


@pytest.mark.parametrize("samples", [1, 100, 256, 1023, 1024, 22050])
def test_audio_of_any_length_and_silence_come_through(model, samples):
    for source in (torch.from_numpy(noise(2.0)[:samples])[None], torch.zeros(1, samples)):
        features = model.representation(source)
        sections = features.stft_magnitude.shape[1]
        content, style = model.encode_content(features), model.encode_style(features)
        assert content.shape == (1, sections, 64) and style.shape == (1, 32)
        assert torch.isfinite(content).all() and torch.isfinite(style).all()
        stft = transfer_batch(model, source, style)
        assert stft.shape == (1, 1 + samples // 256, 513)
        output = synthesise(model, stft, samples, "refined")
        assert output.shape == (1, samples) and torch.isfinite(output).all()
