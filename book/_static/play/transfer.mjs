// Transfer: a recording and a target style in; the same notes in that style out. It is ast_lib/transfer in the browser.

import { dynamicsGain, framePowers, inTune, pauseGain, resample, rms, shift, withGain } from "./signals.mjs";
import { refine } from "./spectra.mjs";

// Mono audio at the model's rate, without its mean, to its transfer. `to` is an instrument or a clip (Float32Array).
// `progress` hears the share that is done, from 0 to 1.
export async function transfer(model, source, to, progress = () => {}) {
  const { representation, levels, tuning, griffin_lim } = model;
  const { sample_rate, hop } = representation;
  const level = rms(source);
  if (!(level >= levels.silence)) throw new Error("The recording is silent.");
  let sound = source.map((value) => (value * levels.rms) / level);
  sound = inTune(sound, sample_rate, tuning);
  progress(0.05);
  const style = typeof to === "string" ? model.prototype(to) : await clipStyle(model, to);
  const sections = model.sections(sound.length);
  let inputs = await model.inputs(sound);
  progress(0.15);
  if (model.latency.some((each) => each)) {
    const heard = model.knownLatency(await model.style(inputs, sections));
    const samples = Math.round((model.knownLatency(style) - heard) * sample_rate);
    if (samples) inputs = await model.inputs(shift(sound, samples));
  }
  progress(0.25);
  const content = await model.content(inputs, sections);
  progress(0.3);
  const mixed = await model.generated(content, sections, style, (share) => progress(0.3 + 0.4 * share));
  const spectrum = await model.spectrum(mixed, 1 + Math.floor(sound.length / hop));
  progress(0.75);
  const { steps, frames } = griffin_lim;
  const made = refine(model.transform, spectrum, sound.length, steps, frames, (share) => progress(0.75 + 0.2 * share));
  const output = resample(made, source.length);
  const [heard, powers] = [framePowers(source, levels.frame), framePowers(output, levels.frame)];
  const dynamics = dynamicsGain(heard, powers, levels);
  const pauses = pauseGain(heard, powers.map((power, i) => power * dynamics[i] ** 2), levels);
  const gain = pauses.map((factor, i) => factor * dynamics[i]);
  const quiet = withGain(output, gain, levels.frame);
  const loudness = rms(quiet);
  progress(1);
  return loudness > levels.none ? quiet.map((value) => (value * level) / loudness) : quiet;
}

// The style of a clip as the style encoder reads it. The library goes on from there: it fits the style to the clip.
export async function clipStyle(model, clip) {
  const { levels, representation } = model;
  if (clip.length < levels.shortest_style * representation.sample_rate) {
    throw new Error(`The style clip has to last ${levels.shortest_style} s or more.`);
  }
  const level = rms(clip);
  if (!(level >= levels.silence)) throw new Error("The style clip is silent.");
  const scaled = clip.map((value) => (value * levels.rms) / level);
  return model.style(await model.inputs(scaled), model.sections(clip.length));
}
