"""The evaluation's report: what is measured on the development pieces, each with its interval.

Chapter: ``notebooks/12_evaluation.md``, which renders the :func:`material`, runs the :func:`experiments` on it and
shows the :func:`measurements`.
"""

import dataclasses
import os
from collections.abc import Iterable, Mapping

import pandas as pd
from torch import Tensor

from ast_lib.config import Config
from ast_lib.data.clips import PairedClip, paired_clips
from ast_lib.data.dataset import build_splits, stack_audio
from ast_lib.data.synth import shared_synth
from ast_lib.errors import AstError
from ast_lib.evaluation import systems
from ast_lib.evaluation.baselines import average_power
from ast_lib.evaluation.intervals import difference_interval, mean_interval, quotient_interval, share_interval
from ast_lib.evaluation.listener import called, train_listener
from ast_lib.evaluation.probes import disentanglement, encode
from ast_lib.files import CACHE
from ast_lib.networks.model import TransferModel
from ast_lib.representation.spectrogram import Spectrogram

UNSEEN = "Merlin"  # the soundfont that no weights are trained on
LESSONS = 24  # training pieces that the listener and the baseline learn from


@dataclasses.dataclass(frozen=True)
class Material:
    """What the evaluation listens to.

    ``voices``: the development excerpts, tunes and duets, on every soundfont that plays, the default first,
    :data:`UNSEEN` last. ``extension``: the chorales among them, whole, on the default.
    ``power``: average spectra by instrument of training pieces, which the instruments do not share.
    ``styles``: clips of the validation pieces on :data:`UNSEEN`. ``lessons``: training pieces on every soundfont but
    the default, to train the listener. ``probes``: transposed excerpts of validation and development pieces on the
    default.
    """

    voices: dict[str, list[PairedClip]]
    extension: list[PairedClip]
    power: dict[str, Tensor]
    styles: list[PairedClip]
    lessons: dict[str, list[PairedClip]]
    probes: list[PairedClip]


