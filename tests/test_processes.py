"""Several processes: parts of a batch that make up the whole, and a training step equal to that of one process."""

import math
import os
import pathlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from models import made_dataset, random_features, tiny, weights

from ast_lib.data.rooms import record_in_room
from ast_lib.errors import AstError
from ast_lib.processes import ALONE, Part, average_gradients, launched
from ast_lib.training import Trainer, augment, saving

# Everything that is random, every loss, and parts (5 clips) that are no multiple of the 2 groups.
CONFIG = tiny(
    "training.steps=2",
    "training.seconds=0.4",
    "training.batch=10",
    "training.domain_randomisation=true",
    "training.third_instruments=0.4",
    "data.performances=8",
    "loss.log_spectral=0.1",
    "training.validate_every=2",
    'curriculum=[{"name": "all", "start": 0.0, "contrastive": 0.1, "margin": 0.1, "hsic": 1.0, "adversarial": 0.5}]',
)
HALVES = (Part(0, 2), Part(1, 2))


def generator():
    return torch.Generator().manual_seed(5)


# --- Parts


def test_the_parts_of_a_batch_are_the_batch():
    sampler = made_dataset(CONFIG).sampler
    whole, halves = sampler(3), [sampler(3, part) for part in HALVES]
    for name, values in whole._asdict().items():
        assert np.array_equal(np.concatenate([getattr(half, name) for half in halves]), values)


@pytest.mark.parametrize("name", ["equalise", "timbre", "ride_fader", "record_in_room", "corrupt_context"])
def test_the_chance_of_a_clip_is_that_of_its_place_in_the_global_batch(name):
    features, shape = random_features(CONFIG, 6, 3), CONFIG.representation
    audio = torch.randn(6, 500, generator=generator())
    own = features.stft_magnitude + 1

    def changed(part):
        clips = features.take(part.own(torch.arange(6)))
        if name == "equalise":
            return augment.equalise(clips, shape, 5.0, generator(), part=part).stft_magnitude
        if name == "timbre":
            return augment.equalise(clips, shape, 5.0, generator(), 4, part).stft_magnitude
        if name == "ride_fader":
            return augment.ride_fader(part.own(audio), 400, 10.0, generator(), part)
        if name == "record_in_room":
            return record_in_room(part.own(audio), 22050, 0.8, generator(), part)
        return augment.corrupt_context(clips.stft_magnitude, part.own(own), generator(), part)[0]

    torch.testing.assert_close(torch.cat([changed(part) for part in HALVES]), changed(ALONE))


def test_noise_is_normal_and_each_clips_own():
    like = torch.zeros(3, 40, 1000)
    noise = ALONE.noise(like, generator())
    assert noise.mean().abs() < 0.01 and noise.std().item() == pytest.approx(1, abs=0.01)
    assert torch.corrcoef(noise.flatten(1)).fill_diagonal_(0).abs().max() < 0.02
    assert torch.equal(Part(2, 3).noise(like[:1], generator())[0], noise[2])


def test_one_process_gathers_and_averages_nothing():
    network = torch.nn.Linear(2, 1)
    network(torch.ones(1, 2)).sum().backward()
    before = network.weight.grad.clone()
    average_gradients(network, ALONE)
    assert torch.equal(network.weight.grad, before) and ALONE.gather(before) is before


