// A camera: small pictures over a WebSocket, one at a time. What the camera saw meanwhile is never sent.

import { apiKey, askForKey, gatewaySettings, Problem } from "./api.js";
import { byId } from "./elements.js";

const PROTOCOL = "mien.camera";
const SIDE = 640;
const QUALITY = 0.8;
const PACE_MS = 1000;
const UNKNOWN_KEY = /API key/;

/** Asks for consent, in the dialog of that id; true if the person gives it. */
export async function consent(id) {
  const dialog = byId(id);
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
  return dialog.returnValue === "start";
}

/**
 * Shows what the camera sees and the faces in it, until `signal` ends it or the tab is left.
 * @param screen where things are shown.
 * @param signal ends it.
 */
export async function showCamera(screen, signal) {
  const settings = await gatewaySettings();
  const stream = await openCamera();
  const over = new AbortController();
  const stop = (reason) => over.abort(reason);
  signal.addEventListener("abort", () => stop(signal.reason), { once: true });
  document.addEventListener(
    "visibilitychange",
    () => document.visibilityState === "hidden" && stop("The camera was stopped, because you left this tab."),
    { signal: over.signal },
  );
  stream.getVideoTracks()[0].addEventListener("ended", () => stop("The camera has ended."), { signal: over.signal });
  const viewfinder = byId("viewfinder");
  try {
    viewfinder.srcObject = stream;
    await viewfinder.play();
    screen.show(viewfinder);
    screen.say("The camera is on.");
    await new Relay(viewfinder, screen, settings).run(over.signal);
  } catch (error) {
    if (!over.signal.aborted) throw error;
  } finally {
    stop();
    for (const track of stream.getTracks()) track.stop();
    viewfinder.srcObject = null;
  }
  if (typeof over.signal.reason === "string") throw new Problem(over.signal.reason);
}

async function openCamera() {
  if (!navigator.mediaDevices) {
    throw new Problem("Browsers give a camera only to pages that come over HTTPS or from this machine.");
  }
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: SIDE }, facingMode: "user" }, audio: false });
  } catch (error) {
    const sentences = {
      NotAllowedError: "The browser may not use the camera. Allow it beside the address, and try again.",
      NotFoundError: "There is no camera.",
      NotReadableError: "The camera cannot be opened: another program may be using it.",
    };
    throw new Problem(sentences[error.name] ?? `The camera cannot be opened: ${error.message}`);
  }
}

/** Carries frames to the gateway and answers back. The frame that was answered is kept for whoever corrects it. */
class Relay {
  #viewfinder;
  #screen;
  #interval;
  #limit;
  #sent = document.createElement("canvas");
  #answered = document.createElement("canvas");
  #pace = new Pace(byId("pace"));

  constructor(viewfinder, screen, settings) {
    this.#viewfinder = viewfinder;
    this.#screen = screen;
    this.#interval = 1000 / settings.camera_frames_per_second;
    this.#limit = settings.max_camera_frame_bytes;
  }

  async run(signal) {
    for (;;) {
      const sentence = await this.#connected(signal);
      if (!UNKNOWN_KEY.test(sentence)) throw new Problem(sentence);
      if (!(await askForKey(sentence))) throw new Problem(sentence);
    }
  }

  /** One connection; returns the sentence that the gateway ended it with. */
  #connected(signal) {
    const address = new URL("v1/camera", document.baseURI);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = new WebSocket(address, apiKey() ? [PROTOCOL, apiKey()] : [PROTOCOL]);
    let last = "The gateway has ended the connection.";
    return new Promise((resolve, reject) => {
      const fail = (reason) => {
        socket.close();
        reject(reason);
      };
      signal.addEventListener("abort", () => fail(signal.reason), { once: true });
      socket.addEventListener("open", () => this.#send(socket).catch(fail));
      socket.addEventListener("close", () => resolve(last));
      socket.addEventListener("message", ({ data }) => {
        const answer = JSON.parse(data);
        if (answer.frame === undefined) last = answer.error;
        else if (!signal.aborted) this.#next(socket, answer).catch(fail);
      });
    });
  }

  async #next(socket, answer) {
    this.#pace.answered();
    if (answer.error) this.#screen.problem(answer.error);
    else this.#show(answer);
    const wait = this.#interval - this.#pace.latency;
    if (wait > 0) await new Promise((done) => setTimeout(done, wait));
    await this.#send(socket);
  }

  #show(answer) {
    [this.#sent, this.#answered] = [this.#answered, this.#sent];
    this.#screen.problem("");
    const { corrections } = this.#screen;
    const onCorrect = corrections && ((face) => corrections.ask(face, this.#answered));
    this.#screen.faces.show(answer.faces, answer.width, answer.height, { mirrored: true, onCorrect });
    if (answer.faces.length) this.#screen.origin(answer.faces.map((face) => face.model_version), answer.detector);
  }

  async #send(socket) {
    const frame = await this.#frame();
    if (socket.readyState !== WebSocket.OPEN) return;
    this.#pace.sent();
    socket.send(frame);
  }

  async #frame() {
    const { videoWidth: width, videoHeight: height } = this.#viewfinder;
    const scale = Math.min(1, SIDE / Math.max(width, height));
    const canvas = this.#sent;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.getContext("2d").drawImage(this.#viewfinder, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", QUALITY));
    if (!blob || blob.size > this.#limit) throw new Problem("The camera's picture cannot be sent.");
    return blob;
  }
}

/** How fast it goes, told once a second. */
class Pace {
  #element;
  #sent = 0;
  #since = performance.now();
  #answers = 0;
  latency = 0;

  constructor(element) {
    this.#element = element;
    element.textContent = "";
  }

  sent() {
    this.#sent = performance.now();
  }

  answered() {
    const now = performance.now();
    this.latency = now - this.#sent;
    this.#answers += 1;
    const passed = now - this.#since;
    if (passed < PACE_MS) return;
    const rate = (this.#answers / passed) * 1000;
    this.#element.textContent = `${Math.round(this.latency)} ms, ${rate.toFixed(1)} frames a second`;
    this.#answers = 0;
    this.#since = now;
  }
}
