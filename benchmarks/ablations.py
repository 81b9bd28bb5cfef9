"""Ablations: variants of ``quick`` in; one row of ``results/ablations.json`` a run, with every clip's distance, out.

Chapter: ``notebooks/14_ablations.md``. ``python -m benchmarks.ablations baseline no_adversary --seeds 0 1 2`` trains
each variant once with each seed and appends its distances on the validation pieces in dB and the slopes of held notes
in dB/s; a run that has its row is left out, so that a series goes on where it was stopped. The rows are compared with
each other, so another recipe needs another file: ``--output``. Run on one thread: ``OMP_NUM_THREADS=1``.
"""

import argparse
import json
import pathlib
import sys
import time
from collections.abc import Sequence

import numpy as np
import torch

from ast_lib.config import CURRICULUM, override, to_dict
from ast_lib.data.bach_violin import aligned_pairs
from ast_lib.data.clips import PairedClip
from ast_lib.data.dataset import build_dataset, stack_audio
from ast_lib.data.synth import shared_synth
from ast_lib.errors import AstError
from ast_lib.evaluation.metrics import held_slope, log_spectral_distance
from ast_lib.evaluation.systems import directions, teacher_forced_batch, transferred
from ast_lib.files import CACHE, ROOT, write_bytes
from ast_lib.networks.checkpoint import commit
from ast_lib.published.config import PublishedConfig, preset
from ast_lib.published.trainer import PublishedTrainer
from ast_lib.transfer import class_style, synthesise, transfer_batch
from benchmarks.thread import keep

LEDGER = ROOT / "results" / "ablations.json"
BASE = preset("quick")


def curriculum(**weights: float) -> str:
    """The assignment that gives losses other weights in every phase, in the fields that every system has."""
    return "curriculum=" + json.dumps([to_dict(phase) | weights for phase in CURRICULUM])


VOICED = "training.third_instruments=0", "model.align_onsets=false"  # a style of a voice knows no other sound
LONG_SECTIONS = ["representation.section_frames=64", "model.window=4", "model.overlap=1", "model.head_layers=1"]
PER_CLASS = ["representation.statistics=per_class", "training.third_instruments=0"]
HIDDEN = ["model.inference_feedback=hidden", "model.context_weight=1"]
VARIANTS = {
    "baseline": [],
    # What keeps the instrument out of the content
    "no_third_instruments": ["training.third_instruments=0"],
    "no_adversary": [curriculum(adversarial=0)],
    "no_style_losses": [curriculum(contrastive=0, margin=0, hsic=0)],
    "no_contrastive": [curriculum(contrastive=0)],
    "no_margin": [curriculum(margin=0)],
    "no_hsic": [curriculum(hsic=0)],
    "reconstruction_alone": [curriculum(contrastive=0, margin=0, hsic=0, adversarial=0)],
    "no_equalisation": ["training.equalisation=0"],
    "no_fader": ["training.fader=0"],
    "no_domain_randomisation": ["training.domain_randomisation=false"],
    "no_content_energy": ["loss.content_energy=0"],
    # The decoder
    "teacher_forcing": ["training.teacher_forcing=true", "model.context_weight=1"],
    "no_token_injection": ["model.token_injection=false"],
    "shallow": ["model.residual_blocks=1", "model.encoder_layers=1", "model.decoder_layers=1"],
    # Reconstruction
    "no_log_spectral": ["loss.log_spectral=0"],
    "no_phase": ["loss.phase=0"],
    "no_alignment": ["model.align_onsets=false"],
    # The optimiser
    "adamw": ["training.matrix_rate=0"],
    # The appendix of the paper
    "one_hot_style": ["model.style_encoder=one_hot", *VOICED],
    "class_vectors": ["model.style_encoder=class_vectors", *VOICED],
    "memory_s1": ["model.memory=S+1"],
    "gru_decoder": ["model.decoder=gru"],
    "cnn_decoder": ["model.decoder=cnn"],
    "two_discriminators": ["model.discriminators=2"],
    "cross_entropy": ["loss.encoder_objective=cross_entropy"],
    "complex_output": ["representation.output=complex"],
    "all_at_once": ["training.schedule=all_at_once"],
    # The published failure, cause by cause
    "long_sections": LONG_SECTIONS,
    "per_class_statistics": PER_CLASS,
    "hidden_feedback": HIDDEN,
    "all_causes": [
        *(*LONG_SECTIONS, *PER_CLASS, *HIDDEN, "representation.output=complex"),
        curriculum(adversarial=0),
    ],
}


