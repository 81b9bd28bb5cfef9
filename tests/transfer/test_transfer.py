"""Transfer of arrays and files: any length and loudness, both phases, and one sentence for whatever is wrong."""

import pathlib

import numpy as np
import pytest
import soundfile
import torch
from models import noise, tiny, tone, untrained

from ast_lib.audio import load
from ast_lib.audio.levels import normalise_rms
from ast_lib.errors import AstError
from ast_lib.networks import checkpoint
from ast_lib.networks.checkpoint import save_weights
from ast_lib.transfer import class_style, synthesise, transfer, transfer_batch, transfer_file
from ast_lib.transfer.one_shot import clip_style

RATE = 22050
RECORDINGS = pathlib.Path(__file__).resolve().parents[3] / "shared" / "data" / "bach-violin" / "audio"


@pytest.fixture(scope="module")
def model():
    return untrained(tiny("model.window=32", "model.overlap=8"))


@pytest.fixture(scope="module")
def weights(model, tmp_path_factory):
    return save_weights(tmp_path_factory.mktemp("weights") / "w.safetensors", model, {}, {})


def rms(audio):
    return float(np.sqrt(np.mean(np.square(audio, dtype=np.float64))))


# --- Any length


@pytest.mark.parametrize("samples", [1, 2, 100, 255, 256, 513, 1023, 1024, 33075])
@pytest.mark.parametrize("phase", ["predicted", "refined"])
def test_the_output_is_as_long_and_as_loud_as_the_source(model, samples, phase):
    source = noise(2.0)[:samples]
    output = transfer(model, source, "violin", phase)
    assert output.shape == (samples,) and output.dtype == np.float32 and np.isfinite(output).all()
    loud = source.std() if samples > 1 else rms(source)  # a constant is no sound, a single sample is a click
    assert rms(output) == pytest.approx(loud, rel=1e-3)


def test_a_minute_and_more(model):
    source = noise(70.0)
    output = transfer(model, source, "piano")
    assert output.shape == source.shape and rms(output) == pytest.approx(rms(source), rel=1e-3)
    # It sounds to the end: no window is silent.
    assert min(rms(part) for part in np.split(output, 70)) > 0.3 * rms(source)


# --- Any loudness


@pytest.mark.parametrize("gain", [2e-3, 0.1, 1.0, 30.0])
def test_loudness_passes_through_and_changes_nothing_else(model, gain):
    source = noise(0.5)
    output, reference = transfer(model, gain * source, "violin"), transfer(model, source, "violin")
    assert rms(output) == pytest.approx(gain * rms(source), rel=1e-3)
    np.testing.assert_allclose(output / gain, reference, atol=2e-3)


def test_the_source_is_not_changed(model):
    source = noise(0.2)
    before = source.copy()
    transfer(model, source, "violin")
    assert (source == before).all()


def test_the_same_twice_is_the_same(model):
    source = noise(0.5)
    assert (transfer(model, source, "violin") == transfer(model, source, "violin")).all()


def test_other_types_of_samples_are_taken(model):
    source = noise(0.1)
    expected = transfer(model, source, "violin")
    assert (transfer(model, source.astype(np.float64), "violin") == expected).all()
    assert (transfer(model, source.tolist(), "violin") == expected).all()


# --- Style and phase


def test_the_style_is_the_prototype_of_the_instrument(model):
    assert torch.equal(class_style(model, "piano"), model.prototypes[:1])
    assert torch.equal(class_style(model, "violin", 3), model.prototypes[1].repeat(3, 1))


def test_the_target_decides_the_output(model):
    source = noise(0.5)
    assert np.abs(transfer(model, source, "violin") - transfer(model, source, "piano")).max() > 1e-3


def test_a_batch_is_transferred_clip_by_clip(model):
    source = torch.from_numpy(np.stack([noise(1.0, seed, 0.07) for seed in (1, 2)]))
    both = transfer_batch(model, source, class_style(model, "violin", 2))
    second = transfer_batch(model, source[1:], class_style(model, "violin"))
    torch.testing.assert_close(both[1:], second, rtol=1e-3, atol=1e-3)


