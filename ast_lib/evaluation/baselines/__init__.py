"""An equaliser, and controls that do nothing of use: the same clips in, audio to score beside ours out.

Chapter: ``notebooks/12_evaluation.md``. Audio is ``(B, samples)`` at 22,050 Hz. Methods of the field that take more
are in ``benchmarks/rivals``.
"""

from ast_lib.evaluation.baselines.controls import another_piece, constant_spectrum, magnitude_only
from ast_lib.evaluation.baselines.envelope import average_power, envelope_transfer
