// Sounds of the page: files and recordings in, mono audio at the model's rate out; WAV files and pictures of it.

import { resample, toMono } from "./signals.mjs";
import { Spectrogram } from "./spectra.mjs";

const USUAL = 44100; // Hz, at which a file is decoded whose own rate is not known

// The sample rate that the header of a WAV file names, null of any other file.
export function wavRate(bytes) {
  const view = new DataView(bytes);
  const word = (at) => String.fromCharCode(...new Uint8Array(bytes, at, 4));
  if (bytes.byteLength < 44 || word(0) !== "RIFF" || word(8) !== "WAVE") return null;
  for (let at = 12; at + 16 <= bytes.byteLength; at += 8 + view.getUint32(at + 4, true) + (view.getUint32(at + 4, true) % 2)) {
    if (word(at) === "fmt ") return view.getUint32(at + 12, true);
  }
  return null;
}

// A file's bytes to mono audio at `rate`, its first `seconds`. The browser decodes, the page resamples.
export async function decode(bytes, rate, seconds, levels) {
  const own = wavRate(bytes);
  const context = new OfflineAudioContext(1, 1, own >= 8000 && own <= 96000 ? own : USUAL);
  const buffer = await context.decodeAudioData(bytes);
  const length = Math.min(buffer.length, Math.round(seconds * buffer.sampleRate));
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, i) => buffer.getChannelData(i).slice(0, length));
  const mono = toMono(channels, levels);
  return { audio: resample(mono, Math.round((length * rate) / buffer.sampleRate)), cut: length < buffer.length };
}

// Mono audio as a WAV file of 24 bits, whose rounding no spectrum shows; `scale` keeps loud sounds below full scale.
export function wav(audio, rate, scale = 1) {
  const view = new DataView(new ArrayBuffer(44 + 3 * audio.length));
  const word = (at, text) => [...text].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  word(0, "RIFF");
  view.setUint32(4, 36 + 3 * audio.length, true);
  word(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // bytes of the format: PCM, one channel
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 3 * rate, true);
  view.setUint16(32, 3, true);
  view.setUint16(34, 24, true);
  word(36, "data");
  view.setUint32(40, 3 * audio.length, true);
  audio.forEach((value, i) => {
    const limited = Math.min(Math.max(value * scale, -1), 1);
    const whole = Math.round(8388607 * limited);
    view.setUint8(44 + 3 * i, whole & 255);
    view.setInt16(45 + 3 * i, whole >> 8, true);
  });
  return new Blob([view.buffer], { type: "audio/wav" });
}

export const peak = (audio) => audio.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

// Colours from quiet to loud, red, green and blue; between them in proportion.
const COLOURS = [
  [6, 4, 20],
  [84, 20, 110],
  [188, 55, 84],
  [249, 142, 9],
  [252, 253, 191],
];

// A spectrogram of audio on a canvas: up to `top` Hz, 90 dB from black to bright, at most 900 columns.
export function draw(canvas, audio, rate, top = 6000) {
  const size = 1024;
  const hop = Math.max(256, Math.ceil(audio.length / 900));
  const { re, im, frames, bins } = new Spectrogram(size, hop).forward(audio, false);
  const rows = Math.min(Math.round((top * size) / rate), bins);
  canvas.width = frames;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  const image = context.createImageData(frames, rows);
  for (let x = 0; x < frames; x++) {
    for (let y = 0; y < rows; y++) {
      const at = x * bins + rows - 1 - y;
      const level = 20 * Math.log10(Math.hypot(re[at], im[at]) / 1e-3 + 1);
      const place = Math.min(level / 90, 1) * (COLOURS.length - 1);
      const whole = Math.min(Math.floor(place), COLOURS.length - 2);
      const pixel = 4 * (y * frames + x);
      for (let i = 0; i < 3; i++) {
        image.data[pixel + i] = COLOURS[whole][i] + (place - whole) * (COLOURS[whole + 1][i] - COLOURS[whole][i]);
      }
      image.data[pixel + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
}