def test_predicted_phase_is_the_inverse_of_the_spectrum_and_refined_is_closer_to_a_consistent_one(model):
    stft = transfer_batch(model, torch.from_numpy(noise(1.0))[None], class_style(model, "violin"))
    spectrum = model.representation.spectrogram
    predicted, refined = (synthesise(model, stft, RATE, phase) for phase in ("predicted", "refined"))
    torch.testing.assert_close(predicted, spectrum.invert(stft, RATE))

    def error(audio):
        return (spectrum(audio).abs() - stft.abs()).norm() / stft.abs().norm()

    assert error(refined) < 0.8 * error(predicted)


def test_half_precision_changes_little(model):
    half = untrained(tiny("model.window=32", "model.overlap=8", "training.precision=bf16-mixed"))
    assert all(torch.equal(a, b) for a, b in zip(half.parameters(), model.parameters(), strict=True))
    source = torch.from_numpy(noise(1.0))[None]
    found, expected = (transfer_batch(m, source, class_style(m, "violin")).abs() for m in (half, model))
    assert ((found - expected).norm() / expected.norm()).item() < 0.05


# --- One-shot: the style of a clip


def test_a_clip_in_the_place_of_an_instrument_decides_the_output(model):
    source, clips = noise(0.5), (noise(1.0, 6), tone(1.0))
    source = source - source.mean()
    outputs = [transfer(model, source, style=clip) for clip in clips]
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-3
    batch = torch.from_numpy(normalise_rms(source))[None]
    stft = transfer_batch(model, batch, clip_style(model, clips[1]))
    expected = normalise_rms(synthesise(model, stft, len(source), "refined")[0].numpy(), rms(source))
    np.testing.assert_allclose(outputs[1], expected, atol=2e-4)  # steps of Griffin-Lim magnify the last digit


def test_a_style_that_is_the_prototype_gives_what_the_instrument_gives(model):
    changed = untrained(model.config)
    changed.prototypes[1] = clip_style(model, tone(1.0))[0]
    one_shot, by_name = transfer(model, noise(0.5), style=tone(1.0)), transfer(changed, noise(0.5), "violin")
    np.testing.assert_allclose(one_shot, by_name, atol=1e-6)


def test_exactly_one_of_instrument_and_clip(model, tmp_path):
    calls = {
        "neither": lambda: transfer(model, noise(0.5)),
        "both": lambda: transfer(model, noise(0.5), "violin", style=noise(1.0)),
    }
    calls["neither "] = lambda: transfer_file("none.wav", None, tmp_path / "out.wav")
    for found, call in calls.items():
        with pytest.raises(AstError, match=f"to, style: found {found.strip()}, accepted is one of them"):
            call()


# --- What is refused


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros(0), r"source: found audio of shape \(0,\)"),
        (np.zeros((2, 100)), r"source: found audio of shape \(2, 100\)"),
        (np.float32(0.5), r"source: found audio of shape \(\)"),
        (np.zeros(1000), "source: found silence"),
        (np.full(1000, 1e-5), "source: found silence"),
        (np.array([0.1, np.nan, 0.1]), "source: found 1 samples that are NaN or infinite"),
        (np.array([0.1, np.inf, -np.inf]), "source: found 2 samples that are NaN or infinite"),
    ],
)
def test_sources_that_cannot_be_played(model, source, message):
    with pytest.raises(AstError, match=message):
        transfer(model, source, "violin")


def test_unknown_instruments_and_phases_are_named_with_what_is_known(model):
    with pytest.raises(AstError, match="instrument: found 'kazoo', accepted by these weights are piano, violin"):
        transfer(model, noise(0.1), "kazoo")
    for call in (lambda: transfer(model, noise(0.1), "violin", "true"), lambda: synthesise(model, None, 1, "true")):
        with pytest.raises(AstError, match="phase: found 'true', accepted are predicted, refined"):
            call()


# --- Files


def test_one_call_does_what_its_parts_do(model, weights, tmp_path):
    soundfile.write(tmp_path / "in.wav", tone(1.0), RATE, subtype="FLOAT")
    path = transfer_file(tmp_path / "in.wav", "violin", tmp_path / "out.wav", weights)
    assert path == tmp_path / "out.wav" and soundfile.info(path).channels == 1
    written, rate = soundfile.read(path, dtype="float32")
    expected = transfer(model, load(tmp_path / "in.wav"), "violin")
    assert rate == RATE
    np.testing.assert_allclose(written, expected, atol=1.0 / 32768)


