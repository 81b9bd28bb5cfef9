// The page's worker: it loads runtime and graphs when it is first asked, and transfers; the page stays responsive.
// Messages in: { id, source, to }. Messages out: { id, stage, share }, then { id, result, seconds } or { id, error }.

import { Model } from "./model.mjs";
import { transfer } from "./transfer.mjs";

const folder = new URL("./files/", import.meta.url);
let model = null;

// The bytes of a file of the site; `progress` hears how many have come.
async function fetchBytes(name, progress) {
  const response = await fetch(new URL(name, folder));
  if (!response.ok) throw new Error(`${name} could not be loaded (${response.status}).`);
  const parts = [];
  let size = 0;
  for (let reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    progress(value.length);
    size += value.length;
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

async function load(progress) {
  const response = await fetch(new URL("transfer.json", folder), { cache: "no-cache" });
  if (!response.ok) throw new Error(`transfer.json could not be loaded (${response.status}).`);
  const constants = await response.json();
  const runtime = await import(new URL("ort.wasm.min.mjs", folder));
  // One thread: more would need headers that a plain web server does not send.
  runtime.env.wasm.numThreads = 1;
  runtime.env.wasm.wasmPaths = folder.href;
  runtime.env.logLevel = "error";
  const names = Object.keys(constants.files);
  const total = names.reduce((sum, name) => sum + constants.files[name].bytes, 0);
  const sessions = {};
  let loaded = 0;
  for (const name of names) {
    // A file's address names its content, so that a browser never mixes old weights with new ones.
    const address = `${name}?${constants.files[name].sha256.slice(0, 12)}`;
    const bytes = await fetchBytes(address, (count) => progress((loaded += count) / total));
    sessions[name.replace(".onnx", "")] = await runtime.InferenceSession.create(bytes, {
      executionProviders: ["wasm"],
      graphOptimizationLevel: "all",
    });
  }
  return new Model(runtime, sessions, constants);
}

async function answer({ id, source, to }) {
  const tell = (stage) => (share) => postMessage({ id, stage, share });
  try {
    model ??= await load(tell("load"));
    const begin = performance.now();
    const result = await transfer(model, source, to, tell("transfer"));
    postMessage({ id, result, seconds: (performance.now() - begin) / 1000 }, [result.buffer]);
  } catch (error) {
    postMessage({ id, error: error.message });
  }
}

// One after the other: the sessions are shared.
let queue = Promise.resolve();
onmessage = ({ data }) => {
  queue = queue.then(() => answer(data));
};
