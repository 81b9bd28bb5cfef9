"""Back-translation: a batch in; the same batch, some of whose clips are heard as the model plays them elsewhere, out.

Chapter: ``notebooks/11_training.md``. What the model makes of a piano clip on the violin is an imperfect violin clip
whose piano version is known: a pair, though no piece was ever rendered on both. Source: Sennrich, Haddow and Birch,
"Improving neural machine translation models with monolingual data" (2016); between unpaired languages, Lample et al.
(2018).
"""

import dataclasses
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ast_lib.audio.levels import normalise_rms
from ast_lib.processes import Part
from ast_lib.training.batches import Batch, Translation
from ast_lib.training.groups import group_styles

if TYPE_CHECKING:
    from ast_lib.training.objective import Objective


def back_translate(objective: "Objective", batch: Batch, share: float, random: torch.Generator) -> Batch:
    """A share of the clips heard as the model itself plays them on another instrument; their targets stay the truth.

    Args:
        objective: whose model is taken as it is, without context for the decoder.
        batch: the clips.
        share: of the global batch that is changed, to the nearest clip.
        random: source of chance of this step.

    Returns:
        the batch with other ``heard``, ``heard_labels`` and ``translation``. Nothing is learned through ``heard``.
    """
    config, model, part = objective.config, objective.model, objective.part
    chosen, weight = choose(len(batch.labels), share, random, part)
    if not len(chosen):
        return batch
    with torch.set_grad_enabled(torch.is_grad_enabled() and config.loss.realism > 0):
        styles = part.gather(objective.noisy(objective.styles(batch), config.model.style_noise, random))
        labels, groups, heard_by = (part.gather(each) for each in (batch.labels, batch.groups, batch.heard_labels))
        # A clip whose style is taken: any of another instrument than is heard, which a balanced batch always has.
        instrument = torch.where(heard_by < 0, heard_by, heard_by % len(config.instruments))
        other = (instrument[:, None] != labels % len(config.instruments)).float()
        giver = part.own(torch.multinomial(other.cpu(), 1, generator=random)[:, 0])[chosen].to(labels.device)
        chosen, voices = chosen.to(labels.device), labels[giver]
        heard, style = batch.heard.take(chosen), group_styles(styles, groups, own=True)[giver]
        content = model.content_encoder(model.encoder_input(heard))
        # Noise is sampled for every clip of the batch: which clips are chosen must not move another process's chance.
        everyone = content.new_zeros(len(batch.labels), *content.shape[1:])
        sent = content + objective.noisy(everyone, config.model.content_noise, random)[chosen]
        nothing = torch.zeros(content.shape[:2], dtype=torch.bool, device=content.device)
        prediction = model.decoder(model.target(heard), nothing, sent, style).float()
    translation = Translation(chosen, content.detach().float(), prediction.magnitude, voices, weight)
    batch = dataclasses.replace(batch, translation=translation)
    if weight == 0:
        return batch
    with torch.no_grad(), torch.autocast(content.device.type, enabled=False):
        # Its audio at RMS 0.07, as anybody would hear it.
        stft = model.to_stft(prediction, batch.frames)
        audio = model.representation.spectrogram.invert(stft, (batch.frames - 1) * config.representation.hop)
        heard = batch.heard.put(chosen, model.representation(normalise_rms(audio)))
    return dataclasses.replace(batch, heard=heard, heard_labels=batch.heard_labels.index_put((chosen,), voices))


def choose(clips: int, share: float, random: torch.Generator, part: Part) -> tuple[Tensor, float]:
    """Which of a process's clips are changed ``(n,)``, and the weight of a mean over them in the mean over processes.

    None, with the weight 0, where the share of the global batch is less than half a clip. A process without a clip
    changes its first one with the weight 0: all processes exchange the same things.
    """
    everywhere = torch.zeros(clips * part.count, dtype=torch.bool)
    everywhere[torch.randperm(clips * part.count, generator=random)[: round(share * clips * part.count)]] = True
    if not everywhere.any():
        return torch.zeros(0, dtype=torch.long), 0.0
    own = part.own(everywhere)
    chosen = own.nonzero()[:, 0] if own.any() else torch.zeros(1, dtype=torch.long)
    return chosen, int(own.sum()) * part.count / int(everywhere.sum())
