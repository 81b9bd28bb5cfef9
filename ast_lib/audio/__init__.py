"""Audio: sound files in; mono blocks at one rate out, and back to a file; levels, and streams of any length."""

from ast_lib.audio.sounds import (
    FORMATS,
    SAMPLE_RATE,
    SILENCE,
    AudioWarning,
    Mixer,
    Sound,
    check,
    check_output,
    check_rate,
    load,
    open_sound,
    resampled,
    save,
    warn,
)
