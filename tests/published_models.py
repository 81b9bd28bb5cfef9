"""What tests of the published system share: small configurations, models, and features with directions."""

import dataclasses

import torch
from models import noise, random_features, tiny

from ast_lib.config import override
from ast_lib.data import Dataset
from ast_lib.published.config import PublishedConfig, extend, preset
from ast_lib.published.model import PublishedModel
from ast_lib.published.representation import PublishedFeatures
from ast_lib.published.trainer import PublishedTrainer

# What styles of voices, and statistics of each class, cannot have: a source without a voice.
VOICED = ("training.third_instruments=0", "model.align_onsets=false")
SHORT = ("training.steps=2", "training.seconds=0.3", "training.validate_every=2")
# The preset, but small enough for a test: every choice is the paper's, no size is.
SMALL_PAPER = override(
    preset("paper"),
    *SHORT,
    "data.pieces_per_kind=8",
    "data.development_pieces=2",
    "data.validation_pieces=2",
    "representation.section_frames=16",
    "representation.section_overlap=6",
    "model.cnn_channels=[4, 4, 8, 8, 8, 8]",
    *(f"model.{name}=32" for name in ("content_width", "content_size", "style_width", "style_size", "decoder_width")),
    "model.encoder_layers=1",
    "model.decoder_layers=2",
    "training.batch=4",
    "training.loss_warm_up=2",
    "training.alternate=[1, 1]",
)


def published_tiny(*assignments: str) -> PublishedConfig:
    """:func:`models.tiny` with the published system's fields."""
    return override(extend(tiny()), *assignments)


def untrained_published(config: PublishedConfig, seed: int = 0) -> PublishedModel:
    """As :func:`models.untrained`."""
    torch.manual_seed(seed)
    model = PublishedModel(config).eval()
    model.fit_statistics(model.representation(torch.from_numpy(noise(2.0))[None]))
    model.prototypes.normal_()
    return model


def published_features(config: PublishedConfig, clips: int, sections: int, seed: int = 0) -> PublishedFeatures:
    """As :func:`models.random_features`, with advances but without directions."""
    return PublishedFeatures(**vars(random_features(config, clips, sections, seed)))


def trainer(dataset: Dataset, config: PublishedConfig) -> PublishedTrainer:
    """A trainer on the processor, on the data of another configuration."""
    return PublishedTrainer(config, dataclasses.replace(dataset, config=config), "cpu")


def parameters(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A copy of the parameters by name."""
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
