"""NMF mosaicing: its update against what it minimises, its restrictions, and a corpus that has the answer."""

import numpy as np
import pytest
import torch
from made_sounds import scale
from models import noise

from ast_lib.errors import AstError
from ast_lib.evaluation import metrics
from ast_lib.representation import Spectrogram
from benchmarks.rivals.mosaicing import activations, mosaic

SPECTROGRAM = Spectrogram(2048, 1024)
FREE = {"repetition": 0, "polyphony": 10**6, "continuity": 0}


def table(rows, columns, seed):
    return torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed)) + 0.01


def divergence(magnitude, found):
    return (magnitude * (magnitude / found).log() - magnitude + found).sum()


def test_without_restrictions_every_iteration_brings_the_divergence_down():
    magnitude, templates = table(6, 20, 0), table(4, 20, 1)
    fits = [divergence(magnitude, activations(magnitude, templates, n, **FREE) @ templates) for n in (1, 2, 5, 50)]
    assert fits == sorted(fits, reverse=True)


def test_known_activations_are_found_again():
    templates, known = table(3, 40, 0), torch.tensor([[1.0, 0, 0], [0, 2, 0], [0.5, 0, 3]])
    found = activations(known @ templates, templates, 2000, **FREE)
    torch.testing.assert_close(found, known, rtol=0.02, atol=0.02)


def test_the_last_iteration_leaves_no_more_templates_than_allowed():
    """What is beyond the polyphony is scaled by 0 in the end; with continuity, (6) would spread it once more."""
    magnitude, templates = table(30, 40, 0), table(50, 40, 1)
    found = activations(magnitude, templates, 20, repetition=0, polyphony=3, continuity=0)
    assert ((found > 0).sum(dim=1) == 3).all()


def test_the_last_iteration_leaves_no_repetition():
    found = activations(table(30, 40, 0), table(8, 40, 1), 20, repetition=2, polyphony=10**6, continuity=0) > 0
    for template in found.T:
        assert (np.diff(np.flatnonzero(template.numpy())) > 2).all()


def test_continuity_prefers_templates_in_their_order():
    """Two runs of the same frames, of which one is torn apart: the whole one is chosen."""
    frames = table(8, 60, 0)
    corpus = torch.cat([frames, frames[torch.tensor([3, 7, 1, 5, 0, 4, 2, 6])]])
    found = activations(frames, corpus, 30, repetition=1, polyphony=4, continuity=2)
    assert found[:, :8].diagonal().sum() > 5 * found[:, 8:].sum()


def test_the_source_as_its_own_corpus_comes_back():
    source = torch.from_numpy(scale([60, 67, 64, 72])[0])[None]
    other = torch.from_numpy(scale([61, 66, 71, 62])[0])[None]
    own, foreign = mosaic(SPECTROGRAM, source, source), mosaic(SPECTROGRAM, source, other)
    assert own.shape == source.shape
    assert metrics.chroma_cosine(own[0], source[0]) > 0.98
    assert metrics.lsd(own, source)[0] < 1 < 8 < metrics.lsd(foreign, source)[0]


def test_griffin_lim_keeps_the_notes_and_other_seeds_give_other_mosaics():
    source = torch.from_numpy(scale([60, 67])[0])[None]
    refined = mosaic(SPECTROGRAM, source, source, steps=8)
    assert metrics.chroma_cosine(refined[0], source[0]) > 0.98
    assert torch.equal(refined, mosaic(SPECTROGRAM, source, source, steps=8))
    assert not torch.equal(refined, mosaic(SPECTROGRAM, source, source, steps=8, seed=1))


def test_clips_are_imitated_one_by_one_and_silence_stays_silent():
    source = torch.from_numpy(np.stack([noise(0.3, 0), np.zeros(6615, dtype=np.float32)]))
    corpus = torch.from_numpy(noise(0.4, 2))[None]
    made = mosaic(SPECTROGRAM, source, corpus, iterations=5)
    torch.testing.assert_close(made[:1], mosaic(SPECTROGRAM, source[:1], corpus, iterations=5))
    assert made[1].abs().max() < 1e-6


def test_wrong_tables_and_bad_sound_are_refused():
    good, sound = table(3, 5, 0), torch.from_numpy(noise(0.2))[None]
    for magnitude, templates, iterations in ((good, table(3, 4, 0), 5), (good, good, 0), (good[:0], good, 5)):
        with pytest.raises(AstError, match="magnitude, templates: found"):
            activations(magnitude, templates, iterations)
    with pytest.raises(AstError, match="corpus: found 1 samples that are NaN"):
        bad = sound.clone()
        bad[0, 5] = torch.nan
        mosaic(SPECTROGRAM, sound, bad)
    with pytest.raises(AstError, match="found"):
        mosaic(SPECTROGRAM, sound, sound[:0])
