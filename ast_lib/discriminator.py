"""The discriminator: one network that predicts the instrument from ``z_style``, ``z_class`` and ``z_content``.

Chapter: ``notebooks/08_adversary.md``. It reads ``z_content`` over time, since a timbre may show in how content
changes.
"""

from torch import Tensor, nn


class Discriminator(nn.Module):
    """Logits of the instrument per position of a sequence; a single vector is a sequence of length 1.

    Args:
        content_size, style_size: of the codes.
        classes: number of instruments.
        width: channels of the hidden layers.
    """

    def __init__(self, content_size: int, style_size: int, classes: int, width: int):
        super().__init__()
        self.from_content = nn.Conv1d(content_size, width, kernel_size=5, padding=2)
        self.from_style = nn.Linear(style_size, width)
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
