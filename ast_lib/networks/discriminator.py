"""Discriminator: ``z_content``, ``z_style`` or ``z_class`` in; logits of the voice out.

Chapter: ``notebooks/08_adversary.md``. It reads ``z_content`` over time, since a timbre may show in how content
changes.
"""

import torch
from torch import Tensor, nn

from ast_lib.config import Config, ModelConfig
from ast_lib.networks.critic import Critic


class Discriminator(nn.Module):
    """Logits of the voice per position of a sequence; a single vector is a sequence of length 1.

    Args:
        sizes: of the codes and the hidden layers. ``conv_pooled`` reads, beside each section of content, the mean and
            the standard deviation over the clip: what a few sections hide may add up over many.
        classes: number of voices.
    """

    def __init__(self, sizes: ModelConfig, classes: int):
        super().__init__()
        width, self.pooled = sizes.discriminator_width, sizes.discriminator == "conv_pooled"
        inputs = (3 if self.pooled else 1) * sizes.content_size
        self.from_content = nn.Conv1d(inputs, width, kernel_size=5, padding=2)
        self.from_style = nn.Linear(sizes.style_size, width)
        self.trunk = nn.Sequential(
            nn.GELU(),
            nn.Conv1d(width, width, kernel_size=5, padding=2),
            nn.GELU(),
            nn.Conv1d(width, classes, kernel_size=5, padding=2),
        )

    def content_logits(self, content: Tensor) -> Tensor:
        """``(B, S, content_size)`` to ``(B, S, classes)``."""
        if self.pooled:
            mean = content.mean(dim=1, keepdim=True)
            std = ((content - mean).square().mean(dim=1, keepdim=True) + 1e-6).sqrt()
            content = torch.cat([content, mean.expand_as(content), std.expand_as(content)], dim=-1)
        return self.trunk(self.from_content(content.mT)).mT

    def style_logits(self, style: Tensor) -> Tensor:
        """``(B, style_size)``, ``z_style`` or ``z_class``, to ``(B, classes)``."""
        return self.trunk(self.from_style(style)[..., None])[..., 0]


def build_discriminator(config: Config) -> Discriminator:
    """The discriminator of a configuration; with ``loss.realism`` it has a ``critic``, which learns beside it."""
    discriminator = Discriminator(config.model, len(config.voices))
    if config.loss.realism:
        discriminator.critic = Critic(config)
    return discriminator
