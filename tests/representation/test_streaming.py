"""Transfer window by window is transfer of the whole: each step, all of them together, and files of any length."""

import dataclasses
import io
import os
import sys

import numpy as np
import pytest
import soundfile
import torch
from models import noise, tiny, tone, untrained
from published_models import published_tiny

from ast_lib.audio import open_sound
from ast_lib.audio.streams import Stream
from ast_lib.errors import AstError
from ast_lib.networks.checkpoint import save_weights
from ast_lib.networks.decoder import Prediction
from ast_lib.networks.model import LANES, TransferModel
from ast_lib.published.model import PublishedModel
from ast_lib.published.representation import join_blocks, join_sections
from ast_lib.representation import Spectrogram, features, griffin_lim, refine_blocks, refine_phase
from ast_lib.transfer import pipeline as transfer

RATE = 22050
CONFIGS = {
    "magnitudes": tiny(),
    "overlapping sections": published_tiny("representation.section_frames=8", "representation.section_overlap=4"),
    "complex": published_tiny(
        "training.third_instruments=0",
        "representation.input=complex",
        "representation.output=complex",
        "representation.statistics=per_class",
    ),
}


@pytest.fixture(params=CONFIGS)
def model(request):
    torch.manual_seed(0)
    kind = TransferModel if request.param == "magnitudes" else PublishedModel
    model = kind(CONFIGS[request.param]).eval().requires_grad_(False)
    clips = model.representation(torch.from_numpy(np.stack([noise(2.0), noise(2.0, 1)])))
    if kind is PublishedModel:
        clips = dataclasses.replace(clips, voices=torch.tensor([0, 1]))
    model.fit_statistics(clips)
    model.prototypes.normal_()
    return model


@pytest.fixture
def short_windows(monkeypatch):
    """Windows so short that a few seconds of sound have several."""
    monkeypatch.setattr(features, "SECTIONS", 24)
    monkeypatch.setattr(griffin_lim, "FRAMES", 40)


def stream(audio, length=3000):
    return Stream(lambda: audio.split(length, dim=1), audio.shape[1])


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


# --- Each step


