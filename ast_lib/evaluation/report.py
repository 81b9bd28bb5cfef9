"""Every target that the published weights must reach, measured on the test pieces: one table, a row a target.

Chapter: ``notebooks/12_evaluation.md``. On the command line::

    python -c "from ast_lib.evaluation import report; print(report.measure('weights.safetensors', clips=12))"
"""

import dataclasses
import os
from collections.abc import Iterable, Mapping

import pandas as pd
from torch import Tensor

from ast_lib.config import Config
from ast_lib.data.clips import PairedClip, paired_clips
from ast_lib.data.dataset import build_splits, stack_audio
from ast_lib.data.synth import SOUNDFONTS, shared_synth, soundfont_path
from ast_lib.errors import AstError
from ast_lib.evaluation import probes
from ast_lib.evaluation import systems as evaluation
from ast_lib.evaluation.baselines import average_power
from ast_lib.evaluation.systems import directions, mean_interval, ratio_interval
from ast_lib.files import CACHE
from ast_lib.networks import checkpoint
from ast_lib.networks.model import TransferModel
from ast_lib.representation.spectrogram import Spectrogram

UNSEEN = "Merlin"  # the soundfont that no weights are trained on
LESSONS = 24  # training pieces that the listener and the baseline learn from
LSD = {"piano_to_violin": 8.5, "violin_to_piano": 6.5}  # dB


@dataclasses.dataclass(frozen=True)
class Material:
    """What the evaluation listens to.

    ``voices``: the test excerpts on every soundfont that plays, the default first, :data:`UNSEEN` last.
    ``power``: average spectra by instrument of training pieces, which the instruments do not share.
    ``styles``: clips of the validation pieces on :data:`UNSEEN`. ``lessons``: training pieces on every soundfont but
    the default, to train the listener. ``probes``: transposed excerpts of validation and test pieces on the default.
    """

    voices: dict[str, list[PairedClip]]
    power: dict[str, Tensor]
    styles: list[PairedClip]
    lessons: dict[str, list[PairedClip]]
    probes: list[PairedClip]


