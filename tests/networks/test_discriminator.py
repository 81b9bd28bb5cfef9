"""The discriminator: shapes, how far it sees along the content, and that it can learn what it is for."""

import pytest
import torch
from torch.nn import functional as F

from ast_lib.config import ModelConfig
from ast_lib.networks.discriminator import Discriminator


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setattr(ModelConfig, "discriminator_width", 16)


def made(classes=2):
    torch.manual_seed(0)
    return Discriminator(ModelConfig(content_size=6, style_size=3), classes)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(("clips", "sections"), [(1, 1), (4, 1), (1, 2), (4, 20)])
def test_shapes(classes, clips, sections):
    model = made(classes)
    assert model.content_logits(torch.randn(clips, sections, 6)).shape == (clips, sections, classes)
    assert model.style_logits(torch.randn(clips, 3)).shape == (clips, classes)


def test_a_position_of_content_is_judged_with_six_neighbours_on_either_side():
    model, content = made(), torch.randn(1, 41, 6)
    changed = content.clone()
    changed[:, 20] += 1
    difference = (model.content_logits(changed) - model.content_logits(content)).abs().amax(dim=(0, 2)) > 1e-7
    assert difference.nonzero().flatten().tolist() == list(range(14, 27))


def test_clips_do_not_see_one_another():
    model, content, style = made(), torch.randn(3, 10, 6), torch.randn(3, 3)
    torch.testing.assert_close(model.content_logits(content)[1:2], model.content_logits(content[1:2]))
    torch.testing.assert_close(model.style_logits(style)[1:2], model.style_logits(style[1:2]))


def test_style_and_content_share_the_trunk_but_not_the_entrance():
    model = made()
    model.content_logits(torch.randn(2, 5, 6)).square().sum().backward()
    assert model.from_style.weight.grad is None and model.trunk[1].weight.grad.abs().max() > 0
    model.zero_grad()
    model.style_logits(torch.randn(2, 3)).square().sum().backward()
    assert model.from_content.weight.grad is None and model.trunk[1].weight.grad.abs().max() > 0


def test_gradients_agree_with_finite_differences():
    model = made().double()
    content = torch.randn(1, 4, 6, dtype=torch.float64, requires_grad=True)
    style = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(model.content_logits, content, fast_mode=True) and torch.autograd.gradcheck(
        model.style_logits, style
    )


def test_it_finds_a_class_that_shows_only_in_how_content_changes():
    # Two classes of the same values: one alternates in sign, the other keeps it.
    random = torch.Generator().manual_seed(0)
    level = torch.randn(64, 1, 6, generator=random).expand(-1, 16, -1)
    sign = torch.tensor([1.0, -1.0]).repeat(8)[:, None]
    labels = torch.arange(64) % 2
    content = torch.where(labels[:, None, None] == 1, level * sign, level)
    model = made()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(40):
        loss = F.cross_entropy(model.content_logits(content).flatten(0, 1), labels.repeat_interleave(16))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2  # log 2 = 0.69 without a look at the neighbours
