"""The one configuration object: what a run is, stored with every checkpoint.

Chapters: ``notebooks/11_training.md``, ``notebooks/13_published_run.md`` (the preset ``paper``) and
``notebooks/14_ablations.md`` (variants). A preset is a complete :class:`Config`; a variant is one field of it, written
``"model.token_injection=false"`` wherever text is needed (papermill, the command line) and set with :func:`override`.
"""

import dataclasses
import json
import re
import types
import typing
from collections.abc import Sequence

from ast_lib.errors import AstError


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which scores are read and how they are shared out; or which manifest of recordings."""

    manifest: str = ""  # path (:mod:`ast_lib.data.manifest`); empty: scores are rendered, and the soundfonts count
    pieces_per_kind: int = 393  # fiddle tunes, and as many chorales (the corpus has 393 usable ones)
    test_pieces: int = 40  # held out for the reported figures, half of each kind
    validation_pieces: int = 12  # held out for the transfer curve during training
    test_seconds: float = 10.0
    seed: int = 0  # of the splits and of the held-out performances


@dataclasses.dataclass(frozen=True)
class RepresentationConfig:
    """STFT, CQT and sections (:mod:`ast_lib.representation.features`)."""

    sample_rate: int = 22050  # Hz
    n_fft: int = 1024  # samples
    hop: int = 256  # samples
    cqt_bins_per_octave: int = 24
    cqt_octaves: int = 7  # from C1, 32.7 Hz
    compression: float = 0.3  # exponent of the magnitude
    section_frames: int = 4  # frames of one section, 46 ms
    section_overlap: int = 0  # frames that a section shares with the next
    join_shift: int = 0  # frames by which sections are put together too late; the published evaluation errs by 10
    input: str = "magnitude"  # what the encoders read: magnitude, or complex (real and imaginary part)
    output: str = "magnitude_advance"  # what the decoder draws: magnitude_advance, or complex
    statistics: str = "shared"  # mean and deviation of a bin: shared by the classes, or per_class as published
    denormalise: bool = True  # undo the normalisation of the decoder's output; the published code forgets to

    @property
    def stft_bins(self) -> int:
        return self.n_fft // 2 + 1

    @property
    def cqt_bins(self) -> int:
        return self.cqt_bins_per_octave * self.cqt_octaves


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Sizes of the networks (:mod:`ast_lib.networks`)."""

    content_width: int = 256  # of the content encoder's layers
    content_size: int = 64  # values of one section's content c_s
    style_width: int = 128
    style_size: int = 32  # values of z_style
    residual_blocks: int = 3
    encoder_layers: int = 2
    decoder_width: int = 256
    decoder_layers: int = 3
    feed_forward: int = 4  # width of the decoder's feed-forward layers, in decoder widths
    discriminator_width: int = 128
    critic_width: int = 96  # channels of the critic, see loss.realism
    heads: int = 4
    window: int = 64  # sections that an encoder or the decoder sees at once, 3 s
    overlap: int = 16  # sections that two neighbouring windows share
    content_noise: float = 0.0  # standard deviation of noise on z_content: with its energy, what a section can say
    style_noise: float = 0.0  # the same of z_style, for each window of a clip; an instrument's own style has none
    style_fit: int = 10  # steps that fit the style of one clip to the clip (one-shot), see ast_lib.transfer.one_shot
    align_onsets: bool = False  # move a source by the difference of its voice's latency and the target's
    context_weight: float = 1.0  # free-running, of a section drawn with its context, against one drawn without any
    token_injection: bool = True  # add the section's content and the style to its token, beside the cross-attention
    encoder: str = "conv1d"  # front end: conv1d over sections, or resnet2d over each section's picture, as published
    cnn_channels: tuple[int, ...] = (32, 64, 128, 256, 512, 512)  # of the blocks of resnet2d
    style_encoder: str = "transformer"  # [CLS] of a transformer, learnable class_vectors, or one_hot
    decoder: str = "transformer"  # transformer, cnn (around the transformer), gru (with attention), or vit (patches)
    memory: str = "2S"  # what the decoder attends to: the style once for each section (2S) or once (S+1)
    discriminator: str = "conv"  # conv over sections, conv_pooled (knows the clip's mean too), or mlp on the mean alone
    discriminators: int = 1  # 1 for content and style, or 2, one for each
    inference_feedback: str = "section"  # token of the past, free-running: its section, or hidden state as published
    input_norm: bool = False  # normalise the decoder's tokens; hidden states fed back are not, as published
    head_layers: int = 2  # layers that draw a section: 2, or 1 (one matrix, as published)
    dropout: float = 0.0  # in decoder and resnet2d
    initial_gain: float = 0.0  # of Xavier's initialisation of all matrices, biases 0; 0 keeps PyTorch's own


