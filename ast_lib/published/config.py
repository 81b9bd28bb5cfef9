"""Configuration of the published system: our fields, its flaws, its constants and its appendix.

Chapters: ``notebooks/13_published_run.md`` (the preset ``paper``) and ``notebooks/14_ablations.md``. Every field here
has the core's choice for its default, so that a variant of ours is one field of :func:`extend`'s result.
"""

import dataclasses
import pathlib
import tomllib
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ast_lib.checked import checked, from_values, to_dict
from ast_lib.config import (
    CURRICULUM,
    BelowOne,
    Config,
    Count,
    LossConfig,
    ModelConfig,
    NonNegative,
    Phase,
    Positive,
    RepresentationConfig,
    Share,
    TrainingConfig,
    Whole,
)
from ast_lib.config import preset as core_preset
from ast_lib.errors import AstError

PRESETS = pathlib.Path(__file__).with_name("presets.toml")
Factor = Annotated[float, Field(gt=0, le=1, description="a number above 0, up to 1")]


@checked
class PublishedRepresentation(RepresentationConfig):
    """Complex spectra, overlapping sections, statistics of each class."""

    cqt_bins_per_octave: Count = 24
    compression: Positive = 0.3  # exponent of the magnitude
    section_overlap: Whole = 0  # frames that a section shares with the next
    input: Literal["magnitude", "complex"] = "magnitude"  # of the encoders; complex: real and imaginary part
    output: Literal["magnitude_advance", "complex"] = "magnitude_advance"  # of the decoder
    statistics: Literal["shared", "per_class"] = "shared"  # mean and standard deviation of a bin
    denormalise: bool = True  # undo the normalisation of the decoder's output; the published code forgets to


@checked
class PublishedModelConfig(ModelConfig):
    """Networks of the published code and of the paper's appendix."""

    heads: Count = 4
    discriminator_width: Count = 128
    feed_forward: Count = 3  # width of the decoder's feed-forward layers, in decoder widths
    style_fit: Whole = 10  # steps that fit a style to one clip
    depth: ClassVar[None] = None  # the three numbers of layers instead
    residual_blocks: Whole = 3
    encoder_layers: Count = 2
    decoder_layers: Count = 3
    encoder: Literal["conv1d", "resnet2d"] = "conv1d"  # front end: over sections, or over each section's picture
    cnn_channels: Annotated[tuple[Count, ...], Field(min_length=1, description="one or more numbers of 1 or more")] = (
        *(32, 64, 128),  # of the blocks of resnet2d
        *(256, 512, 512),
    )
    style_encoder: Literal["transformer", "class_vectors", "one_hot"] = "transformer"  # [CLS], or a vector a voice
    decoder: Literal["transformer", "cnn", "gru", "vit"] = "transformer"  # cnn around it, gru with attention, patches
    memory: Literal["2S", "S+1"] = "2S"  # what the decoder attends to: the style once a section, or once
    discriminator: Literal["conv", "mlp"] = "conv"  # over sections; mlp: on the mean of content alone
    discriminators: Literal[1, 2] = 1  # 1 for content and style, or one for each
    inference_feedback: Literal["section", "hidden"] = "section"  # free-running token of the past; hidden: as published
    input_norm: bool = False  # normalise the decoder's tokens; hidden states fed back are not, as published
    head_layers: Literal[1, 2] = 2  # layers that predict a section; 1: one matrix, as published
    dropout: BelowOne = 0.0  # in decoder and resnet2d
    initial_gain: NonNegative = 0.0  # of Xavier's initialisation of all matrices, biases 0; 0 keeps PyTorch's own


@checked
class PublishedLossConfig(LossConfig):
    """Losses of complex spectra, and the published forms of the others."""

    magnitude: NonNegative = 5.0  # of complex output squared
    mse: NonNegative = 1.0  # complex output only: squared error
    temporal: NonNegative = 0.3  # complex output only: differences from frame to frame
    spectral: NonNegative = 0.1  # complex output only: differences from bin to bin
    difference_axes: Literal["frames_bins", "published"] = "frames_bins"  # of temporal and spectral
    temperature: Positive = 0.1
    margin: Positive = 1.0
    margin_form: Literal["hinge", "squared"] = "hinge"
    margin_relative: bool = True  # false: the margin is a distance, whatever the norm
    hsic: Literal["biased", "published"] = "biased"  # estimator; published with its median width
    encoder_objective: Literal["entropy", "cross_entropy"] = "entropy"  # of the encoders against the discriminator
    style_help: NonNegative = 1.0  # weight with which the encoders help the discriminator on style; published: 0
    discriminator_weights: tuple[NonNegative, ...] = ()  # of styles, content, prototypes; none: styles with prototypes