def additional(soundfonts: Iterable[str]) -> list[str]:
    """The soundfonts that a chapter asks for beside those that the project installs, each once and in their order.

    Raises:
        AstError: for a name that is not in :data:`ast_lib.data.synth.SOUNDFONTS`, and for one that is not installed.
    """
    names = list(dict.fromkeys(soundfonts))
    for name in names:
        if name not in SOUNDFONTS:
            raise AstError(f"soundfonts: found {name!r}, accepted are {', '.join(SOUNDFONTS)}")
        soundfont_path(name)
    return names


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
        clips: test clips of each direction, evenly spread over both kinds of piece; None takes all.
        excerpts: of each piece for the probes.
        cache: folder for parsed scores.
        soundfonts: that play beside the default and :data:`UNSEEN`, see :func:`additional`. None plays because it
            happens to be installed.

    Raises:
        AstError: when the weights were trained on :data:`UNSEEN`, or a soundfont is unknown or missing.
    """
    data, instruments = config.data, config.instruments
    if UNSEEN in config.soundfonts:
        raise AstError(f"soundfonts: found {UNSEEN}, which is left out of training to be a voice never heard")
    fonts = [*dict.fromkeys([config.soundfonts[0], *additional(soundfonts)]), UNSEEN]
    splits = build_splits(config, cache)

    def play(pieces, seconds, soundfont, seed=data.seed, transpose=False):
        return paired_clips(pieces, instruments, seconds, seed, shared_synth(soundfont), transpose)

    # The number of a piece decides its excerpt: render all, then choose.
    voices = {font: spread(play(splits.test, data.test_seconds, font), clips) for font in fonts}
    practice = {instrument: spread(pieces, LESSONS // len(instruments)) for instrument, pieces in splits.train.items()}
    lessons = [piece for pieces in practice.values() for piece in pieces]
    spectrogram = Spectrogram(config.representation.n_fft, config.representation.hop)
    power = {
        instrument: average_power(spectrogram, stack_audio(play(pieces, data.test_seconds, fonts[0]), instrument))
        for instrument, pieces in practice.items()
    }
    held_out, seconds = [*splits.validation, *splits.test], config.training.seconds
    return Material(
        voices=voices,
        power=power,
        styles=play(splits.validation, data.test_seconds, UNSEEN),
        lessons={font: play(lessons, data.test_seconds, font) for font in fonts[1:]},
        probes=[
            clip
            for i in range(excerpts)
            for clip in play(held_out, seconds, fonts[0], seed=data.seed + 1 + i, transpose=True)
        ],
    )


def measure(
    weights: str | os.PathLike | TransferModel,
    clips: int | None = None,
    cache: str | os.PathLike = CACHE,
    soundfonts: Iterable[str] = (),
) -> pd.DataFrame:
    """All targets for weights on disk or a model, see :func:`judge` and, for the arguments, :func:`material`."""
    model = weights if isinstance(weights, TransferModel) else checkpoint.load_weights(weights)
    return judge(
        *experiments(model, "model", material(model.config, clips, cache=cache, soundfonts=soundfonts))[:2], "model"
    )


def experiments(
    model: TransferModel, name: str, given: Material
) -> tuple[dict[str, pd.DataFrame], pd.DataFrame, dict[str, dict[str, Tensor]]]:
    """Everything that is measured on rendered pieces.

    Returns:
        tables by experiment (``default``, ``unseen_source``, ``one_shot``, ``listener``; columns as in
        :mod:`ast_lib.evaluation.systems`), the table of probes, and the audio of ``default`` by task and system.
    """
    fonts = list(given.voices)
    default, unseen = given.voices[fonts[0]], given.voices[UNSEEN]
    trained = {font: given.voices[font] for font in fonts[:-1]}
    table, _, audio = evaluation.evaluate(model, name, default, "none", given.power)
    plain = {task: systems[name] for task, systems in audio.items()}
    listener = probes.train_listener(given.lessons, model.config.instruments)
    heard = []
    for _, target, task in directions(model.config):
        sounds = {
            "truth": stack_audio(default, target),
            **{s: audio[task][s] for s in ("source_copy", "spectral_envelope", "ceiling", name)},
        }
        for system, sound in sounds.items():
            values = probes.called(listener, sound, target)
            heard += [
                (task, system, clip.piece, clip.kind, "called_target", value)
                for clip, value in zip(default, values, strict=True)
            ]
    tables = {
        "default": table,
        "unseen_source": evaluation.unseen_source(model, name, default, unseen),
        "one_shot": evaluation.one_shot(model, name, trained, unseen, given.styles, plain),
        "listener": pd.DataFrame(heard, columns=["task", "system", "piece", "kind", "metric", "value"]),
    }
    return tables, probes.disentanglement(probes.encode(model, given.probes)), audio


def judge(tables: Mapping[str, pd.DataFrame], probed: pd.DataFrame, name: str) -> pd.DataFrame:
    """Each target beside what was measured.

    Returns:
        columns ``target, task, value, low, high`` (95 % over pieces), ``accepted`` (as text) and ``reached``.
    """
    rows = []

    def add(target, task, interval, sign, limit):
        value = interval[0]
        rows.append((target, task, *interval, f"{sign} {limit:.3g}", value <= limit if sign == "≤" else value >= limit))

    def pick(experiment, metric, task, system=name):
        table = tables[experiment]
        return table[(table["metric"] == metric) & (table["task"] == task) & (table["system"] == system)]

    def difference(a, b):
        both = a.set_index("piece")["value"] - b.set_index("piece")["value"]
        return ratio_interval(both, both * 0 + 1)

    def quotient(a, b):
        both = [table.groupby("piece")["value"].mean() for table in (a, b)]
        return ratio_interval(*both)

    for task in tables["default"]["task"].unique():
        target = task.split("_to_")[1]
        lsd = pick("default", "lsd", task)
        if task in LSD:
            add("LSD, default soundfont (dB)", task, mean_interval(lsd), "≤", LSD[task])
        phase = difference(pick("default", "lsd", task, f"{name}_predicted_phase"), lsd)
        add("LSD, predicted phase above refined (dB)", task, phase, "≤", 1.0)
        add(
            "LSD, source on a soundfont left out (dB)",
            task,
            mean_interval(pick("unseen_source", "lsd", task)),
            "≤",
            9.5,
        )
        shot = pick("one_shot", "lsd", task, f"{name}_one_shot")
        gain = difference(pick("one_shot", "lsd", task, f"{name}_prototype"), shot)
        add("one-shot closer than prototype by (dB)", task, gain, "≥", 1.5)
        for system in tables["one_shot"]["system"].unique():
            if system.startswith("voice_"):
                gain = difference(pick("one_shot", "lsd", task, system), shot)
                add(f"one-shot closer than {system.removeprefix('voice_')} by (dB)", task, gain, "≥", 0.0)
        add("chroma cosine", task, mean_interval(pick("default", "chroma_cosine", task)), "≥", 0.9)
        accuracy = [pick("default", "raw_pitch_accuracy", task, system) for system in (name, "truth")]
        if len(accuracy[0]):
            add("raw pitch accuracy over the truth's own", task, quotient(*accuracy), "≥", 0.95)
        if target == "piano":
            add("onset F1 (50 ms)", task, mean_interval(pick("default", "onset_f1", task)), "≥", 0.85)
        long_notes = pick("default", "envelope_correlation", task)
        if target == "violin" and len(long_notes):
            add("envelope correlation of notes of 1 s or more", task, mean_interval(long_notes), "≥", 0.8)
        add("outputs called the target", task, mean_interval(pick("listener", "called_target", task)), "≥", 0.95)
    for read, code, sign, limit in (
        ("instrument", "content", "≤", 0.65),
        ("instrument", "content_pooled", "≤", 0.65),
        ("instrument", "style", "≥", 0.99),
    ):
        best = probed[(probed["read"] == read) & (probed["code"] == code)].iloc[0]
        add(f"{read} read from {code}", "probe", (best["accuracy"], best["low"], best["high"]), sign, limit)
    for code in ("content", "style"):
        best = probed[(probed["read"] == "pitch_class") & (probed["code"] == code)].iloc[0]
        # What chance is to the stronger of two probes on clips of few pieces, the styles of other clips show.
        above, limit = ("above chance", best["chance"]) if code == "content" else ("at chance: ≤", best["shuffled"])
        reached = best["low"] > limit if code == "content" else best["accuracy"] <= limit
        values = (best["accuracy"], best["low"], best["high"])
        rows.append((f"pitch class read from {code}", "probe", *values, f"{above} {limit:.3f}", reached))
    return pd.DataFrame(rows, columns=["target", "task", "value", "low", "high", "accepted", "reached"])
