"""Clips of a manifest come in; a table goes out that compares the loudness and timbre of an instrument's sources.

Chapters: ``notebooks/02_dataset.md``, ``notebooks/16_your_own.md``. A class whose sources differ teaches
the style encoder the source, not the instrument.
"""

from collections.abc import Sequence

import librosa
import numpy as np
import pandas as pd

from ast_lib.audio.mono import SAMPLE_RATE
from ast_lib.data.manifest import Clip
from ast_lib.data.recordings import load_clip
from ast_lib.errors import AstError

MFCCS = 13


def mfcc_means(clips: Sequence[Clip]) -> np.ndarray:
    """Mean over time of 13 MFCCs (librosa's defaults, equation ``mfcc-level``) of each clip at 22,050 Hz and RMS 0.07.

    Returns:
        ``(clips, 13)``.
    """
    rows = [librosa.feature.mfcc(y=load_clip(clip), sr=SAMPLE_RATE, n_mfcc=MFCCS).mean(axis=1) for clip in clips]
    return np.array(rows).reshape(len(clips), MFCCS)


def mfcc_audit(clips: Sequence[Clip], by: Sequence[str] = ("instrument", "dataset")) -> pd.DataFrame:
    """Do the sources of an instrument sound alike? The paper compares MFCC 0 of its violin sources, -351.2 and -334.9.

    Its clips were at 44.1 kHz; MFCC 0 depends on the rate and the level, so compare within one table only.

    Args:
        clips: of any instruments and datasets.
        by: the fields of :class:`Clip` that make a source.

    Returns:
        a row per source with ``clips``, ``rms_before`` (mean), ``mfcc_0`` .. ``mfcc_12`` (means over clips) and
        ``mfcc_0_std``.

    Raises:
        AstError: for no clips or an unknown field.
    """
    table, names = pd.DataFrame(clips), [f"mfcc_{i}" for i in range(MFCCS)]
    if table.empty or not by or not set(by) <= set(table):
        raise AstError(f"audit: found {len(clips)} clips by {tuple(by)}, accepted is 1 or more by {', '.join(table)}")
    table[names] = mfcc_means(clips)
    sources = table.rename(columns={"rms": "rms_before"}).groupby(list(by))
    means = sources[["rms_before", *names]].mean()
    means.insert(0, "clips", sources.size())
    return means.assign(mfcc_0_std=sources["mfcc_0"].std(ddof=0))