@checked
class PublishedPhase(Phase):
    """A phase of the curriculum that weighs the reconstruction too."""

    reconstruction: NonNegative = 1.0


@checked
class PublishedTrainingConfig(TrainingConfig):
    """Optimisation as published."""

    betas: tuple[BelowOne, BelowOne] = (0.9, 0.98)
    weight_decay: NonNegative = 0.01
    clip: Positive = 1.0
    average: BelowOne = 0.925  # decay of the moving average of the weights
    final_rate: Share = 0.03
    warm_up: Whole = 13  # steps
    plateau: Factor = 1.0  # factor on a network's rate when its mean loss between validations stops falling; 1: none
    patience: Count = 5  # validations without a fall before that
    discriminator_clip: NonNegative = 0.0  # largest norm of the discriminator's gradient; 0: none
    alternate: tuple[Whole, Whole] = (0, 0)  # batches in turn for generator and discriminator; 0, 0: all for both
    loss_warm_up: Whole = 0  # steps over which the weights of all losses but reconstruction grow from 0
    schedule: Literal["curriculum", "all_at_once"] = "curriculum"  # weights of the losses


def _phases(phases: tuple[Phase, ...]) -> tuple[PublishedPhase, ...]:
    return tuple(PublishedPhase(**dataclasses.asdict(phase)) for phase in phases)


@checked
class PublishedConfig(Config):
    """A complete run of the published system or of a variant."""

    representation: PublishedRepresentation = PublishedRepresentation()
    model: PublishedModelConfig = PublishedModelConfig()
    loss: PublishedLossConfig = PublishedLossConfig()
    curriculum: tuple[PublishedPhase, ...] = _phases(CURRICULUM)
    regular: PublishedPhase = PublishedPhase(  # weights of the schedule all_at_once
        "regular", 0.0, contrastive=0.05, margin=0.05, hsic=0.05, adversarial=0.1
    )
    training: PublishedTrainingConfig = PublishedTrainingConfig()

    @property
    def phases(self) -> tuple[PublishedPhase, ...]:
        """The phases of ``training.schedule``."""
        return self.curriculum if self.training.schedule == "curriculum" else (self.regular,)

    def _relations(self):
        shape, model, loss, training = self.representation, self.model, self.loss, self.training
        yield from super()._relations()
        overlap, size, form = shape.section_overlap, model.style_size, model.style_encoder
        below = f"0 to below representation.section_frames ({shape.section_frames})"
        yield "representation.section_overlap", overlap < shape.section_frames, below
        each = f"{len(self.voices)} or more, one a voice, with model.style_encoder=one_hot"
        yield "model.style_size", form != "one_hot" or size >= len(self.voices), each
        shared = loss.hsic == "published" or (model.discriminator == "mlp" and model.discriminators == 1)
        equal = (
            f"model.content_size ({model.content_size}) with loss.hsic=published or a single model.discriminator=mlp"
        )
        yield "model.style_size", size == model.content_size or not shared, equal
        heard = form == "transformer"
        yield "model.align_onsets", heard or not model.align_onsets, f"false with {form} styles"
        section = model.context_weight == 1 or model.inference_feedback == "section"
        yield "model.context_weight", section, "1 with model.inference_feedback=hidden"
        unvoiced = heard and shape.statistics == "shared"
        what = "0 with representation.statistics=per_class, or styles of voices (model.style_encoder)"
        yield "training.third_instruments", unvoiced or not training.third_instruments, what
        turns = training.alternate == (0, 0) or min(training.alternate) >= 1
        yield "training.alternate", turns, "0, 0 or two numbers of 1 or more"
        three = len(loss.discriminator_weights) in (0, 3)
        yield "loss.discriminator_weights", three, "none or three numbers of 0 or more"


def extend(config: Config) -> PublishedConfig:
    """The same run, with the published system's fields at the core's values."""
    values = to_dict(config)
    del values["model"]["depth"]
    for section, kind in (("model", PublishedModelConfig), ("training", PublishedTrainingConfig)):
        core = getattr(config, section)
        for field in dataclasses.fields(kind):
            # What is derived or constant in the core is a field here.
            if field.name not in values[section] and hasattr(core, field.name):
                values[section][field.name] = getattr(core, field.name)
    return from_values(PublishedConfig, values)


def preset(name: str) -> PublishedConfig:
    """``paper``, the system of the published code, flaws included (``presets.toml``), or a preset of ours, extended.

    Raises:
        AstError: for another name.
    """
    if name == "paper":
        table = tomllib.loads(PRESETS.read_text(encoding="utf-8"))[name]
        return from_values(PublishedConfig, {"name": name, **table})
    try:
        return extend(core_preset(name))
    except AstError as error:
        raise AstError(f"{error}, paper") from None