@dataclasses.dataclass(frozen=True)
class Phase:
    """One phase of the curriculum: from ``start`` (share of all steps) the losses have these weights.

    ``adversarial`` grows linearly from its value in the phase before to this one over the first half of the phase.
    ``level`` weighs the error of frames' levels (:func:`ast_lib.losses.reconstruction.level_l1`).
    ``back_translation`` is no weight but a share: of the clips that the content encoder hears as the model itself
    plays them on another instrument.
    """

    name: str
    start: float
    reconstruction: float
    contrastive: float = 0.0
    margin: float = 0.0
    hsic: float = 0.0
    adversarial: float = 0.0
    level: float = 0.0
    back_translation: float = 0.0


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """Constants inside the losses; their weights over time are the curriculum's."""

    magnitude: float = 5.0  # L1 of compressed magnitudes
    log_spectral: float = 0.0  # log-spectral distance in dB: quiet bins count as much as loud ones
    phase: float = 0.3  # magnitude-weighted circular loss of the phase advance
    content_energy: float = 1e-3  # mean square of z_content: keeps the code's scale bounded
    agreement: float = 0.0  # z_content before and after back-translation: mean square of the change over the energy
    style_spread: float = 0.0  # mean square of a clip's z_style about its slot's mean, over the mean square of styles
    realism: float = 0.0  # how far the critic takes back-translated clips for converted ones
    mse: float = 1.0  # complex output only: squared error (there magnitude is squared too, phase the wrapped angle)
    temporal: float = 0.3  # complex output only: differences from frame to frame
    spectral: float = 0.1  # complex output only: differences from bin to bin
    difference_axes: str = "frames_bins"  # of temporal and spectral: frames_bins, or published (wrong ones)
    temperature: float = 0.1
    margin: float = 1.0  # distance asked of prototypes, in units of their mean norm
    margin_form: str = "hinge"  # hinge, or squared as published
    margin_relative: bool = True  # false: the margin is a distance, whatever the norm, as published
    hsic: str = "biased"  # estimator: biased, unbiased, or published (with its median width)
    encoder_objective: str = "entropy"  # of the encoders against the discriminator: entropy, or cross_entropy
    style_help: float = 1.0  # weight with which the encoders help the discriminator on style; 0 in the published code


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Optimisation and the corruption of the decoder's context."""

    steps: int = 600
    batch: int = 16
    seconds: float = 3.0
    learning_rate: float = 1e-3
    discriminator_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    warm_up: int = 50  # steps
    final_rate: float = 0.03  # share of the learning rate left at the end of the cosine
    plateau: float = 1.0  # factor on the rates when the mean total loss between validations stops falling; 1 for none
    patience: int = 5  # validations without a fall before that
    clip: float = 1.0  # largest norm of the gradient
    discriminator_clip: float = 0.0  # the same for the discriminator; 0 for none
    alternate: tuple[int, int] = (0, 0)  # batches in turn for the generator and the discriminator; 0, 0: all for both
    schedule: str = "curriculum"  # weights of the losses: curriculum, all_at_once, or reconstruction alone
    average: float = 0.98  # decay of the moving average of the weights
    precision: str = "bf16-mixed"  # of lightning-fabric
    equalisation: float = 5.0  # dB, random smooth equalisation of the content encoder's input
    gain: float = 0.0  # dB, random slow changes of loudness in the content encoder's input
    decay: float = 0.0  # dB per second: largest random change of how notes decay in the content encoder's input
    room: float = 0.0  # share of clips that the content encoder hears in a random room, with noise
    tuning: float = 0.0  # semitones: the content encoder hears clips detuned by up to this much
    slow: float = 0.0  # share of clips at a practice tempo, down to a quarter: long notes are rare in tunes
    another_voice: float = 0.0  # share of clips that the content encoder hears on a random soundfont
    own_style: bool = True  # a clip's own style counts in its slot's, the decoder's; false: the other clips' alone
    timbre: float = 0.0  # dB, random smooth equalisation of target and style, one curve for all clips of a slot
    context_drop: float = 0.4  # share of context tokens replaced by the null token
    context_null: float = 0.3  # share of clips whose whole context is replaced
    context_own: float = 0.5  # share of clips whose context is the model's own prediction, not the truth
    context_noise: float = 0.1  # standard deviation of noise on the true context, in normalised units
    validate_every: int = 100  # steps
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Config:
    """A complete run. ``name`` is the preset's; ``instruments`` are the classes, in the order of their labels."""

    name: str
    instruments: tuple[str, ...] = ("piano", "violin")
    soundfonts: tuple[str, ...] = ("TimGM6mb",)  # names or paths; the first is the default voice of each instrument
    soundfont_shares: tuple[int, ...] = ()  # clips of each soundfont for every round of a batch; empty: one each
    data: DataConfig = DataConfig()
    representation: RepresentationConfig = RepresentationConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    curriculum: tuple[Phase, ...] = (
        Phase("reconstruction", 0.0, reconstruction=1.0),
        Phase("contrastive", 0.05, reconstruction=1.0, contrastive=0.05, margin=0.05),
        Phase("hsic", 0.1, reconstruction=1.0, contrastive=0.05, margin=0.05, hsic=0.05),
        Phase("adversarial", 0.15, reconstruction=1.0, contrastive=0.05, margin=0.05, hsic=0.05, adversarial=0.1),
    )
    regular: Phase = Phase(  # weights of the schedule all_at_once
        "regular", 0.0, reconstruction=1.0, contrastive=0.05, margin=0.05, hsic=0.05, adversarial=0.1
    )
    training: TrainingConfig = TrainingConfig()

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases of ``training.schedule``."""
        return {
            "curriculum": self.curriculum,
            "all_at_once": (self.regular,),
            "reconstruction": (Phase("reconstruction", 0.0, self.regular.reconstruction),),
        }[self.training.schedule]

    @property
    def voices(self) -> tuple[tuple[str, str], ...]:
        """Every instrument on every soundfont: the classes of training, the instruments' default voices first.

        Recordings are one voice an instrument, whoever plays.
        """
        soundfonts = ("recordings",) if self.data.manifest else self.soundfonts
        return tuple((instrument, soundfont) for soundfont in soundfonts for instrument in self.instruments)

    def __post_init__(self):
        check(self)


REPRESENTATION_CHOICES = {
    "input": ("magnitude", "complex"),
    "output": ("magnitude_advance", "complex"),
    "statistics": ("shared", "per_class"),
}
MODEL_CHOICES = {
    "encoder": ("conv1d", "resnet2d"),
    "style_encoder": ("transformer", "class_vectors", "one_hot"),
    "decoder": ("transformer", "cnn", "gru", "vit"),
    "memory": ("2S", "S+1"),
    "discriminator": ("conv", "conv_pooled", "mlp"),
    "discriminators": (1, 2),
    "inference_feedback": ("section", "hidden"),
    "head_layers": (1, 2),
}
LOSS_CHOICES = {
    "difference_axes": ("frames_bins", "published"),
    "margin_form": ("hinge", "squared"),
    "hsic": ("biased", "unbiased", "published"),
    "encoder_objective": ("entropy", "cross_entropy"),
}
TRAINING_CHOICES = {
    "precision": ("32-true", "bf16-mixed"),
    "schedule": ("curriculum", "all_at_once", "reconstruction"),
}


def check(config: Config) -> None:
    """Raise :class:`AstError` for a configuration that cannot work, naming field, value and what is accepted."""
    training, model, data, shape = config.training, config.model, config.data, config.representation
    for table, values, choices in (
        ("representation", shape, REPRESENTATION_CHOICES),
        ("model", model, MODEL_CHOICES),
        ("loss", config.loss, LOSS_CHOICES),
        ("training", training, TRAINING_CHOICES),
    ):
        for name, accepted in choices.items():
            if getattr(values, name) not in accepted:
                raise AstError(
                    f"{table}.{name}: found {getattr(values, name)!r}, accepted is {' or '.join(map(str, accepted))}"
                )
    at_least_1 = [
        ("data", data, ["pieces_per_kind"]),
        ("representation", shape, ["n_fft", "hop", "cqt_bins_per_octave", "cqt_octaves", "section_frames"]),
        ("model", model, ["content_size", "style_size", "encoder_layers", "decoder_layers"]),
        ("model", model, ["discriminator_width", "critic_width"]),
        ("model", model, ["content_width", "style_width", "decoder_width", "feed_forward", "heads", "window"]),
        ("training", training, ["steps", "validate_every", "patience"]),
    ]
    above_0 = [
        ("data", data, ["test_seconds"]),
        ("representation", shape, ["compression"]),
        ("loss", config.loss, ["temperature", "margin"]),
        ("training", training, ["seconds", "learning_rate", "discriminator_rate", "clip"]),
    ]
    at_least_0 = [
        ("data", data, ["seed"]),
        ("model", model, ["residual_blocks"]),
        ("model", model, ["initial_gain", "content_noise", "style_noise", "style_fit"]),
        ("representation", shape, ["join_shift"]),
        ("loss", config.loss, ["magnitude", "log_spectral", "phase", "content_energy"]),
        ("loss", config.loss, ["mse", "temporal", "spectral", "style_help", "agreement", "style_spread", "realism"]),
        ("training", training, ["discriminator_clip"]),
        ("training", training, ["equalisation", "gain", "decay", "tuning", "timbre"]),
        ("training", training, ["warm_up", "context_noise", "weight_decay", "seed"]),
    ]
    shares = [
        ("model", model, ["context_weight"]),
        ("training", training, ["room", "another_voice", "slow"]),
        ("training", training, ["context_drop", "context_null", "context_own", "final_rate"]),
    ]
    # ``not (value >= 1)`` and not ``value < 1``: NaN keeps no rule.
    for groups, accepted, holds in (
        (at_least_1, "1 or more", lambda value: value >= 1),
        (above_0, "above 0", lambda value: value > 0),
        (at_least_0, "0 or more", lambda value: value >= 0),
        (shares, "0 to 1", lambda value: 0 <= value <= 1),
    ):
        for table, values, names in groups:
            for name in names:
                if not holds(getattr(values, name)):
                    raise AstError(f"{table}.{name}: found {getattr(values, name)!r}, accepted is {accepted}")
    shares_of_fonts = (1,) if data.manifest else config.soundfont_shares or (1,) * len(config.soundfonts)
    slots = len(config.instruments) * sum(shares_of_fonts)
    rules = [
        (
            "soundfonts",
            config.soundfonts,
            len(set(config.soundfonts)) == len(config.soundfonts) >= 1,
            "1 or more different names or paths",
        ),
        (
            "instruments",
            config.instruments,
            len(set(config.instruments)) == len(config.instruments) >= 2
            and all(re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", name) for name in config.instruments),
            "2 or more different names of lower-case letters, digits and underscores",
        ),
        (
            "training.batch",
            training.batch,
            training.batch >= 2 * slots and training.batch % max(slots, 1) == 0,
            f"multiples of {slots} (instruments × soundfonts × their shares), with 2 clips or more of each",
        ),
        (
            "soundfont_shares",
            config.soundfont_shares,
            len(config.soundfont_shares) in (0, len(config.soundfonts))
            and all(n >= 1 for n in config.soundfont_shares),
            f"a whole number of 1 or more for each of the {len(config.soundfonts)} soundfonts, or none at all",
        ),
        (
            "representation.sample_rate",
            shape.sample_rate,
            shape.sample_rate == 22050,
            "22050, the rate at which clips are rendered and compared",
        ),
        (
            "representation.hop",
            shape.hop,
            shape.hop % 2**shape.cqt_octaves == 0,
            f"multiples of {2**shape.cqt_octaves} for {shape.cqt_octaves} octaves of CQT",
        ),
        ("representation.cqt_octaves", shape.cqt_octaves, shape.cqt_octaves <= 7, "1 to 7, up to 4.2 kHz"),
        ("training.average", training.average, 0 <= training.average < 1, "0 to below 1"),
        ("training.plateau", training.plateau, 0 < training.plateau <= 1, "above 0, up to 1"),
        (
            "training.alternate",
            training.alternate,
            training.alternate == (0, 0) or min(training.alternate) >= 1,
            "0, 0 or two numbers of 1 or more",
        ),
        ("model.dropout", model.dropout, 0 <= model.dropout < 1, "0 to below 1"),
        (
            "model.cnn_channels",
            model.cnn_channels,
            len(model.cnn_channels) >= 1 and min(model.cnn_channels) >= 1,
            "one or more numbers of 1 or more",
        ),
        (
            "model.style_size",
            model.style_size,
            model.style_encoder != "one_hot" or model.style_size >= len(config.voices),
            f"{len(config.voices)} or more, one for each voice, with model.style_encoder=one_hot",
        ),
        (
            "model.style_size",
            model.style_size,
            model.style_size == model.content_size
            or not (config.loss.hsic == "published" or (model.discriminator == "mlp" and model.discriminators == 1)),
            f"model.content_size ({model.content_size}) with loss.hsic=published or a single model.discriminator=mlp",
        ),
        (
            "model.style_noise",
            model.style_noise,
            model.style_noise == 0 or model.style_encoder == "transformer",
            f"0 with model.style_encoder={model.style_encoder}, which hears no clip",
        ),
        (
            "model.context_weight",
            model.context_weight,
            model.context_weight == 1
            or (model.inference_feedback == "section" and max(training.context_drop, training.context_null) > 0),
            "1 where training never leaves context out (training.context_drop, training.context_null), or with "
            "model.inference_feedback=hidden",
        ),
        (
            "model.align_onsets",
            model.align_onsets,
            not model.align_onsets or (model.style_encoder == "transformer" and not data.manifest),
            "false where no score says when a note begins (data.manifest), or no style who plays (model.style_encoder)",
        ),
        (
            "loss.hsic",
            config.loss.hsic,
            config.loss.hsic != "unbiased" or training.batch >= 4,
            "biased or published for a training.batch below 4",
        ),
        (
            "representation.section_overlap",
            shape.section_overlap,
            0 <= shape.section_overlap < shape.section_frames,
            f"0 to below representation.section_frames ({shape.section_frames})",
        ),
        (
            "training.gain",
            training.gain,
            training.gain == 0 or shape.section_overlap == 0,
            "0 with a representation.section_overlap: frames that two sections share have one loudness",
        ),
        (
            "representation.join_shift",
            shape.join_shift,
            shape.join_shift <= shape.section_overlap,
            f"0 to representation.section_overlap ({shape.section_overlap})",
        ),
        (
            "model.overlap",
            model.overlap,
            0 <= model.overlap <= model.window // 2,
            f"0 to half of model.window ({model.window})",
        ),
        (
            "model.content_width",
            model.content_width,
            model.content_width % (8 * model.heads) == 0,
            "multiples of 8 × model.heads",
        ),
        (
            "model.style_width",
            model.style_width,
            model.style_width % (8 * model.heads) == 0,
            "multiples of 8 × model.heads",
        ),
        (
            "model.decoder_width",
            model.decoder_width,
            model.decoder_width % (2 * model.heads) == 0,
            "multiples of 2 × model.heads",
        ),
        (
            "loss.realism",
            config.loss.realism,
            config.loss.realism == 0 or shape.output == "magnitude_advance",
            f"0 with representation.output={shape.output}",
        ),
        ("data.test_pieces", data.test_pieces, data.test_pieces >= 2, "2 or more"),
        ("data.validation_pieces", data.validation_pieces, data.validation_pieces >= 2, "2 or more"),
        (
            "curriculum",
            [phase.start for phase in config.curriculum],
            bool(config.curriculum)
            and config.curriculum[0].start == 0
            and all(a.start < b.start < 1 for a, b in zip(config.curriculum, config.curriculum[1:], strict=False)),
            "phases whose starts rise from 0 and stay below 1",
        ),
        (
            "curriculum.level",
            [phase.level for phase in config.curriculum],
            shape.output == "magnitude_advance" or not any(phase.level for phase in config.curriculum),
            f"0 in each phase with representation.output={shape.output}",
        ),
        (
            "curriculum.back_translation",
            [phase.back_translation for phase in config.curriculum],
            all(0 <= phase.back_translation <= 1 for phase in config.curriculum),
            "0 to 1 in each phase",
        ),
    ]
    for field, value, holds, accepted in rules:
        if not holds:
            raise AstError(f"{field}: found {value!r}, accepted is {accepted}")


def to_dict(config: Config) -> dict:
    """The configuration as nested dictionaries and lists, ready for JSON."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_dict(values: dict) -> Config:
    """The inverse of :func:`to_dict`; every field must be known and of its type.

    Raises:
        AstError: for an unknown field or a wrong type.
    """
    return _build(Config, values, "")


