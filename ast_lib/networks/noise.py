"""Noise on codes: a code in; the same code after a Gaussian channel, whose noise bounds what it can carry, out.

Chapter: ``notebooks/08_adversary.md`` (the noisy channel).
"""

import torch
from torch import Tensor


def channel_noise(white: Tensor, offset: Tensor, strength: Tensor) -> Tensor:
    """Noise of content's channel, ``(..., S, D)``, standard deviation about 1; its mean and strength stay for a clip.

    White noise alone hides a section, but averages out over a clip: what many sections hint at would be read from
    their mean or their spread. So each value has in each clip an offset, and a strength between a half and
    one and a half, that stay for all its sections.

    Args:
        white: normal ``(..., S, D)``.
        offset: normal ``(..., 1, D)``.
        strength: uniform in 0 to 1, ``(..., 1, D)``.
    """
    return (0.5 + strength) * white + 0.5 * offset


def channel(code: Tensor, std: float, noise: torch.Generator | None = None, stays: bool = False) -> Tensor:
    """A code as it leaves a Gaussian channel (equation ``gaussian-channel``): the noise bounds what it can carry.

    Args:
        code: of clips, ``(B, S, D)``: ``z_content``, or ``z_style`` of S windows.
        std: standard deviation of the noise; 0 changes nothing.
        noise: a generator on the CPU that samples every clip's own; None adds the same noise to every clip and in every
            call, so that a clip is transferred the same alone, in a batch, and tomorrow. A probe wants a generator: it
            must not learn the noise by heart.
        stays: the noise has a part that stays for a clip, see :func:`channel_noise`.
    """
    if std == 0:
        return code
    shape = (1, *code.shape[1:]) if noise is None else code.shape
    return code + std * sample_noise(shape, stays, noise).to(code)


def sample_noise(shape: tuple[int, ...], stays: bool, noise: torch.Generator | None = None) -> Tensor:
    """The noise that :func:`channel` scales and adds, of a ``shape`` ``(B, S, D)``; None is always the same noise.

    White noise is sampled in the order of time, so that clips of different lengths begin with the same.
    """
    noise = noise or torch.Generator().manual_seed(0)
    white = torch.randn(shape, generator=noise)
    if not stays:
        return white
    constant = shape[0], 1, shape[2]
    return channel_noise(white, torch.randn(constant, generator=noise), torch.rand(constant, generator=noise))
