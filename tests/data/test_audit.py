"""The audit: known spectra give known coefficients, sources that differ show."""

import numpy as np
import pytest
import soundfile
from scipy.fft import dct

from ast_lib.data import audit
from ast_lib.data.manifest import Clip
from ast_lib.errors import AstError

RATE = 22050


def clip(folder, name, signal, **changes):
    soundfile.write(folder / f"{name}.wav", signal, RATE, subtype="FLOAT")
    fields = {"id": name, "dataset": "d", "piece": name, "instrument": "violin", "path": str(folder / f"{name}.wav"),
              "start": 0.0, "seconds": 2.0, "sample_rate": RATE, "licence": "PD", "split": "", "rms": 0.1}  # fmt: skip
    return Clip(**{**fields, **changes})


def noise(seed, brightness=1.0):
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(2 * RATE))
    spectrum *= np.exp(-np.linspace(0, 1, len(spectrum)) * 10 * (1 - brightness))
    signal = np.fft.irfft(spectrum)
    return (0.1 * signal / np.abs(signal).max()).astype(np.float32)


def test_coefficients_do_not_hear_loudness(tmp_path):
    quiet, loud = (clip(tmp_path, name, gain * noise(0)) for name, gain in (("a", 0.1), ("b", 1.0)))
    means = audit.mfcc_means([quiet, loud])
    assert means.shape == (2, 13)
    assert means[0] == pytest.approx(means[1], abs=1e-3)


def test_flat_noise_has_the_coefficients_of_its_level(tmp_path):
    """White noise has one power in every bin, so its 128 mel bands are all at one level L: MFCC 0 is L * sqrt(128)."""
    means = audit.mfcc_means([clip(tmp_path, "a", noise(1))])[0]
    # Power of a bin: 0.07^2 times the sum of the squared Hann window; Slaney's bands have area 2 / (df * 1 Hz).
    power = 0.07**2 * 0.375 * 2048
    band = 10 * np.log10(power / (RATE / 2048))
    # Within 1 dB a band: the mean of a noise's decibels is a little below the decibels of its mean.
    assert means[0] == pytest.approx(dct(np.full(128, band), norm="ortho")[0], abs=np.sqrt(128))
    assert np.abs(means[2:]).max() < 3


def test_sources_that_differ_show(tmp_path):
    clips = [clip(tmp_path, f"dark{i}", noise(i, 0.2), dataset="dark", rms=0.02) for i in range(3)]
    clips += [clip(tmp_path, f"bright{i}", noise(i), dataset="bright", rms=0.2) for i in range(2)]
    table = audit.mfcc_audit(clips, by=("dataset",))
    assert list(table.columns) == ["clips", "rms_before", *(f"mfcc_{i}" for i in range(13)), "mfcc_0_std"]
    assert table["clips"].to_dict() == {"bright": 2, "dark": 3}
    assert table["rms_before"].to_dict() == pytest.approx({"bright": 0.2, "dark": 0.02})
    assert table.loc["bright", "mfcc_0"] > table.loc["dark", "mfcc_0"] + 50
    assert table.loc["dark", "mfcc_1"] > table.loc["bright", "mfcc_1"] + 50
    means = audit.mfcc_means(clips[:3])[:, 0]
    assert table.loc["dark", "mfcc_0"] == pytest.approx(means.mean())
    assert table.loc["dark", "mfcc_0_std"] == pytest.approx(means.std())


def test_sources_are_any_fields(tmp_path):
    clips = [clip(tmp_path, "a", noise(0), licence="PD"), clip(tmp_path, "b", noise(1), licence="CC BY")]
    assert audit.mfcc_audit(clips).index.tolist() == [("violin", "d")]
    assert audit.mfcc_audit(clips, ("licence",)).index.tolist() == ["CC BY", "PD"]
    for by in (("timbre",), ()):
        with pytest.raises(AstError, match="audit: found 2 clips by"):
            audit.mfcc_audit(clips, by)
    with pytest.raises(AstError, match="audit: found 0 clips"):
        audit.mfcc_audit([])
