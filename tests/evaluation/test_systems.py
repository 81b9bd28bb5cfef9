"""Systems of an untrained model: every number is that of the metric which it claims to be."""

import dataclasses

import numpy as np
import pytest
import torch
from models import made_dataset, noise, tiny, untrained

from ast_lib.audio.levels import normalise_rms
from ast_lib.config import override
from ast_lib.data import stack_audio
from ast_lib.data.scores import Notes
from ast_lib.errors import AstError
from ast_lib.evaluation import metrics
from ast_lib.evaluation.baselines import average_power, envelope_transfer
from ast_lib.evaluation.systems import (
    METRICS,
    ceiling,
    evaluate,
    measure,
    one_shot,
    outputs,
    score,
    teacher_forced_batch,
    transferred,
    transfers,
)
from ast_lib.transfer import class_style, synthesise, transfer_batch

SHORT = ("data.development_pieces=4", "data.development_seconds=1.5")
CONFIG = tiny("model.window=32", "model.overlap=8", "training.seed=5", *SHORT)
OURS = ["smoke", "smoke_magnitude_only", "smoke_predicted_phase", "smoke_teacher_forced"]
SYSTEMS = ["another_piece", "ceiling", *OURS, "source_copy"]
TASKS = ["piano_to_violin", "violin_to_piano"]


@pytest.fixture(scope="module")
def model():
    return untrained(CONFIG)


@pytest.fixture(scope="module")
def clips():
    return made_dataset(CONFIG).held_out("development")


@pytest.fixture(scope="module")
def evaluated(model, clips):
    return evaluate(model, "smoke", clips)


@pytest.fixture(scope="module")
def means(evaluated):
    """Means by metric, task and system."""
    return evaluated[0].groupby(["metric", "task", "system"])["value"].mean()


# --- Systems


def test_the_ceiling_keeps_the_magnitude_and_finds_a_phase_of_its_own(model):
    truth = torch.from_numpy(np.stack([noise(1.0, seed) for seed in (1, 2)]))
    found = ceiling(model, truth)
    assert found.shape == truth.shape and torch.equal(found, ceiling(model, truth))
    spectrum = model.representation.spectrogram
    assert (spectrum(found).abs() - spectrum(truth).abs()).norm() / spectrum(truth).abs().norm() < 0.25
    assert (found - truth).norm() / truth.norm() > 0.5


