"""benchmarks/published_run.py: a run that goes on where it stopped, its curve and its table."""

import pandas as pd
import pytest
import torch
from models import made_dataset
from published_models import SMALL_PAPER

from ast_lib.book import results
from ast_lib.config import override
from benchmarks import published_run

SMALL = override(
    SMALL_PAPER,
    "training.steps=5",
    "training.validate_every=4",
    "training.alternate=[2, 1]",
    "data.development_pieces=4",
    "data.development_seconds=0.6",
)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs the command, for so many steps instead of seconds; returns the curve and the records."""
    monkeypatch.setattr(published_run, "preset", lambda name: SMALL)
    monkeypatch.setattr(published_run, "build_dataset", lambda config, cache: made_dataset(config))

    def once(steps, folder="run"):
        clock = iter(range(10**6))
        monkeypatch.setattr(published_run, "monotonic", lambda: next(clock))
        output = tmp_path / folder
        # The clock is read twice before the first step, and twice in every step.
        published_run.main(
            ["--seconds", str(2 * steps + 1), "--folder", str(output), "--output", str(output), "--clips", "4"]
        )
        return pd.read_csv(output / "13_pinned_curve.csv"), results.read(output / "13_pinned_run.json")

    return once


def steps_of(records):
    (record,) = [record for record in records if record.metric == "steps"]
    return record.value


def test_a_run_goes_on_where_it_stopped_and_gives_what_a_whole_one_does(run):
    stopped, records = run(2)
    assert steps_of(records) == 2 and stopped["steps"].tolist() == [2]
    resumed, records = run(100)
    whole, expected = run(100, "whole")
    assert steps_of(records) == steps_of(expected) == 5
    pd.testing.assert_frame_equal(resumed, whole)
    clock = {"seconds"}
    first, second = ([each for each in found if each.metric not in clock] for found in (records, expected))
    assert first == second


def test_the_curve_has_the_mean_of_every_epoch_and_the_table_both_protocols(run):
    curve, records = run(100)
    assert curve["epoch"].tolist() == [0, 1] and curve["steps"].tolist() == [4, 5]
    assert set(published_run.GENERATOR) < set(curve.columns)
    assert curve["total"].notna().all() and curve["discriminator"].isna().tolist() == [False, True]
    table = results.to_frame(records)
    perfect = table.loc["piano_reconstruction", "perfect_decoder"]
    assert (perfect["published_chroma_distance"] == 0).all()
    assert table.loc[("violin_to_piano", "paper"), "sound_lsd [dB]"].notna().any()
    silence = {record.metric: record.value for record in records if record.metric.startswith("loss_")}
    assert set(silence) == {f"loss_{name}" for name in published_run.RECONSTRUCTION}
    assert silence["loss_mse"] == pytest.approx(silence["loss_magnitude"] / 2, rel=0.01)


def test_a_run_without_a_step_is_scored_too(run, tmp_path):
    with pytest.raises(FileNotFoundError):
        run(0)
    assert steps_of(results.read(tmp_path / "run" / "13_pinned_run.json")) == 0
    assert not (tmp_path / "run" / "state.pt").exists()
    assert torch.get_num_threads() == 1
