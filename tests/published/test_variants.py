"""The published configuration and every variant of the appendix: each trains, decodes, reloads and is what it says."""

import copy
import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from models import made_dataset, noise, random_features, tiny, tone, untrained
from torch.nn import functional as F

from ast_lib.config import MODEL_CHOICES, from_dict, override, preset, to_dict
from ast_lib.errors import AstError
from ast_lib.evaluation.systems import outputs
from ast_lib.losses.adversarial import discriminator_cross_entropy, negative_cross_entropy, negative_entropy
from ast_lib.losses.hsic import hsic_biased, hsic_published, hsic_unbiased
from ast_lib.losses.margin import class_prototypes, prototype_margin, prototype_margin_squared
from ast_lib.losses.phase import wrapped_phase
from ast_lib.losses.reconstruction import (
    complex_mse,
    magnitude_mse,
    spectral_difference,
    spectral_difference_published,
    temporal_difference,
    temporal_difference_published,
)
from ast_lib.networks import checkpoint
from ast_lib.networks.decoder import Attention, ComplexPrediction
from ast_lib.networks.discriminator import build_discriminator
from ast_lib.networks.encoders import PictureEncoder, initialise
from ast_lib.published.decoders import PatchDecoder, build_decoder
from ast_lib.representation import join_sections, to_sections
from ast_lib.training import Trainer, objective
from ast_lib.training.curriculum import WEIGHTS, loss_weights, plateau_factor, turns
from ast_lib.training.objective import total_loss
from ast_lib.transfer import transfer

SHORT = ("training.steps=2", "training.seconds=0.3", "training.validate_every=2")
# The preset, but small enough for a test: every choice is the paper's, no size is.
SMALL_PAPER = override(
    preset("paper"),
    *SHORT,
    "data.pieces_per_kind=8",
    "data.test_pieces=2",
    "data.validation_pieces=2",
    "representation.section_frames=16",
    "representation.section_overlap=6",
    "representation.join_shift=2",
    "model.cnn_channels=[4, 4, 8, 8, 8, 8]",
    *(f"model.{name}=32" for name in ("content_width", "content_size", "style_width", "style_size", "decoder_width")),
    "model.encoder_layers=1",
    "model.decoder_layers=2",
    "training.batch=4",
    "training.warm_up=1",
    "training.alternate=[1, 1]",
)
VARIANTS = {
    "paper": SMALL_PAPER,
    **{
        assignment: tiny(*SHORT, *assignment.split())
        for assignment in (
            "model.style_encoder=class_vectors",
            "model.style_encoder=one_hot",
            "model.decoder=cnn",
            "model.decoder=gru",
            "model.decoder=vit",
            "model.memory=S+1",
            "model.discriminators=2",
            "model.discriminator=mlp model.style_size=64",
            "loss.encoder_objective=cross_entropy",
            "training.schedule=all_at_once",
            "training.schedule=reconstruction",
            "representation.output=complex",
            "representation.input=complex",
            "representation.statistics=per_class",
            "model.encoder=resnet2d model.cnn_channels=[4,8] representation.section_frames=8",
        )
    },
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def dataset():
    return made_dataset(SMALL_PAPER)


def trainer(dataset, config):
    return Trainer(config, dataclasses.replace(dataset, config=config), "cpu")


def parameters(module):
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


# --- Every one of them trains, decodes and reloads


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
    loaded = checkpoint.load_weights(checkpoint.save_weights(tmp_path / "w.safetensors", model, {}, {}))
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


@pytest.mark.parametrize("table", ["model", "representation", "loss", "training"])
def test_an_unknown_choice_is_refused_with_the_accepted_ones(table):
    from ast_lib import config

    for field, accepted in getattr(config, f"{table.upper()}_CHOICES").items():
        value = 7 if isinstance(accepted[0], int) else "other"
        with pytest.raises(AstError) as error:
            tiny(f"{table}.{field}={value}")
        assert str(error.value) == f"{table}.{field}: found {value!r}, accepted is {' or '.join(map(str, accepted))}"


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["model.style_encoder=one_hot", "model.style_size=1"], "model.style_size: found 1, accepted is 2 or more"),
        (["loss.hsic=published"], r"model.style_size: found 32, accepted is model.content_size \(64\)"),
        (["model.discriminator=mlp"], r"model.style_size: found 32, accepted is model.content_size \(64\)"),
        (["representation.section_overlap=4"], "representation.section_overlap: found 4, accepted is 0 to below"),
        (["representation.join_shift=1"], "representation.join_shift: found 1, accepted is 0 to representation.sect"),
        (["training.gain=3", "representation.section_overlap=2"], "training.gain: found 3.0, accepted is 0 with a"),
        (["training.alternate=[5, 0]"], r"training.alternate: found \(5, 0\), accepted is 0, 0 or"),
        (["training.plateau=0"], "training.plateau: found 0.0"),
        (["model.dropout=1"], "model.dropout: found 1.0"),
        (["model.cnn_channels=[]"], r"model.cnn_channels: found \(\)"),
    ],
)
def test_what_does_not_go_together_is_refused(assignments, message):
    with pytest.raises(AstError, match=message):
        tiny(*assignments)