def test_a_style_file_at_any_rate_and_channels_is_the_style(model, weights, tmp_path):
    soundfile.write(tmp_path / "in.wav", tone(1.0), RATE, subtype="FLOAT")
    clip = tone(1.0, 880, rate=48000)
    soundfile.write(tmp_path / "clip.flac", np.stack([clip, clip], axis=1), 48000, subtype="PCM_24")
    transfer_file(tmp_path / "in.wav", None, tmp_path / "out.wav", weights, style=tmp_path / "clip.flac")
    written, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    expected = transfer(model, load(tmp_path / "in.wav"), style=load(tmp_path / "clip.flac"))
    np.testing.assert_allclose(written, expected, atol=1.0 / 32768)


@pytest.mark.parametrize(
    ("name", "sound", "message"),
    [
        ("none.wav", None, "none.wav: no such file"),
        ("silent.wav", np.zeros(RATE), "silent.wav: found silence"),
        ("nan.wav", np.full(RATE, np.nan), "nan.wav: found 22050 samples that are NaN"),
        ("short.wav", noise(0.2), "short.wav: found 0.20 s, accepted as a style is 0.5 s or more"),
    ],
)
def test_a_style_file_that_will_not_do_is_named(weights, tmp_path, name, sound, message):
    soundfile.write(tmp_path / "in.wav", tone(0.5), RATE)
    if sound is not None:
        soundfile.write(tmp_path / name, sound, RATE, subtype="FLOAT")
    with pytest.raises(AstError, match=message):
        transfer_file(tmp_path / "in.wav", None, tmp_path / "out.wav", weights, style=tmp_path / name)
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44100, 2), (48000, 6)])
def test_any_rate_and_number_of_channels(weights, tmp_path, rate, channels):
    sound = np.tile(tone(0.5, rate=rate)[:, None], (1, channels))
    soundfile.write(tmp_path / "in.flac", sound, rate)
    path = transfer_file(tmp_path / "in.flac", "violin", tmp_path / "out.flac", weights, "predicted")
    written, _ = soundfile.read(path)
    assert abs(len(written) - RATE / 2) <= 1 and rms(written) == pytest.approx(rms(tone(0.5)), rel=0.01)


def test_weights_are_found_when_none_are_named(weights, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "in.wav", tone(0.2), RATE)
    monkeypatch.setattr(checkpoint, "PUBLISHED", tmp_path / "none")
    monkeypatch.setattr(checkpoint, "TRAINED", weights)
    assert transfer_file(tmp_path / "in.wav", "violin", tmp_path / "out.wav").is_file()
    monkeypatch.setattr(checkpoint, "TRAINED", tmp_path / "none")
    with pytest.raises(AstError, match="weights: neither .* exists; run 'make book'"):
        transfer_file(tmp_path / "in.wav", "violin", tmp_path / "out.wav")
    # A name that is empty is not a name that was left out.
    monkeypatch.setattr(checkpoint, "TRAINED", weights)
    with pytest.raises(AstError, match="weights: no file at"):
        transfer_file(tmp_path / "in.wav", "violin", tmp_path / "out.wav", "")


@pytest.mark.parametrize("name", ["john-garner/john-garner_bwv1002_mov6.mp3", "minji-kim/minji-kim_bwv1003_mov3.opus"])
def test_the_first_seconds_of_real_recordings(weights, tmp_path, name):
    recording = RECORDINGS / name
    if not recording.is_file():
        pytest.skip("needs the shared recordings of the Bach Violin Dataset (../shared/data/bach-violin)")
    # A stream cut after 60 kB, as by a broken download, still holds its first 4 to 5 seconds.
    cut = tmp_path / f"cut{recording.suffix}"
    cut.write_bytes(recording.read_bytes()[:60_000])
    source = load(cut)
    assert 3 < len(source) / RATE < 6
    written, rate = soundfile.read(transfer_file(cut, "piano", tmp_path / "out.wav", weights))
    assert rate == RATE and len(written) == len(source)
    assert rms(written) == pytest.approx(rms(source), rel=0.01)
