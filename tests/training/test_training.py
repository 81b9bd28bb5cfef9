"""The trainer: exact resume, who learns from which loss, averages, prototypes, and everything that stops a run."""

import copy
import dataclasses
import math
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import textwrap

import pandas as pd
import pytest
import torch
from models import differs, made_dataset, tiny, weights
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ast_lib.config import TrainingConfig, override, preset
from ast_lib.data import stack_audio
from ast_lib.data.synth import soundfont_path
from ast_lib.errors import AstError
from ast_lib.evaluation.metrics import log_spectral_distance
from ast_lib.networks.decoder import Prediction
from ast_lib.training import batches, objective, saving, validation
from ast_lib.training import trainer as training
from ast_lib.training.augment import equalise
from ast_lib.training.curriculum import learning_rate_factor, loss_weights
from ast_lib.training.trainer import Trainer
from ast_lib.training.validation import STATISTICS_BATCHES, STATISTICS_STEP
from ast_lib.transfer import class_style

CONFIG = tiny("training.steps=8", "training.seconds=0.4", "training.validate_every=2")
LOSSES = ("magnitude", "log_spectral", "phase", "content_energy", "contrastive", "margin", "hsic", "adversarial")


@pytest.fixture(autouse=True)
def one_thread():
    """Sums in the same order, whatever else the machine does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def dataset():
    return made_dataset(CONFIG)


def trainer(dataset, *assignments):
    config = override(CONFIG, *assignments)
    return Trainer(config, dataclasses.replace(dataset, config=config), "cpu")


def without_clock(history):
    return [{name: value for name, value in row.items() if name not in ("seconds", "waited")} for row in history]


@pytest.fixture(scope="module")
def whole_run(dataset):
    """Eight steps in one go: the history and the averaged weights."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run = trainer(dataset)
    average = run.fit(progress=False)
    torch.set_num_threads(threads)
    return run, weights(average)


# --- History


def test_the_history_has_every_step_with_every_loss(whole_run):
    run, _ = whole_run
    frame = run.frame()
    assert frame["step"].tolist() == list(range(8)) and run.step == 8
    assert set(LOSSES) < set(frame.columns)
    assert frame[[*LOSSES, "discriminator", "gradient_norm"]].map(math.isfinite).all(axis=None)
    assert frame["seconds"].is_monotonic_increasing
    phases = ["reconstruction", "hsic", *["adversarial"] * 6]  # of 8 steps, from 0, 0.4, 0.8 and 1.2 on
    assert frame["curriculum"].tolist() == phases
    expected = [CONFIG.training.learning_rate * learning_rate_factor(step, 8, 0, 0.03) for step in range(8)]
    assert frame["learning_rate"].tolist() == pytest.approx(expected)


def test_a_longer_run_warms_up(dataset):
    run = trainer(dataset, "training.steps=36")
    for step in (0, 1, 2, 3):
        run.step = step
        rate = run.train_step(run.batch(0))["learning_rate"]
        assert rate == pytest.approx(CONFIG.training.learning_rate * learning_rate_factor(step, 36, 3, 0.03))
        adamw, muon = run.generator_optimizers
        assert adamw.param_groups[0]["lr"] == rate
        factor = rate / CONFIG.training.learning_rate
        assert muon.param_groups[0]["lr"] == pytest.approx(CONFIG.training.matrix_rate * factor)
        (other,) = run.discriminator_optimizers
        assert other.param_groups[0]["lr"] == pytest.approx(CONFIG.training.discriminator_rate * factor)


def test_transfer_is_measured_when_due_and_at_the_end(dataset, whole_run):
    for column in ("lsd_piano_to_violin", "lsd_violin_to_piano"):
        measured = whole_run[0].frame()[column].notna()
        assert measured.tolist() == [False, True] * 4
    run = trainer(dataset, "training.steps=3")
    run.fit(progress=False)
    assert run.frame()["lsd_piano_to_violin"].notna().tolist() == [False, True, True]


def test_a_run_depends_on_its_seed_alone(dataset, whole_run):
    again, other = trainer(dataset), trainer(dataset, "training.seed=1")
    again.fit(progress=False)
    assert without_clock(again.history)[-1] == without_clock(whole_run[0].history)[-1]
    assert differs(weights(again.model), other.model)


# --- Resume