def variant(name: str, seed: int, *more: str) -> PublishedConfig:
    """The configuration of a variant, with further changed fields.

    Raises:
        AstError: for another name, or a field that does not exist.
    """
    if name not in VARIANTS:
        raise AstError(f"variant: found {name!r}, accepted are {', '.join(VARIANTS)}")
    return override(BASE, *VARIANTS[name], f"training.seed={seed}", *more)


def run(name: str, seed: int, recordings: str = "") -> dict:
    """Train one variant; its row."""
    config = variant(name, seed, "training.validate_every=100000")
    dataset = build_dataset(config, CACHE)
    trainer = PublishedTrainer(config, dataset)
    trainer.validation_tasks = []
    begun = time.process_time()
    model = trainer.fit(progress=False)
    spent, history = time.process_time() - begun, trainer.frame()
    figures, slopes = {}, {}
    for part in ("playable", "extension"):
        clips = dataset.held_out("validation", extension=part == "extension")
        for source, target, task in directions(config):
            heard, truth = stack_audio(clips, source), stack_audio(clips, target)
            style, spectrogram = class_style(model, target, len(clips)), model.representation.spectrogram(truth)
            made = {f"{part} {task}": transfer_batch(model, heard, style)}
            if part == "playable":
                made[f"teacher-forced {task}"] = teacher_forced_batch(model, heard, truth, style)
            for key, stft in made.items():
                figures[key] = rounded(log_spectral_distance(stft, spectrogram))
            ours = synthesise(model, made[f"{part} {task}"], heard.shape[-1], "refined")
            for whose, sounds in (("ours", ours), ("truth", truth), ("source", heard)):
                pairs = zip(sounds.numpy(), clips, strict=True)
                found = np.concatenate([held_slope(sound, clip.notes) for sound, clip in pairs])
                slopes[f"{part} {task} {whose}"] = [round(float(slope), 1) for slope in found]
    if recordings:
        pairs = aligned_pairs(recordings, config.data.development_seconds, shared_synth(config.soundfonts[0]))
        made = transfer_batch(model, stack_audio(pairs, "violin"), class_style(model, "piano", len(pairs)))
        truth = model.representation.spectrogram(stack_audio(pairs, "piano"))
        figures["recordings violin_to_piano"] = rounded(log_spectral_distance(made, truth))
    if seed == 0:  # heard in the chapters

        def play(clips: list[PairedClip], source: str, target: str) -> dict[str, torch.Tensor]:
            return {name: transferred(model, stack_audio(clips, source), class_style(model, target, len(clips)))}

        keep(dataset, play)
    last = history["discriminator"].tail(config.training.steps // 6).mean()
    row = {"variant": name, "changes": VARIANTS[name], "steps": config.training.steps, "seed": seed, "commit": commit()}
    row |= {"processor_seconds": round(spent, 1), "discriminator": round(float(last), 4)}
    return row | {"lsd": figures, "held": slopes}


def rounded(values: torch.Tensor) -> list[float]:
    return [round(value, 3) for value in values.tolist()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the variants that have no row yet."""
    command = argparse.ArgumentParser(prog="python -m benchmarks.ablations", description="Variants of quick.")
    command.add_argument("variants", nargs="*", default=list(VARIANTS), help="none: all of them")
    command.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    command.add_argument("--recordings", default="", metavar="FOLDER", help="the Bach Violin Dataset, as a test too")
    command.add_argument("--output", type=pathlib.Path, default=LEDGER)
    options = command.parse_args(arguments)
    for name in options.variants:
        variant(name, 0)  # a slip in a name stops here, before anything is trained
    for seed in options.seeds:
        for name in options.variants:
            rows = json.loads(options.output.read_text(encoding="utf-8")) if options.output.is_file() else []
            if any((row["variant"], row["seed"]) == (name, seed) for row in rows):
                continue
            row = run(name, seed, options.recordings)
            write_bytes(options.output, (json.dumps([*rows, row], indent=1) + "\n").encode())
            means = {key: round(sum(values) / len(values), 2) for key, values in row["lsd"].items()}
            print(name, seed, means, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
