"""Audio: sound files in; mono blocks at one rate out, and back to a file; levels; streams of any length."""

from ast_lib.audio.mono import SAMPLE_RATE, SILENCE, AudioWarning, Mixer, check, resampled, without_mean
from ast_lib.audio.reading import load, open_sound
from ast_lib.audio.writing import FORMATS, PEAK, check_output, save
