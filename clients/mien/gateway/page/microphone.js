// A microphone: what it hears is collected on this page, and becomes a WAV file when the person stops.

import { Problem } from "./api.js";
import { byId, clock } from "./elements.js";
import { wav } from "./wav.js";

const LONGEST_S = 120;

/**
 * Records until the person stops it or two minutes are over.
 * @param screen where things are shown.
 * @param signal ends it, and nothing comes of it.
 * @returns a WAV file, or null if the person discards it or leaves the tab.
 */
export async function record(screen, signal) {
  const stream = await openMicrophone();
  const context = new AudioContext();
  const pieces = [];
  try {
    await context.audioWorklet.addModule("page/recorder.js");
    const node = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
    context.createMediaStreamSource(stream).connect(node);
    byId("recorder").hidden = false;
    byId("stop-recording").focus();
    screen.say("The microphone is on.");
    const isKept = await stopped(node, pieces, context.sampleRate, signal);
    return isKept ? new File([wav(pieces, context.sampleRate)], "recording.wav", { type: "audio/wav" }) : null;
  } finally {
    byId("recorder").hidden = true;
    byId("recorded").textContent = ""; // or the next recording would begin with this one's time
    for (const track of stream.getTracks()) track.stop();
    context.close();
  }
}

async function openMicrophone() {
  if (!navigator.mediaDevices) {
    throw new Problem("Browsers give a microphone only to pages that come over HTTPS or from this machine.");
  }
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 }, video: false });
  } catch (error) {
    const sentences = {
      NotAllowedError: "The browser may not use the microphone. Allow it beside the address, and try again.",
      NotFoundError: "There is no microphone.",
      NotReadableError: "The microphone cannot be opened: another program may be using it.",
    };
    throw new Problem(sentences[error.name] ?? `The microphone cannot be opened: ${error.message}`);
  }
}

/** Collects pieces until something ends it; whether what there is shall be sent. */
function stopped(node, pieces, rate, signal) {
  let length = 0;
  return new Promise((resolve, reject) => {
    const end = (isKept) => {
      node.port.onmessage = null;
      resolve(isKept);
    };
    node.port.onmessage = ({ data }) => {
      pieces.push(data);
      length += data.length;
      byId("recorded").textContent = `Recording: ${clock(Math.floor(length / rate))} of ${clock(LONGEST_S)}`;
      if (length >= LONGEST_S * rate) end(true);
    };
    byId("recorded").textContent = "Recording …";
    const once = { once: true, signal };
    byId("stop-recording").addEventListener("click", () => end(true), once);
    byId("discard-recording").addEventListener("click", () => end(false), once);
    document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && end(false), { signal });
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
