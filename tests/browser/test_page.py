"""The page that plays, in Chromium: its modules against the library, and a reader's way through its form."""

import json
import re

import numpy as np
import pytest
import soundfile
import torch
from models import noise, tone

from ast_lib.audio import levels, mono
from ast_lib.audio.streams import Stream
from ast_lib.evaluation.metrics import lsd
from ast_lib.networks import checkpoint
from ast_lib.representation import Spectrogram, accumulate_phase, bin_rotation, lock_phase, refine_phase
from ast_lib.transfer import latency, tuning
from ast_lib.transfer.pipeline import class_style
from benchmarks import browser as pages

RATE = 22050


@pytest.fixture(scope="module")
def constants(files):
    return json.loads((files / "transfer.json").read_text())


@pytest.fixture(scope="module")
def run(chromium, bare):
    """A function that runs JavaScript with the page's modules as ``m`` and arguments as ``a``; lists become arrays."""
    page = chromium.new_page()
    page.goto(bare)
    names = ("fft", "spectra", "signals", "sound", "model", "transfer")
    loads = ", ".join(f'await import("../_static/play/{name}.mjs")' for name in names)

    def run(body, **arguments):
        lists = {key: np.asarray(x).tolist() if isinstance(x, np.ndarray) else x for key, x in arguments.items()}
        code = f"""async (given) => {{
            const a = {{}};
            for (const [key, value] of Object.entries(given))
                a[key] = Array.isArray(value) && typeof value[0] === "number" ? Float32Array.from(value) : value;
            const m = Object.assign({{}}, {loads});
            const plain = (x) => ArrayBuffer.isView(x) ? Array.from(x) : x;
            const found = await (async () => {{ {body} }})();
            return Array.isArray(found) ? found.map(plain) : plain(found);
        }}"""
        return page.evaluate(code, lists)

    yield run
    page.close()


def chord(seconds, cents=0.0):
    """Three partials that die away, and a second half of faint noise."""
    shift = 2 ** (cents / 1200)
    sound = sum(tone(seconds, hertz * shift) for hertz in (440.0, 554.365, 659.255))
    sound = sound * np.exp(-2 * np.arange(len(sound)) / RATE) + noise(seconds, rms=1e-4)[: len(sound)]
    return sound.astype(np.float32)


# --- Modules


@pytest.mark.parametrize("size", [2, 64, 1024])
def test_fft(run, size):
    x = np.random.default_rng(0).normal(size=(2, size))
    body = """const re = Float64Array.from(a.re), im = Float64Array.from(a.im), f = new m.FFT(re.length);
        f.forward(re, im); const made = [re.slice(), im.slice()]; f.inverse(re, im); return [...made, re, im];"""
    re, im, *back = map(np.array, run(body, re=x[0], im=x[1]))
    given = x.astype(np.float32)
    assert np.allclose(re + 1j * im, np.fft.fft(given[0] + 1j * given[1]), atol=1e-9 * size)
    assert np.allclose(back, given, atol=1e-12)
    with pytest.raises(Exception, match="powers of two"):
        run("new m.FFT(12);")


@pytest.mark.parametrize("samples", [100, 513, 5000, 5121])
def test_stft_and_its_inverse(run, samples):
    audio = noise(samples / RATE)
    body = """const t = new m.Spectrogram(1024, 256), s = t.forward(a.audio);
        return [s.re, s.im, t.inverse(s, a.audio.length)];"""
    re, im, back = map(np.array, run(body, audio=audio))
    wanted = Spectrogram()(torch.from_numpy(audio)[None])[0].numpy().ravel()
    assert np.allclose(re + 1j * im, wanted, atol=2e-5)
    assert np.allclose(back[:samples], audio, atol=1e-6)


def test_phases_are_added_up_and_locked(run):
    random = torch.Generator().manual_seed(0)
    magnitude = torch.rand(1, 9, 513, generator=random)
    cosine, sine = torch.randn(2, 1, 9, 513, generator=random)
    body = """const s = m.empty(9, 513), last = new Float64Array(513), r = m.binRotation(1024, 256);
        const given = [a.magnitude, a.cosine, a.sine], part = (x, from, to) => x.subarray(513 * from, 513 * to);
        for (const [from, to] of [[0, 4], [4, 9]])
            m.accumulate(s, from, to - from, ...given.map((x) => part(x, from, to)), r, last, from > 0);
        m.lockPhase(s); return [s.re, s.im];"""
    arrays = {"magnitude": magnitude, "cosine": cosine, "sine": sine}
    re, im = map(np.array, run(body, **{key: x.numpy().ravel() for key, x in arrays.items()}))
    phase = accumulate_phase(torch.complex(cosine, sine), bin_rotation(1024, 256))
    wanted = lock_phase(torch.polar(magnitude, phase)).numpy().ravel()
    assert np.allclose(re + 1j * im, wanted, atol=1e-4)


