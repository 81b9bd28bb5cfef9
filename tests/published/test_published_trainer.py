"""The published trainer: networks in turn, rates that fall on a plateau, clipped gradients, shared batch norm."""

import dataclasses
import math

import pytest
import torch
from models import differs, made_dataset, tiny, weights

from ast_lib.config import override
from ast_lib.errors import AstError
from ast_lib.published import trainer as training
from ast_lib.published.config import extend, preset
from ast_lib.published.trainer import PublishedTrainer, shared_batch_norm
from ast_lib.training import Trainer, saving
from ast_lib.training.curriculum import learning_rate_factor

CONFIG = extend(tiny("training.steps=8", "training.seconds=0.4", "training.validate_every=2"))
LOSSES = ("magnitude", "log_spectral", "phase", "content_energy", "contrastive", "margin", "hsic", "adversarial")


@pytest.fixture(scope="module")
def dataset():
    return made_dataset(CONFIG)


def trainer(dataset, *assignments):
    config = override(CONFIG, *assignments)
    return PublishedTrainer(config, dataclasses.replace(dataset, config=config), "cpu")


def without_clock(run):
    return run.frame().drop(columns=["seconds", "waited"])


def norm(module):
    """Norm of all gradients of a module."""
    return torch.stack([p.grad.norm() for p in module.parameters() if p.grad is not None]).norm().item()


def test_with_the_cores_values_it_trains_what_the_core_trains(dataset):
    core = tiny("training.steps=8", "training.seconds=0.4", "training.validate_every=2")
    expected = Trainer(core, made_dataset(core), "cpu")
    run = trainer(dataset)
    for each in (expected, run):
        each.fit(progress=False)
    assert without_clock(run).equals(without_clock(expected))
    found = run.model.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.model.state_dict().items())


@pytest.mark.parametrize("alternate", ["[0, 0]", "[2, 1]"])
def test_a_resumed_run_keeps_its_plateaus_and_its_turns(dataset, tmp_path, monkeypatch, alternate):
    # Halved after every epoch, as if none had fallen.
    monkeypatch.setattr(training, "plateau_factor", lambda totals, length, factor, _: factor ** (len(totals) // length))
    epoch = 2 if alternate == "[0, 0]" else 3
    change = "plateau=0.5", "warm_up=2", f"validate_every={epoch}", f"alternate={alternate}"
    change = [f"training.{each}" for each in change]
    whole, first, second = (trainer(dataset, *change) for _ in range(3))
    expected, original = whole.fit(progress=False), first.train_step

    def interrupted(batch):
        if first.step == 5:
            raise KeyboardInterrupt
        return original(batch)

    first.train_step = interrupted
    with pytest.raises(KeyboardInterrupt):
        first.fit(tmp_path, progress=False)
    average = second.fit(tmp_path, progress=False)
    found, wanted = without_clock(second), without_clock(whole)
    assert found.equals(wanted) and not differs(weights(expected), average)
    for step in range(8):  # halved after the last batch of an epoch from which the generator learns
        rate = CONFIG.training.learning_rate * learning_rate_factor(step, 8, 2, 0.03)
        halvings = step // 2 if epoch == 2 else (step + 1) // 3
        assert found["learning_rate"][step] == pytest.approx(rate / 2**halvings)


def test_networks_learn_in_turn(dataset):
    run = trainer(dataset, "training.alternate=[2, 1]", "training.validate_every=3")
    learnt = []
    for step in range(6):
        before = {name: weights(getattr(run, name)) for name in ("model", "discriminator")}
        run.step = step
        logged = run.train_step(run.batch(step))
        learnt.append([name for name in before if differs(before[name], getattr(run, name))])
        assert set(LOSSES) | {"total", "discriminator"} <= set(logged)
    assert learnt == [["model"], ["model"], ["discriminator"]] * 2


def test_turns_begin_anew_with_every_epoch_so_that_38_batches_are_25_and_13(dataset):
    paper = preset("paper").training
    assert paper.steps == 100 * paper.validate_every and paper.warm_up == 0 and paper.final_rate == 1
    epoch = [f"training.{name}={getattr(paper, name)}" for name in ("validate_every", "steps")]
    run = trainer(dataset, *epoch, "training.alternate=[5, 3]")
    learners = [run._turns(step) for step in range(2 * 38)]
    assert learners[:38] == learners[38:] and learners[:9] == [(True, False)] * 5 + [(False, True)] * 3 + [
        (True, False)
    ]
    assert [sum(each) for each in zip(*learners[:38], strict=True)] == [25, 13]


def test_each_network_has_plateaus_of_its_own(dataset):
    run = trainer(dataset, "training.alternate=[2, 1]", "training.validate_every=3", "training.plateau=0.7")
    # The generator's loss falls in the batches from which it learns, and rises in the others.
    for step in range(24):
        generator = step % 3 < 2
        total = -step if generator else step
        run.history.append({"step": step, "total": total, "discriminator": 1.0, "discriminator_style": 1.0})
    run.step = 24
    assert run._rate_factor() == learning_rate_factor(24, 8, CONFIG.training.warm_up, CONFIG.training.final_rate)
    run.step = 26
    run._discriminator_step(run.batch(26), run.generator_losses(run.batch(26), 26)[1])
    (optimizer,) = run.discriminator_optimizers
    rate = CONFIG.training.discriminator_rate * learning_rate_factor(26, 8, CONFIG.training.warm_up, 0.03)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.7 * rate)


def test_the_models_gradient_is_clipped_to_the_norm(dataset):
    run = trainer(dataset, "training.clip=0.001")
    logged = run.train_step(run.batch(0))
    assert logged["gradient_norm"] > 0.01 and norm(run.model) == pytest.approx(0.001, rel=1e-3)


def test_the_discriminators_gradient_is_clipped_when_a_norm_is_given(dataset):
    for clip, bound in ((0.0, math.inf), (1e-4, 1e-4)):
        run = trainer(dataset, f"training.discriminator_clip={clip}")
        logged = run.train_step(run.batch(0))
        assert norm(run.discriminator) == pytest.approx(min(logged["discriminator_gradient_norm"], bound), rel=1e-3)
        assert logged["discriminator_gradient_norm"] > 1e-3


@pytest.mark.parametrize("change", ["model.heads=2", "loss.margin=0.5"])
def test_a_state_of_another_configuration_is_refused(dataset, tmp_path, change):
    saving.save(trainer(dataset), tmp_path)
    with pytest.raises(AstError, match=r"state.pt belongs to another configuration"):
        trainer(dataset, change).fit(tmp_path, progress=False)


def test_the_paper_trains_with_adam_alone(dataset):
    assert preset("paper").training.matrix_rate == 0
    run = trainer(dataset, "training.matrix_rate=0")
    assert [type(each.optimizer) for each in run.generator_optimizers] == [torch.optim.AdamW]


def test_batch_norm_is_shared_on_gpus_and_refused_elsewhere():
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    names = list(network.state_dict())
    with pytest.raises(AstError, match="found several on the CPU with batch norm"):
        shared_batch_norm(network, torch.device("cpu"))
    shared = shared_batch_norm(network, torch.device("cuda"))
    assert isinstance(shared[1], torch.nn.SyncBatchNorm) and list(shared.state_dict()) == names
    assert shared_batch_norm(torch.nn.Linear(1, 1), torch.device("cpu")).weight.shape == (1, 1)
