"""Baselines of the field, and controls that do nothing of use: the same clips in, audio to score beside ours out.

Chapter: ``notebooks/12_evaluation.md``. One method a file. Audio is ``(B, samples)`` at 22,050 Hz.
"""

from ast_lib.evaluation.baselines.controls import another_piece, constant_spectrum, magnitude_only
from ast_lib.evaluation.baselines.envelope import average_power, envelope_transfer
from ast_lib.evaluation.baselines.harmonic import Timbre, harmonic_plus_noise, measure_timbre
from ast_lib.evaluation.baselines.mosaicing import activations, mosaic
