"""Optimizers: every parameter has one, a step of Muon is orthogonal, and a saved state goes on exactly."""

import copy

import pytest
import torch
from models import made_dataset, tiny, untrained

from ast_lib.config import TrainingConfig
from ast_lib.training import Trainer
from ast_lib.training.optimizers import optimizers

TRAINING = TrainingConfig()


class Small(torch.nn.Module):
    """Two matrices for Muon; biases, a row and a filter for AdamW."""

    def __init__(self, rows=6, columns=4):
        super().__init__()
        self.layer = torch.nn.Linear(columns, rows)
        self.row = torch.nn.Parameter(torch.ones(1, columns))
        self.filter = torch.nn.Conv1d(2, 3, 5)
        self.head = torch.nn.Linear(rows, 2)


def parameters(made):
    return [[parameter for group in each.param_groups for parameter in group["params"]] for each in made]


@pytest.mark.parametrize("rate", [0.0, 0.01])
@pytest.mark.parametrize("network", [Small(), untrained(tiny())], ids=["small", "model"])
def test_every_parameter_has_exactly_one_optimizer(network, rate):
    made = optimizers(network, 1e-3, TRAINING, False, rate)
    found = [id(parameter) for each in parameters(made) for parameter in each]
    assert len(found) == len(set(found)) and set(found) == {id(parameter) for parameter in network.parameters()}
    assert [type(each) for each in made] == [torch.optim.AdamW, torch.optim.Muon][: 1 + (rate > 0)]


def test_matrices_are_muons_and_the_rest_is_adamws():
    network = Small()
    adamw, muon = parameters(optimizers(network, 1e-3, TRAINING, False, 0.01))
    assert [id(parameter) for parameter in muon] == [id(network.layer.weight), id(network.head.weight)]
    model = untrained(tiny())
    _, muon = parameters(optimizers(model, 1e-3, TRAINING, False, 0.01))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    chosen = {names[id(parameter)] for parameter in muon}
    assert all(model.get_parameter(name).ndim == 2 for name in chosen)
    assert not any(name.endswith("bias") or "norm" in name for name in chosen)
    assert chosen == {name for name, p in model.named_parameters() if p.ndim == 2 and min(p.shape) > 1}
    # Most of what is trained is moved by Muon.
    assert sum(p.numel() for p in muon) > 0.4 * sum(p.numel() for p in model.parameters())


def test_rates_betas_and_decay_are_the_configurations():
    adamw, muon = optimizers(Small(), 2e-3, TRAINING, False, 0.03)
    for optimizer, rate in ((adamw, 2e-3), (muon, 0.03)):
        (group,) = optimizer.param_groups
        assert group["lr"] == group["initial_lr"] == rate and group["weight_decay"] == TRAINING.weight_decay
    assert adamw.param_groups[0]["betas"] == TRAINING.betas


@pytest.mark.parametrize(("rows", "columns"), [(6, 4), (4, 6), (5, 5)])
def test_a_step_of_muon_is_orthogonal_up_to_scale(rows, columns):
    """A gradient with singular values 4, 2, ... moves every direction alike, by 0.2 times the root of the longer side
    times the rate; each along the gradient's own singular vectors.
    """
    torch.manual_seed(0)
    network, rate, count = Small(rows, columns), 0.01, min(rows, columns)
    training = type("Training", (), {"betas": (0.9, 0.98), "weight_decay": 0.0})
    _, muon = optimizers(network, 1e-3, training, False, rate)
    left, right = torch.linalg.qr(torch.randn(rows, count))[0], torch.linalg.qr(torch.randn(columns, count))[0]
    weight = network.layer.weight
    weight.grad = left @ torch.diag(4.0 / torch.arange(1, count + 1)) @ right.T
    before = weight.detach().clone()
    muon.step()
    step = (before - weight.detach()) / (rate * 0.2 * max(rows, columns) ** 0.5)
    along = left.T @ step @ right  # 1 on the diagonal, 0 beside it
    assert torch.diag(along).tolist() == pytest.approx([1.0] * count, abs=0.35)
    assert (along - torch.diag(torch.diag(along))).abs().max() < 0.05
    assert (step - left @ along @ right.T).norm() < 0.05


def test_without_a_matrix_rate_a_step_is_adamws_alone():
    torch.manual_seed(0)
    network = Small()
    plain = copy.deepcopy(network)
    (found,) = optimizers(network, 1e-3, TRAINING, False, 0.0)
    expected = torch.optim.AdamW(plain.parameters(), 1e-3, TRAINING.betas, weight_decay=TRAINING.weight_decay)
    for step in range(3):
        for one, other in zip(network.parameters(), plain.parameters(), strict=True):
            one.grad = torch.randn(one.shape, generator=torch.Generator().manual_seed(step))
            other.grad = one.grad.clone()
        found.step(), expected.step()
    for one, other in zip(network.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("rate", [0.0, 0.01])
def test_a_state_that_is_loaded_goes_on_exactly(rate):
    def steps(network, made, first, last):
        for step in range(first, last):
            for parameter in network.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(step))
            for optimizer in made:
                optimizer.step()

    torch.manual_seed(0)
    whole = Small()
    first = copy.deepcopy(whole)
    steps(whole, optimizers(whole, 1e-3, TRAINING, False, rate), 0, 6)
    made = optimizers(first, 1e-3, TRAINING, False, rate)
    steps(first, made, 0, 3)
    second = copy.deepcopy(first)
    loaded = optimizers(second, 1e-3, TRAINING, False, rate)
    for optimizer, saved in zip(loaded, made, strict=True):
        optimizer.load_state_dict(copy.deepcopy(saved.state_dict()))
    steps(second, loaded, 3, 6)
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), second.parameters(), strict=True))


def test_the_trainer_gives_muon_the_model_alone():
    config = tiny("training.seconds=0.4")
    run = Trainer(config, made_dataset(config), "cpu")
    assert [len(made) for made in (run.generator_optimizers, run.discriminator_optimizers)] == [2, 1]
    for network, made in ((run.model, run.generator_optimizers), (run.discriminator, run.discriminator_optimizers)):
        found = [id(parameter) for each in parameters(made) for parameter in each]
        assert sorted(found) == sorted(id(parameter) for parameter in network.parameters())
    rates = [group["initial_lr"] for each in run.generator_optimizers for group in each.param_groups]
    assert rates == [config.training.learning_rate, config.training.matrix_rate]