def _build(kind: type, values: dict, path: str):
    hints = typing.get_type_hints(kind)
    if not isinstance(values, dict):
        name = path.rstrip(".") or "configuration"
        raise AstError(f"{name}: found {values!r}, accepted is a table with {', '.join(hints)}")
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise AstError(f"{path}{unknown[0]}: unknown field, accepted are {', '.join(hints)}")
    for field in dataclasses.fields(kind):
        if field.default is dataclasses.MISSING and field.name not in values:
            raise AstError(f"{path}{field.name}: missing, accepted is a value of type {hints[field.name].__name__}")
    return kind(**{name: _convert(hints[name], value, path + name) for name, value in values.items()})


def _convert(hint, value, path: str):
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, path + ".")
    if isinstance(hint, types.GenericAlias):  # tuple[item, ...] or tuple[item, item]
        items = typing.get_args(hint)
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise AstError(f"{path}: found {value!r}, accepted is a list")
        if Ellipsis not in items and len(value) != len(items):
            raise AstError(f"{path}: found {len(value)} values, accepted are {len(items)}")
        return tuple(_convert(items[0], item, f"{path}[{i}]") for i, item in enumerate(value))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise AstError(f"{path}: found {value!r} ({type(value).__name__}), accepted is {hint.__name__}")
    return value


