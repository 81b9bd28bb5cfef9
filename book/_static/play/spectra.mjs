// STFT and its inverse, phases from their advances, Griffin-Lim: ast_lib/representation in the browser.
// A spectrogram is { re, im, frames, bins }: two Float32Arrays, frame after frame.

import { FFT } from "./fft.mjs";

export const hann = (size) =>
  Float64Array.from({ length: size }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / size));

export const empty = (frames, bins) => ({
  re: new Float32Array(frames * bins),
  im: new Float32Array(frames * bins),
  frames,
  bins,
});

export class Spectrogram {
  constructor(size, hop) {
    this.size = size;
    this.hop = hop;
    this.bins = size / 2 + 1;
    this.fft = new FFT(size);
    this.window = hann(size);
    this.a = new Float64Array(size);
    this.b = new Float64Array(size);
  }

  // Audio to a spectrogram of 1 + samples // hop frames. Ends are reflected, or silent with reflect = false.
  forward(audio, reflect = true) {
    const { size, hop, bins, fft, window, a, b } = this;
    const half = size / 2;
    let sound = audio;
    if (reflect && sound.length <= half) {
      sound = new Float32Array(half + 1);
      sound.set(audio);
    }
    const last = sound.length - 1;
    const at = (i) => (i >= 0 && i <= last ? sound[i] : reflect ? sound[i < 0 ? -i : 2 * last - i] : 0);
    const result = empty(1 + Math.floor(sound.length / hop), bins);
    // Two frames a transform: one is the real part, the other the imaginary part.
    for (let frame = 0; frame < result.frames; frame += 2) {
      const two = frame + 1 < result.frames;
      for (let i = 0, from = frame * hop - half; i < size; i++, from++) {
        a[i] = window[i] * at(from);
        b[i] = two ? window[i] * at(from + hop) : 0;
      }
      fft.forward(a, b);
      for (let k = 0, one = frame * bins, other = one + bins; k < bins; k++, one++, other++) {
        const j = (size - k) % size;
        result.re[one] = (a[k] + a[j]) / 2;
        result.im[one] = (b[k] - b[j]) / 2;
        if (two) {
          result.re[other] = (b[k] + b[j]) / 2;
          result.im[other] = (a[j] - a[k]) / 2;
        }
      }
    }
    return result;
  }

  // A spectrogram to so many samples of audio: the least-squares inverse.
  inverse({ re, im, frames }, samples) {
    const { size, hop, bins, fft, window, a, b } = this;
    const sum = new Float64Array((frames - 1) * hop + size);
    const weight = new Float64Array(sum.length);
    for (let frame = 0; frame < frames; frame += 2) {
      const two = frame + 1 < frames;
      for (let k = 0, one = frame * bins, other = one + bins; k < bins; k++, one++, other++) {
        const edge = k === 0 || k === size / 2; // real, whatever the spectrogram says
        const x = re[one];
        const y = edge ? 0 : im[one];
        const u = two ? re[other] : 0;
        const v = two && !edge ? im[other] : 0;
        const j = (size - k) % size;
        a[k] = x - v;
        b[k] = y + u;
        if (!edge) {
          a[j] = x + v;
          b[j] = u - y;
        }
      }
      fft.inverse(a, b);
      for (let i = 0, to = frame * hop; i < size; i++, to++) {
        sum[to] += window[i] * a[i];
        weight[to] += window[i] * window[i];
        if (two) {
          sum[to + hop] += window[i] * b[i];
          weight[to + hop] += window[i] * window[i];
        }
      }
    }
    const audio = new Float32Array(samples);
    const length = Math.min(samples, sum.length - size / 2);
    for (let i = 0, from = size / 2; i < length; i++, from++) audio[i] = sum[from] / Math.max(weight[from], 1e-11);
    return audio;
  }
}

// Phase by which the centre frequency of each bin advances in one hop, modulo 2 pi.
export const binRotation = (size, hop) =>
  Float64Array.from({ length: size / 2 + 1 }, (_, k) => (2 * Math.PI * ((k * hop) % size)) / size);

