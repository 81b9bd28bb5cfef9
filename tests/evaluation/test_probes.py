"""Probes on codes whose content is known: what can be read is read, what cannot stays at chance, no piece leaks."""

import numpy as np
import pytest
import torch
from models import made_pieces, tiny, tone, untrained

from ast_lib.data.clips import PairedClip, paired_clips
from ast_lib.data.scores import Notes
from ast_lib.data.synth import shared_synth
from ast_lib.errors import AstError
from ast_lib.evaluation.probes import disentanglement, encode, probe, shuffled_clips
from ast_lib.transfer.one_shot import fit_styles

RANDOM = np.random.default_rng(0)
PIECES = np.repeat([f"piece {i}" for i in range(20)], 30)
LABELS = np.tile([0, 1], 300)
NOISE = RANDOM.normal(size=(600, 6))


def test_a_code_that_holds_the_label_is_read_and_noise_is_not():
    plain = NOISE.copy()
    plain[:, 0] += 8 * LABELS
    found = probe(plain, LABELS, PIECES)
    assert (found["accuracy"] > 0.99).all() and (found["chance"] == 0.5).all()
    nothing = probe(NOISE, LABELS, PIECES)
    assert (nothing["low"] - 0.03 < 0.5).all() and (nothing["high"] + 0.03 > 0.5).all()
    assert (nothing["low"] <= nothing["accuracy"]).all() and (nothing["accuracy"] <= nothing["high"]).all()


def test_the_stronger_probe_comes_first():
    """Exclusive or: no line separates it."""
    signs = RANDOM.choice([-1, 1], size=(600, 2))
    found = probe(signs + 0.1 * NOISE[:, :2], (signs.prod(axis=1) > 0).astype(int), PIECES)
    assert found["probe"].tolist() == ["perceptron", "logistic"]
    assert found["accuracy"][0] > 0.95 and found["accuracy"][1] < 0.65


def test_what_only_identifies_the_piece_is_worth_nothing():
    """The label is a coin thrown for each piece: known pieces would give it away, new ones cannot."""
    coin, mark = RANDOM.permutation(np.repeat([0, 1], 10)), 5 * RANDOM.normal(size=(20, 6))
    piece = np.repeat(np.arange(20), 30)
    found = probe(mark[piece] + 0.1 * NOISE, coin[piece], PIECES)
    assert (found["accuracy"] < 0.85).all()


def test_rare_labels_count_as_much_as_frequent_ones():
    rare = (RANDOM.uniform(size=600) < 0.1).astype(int)
    assert probe(NOISE, rare, PIECES)["accuracy"].between(0.35, 0.65).all()


def test_labels_of_any_kind_and_number():
    names = np.array(["a", "b", "c"])[np.arange(600) % 3]
    found = probe(np.eye(3)[np.arange(600) % 3], names, PIECES)
    assert (found["accuracy"] == 1).all() and found["chance"].to_list() == pytest.approx([1 / 3] * 2)


@pytest.mark.parametrize(("labels", "pieces"), [(np.zeros(600), PIECES), (LABELS, ["one"] * 600)])
def test_one_label_or_one_piece_is_refused(labels, pieces):
    with pytest.raises(AstError, match="accepted are 2 or more of both"):
        probe(NOISE, labels, pieces)


# --- Codes of clips


@pytest.fixture(scope="module")
def model():
    return untrained(tiny())