def test_a_configuration_from_before_the_variants_means_the_same():
    new = {
        "representation": ("section_overlap", "join_shift", "input", "output", "statistics", "denormalise"),
        "model": (*MODEL_CHOICES, "cnn_channels", "input_norm", "dropout", "initial_gain"),
        "loss": ("mse", "temporal", "spectral", "difference_axes", "margin_form", "margin_relative", "hsic"),
        "training": ("plateau", "patience", "discriminator_clip", "alternate", "schedule"),
    }
    values = to_dict(preset("quick"))
    for table, names in new.items():
        for name in names:
            del values[table][name]
    del values["regular"], values["loss"]["encoder_objective"], values["loss"]["style_help"]
    assert from_dict(values) == preset("quick")


# --- Decoders


def small_decoder(*assignments, seed=0):
    torch.manual_seed(seed)
    config = tiny("model.decoder_layers=2", "model.decoder_width=32", *assignments)
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


DECODERS = [
    *([f"model.decoder={kind}"] for kind in MODEL_CHOICES["decoder"]),
    ["model.decoder=vit", "representation.output=complex"],
    ["model.decoder=cnn", "representation.output=complex"],
    ["model.input_norm=true", "model.head_layers=1", "model.memory=S+1", "model.token_injection=false"],
]


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
        torch.testing.assert_close(model._predict(patches).context, picture)


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
    model = small_decoder("model.inference_feedback=hidden", "model.input_norm=true", "model.token_injection=false")
    model.input_norm.weight.normal_()
    _, content, style = decoder_inputs(model)
    memory, tokens, hidden = model.memory(content, style), model.start_token.expand(2, 1, -1), []
    for _ in range(5):  # the published loop: everything again for each section, and no input norm
        x = model._tokens(tokens, content, style, 0, norm=False)
        for layer in model.layers:
            x = layer(x, memory)
        hidden.append(x[:, -1:])
        tokens = torch.cat([tokens, x[:, -1:]], dim=1)
    expected = model._output(torch.cat(hidden, dim=1))
    torch.testing.assert_close(values(model.generate(content, style)), values(expected), rtol=0, atol=2e-5)
    # Its training is that of any other: the feedback plays no part.
    twin = small_decoder("model.input_norm=true", "model.token_injection=false")
    twin.load_state_dict(model.state_dict())
    context, keep = decoder_inputs(model)[0], torch.ones(2, 5, dtype=torch.bool)
    same = [values(part(context, keep, content, style)) for part in (model, twin)]
    assert torch.equal(*same) and not torch.equal(*(values(part.generate(content, style)) for part in (model, twin)))


# --- Styles that belong to an instrument


@pytest.mark.parametrize("kind", ["class_vectors", "one_hot"])
def test_a_style_of_a_voice_is_one_vector_for_all_its_clips(kind):
    model = untrained(tiny(f"model.style_encoder={kind}"))
    features, voices = random_features(model.config, 3, 5), torch.tensor([1, 0, 1])
    style = model.encode_style(features, voices)
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


# --- Discriminators and what is asked of the encoders


@pytest.mark.parametrize("kind", ["conv", "conv_pooled", "mlp"])
def test_two_discriminators_share_nothing(kind):
    both = build_discriminator(tiny("model.discriminators=2", f"model.discriminator={kind}"))
    content, style = torch.randn(3, 7, 64), torch.randn(3, 32)
    one = parameters(both)
    both.content_logits(content).sum().backward()
    learnt = {name for name, parameter in both.named_parameters() if parameter.grad is not None}
    assert learnt == {name for name in one if name.startswith("content.")}
    both.style_logits(style).sum().backward()
    assert all(parameter.grad is not None for parameter in both.parameters())
    single = build_discriminator(tiny("model.style_size=64", f"model.discriminator={kind}"))
    shared = {id(parameter) for parameter in single.parameters()}
    single.content_logits(content).sum().backward()
    assert len(shared) > sum(parameter.grad is None for parameter in single.parameters())


