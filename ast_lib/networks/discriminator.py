"""Discriminator: ``z_content``, ``z_style`` or ``z_class`` in; logits of the voice out.

Chapter: ``notebooks/08_adversary.md``. It reads ``z_content`` over time, since a timbre may show in how content
changes.
"""

from torch import Tensor, nn

from ast_lib.config import Config, ModelConfig


class Discriminator(nn.Module):
    """Logits of the voice per position of a sequence; a single vector is a sequence of length 1.

    Args:
        sizes: of the codes and the hidden layers.
        classes: number of voices.
    """

    def __init__(self, sizes: ModelConfig, classes: int):
        super().__init__()
        width = sizes.discriminator_width
        self.from_content = nn.Conv1d(sizes.content_size, width, kernel_size=5, padding=2)
        self.from_style = nn.Linear(sizes.style_size, width)
        self.trunk = nn.Sequential(
            nn.GELU(),
            nn.Conv1d(width, width, kernel_size=5, padding=2),
            nn.GELU(),
            nn.Conv1d(width, classes, kernel_size=5, padding=2),
        )

    def content_logits(self, content: Tensor) -> Tensor:
        """``(B, S, content_size)`` to ``(B, S, classes)``."""
        return self.trunk(self.from_content(content.mT)).mT

    def style_logits(self, style: Tensor) -> Tensor:
        """``(B, style_size)``, ``z_style`` or ``z_class``, to ``(B, classes)``."""
        return self.trunk(self.from_style(style)[..., None])[..., 0]


def build_discriminator(config: Config) -> Discriminator:
    """The discriminator of a configuration."""
    return Discriminator(config.model, len(config.voices))