def test_a_resumed_run_ends_as_if_it_had_never_stopped(dataset, whole_run, tmp_path):
    first = trainer(dataset)
    original = first.train_step

    def interrupted(batch):
        if first.step == 4:
            raise KeyboardInterrupt
        return original(batch)

    first.train_step = interrupted
    with pytest.raises(KeyboardInterrupt):
        first.fit(tmp_path, progress=False)
    second = trainer(dataset)
    average = second.fit(tmp_path, progress=False)
    run, expected = whole_run
    assert without_clock(second.history)[4:] == without_clock(run.history)[4:]  # bit for bit
    assert second.frame().drop(columns=["seconds", "waited"]).equals(run.frame().drop(columns=["seconds", "waited"]))
    assert not differs(expected, average)
    assert second.frame()["seconds"].is_monotonic_increasing
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history.csv", "state.pt", "tensorboard"]


@pytest.mark.parametrize("change", ["training.matrix_rate=0", "training.third_instruments=0.5"])
def test_a_run_is_resumed_exactly_with_one_optimizer_or_two_and_with_third_instruments(dataset, tmp_path, change):
    config = override(CONFIG, change, "training.steps=4")
    whole, first, second = (Trainer(config, made_dataset(config), "cpu") for _ in range(3))
    expected, original = whole.fit(progress=False), first.train_step
    first.train_step = lambda batch: original(batch) if first.step < 2 else 1 / 0
    with pytest.raises(ZeroDivisionError):
        first.fit(tmp_path, progress=False)
    average = second.fit(tmp_path, progress=False)
    assert without_clock(second.history) == without_clock(whole.history)
    assert not differs(weights(expected), average) and not differs(weights(whole.model), second.model)
    assert len(whole.generator_optimizers) == (1 if "matrix" in change else 2)


def test_a_killed_run_is_resumed_from_its_last_state(dataset, whole_run, tmp_path):
    # Killed in the middle of step 5, the next batch being rendered; the last state is that of step 4.
    script = f"""
        import os, signal, sys, torch
        sys.path.insert(0, {str(pathlib.Path(__file__).parents[1])!r})
        from test_training import CONFIG, Trainer, made_dataset
        torch.set_num_threads(1)
        run = Trainer(CONFIG, made_dataset(CONFIG), "cpu")
        original = run.generator_losses
        def killed(batch, step):
            if step == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(batch, step)
        run.generator_losses = killed
        run.fit({str(tmp_path)!r}, progress=False)
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history.csv", "state.pt", "tensorboard"]
    run = trainer(dataset)
    average = run.fit(tmp_path, progress=False)
    assert (
        run.frame().drop(columns=["seconds", "waited"]).equals(whole_run[0].frame().drop(columns=["seconds", "waited"]))
    )
    assert not differs(whole_run[1], average)


def test_a_finished_run_is_not_trained_further(dataset, whole_run, tmp_path):
    run, expected = whole_run
    saving.save(run, tmp_path)
    again = trainer(dataset)
    again.train_step = None
    assert not differs(expected, again.fit(tmp_path, progress=False))
    assert len(again.history) == 8


def test_the_history_on_disk_is_the_runs(whole_run, tmp_path):
    saving.save(whole_run[0], tmp_path)
    lines = (tmp_path / "history.csv").read_text().splitlines()
    assert len(lines) == 9 and lines[0].split(",")[:3] == ["step", "curriculum", "seconds"]


def test_a_state_from_before_a_field_existed_is_continued(dataset, whole_run, tmp_path):
    saving.save(whole_run[0], tmp_path)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    del state["config"]["training"]["fader"]
    torch.save(state, tmp_path / "state.pt")
    run = trainer(dataset)
    saving.resume(run, tmp_path / "state.pt")
    assert run.step == 8


def test_tensorboard_reads_what_pandas_reads(dataset, tmp_path):
    run = trainer(dataset)
    run.fit(tmp_path, progress=False)
    # A run that is stopped and resumed leaves two files of events, read as one run.
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    table = pd.read_csv(tmp_path / "history.csv")
    assert set(events.Tags()["scalars"]) == set(table.columns) - {"curriculum"}
    for name in events.Tags()["scalars"]:
        found, expected = events.Scalars(name), table.set_index("step", drop=False)[name].dropna()
        assert [event.step for event in found] == expected.index.tolist()
        assert [event.value for event in found] == pytest.approx(expected.tolist(), rel=1e-6)


@pytest.mark.parametrize("change", ["training.steps=9", "training.seed=1", "model.depth=2", "loss.phase=0.5"])
def test_a_state_of_another_configuration_is_refused(dataset, whole_run, tmp_path, change):
    saving.save(whole_run[0], tmp_path)
    with pytest.raises(AstError, match=r"state.pt belongs to another configuration"):
        trainer(dataset, change).fit(tmp_path, progress=False)


@pytest.mark.parametrize("other", [{"weights": torch.zeros(1)}, torch.zeros(1), [1]])
def test_another_file_of_tensors_is_no_state(dataset, tmp_path, other):
    torch.save(other, tmp_path / "state.pt")
    with pytest.raises(AstError, match=r"state.pt belongs to another configuration"):
        saving.resume(trainer(dataset), tmp_path / "state.pt")


class Trap:
    """What a malicious state would hold: a pickle that makes a folder when it is loaded."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("kind", ["empty", "noise", "cut", "pickle", "code"])
