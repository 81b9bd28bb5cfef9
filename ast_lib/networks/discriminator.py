"""The discriminator: one network that predicts the instrument from ``z_style``, ``z_class`` and ``z_content``.

Chapter: ``notebooks/08_adversary.md``. It reads ``z_content`` over time, since a timbre may show in how content
changes. The published one, :class:`MeanDiscriminator`, reads the mean over time; :class:`TwoDiscriminators` is the
variant with one network for content and one for style.
"""

import torch
from torch import Tensor, nn

from ast_lib.config import Config
from ast_lib.networks.critic import Critic
from ast_lib.networks.encoders import initialise


class Discriminator(nn.Module):
    """Logits of the instrument per position of a sequence; a single vector is a sequence of length 1.

    Args:
        content_size, style_size: of the codes.
        classes: number of instruments.
        width: channels of the hidden layers.
        pooled: read, beside each section of content, its mean and deviation over the clip: what a few sections hide
            may add up over many.
    """

    def __init__(self, content_size: int, style_size: int, classes: int, width: int, pooled: bool = False):
        super().__init__()
        self.pooled = pooled
        self.from_content = nn.Conv1d((3 if pooled else 1) * content_size, width, kernel_size=5, padding=2)
        self.from_style = nn.Linear(style_size, width)
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
            deviation = ((content - mean).square().mean(dim=1, keepdim=True) + 1e-6).sqrt()
            content = torch.cat([content, mean.expand_as(content), deviation.expand_as(content)], dim=-1)
        return self.trunk(self.from_content(content.mT)).mT

    def style_logits(self, style: Tensor) -> Tensor:
        """``(B, style_size)``, ``z_style`` or ``z_class``, to ``(B, classes)``."""
        return self.trunk(self.from_style(style)[..., None])[..., 0]


class MeanDiscriminator(nn.Module):
    """The paper's: one MLP for every vector, ``z_content`` averaged over its sections.

    Args:
        size: of all codes.
        classes: number of instruments.
        width: of its two hidden layers.

    Source: the published code.
    """

    def __init__(self, size: int, classes: int, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(size, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, classes)
        )

    def content_logits(self, content: Tensor) -> Tensor:
        """``(B, S, size)`` to ``(B, classes)``."""
        return self.layers(content.mean(dim=1))

    def style_logits(self, style: Tensor) -> Tensor:
        """``(B, size)``, ``z_style`` or ``z_class``, to ``(B, classes)``."""
        return self.layers(style)


class TwoDiscriminators(nn.Module):
    """One network for ``z_content`` and another for ``z_style`` and ``z_class``."""

    def __init__(self, content: nn.Module, style: nn.Module):
        super().__init__()
        self.content, self.style = content, style

    def content_logits(self, content: Tensor) -> Tensor:
        """As those of the first network."""
        return self.content.content_logits(content)

    def style_logits(self, style: Tensor) -> Tensor:
        """As those of the second network."""
        return self.style.style_logits(style)


def build_discriminator(config: Config) -> nn.Module:
    """The discriminator of a configuration: ``content_logits`` and ``style_logits`` are what all have.

    With ``loss.realism`` it has a ``critic`` (:class:`ast_lib.networks.critic.Critic`), which learns beside it.
    """
    sizes, classes = config.model, len(config.voices)

    def network(size: int) -> nn.Module:
        if sizes.discriminator == "mlp":
            return MeanDiscriminator(size, classes, sizes.discriminator_width)
        pooled = sizes.discriminator == "conv_pooled"
        return Discriminator(sizes.content_size, sizes.style_size, classes, sizes.discriminator_width, pooled)

    discriminator = network(sizes.content_size)
    if sizes.discriminators == 2:
        discriminator = TwoDiscriminators(discriminator, network(sizes.style_size))
        if sizes.discriminator != "mlp":  # no weights without a use
            discriminator.content.from_style = discriminator.style.from_content = None
    initialise(discriminator, sizes.initial_gain)
    if config.loss.realism:
        discriminator.critic = Critic(config)
    return discriminator
