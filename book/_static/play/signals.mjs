// One-dimensional signals: mixing, resampling, levels, pauses and tuning, as ast_lib/audio and ast_lib/transfer/tuning.py.

import { Spectrogram } from "./spectra.mjs";

// Mean of the channels without its mean over time; channels that cancel each other give the loudest one instead.
export function toMono(channels, levels) {
  const samples = channels[0].length;
  const mean = (x) => x.reduce((sum, value) => sum + value, 0) / samples;
  const power = (x, centre) => x.reduce((sum, value) => sum + (value - centre) ** 2, 0) / samples;
  let mono = new Float32Array(samples);
  for (const channel of channels) for (let i = 0; i < samples; i++) mono[i] += channel[i] / channels.length;
  const powers = channels.map((channel) => power(channel, mean(channel)));
  const most = Math.max(...powers);
  const total = channels.length ** 2 * power(mono, mean(mono));
  const sum = powers.reduce((a, b) => a + b, 0);
  if (total < levels.cancelled * sum && most >= levels.silence ** 2) mono = channels[powers.indexOf(most)];
  const centre = mean(mono);
  return mono.map((value) => value - centre);
}

export const rms = (audio) => Math.sqrt(audio.reduce((sum, value) => sum + value * value, 0) / audio.length);

// So many samples of the same sound: fewer is faster and higher. A sinc of 32 zeros a side under a Kaiser window.
export function resample(audio, samples) {
  if (samples === audio.length) return audio;
  const ratio = audio.length / samples;
  const cutoff = 0.96 / Math.max(ratio, 1);
  const zeros = 32;
  const reach = zeros / cutoff;
  const detail = 512; // values of the kernel between two zeros, read with linear interpolation
  const table = new Float64Array(zeros * detail + 2);
  const bessel = (x) => {
    let sum = 1;
    for (let k = 1, term = 1; k < 40; k++) sum += term *= (x / (2 * k)) ** 2;
    return sum;
  };
  const beta = 9;
  for (let i = 0; i <= zeros * detail; i++) {
    const t = i / detail;
    const sinc = i ? Math.sin(Math.PI * t) / (Math.PI * t) : 1;
    table[i] = (sinc * bessel(beta * Math.sqrt(Math.max(1 - (t / zeros) ** 2, 0)))) / bessel(beta);
  }
  const result = new Float32Array(samples);
  for (let i = 0; i < samples; i++) {
    const place = i * ratio;
    const first = Math.max(Math.ceil(place - reach), 0);
    const last = Math.min(Math.floor(place + reach), audio.length - 1);
    let sum = 0;
    for (let j = first; j <= last; j++) {
      const at = Math.abs(place - j) * cutoff * detail;
      const whole = Math.floor(at);
      sum += audio[j] * (table[whole] + (at - whole) * (table[whole + 1] - table[whole]));
    }
    result[i] = sum * cutoff;
  }
  return result;
}

// --- Tuning

// How far a source is from the semitones of A = 440 Hz, in cents: the circular mean over its spectral peaks.
export function deviation(audio, sampleRate, tuning) {
  const transform = new Spectrogram(tuning.window, tuning.hop);
  const low = Math.floor((tuning.lowest * tuning.window) / sampleRate);
  const high = Math.floor((tuning.highest * tuning.window) / sampleRate);
  let [re, im, weight] = [0, 0, 0];
  for (let start = 0; start < audio.length; start += tuning.block) {
    const spectra = transform.forward(audio.subarray(start, start + tuning.block), false);
    for (let frame = 0; frame < spectra.frames; frame++) {
      const base = frame * spectra.bins;
      const size = Float64Array.from({ length: high - low }, (_, k) =>
        Math.hypot(spectra.re[base + low + k], spectra.im[base + low + k]),
      );
      const faint = tuning.faint * size.subarray(1, -1).reduce((a, b) => Math.max(a, b), 0);
      for (let k = 1; k < size.length - 1; k++) {
        if (!(size[k] > size[k - 1] && size[k] >= size[k + 1] && size[k] > faint)) continue;
        const [a, b, c] = [size[k - 1], size[k], size[k + 1]].map((value) => Math.log(Math.max(value, 1e-9)));
        const place = low + k + (a - c) / Math.min(2 * (a - 2 * b + c), -1e-6);
        const angle = 24 * Math.PI * Math.log2((place * sampleRate) / tuning.window / 440);
        re += size[k] * Math.cos(angle);
        im += size[k] * Math.sin(angle);
        weight += size[k];
      }
    }
  }
  return Math.hypot(re, im) > tuning.pitched * weight ? (50 / Math.PI) * Math.atan2(im, re) : 0;
}

// The source at A = 440 Hz; itself where it is in tune. `resample` to its own number of samples is the way back.
export function inTune(audio, sampleRate, tuning) {
  const cents = deviation(audio, sampleRate, tuning);
  if (Math.abs(cents) <= tuning.in_tune) return audio;
  return resample(audio, Math.max(Math.round(audio.length * 2 ** (cents / 1200)), 1));
}

// Later by so many samples, earlier if below 0; silence comes in.
export function shift(audio, samples) {
  const result = new Float32Array(audio.length);
  if (samples >= 0) result.set(audio.subarray(0, Math.max(audio.length - samples, 0)), Math.min(samples, audio.length));
  else result.set(audio.subarray(-samples));
  return result;
}