def test_a_state_that_is_none_is_refused_and_runs_no_code(dataset, whole_run, tmp_path, kind):
    path = tmp_path / "state.pt"
    if kind == "cut":
        saving.save(whole_run[0], tmp_path)
        path.write_bytes(path.read_bytes()[:5000])
    elif kind == "code":
        torch.save(Trap(str(tmp_path / "sprung")), path)
    else:
        trap = pickle.dumps(Trap(str(tmp_path / "sprung")), protocol=2)
        path.write_bytes({"empty": b"", "noise": b"no state" * 50, "pickle": trap}[kind])
    with pytest.raises(AstError, match=r"state.pt is not a readable state"):
        trainer(dataset).fit(tmp_path, progress=False)
    assert not (tmp_path / "sprung").exists()


def test_a_disk_that_fills_up_leaves_the_earlier_state(whole_run, tmp_path, monkeypatch):
    saving.save(whole_run[0], tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(AstError, match="could not be written: No space left on device"):
        saving.save(whole_run[0], tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


# --- Losses


def test_statistics_are_those_of_batches_after_the_last_step(dataset):
    """As they were cut, without the timbres of domain randomisation."""
    run = trainer(dataset, "training.domain_randomisation=false")
    features = [run.batch(STATISTICS_STEP + i).features.stft_magnitude for i in range(STATISTICS_BATCHES)]
    torch.testing.assert_close(run.model.stft_mean, torch.cat(features).mean(dim=(0, 1, 2)), rtol=1e-4, atol=1e-5)
    assert STATISTICS_STEP > preset("full").training.steps


def test_the_total_is_the_weighted_sum(dataset):
    losses = {name: torch.tensor(10.0**-index) for index, name in enumerate(LOSSES)}
    config = override(CONFIG, "loss.log_spectral=0.5")
    total = objective.Objective(config, None, None)
    for step in (0, 1, 3, 7):
        weight = loss_weights(CONFIG.curriculum, step, 8)
        expected = 5 * 1 + 0.5 * 0.1 + 0.3 * 0.01 + 1e-3 * 0.001
        for name in ("contrastive", "margin", "hsic", "adversarial"):
            expected += weight[name] * losses[name].item()
        assert total.total(losses, step).item() == pytest.approx(expected)


def test_losses_of_a_step_are_the_same_each_time_and_others_at_another_step(dataset):
    run = trainer(dataset)
    batch = run.batch(0)
    first, again, other = (run.generator_losses(batch, step)[0] for step in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in LOSSES)
    assert not torch.equal(first["magnitude"], other["magnitude"])


def gradients(run, name):
    """Largest gradient that each part of the model gets from one loss."""
    losses, *_ = run.generator_losses(run.batch(0), 0)
    run.model.zero_grad()
    losses[name].backward()
    parts = {"content": run.model.content_encoder, "style": run.model.style_encoder, "decoder": run.model.decoder}
    return {
        part: max((p.grad.abs().max().item() for p in module.parameters() if p.grad is not None), default=0.0)
        for part, module in parts.items()
    }


@pytest.mark.parametrize(
    ("name", "learners"),
    [
        ("magnitude", {"content", "style", "decoder"}),
        ("phase", {"content", "style", "decoder"}),
        ("content_energy", {"content"}),
        ("contrastive", {"style"}),
        ("margin", {"style"}),
        ("hsic", {"content", "style"}),
        ("adversarial", {"content", "style"}),
    ],
)
def test_who_learns_from_a_loss(dataset, name, learners):
    run = trainer(dataset)
    torch.nn.init.normal_(run.model.decoder.head.weight, std=0.1)
    assert {part for part, size in gradients(run, name).items() if size > 0} == learners


def test_gradients_reach_every_parameter_of_the_model_in_the_last_phase(dataset):
    run = trainer(dataset)
    batch = run.batch(0)
    # Several steps, since a single one may replace no token of the context, or all of them.
    for step in range(4, 8):
        losses, *_ = run.generator_losses(batch, step)
        run.objective.total(losses, 7).backward()
    for name, parameter in run.model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_the_adversarial_term_makes_the_discriminator_unsure_of_content(dataset):
    run = trainer(dataset, "training.equalisation=0")
    batch = run.batch(0)

    def entropy():
        with torch.no_grad():
            content = run.model.content_encoder(run.model.encoder_input(batch.features))
            logits = run.discriminator.content_logits(content)
            return torch.distributions.Categorical(logits=logits).entropy().mean().item()

    with torch.no_grad():  # a discriminator that is sure of something
        for parameter in run.discriminator.parameters():
            parameter.mul_(3)
    before = entropy()
    optimizer = torch.optim.SGD(run.model.content_encoder.parameters(), 0.01)
    for _ in range(10):
        losses, *_ = run.generator_losses(batch, 0)
        optimizer.zero_grad()
        losses["adversarial"].backward()
        optimizer.step()
    assert before < math.log(2) - 0.005 and entropy() > before + 0.001


def test_the_decoder_is_to_predict_its_own_clip(dataset):
    # Magnitudes that are predicted exactly have no loss: the target is the clip itself, before equalisation.
    run = trainer(dataset)
    batch = run.batch(0)
    prediction = training.TransferModel(CONFIG).decoder  # a place to hang the true answer on

    def exact(context, keep, content, style):
        advance = batch.features.advance
        return Prediction(run.model.normalise(batch.features.stft_magnitude), advance.real, advance.imag)

    prediction.forward = exact
    run.model.decoder = prediction
    losses, *_ = run.generator_losses(batch, 0)
    assert losses["magnitude"].item() == pytest.approx(0, abs=1e-6)
    assert losses["phase"].item() == pytest.approx(0, abs=1e-5)


def test_a_fixed_batch_is_learnt(dataset):
    run = trainer(dataset, "training.steps=40", "training.learning_rate=0.003")
    batch = run.batch(0)
    before, *_ = run.generator_losses(batch, 0)
    for step in range(40):
        run.step = step
        run.train_step(batch)
    after, *_ = run.generator_losses(batch, 0)
    assert after["magnitude"] < 0.8 * before["magnitude"] and after["phase"] < 0.9 * before["phase"]


# --- Generator and discriminator


def test_each_optimiser_moves_its_own_network_only(dataset):
    run = trainer(dataset)
    moved = []

    def watched(name, step):
        def wrapper(*args, **kwargs):
            before = {part: weights(getattr(run, part)) for part in ("model", "discriminator")}
            result = step(*args, **kwargs)
            moved.append((name, [part for part in before if differs(before[part], getattr(run, part))]))
            return result

        return wrapper

    for name in ("generator", "discriminator"):
        for optimizer in getattr(run, f"{name}_optimizers"):
            optimizer.step = watched(name, optimizer.step)
    run.train_step(run.batch(0))
    assert moved == [("generator", ["model"]), ("generator", ["model"]), ("discriminator", ["discriminator"])]


def test_the_discriminators_step_leaves_no_gradient_on_the_model(dataset):
    run = trainer(dataset)
    before = []
    step = run.generator_optimizers[-1].step

    def note(*args, **kwargs):
        before.extend(parameter.grad.clone() for parameter in run.model.parameters() if parameter.grad is not None)
        return step(*args, **kwargs)

    run.generator_optimizers[-1].step = note
    run.train_step(run.batch(0))
    after = [parameter.grad for parameter in run.model.parameters() if parameter.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_models_gradients_are_clipped_to_the_norm_and_the_discriminators_are_not(dataset, monkeypatch):
    run = trainer(dataset, "loss.phase=1000")
    monkeypatch.setattr(
        run.objective,
        "discriminate",
        lambda *args, original=run.objective.discriminate: [1000 * loss for loss in original(*args)],
    )
    logged = run.train_step(run.batch(0))
    norms = {}
    for name in ("model", "discriminator"):
        parameters = getattr(run, name).parameters()
        norms[name] = torch.stack([p.grad.norm() for p in parameters if p.grad is not None]).norm().item()
    assert logged["gradient_norm"] > 10 and norms["model"] == pytest.approx(CONFIG.training.clip, rel=1e-3)
    assert norms["discriminator"] == pytest.approx(logged["discriminator_gradient_norm"], rel=1e-3)
    assert norms["discriminator"] > 10


# --- Average and prototypes


def test_the_average_follows_its_formula(dataset, monkeypatch):
    monkeypatch.setattr(TrainingConfig, "average", 0.15)
    run = trainer(dataset)
    expected = {name: parameter.detach().clone() for name, parameter in run.model.named_parameters()}
    for step, decay in ((0, 1 / 11), (1, 0.15), (2, 0.15)):  # min(0.15, (step + 1) / (step + 11))
        run.step = step
        run.train_step(run.batch(step))
        for name, parameter in run.model.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * parameter.detach()
    for name, parameter in run.average.named_parameters():
        torch.testing.assert_close(parameter, expected[name], rtol=1e-5, atol=1e-7)


def test_the_average_has_the_statistics_and_no_gradients(dataset):
    run = trainer(dataset)
    assert torch.equal(run.average.stft_mean, run.model.stft_mean)
    assert not any(parameter.requires_grad for parameter in run.average.parameters())


def test_prototypes_are_the_mean_styles_of_their_class(dataset):
    run = trainer(dataset, "training.domain_randomisation=false")
    run.update_prototypes()
    styles = [[], []]
    for index in range(STATISTICS_BATCHES):
        batch = run.batch(STATISTICS_STEP + index)
        with torch.no_grad():
            codes = run.average.encode_style(batch.features)
        for code, label in zip(codes, batch.labels.tolist(), strict=True):
            styles[label].append(code)
    for label in (0, 1):
        torch.testing.assert_close(run.average.prototypes[label], torch.stack(styles[label]).mean(dim=0))
    assert len(styles[0]) == len(styles[1]) == STATISTICS_BATCHES * CONFIG.training.batch // 2


# --- Validation


def test_validation_compares_with_the_true_target(dataset, monkeypatch):
    run = trainer(dataset)
    clips, spectrum = dataset.held_out("validation"), run.model.representation.spectrogram
    # A "transfer" that changes nothing scores what the source itself scores.
    monkeypatch.setattr(validation, "transfer_batch", lambda model, heard, style: spectrum(heard))
    piano, violin = (spectrum(stack_audio(clips, name)) for name in ("piano", "violin"))
    found = run.validate()
    assert found["lsd_piano_to_violin"] == pytest.approx(log_spectral_distance(piano, violin).mean().item())
    assert found["lsd_violin_to_piano"] == pytest.approx(log_spectral_distance(violin, piano).mean().item())
    assert found["lsd_piano_to_violin"] > 5


# --- What stops a run


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_named_and_nothing_is_learnt_from_it(dataset, monkeypatch, value):
    run = trainer(dataset)
    before = {name: weights(getattr(run, name)) for name in ("model", "discriminator", "average")}
    monkeypatch.setattr(objective, "hsic_biased", lambda style, content: style.sum() * value)
    with pytest.raises(AstError, match=rf"training: the loss hsic is -?{value} at step 0"):
        run.train_step(run.batch(0))
    assert not any(differs(before[name], getattr(run, name)) for name in before)


def test_nan_in_the_audio_is_noticed(dataset):
    run = trainer(dataset)
    batch = run.batch(0)
    batch.features.stft_magnitude[0, 0, 0, 0] = float("nan")
    with pytest.raises(AstError, match="training: the loss magnitude is nan at step 0"):
        run.train_step(batch)


def test_a_run_that_fails_keeps_its_last_state(dataset, tmp_path, monkeypatch):
    run = trainer(dataset)
    original = run.generator_losses

    def failing(batch, step):
        losses, *rest = original(batch, step)
        return (losses | {"phase": losses["phase"] * float("nan")} if step == 3 else losses), *rest

    run.generator_losses = failing
    with pytest.raises(AstError, match="the loss phase is nan at step 3"):
        run.fit(tmp_path, progress=False)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["step"] == 2 and all(torch.isfinite(tensor).all() for tensor in state["model"].values())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_is_named_and_nothing_is_learnt_from_it(dataset, monkeypatch, value):
    class Poisoned(torch.autograd.Function):
        """A loss that is fine, with a gradient that is not."""

        @staticmethod
        def forward(ctx, style, content):
            ctx.shapes = style.shape, content.shape
            return style.new_ones(())

        @staticmethod
        def backward(ctx, gradient):
            return tuple(torch.full(shape, value) for shape in ctx.shapes)

    run = trainer(dataset)
    before = {name: weights(getattr(run, name)) for name in ("model", "discriminator", "average")}
    monkeypatch.setattr(objective, "hsic_biased", Poisoned.apply)
    with pytest.raises(AstError, match="training: the gradient of the loss hsic is (nan|inf) at step 0"):
        run.train_step(run.batch(0))
    assert not any(differs(before[name], getattr(run, name)) for name in before)


@pytest.mark.parametrize(("broken", "name"), [(0, "discriminator"), (1, "discriminator_style")])
def test_a_loss_of_the_discriminator_that_is_not_finite_is_named(dataset, monkeypatch, broken, name):
    run = trainer(dataset)
    before = weights(run.discriminator)

    original = run.objective.discriminate

    def failing(*args):
        losses = list(original(*args))
        losses[broken] = losses[broken] * float("nan")
        return losses

    monkeypatch.setattr(run.objective, "discriminate", failing)
    with pytest.raises(AstError, match=f"training: the loss {name} is nan at step 0"):
        run.train_step(run.batch(0))
    assert not differs(before, run.discriminator)


def test_the_step_that_stopped_a_run_shows_the_same_losses(dataset, tmp_path):
    run = trainer(dataset, "training.equalisation=3")
    original, seen = run.train_step, {}

    def poisoned(batch):
        if run.step == 3:
            with torch.no_grad():
                run.model.content_encoder.stem.weight[2, 5] = float("inf")
        return original(batch)

    def watched(batch, step, losses=run.generator_losses):
        seen[step] = losses(batch, step)
        return seen[step]

    run.train_step, run.generator_losses = poisoned, watched
    with pytest.raises(AstError, match=r"training: the loss magnitude is nan at step 3; see .*stopped.pt"):
        run.fit(tmp_path, progress=False)
    saved = torch.load(tmp_path / "stopped.pt", weights_only=True)
    assert saved["step"] == 3 and saved["model"]["content_encoder.stem.weight"].isinf().nonzero().tolist() == [[2, 5]]
    again = trainer(dataset, "training.equalisation=3").replay(tmp_path / "stopped.pt")
    for name, loss in seen[3][0].items():
        torch.testing.assert_close(again[name], loss, rtol=0, atol=0, equal_nan=True)
    # The run goes on from its last state, which knows nothing of the bad weight.
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 2
    with pytest.raises(AstError, match="belongs to another configuration"):
        trainer(dataset).replay(tmp_path / "stopped.pt")


def test_a_full_disk_leaves_no_part_of_a_saved_state(dataset, tmp_path, monkeypatch):
    run = trainer(dataset)
    run.folder = tmp_path
    batch = run.batch(0)
    batch.features.stft_magnitude[0] = float("nan")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(AstError, match=r"stopped.pt: could not be written"):
        run.train_step(batch)
    assert list(tmp_path.iterdir()) == []


def test_a_batch_without_one_of_the_classes_is_refused(dataset):
    run = trainer(dataset)
    batch = run.batch(0)
    with pytest.raises(AstError, match="class 1 is not in the batch"):
        run.train_step(dataclasses.replace(batch, labels=torch.zeros_like(batch.labels)))


def test_silence_is_a_batch_like_any_other(dataset):
    run = trainer(dataset)
    silence = run.model.representation(torch.zeros(4, 4000))
    logged = run.train_step(dataclasses.replace(run.batch(0), features=silence, heard=silence))
    assert all(math.isfinite(value) for value in logged.values())


def test_clips_of_one_section_train(dataset):
    config = override(CONFIG, "training.seconds=0.03")
    run = Trainer(config, made_dataset(config), "cpu")
    batch = run.batch(0)
    assert batch.features.stft_magnitude.shape[1] == 1
    assert all(math.isfinite(value) for value in run.train_step(batch).values())


def test_half_precision_trains_and_keeps_its_weights_in_full(dataset):
    run = trainer(dataset, "training.precision=bf16-mixed", "training.steps=2")
    exact = trainer(dataset, "training.steps=2")
    batch = run.batch(0)
    found, expected = run.generator_losses(batch, 0)[0], exact.generator_losses(batch, 0)[0]
    for name in ("magnitude", "phase", "content_energy"):
        assert found[name].item() == pytest.approx(expected[name].item(), rel=0.02)
    average = run.fit(progress=False)
    assert {parameter.dtype for parameter in average.parameters()} == {torch.float32}
    assert math.isfinite(run.history[-1]["lsd_piano_to_violin"])


def test_only_the_content_encoder_hears_the_room(dataset, monkeypatch):
    for name, value in (("ROOM", 1.0), ("TIMBRE", 0.0)):
        monkeypatch.setattr(batches, name, value)
    run, plain = trainer(dataset, "training.domain_randomisation=true"), trainer(dataset)
    batch = run.batch(3)
    assert torch.equal(batch.features.stft_magnitude, plain.batch(3).features.stft_magnitude)
    assert not torch.allclose(batch.heard.stft_magnitude, batch.features.stft_magnitude, atol=0.05)
    # The same room whenever the step is made.
    assert torch.equal(batch.heard.stft_magnitude, run.batch(3).heard.stft_magnitude)
    heard = []
    run.model.content_encoder.register_forward_pre_hook(lambda module, inputs: heard.append(inputs[0]))
    run.model.style_encoder.register_forward_pre_hook(lambda module, inputs: heard.append(inputs[0]))
    run.generator_losses(batch, 3)
    # The equaliser of a step has a source of chance of its own, not that of the room.
    equalised = equalise(batch.heard, CONFIG.representation, 5.0, torch.Generator().manual_seed(3))
    assert torch.equal(heard[0], run.model.encoder_input(equalised))
    assert torch.equal(heard[1], run.model.encoder_input(batch.features))


def test_every_voice_is_a_class(tmp_path):
    other = tmp_path / "other.sf2"
    other.symlink_to(soundfont_path("TimGM6mb"))
    assignments = (f'soundfonts=["TimGM6mb", "{other}"]', "training.batch=12", "training.steps=1")
    config = override(CONFIG, *assignments)
    run = Trainer(config, made_dataset(config), "cpu")
    # The first soundfont, of the instruments' default voices, counts twice.
    assert run.batch(0).labels.tolist() == [0, 1, 0, 1, 2, 3] * 2
    model = run.fit(progress=False)
    assert model.prototypes.shape == (4, 32) and run.discriminator.style_logits(model.prototypes).shape == (4, 4)
    # Transfer goes to the instrument's default voice, the one on the first soundfont.
    assert torch.equal(class_style(model, "violin")[0], model.prototypes[1])
    assert {name for name in run.history[0] if "lsd" in name} == {"lsd_piano_to_violin", "lsd_violin_to_piano"}


def test_three_instruments(dataset):
    config = override(CONFIG, 'instruments=["piano", "violin", "flute"]', "training.batch=6", "training.steps=1")
    run = Trainer(config, made_dataset(config), "cpu")
    run.fit(progress=False)
    directions = {name for name in run.history[0] if name.startswith("lsd_")}
    assert len(directions) == 6 and "lsd_flute_to_piano" in directions
    assert run.average.prototypes.shape == (3, 32)


def test_training_in_one_call_writes_its_state(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "build_dataset", lambda config, cache: made_dataset(config))
    run = training.train(override(CONFIG, "training.steps=2"), tmp_path / "cache", tmp_path / "run")
    assert run.step == 2 and (tmp_path / "run" / "state.pt").is_file()


def test_a_copy_of_the_configuration_is_what_a_state_is_compared_with(dataset, whole_run, tmp_path):
    saving.save(whole_run[0], tmp_path)
    same = Trainer(copy.deepcopy(CONFIG), dataset, "cpu")
    saving.resume(same, tmp_path / "state.pt")
    assert same.step == 8
