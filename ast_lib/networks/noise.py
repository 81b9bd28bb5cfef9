"""Noise on codes: a code in; the same code after a Gaussian channel, whose noise bounds what it can carry, out.

Chapter: ``notebooks/08_adversary.md`` (the noisy channel).
"""

from collections.abc import Iterator

import torch
from torch import Tensor

NOISE_BLOCK = 1024  # sections whose noise is drawn at once; of a multiple of 16 numbers, which torch draws together


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
        noise: a generator on the CPU that draws every clip's own; None adds the same noise to every clip and in every
            call, so that a clip is transferred the same alone, in a batch, and tomorrow. A probe wants a generator: it
            must not learn the noise by heart.
        stays: the noise has a part that stays for a clip, see :func:`channel_noise`.
    """
    if std == 0:
        return code
    if noise is None:
        drawn = torch.cat(list(same_noise(code.shape[1], code.shape[2], stays)), dim=1)
    else:
        drawn = torch.randn(code.shape, generator=noise)
        if stays:
            constant = len(code), 1, code.shape[2]
            drawn = channel_noise(drawn, torch.randn(constant, generator=noise), torch.rand(constant, generator=noise))
    return code + std * drawn.to(code)


def same_noise(sections: int, size: int, stays: bool) -> Iterator[Tensor]:
    """The noise that :func:`channel` adds to every clip of ``sections`` sections, in blocks ``(1, n, size)``.

    It is drawn in the order of time, so that clips of different lengths have the same white noise.
    """
    counts = [min(NOISE_BLOCK, sections - start) for start in range(0, sections, NOISE_BLOCK)]
    white, after = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
    if stays:
        for count in counts:  # what stays is drawn after the noise of all sections
            torch.randn(1, count, size, generator=after)
        offset, strength = torch.randn(1, 1, size, generator=after), torch.rand(1, 1, size, generator=after)
    for count in counts:
        drawn = torch.randn(1, count, size, generator=white)
        yield channel_noise(drawn, offset, strength) if stays else drawn
