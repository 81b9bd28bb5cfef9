"""Encoders: positions, shapes, what an output depends on, and gradients for every parameter."""

import math
import types

import pytest
import torch

from ast_lib.networks.encoders import ResidualBlock, SectionEncoder, sinusoidal_positions


def encoder(cls, seed=0, width=64, blocks=1, layers=1):
    torch.manual_seed(seed)
    sizes = types.SimpleNamespace(residual_blocks=blocks, encoder_layers=layers, heads=4)
    return SectionEncoder(inputs=24, width=width, outputs=5, sizes=sizes, cls=cls)


def sections(clips=3, count=9, seed=1):
    return torch.randn(clips, count, 4, 6, generator=torch.Generator().manual_seed(seed))


# --- Positions


def test_positions_are_sines_and_cosines_of_falling_rates():
    found = sinusoidal_positions(7, 8)
    for position in range(7):
        for pair in range(4):
            angle = position / 10000 ** (2 * pair / 8)
            assert found[position, 2 * pair] == pytest.approx(math.sin(angle), abs=1e-6)
            assert found[position, 2 * pair + 1] == pytest.approx(math.cos(angle), abs=1e-6)


def test_a_longer_sequence_begins_with_the_positions_of_a_shorter_one():
    assert torch.equal(sinusoidal_positions(100, 16)[:40], sinusoidal_positions(40, 16))


def test_positions_of_equal_distance_have_equal_products():
    # Each pair turns by the same angle a step, so the scalar product depends on the distance alone.
    p = sinusoidal_positions(50, 32)
    torch.testing.assert_close((p[:-5] * p[5:]).sum(dim=1), ((p[0] * p[5]).sum()).expand(45), rtol=1e-4, atol=1e-4)


# --- Residual block


def test_a_residual_block_whose_last_layer_is_zero_is_the_identity():
    block = ResidualBlock(16)
    torch.nn.init.zeros_(block.mix.weight)
    torch.nn.init.zeros_(block.mix.bias)
    x = torch.randn(2, 16, 7)
    assert torch.equal(block(x), x)


def test_a_residual_block_mixes_five_neighbours_beyond_the_shared_norm():
    block = ResidualBlock(16)
    block.norm = torch.nn.Identity()  # its statistics span all sections
    x = torch.randn(1, 16, 21)
    changed = x.clone()
    changed[:, :, 10] += 1
    difference = (block(changed) - block(x)).abs().amax(dim=(0, 1)) > 1e-6
    assert difference.nonzero().flatten().tolist() == [8, 9, 10, 11, 12]


# --- Encoders


@pytest.mark.parametrize(("cls", "shape"), [(True, (3, 5)), (False, (3, 9, 5))])
def test_shapes(cls, shape):
    assert encoder(cls)(sections()).shape == shape


@pytest.mark.parametrize("cls", [True, False])
@pytest.mark.parametrize("count", [1, 2, 65])
def test_any_number_of_sections_and_a_batch_of_one(cls, count):
    found = encoder(cls)(sections(1, count))
    assert found.shape == ((1, 5) if cls else (1, count, 5)) and torch.isfinite(found).all()


def test_the_style_depends_on_every_value_of_every_section():
    x = sections(1).requires_grad_()
    encoder(cls=True)(x).square().sum().backward()
    assert (x.grad.abs() > 0).all()


def test_content_of_a_section_depends_most_on_that_section():
    x = sections(1, 33).requires_grad_()
    encoder(cls=False)(x)[0, 16].square().sum().backward()
    assert x.grad.abs().sum(dim=(0, 2, 3)).argmax() == 16


@pytest.mark.parametrize("cls", [True, False])
def test_clips_of_a_batch_do_not_see_one_another(cls):
    model, x = encoder(cls).eval(), sections()
    torch.testing.assert_close(model(x)[1:2], model(x[1:2]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cls", [True, False])
def test_the_order_of_sections_matters(cls):
    model, x = encoder(cls, blocks=0).eval(), sections()
    turned = model(x.flip(1))
    assert (turned - (model(x) if cls else model(x).flip(1))).abs().max() > 1e-3


@pytest.mark.parametrize("cls", [True, False])
def test_gradients_reach_every_parameter(cls):
    model = encoder(cls, blocks=2, layers=2)
    model(sections()).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_only_the_style_encoder_has_a_cls_token():
    assert "cls" in dict(encoder(True).named_parameters())
    assert "cls" not in dict(encoder(False).named_parameters())


def test_the_answer_is_read_from_the_token_in_front():
    model = encoder(cls=True).eval()
    before = model(sections())
    with torch.no_grad():
        model.cls.normal_()
    assert (model(sections()) - before).abs().max() > 1e-3


def test_gradients_agree_with_finite_differences():
    model = encoder(cls=True, width=32).double()
    x = sections(1, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(model, x, fast_mode=True)


@pytest.mark.parametrize("cls", [True, False])
def test_silence_has_a_finite_code_and_nan_stays_visible(cls):
    model = encoder(cls).eval()
    assert torch.isfinite(model(torch.zeros(1, 4, 4, 6))).all()
    broken = sections(2)
    broken[0, 2, 0, 0] = float("nan")
    found = model(broken)
    assert found[0].isnan().all() and torch.isfinite(found[1]).all()