def spread(items: list, count: int | None) -> list:
    """``count`` items evenly spread over a list, in its order; all where ``count`` is None or there are no more."""
    if count is None or count >= len(items):
        return items
    return [items[i * len(items) // count] for i in range(count)]


def material(
    config: Config,
    clips: int | None = None,
    excerpts: int = 2,
    cache: str | os.PathLike = CACHE,
    soundfonts: Iterable[str] = (),
) -> Material:
    """Render what the evaluation of weights with this configuration needs.

    Args:
        clips: development clips of each direction, evenly spread over both kinds of piece, and whole chorales at most;
            None takes all.
        excerpts: of each piece for the probes.
        cache: folder for parsed scores.
        soundfonts: that play beside the default and :data:`UNSEEN`, names of :data:`ast_lib.data.synth.SOUNDFONTS`.
            None plays because it happens to be installed.

    Raises:
        AstError: when the weights were trained on :data:`UNSEEN`, or a soundfont is unknown or missing.
    """
    data, instruments, default = config.data, config.instruments, config.soundfonts[0]
    if UNSEEN in config.soundfonts:
        raise AstError(f"soundfonts: found {UNSEEN}, which is left out of training to be a voice never heard")
    synths = {font: shared_synth(font) for font in (default, *soundfonts, UNSEEN)}
    splits = build_splits(config, cache)

    def play(pieces, font, seconds=data.development_seconds, seed=data.seed, **how):
        return paired_clips(pieces, instruments, seconds, seed, synths[font], **how)

    lessons = {instrument: spread(pieces, LESSONS // len(instruments)) for instrument, pieces in splits.train.items()}
    spectrogram = Spectrogram(config.representation.n_fft, config.representation.hop)
    held_out, seconds = [*splits.validation, *splits.development], config.training.seconds
    return Material(
        # The number of a piece decides its excerpt: render all, then choose.
        voices={font: spread(play(splits.development, font), clips) for font in synths},
        extension=spread(play(splits.development, default, extension=True), clips),
        power={i: average_power(spectrogram, stack_audio(play(lessons[i], default), i)) for i in instruments},
        styles=play(splits.validation, UNSEEN),
        lessons={font: play(sum(lessons.values(), []), font) for font in synths if font != default},
        probes=[
            clip
            for i in range(excerpts)
            for clip in play(held_out, default, seconds, data.seed + 1 + i, transpose=True)
        ],
    )


def experiments(
    model: TransferModel, name: str, given: Material
) -> tuple[dict[str, pd.DataFrame], pd.DataFrame, systems.Audio]:
    """Everything that is measured on rendered pieces.

    Returns:
        tables by experiment (``default``, ``extension``, ``unseen_source``, ``one_shot``, ``listener``; columns as
        in :mod:`ast_lib.evaluation.systems`), the table of probes, and the audio of ``default`` by task and system.
    """
    trained = dict(given.voices)
    unseen = trained.pop(UNSEEN)
    default = next(iter(trained.values()))
    table, audio = systems.evaluate(model, name, default, given.power)
    prototype = {task: of_task[name] for task, of_task in audio.items()}
    listener, heard = train_listener(given.lessons, model.config.instruments), []
    pieces = pd.DataFrame({"piece": [clip.piece for clip in default], "kind": [clip.kind for clip in default]})
    for _, target, task in systems.directions(model.config):
        sounds = audio[task] | {"truth": stack_audio(default, target)}
        for system in ("truth", "source_copy", "spectral_envelope", "ceiling", name):
            value = called(listener, sounds[system], target)
            heard.append(pieces.assign(task=task, system=system, metric="called_target", value=value))
    tables = {
        "default": table,
        "extension": systems.transfers(model, name, *2 * [given.extension], ("lsd", "chroma_cosine", "onset_f1")),
        "unseen_source": systems.transfers(model, name, default, unseen),
        "one_shot": systems.one_shot(model, name, trained, unseen, given.styles, prototype),
        "listener": pd.concat(heard, ignore_index=True),
    }
    return tables, disentanglement(encode(model, given.probes)), audio


def measurements(tables: Mapping[str, pd.DataFrame], probed: pd.DataFrame, name: str) -> pd.DataFrame:
    """What the :func:`experiments` measure of the system ``name``, a row a measurement.

    Returns:
        columns ``measurement, task, value, low, high`` (95 % over pieces; the task ``probe`` is that of the stronger
        probe). What cannot be measured on these pieces has no row.
    """
    rows = []
    for task in tables["default"]["task"].unique():

        def of(experiment, metric, system=name, task=task):
            found = tables[experiment]
            return found[(found["metric"] == metric) & (found["task"] == task) & (found["system"] == system)]

        lsd, phase = of("default", "lsd"), of("default", "lsd", f"{name}_predicted_phase")
        pitch, true_pitch = of("default", "raw_pitch_accuracy"), of("default", "raw_pitch_accuracy", "truth")
        shot = [of("one_shot", "lsd", f"{name}_{style}") for style in ("prototype", "one_shot")]
        found = [
            ("LSD, default soundfont (dB)", mean_interval, lsd),
            ("LSD, predicted phase above refined (dB)", difference_interval, phase, lsd),
            ("LSD, source on a soundfont left out (dB)", mean_interval, of("unseen_source", "lsd")),
            ("one-shot closer than prototype by (dB)", difference_interval, *shot),
            ("chroma cosine", mean_interval, of("default", "chroma_cosine")),
            ("raw pitch accuracy over the truth's own", quotient_interval, pitch, true_pitch),
            ("onset F1 (50 ms)", mean_interval, of("default", "onset_f1")),
            ("envelope correlation of notes of 1 s or more", mean_interval, of("default", "envelope_correlation")),
            ("outputs called the target", share_interval, of("listener", "called_target")),
        ]
        rows += [(title, task, *interval(*parts)) for title, interval, *parts in found if len(parts[0])]
    for (read, code), best in probed.groupby(["read", "code"], sort=False).first().iterrows():
        title = f"{read.replace('_', ' ')} read from {code}"
        rows.append((title, "probe", best["accuracy"], best["low"], best["high"]))
    return pd.DataFrame(rows, columns=["measurement", "task", "value", "low", "high"])
