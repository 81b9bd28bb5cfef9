"""Probes: what a classifier that took no part in training reads from codes, and which instrument it hears in sound.

Chapter: ``notebooks/12_evaluation.md``. Codes are probed with scikit-learn's logistic regression and a small
perceptron, trained and tested on different pieces; a code hides only what the *stronger* of the two cannot read.
"""

from collections.abc import Callable, Sequence

import joblib
import librosa
import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from torch import Tensor

from ast_lib.data.clips import PairedClip
from ast_lib.data.dataset import stack_audio
from ast_lib.data.synth import SAMPLE_RATE
from ast_lib.errors import AstError
from ast_lib.evaluation.metrics import score_pitch
from ast_lib.evaluation.systems import ratio_interval
from ast_lib.networks.model import TransferModel
from ast_lib.training.augment import record_in_room
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
    labels, pieces = np.asarray(labels), np.asarray(pieces)
    kinds, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(kinds) < 2 or len(np.unique(pieces)) < 2:
        raise AstError(
            f"probe: found {len(kinds)} labels in {len(np.unique(pieces))} pieces, accepted are 2 or more of both"
        )
    weight = 1 / counts[index]
    splits = GroupKFold(min(folds, len(np.unique(pieces))))
    rows = []
    for name, classifier in {
        "logistic": LogisticRegression(max_iter=5000, class_weight="balanced"),
        "perceptron": MLPClassifier((64,), max_iter=300, tol=1e-3, n_iter_no_change=5, random_state=seed),
    }.items():
        pipeline = make_pipeline(StandardScaler(), classifier)
        predicted = cross_val_predict(pipeline, features, labels, groups=pieces, cv=splits)
        sums = pd.DataFrame({"right": weight * (predicted == labels), "all": weight}).groupby(pieces).sum()
        rows.append((name, *ratio_interval(sums["right"], sums["all"]), 1 / len(kinds)))
    table = pd.DataFrame(rows, columns=["probe", "accuracy", "low", "high", "chance"])
    return table.sort_values("accuracy", ascending=False, ignore_index=True)


@torch.no_grad()
def encode(model: TransferModel, clips: list[PairedClip], batch: int = 16, seed: int = 0) -> dict[str, np.ndarray]:
    """The codes of clips on every instrument of the model, instrument after instrument, as the decoder reads them.

    Args:
        seed: of the channels' noise, which is every clip's own.

    Returns:
        ``content`` ``(N, S, content_size)``, ``style`` and ``style_fitted``, that of :mod:`ast_lib.transfer.one_shot`,
        ``(N, style_size)``, ``instrument`` and ``piece`` ``(N,)``,
        ``pitch`` ``(N, S)``: the MIDI pitch that sounds in the middle of a section of a monophonic clip, else -1.
    """
    shape, noise = model.config.representation, torch.Generator().manual_seed(seed)
    codes: dict[str, list] = {name: [] for name in ("content", "style", "style_fitted", "instrument", "piece", "pitch")}
    for instrument in model.config.instruments:
        for start in range(0, len(clips), batch):
            part = clips[start : start + batch]
            features = model.representation(stack_audio(part, instrument))
            codes["content"] += list(model.encode_content(features, noise=noise).numpy())
            style = model.encode_style(features, noise=noise).float()
            codes["style"] += list(style.numpy())
            codes["style_fitted"] += list(fit_styles(model, features, style, model.config.model.style_fit).numpy())
            sections = len(codes["content"][-1])
            middles = (np.arange(sections) + 0.5) * shape.section_frames - 0.5
            for clip in part:
                frequency = score_pitch(clip.notes, middles * shape.hop / SAMPLE_RATE) * clip.notes.monophonic
                pitch = np.round(librosa.hz_to_midi(np.where(frequency > 0, frequency, 1.0)))
                codes["pitch"].append(np.where(frequency > 0, pitch, -1).astype(int))
                codes["instrument"].append(instrument)
                codes["piece"].append(clip.piece)
    return {name: np.array(values) for name, values in codes.items()}


