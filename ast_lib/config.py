"""PLACEHOLDER"""
import dataclasses
@dataclasses.dataclass(frozen=True)
class RepresentationConfig:
    sample_rate: int = 22050
    n_fft: int = 1024
    hop: int = 256
    cqt_bins_per_octave: int = 24
    cqt_octaves: int = 7
    compression: float = 0.3
    section_frames: int = 4
