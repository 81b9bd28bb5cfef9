"""A one-shot VQ-VAE on our data for the same time: ``python -m benchmarks.rivals.one_shot_vqvae --seconds 150``.

Source: Cífka, Ozerov, Şimşekli and Richard, "Self-supervised VQ-VAE for one-shot music style transfer" (ICASSP 2021),
and github.com/cifkao/ss-vq-vae, commit 5b88854, ``experiments/model/config.yaml``. Layers and losses are theirs:
content is a sequence of codes, one for 4 frames; style is one vector, of another clip by the same player; both are
learnt by reconstruction alone.

What differs makes it small enough for two cores, or quick to learn. There are :data:`WIDTH` channels for 1024,
:data:`CODES` codes for 2048 and our STFT, and the recurrent layer over the output's bins is left out, which took two
thirds of a step. The codebook begins at encoded frames and follows exponential moving averages (van den Oord, Vinyals
and Kavukcuoglu 2017, appendix A.1), where theirs is learnt by gradients.
"""

import argparse
import os
import sys
import time

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ast_lib.config import Config, preset
from ast_lib.data.dataset import build_dataset, stack_audio
from ast_lib.evaluation import metrics
from ast_lib.evaluation.baselines import magnitude_only
from ast_lib.evaluation.systems import directions
from ast_lib.files import CACHE
from ast_lib.representation.spectrogram import Spectrogram

WIDTH, CODES, DECAY, COMMITMENT, RATE = 256, 256, 0.99, 0.5, 1e-3


class Residual(nn.Module):
    """``x`` plus what ``inner`` makes of its normalised, rectified values: ``(B, C, T)`` to the same."""

    def __init__(self, channels: int, inner: nn.Module):
        super().__init__()
        self.before, self.inner = nn.Sequential(nn.BatchNorm1d(channels), nn.LeakyReLU(0.1)), inner

    def forward(self, x: Tensor) -> Tensor:
        y = self.before(x)
        return x + (self.inner(y.mT)[0].mT if isinstance(self.inner, nn.GRU) else self.inner(y))


class Quantiser(nn.Module):
    """Each vector of ``(B, C, T)`` to the nearest code; gradients pass as if nothing had happened."""

    def __init__(self):
        super().__init__()
        self.register_buffer("counts", torch.ones(CODES))
        self.register_buffer("sums", torch.zeros(CODES, WIDTH))

    def forward(self, content: Tensor) -> tuple[Tensor, Tensor]:
        """Codes ``(B, C, T)`` and the commitment loss."""
        vectors = content.mT.reshape(-1, WIDTH)
        if self.training and not self.sums.any():
            self.sums.copy_(vectors[torch.randint(len(vectors), (CODES,))].detach())
        codes = self.sums / self.counts[:, None]
        chosen = torch.cdist(vectors.detach(), codes).argmin(dim=1)
        if self.training:
            used = F.one_hot(chosen, CODES).to(vectors.dtype)
            self.counts.lerp_(used.sum(dim=0), 1 - DECAY).clamp_(min=1e-5)
            self.sums.lerp_(used.T @ vectors.detach(), 1 - DECAY)
        found = codes[chosen].unflatten(0, (len(content), -1)).mT
        return content + (found - content).detach(), (found - content).square().mean()


