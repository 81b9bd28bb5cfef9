"""What tests of the published system share: small configurations, untrained models and features with directions."""

import dataclasses

import torch
from models import noise, random_features, tiny

from ast_lib.config import override
from ast_lib.published.config import PublishedConfig, extend
from ast_lib.published.model import PublishedModel
from ast_lib.published.representation import PublishedFeatures


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


def complex_features(config: PublishedConfig, clips: int, sections: int) -> PublishedFeatures:
    """As :func:`models.random_features`, with directions but without advances."""
    features = published_features(config, clips, sections)
    stft, cqt = (
        torch.polar(torch.ones_like(part), 6.28 * torch.rand(part.shape))
        for part in (features.stft_magnitude, features.cqt_magnitude)
    )
    return dataclasses.replace(features, advance=None, stft_phasor=stft, cqt_phasor=cqt)