@pytest.mark.parametrize("samples", [1, 255, 256, 30000, 70001, 88064])
def test_features(model, short_windows, samples):
    audio = torch.from_numpy(noise(4.0))[None, :samples]
    whole = model.representation(audio)
    assert model.representation.sections(samples) == whole.stft_magnitude.shape[1]
    windows = list(model.representation.windows(stream(audio)))
    assert len(windows) == -(-whole.stft_magnitude.shape[1] // 24)
    for name in ("stft_magnitude", "cqt_magnitude", "advance", "stft_phasor", "cqt_phasor"):
        expected = getattr(whole, name, None)
        parts = [getattr(window, name, None) for window in windows]
        assert (expected is None) == (parts[0] is None)
        if expected is not None and name.endswith("magnitude"):
            torch.testing.assert_close(torch.cat(parts, dim=1), expected, rtol=1e-3, atol=1e-3)
        elif expected is not None:  # the direction of next to nothing is no number to compare
            loud = whole.stft_magnitude > 0.1 if "cqt" not in name else whole.cqt_magnitude > 0.1
            torch.testing.assert_close(torch.cat(parts, dim=1)[loud], expected[loud], rtol=1e-2, atol=1e-2)


def test_inputs_and_style(model, short_windows):
    audio = torch.from_numpy(np.stack([noise(3.0), tone(3.0)]))
    whole = model.representation(audio)
    inputs = torch.cat(list(model.input_windows(stream(audio))), dim=1)
    torch.testing.assert_close(inputs, model.encoder_input(whole), rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(model.style_of(stream(audio)), model.encode_style(whole), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("length", [1, 5, 23])
def test_content_and_what_is_drawn_from_it(model, length):
    inputs = model.encoder_input(model.representation(torch.from_numpy(noise(2.0))[None]))
    sections = inputs.shape[1]
    model.encoder_input = lambda features: features
    content = torch.cat(list(model.content_windows(inputs.split(length, dim=1), sections)), dim=1)
    close(content, model.encode_content(inputs))
    style = model.prototypes[1:]
    drawn = list(model.generated_windows(content.split(length, dim=1), sections, style))
    whole = model.generate(content, style)
    close(torch.cat([part.context for part in drawn], dim=1), whole.context)
    frames = sections * model.representation.step
    expected = model.to_stft(whole, frames - 1)
    assert expected.shape[1] == frames - 1
    close(torch.cat(list(model.stft_windows(iter(drawn), frames - 1)), dim=1), expected)


@pytest.mark.parametrize("overlap", [0, 1, 3])
@pytest.mark.parametrize("length", [1, 2, 7])
def test_sections_join_in_blocks_as_at_once(overlap, length):
    sections = torch.randn(2, 7, 4, 5)
    joined = torch.cat(list(join_blocks(sections.split(length, dim=1), overlap)), dim=1)
    torch.testing.assert_close(joined, join_sections(sections, overlap))
    assert joined.shape[1] == 7 * (4 - overlap) + overlap


@pytest.mark.parametrize("steps", [0, 1, 6])
@pytest.mark.parametrize("samples", [100, 40 * 256, 40 * 256 - 1, 70000])
def test_griffin_lim_in_windows_is_griffin_lim_at_once(monkeypatch, steps, samples):
    spectrogram = Spectrogram()
    magnitude = spectrogram(torch.from_numpy(noise(4.0))[None, :samples]).abs()
    phase = 6.28 * torch.rand(magnitude.shape, generator=torch.Generator().manual_seed(0))
    stft = torch.polar(magnitude, phase)
    whole = refine_phase(spectrogram, stft, samples, steps)
    monkeypatch.setattr(griffin_lim, "FRAMES", 40)
    blocks = list(refine_blocks(spectrogram, stft.split(13, dim=1), stft.shape[1], samples, steps))
    assert len(blocks) == -(-stft.shape[1] // 40)
    torch.testing.assert_close(torch.cat(blocks, dim=1), whole, rtol=0, atol=1e-5)


# --- All of them


def test_a_spectrogram_in_windows_is_that_of_the_whole(model, short_windows, monkeypatch):
    audio = torch.from_numpy(noise(5.0))[None]
    found = torch.cat(list(transfer.transfer_windows(model, stream(audio), model.prototypes[1:])), dim=1)
    monkeypatch.setattr(features, "SECTIONS", 10**6)
    expected = transfer.transfer_batch(model, audio, model.prototypes[1:])
    assert found.shape == expected.shape == (1, 1 + 5 * RATE // 256, 513)
    assert (found - expected).norm() < 1e-3 * expected.norm()


def test_a_file_is_transferred_as_the_array_is(tmp_path, short_windows, monkeypatch):
    model = untrained(tiny("model.align_onsets=true")).requires_grad_(False)
    model.latency.copy_(torch.tensor([0.001, 0.021]))
    weights = save_weights(tmp_path / "w.safetensors", model, {}, {})
    soundfile.write(tmp_path / "in.wav", np.stack([noise(7.0), noise(7.0, 1)], axis=1), 44100, subtype="FLOAT")
    transfer.transfer_file(tmp_path / "in.wav", "violin", tmp_path / "out.wav", weights)
    found, _ = soundfile.read(tmp_path / "out.wav")
    with open_sound(tmp_path / "in.wav") as sound:
        source = np.concatenate(list(sound.blocks(RATE)))
    monkeypatch.setattr(features, "SECTIONS", 10**6)
    monkeypatch.setattr(griffin_lim, "FRAMES", 10**6)
    expected = transfer.transfer(model, source, "violin")
    assert found.shape == expected.shape
    # Steps of Griffin-Lim magnify the last digit.
    assert np.sqrt(np.mean((found - expected) ** 2)) < 3e-2 * np.sqrt(np.mean(expected**2))


def test_no_step_waits_for_the_end_of_the_source(short_windows):
    """What comes out has read a bounded part of what is left to read: no step collects the whole."""
    model = untrained(tiny()).requires_grad_(False)
    read = [0]
    audio = torch.from_numpy(noise(40.0))[None]

    def blocks():
        read[0] = 0
        for block in audio.split(4096, dim=1):
            read[0] += block.shape[1]
            yield block

    sound = Stream(blocks, audio.shape[1])
    stft = transfer.transfer_windows(model, sound, model.prototypes[1:])
    written, ahead = 0, []
    for block in refine_blocks(model.representation.spectrogram, stft, 1 + sound.samples // 256, sound.samples, 2):
        written += block.shape[1]
        ahead.append(read[0] - written)
    assert written == sound.samples and len(ahead) > 50
    assert max(ahead) < 13 * RATE  # the stretches that are drawn side by side have 9 s in these short windows


def test_a_pause_of_a_recording_stays_as_quiet_as_it_was(model):
    music, room = noise(2.0, rms=0.09), noise(5.5, 1, rms=1e-3)
    source = room + np.concatenate([music, np.zeros(len(room) - 2 * len(music), np.float32), music])
    output = transfer.transfer(model, source, "violin", "predicted")
    inside = slice(len(music) + 4000, len(source) - len(music) - 4000)
    assert np.sqrt(np.mean(output[inside] ** 2)) < 1.3e-3
    assert np.sqrt(np.mean(output**2)) == pytest.approx(np.sqrt(np.mean(source**2)), rel=1e-3)


# --- What the user sees


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self):
        return True


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_on_a_terminal_and_nowhere_else(tmp_path, monkeypatch, terminal):
    model = untrained(tiny())
    weights = save_weights(tmp_path / "w.safetensors", model, {}, {})
    soundfile.write(tmp_path / "in.wav", noise(3.0), RATE)
    monkeypatch.setattr(transfer, "BAR_AFTER", 0.0)
    monkeypatch.setattr(sys, "stderr", shown := Terminal() if terminal else io.StringIO())
    transfer.transfer_file(tmp_path / "in.wav", "violin", tmp_path / "out.wav", weights, "predicted")
    assert ("/3 s of sound" in shown.getvalue()) == terminal  # how far it gets in so short a time is the machine's
    assert terminal or shown.getvalue() == ""


def test_a_folder_that_takes_no_file_is_named(tmp_path):
    weights = save_weights(tmp_path / "w.safetensors", untrained(tiny()), {}, {})
    soundfile.write(tmp_path / "in.wav", noise(0.5), RATE)
    (tmp_path / "shut").mkdir()
    os.chmod(tmp_path / "shut", 0o500)
    if os.access(tmp_path / "shut", os.W_OK):
        pytest.skip("needs a user who is not root: root writes to any folder")
    with pytest.raises(AstError, match="out.wav: could not be written: Permission denied"):
        transfer.transfer_file(tmp_path / "in.wav", "violin", tmp_path / "shut" / "out.wav", weights)


class Ramp(torch.nn.Module):
    """A decoder that draws a section's content, and remembers the past that it was given."""

    def __init__(self):
        super().__init__()
        self.pasts = []

    def generate(self, content, style, prefix, context_weight):
        self.pasts.append(prefix)
        if prefix is not None:  # what was drawn of the sections with which this window begins
            assert torch.equal(prefix[..., 0, 0], content[:, : prefix.shape[1], 0])
        drawn = content[:, 0 if prefix is None else prefix.shape[1] :, None, None, 0].expand(-1, -1, 1, 2)
        return Prediction(drawn, drawn, drawn)


@pytest.mark.parametrize(("sections", "overlap"), [(8, 2), (100, 2), (200, 2), (1000, 2), (1003, 2), (500, 0)])
def test_stretches_side_by_side_come_in_order_and_each_has_its_past(sections, overlap):
    model = untrained(tiny(f"model.overlap={overlap}"))
    model.decoder = decoder = Ramp()
    content = torch.arange(2 * sections, dtype=torch.float32).view(2, sections, 1)
    parts = list(model.generated_windows([content], sections, torch.zeros(2, 32)))
    assert torch.equal(torch.cat([part.magnitude for part in parts], dim=1)[..., 0, 0], content[..., 0])
    stretches = [past for past in decoder.pasts if past is not None and len(past) == 2 * LANES]
    # 200 sections are 33 windows of 8 that share 2; of 100 there are too few for stretches.
    assert bool(stretches) == (overlap > 0 and sections >= 200)