def test_codes_are_those_of_the_model_in_the_order_of_the_instruments(model):
    clips = paired_clips(made_pieces(2), ("piano", "violin"), 1.0, 0, shared_synth())
    codes = encode(model, clips, batch=3)
    assert codes["content"].shape[0] == 8 and codes["style"].shape == (8, model.config.model.style_size)
    assert codes["instrument"].tolist() == ["piano"] * 4 + ["violin"] * 4
    assert codes["piece"].tolist() == [clip.piece for clip in clips] * 2
    features = model.representation(torch.from_numpy(clips[1].audio["violin"])[None])
    with torch.no_grad():
        content, style = model.encode_content(features)[0].numpy(), model.encode_style(features)[0].numpy()
    np.testing.assert_allclose(codes["content"][5], content, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(codes["style"][5], style, rtol=1e-3, atol=1e-4)
    fitted = fit_styles(model, features, torch.from_numpy(style)[None], model.config.model.style_fit)[0]
    np.testing.assert_allclose(codes["style_fitted"][5], fitted, rtol=1e-3, atol=2e-3)
    assert np.abs(codes["style_fitted"] - codes["style"]).max(axis=1).min() > 0.1
    assert (codes["pitch"][[0, 1, 4, 5]] >= 0).any(axis=1).all()
    assert (codes["pitch"][[2, 3, 6, 7]] == -1).all()  # duets have no single pitch


def test_the_pitch_of_a_section_is_that_of_the_note_in_its_middle(model):
    audio = {name: tone(1.0) for name in ("piano", "violin")}
    notes = Notes(np.array([0.0, 0.5]), np.array([0.25, 0.5]), np.array([60, 73]), np.array([80, 80]))
    pitch = encode(model, [PairedClip("x", "fiddle", notes, audio)])["pitch"]
    middles = (np.arange(pitch.shape[1]) * 4 + 1.5) * 256 / 22050
    expected = np.where(middles < 0.25, 60, np.where(middles < 0.5, -1, np.where(middles < 1.0, 73, -1)))
    assert pitch.tolist() == [expected.tolist()] * 2


def test_disentangled_and_entangled_codes_are_told_apart():
    clips, sections = 80, 10
    instrument = np.tile(["piano", "violin"], clips // 2)
    pitch = RANDOM.integers(60, 63, size=(clips, sections))
    content = np.concatenate([np.eye(3)[pitch - 60], 0.1 * RANDOM.normal(size=(clips, sections, 3))], axis=2)
    codes = {
        "content": content,
        "style": np.eye(2)[(instrument == "violin").astype(int)] + 0.1 * RANDOM.normal(size=(clips, 2)),
        "style_fitted": np.repeat(pitch[:, :1] == 60, 2, axis=1) + 0.1 * RANDOM.normal(size=(clips, 2)),
        "instrument": instrument,
        "piece": np.repeat([f"piece {i}" for i in range(20)], 4),
        "pitch": pitch,
    }
    found = disentanglement(codes).groupby(["read", "code"])["accuracy"].max()
    assert found["instrument", "style"] == 1 and found["pitch_class", "content"] == 1
    assert found["instrument", "content"] < 0.6 and found["instrument", "content_pooled"] < 0.75
    assert found["pitch_class", "style"] < 0.45  # of three pitches
    assert found["instrument", "style_fitted"] < 0.75
    shuffled = disentanglement(codes).set_index(["read", "code"])["shuffled"]
    assert shuffled.drop(("pitch_class", "style")).isna().all()
    assert found["pitch_class", "style"] <= shuffled["pitch_class", "style"].max() < 0.6
    telling = np.tile(np.eye(3)[pitch[:40, 0] - 60], (2, 1)) + 0.01 * RANDOM.normal(size=(clips, 3))
    same = np.tile(pitch[:40, :1], (2, sections))  # the same pitch throughout a clip, on both instruments
    leaking = disentanglement(codes | {"style": telling, "pitch": same}).set_index(["read", "code"])
    row = leaking.loc[("pitch_class", "style")].iloc[0]
    assert row["accuracy"] == 1 and row["shuffled"] < 0.7
    entangled = disentanglement(codes | {"content": content + (instrument == "violin")[:, None, None]})
    assert entangled.groupby(["read", "code"])["accuracy"].max()["instrument", "content"] > 0.95


def test_shuffled_clips_change_places_among_those_that_may():
    order = shuffled_clips(np.array([1, 3, 4, 6]), 8, np.random.default_rng(0))
    assert sorted(order) == list(range(8)) and order[[0, 2, 5, 7]].tolist() == [0, 2, 5, 7]
    assert order.tolist() != list(range(8))
