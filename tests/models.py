"""What several test files share: small configurations, an untrained model that is audible, and made-up pieces."""

import tempfile

import numpy as np
import torch

from ast_lib.audio import SAMPLE_RATE
from ast_lib.config import Config, override, preset
from ast_lib.data import Dataset
from ast_lib.data.clips import split_by_piece
from ast_lib.data.pool import Pool
from ast_lib.data.samplers import Sampler
from ast_lib.data.scores import Notes, Piece
from ast_lib.data.synth import shared_synth
from ast_lib.networks.model import TransferModel
from ast_lib.representation import Features


def tiny(*assignments: str) -> Config:
    """The smoke preset in full precision, with windows so short that a second of audio has several."""
    return override(preset("smoke"), "training.precision=32-true", "model.window=8", "model.overlap=2", *assignments)


def noise(seconds: float, seed: int = 0, rms: float = 0.07) -> np.ndarray:
    """White noise ``(samples,)`` float32."""
    samples = np.random.default_rng(seed).normal(0, rms, max(round(seconds * SAMPLE_RATE), 1))
    return samples.astype(np.float32)


def tone(seconds: float, frequency: float = 440.0, amplitude: float = 0.1, rate: int = SAMPLE_RATE) -> np.ndarray:
    """A sinusoid ``(samples,)`` float32."""
    time = np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def untrained(config: Config, seed: int = 0) -> TransferModel:
    """A model with random weights and prototypes, and the statistics of noise, so that its output is no silence."""
    torch.manual_seed(seed)
    model = TransferModel(config).eval()
    model.fit_statistics(model.representation(torch.from_numpy(noise(2.0))[None]))
    model.prototypes.normal_()
    return model


def random_features(config: Config, clips: int, sections: int, seed: int = 0) -> Features:
    """Features of no audio at all: positive magnitudes and phasors in every direction."""
    random = torch.Generator().manual_seed(seed)
    shape = config.representation
    stft = torch.rand(clips, sections, shape.section_frames, shape.stft_bins, generator=random)
    cqt = torch.rand(clips, sections, shape.section_frames, shape.cqt_bins, generator=random)
    return Features(stft, cqt, torch.polar(torch.ones_like(stft), 6.28 * torch.rand(stft.shape, generator=random)))


def made_pieces(count: int = 8) -> list[Piece]:
    """``count`` pieces of each kind: random melodies in quarter notes, chorales with a second voice."""
    pieces = []
    for kind in ("fiddle", "chorale"):
        for index in range(count):
            melody = 60 + np.random.default_rng([index, len(kind)]).integers(0, 24, 32)
            onset, pitch = np.arange(32.0), melody
            if kind == "chorale":
                onset, pitch = np.repeat(onset, 2), np.stack([melody - 7, melody], axis=1).flatten()
            notes = Notes(onset, np.ones(len(onset)), pitch, np.full(len(onset), 80))
            pieces.append(Piece(f"{kind}/{index}", kind, notes))
    return pieces


def made_dataset(config: Config) -> Dataset:
    """As :func:`ast_lib.data.build_dataset`, from :func:`made_pieces`: no score is read."""
    data, training = config.data, config.training
    splits = split_by_piece(
        made_pieces(), config.instruments, data.seed, data.development_pieces, data.validation_pieces
    )
    synths = [shared_synth(soundfont) for soundfont in config.soundfonts]
    pool = Pool(config, splits.train, synths, tempfile.gettempdir())
    return Dataset(
        config, splits, synths, Sampler(pool, config.groups, training.seconds, training.batch, training.seed)
    )


def weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Copies of a module's tensors, to compare with what becomes of them."""
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def differs(before: dict[str, torch.Tensor], module: torch.nn.Module) -> bool:
    """Whether a tensor of the module is no longer what :func:`weights` copied."""
    return any(not torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
