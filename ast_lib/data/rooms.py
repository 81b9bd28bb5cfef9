"""Recordings in random rooms: reverberation and a floor of noise.

Chapters: ``notebooks/11_training.md`` (the content encoder hears some clips so), ``notebooks/12_evaluation.md`` (the
listener does, too), ``notebooks/16_your_own.md``.
"""

import torch
from torch import Tensor

from ast_lib.processes import ALONE, Part


def record_in_room(
    audio: Tensor, sample_rate: int, share: float, generator: torch.Generator, part: Part = ALONE
) -> Tensor:
    """Some clips as if recorded in a random room: reverberation (decay of 60 dB in 0.2 to 1.2 s) and a floor of noise.

    Args:
        audio: ``(B, samples)``.
        sample_rate: Hz.
        share: probability of each clip to be changed.
        generator: on the CPU, whatever the device of the audio.
        part: which clips of the global batch these are.

    Returns:
        ``(B, samples)``, each clip at the root mean square it had.
    """
    clips, samples = audio.shape
    uniform = part.draw(torch.rand, clips, 4, generator=generator)
    decay, wet = 0.2 + uniform[:, 1] ** 2, 0.3 * uniform[:, 2]
    noise_level = 10 ** (-(25 + 45 * uniform[:, 3]) / 20)  # 25 to 70 dB below the signal
    time = torch.arange(int(1.2 * sample_rate), device=audio.device) / sample_rate
    response = part.draw(torch.randn, clips, len(time), generator=generator).to(audio)
    response = response * 10 ** (-3 * time / decay.to(audio)[:, None])
    response = wet.to(audio)[:, None] * response / response.norm(dim=1, keepdim=True)
    response[:, 0] += 1
    length = samples + len(time)
    spectrum = torch.fft.rfft(audio, length) * torch.fft.rfft(response, length)
    changed = torch.fft.irfft(spectrum, length)[:, :samples]
    level = audio.square().mean(dim=1, keepdim=True).sqrt()
    changed = changed + noise_level[:, None].to(audio) * level * part.noise(audio, generator)
    changed = changed * (level / changed.square().mean(dim=1, keepdim=True).sqrt().clamp_min(1e-8))
    return torch.where((uniform[:, :1] < share).to(audio.device), changed, audio)
