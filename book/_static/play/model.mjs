// The exported graphs: what the encoders read, codes, and the sections that the decoder generates, window by window.
// It is ast_lib/networks/model.py in the browser. A batch is one Float32Array, clip after clip.

import { accumulate, binRotation, empty, lockPhase, Spectrogram } from "./spectra.mjs";

export class Model {
  // `runtime` is onnxruntime-web or anything with its Tensor; `sessions` are its sessions by name.
  constructor(runtime, sessions, constants) {
    this.runtime = runtime;
    this.sessions = sessions;
    Object.assign(this, constants);
    const { n_fft, hop } = this.representation;
    this.transform = new Spectrogram(n_fft, hop);
    this.rotation = binRotation(n_fft, hop);
  }

  async run(name, inputs) {
    const feeds = {};
    for (const [key, [data, ...shape]] of Object.entries(inputs)) {
      feeds[key] = new this.runtime.Tensor("float32", data, shape);
    }
    return this.sessions[name].run(feeds);
  }

  sections(samples) {
    const { hop, section_frames } = this.representation;
    return Math.ceil((1 + Math.floor(samples / hop)) / section_frames);
  }

  // What the encoders read of audio, section after section; in blocks, so that memory stays small.
  async inputs(audio) {
    const { hop, section_frames, reach, block, bins, inputs } = this.representation;
    const step = section_frames * hop;
    const size = section_frames * inputs;
    const before = Math.ceil(reach / step) * step;
    const total = this.sections(audio.length);
    const result = new Float32Array(total * size);
    for (let start = 0; start < total; start += block) {
      const stop = Math.min(start + block, total);
      const begin = Math.max(start * step - before, 0);
      const part = audio.slice(begin, Math.min(stop * step + before + step, audio.length));
      const { re, im, frames } = this.transform.forward(part);
      const power = re.map((value, i) => value * value + im[i] * im[i]);
      const { sections } = await this.run("inputs", { audio: [part, 1, part.length], power: [power, 1, frames, bins] });
      const skip = start - begin / step;
      result.set(sections.data.subarray(skip * size, (skip + stop - start) * size), start * size);
    }
    return result;
  }

  // Windows [start, stop] that cover so many sections, each sharing `overlap` of them with the next.
  windows(sections) {
    const { window, overlap } = this.representation;
    const spans = [];
    for (let start = 0; start < Math.max(sections - overlap, 1); start += window - overlap) {
      spans.push([start, Math.min(start + window, sections)]);
    }
    return spans;
  }

  // Windows of the same length through an encoder, eight at a time: their codes, one array a window.
  async encode(name, inputs, spans) {
    const { section_frames, inputs: bins } = this.representation;
    const size = section_frames * bins;
    const codes = [];
    for (let first = 0; first < spans.length; first += 8) {
      const group = spans.slice(first, first + 8);
      const length = group[0][1] - group[0][0];
      const data = join(group.map(([start, stop]) => inputs.subarray(start * size, stop * size)));
      const output = await this.run(name, { sections: [data, group.length, length, section_frames, bins] });
      codes.push(...split(output[name].data, group.length));
    }
    return codes;
  }

  // Content of every section; of two overlapping windows it comes from the one in whose middle it lies further.
  async content(inputs, sections) {
    const { window, overlap } = this.representation;
    const size = this.decoder.content;
    const spans = this.windows(sections);
    const seen = spans.map(([start, stop]) => [Math.max(Math.min(start, sections - window), 0), stop]);
    const codes = await this.encode("content", inputs, seen);
    const parts = spans.map(([start, stop], i) => {
      const first = start ? start + Math.floor(overlap / 2) : 0;
      const last = stop === sections ? stop : stop - (overlap - Math.floor(overlap / 2));
      return codes[i].subarray((first - seen[i][0]) * size, (last - seen[i][0]) * size);
    });
    return join(parts);
  }

  // The style of a whole clip: the mean over its windows. The last one may be shorter, and goes alone.
  async style(inputs, sections) {
    const spans = this.windows(sections);
    const [last, full] = [spans.slice(-1), spans.slice(0, -1)];
    const codes = [...(await this.encode("style", inputs, full)), ...(await this.encode("style", inputs, last))];
    return codes[0].map((_, i) => codes.reduce((sum, code) => sum + code[i], 0) / codes.length);
  }

