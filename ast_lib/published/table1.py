"""Table 1 of the paper: its formulas on our clips, for a model of ours between two bounds.

Chapters: ``notebooks/01_paper.md``, ``notebooks/12_evaluation.md``. What the published scripts apply the formulas to is
another thing, and in :mod:`ast_lib.published.protocol`.
"""

import pandas as pd
from torch import Tensor

from ast_lib.audio.levels import normalise_rms
from ast_lib.data.clips import PairedClip
from ast_lib.data.dataset import stack_audio
from ast_lib.evaluation.systems import ceiling, directions, transferred
from ast_lib.networks.model import TransferModel
from ast_lib.published import metrics
from ast_lib.transfer.pipeline import class_style

# What an output is compared with: reconstructions with the clip itself; transfers with the source they came from, or
# with a clip of the target instrument that is of another piece.
RECONSTRUCTION = {
    "chroma distance": metrics.published_chroma_distance,
    "onset F1": metrics.published_onset_f1,
    "pitch correlation": metrics.published_pitch_correlation,
    "MSE of the spectrogram": metrics.published_mse_spectrogram,
}
CONTENT = {"chroma similarity": metrics.published_chroma_similarity}
TIMBRE = {
    "MFCC distance": metrics.published_mfcc_distance,
    "instrumentation similarity": metrics.published_instrumentation_similarity,
    "self-similarity distance": metrics.published_self_similarity_distance,
}


def published_table(
    model: TransferModel, name: str, clips: list[PairedClip], audio: dict[str, dict[str, Tensor]]
) -> pd.DataFrame:
    """The formulas of the paper's Table 1 on whole, unprocessed clips: the model, ``source_copy`` and ``ceiling``.

    Args:
        model: trained weights.
        name: what the model's rows are called.
        clips: held-out pairs of one length, 2 or more, since references are clips of another piece.
        audio: by task and system, the outputs for these clips, as of :func:`ast_lib.evaluation.systems.evaluate`.

    Returns:
        columns ``task, system, piece, metric, value``, the tasks and metrics named as in
        ``results/table1_published.csv``. In a reconstruction, the target is the source's own prototype, and
        ``source_copy`` is perfect by definition.
    """
    rows = []

    def add(task, system, sounds, others, functions):
        for clip, sound, other in zip(clips, sounds, others, strict=True):
            rows.extend((task, system, clip.piece, metric, f(sound, other)) for metric, f in functions.items())

    for instrument in model.config.instruments:
        original = stack_audio(clips, instrument)
        rebuilt = transferred(model, original, class_style(model, instrument, len(clips)))
        systems = {"source_copy": original, "ceiling": normalise_rms(ceiling(model, original)), name: rebuilt}
        for system, sounds in systems.items():
            add(f"{instrument}_reconstruction", system, sounds, original, RECONSTRUCTION)
    for source, target, task in directions(model.config):
        original, reference = stack_audio(clips, source), stack_audio(clips, target).roll(1, dims=0)
        for system in ("source_copy", "ceiling", name):
            add(task, system, audio[task][system], original, CONTENT)
            add(task, system, audio[task][system], reference, TIMBRE)
    return pd.DataFrame(rows, columns=["task", "system", "piece", "metric", "value"])