def test_griffin_lim(run):
    """In windows of 40 frames, which give what the whole gives."""
    stft = Spectrogram()(torch.from_numpy(noise(1.5))[None])
    stft = torch.polar(stft.abs(), 6.28 * torch.rand(stft.shape, generator=torch.Generator().manual_seed(0)))
    samples = round(1.5 * RATE)
    body = """const s = { re: a.re, im: a.im, frames: a.frames, bins: 513 };
        return m.refine(new m.Spectrogram(1024, 256), s, a.samples, 4, 40);"""
    parts = {"re": stft.real.numpy().ravel(), "im": stft.imag.numpy().ravel()}
    found = np.array(run(body, **parts, frames=stft.shape[1], samples=samples))
    assert np.allclose(found, refine_phase(Spectrogram(), stft, samples, 4)[0].numpy(), atol=1e-4)


def test_a_resampled_tone_is_a_tone(run):
    """Down to 0.9 of the new Nyquist frequency it keeps its level; above, nothing is left of it."""
    inside = slice(2000, -2000)
    for hertz, level in ((440.0, 1.0), (9000.0, 1.0), (13000.0, 0.0)):
        found = np.array(run("return m.resample(a.x, a.n);", x=tone(1.0, hertz, rate=44100), n=RATE))
        assert len(found) == RATE
        assert np.abs(found - level * tone(1.0, hertz))[inside].max() < 1e-3 * 0.1 + 1e-4


def test_channels(run, constants):
    left, right = chord(0.2) + 0.1, noise(0.2)
    body = "return m.toMono([a.left, a.right], a.levels);"
    found = np.array(run(body, left=left, right=right, levels=constants["levels"]))
    mean = (left + right) / 2
    assert np.allclose(found, mean - mean.mean(), atol=1e-6)
    found = np.array(run(body, left=right, right=-0.95 * right, levels=constants["levels"]))
    assert np.allclose(found, right - right.mean(), atol=1e-6)
    page = (pages.ROOT / "book" / "_static" / "play" / "play.mjs").read_text(encoding="utf-8")
    own = re.search(r"LEVELS = \{ cancelled: (\S+), silence: (\S+) \}", page)
    assert [float(x) for x in own.groups()] == [mono.CANCELLED, mono.SILENCE]


@pytest.mark.parametrize("cents", [-30.0, 0.0, 20.0])
def test_tuning(run, constants, cents):
    sound = chord(4.0, cents)
    body = "return [m.deviation(a.x, 22050, a.tuning), m.inTune(a.x, 22050, a.tuning).length];"
    found, length = run(body, x=sound, tuning=constants["tuning"])
    stream = Stream.of(torch.from_numpy(sound)[None])
    assert found == pytest.approx(tuning.deviation(stream, RATE), abs=0.01) and abs(found - cents) < 3
    assert length == tuning.in_tune(stream, RATE).samples


def test_pauses(run, constants):
    source = np.concatenate([chord(4.0), noise(3.0, seed=1, rms=3e-4), chord(2.1)])
    output = np.concatenate([chord(4.0), noise(3.0, seed=2, rms=3e-2), chord(2.1)])
    body = """const p = (x) => m.framePowers(x, a.levels.frame), g = m.pauseGain(p(a.x), p(a.y), a.levels);
        return [g, m.withGain(a.y, g, a.levels.frame)];"""
    gain, quiet = map(np.array, run(body, x=source, y=output, levels=constants["levels"]))
    wanted = levels.pause_gain(levels.measure([source]).powers, levels.measure([output]).powers)
    assert wanted.min() < 0.1 and np.allclose(gain, wanted, atol=1e-4)
    assert np.allclose(quiet, np.concatenate(list(levels.with_gain([output], wanted))), atol=1e-4)


def test_dynamics(run, constants):
    strokes = np.repeat([0.1, 0.02, 0.06, 0.005], RATE) * np.tile(np.exp(-3 * np.arange(RATE) / RATE), 4)
    source, output = strokes * chord(4.0), chord(4.0) * np.repeat([1.0, 0.9, 1.0, 0.8], RATE)
    body = "const p = (x) => m.framePowers(x, a.levels.frame); return m.dynamicsGain(p(a.x), p(a.y), a.levels);"
    gain = np.array(run(body, x=source, y=output, levels=constants["levels"]))
    wanted = levels.dynamics_gain(levels.measure([source]).powers, levels.measure([output]).powers)
    assert wanted.max() > 1.3 * wanted.min() and np.allclose(gain, wanted, rtol=1e-4)
    flat = np.array(run(body, x=0 * source, y=output, levels=constants["levels"]))
    assert (flat == 1).all()


@pytest.mark.parametrize("samples", [-700, 0, 300])
def test_shift(run, samples):
    sound = noise(0.1)
    wanted = latency.shift(torch.from_numpy(sound)[None], torch.tensor([samples]))[0].numpy()
    assert np.allclose(run("return m.shift(a.x, a.n);", x=sound, n=samples), wanted)


