"""The decoder: causal, the same with and without caches, continued from a prefix, with and without token injection."""

import pytest
import torch

from ast_lib.config import ModelConfig
from ast_lib.networks.decoder import Attention, Decoder, DecoderLayer, Prediction
from ast_lib.networks.encoders import sinusoidal_positions

CONTENT, STYLE, FRAMES, BINS, WIDTH = 6, 3, 2, 5, 32


def untrained_decoder(token_injection=True, layers=2):
    sizes = ModelConfig(
        content_size=CONTENT, style_size=STYLE, decoder_width=WIDTH, depth=layers, token_injection=token_injection
    )
    return Decoder(sizes, FRAMES, BINS)


def decoder(token_injection=True, layers=2, seed=0):
    torch.manual_seed(seed)
    model = untrained_decoder(token_injection, layers).eval()
    # The small first output of training would hide differences in the feedback.
    torch.nn.init.normal_(model.head.weight, std=0.3)
    return model.requires_grad_(False)


def inputs(clips=2, sections=7, seed=1):
    random = torch.Generator().manual_seed(seed)
    context = torch.randn(clips, sections, FRAMES, BINS, generator=random)
    content = torch.randn(clips, sections, CONTENT, generator=random)
    return context, content, torch.randn(clips, STYLE, generator=random)


def kept(context):
    return torch.ones(context.shape[:2], dtype=torch.bool)


def tensors(prediction):
    return torch.stack([prediction.magnitude, prediction.cosine, prediction.sine])


def changed_sections(a, b):
    """Sections in which two predictions differ."""
    return ((tensors(a) - tensors(b)).abs().amax(dim=(0, 1, 3, 4)) > 1e-6).nonzero().flatten().tolist()


# --- Attention and layers


def test_attention_is_softmax_of_scaled_products():
    torch.manual_seed(0)
    attention, x, memory = Attention(8, 2), torch.randn(1, 3, 8), torch.randn(1, 4, 8)
    query = attention.query(x)
    key, value = attention.key_value(memory).split(8, dim=-1)
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        weights = torch.softmax(query[..., head] @ key[..., head].mT / 2, dim=-1)  # sqrt of 4 values a head
        heads.append(weights @ value[..., head])
    expected = attention.project(torch.cat(heads, dim=-1))
    torch.testing.assert_close(attention(x, *attention.keys_values(memory)), expected)


@pytest.mark.parametrize("first", [1, 3, 6])
def test_a_layer_with_a_cache_equals_the_layer_without(first):
    torch.manual_seed(0)
    layer, x, memory = DecoderLayer(16, 2, 4), torch.randn(2, 6, 16), torch.randn(2, 5, 16)
    cache = layer.start(memory, 6)
    parts = [layer.extend(x[:, :first], cache, 0)]
    parts += [layer.extend(x[:, position : position + 1], cache, position) for position in range(first, 6)]
    torch.testing.assert_close(torch.cat(parts, dim=1), layer(x, memory), rtol=1e-5, atol=1e-5)


# --- Memory


def test_the_memory_is_the_content_and_then_the_style_once_for_each_section():
    model = decoder()
    _, content, style = inputs(sections=7)
    memory = model.memory(content, style)
    assert memory.shape == (2, 14, WIDTH)
    torch.testing.assert_close(memory[:, :7], model.content_memory(content) + sinusoidal_positions(7, WIDTH))
    torch.testing.assert_close(memory[:, 7:], model.style_memory(style)[:, None].expand(-1, 7, -1))


# --- Teacher forcing


def test_shapes_and_a_small_first_output():
    torch.manual_seed(0)
    model = untrained_decoder()
    context, content, style = inputs()
    found = model(context, kept(context), content, style)
    assert found.magnitude.shape == found.cosine.shape == found.sine.shape == context.shape
    assert tensors(found).abs().max() < 0.5


@pytest.mark.parametrize("section", [0, 3, 6])
def test_a_section_of_the_context_changes_later_outputs_only(section):
    model, (context, content, style) = decoder(), inputs()
    other = context.clone()
    other[:, section] += 1
    before, after = model(context, kept(context), content, style), model(other, kept(context), content, style)
    # Every later one: attention reaches all that came before.
    assert changed_sections(before, after) == list(range(section + 1, 7))


@pytest.mark.parametrize("injection", [True, False])
def test_content_and_style_reach_every_output(injection):
    model, (context, content, style) = decoder(injection), inputs()
    before = model(context, kept(context), content, style)
    other = content.clone()
    other[:, 5] += 1
    assert changed_sections(before, model(context, kept(context), other, style)) == list(range(7))
    assert changed_sections(before, model(context, kept(context), content, style + 1)) == list(range(7))