def override(config: Config, *assignments: str) -> Config:
    """A copy with fields set from text such as ``"training.steps=50"``; values are JSON, or plain words.

    Raises:
        AstError: for text without ``=``, an unknown field or a value of the wrong type.
    """
    values = to_dict(config)
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        if not separator:
            raise AstError(f"variant: found {assignment!r}, accepted is field=value, such as training.steps=50")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        *parents, name = path.split(".")
        table = values
        for depth, parent in enumerate(parents):
            table = table.get(parent)
            if not isinstance(table, dict):
                raise AstError(f"{'.'.join(parents[: depth + 1])}: unknown field")
        if name not in table:
            raise AstError(f"{path}: unknown field, accepted are {', '.join(table)}")
        table[name] = value
    return from_dict(values)


def preset(name: str) -> Config:
    """The configuration of a profile.

    ``smoke`` proves in seconds that the code runs; ``quick`` trains in minutes on two CPU cores; ``full`` is what the
    published weights are trained with. ``paper`` is the system of the published code, flaws included, each a field:
    its last training notebook, with the decoder that it evaluates (``SimpleDecoder_TransformerOnly``). Where ours
    differs: the loop (batches rendered, validation by transfer), activations of the decoder (GELU), positions in its
    memory, dropout after each sublayer only, and statistics that count the padding of the last section.

    Raises:
        AstError: for another name.
    """
    if name == "smoke":
        return Config(
            name="smoke",
            data=DataConfig(pieces_per_kind=8, test_pieces=2, validation_pieces=2, test_seconds=2.0),
            model=ModelConfig(
                content_width=64,
                style_width=32,
                decoder_width=64,
                residual_blocks=1,
                encoder_layers=1,
                decoder_layers=1,
            ),
            training=TrainingConfig(steps=8, batch=4, seconds=1.0, warm_up=2, validate_every=4),
        )
    if name == "quick":
        return Config(name="quick")
    if name == "full":
        return Config(
            name="full",
            soundfonts=("TimGM6mb", "FluidR3_GM", "MuseScore_General"),
            soundfont_shares=(2, 1, 1),
            # A little narrower than quick, so that the weights stay below 16 MB in half precision.
            model=ModelConfig(
                content_width=224,
                style_width=96,
                feed_forward=3,
                content_noise=0.6,
                style_noise=0.4,
                align_onsets=True,
                context_weight=0.5,
                discriminator="conv_pooled",
            ),
            loss=LossConfig(log_spectral=0.05, content_energy=5e-3, agreement=0.5, style_spread=5.0, realism=0.1),
            curriculum=(
                Phase("reconstruction", 0.0, 1.0),
                Phase("contrastive", 0.01, 1.0, contrastive=0.05, margin=0.05),
                Phase("hsic", 0.02, 1.0, contrastive=0.05, margin=0.05, hsic=0.05),
                Phase("adversarial", 0.03, 1.0, contrastive=0.05, margin=0.05, hsic=0.05, adversarial=0.15),
                Phase("back-translation", 0.19, 1.0, 0.05, 0.05, 0.05, 0.15, level=0.2, back_translation=0.3),
            ),
            training=TrainingConfig(
                steps=13000,
                learning_rate=8e-4,
                discriminator_rate=2e-3,  # faster than what it judges, so that its verdict is not an old one
                warm_up=200,
                average=0.998,
                gain=4.0,
                decay=40.0,
                slow=0.25,
                room=0.3,
                tuning=0.3,
                another_voice=0.5,
                own_style=False,
                timbre=6.0,
                validate_every=500,
            ),
        )
    if name == "paper":
        return _paper()
    raise AstError(f"profile: found {name!r}, accepted are smoke, quick, full, paper")