def test_the_papers_discriminator_reads_the_mean_over_sections():
    judge = build_discriminator(SMALL_PAPER)
    content = torch.randn(3, 7, 32)
    assert [tuple(layer.weight.shape) for layer in judge.layers[::2]] == [(128, 32), (128, 128), (2, 128)]
    torch.testing.assert_close(judge.content_logits(content), judge.style_logits(content.mean(dim=1)))
    torch.testing.assert_close(judge.content_logits(content), judge.content_logits(content.flip(1)))


@pytest.fixture(scope="module")
def run(dataset):
    return trainer(dataset, tiny(*SHORT, "training.equalisation=0"))


def losses_with(run, *assignments):
    """Losses of the same networks on the same batch under another configuration."""
    config, batch = override(run.config, *assignments), run.batch(0)
    return objective.generator_losses(config, run.model, run.discriminator, batch, 1, run._random(0))[0], batch


def test_named_losses_are_the_ones_that_are_used(run):
    losses, batch = losses_with(run)
    model, labels = run.model, batch.labels
    content, style = model.content_encoder(model.encoder_input(batch.heard)), objective.batch_style(model, batch)
    prototypes = class_prototypes(style, labels, 2)
    logits, helped = run.discriminator.content_logits(content), run.discriminator.style_logits
    help = discriminator_cross_entropy(helped(torch.cat([style, prototypes])), torch.cat([labels, torch.arange(2)]))
    expected = {
        "loss.encoder_objective=entropy": ("adversarial", negative_entropy(logits) + help),
        "loss.encoder_objective=cross_entropy": ("adversarial", negative_cross_entropy(logits, labels) + help),
        "loss.style_help=0": ("adversarial", negative_entropy(logits)),
        "loss.hsic=biased": ("hsic", hsic_biased(style, content.mean(1))),
        "loss.hsic=unbiased": ("hsic", hsic_unbiased(style, content.mean(1))),
        "loss.margin_form=hinge": ("margin", prototype_margin(prototypes, 1.0, relative=True)),
        "loss.margin_form=squared": ("margin", prototype_margin_squared(prototypes, 1.0, relative=True)),
        "loss.margin_relative=false": ("margin", prototype_margin(prototypes, 1.0)),
    }
    for assignment, (name, value) in expected.items():
        torch.testing.assert_close(losses_with(run, assignment)[0][name], value)
    assert torch.equal(losses["hsic"], losses_with(run, "loss.hsic=biased")[0]["hsic"])


@pytest.mark.parametrize("axes", ["frames_bins", "published"])
def test_losses_of_the_papers_output(dataset, axes):
    config = override(SMALL_PAPER, f"loss.difference_axes={axes}", "training.seconds=0.5")
    run = trainer(dataset, config)
    run.model.eval()
    batch = run.batch(0)
    losses, _, content = run.generator_losses(batch, 0)
    model, style = run.model, objective.batch_style(run.model, batch)
    target = model.target(batch.features, batch.labels)
    spread = class_prototypes(style, batch.slots, 2)[batch.slots]
    prediction = model.decoder(target, torch.ones(target.shape[:2], dtype=torch.bool), content, spread)
    assert isinstance(prediction, ComplexPrediction) and target.shape[1] >= 2
    estimate, truth = torch.complex(prediction.real, prediction.imaginary), torch.complex(*target.chunk(2, dim=2))
    along_time, along_frequency = {
        "frames_bins": (temporal_difference, spectral_difference),
        "published": (temporal_difference_published, spectral_difference_published),
    }[axes]
    expected = {
        "mse": complex_mse(estimate, truth),
        "magnitude": magnitude_mse(estimate, truth),
        "phase": wrapped_phase(estimate, truth, squared=True),
        "temporal": along_time(estimate, truth),
        "spectral": along_frequency(estimate, truth),
        "hsic": hsic_published(style, content.mean(dim=1)),
    }
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, rtol=1e-4, atol=1e-6)
    weights = {"mse": 1, "magnitude": 0.5, "phase": 0.2, "temporal": 0.3, "spectral": 0.1}
    reconstruction = sum(weight * losses[name].item() for name, weight in weights.items())
    assert total_loss(config, losses, 0).item() == pytest.approx(10 * reconstruction, rel=1e-5)


# --- Schedules


def test_schedules_are_three_ways_to_weigh_the_losses():
    config = preset("quick")
    at_once, alone = (
        override(config, f"training.schedule={name}").phases for name in ("all_at_once", "reconstruction")
    )
    assert config.phases == config.curriculum
    for step in (0, 300, 599):
        everything, nothing_else = loss_weights(at_once, step, 600), loss_weights(alone, step, 600)
        assert everything == {name: getattr(config.regular, name) for name in WEIGHTS}
        assert all(everything[name] for name in WEIGHTS if name != "level")
        assert nothing_else == {name: 1.0 if name == "reconstruction" else 0.0 for name in WEIGHTS}


