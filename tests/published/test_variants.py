"""The published configuration and every variant of the appendix: each trains, decodes and reloads."""

import copy
import math

import pytest
import torch
from models import noise, tone
from published_models import SHORT, SMALL_PAPER, VOICED, parameters, published_tiny, trainer

from ast_lib.config import override
from ast_lib.evaluation.systems import outputs
from ast_lib.networks.checkpoint import save_weights
from ast_lib.published.model import load_weights
from ast_lib.transfer import transfer

VARIANTS = {
    "paper": SMALL_PAPER,
    **{
        assignment: published_tiny(*SHORT, *assignment.split())
        for assignment in (
            " ".join((*VOICED, "model.style_encoder=class_vectors")),
            " ".join((*VOICED, "model.style_encoder=one_hot")),
            "model.decoder=cnn",
            "model.decoder=gru",
            "model.decoder=vit",
            "model.memory=S+1",
            "model.discriminators=2",
            "model.discriminator=mlp model.style_size=64",
            "loss.encoder_objective=cross_entropy",
            "training.schedule=all_at_once",
            "representation.output=complex",
            "representation.input=complex",
            "training.third_instruments=0 representation.statistics=per_class",
            "model.encoder=resnet2d model.cnn_channels=[4,8] representation.section_frames=8",
        )
    },
}


@pytest.mark.parametrize("name", VARIANTS)
def test_it_trains_decodes_and_reloads(dataset, name, tmp_path):
    run = trainer(dataset, VARIANTS[name])
    before = parameters(run.model) | parameters(run.discriminator)
    model = run.fit(progress=False)
    after = parameters(run.model) | parameters(run.discriminator)
    still = {name for name in before if torch.equal(before[name], after[name])}
    # The paper's contexts are never empty, and a convolution's bias is lost in the norm that follows it.
    idle = {name for name in still if name == "decoder.null_token" or (".cnn." in name and name.endswith("bias"))}
    assert still <= idle and ("decoder.null_token" in still) == (name == "paper")
    assert math.isfinite(run.history[-1]["lsd_piano_to_violin"])
    loaded = load_weights(save_weights(tmp_path / "w.safetensors", model, {}, {}))
    assert loaded.config == VARIANTS[name]
    for samples in (100, 9000):
        source = noise(1.0)[:samples]
        output = transfer(loaded, source, "violin", "predicted")
        assert output.shape == (samples,)
        assert (output == transfer(model, source, "violin", "predicted")).all()
        assert output.std() > 0 or not output.any()  # no NaN


def test_evaluation_takes_the_papers_way_too(dataset):
    run = trainer(dataset, SMALL_PAPER)
    run.update_prototypes()
    systems = outputs(run.average, "paper", dataset.held_out("validation"), "piano", "violin")
    assert set(systems) >= {"paper", "paper_predicted_phase", "paper_teacher_forced"}
    assert all(
        torch.isfinite(audio).all() and audio.shape == systems["source_copy"].shape for audio in systems.values()
    )


# --- Exact resume with dropout and batch norm


def test_the_papers_run_is_resumed_exactly(dataset, tmp_path):
    config = override(SMALL_PAPER, "training.steps=4")
    whole, first, second = (trainer(dataset, config) for _ in range(3))
    average = whole.fit(progress=False)
    step = first.train_step
    first.train_step = lambda batch: step(batch) if first.step < 3 else 1 / 0
    with pytest.raises(ZeroDivisionError):
        first.fit(tmp_path, progress=False)
    resumed = second.fit(tmp_path, progress=False)
    rows, again = (
        [{name: value for name, value in row.items() if name not in ("seconds", "waited")} for row in run.history]
        for run in (whole, second)
    )
    assert rows == again
    # Without averaging the average is the model, batch norm's statistics included, but for the prototypes.
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name
        assert name == "prototypes" or torch.equal(tensor, average.state_dict()[name]), name
    assert torch.equal(average.prototypes, resumed.prototypes)


def test_a_copy_of_the_papers_model_is_the_same(dataset):
    model = trainer(dataset, SMALL_PAPER).average
    assert (transfer(copy.deepcopy(model), tone(0.3), "piano") == transfer(model, tone(0.3), "piano")).all()
