"""Table 1 of the paper: its formulas, by the names that ``results/table1_published.csv`` has for them.

Chapters: ``notebooks/01_paper.md``, ``notebooks/12b_table1.md``. What the published scripts apply them to is another
thing, and in :mod:`ast_lib.published.protocol`.
"""

from ast_lib.published import metrics

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