class VQVAE(nn.Module):
    """Log-magnitudes ``(B, F, T)`` of a clip and of a style clip to those of the clip."""

    def __init__(self, bins: int = 513):
        super().__init__()
        self.spectrogram = Spectrogram()
        self.content = nn.Sequential(
            nn.Conv1d(bins, WIDTH, 4, 2, 2), nn.BatchNorm1d(WIDTH), nn.LeakyReLU(0.1), nn.Conv1d(WIDTH, WIDTH, 4, 2, 2),
            Residual(WIDTH, nn.Conv1d(WIDTH, WIDTH, 1)), nn.BatchNorm1d(WIDTH),
        )  # fmt: skip
        self.quantiser = Quantiser()
        self.style = nn.Sequential(
            nn.Conv1d(bins, WIDTH, 4, 2), Residual(WIDTH, nn.Conv1d(WIDTH, WIDTH, 1)), nn.BatchNorm1d(WIDTH),
            nn.LeakyReLU(0.1),
        )  # fmt: skip
        self.summary = nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.decoder = nn.ModuleList(self.block() for _ in range(2))
        self.last = nn.Sequential(
            nn.BatchNorm1d(WIDTH), nn.LeakyReLU(0.1), nn.Conv1d(WIDTH, bins, 1), nn.ReLU(),
        )  # fmt: skip

    @staticmethod
    def block() -> nn.Sequential:
        return nn.Sequential(
            nn.BatchNorm1d(2 * WIDTH), nn.LeakyReLU(0.1), nn.Conv1d(2 * WIDTH, WIDTH, 1),
            Residual(WIDTH, nn.GRU(WIDTH, WIDTH, batch_first=True)), nn.BatchNorm1d(WIDTH), nn.LeakyReLU(0.1),
            nn.ConvTranspose1d(WIDTH, WIDTH, 4, 2, 2, 1),
        )  # fmt: skip

    def log_magnitude(self, audio: Tensor) -> Tensor:
        """``log(1 + |X|)`` of audio ``(B, samples)``."""
        return self.spectrogram(audio).abs().log1p().mT

    def forward(self, clip: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        x, commitment = self.quantiser(self.content(clip))
        vector = self.summary(self.style(style).mT)[1][0][..., None]
        for block in self.decoder:
            x = block(torch.cat([x, vector.expand(-1, -1, x.shape[-1])], dim=1))
        return self.last(x)[..., : clip.shape[-1]], commitment


def train(config: Config, cache: str | os.PathLike, seconds: float = 150.0, steps: int | None = None) -> VQVAE:
    """Train on the clips of a run's batches, for so many steps or, without, seconds of this process."""
    torch.manual_seed(config.training.seed)
    sampler, model, groups, step = build_dataset(config, cache).sampler, VQVAE(), len(config.groups), 0
    optimizer, begun = torch.optim.Adam(model.parameters(), RATE), time.process_time()
    while step < steps if steps is not None else time.process_time() - begun < seconds:
        clips = model.log_magnitude(torch.from_numpy(sampler(step).clip))
        found, commitment = model(clips, clips.roll(groups, dims=0))  # the style of the group's next clip
        loss = (found - clips).square().mean() + COMMITMENT * commitment
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
    return model.eval()


@torch.inference_mode()
def transfer(model: VQVAE, source: Tensor, style_clip: Tensor) -> Tensor:
    """Audio ``(B, samples)`` of ``source`` in the style of ``style_clip``, both ``(B, samples)``, by Griffin-Lim."""
    found, _ = model(model.log_magnitude(source), model.log_magnitude(style_clip))
    return magnitude_only(model.spectrogram, found.mT.expm1(), source.shape[-1])


def main(arguments: list[str] | None = None) -> int:
    """Train, then print the distances of the validation pairs; the style is the next clip's, another piece."""
    command = argparse.ArgumentParser(
        prog="python -m benchmarks.rivals.one_shot_vqvae", description="Train and measure."
    )
    command.add_argument("--preset", default="quick")
    command.add_argument("--seconds", type=float, default=150.0)
    options = command.parse_args(arguments)
    config = preset(options.preset)
    model, clips = train(config, CACHE, options.seconds), build_dataset(config, CACHE).held_out("validation")
    for source, target, task in directions(config):
        heard, truth = stack_audio(clips, source), stack_audio(clips, target)
        made = transfer(model, heard, truth.roll(-1, dims=0))
        chroma = np.mean([metrics.chroma_cosine(*pair) for pair in zip(made, truth, strict=True)])
        print(f"{task}: LSD {metrics.lsd(made, truth).mean():.2f} dB, chroma {chroma:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