def test_token_injection_is_two_layers_and_their_absence_leaves_none():
    with_injection, without = (dict(decoder(injection).named_parameters()) for injection in (True, False))
    assert set(with_injection) - set(without) == {
        f"{layer}.{kind}" for layer in ("content_token", "style_token") for kind in ("weight", "bias")
    }
    assert set(without) < set(with_injection)


def test_injected_content_belongs_to_its_own_section():
    model, (context, content, style) = decoder(), inputs()
    # Without the memory, content acts through the token alone: section 4 and, by attention, what follows.
    for layer in model.layers:
        layer.cross_attention.project.weight.zero_()
    other = content.clone()
    other[:, 4] += 1
    before, after = model(context, kept(context), content, style), model(context, kept(context), other, style)
    assert changed_sections(before, after) == [4, 5, 6]


def test_the_null_token_hides_the_context():
    model, (context, content, style) = decoder(), inputs()
    keep = kept(context)
    keep[:, 2] = False
    other = context.clone()
    other[:, 2] += 5
    before, hidden = model(context, keep, content, style), model(other, keep, content, style)
    assert changed_sections(before, hidden) == []
    # It is not the same as the truth, and its place is after the section it hides.
    assert changed_sections(model(context, kept(context), content, style), hidden) == [3, 4, 5, 6]


def test_the_null_token_is_per_clip():
    model, (context, content, style) = decoder(), inputs()
    keep = kept(context)
    keep[0] = False
    found = model(context, keep, content, style)
    torch.testing.assert_close(
        tensors(found)[:, 1], tensors(model(context, kept(context), content, style))[:, 1], rtol=1e-5, atol=1e-5
    )


def test_gradients_reach_every_parameter():
    model, (context, content, style) = decoder().requires_grad_(True), inputs()
    keep = kept(context)
    keep[:, 2] = False
    tensors(model(context, keep, content, style)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


# --- Free-running


@pytest.mark.parametrize("sections", [1, 2, 8, 21])
@pytest.mark.parametrize("injection", [True, False])
def test_generation_with_caches_is_teacher_forcing_on_its_own_output(sections, injection):
    model = decoder(injection)
    _, content, style = inputs(sections=sections)
    own = model.generate(content, style)
    forced = model(own.magnitude, kept(own.magnitude), content, style)
    torch.testing.assert_close(tensors(own), tensors(forced), rtol=0, atol=1e-5)


def test_what_it_generates_feeds_back():
    model, (_, content, style) = decoder(), inputs()
    before = model.generate(content, style)
    model.embed.weight.mul_(0)
    # The first section has no past; every other has.
    assert changed_sections(before, model.generate(content, style)) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("known", [1, 3, 6])
@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_a_prefix_is_continued_as_if_it_had_been_generated(known, weight):
    model, (_, content, style) = decoder(), inputs()
    whole = model.generate(content, style, context_weight=weight)
    rest = model.generate(content, style, whole.magnitude[:, :known], weight)
    assert rest.magnitude.shape[1] == 7 - known
    torch.testing.assert_close(tensors(rest), tensors(whole)[:, :, known:], rtol=0, atol=1e-5)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("sections", [1, 7])
def test_the_context_weighs_what_is_drawn_with_it_against_what_is_drawn_without(weight, sections):
    model, (_, content, style) = decoder(), inputs(sections=sections)
    own = model.generate(content, style, context_weight=weight)
    with_context = model(own.magnitude, kept(own.magnitude), content, style)  # the context is the mixture
    without = model(own.magnitude, torch.zeros_like(kept(own.magnitude)), content, style)
    expected = weight * tensors(with_context) + (1 - weight) * tensors(without)
    torch.testing.assert_close(tensors(own), expected, rtol=0, atol=1e-5)


def test_clips_of_a_batch_are_generated_apart():
    model, (_, content, style) = decoder(), inputs()
    both, second = model.generate(content, style), model.generate(content[1:], style[1:])
    torch.testing.assert_close(tensors(both)[:, 1:], tensors(second), rtol=0, atol=1e-5)


# --- Predictions


def test_the_advance_points_where_cosine_and_sine_say():
    prediction = Prediction(torch.zeros(1), torch.tensor([0.0]), torch.tensor([3.0]))
    assert prediction.advance.angle().item() == pytest.approx(torch.pi / 2)


def test_joined_predictions_are_in_order_and_in_float32():
    first, second = (Prediction(*(torch.full((1, n, 2, 2), float(n), dtype=torch.bfloat16),) * 3) for n in (1, 2))
    whole = first.map(lambda *tensors: torch.cat(tensors, dim=1), second).float()
    assert whole.magnitude.dtype == torch.float32 and whole.sine.shape == (1, 3, 2, 2)
    assert whole.cosine[0, :, 0, 0].tolist() == [1, 2, 2]
