"""Decoders of the published system and of its appendix: causal, and stepwise the same as at once."""

import dataclasses
import math

import pytest
import torch
from published_models import published_tiny
from torch.nn import functional as F

from ast_lib.networks.decoder import Attention
from ast_lib.published.decoders import PatchDecoder, build_decoder

DECODERS = [
    *([f"model.decoder={kind}"] for kind in ("transformer", "cnn", "gru", "vit")),
    ["model.decoder=vit", "representation.output=complex"],
    ["model.decoder=cnn", "representation.output=complex"],
    ["model.input_norm=true", "model.head_layers=1", "model.memory=S+1", "model.token_injection=false"],
]


def small_decoder(*assignments, seed=0):
    torch.manual_seed(seed)
    config = published_tiny("model.decoder_layers=2", "model.decoder_width=32", *assignments)
    model = build_decoder(config).eval().requires_grad_(False)
    # The small first output of training would hide differences in the feedback.
    torch.nn.init.normal_(
        model.head.layers[-1].weight if "model.decoder=cnn" in assignments else model.head.weight, std=0.3
    )
    return model


def decoder_inputs(model, clips=2, sections=5, seed=1):
    random = torch.Generator().manual_seed(seed)
    context = torch.randn(clips, sections, model.context_parts * 4, 513, generator=random)
    return context, torch.randn(clips, sections, 64, generator=random), torch.randn(clips, 32, generator=random)


def values(prediction):
    names = [field.name for field in dataclasses.fields(prediction) if field.name != "voices"]
    return torch.stack([getattr(prediction, name) for name in names])


@pytest.mark.parametrize("assignments", DECODERS, ids=" ".join)
def test_a_decoder_is_causal_and_stepwise_the_same_as_at_once(assignments):
    model = small_decoder(*assignments)
    context, content, style = decoder_inputs(model)
    keep = torch.ones(2, 5, dtype=torch.bool)
    before = values(model(context, keep, content, style))
    assert before.shape[1:] == (2, 5, 4, 513)
    other = context.clone()
    other[:, 2] += 1
    after = values(model(other, keep, content, style))
    changed = (before - after).abs().amax(dim=(0, 1, 3)) > 1e-6
    # Of the section itself nothing, or, where it is drawn patch by patch, all but the first.
    itself = model.units > 1
    assert changed.any(dim=1).tolist() == [False, False, itself, True, True]
    assert not changed[2, :16].any() and changed[2, 16:].all() == itself
    own = model.generate(content, style)
    torch.testing.assert_close(values(own), values(model(own.context, keep, content, style)), rtol=0, atol=2e-5)
    rest = model.generate(content, style, own.context[:, :2])
    torch.testing.assert_close(values(rest), values(own)[:, :, 2:], rtol=0, atol=2e-5)


@pytest.mark.parametrize("parts", [1, 2])
def test_patches_are_a_picture_cut_up_and_put_together(parts):
    output = "magnitude_advance" if parts == 1 else "complex"
    model = small_decoder("model.decoder=vit", f"representation.output={output}", "representation.section_frames=20")
    assert isinstance(model, PatchDecoder) and model.units == 2 * 33
    model.embed = torch.nn.Identity()
    picture = torch.randn(2, 3, parts * 20, 513)
    patches = model._embed(picture)
    assert patches.shape == (2, 3 * 66, parts * 256)
    torch.testing.assert_close(patches[0, 0, :256].view(16, 16), picture[0, 0, :16, :16])
    torch.testing.assert_close(patches[1, 66 + 33 + 1, :256].view(16, 16)[:4], picture[1, 1, 16:20, 16:32])
    if parts == 2:  # a complex prediction is its own context
        torch.testing.assert_close(model._sections(patches).context, picture)


def test_one_style_in_memory_is_s_of_them_up_to_log_s():
    torch.manual_seed(0)
    often, once = small_decoder(), small_decoder("model.memory=S+1")
    once.load_state_dict(often.state_dict())
    _, content, style = decoder_inputs(often)
    long, short = often.memory(content, style), once.memory(content, style)
    assert long.shape[1] == 10 and short.shape[1] == 6
    attention, x = Attention(32, 4), torch.randn(2, 3, 32)
    keys, kept = attention.keys_values(short)
    bias = torch.tensor([0.0] * 5 + [math.log(5)])
    attended = F.scaled_dot_product_attention(
        attention._split(attention.query(x)), keys, kept, attn_mask=bias.expand(3, 6)
    )
    expected = attention.project(attended.transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(x, *attention.keys_values(long)), expected)
    assert (attention(x, *attention.keys_values(short)) - expected).abs().max() > 1e-3


def test_hidden_states_fed_back_as_published():
    published = "model.input_norm=true", "model.token_injection=false", "model.context_weight=1"
    model = small_decoder("model.inference_feedback=hidden", *published)
    model.input_norm.weight.normal_()
    _, content, style = decoder_inputs(model)
    memory, tokens, hidden = model.memory(content, style), model.start_token.expand(2, 1, -1), []
    for _ in range(5):  # the published loop: everything again for each section, and no input norm
        x = model._tokens(tokens, content, style, 0, norm=False)
        for layer in model.layers:
            x = layer(x, memory)
        hidden.append(x[:, -1:])
        tokens = torch.cat([tokens, x[:, -1:]], dim=1)
    expected = model._predict(model._before_head(torch.cat(hidden, dim=1)))
    torch.testing.assert_close(values(model.generate(content, style)), values(expected), rtol=0, atol=2e-5)
    # Its training is that of any other: the feedback plays no part.
    twin = small_decoder(*published)
    twin.load_state_dict(model.state_dict())
    context, keep = decoder_inputs(model)[0], torch.ones(2, 5, dtype=torch.bool)
    same = [values(part(context, keep, content, style)) for part in (model, twin)]
    assert torch.equal(*same) and not torch.equal(*(values(part.generate(content, style)) for part in (model, twin)))