# --- Launchers


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, {"devices": 1, "num_nodes": 1}),
        ({"LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "8"}, {"devices": 4, "num_nodes": 2}),  # torchrun
        ({"LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "2", "LT_DEVICES": "0,1"}, {"devices": "auto", "num_nodes": 1}),
    ],
)
def test_processes_are_those_that_a_launcher_started(monkeypatch, environment, expected):
    for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE", "LT_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert launched() == expected


# --- A step of two processes


def observed() -> dict:
    """Gradients, not clipped, and weights after a step in the last phase, the same for any processes."""
    torch.set_num_threads(1)
    run = Trainer(CONFIG, made_dataset(CONFIG), "cpu")
    gradients = run._gradients
    run._gradients = lambda network, loss, clip: gradients(network, loss, math.inf)
    # The phase loss has the gradient 1 / |u|: a direction u near 0, as before training, would magnify every rounding.
    torch.nn.init.ones_(run.model.decoder.head.bias)
    run.step = 1
    before = weights(run.model)
    logged = run.train_step(run.batch(1))
    found = {"logged": logged, "heard": run.part.gather(run.batch(1).heard_labels)}
    found["muon"] = [name for name, value in run.model.named_parameters() if value in run.generator_optimizers[1].state]
    for name in ("model", "discriminator"):
        network = getattr(run, name)
        found[f"{name} gradients"] = {key: value.grad for key, value in network.named_parameters()}
        found[f"{name} weights"] = network.state_dict()
    found["steps"] = {name: (value - before[name]).norm() for name, value in run.model.state_dict().items()}
    return found


def launch(command: list[str], script: str, folder: pathlib.Path) -> subprocess.CompletedProcess:
    """Run a script with a launcher's command, on one thread a process."""
    path = folder / "run.py"
    path.write_text(
        f"import sys\nsys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})\n" + textwrap.dedent(script)
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-m", *command, str(path)], env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    script = f"""
        import pathlib, torch
        from test_processes import CONFIG, Trainer, made_dataset, observed
        found = observed()
        rank = torch.distributed.get_rank()
        torch.save(found, {str(folder)!r} + f"/{{rank}}.pt")
        run = Trainer(CONFIG, made_dataset(CONFIG), "cpu")
        run.fit({str(folder)!r} + "/run", progress=False)
        run.step = 1
        batch = run.batch(1)
        if rank == 1:
            batch.features.stft_magnitude[0, 0, 0, 0] = float("nan")
        run.train_step(batch)
    """
    done = launch(["torch.distributed.run", "--standalone", "--nproc_per_node=2"], script, folder)
    return folder, done


def test_two_processes_learn_what_one_does_from_the_same_global_batch(two_processes):
    folder, done = two_processes
    assert (folder / "0.pt").is_file(), done.stderr
    threads = torch.get_num_threads()
    expected = observed()
    torch.set_num_threads(threads)
    first, second = (torch.load(folder / f"{rank}.pt") for rank in (0, 1))
    # Clips of no voice, and not as many in both parts.
    assert [(part < 0).sum().item() for part in expected["heard"].split(5)] == [1, 3]
    assert torch.equal(first["heard"], expected["heard"]) and expected["muon"]
    for name in ("model", "discriminator"):
        for key, gradient in expected[f"{name} gradients"].items():
            found = first[f"{name} gradients"][key]
            # Rounding alone is about 1e-6; quiet bins magnify it. The discriminator
            # hears styles of encoders that Muon has moved, whose half precision magnifies it more.
            near = 1e-4 if name == "model" else 1e-2
            assert (found - gradient).norm() <= near * gradient.norm() + 1e-8, (name, key)
            assert torch.equal(found, second[f"{name} gradients"][key]), (name, key)
        for key, weight in expected[f"{name} weights"].items():
            found, gradient = first[f"{name} weights"][key], expected[f"{name} gradients"].get(key)
            if name == "model" and key in expected["muon"]:
                # Muon stretches all directions of a gradient to one length, those of rounding too, in half precision.
                assert (found - weight).norm() <= 0.1 * expected["steps"][key], key
            elif gradient is not None:
                # Adam's first step has one length for all: where a gradient is rounding alone, so is its sign.
                sure = gradient.abs() > 10 * near * gradient.abs().max()
                torch.testing.assert_close(found[sure], weight[sure], rtol=1e-5, atol=1e-6, msg=f"{name} {key}")
            assert torch.equal(found, second[f"{name} weights"][key])
    # The adversarial loss is the small difference of two logarithms of about 1: their rounding stays.
    assert first["logged"] == second["logged"] == pytest.approx(expected["logged"], rel=1e-4, abs=1e-4)


def test_a_run_of_two_processes_is_that_of_one_and_is_saved_once(two_processes, tmp_path):
    folder, done = two_processes
    run = Trainer(CONFIG, made_dataset(CONFIG), "cpu")
    saving.resume(run, folder / "run" / "state.pt")
    assert run.step == 2, done.stderr
    alone = Trainer(CONFIG, made_dataset(CONFIG), "cpu")
    alone.fit(progress=False)
    for found, expected in zip(run.history, alone.history, strict=True):
        assert found.keys() == expected.keys()
        for name in found.keys() - {"seconds", "waited", "curriculum"}:
            assert found[name] == pytest.approx(expected[name], rel=0.01, abs=1e-3), name
    assert torch.cosine_similarity(run.average.prototypes, alone.average.prototypes).min() > 0.999


def test_nan_in_one_process_stops_both(two_processes):
    folder, done = two_processes
    assert done.returncode == 1 and "training: the loss magnitude is nan at step 1" in done.stderr
    saved = torch.load(folder / "run" / "stopped.pt", weights_only=True)
    assert saved["step"] == 1


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch):
    monkeypatch.setattr(Fabric, "world_size", 3)
    with pytest.raises(
        AstError, match="training.batch: found 10, accepted are multiples of 3, the number of processes"
    ):
        Trainer(CONFIG, made_dataset(CONFIG), "cpu")