// --- Levels and pauses; powers are mean squares of frames

export function framePowers(audio, frame) {
  const result = new Float64Array(Math.ceil(audio.length / frame));
  for (let i = 0; i < result.length; i++) {
    const part = audio.subarray(i * frame, (i + 1) * frame);
    result[i] = part.reduce((sum, value) => sum + value * value, 0) / part.length;
  }
  return result;
}

// Moving average over `width` frames, at the ends over those that there are.
function smooth(values, width) {
  const sums = new Float64Array(values.length + 1);
  values.forEach((value, i) => (sums[i + 1] = sums[i] + value));
  const from = (width - (width % 2)) / 2;
  return values.map((_, i) => {
    const start = Math.max(i - from, 0);
    const stop = Math.min(i - from + width, values.length);
    return (sums[stop] - sums[start]) / (stop - start);
  });
}

const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

function decibels(powers, width) {
  const least = Math.max(1e-12 * mean(powers), 1e-30);
  return smooth(powers, width).map((value) => 10 * Math.log10(Math.max(value, least)));
}

// The largest of `width` values around each, an odd number; the candidates wait in falling order.
function most(values, width) {
  const reach = (width - 1) / 2;
  const result = new Float64Array(values.length);
  const waiting = [];
  for (let i = 0, next = 0, head = 0; i < values.length; i++) {
    for (; next < values.length && next <= i + reach; next++) {
      while (waiting.length > head && values[waiting[waiting.length - 1]] <= values[next]) waiting.pop();
      waiting.push(next);
    }
    while (waiting[head] < i - reach) head++;
    result[i] = values[waiting[head]];
  }
  return result;
}

// Factors, one a frame and never above 1, that keep the pauses of a source as quiet in the output as they were.
export function pauseGain(source, output, levels) {
  const [heard, slow] = [decibels(source, 4), decibels(source, 16)];
  const around = 2 * levels.around + 1;
  const below = most(heard, around).map((value, i) => value - heard[i]);
  const [length, span] = levels.steady;
  const negative = (values) => values.map((value) => -value);
  const [up, down, near] = [most(slow, length), most(negative(slow), length), most(negative(below), length)];
  const edge = Math.floor(length / 2);
  const still = heard.map((_, i) =>
    i >= edge && i < heard.length - edge && up[i] + down[i] < span && -near[i] > levels.soft ? 1 : 0,
  );
  const steady = most(still, length);
  const room = most(heard.map((value, i) => (steady[i] ? -value : -Infinity)), around);
  const [from, to] = levels.silent;
  const pause = heard.map((value, i) => {
    const noise = steady[i] || (below[i] > levels.soft && Number.isFinite(room[i]) && value < 3 - room[i]);
    return noise ? 1 : Math.min(Math.max((below[i] - from) / (to - from), 0), 1);
  });
  // Levels are compared with those of the music: a long pause must not count as soft music.
  const music = (powers) => 10 * Math.log10(Math.max(mean(powers.map((value, i) => (1 - pause[i]) * value)), 1e-30));
  const [first, second, made] = [music(source), music(output), decibels(output, 4)];
  const excess = heard.map((value, i) => Math.max(made[i] - second - (value - first), 0));
  const amount = smooth(pause, 8);
  return excess.map((value, i) => 10 ** ((-value * amount[i]) / 20));
}

// Factors, one a frame, that give the output the dynamics of its source: levels are compared where notes begin.
export function dynamicsGain(source, output, levels) {
  const [heard, made] = [source, output].map((powers) => most(decibels(powers, 2), levels.stroke));
  const [level, loudest] = [decibels(source, 2), heard.reduce((a, b) => Math.max(a, b))];
  const rises = heard.map((value, i) =>
    i && value > loudest - levels.faint ? Math.max(level[i] - level[i - 1], 0) : 0,
  );
  const total = rises.reduce((a, b) => a + b, 0);
  if (total === 0) return rises.map(() => 1);
  const average = rises.reduce((sum, rise, i) => sum + rise * (heard[i] - made[i]), 0) / total;
  const softer = rises.map((rise, i) => rise * Math.min(Math.max(heard[i] - made[i] - average, -20), 20));
  const phrase = (values) => [0, 1, 2].reduce((found) => smooth(found, levels.phrase), values);
  const [above, below] = [phrase(softer), phrase(rises)];
  const least = 1e-6 * below.reduce((a, b) => Math.max(a, b));
  const known = [...below.keys()].filter((i) => below[i] > least);
  let next = 0;
  return rises.map((_, i) => {
    while (next < known.length - 1 && known[next] < i) next += 1;
    const [right, left] = [known[next], known[Math.max(next - 1, 0)]];
    const value = (k) => above[k] / below[k];
    if (i >= right || i <= left || left === right) return 10 ** (value(i <= left ? left : right) / 20);
    return 10 ** ((value(left) + ((i - left) / (right - left)) * (value(right) - value(left))) / 20);
  });
}

// Audio times the factors of the middles of frames; between them in proportion.
export function withGain(audio, gain, frame) {
  return audio.map((value, i) => {
    const place = Math.min(Math.max((i + 0.5) / frame - 0.5, 0), gain.length - 1);
    const whole = Math.min(Math.floor(place), gain.length - 2);
    if (whole < 0) return value * gain[0];
    return value * (gain[whole] + (place - whole) * (gain[whole + 1] - gain[whole]));
  });
}
