"""Config: a preset and changed fields in; one checked configuration out, stored with every checkpoint.

Chapters: ``notebooks/11_training.md``, ``notebooks/17_variants.md`` and ``notebooks/14_ablations.md`` (variants). A
preset is a complete :class:`Config`; a variant is one field of it, written ``"model.token_injection=false"`` wherever
text is needed (papermill, the command line) and set with :func:`override`. A field's type is its range. What all
presets share and no ablation varies is a constant (``ClassVar``); the published system,
:mod:`ast_lib.published.config`, has fields for it.
"""

import pathlib
import re
import tomllib
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ast_lib.checked import checked, from_values, override, to_dict
from ast_lib.errors import AstError

__all__ = ["Config", "override", "preset", "to_dict"]

Count = Annotated[int, Field(ge=1, description="a whole number of 1 or more")]
Whole = Annotated[int, Field(ge=0, description="a whole number of 0 or more")]
Positive = Annotated[float, Field(gt=0, description="a number above 0")]
NonNegative = Annotated[float, Field(ge=0, description="a number of 0 or more")]
Share = Annotated[float, Field(ge=0, le=1, description="a number from 0 to 1")]
BelowOne = Annotated[float, Field(ge=0, lt=1, description="a number from 0 to below 1")]
Two = Annotated[int, Field(ge=2, description="a whole number of 2 or more")]


@checked
class DataConfig:
    """Which scores are read and how they are dealt out; or which manifest of recordings."""

    seed: ClassVar[int] = 0  # of the splits and of the held-out performances: the same for every run

    manifest: str = ""  # path (ast_lib.data.manifest); empty: scores are rendered, and the soundfonts count
    pieces_per_kind: Count = 393  # fiddle tunes, and as many chorales (the corpus has 393 usable ones)
    performances: Count = 768  # of each instrument, ten seconds each: as many as the paper's clips
    development_pieces: Two = 40  # held out for choices and for the book's figures, half of each kind
    validation_pieces: Two = 12  # held out for the transfer curve during training
    development_seconds: Positive = 10.0


@checked
class RepresentationConfig:
    """STFT, CQT and sections (:mod:`ast_lib.representation`)."""

    sample_rate: ClassVar[int] = 22050  # Hz
    n_fft: ClassVar[int] = 1024  # samples
    hop: ClassVar[int] = 256  # samples
    cqt_bins_per_octave: ClassVar[int] = 24
    cqt_octaves: ClassVar[int] = 7  # from C1, 32.7 Hz
    compression: ClassVar[float] = 0.3  # exponent of the magnitude

    section_frames: Count = 4  # frames of one section, 46 ms

    @property
    def stft_bins(self) -> int:
        return self.n_fft // 2 + 1

    @property
    def cqt_bins(self) -> int:
        return self.cqt_bins_per_octave * self.cqt_octaves


@checked
class ModelConfig:
    """Sizes of the networks and what they do in transfer (:mod:`ast_lib.networks`)."""

    heads: ClassVar[int] = 4  # of attention
    discriminator_width: ClassVar[int] = 128  # channels
    feed_forward: ClassVar[int] = 3  # width of the decoder's feed-forward layers, in decoder widths
    style_fit: ClassVar[int] = 10  # steps that fit a style to one clip (ast_lib.transfer.one_shot)

    content_width: Count = 256  # channels of the content encoder
    content_size: Count = 64  # values of one section's content c_s
    style_width: Count = 128  # channels of the style encoder
    style_size: Count = 32  # values of z_style
    depth: Count = 3  # layers of the decoder, residual blocks of an encoder; attention layers: one fewer, at least one
    decoder_width: Count = 256  # channels of the decoder
    window: Count = 64  # sections that an encoder or the decoder sees at once, 3 s
    overlap: Whole = 16  # sections that two neighbouring windows share
    align_onsets: bool = True  # of rendered voices: move a source by the difference of its latency and the target's
    context_weight: Share = 0.5  # free-running: weight of the prediction with context against the one without
    token_injection: bool = True  # add the section's content and the style to its token, beside the cross-attention

    @property
    def residual_blocks(self) -> int:
        return self.depth

    @property
    def encoder_layers(self) -> int:
        return max(self.depth - 1, 1)

    @property
    def decoder_layers(self) -> int:
        return self.depth