def _paper() -> Config:
    epoch = 77  # steps: 614 training clips of each instrument, 8 of each in a batch
    return Config(
        name="paper",
        representation=RepresentationConfig(
            cqt_bins_per_octave=12,
            compression=1.0,
            section_frames=287,
            section_overlap=96,
            join_shift=10,
            input="complex",
            output="complex",
            statistics="per_class",
            denormalise=False,
        ),
        model=ModelConfig(
            content_width=256,
            content_size=256,
            style_width=256,
            style_size=256,
            encoder_layers=4,
            decoder_width=256,
            decoder_layers=4,
            discriminator_width=128,
            token_injection=False,
            encoder="resnet2d",
            discriminator="mlp",
            inference_feedback="hidden",
            input_norm=True,
            head_layers=1,
            dropout=0.1,
            initial_gain=0.2,
            style_fit=0,
        ),
        loss=LossConfig(
            magnitude=0.5,
            phase=0.2,
            content_energy=0.0,
            difference_axes="published",
            margin=2.0,
            margin_form="squared",
            margin_relative=False,
            hsic="published",
            style_help=0.0,
        ),
        curriculum=(
            Phase("reconstruction", 0.0, reconstruction=10.0),
            Phase("contrastive", 0.2, reconstruction=8.0, contrastive=0.5, margin=0.5),
            Phase("hsic", 0.4, reconstruction=5.0, contrastive=0.8, margin=1.0, hsic=0.5),
            Phase("adversarial", 0.6, reconstruction=3.0, contrastive=0.8, margin=1.0, hsic=0.3, adversarial=0.5),
        ),
        regular=Phase("regular", 0.0, reconstruction=5.0, contrastive=0.5, margin=0.5, hsic=1.0, adversarial=0.5),
        training=TrainingConfig(
            steps=100 * epoch,
            seconds=10.0,
            learning_rate=3e-5,
            discriminator_rate=1e-5,
            betas=(0.5, 0.999),
            weight_decay=1e-4,
            warm_up=5 * epoch,
            final_rate=1.0,
            plateau=0.7,
            clip=0.5,
            discriminator_clip=0.5,
            alternate=(5, 3),
            average=0.0,
            precision="32-true",
            equalisation=0.0,
            context_drop=0.0,
            context_null=0.0,
            context_own=0.0,
            context_noise=0.0,
            validate_every=epoch,
        ),
    )