def shuffled_clips(clips: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """A shuffling of the clips on one instrument: whose code each of them gets, ``(count,)``.

    Args:
        clips: those that change places, by their numbers below ``count``; the others keep their own.
        count: of clips on one instrument.
        random: source of chance.
    """
    order = np.arange(count)
    order[clips] = random.permutation(clips)
    return order


def disentanglement(codes: dict[str, np.ndarray], most: int = 4000, shuffles: int = 19, seed: int = 0) -> pd.DataFrame:
    """Instrument and pitch read from content and from style.

    Args:
        codes: of :func:`encode`, of clips that are the same on every instrument: what is played tells nothing.
        most: sections used for a probe of sections, drawn at random.
        shuffles: of the clips' styles; with 19 a style that says nothing of pitch is read better than from all of
            them once in 20 times (equation ``hsic-pvalue``).

    Returns:
        the rows of :func:`probe` with the columns ``read`` (``instrument``, ``pitch_class``) and ``code``:
        ``content`` (one section), ``content_pooled`` (mean and deviation over a clip), ``style`` and ``style_fitted``
        (of a clip); and for pitch class from style ``shuffled``, the best that the stronger probe reads from the
        styles of other clips, NaN elsewhere.
    """
    content, styles = codes["content"], ("style", "style_fitted")
    clips, sections = content.shape[:2]
    pooled = np.concatenate([content.mean(axis=1), content.std(axis=1)], axis=1)
    random = np.random.default_rng(seed)

    def some(of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Clip and section of at most ``most`` of the sections where ``of`` is true."""
        found = np.argwhere(of)
        return tuple(found[random.permutation(len(found))[:most]].T)

    clip, section = some(np.ones((clips, sections), dtype=bool))
    tables = {
        ("instrument", "content"): (content[clip, section], codes["instrument"][clip], codes["piece"][clip]),
        ("instrument", "content_pooled"): (pooled, codes["instrument"], codes["piece"]),
        **{("instrument", name): (codes[name], codes["instrument"], codes["piece"]) for name in styles},
    }
    clip, section = some(codes["pitch"] >= 0)
    pitch_class = codes["pitch"][clip, section] % 12
    tables["pitch_class", "content"] = content[clip, section], pitch_class, codes["piece"][clip]
    for name in styles:
        tables["pitch_class", name] = codes[name][clip], pitch_class, codes["piece"][clip]
    found = pd.concat(
        [probe(*arguments).assign(read=read, code=code) for (read, code), arguments in tables.items()],
        ignore_index=True,
    )
    count = clips // len(np.unique(codes["instrument"]))
    orders = [shuffled_clips(np.unique(clip % count), count, random) for _ in range(shuffles)]
    # On every instrument the same clips change places: what two instruments play alike stays alike.
    by_luck = joblib.Parallel(n_jobs=-1)(
        joblib.delayed(probe)(
            codes["style"][clip - clip % count + order[clip % count]], pitch_class, codes["piece"][clip]
        )
        for order in orders
    )
    best = max(table["accuracy"].max() for table in by_luck)
    return found.assign(shuffled=np.where((found["read"] == "pitch_class") & (found["code"] == "style"), best, np.nan))


# --- Which instrument does a sound come from? ------------------------------------------------------------------------


def band_levels(sound: np.ndarray) -> np.ndarray:
    """Levels of 32 mel bands in dB below the clip's loudest, 60 at most: ``(samples,)`` to ``(32, T)``, hop 12 ms."""
    power = librosa.feature.melspectrogram(y=sound, sr=SAMPLE_RATE, n_fft=1024, hop_length=256, n_mels=32)
    return librosa.power_to_db(power, ref=max(float(power.max()), 1e-12), amin=1e-12, top_db=60)


def average_spectrum(audio: np.ndarray) -> np.ndarray:
    """Mean and deviation over time of MFCCs 2 to 13 of clips ``(B, samples)``: ``(B, 24)``; loudness is left out."""
    cepstra = [librosa.feature.mfcc(S=band_levels(sound), n_mfcc=13)[1:] for sound in audio]
    return np.array([np.concatenate([one.mean(axis=1), one.std(axis=1)]) for one in cepstra])


def movement(audio: np.ndarray) -> np.ndarray:
    """How levels change within 46 ms: seven quantiles in each of 8 bands of clips ``(B, samples)``: ``(B, 56)``.

    Two soundfonts' violins may differ more in their average spectrum than a violin and a piano do; what they share is
    how a note begins, holds and ends. A constant filter changes nothing, silence is all zeros.
    """
    rows = []
    for sound in audio:
        level = band_levels(sound)
        level = level.reshape(8, 4, -1).mean(axis=1)
        change = level[:, 4:] - level[:, :-4]
        rows.append(np.quantile(change, [0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98], axis=1).ravel())
    return np.array(rows)


def timbre(audio: np.ndarray) -> np.ndarray:
    """:func:`average_spectrum` and :func:`movement` side by side: ``(B, 80)``."""
    return np.concatenate([average_spectrum(audio), movement(audio)], axis=1)


def train_listener(
    voices: dict[str, list[PairedClip]],
    instruments: Sequence[str],
    features: Callable[[np.ndarray], np.ndarray] = timbre,
    seed: int = 0,
) -> Pipeline:
    """A classifier of instruments by sound: ``features``, then logistic regression.

    Args:
        voices: clips of the same pieces on each soundfont; every clip is heard once as it is and once in a random room.
        instruments: the labels.
        features: of audio ``(B, samples)``.
        seed: of the rooms.
    """
    audio, labels = [], []
    generator = torch.Generator().manual_seed(seed)
    for clips in voices.values():
        for instrument in instruments:
            clean = stack_audio(clips, instrument)
            audio += [clean, record_in_room(clean, SAMPLE_RATE, 1.0, generator)]
            labels += [instrument] * 2 * len(clips)
    listener = make_pipeline(FunctionTransformer(features), StandardScaler(), LogisticRegression(max_iter=5000))
    return listener.fit(torch.cat(audio).numpy(), labels)


def called(listener: Pipeline, audio: Tensor, instrument: str) -> np.ndarray:
    """1.0 for each clip of ``(B, samples)`` that the listener calls ``instrument``, else 0.0: ``(B,)``."""
    return (listener.predict(audio.numpy()) == instrument).astype(np.float64)
