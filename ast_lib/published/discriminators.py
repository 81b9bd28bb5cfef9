"""Discriminators of the published system and of its appendix: codes in; logits of the voice out.

Chapter: ``notebooks/08_adversary.md``. The paper's, :class:`MeanDiscriminator`, reads the mean of ``z_content`` over
time; :class:`TwoDiscriminators` has one network for content and one for style.
"""

from torch import Tensor, nn

from ast_lib.networks.discriminator import Discriminator
from ast_lib.published.config import PublishedConfig
from ast_lib.published.encoders import initialise


class MeanDiscriminator(nn.Module):
    """The paper's: one MLP for every vector, ``z_content`` averaged over its sections.

    Args:
        size: of all codes.
        classes: number of voices.
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


def build_discriminator(config: PublishedConfig) -> nn.Module:
    """The discriminator of a configuration: ``content_logits`` and ``style_logits`` are what all have."""
    sizes, classes = config.model, len(config.voices)

    def network(size: int) -> nn.Module:
        if sizes.discriminator == "mlp":
            return MeanDiscriminator(size, classes, sizes.discriminator_width)
        return Discriminator(sizes, classes)

    discriminator = network(sizes.content_size)
    if sizes.discriminators == 2:
        discriminator = TwoDiscriminators(discriminator, network(sizes.style_size))
        if sizes.discriminator != "mlp":  # no weights without a use
            discriminator.content.from_style = discriminator.style.from_content = None
    initialise(discriminator, sizes.initial_gain)
    return discriminator