// Writes frames of a spectrogram from magnitudes and phase advances (cosine, sine), each of frames x bins.
// `last` holds the phases of the frame before and is updated; `started` is false for the first frame of all.
export function accumulate(target, from, frames, magnitude, cosine, sine, rotation, last, started) {
  const bins = target.bins;
  for (let frame = 0; frame < frames; frame++) {
    for (let k = 0, i = frame * bins, to = (from + frame) * bins; k < bins; k++, i++, to++) {
      const step = Math.atan2(sine[i], cosine[i]) + rotation[k];
      last[k] = frame || started ? (last[k] + step) % (2 * Math.PI) : 0;
      target.re[to] = magnitude[i] * Math.cos(last[k]);
      target.im[to] = magnitude[i] * Math.sin(last[k]);
    }
  }
}

// Both neighbours of a peak, the largest of five bins, take the peak's phase plus pi (in place).
export function lockPhase(spectrum) {
  const { re, im, frames, bins } = spectrum;
  const size = new Float32Array(bins);
  const peak = new Uint8Array(bins);
  for (let frame = 0; frame < frames; frame++) {
    const base = frame * bins;
    for (let k = 0; k < bins; k++) size[k] = Math.hypot(re[base + k], im[base + k]);
    for (let k = 0; k < bins; k++) {
      let largest = size[k] > 0;
      for (let j = Math.max(k - 2, 0); largest && j <= Math.min(k + 2, bins - 1); j++) largest = size[j] <= size[k];
      peak[k] = largest;
    }
    const x = re.slice(base, base + bins);
    const y = im.slice(base, base + bins);
    for (let k = 0; k < bins; k++) {
      const j = k > 0 && peak[k - 1] ? k - 1 : k + 1 < bins && peak[k + 1] ? k + 1 : -1;
      if (j >= 0) {
        re[base + k] = (-size[k] * x[j]) / size[j];
        im[base + k] = (-size[k] * y[j]) / size[j];
      }
    }
  }
}

// Griffin-Lim with momentum (Perraudin et al., 2013) from the phases that a spectrogram has: audio.
function refineWindow(transform, spectrum, samples, steps) {
  const { re, im, frames, bins } = spectrum;
  const magnitude = new Float32Array(re.length);
  for (let i = 0; i < magnitude.length; i++) magnitude[i] = Math.sqrt(re[i] * re[i] + im[i] * im[i]);
  const guess = { re: re.slice(), im: im.slice(), frames, bins };
  let previous = null;
  let audio = transform.inverse(guess, samples);
  for (let step = 0; step < steps; step++) {
    const consistent = transform.forward(audio);
    const before = previous ?? consistent;
    for (let i = 0; i < magnitude.length; i++) {
      const x = consistent.re[i] + 0.9 * (consistent.re[i] - before.re[i]) + 1e-12;
      const y = consistent.im[i] + 0.9 * (consistent.im[i] - before.im[i]);
      const scale = magnitude[i] / Math.sqrt(x * x + y * y);
      guess.re[i] = x * scale;
      guess.im[i] = y * scale;
    }
    previous = consistent;
    audio = transform.inverse(guess, samples);
  }
  return audio;
}

// The same for any length, in windows with as many frames around them as the steps reach to.
export function refine(transform, spectrum, samples, steps, window, progress = () => {}) {
  const { re, im, frames, bins } = spectrum;
  const { size, hop } = transform;
  const spare = (steps + 1) * (size / hop - 1);
  const audio = new Float32Array(samples);
  for (let start = 0; start < frames; start += window) {
    const stop = Math.min(start + window, frames);
    const begin = Math.max(start - spare, 0);
    const end = Math.min(stop + spare, frames);
    const cut = (part) => part.subarray(begin * bins, end * bins);
    const length = end === frames ? samples - begin * hop : (end - begin - 1) * hop;
    const part = { re: cut(re), im: cut(im), frames: end - begin, bins };
    const made = refineWindow(transform, part, length, steps);
    const last = stop === frames ? samples : stop * hop;
    audio.set(made.subarray((start - begin) * hop, last - begin * hop), start * hop);
    progress(stop / frames);
  }
  return audio;
}
