"""The paper's encoder, its initialisation, and styles that belong to an instrument."""

import dataclasses
import math

import pytest
import torch
from models import tone
from published_models import VOICED, parameters, published_features, published_tiny, untrained_published
from torch.nn.utils import parametrize

from ast_lib.errors import AstError
from ast_lib.published.config import PublishedModelConfig, preset
from ast_lib.published.decoders import build_decoder
from ast_lib.published.discriminators import build_discriminator
from ast_lib.published.encoders import PictureEncoder, initialise
from ast_lib.transfer import transfer


def counts(*parts: torch.nn.Module) -> list[int]:
    return [sum(parameter.numel() for parameter in part.parameters()) for part in parts]


def test_the_papers_sizes():
    config = preset("paper")
    with torch.device("meta"):
        decoder, judge = build_decoder(config), build_discriminator(config)
        encoders = [PictureEncoder(2, 256, 256, config.model, cls) for cls in (False, True)]
    values = 2 * 287 * 513
    assert decoder.head.weight.shape == (values, 256) and decoder.embed.weight.shape == (256, values)
    content, style, generated, judged = counts(*encoders, decoder, judge)
    # The first two are printed by the published repository (train.ipynb at commit e72254f, lines 523 and 524).
    assert (content, style) == (13_169_248, 13_169_504)
    null = decoder.null_token.numel()  # ours alone
    assert content + style + generated - null == 181_744_638
    assert judged == 49_666


@pytest.mark.parametrize("cls", [False, True])
def test_both_encoders_see_379_frames_and_bins_before_the_mean(cls):
    sizes = PublishedModelConfig(cnn_channels=(1,) * 6, encoder_layers=1, heads=2)
    blocks = PictureEncoder(2, 16, 16, sizes, cls).cnn[:6]
    for part in blocks.modules():  # every path counts, and nothing but the neighbours
        if isinstance(part, torch.nn.Conv2d):
            parametrize.remove_parametrizations(part, "weight")
            torch.nn.init.ones_(part.weight)
    for block in blocks:
        block.path = torch.nn.Sequential(block.path[0], block.path[3])
        block.shortcut = block.shortcut[0]
    pictures = torch.ones(1, 2, 831, 831, requires_grad=True)
    output = blocks(pictures)
    assert output.shape[2:] == (13, 13)
    output[0, 0, 6, 6].backward()
    seen = pictures.grad[0, 0].nonzero()
    assert (seen.max(0).values - seen.min(0).values + 1).tolist() == [379, 379]


def test_six_blocks_leave_5_by_10_whose_middle_row_counts_twice():
    sizes = PublishedModelConfig(cnn_channels=(1,) * 6, encoder_layers=1, heads=2)
    cnn = PictureEncoder(2, 16, 16, sizes, cls=False).cnn
    left = cnn[:6](torch.randn(2, 2, 287, 597))
    assert left.shape[2:] == (5, 10)
    weight = torch.tensor([1.0, 1, 2, 1, 1])[:, None].expand(5, 10) / 60
    torch.testing.assert_close(cnn[6:](left)[:, 0], (left[:, 0] * weight).sum((1, 2)))


def test_the_papers_encoder_sees_each_section_as_a_picture():
    torch.manual_seed(0)
    sizes = PublishedModelConfig(cnn_channels=(4, 8, 8), encoder_layers=1, heads=2)
    for cls in (False, True):
        encoder = PictureEncoder(2, 16, 16, sizes, cls).eval()
        sections = torch.randn(3, 4, 2 * 20, 30)
        codes = encoder(sections)
        assert codes.shape == ((3, 16) if cls else (3, 4, 16))
        # The last thing is a layer norm: every code has length sqrt(d), whatever the clip (chapter 6).
        torch.testing.assert_close(codes.norm(dim=-1), torch.full(codes.shape[:-1], 4.0), rtol=1e-3, atol=0)
        # The first channel is the first half of the frames.
        seen = []
        encoder.cnn[0].register_forward_hook(lambda module, args, output, seen=seen: seen.append(args[0]))
        encoder(sections)
        assert torch.equal(seen[0][0, 1], sections[0, 0, 20:])


def test_a_reduced_gain_is_xaviers():
    layers = torch.nn.Sequential(torch.nn.Linear(30, 20), torch.nn.MultiheadAttention(8, 2))  # the latter keeps its own
    before = parameters(layers)
    initialise(layers, 0.0)
    assert all(torch.equal(before[name], parameter) for name, parameter in layers.named_parameters())
    initialise(layers, 0.2)
    assert 0.9 < layers[0].weight.abs().max() / (0.2 * math.sqrt(6 / 50)) <= 1 and not layers[0].bias.any()
    assert 0.8 < layers[1].in_proj_weight.abs().max() / math.sqrt(6 / 32) <= 1


# --- Styles that belong to an instrument


@pytest.mark.parametrize("kind", ["class_vectors", "one_hot"])
def test_a_style_of_a_voice_is_one_vector_for_all_its_clips(kind):
    model = untrained_published(published_tiny(*VOICED, f"model.style_encoder={kind}"))
    features, voices = published_features(model.config, 3, 5), torch.tensor([1, 0, 1])
    style = model.encode_style(dataclasses.replace(features, voices=voices))
    assert torch.equal(style[0], style[2]) and not torch.equal(style[0], style[1])
    if kind == "one_hot":
        assert torch.equal(style, torch.eye(32)[voices]) and not list(model.style_encoder.parameters())
    else:
        assert torch.equal(style, model.style_encoder.weight[voices])
    message = f"style of a clip: found model.style_encoder={kind}.*accepted is transformer"
    with pytest.raises(AstError, match=message):
        model.encode_style(features)
    with pytest.raises(AstError, match=message):
        transfer(model, tone(0.3), style=tone(0.6))
    assert transfer(model, tone(0.3), "violin", "predicted").any()
