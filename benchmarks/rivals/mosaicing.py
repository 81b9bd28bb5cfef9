"""NMF mosaicing: frames of the target instrument, laid over one another so that they sound like the source.

Chapter: ``notebooks/12_evaluation.md``. Source: Driedger, Prätzlich and Müller, "Let it Bee – towards NMF-inspired
audio mosaicing" (ISMIR 2015), whose equations (3) to (7) are cited below. What we call the source, the clip with the
notes, is *target* there; what we call the corpus, the sound of the other instrument, is *source* there.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ast_lib.audio.mono import check
from ast_lib.errors import AstError
from ast_lib.representation.griffin_lim import refine_phase
from ast_lib.representation.spectrogram import Spectrogram


def activations(
    magnitude: Tensor,
    templates: Tensor,
    iterations: int = 20,
    repetition: int = 3,
    polyphony: int = 10,
    continuity: int = 3,
    seed: int = 0,
) -> Tensor:
    """How loud each template sounds in each frame: minimises the Kullback-Leibler divergence of ``V`` from ``H W``.

    Args:
        magnitude: ``V``, of the clip to be imitated ``(T, F)``.
        templates: ``W``, magnitudes of the corpus ``(K, F)``, in the order of time; they stay as they are.
        iterations: ``L``. The restrictions grow with their number: what they remove is scaled by ``1 - l / L`` in
            iteration ``l``, and so by 0 in the last one.
        repetition: ``r``, frames before and after one in which the same template may not be louder, (3) and (4).
        polyphony: ``p``, templates that sound in a frame, (5).
        continuity: ``c``, frames before and after one in which the templates before and after are supported, (6).
        seed: of the activations at the beginning.

    Returns:
        ``H``, ``(T, K)``, not negative.

    Raises:
        AstError: for shapes that do not fit or are empty, or fewer than one iteration.
    """
    if magnitude.ndim != 2 or templates.ndim != 2 or not magnitude.numel() or not templates.numel():
        raise AstError(f"magnitude, templates: found {tuple(magnitude.shape)}, {tuple(templates.shape)}, not 2 tables")
    if magnitude.shape[1] != templates.shape[1] or iterations < 1:
        raise AstError(
            f"magnitude, templates: found {magnitude.shape[1]} and {templates.shape[1]} bins and {iterations} "
            "iterations, accepted are as many bins and 1 iteration or more"
        )
    shape, tiny = (len(magnitude), len(templates)), 1e-12
    found = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) + tiny
    energy = templates.sum(dim=1) + tiny
    for iteration in range(1, iterations + 1):
        rest = 1 - iteration / iterations
        loudest = F.max_pool1d(found.T[None], 2 * repetition + 1, 1, repetition)[0].T  # (4)
        found = torch.where(found == loudest, found, rest * found)  # (3)
        least = found.topk(min(polyphony, shape[1]), dim=1).values[:, -1:]
        found = torch.where(found >= least, found, rest * found)  # (5)
        padded = F.pad(found, 2 * (continuity, continuity))
        found = sum(padded[i : i + shape[0], i : i + shape[1]] for i in range(2 * continuity + 1))  # (6)
        ratio = magnitude / (found @ templates + tiny)
        found = found * (ratio @ templates.T) / energy  # (7)
    return found


def mosaic(spectrogram: Spectrogram, source: Tensor, corpus: Tensor, steps: int = 0, **restrictions: int) -> Tensor:
    """Audio ``(B, samples)`` with the notes of ``source``, made of frames of ``corpus``.

    Args:
        spectrogram: of frames as long as a note's steady part, ``Spectrogram(2048, 1024)``; with the short hop of our
            model, the continuity spans less than an attack and there are four times as many templates.
        source: ``(B, samples)``. Where it is brighter than the corpus, bring it to the corpus's average spectrum first
            (:func:`ast_lib.evaluation.baselines.envelope_transfer`): otherwise noisy attacks imitate its high partials.
        corpus: ``(N, samples)``, training clips of the target instrument, a minute or more.
        steps: 0 for the paper's synthesis, the sum of the corpus's *complex* frames, which keep their phase. With more,
            the magnitude is that of ``H W`` and Griffin-Lim refines that phase in so many steps.
        **restrictions: as for :func:`activations`.

    Raises:
        AstError: for an empty corpus, NaN or infinite samples, and as :func:`activations`.
    """
    if not len(corpus):
        raise AstError("corpus: found no clip, accepted are 1 or more")
    for name, clips in (("source", source), ("corpus", corpus)):
        for clip in clips:
            check(name, clip.numpy(), allow_silence=True)
    frames = spectrogram(corpus).flatten(0, 1)
    templates, made = frames.abs(), []
    for stft in spectrogram(source):
        found = activations(stft.abs(), templates, **restrictions)
        sound = torch.complex(found @ frames.real, found @ frames.imag)
        if steps:
            sound = torch.polar(found @ templates, sound.angle())
        made.append(sound)
    return refine_phase(spectrogram, torch.stack(made), source.shape[-1], steps)
