"""The critic: shapes, what it hears, how far, and that it can tell a held note from a dying one."""

import pytest
import torch
from models import tiny

from ast_lib.losses.adversarial import critic_hinge
from ast_lib.networks.critic import BANDS, Critic

CONFIG = tiny("loss.realism=0.1")
SHAPE = CONFIG.representation


def made(seed=0):
    torch.manual_seed(seed)
    return Critic(CONFIG)


def magnitudes(clips, sections=40, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(clips, sections, SHAPE.section_frames, SHAPE.stft_bins, generator=generator)


@pytest.mark.parametrize(("clips", "sections"), [(1, 1), (3, 5)])
def test_every_section_has_a_score(clips, sections):
    assert made()(magnitudes(clips, sections), torch.zeros(clips, dtype=torch.long)).shape == (clips, sections)


def test_the_score_is_that_of_the_voice_asked_for():
    critic, sound = made().eval(), magnitudes(1)
    both = torch.cat([critic(sound, torch.tensor([voice])) for voice in range(len(CONFIG.voices))])
    assert not torch.allclose(both[0], both[1])
    swapped = critic(sound.expand(2, -1, -1, -1), torch.tensor([1, 0]))
    torch.testing.assert_close(swapped, both[[1, 0]])


def test_bands_are_means_over_bins():
    bands = made().bands
    assert bands.shape == (SHAPE.stft_bins, BANDS) and (bands >= 0).all()
    torch.testing.assert_close(bands.sum(dim=0), torch.ones(BANDS))


def test_the_order_of_frames_in_a_section_is_not_heard():
    critic, sound = made().eval(), magnitudes(2)
    voices = torch.tensor([0, 1])
    torch.testing.assert_close(critic(sound.flip(2), voices), critic(sound, voices))


def test_a_score_hears_fifteen_sections_on_either_side():
    critic, sound = made().eval(), magnitudes(1)
    changed = sound.clone()
    changed[:, 20] += 5
    voice = torch.tensor([0])
    difference = (critic(changed, voice) - critic(sound, voice))[0].abs() > 1e-7
    assert difference.nonzero().flatten().tolist() == list(range(5, 36))


def test_scores_grow_at_most_as_steeply_as_their_last_layer():
    # Each normalised layer multiplies a norm by at most about the square root of its kernel's length.
    critic = made()
    for _ in range(50):  # power iterations
        critic(magnitudes(1), torch.tensor([0]))
    for layer in critic.eval().layers[:-1:2]:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, rel=0.02)


def test_it_learns_to_tell_a_held_note_from_a_dying_one():
    critic = made()
    optimizer = torch.optim.AdamW(critic.parameters(), lr=3e-3)
    time = torch.arange(40.0)[:, None, None]
    voices = torch.zeros(8, dtype=torch.long)
    noise = torch.Generator().manual_seed(3)

    def clips(rate):
        return torch.exp(-rate * time) + 0.1 * torch.randn(8, 40, 4, SHAPE.stft_bins, generator=noise)

    for _ in range(60):
        loss = critic_hinge(critic(clips(0.0), voices), critic(clips(0.1), voices))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5
