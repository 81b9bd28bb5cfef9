"""Representation: audio in; sections of STFT and CQT magnitudes and phase advances out, and back to audio."""

from ast_lib.representation.features import Features, Representation, compress, to_sections
from ast_lib.representation.griffin_lim import refine_blocks, refine_phase
from ast_lib.representation.phase import accumulate_phase, bin_rotation, direction, lock_phase, phase_advance
from ast_lib.representation.spectrogram import ConstantQ, Spectrogram
