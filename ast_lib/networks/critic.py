"""The critic: does a clip sound played by a voice, or converted to it? It hears bands of the spectrum over a second.

Chapter: ``notebooks/11_training.md``. A content code can carry a decay or a swell from one instrument to the other and
back, so that back-translation alone is content. The critic compares what the model plays with real clips of the voice
that it is for. It hears the mean of each section in a few bands: how notes develop, not how exactly partials are
predicted.
"""

import torch
import torchaudio
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ast_lib.config import Config

BANDS = 48  # on the mel scale, from 0 Hz to the Nyquist frequency


class Critic(nn.Module):
    """A score for every section of a clip, high for real clips; each voice has its own.

    Convolutions over time see 31 sections, 1.4 s. All but the last are spectrally normalised, so that the score cannot
    grow steeper without bound. Source: Miyato et al., "Spectral normalization for generative adversarial networks"
    (2018); one score a class, after Choi et al., "StarGAN v2" (2020).

    Args:
        config: its representation, its voices and ``model.critic_width``.
    """

    def __init__(self, config: Config):
        super().__init__()
        shape, width = config.representation, config.model.critic_width
        nyquist = shape.sample_rate / 2
        bands = torchaudio.functional.melscale_fbanks(shape.stft_bins, 0.0, nyquist, BANDS, shape.sample_rate)
        self.register_buffer("bands", bands / bands.sum(dim=0).clamp_min(1e-6), persistent=False)
        layers: list[nn.Module] = []
        for channels, dilation in ((BANDS, 1), (width, 2), (width, 4)):
            layer = nn.Conv1d(channels, width, kernel_size=5, padding=2 * dilation, dilation=dilation)
            layers += [spectral_norm(layer), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv1d(width, len(config.voices), kernel_size=3, padding=1))

    def forward(self, magnitude: Tensor, voices: Tensor) -> Tensor:
        """Scores ``(B, S)`` of normalised magnitudes ``(B, S, T, F)``, each as the voice ``(B,)`` it should be of."""
        scores = self.layers((magnitude.mean(dim=2) @ self.bands).mT)
        return scores[torch.arange(len(voices), device=voices.device), voices]