def test_teacher_forcing_sees_the_truth_and_transfer_does_not(model, clips):
    source, truth = stack_audio(clips, "piano"), stack_audio(clips, "violin")
    style = class_style(model, "violin", len(clips))
    forced = teacher_forced_batch(model, source, truth, style)
    assert forced.shape == model.representation.spectrogram(source).shape
    assert not torch.allclose(forced, teacher_forced_batch(model, source, source, style))
    # Both start without a past, so the first section agrees.
    free = transfer_batch(model, source, style)
    torch.testing.assert_close(free[:, :4].abs(), forced[:, :4].abs(), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(free[:, 4:].abs(), forced[:, 4:].abs(), rtol=1e-3, atol=1e-3)


def test_teacher_forcing_on_its_own_output_is_transfer(clips):
    model = untrained(override(CONFIG, "model.context_weight=1"))
    source = stack_audio(clips[:1], "piano")
    style = class_style(model, "violin")
    with torch.inference_mode():
        features = model.representation(source)
        own = model.generate(model.encode_content(features), style)
        forced = model.teacher_forced(own.magnitude, model.encode_content(features), style)
    torch.testing.assert_close(own.magnitude, forced.magnitude, rtol=0, atol=1e-4)


def test_outputs_are_the_systems_at_one_level(model, clips):
    systems = outputs(model, "smoke", clips, "piano", "violin")
    assert sorted(systems) == SYSTEMS
    for audio in systems.values():
        assert audio.shape == (4, round(1.5 * 22050))
        torch.testing.assert_close(audio.square().mean(dim=1).sqrt(), torch.full((4,), 0.07), rtol=1e-3, atol=0)
    torch.testing.assert_close(systems["source_copy"], stack_audio(clips, "piano"), rtol=1e-3, atol=1e-5)
    stft = transfer_batch(model, stack_audio(clips, "piano"), class_style(model, "violin", 4))
    for name, phase in (("smoke", "refined"), ("smoke_predicted_phase", "predicted")):
        torch.testing.assert_close(
            systems[name], normalise_rms(synthesise(model, stft, 33075, phase)), rtol=1e-3, atol=1e-4
        )


# --- Scores


def test_scores_are_the_metrics_clip_by_clip(clips):
    truth = stack_audio(clips, "violin")
    table = score({"copy": stack_audio(clips, "piano"), "perfect": truth}, clips, "violin")
    for i, clip in enumerate(clips):
        rows = table[table["piece"] == clip.piece].set_index(["system", "metric"])["value"]
        piano, violin = clip.audio["piano"], clip.audio["violin"]
        assert rows["copy", "lsd"] == pytest.approx(float(metrics.lsd(piano, violin)))
        assert rows["copy", "chroma_cosine"] == pytest.approx(metrics.chroma_cosine(piano, violin))
        assert rows["perfect", "lsd"] == pytest.approx(0, abs=1e-4)
        assert rows["perfect", "chroma_cosine"] == pytest.approx(1)
        if clip.kind == "fiddle":
            assert rows["copy", "raw_pitch_accuracy"] == pytest.approx(metrics.raw_pitch_accuracy(piano, clip.notes))
            assert rows["perfect", "raw_pitch_accuracy"] == rows["truth", "raw_pitch_accuracy"]
        else:
            assert "raw_pitch_accuracy" not in rows.index.get_level_values("metric")
        assert torch.equal(truth[i], torch.from_numpy(violin))


def test_many_values_are_measured_by_several_processes_and_are_the_same(clips):
    systems = {f"copy_{i}": stack_audio(clips, "piano") for i in range(60)}
    table = score(systems, clips, "violin", ("lsd", "onset_f1"))  # 4 clips of 60 systems: enough to start processes
    one = score({"copy_0": systems["copy_0"]}, clips, "violin", ("lsd", "onset_f1"))
    for system in ("copy_0", "copy_59"):
        assert table[table["system"] == system]["value"].tolist() == one[one["system"] == "copy_0"]["value"].tolist()
    assert len(table) == 60 * 4 * 2 + 4


def test_the_truth_is_scored_against_the_score_alone(clips):
    table = score({}, clips, "violin")
    assert set(table["metric"]) == {"raw_pitch_accuracy", "onset_f1"} and set(table["system"]) == {"truth"}
    assert table["value"].between(0, 1).all()
    assert (table.loc[table["metric"] == "raw_pitch_accuracy", "value"] > 0.5).all()


# --- All directions


def test_every_system_is_scored_by_every_metric_in_every_direction(evaluated):
    table, audio = evaluated
    expected = {(metric, task, system) for metric in ("lsd", "chroma_cosine") for task in TASKS for system in SYSTEMS}
    against_score = ("raw_pitch_accuracy", "onset_f1")
    expected |= {(metric, task, system) for metric in against_score for task in TASKS for system in [*SYSTEMS, "truth"]}
    groups = table.groupby(["metric", "task", "system"]).size()
    assert set(groups.index) == expected and set(table["metric"]) <= set(METRICS)
    # Two fiddle tunes of four clips: duets have no single pitch.
    assert {metric: set(size) for metric, size in groups.groupby("metric")} == {
        "lsd": {4},
        "chroma_cosine": {4},
        "onset_f1": {4},
        "raw_pitch_accuracy": {2},
    }
    assert sorted(audio) == TASKS and all(sorted(systems) == SYSTEMS for systems in audio.values())
    assert set(table.columns) == {"system", "piece", "kind", "metric", "value", "task"}


def test_the_source_copy_is_the_distance_between_the_two_renderings(means, clips):
    piano, violin = stack_audio(clips, "piano"), stack_audio(clips, "violin")
    for task, pair in (("piano_to_violin", (piano, violin)), ("violin_to_piano", (violin, piano))):
        expected = metrics.lsd(*pair).mean()
        assert means["lsd", task, "source_copy"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("task", TASKS)
def test_the_rows_that_bound_the_others(means, task):
    assert means["lsd", task, "ceiling"] < 5 < means["lsd", task, "source_copy"]
    assert means["chroma_cosine", task, "ceiling"] > 0.95
    truth = means["raw_pitch_accuracy", task, "truth"]
    assert 0.5 < truth <= 1
    # An untrained model knows no melody.
    assert means["raw_pitch_accuracy", task, "smoke"] < 0.5 * truth


def test_one_clip_is_enough(model, clips):
    (clip,) = [clip for clip in clips if clip.kind == "fiddle"][:1]
    table, _ = evaluate(model, "smoke", [clip])
    assert set(table["piece"]) == {clip.piece} and table["value"].notna().all()


# --- Baseline, unseen voices, one-shot styles


def test_the_baseline_is_a_system_where_average_spectra_are_given(model, clips):
    spectrogram = model.representation.spectrogram
    power = {name: average_power(spectrogram, stack_audio(clips, name)) for name in ("piano", "violin")}
    systems = outputs(model, "smoke", clips, "piano", "violin", power)
    assert sorted(systems) == sorted([*SYSTEMS, "constant_spectrum", "spectral_envelope"])
    expected = envelope_transfer(spectrogram, stack_audio(clips, "piano"), power["piano"], power["violin"])
    torch.testing.assert_close(systems["spectral_envelope"], normalise_rms(expected))


def test_an_unseen_source_that_is_the_usual_one_gives_the_usual_figures(model, clips, means):
    table = transfers(model, "smoke", clips, clips)
    for (task, system), group in table[table["metric"] == "lsd"].groupby(["task", "system"]):
        assert group["value"].mean() == pytest.approx(means["lsd", task, system], abs=1e-3)
    assert set(table["system"]) == {"source_copy", "ceiling", "smoke"} and set(table["metric"]) == {
        "lsd",
        "chroma_cosine",
    }


def test_one_shot_rows_are_distances_to_the_voice_left_out(model, clips, evaluated):
    other = [dataclasses.replace(clip, audio={k: v[::-1].copy() for k, v in clip.audio.items()}) for clip in clips]
    styles = [dataclasses.replace(clip, piece=f"another {clip.piece}") for clip in clips[:2]]
    plain = {task: systems["smoke"] for task, systems in evaluated[1].items()}
    table = one_shot(model, "smoke", {"TimGM6mb": clips}, other, styles, plain).set_index(["task", "system"])["value"]
    for task in TASKS:
        source, target = task.split("_to_")
        truth = stack_audio(other, target)
        assert table[task, "voice_timgm6mb"].tolist() == pytest.approx(metrics.lsd(stack_audio(clips, target), truth))
        assert table[task, "source_copy"].tolist() == pytest.approx(metrics.lsd(stack_audio(clips, source), truth))
        assert table[task, "ceiling"].max() < table[task, "source_copy"].min()
        prototype = transferred(model, stack_audio(clips, source), class_style(model, target, len(clips)))
        assert table[task, "smoke_prototype"].tolist() == pytest.approx(metrics.lsd(prototype, truth), abs=1e-3)
        assert table[task, "smoke_one_shot"].tolist() != pytest.approx(table[task, "smoke_prototype"].tolist())
    known = {task: stack_audio(other, task.split("_to_")[1]) for task in TASKS}
    table = one_shot(model, "smoke", {"TimGM6mb": clips}, other, styles, known).set_index("system")["value"]
    assert table["smoke_prototype"].abs().max() < 1e-3


def test_a_style_clip_of_the_source_s_own_piece_is_refused(model, clips):
    with pytest.raises(AstError, match=f"own piece {clips[0].piece}"):
        one_shot(model, "smoke", {"TimGM6mb": clips}, clips, clips, {})


# --- Values


def test_a_metric_without_meaning_has_no_value_and_an_unknown_one_is_refused(clips):
    duet = next(clip for clip in clips if clip.kind == "duet")
    sound = duet.audio["piano"]
    assert measure("raw_pitch_accuracy", sound, sound, duet.notes) == []
    long = Notes(*(np.array([v]) for v in (0.1, 1.2, 60, 80)))
    assert measure("envelope_correlation", sound, sound, long) == pytest.approx([1.0])
    with pytest.raises(AstError, match="metric: found 'loudness'"):
        measure("loudness", sound, sound, duet.notes)
