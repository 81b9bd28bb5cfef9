"""Representation: audio in; sections of magnitudes and phase advances out, and back to audio."""

from ast_lib.representation.features import (
    ConstantQ,
    Features,
    Representation,
    Spectrogram,
    accumulate_phase,
    bin_rotation,
    compress,
    direction,
    join_blocks,
    join_sections,
    lock_phase,
    phase_advance,
    refine_blocks,
    refine_phase,
    to_sections,
)

__all__ = [
    "ConstantQ",
    "Features",
    "Representation",
    "Spectrogram",
    "accumulate_phase",
    "bin_rotation",
    "compress",
    "direction",
    "join_blocks",
    "join_sections",
    "lock_phase",
    "phase_advance",
    "refine_blocks",
    "refine_phase",
    "to_sections",
]