  // One window of several clips at once. `pasts` holds the tokens of the sections before, or nothing.
  // Returns what the head takes of the new sections and the tokens that follow all sections, both a clip each.
  async generate(contents, styles, pasts) {
    const { width, heads, layers, content: size, start, null: nothing } = this.decoder;
    const clips = contents.length;
    const sections = contents[0].length / size;
    const known = pasts ? pasts[0].length / width : 0;
    const style = join(styles);
    const depth = styles[0].length;
    const { memory } = await this.run("memory", {
      content: [join(contents), clips, sections, size],
      style: [style, clips, depth],
    });
    const step = async (tokens, from, cache, alone, weight) => {
      const count = tokens[0].length / width;
      const inside = (parts, each) => join(parts.map((part) => part.subarray(from * each, (from + count) * each)));
      return this.sessions.step.run({
        tokens: new this.runtime.Tensor("float32", join(tokens), [clips, count, width]),
        content: new this.runtime.Tensor("float32", inside(contents, size), [clips, count, size]),
        style: new this.runtime.Tensor("float32", style, [clips, depth]),
        memory,
        cache,
        alone: new this.runtime.Tensor("float32", inside(alone, width), [clips, count, width]),
        weight: new this.runtime.Tensor("float32", Float32Array.of(weight), [1]),
      });
    };
    const fresh = () =>
      new this.runtime.Tensor("float32", new Float32Array(0), [2 * layers, clips, heads, 0, width / heads]);
    // Without context: the start, then null tokens, all at once.
    const { context_weight: weight } = this.representation;
    let alone = contents.map(() => new Float32Array(sections * width));
    if (weight !== 1) {
      const empty = join([start, ...Array(sections - 1).fill(nothing)]);
      const first = await step(contents.map(() => empty), 0, fresh(), alone, 1);
      alone = split(first.mixed.data, clips);
    }
    const mixed = contents.map(() => []);
    const tokens = contents.map((_, clip) => (pasts ? [pasts[clip]] : []));
    let next = contents.map((_, clip) => join([start, ...(pasts ? [pasts[clip]] : [])]));
    let cache = fresh();
    for (let from = 0; from < sections; ) {
      const output = await step(next, from, cache, alone, weight);
      from += next[0].length / width;
      const last = (data) => split(data, clips).map((part) => part.slice(-width));
      last(output.mixed.data).forEach((part, clip) => mixed[clip].push(part));
      next = last(output.next.data);
      next.forEach((part, clip) => tokens[clip].push(part));
      cache = output.longer;
    }
    return { mixed: mixed.map(join), tokens: tokens.map(join), known };
  }

  // What the head takes of all sections. Long sound is generated in stretches side by side, as the library does it.
  async generated(content, sections, style, progress = () => {}) {
    const { width, content: size, lanes, shortest, longest } = this.decoder;
    const { overlap } = this.representation;
    const spans = this.windows(sections);
    const windows = spans.map(([start, stop]) => content.subarray(start * size, stop * size));
    const tail = (tokens) => (overlap ? tokens.map((part) => part.slice(-overlap * width)) : null);
    const result = [];
    let past = null;
    for (let done = 0; done < windows.length; ) {
      const left = windows.length - done;
      const length = done ? Math.min(Math.floor((left - 1) / lanes), longest) : 0;
      if (length < shortest) {
        const { mixed, tokens } = await this.generate([windows[done]], [style], past);
        result.push(mixed[0]);
        past = tail(tokens);
        done += 1;
      } else {
        const lane = Array.from({ length: lanes }, (_, i) => windows.slice(done + i * length, done + (i + 1) * length));
        const styles = Array(lanes).fill(style);
        // Each stretch begins with the window before it, generated without a past for the past that it leaves.
        const before = lane.map((_, i) => windows[done + i * length - 1]);
        const started = tail((await this.generate(before, styles, null)).tokens);
        let pasts = started && past ? [past[0], ...started.slice(1)] : started;
        const made = lane.map(() => []);
        for (let step = 0; step < length; step++) {
          const { mixed, tokens } = await this.generate(lane.map((part) => part[step]), styles, pasts);
          mixed.forEach((part, i) => made[i].push(part));
          pasts = tail(tokens);
          progress((done + (step + 1) * lanes) / windows.length);
        }
        result.push(...made.flat());
        past = pasts ? pasts.slice(-1) : null;
        done += lanes * length;
      }
      progress(done / windows.length);
    }
    return join(result);
  }

  // The complex spectrogram that it stands for: magnitudes, phases added up and locked.
  async spectrum(mixed, frames) {
    const { width } = this.decoder;
    const { section_frames, bins } = this.representation;
    const result = empty(frames, bins);
    const last = new Float64Array(bins);
    const block = 256;
    for (let start = 0; start * section_frames < frames; start += block) {
      const data = mixed.subarray(start * width, (start + block) * width);
      const output = await this.run("head", { mixed: [data, 1, data.length / width, width] });
      const [magnitude, cosine, sine] = ["magnitude", "cosine", "sine"].map((name) => output[name].data);
      const from = start * section_frames;
      const count = Math.min(magnitude.length / bins, frames - from);
      accumulate(result, from, count, magnitude, cosine, sine, this.rotation, last, start > 0);
    }
    lockPhase(result);
    return result;
  }

  // --- Styles

  prototype(instrument) {
    return Float32Array.from(this.prototypes[this.instruments.indexOf(instrument)]);
  }

  // Latency in seconds of the voice whose prototype is near a style; 0 if none is.
  knownLatency(style) {
    const distance = (a, b) => Math.sqrt(a.reduce((sum, value, i) => sum + (value - b[i]) ** 2, 0));
    const distances = this.prototypes.map((each) => distance(each, style));
    const voice = distances.indexOf(Math.min(...distances));
    const own = this.prototypes[voice];
    const others = this.prototypes.filter((_, i) => i !== voice).map((each) => distance(each, own));
    return distances[voice] <= this.near * Math.min(...others) ? this.latency[voice] : 0;
  }
}

// Several arrays as one.
export function join(parts) {
  const result = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}

// One array as so many equal ones.
export function split(data, count) {
  const size = data.length / count;
  return Array.from({ length: count }, (_, i) => data.subarray(i * size, (i + 1) * size));
}