@checked
class LossConfig:
    """Constants inside the losses and weights that stay; weights that change over time are the curriculum's."""

    magnitude: ClassVar[float] = 5.0  # weight of the L1 error of compressed magnitudes
    temperature: ClassVar[float] = 0.1  # of InfoNCE
    margin: ClassVar[float] = 1.0  # distance of prototypes, in units of their mean norm

    log_spectral: NonNegative = 0.05  # weight of the log-spectral distance in dB: quiet bins count as loud ones do
    phase: NonNegative = 0.3  # weight of the magnitude-weighted circular loss of the phase advance
    content_energy: NonNegative = 1e-3  # weight of the mean square of z_content: bounds the code's scale


@checked
class Phase:
    """One phase of the curriculum: from ``start`` (share of all steps) the losses have these weights.

    ``adversarial`` grows linearly from its value in the phase before to this one over the first half of the phase.
    """

    name: str
    start: BelowOne
    contrastive: NonNegative = 0.0  # InfoNCE of the styles
    margin: NonNegative = 0.0  # between prototypes
    hsic: NonNegative = 0.0  # between style and content
    adversarial: NonNegative = 0.0  # against the discriminator

    reconstruction: ClassVar[float] = 1.0


@checked
class TrainingConfig:
    """Optimisation, and what training does to the clips that it hears."""

    betas: ClassVar[tuple[float, float]] = (0.9, 0.98)  # of AdamW
    weight_decay: ClassVar[float] = 0.01
    clip: ClassVar[float] = 1.0  # largest norm of the gradient
    final_rate: ClassVar[float] = 0.03  # share of the learning rate left at the end of the cosine

    steps: Count = 160
    batch: Count = 16  # clips
    seconds: Positive = 3.0  # of a clip
    learning_rate: Positive = 1e-3  # of encoders and decoder: AdamW
    matrix_rate: NonNegative = 0.01  # of their weight matrices: Muon (ast_lib.training.optimizers); 0: AdamW
    discriminator_rate: Positive = 1e-3  # learning rate of the discriminator
    precision: Literal["32-true", "bf16-mixed"] = "bf16-mixed"  # of lightning-fabric
    equalisation: NonNegative = 5.0  # dB, random smooth equalisation of the content encoder's input
    domain_randomisation: bool = (
        True  # rendered: rooms, timbres (training.augment), players, vibrato, tempi (data.pool)
    )
    fader: NonNegative = 10.0  # dB, random changes of level over time in what the content encoder hears
    third_instruments: Share = 0.75  # of rendered performances: heard on an instrument that is never played
    teacher_forcing: bool = False  # the decoder's context is always the truth, never dropped, noisy or its own
    validate_every: Count = 100  # steps
    seed: Whole = 0

    @property
    def warm_up(self) -> int:
        """Steps over which the learning rate grows."""
        return min(self.steps // 12, 200)

    @property
    def average(self) -> float:
        """Decay of the moving average of the weights, over a twelfth of the run."""
        return max(0.0, 1 - 12 / self.steps)


PRESETS = pathlib.Path(__file__).with_name("presets.toml")
CURRICULUM = (
    Phase("reconstruction", 0.0),
    Phase("contrastive", 0.05, contrastive=0.05, margin=0.05),
    Phase("hsic", 0.1, contrastive=0.05, margin=0.05, hsic=0.05),
    Phase("adversarial", 0.15, contrastive=0.05, margin=0.05, hsic=0.05, adversarial=0.1),
)


@checked
class Config:
    """A complete run. ``name`` is the preset's; ``instruments`` are the classes, in the order of their labels."""

    name: str
    instruments: tuple[str, ...] = ("piano", "violin")
    soundfonts: tuple[str, ...] = ("TimGM6mb",)  # names or paths; the first is the default of each instrument
    data: DataConfig = DataConfig()
    representation: RepresentationConfig = RepresentationConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    curriculum: tuple[Phase, ...] = CURRICULUM
    training: TrainingConfig = TrainingConfig()

    @property
    def soundfont_shares(self) -> tuple[int, ...]:
        """Groups of a batch that each soundfont has per instrument; of several the default one has two."""
        others = 0 if self.data.manifest else len(self.soundfonts) - 1
        return (2 if others else 1, *[1] * others)

    @property
    def groups(self) -> tuple[int, ...]:
        """The voice of each group of a batch of scores."""
        count = len(self.instruments)
        fonts = [font for font, share in enumerate(self.soundfont_shares) for _ in range(share)]
        return tuple(font * count + label for font in fonts for label in range(count))

    @property
    def voices(self) -> tuple[tuple[str, str], ...]:
        """Every instrument on every soundfont: the classes of training, the instruments' default voices first.

        Recordings are one voice an instrument, whoever plays.
        """
        soundfonts = ("recordings",) if self.data.manifest else self.soundfonts
        return tuple((instrument, soundfont) for soundfont in soundfonts for instrument in self.instruments)

    def __post_init__(self):
        for field, holds, accepted in self._relations():
            if not holds:
                raise AstError(f"{field}: found {self._found(field)!r}, accepted is {accepted}")

    def _found(self, field: str) -> object:
        """The value of ``training.steps`` for example; of ``curriculum.start`` those of all phases."""
        value = self
        for name in field.split("."):
            value = [getattr(phase, name) for phase in value] if value is self.curriculum else getattr(value, name)
        return value

    def _relations(self) -> Iterator[tuple[str, bool, str]]:
        """What fields must satisfy together: the name of one, whether it does, and what is accepted."""
        model, training, starts = self.model, self.training, self._found("curriculum.start")
        names = {name for name in self.instruments if re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", name)}
        accepted = "2 or more different names of lower-case letters, digits and underscores"
        yield "instruments", len(names) == len(self.instruments) >= 2, accepted
        different = len(set(self.soundfonts)) == len(self.soundfonts) >= 1
        yield "soundfonts", different, "1 or more different names or paths"
        groups = len(self.instruments) * sum(self.soundfont_shares)
        accepted = f"a multiple of {groups} (groups of clips), with 2 clips or more of each"
        yield "training.batch", training.batch >= 2 * groups and training.batch % groups == 0, accepted
        for name, divisor in (("content_width", 8), ("style_width", 8), ("decoder_width", 2)):
            divisor *= model.heads
            yield f"model.{name}", getattr(model, name) % divisor == 0, f"a multiple of {divisor}"
        yield "model.overlap", model.overlap <= model.window // 2, f"0 to half of model.window ({model.window})"
        weighed = model.context_weight == 1 or not training.teacher_forcing
        yield "model.context_weight", weighed, "1 with training.teacher_forcing"
        if not self.data.manifest:
            yield "training.seconds", training.seconds <= 10, "10 or less, the length of a performance"
            rows = sum(self.soundfont_shares)
            yield "data.performances", self.data.performances >= rows, f"{rows} or more, one for each group"
        rising = starts[:1] == [0] and all(a < b for a, b in zip(starts, starts[1:], strict=False))
        yield "curriculum.start", rising, "of 1 or more phases, rising from 0"


def preset(name: str) -> Config:
    """The configuration of a profile: a table of ``presets.toml``, where it is said what each is for.

    Raises:
        AstError: for another name.
    """
    presets = tomllib.loads(PRESETS.read_text(encoding="utf-8"))
    if name not in presets:
        raise AstError(f"profile: found {name!r}, accepted are {', '.join(presets)}")
    return from_values(Config, {"name": name, **presets[name]})
