"""Probes: what a classifier that took no part in training reads from codes.

Chapter: ``notebooks/12_evaluation.md``. Codes are probed with scikit-learn's logistic regression and a small
perceptron, trained and tested on different pieces; a code hides only what the *stronger* of the two cannot read.
"""

from collections.abc import Sequence

import joblib
import librosa
import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ast_lib.audio import SAMPLE_RATE
from ast_lib.data.clips import PairedClip
from ast_lib.data.dataset import stack_audio
from ast_lib.errors import AstError
from ast_lib.evaluation.intervals import ratio_interval
from ast_lib.evaluation.metrics import score_pitch
from ast_lib.networks.model import TransferModel
from ast_lib.transfer.one_shot import fit_styles


def probe(
    features: np.ndarray, labels: np.ndarray, pieces: Sequence[str], folds: int = 4, seed: int = 0
) -> pd.DataFrame:
    """Balanced accuracy, equation ``eval-probe``, of each probe on pieces that it was not trained on.

    Args:
        features: ``(N, D)``, finite.
        labels: ``(N,)``.
        pieces: ``(N,)``; all samples of a piece are in one of the ``folds`` parts of the cross-validation.
        seed: of the perceptron.

    Returns:
        a row each for ``logistic`` and ``perceptron``, the stronger first: ``accuracy``, ``low`` and ``high`` (95 %,
        over pieces, equation ``bootstrap-ratio``) and ``chance``, one over the number of labels. Every label counts
        the same, however often it occurs.

    Raises:
        AstError: for fewer than 2 labels or 2 pieces.
    """
    kinds, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    groups = len(np.unique(pieces))
    if len(kinds) < 2 or groups < 2:
        raise AstError(f"probe: found {len(kinds)} labels in {groups} pieces, accepted are 2 or more of both")
    weight = 1 / counts[index]
    rows = []
    for name, classifier in {
        "logistic": LogisticRegression(max_iter=5000, class_weight="balanced"),
        "perceptron": MLPClassifier((64,), max_iter=300, tol=1e-3, n_iter_no_change=5, random_state=seed),
    }.items():
        pipeline, splits = make_pipeline(StandardScaler(), classifier), GroupKFold(min(folds, groups))
        right = cross_val_predict(pipeline, features, labels, groups=pieces, cv=splits) == labels
        sums = pd.DataFrame({"right": weight * right, "all": weight}).groupby(np.asarray(pieces)).sum()
        rows.append((name, *ratio_interval(sums["right"], sums["all"]), 1 / len(kinds)))
    table = pd.DataFrame(rows, columns=["probe", "accuracy", "low", "high", "chance"])
    return table.sort_values("accuracy", ascending=False, ignore_index=True)


def section_pitch(clip: PairedClip, times: np.ndarray) -> np.ndarray:
    """MIDI pitch that sounds at each time ``(S,)`` in seconds of a monophonic clip; -1 in rests and other clips."""
    frequency = score_pitch(clip.notes, times) * clip.notes.monophonic
    pitch = np.round(librosa.hz_to_midi(np.where(frequency > 0, frequency, 1.0)))
    return np.where(frequency > 0, pitch, -1).astype(int)


@torch.no_grad()
def encode(model: TransferModel, clips: list[PairedClip], batch: int = 16) -> dict[str, np.ndarray]:
    """The codes of clips on every instrument of the model, instrument after instrument, as the decoder reads them.

    Returns:
        ``content`` ``(N, S, content_size)``, ``style`` and ``style_fitted``, that of :mod:`ast_lib.transfer.one_shot`,
        ``(N, style_size)``, ``instrument`` and ``piece`` ``(N,)``,
        ``pitch`` ``(N, S)``: :func:`section_pitch` in the middle of a section.
    """
    shape, instruments = model.config.representation, model.config.instruments
    codes = []
    for instrument in instruments:
        for start in range(0, len(clips), batch):
            features = model.representation(stack_audio(clips[start : start + batch], instrument))
            content, style = model.encode_content(features), model.encode_style(features).float()
            codes.append((content, style, fit_styles(model, features, style, model.config.model.style_fit)))
    content, style, fitted = (torch.cat(parts).numpy() for parts in zip(*codes, strict=True))
    middles = (np.arange(content.shape[1]) + 0.5) * shape.section_frames - 0.5
    pitch = [section_pitch(clip, middles * shape.hop / SAMPLE_RATE) for clip in clips]
    return {
        "content": content,
        "style": style,
        "style_fitted": fitted,
        "instrument": np.repeat(instruments, len(clips)),
        "piece": np.tile([clip.piece for clip in clips], len(instruments)),
        "pitch": np.tile(pitch, (len(instruments), 1)),
    }


def shuffled_clips(clips: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """A shuffling of the clips on one instrument: whose code each of them gets, ``(count,)``.

    Args:
        clips: those that are exchanged, by their numbers below ``count``; the others keep their own.
        count: of clips on one instrument.
        random: source of chance.
    """
    order = np.arange(count)
    order[clips] = random.permutation(clips)
    return order


def disentanglement(codes: dict[str, np.ndarray], most: int = 4000, shuffles: int = 19, seed: int = 0) -> pd.DataFrame:
    """Instrument and pitch read from content and from style.

    Args:
        codes: of :func:`encode`, of clips that are the same on every instrument.
        most: sections used for a probe of sections, chosen at random.
        shuffles: of the clips' styles; with 19 a style that does not depend on pitch is read better than from all of
            them once in 20 times (equation ``hsic-pvalue``).

    Returns:
        the rows of :func:`probe` with the columns ``read`` (``instrument``, ``pitch_class``) and ``code``:
        ``content`` (one section), ``content_pooled`` (mean and standard deviation over a clip), ``style`` and
        ``style_fitted`` (of a clip); and for pitch class from style ``shuffled``, the best that the stronger probe
        reads from the styles of other clips, NaN elsewhere.
    """
    content, instrument, piece = codes["content"], codes["instrument"], codes["piece"]
    random = np.random.default_rng(seed)

    def some(of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Clip and section of at most ``most`` of the sections where ``of`` is true."""
        found = np.argwhere(of)
        return tuple(found[random.permutation(len(found))[:most]].T)

    clip, section = some(np.ones(content.shape[:2], dtype=bool))
    pooled = np.concatenate([content.mean(axis=1), content.std(axis=1)], axis=1)
    known = [("content", content[clip, section], instrument[clip], piece[clip])]
    known += [("content_pooled", pooled, instrument, piece)]
    known += [(code, codes[code], instrument, piece) for code in ("style", "style_fitted")]
    tables = [probe(*data).assign(read="instrument", code=code) for code, *data in known]

    clip, section = some(codes["pitch"] >= 0)
    played = codes["pitch"][clip, section] % 12, piece[clip]
    known = [("content", content[clip, section])]
    known += [(code, codes[code][clip]) for code in ("style", "style_fitted")]
    tables += [probe(read, *played).assign(read="pitch_class", code=code) for code, read in known]

    # On every instrument the same clips are exchanged: what two instruments play alike stays alike.
    count = len(piece) // len(np.unique(instrument))
    orders = [shuffled_clips(np.unique(clip % count), count, random) for _ in range(shuffles)]
    others = [codes["style"][clip - clip % count + order[clip % count]] for order in orders]
    by_luck = joblib.Parallel(n_jobs=-1)(joblib.delayed(probe)(style, *played) for style in others)
    best = max(table["accuracy"].max() for table in by_luck)
    found = pd.concat(tables, ignore_index=True)
    return found.assign(shuffled=np.where((found["read"] == "pitch_class") & (found["code"] == "style"), best, np.nan))
