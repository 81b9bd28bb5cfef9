// The page: a recording and a choice in, players and spectrograms of source and result out.
// Nothing but this module and its imports is loaded before the reader asks for a transfer.

import { decode, draw, peak, wav } from "./sound.mjs";

const LONGEST = 300; // seconds of a recording that are used
const STYLE = 30; // seconds of a style clip that are used
const RECORDED = 20; // seconds after which a recording stops by itself
const RATE = 22050; // Hz, of the model
const LEVELS = { cancelled: 0.01, silence: 1e-4 }; // as ast_lib/audio/mono.py; a test compares

const MARKUP = `
<form class="play-form">
  <fieldset class="play-drop">
    <legend>1. A recording</legend>
    <p><label for="play-file">An audio file (you can drop it here):</label>
      <input id="play-file" type="file" accept="audio/*,video/*"></p>
    <p>or <button type="button" class="play-record" aria-pressed="false">Record from the microphone</button></p>
    <p class="play-source" role="status"></p>
  </fieldset>
  <fieldset>
    <legend>2. The sound that it should have</legend>
    <p class="play-targets"></p>
    <p class="play-clip" hidden><label for="play-style">The clip:</label>
      <input id="play-style" type="file" accept="audio/*,video/*"></p>
  </fieldset>
  <p><button type="submit" class="play-start" disabled>3. Transfer</button></p>
  <p><progress class="play-progress" max="1" value="0" hidden aria-label="Progress of the transfer"></progress></p>
  <p class="play-status" role="status"></p>
</form>
<div class="play-sounds"></div>`;

const clock = (seconds) => `${seconds.toFixed(1)} s`;

export function start(root) {
  root.innerHTML = MARKUP;
  const find = (name) => root.querySelector(name);
  const [status, progress, button] = [find(".play-status"), find(".play-progress"), find(".play-start")];
  const state = { source: null, style: null, worker: null, id: 0, addresses: [] };

  for (const [value, text] of [
    ["piano", "piano"],
    ["violin", "violin"],
    ["clip", "that of a clip"],
  ]) {
    const checked = value === "violin" ? "checked" : "";
    find(".play-targets").insertAdjacentHTML(
      "beforeend",
      `<label><input type="radio" name="play-to" value="${value}" ${checked}> ${text}</label> `,
    );
  }
  const target = () => find("input[name=play-to]:checked").value;

  function ready() {
    find(".play-clip").hidden = target() !== "clip";
    button.disabled = progress.hidden === false || !state.source || (target() === "clip" && !state.style);
  }

  async function take(blob, name, kind, seconds) {
    try {
      const { audio, cut } = await decode(await blob.arrayBuffer(), RATE, seconds, LEVELS);
      state[kind] = audio;
      const note = cut ? `; its first ${seconds} s are used` : "";
      (kind === "source" ? find(".play-source") : status).textContent = `${name}, ${clock(audio.length / RATE)}${note}.`;
    } catch {
      state[kind] = null;
      status.textContent = `${name}: this browser cannot decode it. WAV, FLAC, MP3 and M4A usually work.`;
    }
    ready();
  }

  find("#play-file").onchange = ({ target: { files } }) =>
    files.length && take(files[0], files[0].name, "source", LONGEST);
  find("#play-style").onchange = ({ target: { files } }) => files.length && take(files[0], files[0].name, "style", STYLE);
  find(".play-targets").onchange = ready;

  const drop = find(".play-drop");
  drop.ondragover = (event) => event.preventDefault();
  drop.ondrop = (event) => {
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file) take(file, file.name, "source", LONGEST);
  };

  // --- The microphone

  const record = find(".play-record");
  let recorder = null;
  record.onclick = async () => {
    if (recorder) return recorder.stop();
    const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: plain });
    } catch {
      status.textContent = "There is no microphone that this page may use.";
      return;
    }
    const parts = [];
    recorder = new MediaRecorder(stream);
    recorder.ondataavailable = ({ data }) => parts.push(data);
    recorder.onstop = () => {
      stream.getTracks().forEach((track) => track.stop());
      const { mimeType } = recorder;
      recorder = null;
      record.textContent = "Record from the microphone";
      record.setAttribute("aria-pressed", "false");
      take(new Blob(parts, { type: mimeType }), "Your recording", "source", LONGEST);
    };
    recorder.start();
    const running = recorder;
    setTimeout(() => running.state === "recording" && running.stop(), 1000 * RECORDED);
    record.textContent = "Stop recording";
    record.setAttribute("aria-pressed", "true");
  };

  // --- The transfer

  function hear(data) {
    if (data.id !== state.id) return;
    if (data.stage) {
      progress.value = data.share;
      status.textContent = data.stage === "load" ? "Loading the model …" : "Transferring …";
      return;
    }
    progress.hidden = true;
    if (data.error) {
      status.textContent = data.error.includes("transfer.json")
        ? "The files of the player are not part of this copy of the book. The text below says how to build them."
        : `That did not work: ${data.error}`;
    } else {
      const seconds = data.result.length / RATE;
      status.textContent = `${clock(seconds)} of sound in ${clock(data.seconds)}.`;
      show(data.result);
    }
    ready();
  }

  find("form").onsubmit = (event) => {
    event.preventDefault();
    if (!state.worker) {
      state.worker = new Worker(new URL("./worker.mjs", import.meta.url), { type: "module" });
      state.worker.onmessage = ({ data }) => hear(data);
      state.worker.onerror = () => hear({ id: state.id, error: "transfer.json: the worker could not be loaded" });
    }
    progress.hidden = false;
    progress.value = 0;
    const to = target() === "clip" ? state.style : target();
    state.name = target() === "clip" ? "like the clip" : `as ${target()}`;
    state.worker.postMessage({ id: ++state.id, source: state.source, to });
    state.heard = state.source;
    ready();
  };

  // Source and result: equally loud, the same axes, the same colours.
  function show(result) {
    state.addresses.forEach((address) => URL.revokeObjectURL(address));
    state.addresses = [];
    const sounds = find(".play-sounds");
    sounds.replaceChildren();
    const scale = 0.99 / Math.max(peak(state.heard), peak(result), 0.99);
    for (const [title, audio] of [
      ["The recording", state.heard],
      [`The recording ${state.name}`, result],
    ]) {
      const address = URL.createObjectURL(wav(audio, RATE, scale));
      state.addresses.push(address);
      const figure = document.createElement("figure");
      figure.innerHTML = `<figcaption></figcaption><canvas role="img"></canvas><audio controls></audio>`;
      const [caption, canvas, player] = figure.children;
      caption.textContent = title;
      canvas.setAttribute(
        "aria-label",
        `Spectrogram: ${title}, ${clock(audio.length / RATE)} from left to right, 0 to 6 kHz from bottom to top.`,
      );
      draw(canvas, audio, RATE);
      player.src = address;
      player.setAttribute("aria-label", title);
      player.onplay = () => root.querySelectorAll("audio").forEach((other) => other !== player && other.pause());
      sounds.append(figure);
    }
    const link = document.createElement("a");
    link.href = state.addresses[1];
    link.download = `transfer-${target()}.wav`;
    link.textContent = "Save the result as WAV";
    sounds.append(link);
  }
}
