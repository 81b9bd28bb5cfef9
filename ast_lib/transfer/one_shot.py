"""One-shot style: the style of a single clip, read by the encoder and then fitted to that clip.

Chapter: ``notebooks/16_your_own.md``. The style encoder answers for all clips at once; for one clip, above all for one
of a voice that training never heard, another style lets the decoder reconstruct it better. A few steps of gradient
descent on the style alone go there: the weights, and the clip's content, stay as they are.
"""

import numpy as np
import torch
from torch import Tensor

from ast_lib import audio
from ast_lib.audio.levels import normalise_rms
from ast_lib.errors import AstError
from ast_lib.networks.model import TransferModel
from ast_lib.representation.features import Features

SHORTEST_STYLE = 0.5  # seconds of a style clip: a note with its start
FIT_RATE = 0.15  # of the distance between prototypes, about as far as a style moves in one step


def redraw_error(model: TransferModel, target: Tensor, content: Tensor, style: Tensor) -> Tensor:
    """How badly the decoder reconstructs a window of clips with these styles, equation ``own-redraw``: ``(B,)``.

    Mean absolute error of normalised magnitudes. The decoder sees no context: it predicts from content and style alone.

    Args:
        target: of :meth:`TransferModel.target`, ``(B, S, T, F)``.
        content: ``z_content``, ``(B, S, content_size)``.
        style: ``(B, style_size)``.
    """
    nothing = torch.zeros(content.shape[:2], dtype=torch.bool, device=content.device)
    with torch.autocast(content.device.type, torch.bfloat16, enabled=model.config.training.precision == "bf16-mixed"):
        predicted = model.decoder(target, nothing, content, style).context
    return (predicted.float() - target).abs().flatten(1).mean(dim=1)


def fit_rate(model: TransferModel) -> float:
    """Adam's rate, about how far a value of the style moves in one step.

    It is relative to the scale of the styles: the mean distance of a prototype to its nearest other.
    """
    apart = torch.cdist(model.prototypes, model.prototypes).fill_diagonal_(torch.inf).min(dim=1).values.mean()
    return FIT_RATE * apart.item() / model.prototypes.shape[1] ** 0.5


def fit_styles(model: TransferModel, features: Features, style: Tensor, steps: int) -> Tensor:
    """Styles ``(B, style_size)`` after ``steps`` steps of Adam on :func:`redraw_error`, each clip for itself.

    Source: encoders' answers refined by gradient, Kim et al., "Semi-amortized variational autoencoders" (2018).
    """
    with torch.no_grad():
        target, content = model.target(features), model.encode_content(features)
    fitted = style.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([fitted], fit_rate(model))
    for _ in range(steps):
        optimizer.zero_grad()
        for start, stop in model.windows(content.shape[1]):  # one at a time: memory does not grow with the clip
            with torch.enable_grad():
                error = redraw_error(model, target[:, start:stop], content[:, start:stop], fitted)
                (error.sum() * (stop - start)).backward(inputs=[fitted])
        optimizer.step()
    return fitted.detach()


@torch.inference_mode(False)  # gradients, also where the caller computes without
@torch.no_grad()
def clip_styles(model: TransferModel, clips: Tensor) -> Tensor:
    """``z_style`` of clips ``(B, samples)`` at RMS 0.07, fitted by ``model.style_fit`` steps: ``(B, style_size)``."""
    features = model.representation(clips)
    return fit_styles(model, features, model.encode_style(features).float(), model.config.model.style_fit)


def clip_style(model: TransferModel, clip: np.ndarray, name: str = "style") -> Tensor:
    """One-shot style: that of any clip, read and fitted, instead of the mean over a class, ``(1, style_size)``.

    Args:
        clip: ``(samples,)``, mono at the model's sample rate, any loudness and length; a long one takes longer to fit.
        name: what an error message calls it.

    Raises:
        AstError: for a clip below :data:`SHORTEST_STYLE`, silence or NaN.
    """
    clip = audio.without_mean(name, clip)
    seconds = len(clip) / model.config.representation.sample_rate
    if seconds < SHORTEST_STYLE:
        raise AstError(f"{name}: found {seconds:.2f} s, accepted as a style is {SHORTEST_STYLE:g} s or more")
    return clip_styles(model, torch.from_numpy(normalise_rms(clip))[None])
