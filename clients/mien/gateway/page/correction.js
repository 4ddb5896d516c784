// Corrections: a face, or some seconds of speech, goes to the feedback store only when the person chose a label and agreed.

import { call, gatewaySettings, Problem } from "./api.js";
import { byId, html, rectangle } from "./elements.js";
import { wav } from "./wav.js";

const SIDE = 384;
const RATE = 16_000;
const ERASED = "It has been erased.";

/** What the gateway's feedback asks for; null where it takes none. */
export async function openCorrections() {
  const terms = await call("v1/feedback/terms").catch(() => ({ enabled: false }));
  return terms.enabled ? new Corrections(terms, (await gatewaySettings()).crop_scale) : null;
}

class Corrections {
  #dialog = byId("correction-dialog");
  #form = byId("correction-form");
  #label = byId("correction-label");
  #consent = byId("consent");
  #problem = byId("correction-problem");
  #terms;
  #scale;

  /**
   * @param terms what the person must agree to, and the labels there are, of faces and of speech.
   * @param scale of a face's square as the model sees it, to its box's longer side.
   */
  constructor(terms, scale) {
    this.#terms = terms;
    this.#scale = scale;
    byId("erasure").hidden = false;
    byId("erasure-form").addEventListener("submit", async (event) => {
      event.preventDefault();
      byId("erasure-outcome").textContent = await erased(byId("erasure-number").value, byId("erasure-code").value);
    });
  }