def test_latency_of_a_style(run, constants):
    model = checkpoint.load_weights(checkpoint.PUBLISHED)
    own = class_style(model, "violin")
    body = """const near = Object.assign(Object.create(m.Model.prototype), a.constants);
        return a.styles.map((style) => near.knownLatency(Float32Array.from(style)));"""
    styles = torch.cat([own, own + 100])
    found = run(body, constants=constants, styles=styles.tolist())
    assert found == pytest.approx(latency.known_latency(model, styles).tolist(), abs=1e-6)


def test_windows_are_those_of_the_library(run, constants):
    model = checkpoint.load_weights(checkpoint.PUBLISHED)
    body = """const w = Object.assign(Object.create(m.Model.prototype), a.constants);
        return a.counts.map((count) => w.windows(count));"""
    counts = [1, 63, 64, 65, 112, 113, 500]
    found = run(body.replace("a.counts", json.dumps(counts)), constants=constants)
    assert [[tuple(span) for span in spans] for spans in found] == [model.windows(count) for count in counts]


# --- The page


@pytest.fixture(scope="module")
def opened(chromium, complete):
    """The page with its files, and every address that it asks for."""
    page, asked, errors = chromium.new_page(viewport={"width": 360, "height": 800}), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(complete)
    page.wait_for_selector(".play-form")
    yield page, asked, errors
    page.close()


def test_nothing_is_loaded_before_the_reader_asks(opened):
    page, asked, _ = opened
    assert asked and not [address for address in asked if "/files/" in address]
    assert page.is_disabled(".play-start")


def test_clips_sound_as_the_library_makes_them(opened, tmp_path):
    """Three clips each way: near the library's output, and as near to the truth as that is."""
    page, _, errors = opened
    for rows in pages.compare(page, tmp_path, pages.float32_model()).values():
        assert len(rows) == pages.CLIPS
        for to_library, to_truth, of_library, _ in rows:
            assert to_library <= 0.3 and abs(to_truth - of_library) <= 0.1
    assert errors == []


def test_source_and_result_are_equally_loud_and_shown(opened, tmp_path):
    page, _, _ = opened
    pages.play(page, pages.as_file(tmp_path, "source", chord(1.0))[0], "violin")
    assert page.locator(".play-sounds audio").count() == page.locator(".play-sounds canvas").count() == 2
    body = """async () => Promise.all([...document.querySelectorAll(".play-sounds audio")].map(async (player) => {
        const bytes = await (await fetch(player.src)).arrayBuffer();
        const sound = await new OfflineAudioContext(1, 1, 22050).decodeAudioData(bytes);
        return Math.sqrt(sound.getChannelData(0).reduce((sum, x) => sum + x * x, 0) / sound.length);
    }))"""
    source, result = page.evaluate(body)
    assert source > 0.01 and result == pytest.approx(source, rel=0.01)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_clip_can_be_the_style(opened, tmp_path):
    """The encoder's style of a clip of the violin is not the piano that is heard."""
    page, _, _ = opened
    path, source = pages.as_file(tmp_path, "source", chord(3.0))
    style, _ = pages.as_file(tmp_path, "style", tone(3.0, 660.0))
    made = pages.play(page, path, style)
    assert len(made) == len(source) and lsd(made, source) > 1


def test_sound_at_another_rate_in_two_channels(opened, tmp_path):
    page, _, _ = opened
    left = tone(1.0, 440.0, rate=48000)
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, left / 2], axis=1), 48000)
    made = pages.play(page, tmp_path / "stereo.wav", "violin")
    assert len(made) == RATE and np.sqrt(np.mean(made**2)) == pytest.approx(0.075 / np.sqrt(2), rel=0.02)


def test_silence_and_what_is_no_sound_are_said(opened, tmp_path):
    page, _, _ = opened
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE), RATE)
    with pytest.raises(pages.AstError, match="The recording is silent"):
        pages.play(page, tmp_path / "silence.wav", "piano")
    (tmp_path / "text.wav").write_text("no sound")
    page.set_input_files("#play-file", tmp_path / "text.wav")
    page.wait_for_function("document.querySelector('.play-status').textContent.includes('cannot decode')")
    assert page.is_disabled(".play-start")


def test_nothing_leaves_the_machine(opened, complete):
    """Every request of all these tests went to the site, and none of them sent anything."""
    _, asked, _ = opened
    address = complete.removesuffix("/book/play.html")
    assert [each for each in asked if not each.startswith((address, "blob:" + address))] == []


def test_without_its_files_the_page_says_so(chromium, bare, tmp_path):
    page = chromium.new_page()
    page.goto(bare)
    path, _ = pages.as_file(tmp_path, "source", chord(1.0))
    with pytest.raises(pages.AstError, match="files of the player are not part of this copy"):
        pages.play(page, path, "piano")
    page.close()


def test_from_disk_the_page_says_how_to_serve_it(chromium, tmp_path):
    pages.lay_out(tmp_path / "site", None)
    page = chromium.new_page()
    page.goto((tmp_path / "site" / "book" / "play.html").as_uri())
    assert "make serve" in page.text_content("#play-needs") and page.is_visible("#play-needs")
    page.close()
