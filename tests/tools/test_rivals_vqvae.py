"""benchmarks/one_shot_vqvae.py: the codebook by hand, and a few steps of training on made-up pieces."""

import pytest
import torch
from models import differs, made_dataset, noise, tiny, weights

from benchmarks.rivals import one_shot_vqvae
from benchmarks.rivals.one_shot_vqvae import CODES, VQVAE, WIDTH, Quantiser, train, transfer


@pytest.fixture(autouse=True)
def pieces(monkeypatch):
    monkeypatch.setattr(one_shot_vqvae, "build_dataset", lambda config, cache: made_dataset(config))


def batch(*seeds):
    return torch.stack([torch.from_numpy(noise(0.4, seed)) for seed in seeds])


def test_every_vector_becomes_the_nearest_code_and_gradients_pass():
    quantiser = Quantiser().eval()
    quantiser.sums[:] = 2 * torch.arange(CODES)[:, None].float()
    quantiser.counts[:] = 2
    content = torch.tensor([3.4, 7.6, 0.2]).expand(1, WIDTH, 3).clone().requires_grad_()
    codes, commitment = quantiser(content)
    torch.testing.assert_close(codes[0, 0], torch.tensor([3.0, 8, 0]))
    assert commitment.item() == pytest.approx((0.16 + 0.16 + 0.04) / 3, rel=1e-4)
    codes.sum().backward()
    assert torch.equal(content.grad, torch.ones_like(content))


def test_the_codebook_begins_at_what_is_encoded_and_follows_it():
    torch.manual_seed(0)
    quantiser, content = Quantiser(), torch.randn(2, WIDTH, 50)
    first = quantiser(content)[1]
    for _ in range(300):
        quantiser(content + 1)
    assert quantiser(content + 1)[1] < first
    before = quantiser.sums.clone()
    quantiser.eval()(content)
    assert torch.equal(quantiser.sums, before)


@pytest.mark.parametrize("frames", [8, 21, 22, 23, 24])
def test_the_output_has_as_many_frames_as_the_clip(frames):
    found, _ = VQVAE()(torch.rand(2, 513, frames), torch.rand(2, 513, 30))
    assert found.shape == (2, 513, frames) and found.min() >= 0


def test_a_few_steps_of_training_can_be_repeated_and_bring_the_loss_down(tmp_path):
    first, again = (train(tiny(), tmp_path, steps=3) for _ in range(2))
    assert not differs(weights(first), again)
    clips = first.log_magnitude(torch.from_numpy(made_dataset(tiny()).sampler(0).clip))
    losses = [(train(tiny(), tmp_path, steps=steps)(clips, clips)[0] - clips).square().mean() for steps in (3, 30)]
    assert losses[1] < 0.9 * losses[0]


def test_transfer_gives_audio_of_the_length_of_the_source_and_depends_on_the_style(tmp_path):
    model = train(tiny(), tmp_path, seconds=0.0)
    assert not model.training
    made = transfer(model, batch(0), batch(1)[:, :5000])
    assert made.shape == batch(0).shape and torch.isfinite(made).all()
    both = transfer(model, batch(0, 0), batch(1, 2)[:, :5000])
    assert not torch.allclose(both[0], both[1])