def test_the_papers_curriculum():
    phases = preset("paper").phases
    reached = [loss_weights(phases, share, 100) for share in (0, 20, 40, 80, 99)]
    table = [
        tuple(weights[name] for name in ("reconstruction", "hsic", "contrastive", "margin")) for weights in reached
    ]
    assert table == [(10, 0, 0, 0), (8, 0, 0.5, 0.5), (5, 0.5, 0.8, 1), (3, 0.3, 0.8, 1), (3, 0.3, 0.8, 1)]
    ramp = [loss_weights(phases, step, 100)["adversarial"] for step in (59, 60, 70, 80, 99)]
    assert ramp == pytest.approx([0, 0, 0.25, 0.5, 0.5])


@given(st.lists(st.sampled_from([1.0, 0.9, 0.5, 2.0, -1.0, -2.0]), max_size=40), st.integers(1, 3))
def test_a_plateau_is_pytorchs(means, patience):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.7, patience=patience)
    for mean in means:
        reference.step(mean)
    totals = [mean + offset for mean in means for offset in (-0.25, 0.25)] + [0.0]  # epochs of two steps, half of one
    assert plateau_factor(totals, 2, 0.7, patience) == pytest.approx(optimizer.param_groups[0]["lr"])


def test_generator_and_discriminator_take_turns(dataset):
    assert [turns((5, 3), step) for step in range(9)] == [(True, False)] * 5 + [(False, True)] * 3 + [(True, False)]
    assert turns((0, 0), 3) == (True, True)
    run = trainer(dataset, tiny(*SHORT, "training.alternate=[1, 2]", "training.average=0"))
    for step in range(3):
        model, judge = parameters(run.model), parameters(run.discriminator)
        row = run.train_step(run.batch(step))
        run.step += 1
        moved = [
            any(not torch.equal(before[name], now) for name, now in module.named_parameters())
            for before, module in ((model, run.model), (judge, run.discriminator))
        ]
        assert moved == [step == 0, step > 0]
        assert ("gradient_norm" in row, "discriminator_gradient_norm" in row) == (step == 0, step > 0)


# --- The paper's encoder, initialisation and statistics


def test_the_papers_sizes():
    config = preset("paper")
    with torch.device("meta"):
        decoder, judge = build_decoder(config), build_discriminator(config)
        encoders = [PictureEncoder(2, config.model.cnn_channels, 256, 256, 4, 4, 0.1, cls) for cls in (False, True)]
    values = 2 * 287 * 513
    layer = 4 * 256 * 257 * 2 + 256 * 1025 + 1024 + 1024 * 256 + 3 * 512 - 0
    assert decoder.head.weight.shape == (values, 256) and decoder.embed.weight.shape == (256, values)
    count = [sum(parameter.numel() for parameter in part.parameters()) for part in (decoder, *encoders, judge)]
    # Two projections, content and style to the memory, four layers, two norms, start token; ours has a null token too.
    assert count[0] == 2 * values * 256 + values + 256 + 2 * 256 * 257 + 4 * layer + 4 * 256 + 256 + 256
    assert sum(count) == pytest.approx(182.7e6, rel=1e-3)


def test_the_papers_encoder_sees_each_section_as_a_picture():
    torch.manual_seed(0)
    for cls in (False, True):
        encoder = PictureEncoder(2, (4, 8, 8), 16, 16, 1, 2, 0.0, cls).eval()
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
    layers = torch.nn.Sequential(torch.nn.Linear(30, 20), torch.nn.MultiheadAttention(8, 2))
    before = parameters(layers)
    initialise(layers, 0.0)
    assert all(torch.equal(before[name], parameter) for name, parameter in layers.named_parameters())
    initialise(layers, 0.2)
    assert 0.9 < layers[0].weight.abs().max() / (0.2 * math.sqrt(6 / 50)) <= 1 and not layers[0].bias.any()
    assert 0.8 < layers[1].in_proj_weight.abs().max() / (0.2 * math.sqrt(6 / 32)) <= 1


def two_voices(name="stft_complex"):
    """A model with statistics per class of clips whose spectra are wider for voice 1, those clips, and their voices."""
    config = override(SMALL_PAPER, "representation.denormalise=true")
    model = untrained_paper(config)
    features, voices = random_features_complex(config, 8), torch.tensor([0, 1] * 4)
    scale = 1 + 3 * voices.view(-1, 1, 1, 1).float()
    features = dataclasses.replace(features, stft_magnitude=features.stft_magnitude * scale)
    model.fit_statistics(features, voices)
    return model, features, voices


