"""Calls that are replayed: which call is which, when they are noted anew, and on a GPU that gradients are the same."""

import pytest
import torch
from models import made_dataset, tiny

from ast_lib.config import override
from ast_lib.training import Trainer
from ast_lib.training.cuda_graphs import StepGraphs

CONFIG = tiny("training.steps=40")


def networks(run: Trainer) -> list[torch.nn.Module]:
    return [run.model.content_encoder, run.model.style_encoder, run.model.decoder]


def totals(run: Trainer, steps: int) -> list[float]:
    found = []
    for step in range(steps):
        found.append(run.train_step(run.batch(step))["total"])
        run.step += 1
    return found


def test_replayed_calls_stand_in_for_the_plain_ones_in_every_phase(monkeypatch):
    """With plain calls in place of recordings the losses of ten steps, over four phases, are the same to the bit."""
    recorded = []
    monkeypatch.setattr(StepGraphs, "_record", lambda self, call, inputs: recorded.append(call.network))
    plain, replayed = (Trainer(CONFIG, made_dataset(CONFIG), "cpu") for _ in range(2))
    replayed.graphs = StepGraphs(networks(replayed))
    assert totals(plain, 10) == totals(replayed, 10)
    content, style, decoder = networks(replayed)
    # Content, style, the decoder without context and with it.
    assert recorded[-4:] == [content, style, decoder, decoder]
    assert all(call.recorded for call in replayed.graphs.calls)


def test_a_call_of_another_shape_runs_as_it_is(monkeypatch):
    monkeypatch.setattr(StepGraphs, "_record", lambda self, *call: pytest.fail("recorded"))
    layer = torch.nn.Linear(3, 2)
    graphs, x = StepGraphs([layer]), torch.ones(4, 3)
    graphs.begin("phase")
    first = layer(x)
    graphs.end()
    graphs.begin("phase")
    assert torch.equal(layer(x[:2]), first[:2])
    graphs.end()
    assert torch.equal(layer(x), first)  # after the step


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gradients_of_replayed_calls_are_those_of_plain_ones():
    config = override(CONFIG, "training.precision=bf16-mixed")
    run = Trainer(config, made_dataset(config), "cuda")
    run.step = config.training.steps - 1
    batch = run.batch(0)

    def gradients() -> torch.Tensor:
        run.model.zero_grad(set_to_none=True)
        losses, *_ = run.generator_losses(batch, run.step)
        run.objective.total(losses, run.step).backward()
        return torch.cat([p.grad.flatten().clone() for p in run.model.parameters() if p.grad is not None])

    found = []
    for _ in range(3):  # noted, recorded, replayed
        run.graphs.begin("phase")
        found.append(gradients())
        run.graphs.end()
    assert (found[2] - found[0]).norm() < 0.02 * found[0].norm()
