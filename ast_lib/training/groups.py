"""Groups: the styles of clips that share voice and timbre in; each clip's style for the decoder, and their spread, out.

Chapter: ``notebooks/11_training.md``.
"""

import torch
from torch import Tensor

from ast_lib.losses.margin import class_prototypes


def group_styles(styles: Tensor, groups: Tensor, own: bool) -> Tensor:
    """Each clip's style for the decoder: the mean of its group's ``z_style``, ``(B, style_size)`` to the same shape.

    What a clip's own style encodes of its notes helps to predict it again, and training would keep it there. The mean
    of a group without the clip itself depends on how it is played and not on what: as in transfer, where the style is
    another clip's (equation ``style-of-others``).

    Args:
        styles: of the global batch.
        groups: ``(B,)``; without ``own`` two clips or more of each.
        own: ``training.own_style``: the clip counts too.
    """
    mean = class_prototypes(styles, groups, int(groups.max()) + 1)[groups]
    if own:
        return mean
    count = torch.bincount(groups)[groups][:, None]
    return (count * mean - styles) / (count - 1)


def style_spread(styles: Tensor, groups: Tensor) -> Tensor:
    """How far clips that are played alike differ in style (equation ``style-spread``), scalar, 0 or more.

    The clips of a group differ in what is played and in nothing else.

    Args:
        styles: ``(B, style_size)`` of the global batch.
        groups: ``(B,)``; a group of one clip has no spread.
    """
    styles = styles.float()
    around = (styles - group_styles(styles, groups, own=True)).square().mean()
    return around / styles.detach().square().mean().clamp_min(1e-6)