  /**
   * Asks what a face shows and, if the person agrees, sends it.
   * @param face as the gateway answered it.
   * @param picture that it is in: an image, a player that stands at its frame, or a canvas. It is looked at right now.
   */
  async ask(face, picture) {
    const cut = crop(picture, rectangle(face.box), this.#scale);
    const canvas = byId("correction-face");
    canvas.getContext("2d").drawImage(cut, 0, 0, canvas.width, canvas.height);
    const file = await new Promise((done) => cut.toBlob(done, "image/jpeg", 0.95));
    await this.#ask(face, this.#terms, ["What does this face show?", "It shows"], "v1/feedback", "image", file);
  }

  /**
   * Asks what some seconds of speech sound like and, if the person agrees, sends them.
   * @param window as the gateway answered it.
   * @param file that it is in: a recording or a video.
   */
  async askSpeech(window, file) {
    const sound = await cutOut(file, window);
    const heard = byId("correction-sound");
    heard.src = URL.createObjectURL(sound);
    try {
      await this.#ask(window, this.#terms.speech, ["What does this sound like?", "It sounds"], "v1/feedback/speech", "audio", sound);
    } finally {
      URL.revokeObjectURL(heard.src);
      heard.removeAttribute("src");
      heard.load();
    }
  }

  /**
   * @param named what was recognized.
   * @param terms of that kind.
   * @param words the dialog's heading, and the beginning of the answer.
   * @param path where a correction is sent, with `file` as its form's `field`.
   */
  async #ask(named, terms, words, path, field, file) {
    this.#fill(named, terms, words);
    byId("correction-face").hidden = field !== "image";
    byId("correction-sound").hidden = field !== "audio";
    this.#dialog.showModal();
    this.#label.focus();
    const over = new AbortController();
    const receipt = await new Promise((resolve) => {
      this.#dialog.addEventListener("close", () => resolve(null), { signal: over.signal });
      this.#form.addEventListener("submit", async (event) => {
        if (event.submitter?.value === "cancel") return;
        event.preventDefault();
        const sent = await this.#send(named, path, field, file);
        if (sent) resolve(sent);
      }, { signal: over.signal });
    });
    over.abort();
    this.#dialog.close();
    if (receipt) this.#thank(receipt, named);
  }

  #fill(named, { terms, labels }, [question, verb]) {
    byId("correction-heading").textContent = question;
    byId("correction-verb").textContent = verb;
    byId("terms").textContent = terms;
    byId("correction-named").textContent = `The model named it ${named.emotion}.`;
    const others = labels.filter((label) => label !== named.emotion);
    this.#label.replaceChildren(html("option", { value: "" }, "…"), ...others.map((label) => html("option", {}, label)));
    this.#consent.checked = false;
    this.#problem.hidden = true;
  }

  /** The receipt, or null if it could not be sent; then the dialog says why. */
  async #send(named, path, field, file) {
    const button = byId("send-correction");
    button.disabled = true;
    try {
      const body = new FormData();
      body.append(field, file, "example");
      body.append("predicted", named.emotion);
      body.append("corrected", this.#label.value);
      body.append("release", named.model_version);
      body.append("consent", this.#consent.checked);
      return await call(path, { method: "POST", body });
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#problem.textContent = error.message;
      this.#problem.hidden = false;
      return null;
    } finally {
      button.disabled = false;
    }
  }

  /** Shows a receipt. It stays whatever is shown next: nothing else can erase the correction. */
  #thank({ id, erasure_token: token, expires }, named) {
    const until = new Date(expires).toLocaleDateString("en", { dateStyle: "long" });
    const change = html("h3", {}, `${named.emotion} → ${this.#label.value}`);
    const note = html("p", { role: "status" }, `Thank you. It is kept until ${until} at the latest. To erase it later, at the end of this page, keep its number and code:`);
    const erase = html("button", { type: "button" }, "Erase it now");
    const receipt = html("li", { className: "receipt", "data-emotion": this.#label.value }, change, note, html("code", {}, id), html("code", { className: "token" }, token), erase);
    erase.addEventListener("click", async () => {
      note.textContent = await erased(id, token);
      if (note.textContent === ERASED) receipt.replaceChildren(change, note);
    });
    byId("receipts").prepend(receipt);
    byId("given").hidden = false;
    erase.focus();
  }
}

/** Erases a correction; returns what came of it as a sentence. */
async function erased(id, token) {
  try {
    await call(`v1/feedback/${id}`, { method: "DELETE", headers: { "X-Erasure-Token": token } });
    return ERASED;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return error.message;
  }
}

/** A window's sound as a WAV file, one channel of 16 kHz. */
async function cutOut(file, { start_s: start, end_s: end }) {
  const context = new OfflineAudioContext(1, 1, RATE); // whatever it decodes has its rate
  let sound;
  try {
    sound = await context.decodeAudioData(await file.arrayBuffer());
  } catch {
    throw new Problem("This browser cannot cut the sound out of this file.");
  }
  const [from, to] = [start, end].map((time) => Math.round(time * RATE));
  const channels = Array.from({ length: sound.numberOfChannels }, (_, index) => sound.getChannelData(index).subarray(from, to));
  const mean = channels[0].map((_, at) => channels.reduce((sum, channel) => sum + channel[at], 0) / channels.length);
  return new File([wav([mean], RATE)], "window.wav", { type: "audio/wav" });
}

/** The square around a box as the model saw it; what lies outside of the picture repeats its edge. */
function crop(picture, { x, y, width, height }, scaleOfBox) {
  const [pictureWidth, pictureHeight] = extent(picture);
  const side = Math.max(1, Math.round(Math.max(width, height) * scaleOfBox));
  const left = Math.round(x + width / 2 - side / 2);
  const top = Math.round(y + height / 2 - side / 2);
  const size = Math.min(side, SIDE);
  const scale = size / side;
  const canvas = html("canvas", { width: size, height: size });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  const [from, to] = [Math.max(0, -left), Math.min(side, pictureWidth - left)].map((edge) => Math.round(edge * scale));
  const [head, foot] = [Math.max(0, -top), Math.min(side, pictureHeight - top)].map((edge) => Math.round(edge * scale));
  context.drawImage(picture, left, top, side, side, 0, 0, size, size);
  context.drawImage(canvas, from, 0, 1, size, 0, 0, from, size);
  context.drawImage(canvas, to - 1, 0, 1, size, to, 0, size - to, size);
  context.drawImage(canvas, 0, head, size, 1, 0, 0, size, head);
  context.drawImage(canvas, 0, foot - 1, size, 1, 0, foot, size, size - foot);
  return canvas;
}

/** Width and height of an image, a player or a canvas in its own pixels. */
function extent(picture) {
  const [width, height] = [picture.naturalWidth ?? picture.videoWidth, picture.naturalHeight ?? picture.videoHeight];
  return [width ?? picture.width, height ?? picture.height];
}