def untrained_paper(config):
    torch.manual_seed(0)
    return untrained.__globals__["TransferModel"](config).eval()


def random_features_complex(config, clips):
    features = random_features(config, clips, 3)
    phasors = (
        torch.polar(torch.ones_like(part), 6.28 * torch.rand(part.shape))
        for part in (features.stft_magnitude, features.cqt_magnitude)
    )
    return dataclasses.replace(features, advance=None, **dict(zip(("stft_phasor", "cqt_phasor"), phasors, strict=True)))


def test_statistics_per_class_take_the_difference_of_the_classes_away():
    model, features, voices = two_voices()
    own = model.normalise(features.spectrum("stft_complex"), "stft_complex", voices)
    assert own.shape == (8, 3, 2, 16, 513)
    for voice in (0, 1):  # 0 mean and unit deviation per channel and bin, for each class
        part = own[voices == voice].movedim(2, 0).movedim(-1, 1).flatten(2)
        torch.testing.assert_close(part.mean(-1), torch.zeros(2, 513), rtol=0, atol=1e-5)
        torch.testing.assert_close(part.std(-1), torch.ones(2, 513), rtol=0, atol=1e-4)
    assert model.likeliest_voices(features).tolist() == voices.tolist()
    assert torch.equal(model.target(features), model.target(features, voices))
    restored = model.denormalise(own, "stft_complex", voices)
    torch.testing.assert_close(restored, features.spectrum("stft_complex"), rtol=1e-4, atol=1e-5)
    with pytest.raises(AstError, match="voices: found none"):
        model.normalise(features.spectrum("stft_complex"), "stft_complex")


def test_outputs_are_denormalised_as_the_voice_of_the_style():
    model, features, _ = two_voices()
    model.prototypes.copy_(torch.eye(2, 32))
    content, style = torch.randn(2, 3, 32), torch.eye(2, 32)[[1, 0]] + 0.1
    prediction = model.generate(content, style)
    assert prediction.voices.tolist() == [1, 0]
    one, other = (
        model.to_stft(prediction, 30),
        model.to_stft(dataclasses.replace(prediction, voices=torch.tensor([0, 1])), 30),
    )
    assert not torch.allclose(one, other)
    model.config = override(model.config, "representation.denormalise=false")
    # As published: the normalised values are played.
    parts = torch.stack([prediction.real, prediction.imaginary], dim=2)
    plain = torch.cat(list(model.representation.channel_blocks([parts])), dim=1)
    assert torch.equal(model.to_stft(prediction, 30), plain[:, :30])


# --- Sections that overlap, and complex spectra


@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 11))
def test_overlapping_sections_join_to_what_was_cut(frames, length, overlap):
    overlap = min(overlap, length - 1)
    whole = torch.arange(2.0 * frames).view(2, frames, 1)
    sections = to_sections(whole, length, overlap)
    assert sections.shape[1] == max(math.ceil((frames - overlap) / (length - overlap)), 1)
    for index in range(sections.shape[1]):
        start = index * (length - overlap)
        assert torch.equal(sections[0, index, : frames - start, 0], whole[0, start : start + length, 0])
    torch.testing.assert_close(join_sections(sections, overlap)[:, :frames], whole)


def test_a_shifted_join_puts_every_section_later():
    sections = torch.zeros(1, 4, 10, 1)
    sections[:, :, 0] = 1  # the first frame of every section
    assert join_sections(sections, 3)[0, :, 0].nonzero().flatten().tolist() == [0, 7, 14, 21]
    assert join_sections(sections, 3 - 2)[0, :, 0].nonzero().flatten().tolist() == [0, 9, 18, 27]


@pytest.mark.parametrize("compression", [1.0, 0.3])
def test_the_true_spectrum_survives_sections_normalisation_and_compression(compression):
    config = override(
        SMALL_PAPER,
        "representation.join_shift=0",
        "representation.denormalise=true",
        "representation.statistics=shared",
        f"representation.compression={compression}",
    )
    model = untrained(config)
    audio = torch.from_numpy(noise(0.7))[None]
    target = model.target(model.representation(audio))
    stft = model.to_stft(ComplexPrediction(*target.chunk(2, dim=2)), 1 + audio.shape[-1] // 256)
    torch.testing.assert_close(stft, model.representation.spectrogram(audio), rtol=1e-3, atol=1e-4)


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
