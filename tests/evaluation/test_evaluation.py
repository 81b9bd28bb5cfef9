"""Evaluation with an untrained model: every number against the metric it claims to be, every record complete."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from models import made_dataset, noise, tiny, untrained

from ast_lib.data import stack_audio
from ast_lib.data.scores import Notes
from ast_lib.errors import AstError
from ast_lib.evaluation import (
    at_rms,
    ceiling,
    evaluate,
    mean_interval,
    measure,
    metrics,
    one_shot,
    outputs,
    published_table,
    ratio_interval,
    score,
    teacher_forced_batch,
    unseen_source,
)
from ast_lib.evaluation.baselines import average_power, envelope_transfer
from ast_lib.transfer import class_style, synthesise, transfer_batch

CONFIG = tiny("model.window=32", "model.overlap=8", "data.test_pieces=4", "data.test_seconds=1.5", "training.seed=5")
SYSTEMS = ["ceiling", "smoke", "smoke_predicted_phase", "smoke_teacher_forced", "source_copy"]
TASKS = ["piano_to_violin", "violin_to_piano"]


@pytest.fixture(scope="module")
def model():
    return untrained(CONFIG)


@pytest.fixture(scope="module")
def clips():
    return made_dataset(CONFIG).held_out("test")


@pytest.fixture(scope="module")
def evaluated(model, clips):
    return evaluate(model, "smoke", clips, "untrained")


def value(records, metric, task, system):
    (record,) = [r for r in records if (r.metric, r.task, r.system) == (metric, task, system)]
    return record


# --- Loudness


def test_every_row_is_brought_to_the_level_and_silence_stays():
    audio = torch.stack(
        [torch.full((100,), -0.5), torch.linspace(-1, 1, 100), torch.zeros(100), torch.full((100,), 1e-6)]
    )
    scaled = at_rms(audio, 0.2)
    assert scaled.square().mean(dim=1).sqrt()[:2].tolist() == pytest.approx([0.2, 0.2])
    assert torch.equal(scaled[2:], audio[2:])
    torch.testing.assert_close(scaled[0], torch.full((100,), -0.2))
    torch.testing.assert_close(at_rms(scaled, 0.2), scaled)
    assert at_rms(torch.ones(1, 1)).item() == pytest.approx(0.07)


def test_nan_stays_visible():
    assert at_rms(torch.tensor([[float("nan"), 1.0]])).isnan().any()


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


def test_teacher_forcing_on_its_own_output_is_transfer(model, clips):
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
        torch.testing.assert_close(systems[name], at_rms(synthesise(model, stft, 33075, phase)), rtol=1e-3, atol=1e-4)


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


# --- Records


def test_records_cover_every_system_metric_and_direction(evaluated):
    table, records, audio = evaluated
    found = {(r.metric, r.task, r.system) for r in records}
    expected = {(metric, task, system) for metric in ("lsd", "chroma_cosine") for task in TASKS for system in SYSTEMS}
    against_score = ("raw_pitch_accuracy", "onset_f1")
    expected |= {(metric, task, system) for metric in against_score for task in TASKS for system in [*SYSTEMS, "truth"]}
    assert found == expected and len(records) == len(expected)
    assert sorted(audio) == TASKS and all(sorted(systems) == SYSTEMS for systems in audio.values())
    assert set(table.columns) == {"system", "piece", "kind", "metric", "value", "task"}


def test_records_say_where_they_come_from(evaluated):
    for record in evaluated[1]:
        assert (record.profile, record.weights, record.seed) == ("smoke", "untrained", 5)
        assert record.unit == {"lsd": "dB"}.get(record.metric, "1")
        # Two fiddle tunes of four clips: chorales have no single pitch.
        assert record.n == (2 if record.metric == "raw_pitch_accuracy" else 4)


def test_records_are_the_means_of_the_table(evaluated):
    table, records, _ = evaluated
    for record in records:
        rows = table[(table["metric"] == record.metric) & (table["task"] == record.task)]
        values = rows[rows["system"] == record.system]["value"]
        assert record.value == pytest.approx(values.mean(), rel=1e-3, abs=1e-4)
        assert record.std == pytest.approx(values.std(), rel=1e-3, abs=1e-4)


def test_the_source_copy_is_the_distance_between_the_two_renderings(evaluated, clips):
    piano, violin = stack_audio(clips, "piano"), stack_audio(clips, "violin")
    for task, pair in (("piano_to_violin", (piano, violin)), ("violin_to_piano", (violin, piano))):
        expected = metrics.lsd(*pair).mean()
        assert value(evaluated[1], "lsd", task, "source_copy").value == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("task", TASKS)
def test_the_rows_that_bound_the_others(evaluated, task):
    records = evaluated[1]
    assert value(records, "lsd", task, "ceiling").value < 5 < value(records, "lsd", task, "source_copy").value
    assert value(records, "chroma_cosine", task, "ceiling").value > 0.95
    truth = value(records, "raw_pitch_accuracy", task, "truth").value
    assert 0.5 < truth <= 1
    # An untrained model knows no melody.
    assert value(records, "raw_pitch_accuracy", task, "smoke").value < 0.5 * truth


def test_one_clip_is_enough(model, clips):
    (clip,) = [clip for clip in clips if clip.kind == "fiddle"][:1]
    _, records, _ = evaluate(model, "smoke", [clip], "untrained")
    assert {record.n for record in records} == {1} and {record.std for record in records} == {0.0}


# --- Baseline, unseen voices, one-shot styles


def test_the_baseline_is_a_system_where_average_spectra_are_given(model, clips):
    spectrogram = model.representation.spectrogram
    power = {name: average_power(spectrogram, stack_audio(clips, name)) for name in ("piano", "violin")}
    systems = outputs(model, "smoke", clips, "piano", "violin", power)
    assert sorted(systems) == sorted([*SYSTEMS, "spectral_envelope"])
    expected = envelope_transfer(spectrogram, stack_audio(clips, "piano"), power["piano"], power["violin"])
    torch.testing.assert_close(systems["spectral_envelope"], at_rms(expected))


def test_an_unseen_source_that_is_the_usual_one_gives_the_usual_figures(model, clips, evaluated):
    table = unseen_source(model, "smoke", clips, clips)
    for (task, system), group in table[table["metric"] == "lsd"].groupby(["task", "system"]):
        assert group["value"].mean() == pytest.approx(value(evaluated[1], "lsd", task, system).value, abs=1e-3)
    assert set(table["system"]) == {"source_copy", "smoke"} and set(table["metric"]) == {"lsd", "chroma_cosine"}


def test_one_shot_rows_are_distances_to_the_voice_left_out(model, clips):
    other = [dataclasses.replace(clip, audio={k: v[::-1].copy() for k, v in clip.audio.items()}) for clip in clips]
    styles = [dataclasses.replace(clip, piece=f"another {clip.piece}") for clip in clips[:2]]
    table = one_shot(model, "smoke", {"TimGM6mb": clips}, other, styles).set_index(["task", "system"])["value"]
    for task in TASKS:
        source, target = task.split("_to_")
        truth = stack_audio(other, target)
        assert table[task, "voice_timgm6mb"].tolist() == pytest.approx(metrics.lsd(stack_audio(clips, target), truth))
        assert table[task, "source_copy"].tolist() == pytest.approx(metrics.lsd(stack_audio(clips, source), truth))
        assert table[task, "ceiling"].max() < table[task, "source_copy"].min()
        assert table[task, "smoke_one_shot"].tolist() != pytest.approx(table[task, "smoke_prototype"].tolist())
    known = {task: stack_audio(other, task.split("_to_")[1]) for task in TASKS}
    table = one_shot(model, "smoke", {"TimGM6mb": clips}, other, styles, known).set_index("system")["value"]
    assert table["smoke_prototype"].abs().max() < 1e-3


def test_a_style_clip_of_the_source_s_own_piece_is_refused(model, clips):
    with pytest.raises(AstError, match=f"own piece {clips[0].piece}"):
        one_shot(model, "smoke", {"TimGM6mb": clips}, clips, clips)


# --- The paper's table


def test_the_paper_s_table_has_its_rows_and_names_and_a_copy_that_is_perfect(model, clips, evaluated, root):
    table = published_table(model, "smoke", clips, evaluated[2])
    published = pd.read_csv(root / "results" / "table1_published.csv")
    assert {(t, m) for t, m in table[["task", "metric"]].values} == {
        (t, m) for t, m in published[["task", "metric"]].values
    }
    means = table.groupby(["task", "system", "metric"])["value"].mean()
    for instrument in ("piano", "violin"):
        copy = means[f"{instrument}_reconstruction", "source_copy"]
        assert copy["chroma distance"] == 0 and copy["MSE of the spectrogram"] == 0 and copy["onset F1"] == 1
        assert copy["pitch correlation"] == pytest.approx(1)
    # A copy keeps its own chroma, and its timbre is compared with the target instrument on another piece.
    assert means["piano_to_violin", "source_copy", "chroma similarity"] == pytest.approx(1)
    row = table.set_index(["task", "system", "piece", "metric"])["value"]
    expected = metrics.published_mfcc_distance(clips[1].audio["piano"], clips[0].audio["violin"])
    assert row["piano_to_violin", "source_copy", clips[1].piece, "MFCC distance"] == pytest.approx(expected, rel=1e-3)


# --- Values and intervals


def test_a_metric_without_meaning_has_no_value_and_an_unknown_one_is_refused(clips):
    chorale = next(clip for clip in clips if clip.kind == "chorale")
    sound = chorale.audio["piano"]
    assert measure("raw_pitch_accuracy", sound, sound, chorale.notes) == []
    long = Notes(*(np.array([v]) for v in (0.1, 1.2, 60, 80)))
    assert measure("envelope_correlation", sound, sound, long) == pytest.approx([1.0])
    with pytest.raises(AstError, match="metric: found 'loudness'"):
        measure("loudness", sound, sound, chorale.notes)


def test_a_ratio_of_sums_and_its_interval():
    assert ratio_interval([3.0], [2.0]) == (1.5, 1.5, 1.5)
    values = np.random.default_rng(0).normal(10, 2, 50)
    value, low, high = ratio_interval(values, np.ones(50))
    assert value == pytest.approx(values.mean())
    # The percentile bootstrap of a mean agrees with the normal theory.
    half = 1.96 * values.std() / np.sqrt(50)
    assert (low, high) == pytest.approx((value - half, value + half), abs=0.15 * half)
    assert ratio_interval(values, np.ones(50)) == (value, low, high)
    # A constant ratio is certain however much its parts vary: they are drawn together.
    assert ratio_interval(0.9 * values, values) == pytest.approx((0.9, 0.9, 0.9))


def test_the_interval_of_a_mean_draws_pieces_not_values():
    table = pd.DataFrame({"piece": np.repeat(list("abcdefgh"), 25), "value": np.repeat(np.arange(8.0), 25)})
    value, low, high = mean_interval(table)
    assert value == 3.5
    assert (low, high) == pytest.approx(ratio_interval(np.arange(8.0), np.ones(8))[1:])
