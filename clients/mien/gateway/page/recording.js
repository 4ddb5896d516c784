// A recording: sent once, then played beside the course of what its speech sounds like.

import { call, gatewaySettings, Problem } from "./api.js";
import { byId, count, megabytes } from "./elements.js";
import { Card } from "./faces.js";
import { Timeline } from "./timeline.js";
import { indexAt, spoken, Strip } from "./tracks.js";

/**
 * Shows a recording and its emotions.
 * @param file that the person chose or recorded.
 * @param screen where things are shown.
 * @param signal ends it.
 */
export async function showRecording(file, screen, signal) {
  const { max_audio_bytes: limit } = await gatewaySettings();
  if (file.size > limit) {
    throw new Problem(`The recording has ${megabytes(file.size)}; this gateway takes up to ${megabytes(limit)}.`);
  }
  screen.busy("Listening …");
  const body = new FormData();
  body.append("audio", file, "recording");
  const answer = await call("v1/detect-audio", { method: "POST", body, signal });
  new Hearing(answer).open(file, screen, signal);
}

/** Does something, and tells what goes wrong in a sentence. */
export async function telling(screen, act) {
  try {
    await act();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    screen.problem(error.message);
  }
}

/** What was heard, in step with the player. */
class Hearing {
  #answer;
  #frames;
  #player = byId("listener");
  #now = new Card();
  #timeline;
  #onCorrect = null;

  constructor(answer) {
    this.#answer = answer;
    this.#frames = spoken(answer.windows);
  }

  /** Shows it until `signal` ends it. */
  open(file, screen, signal) {
    const { duration_s: duration, emotion, reason, windows } = this.#answer;
    const track = new Strip("Speech", this.#frames, "silence");
    this.#timeline = new Timeline("recording", [track], duration, duration, (time) => this.#seek(time));
    byId("timeline").replaceChildren(this.#timeline.element);
    byId("timeline").hidden = false;
    this.#player.src = URL.createObjectURL(file);
    const { corrections } = screen;
    if (corrections) this.#onCorrect = (window) => telling(screen, () => corrections.askSpeech(window, file));
    screen.show(null);
    this.#player.hidden = false;
    byId("faces-heading").textContent = emotion ? "What the speech sounds like" : "Silence";
    if (emotion) this.#showCards(signal);
    for (const event of ["timeupdate", "seeked"]) this.#player.addEventListener(event, () => this.#follow(), { signal });
    const versions = windows.map((window) => window.model_version).filter(Boolean);
    screen.origin(versions);
    screen.say(reason ? `${reason}.` : `${emotion}, of ${count(windows.length, "window")} of 3 seconds.`);
    if (reason) screen.problem(`${reason}. Was the microphone on, and near enough?`);
    this.#mark(0);
  }

  #showCards(signal) {
    const whole = new Card();
    const several = this.#frames.length > 1;
    // What is corrected is a window: of several the one at this moment, not their mean.
    whole.show(this.#answer, "As a whole", several ? null : this.#correcting(this.#answer.windows[0]));
    const cards = several ? [whole, this.#now] : [whole];
    for (const card of cards) byId("faces").append(card.element);
    signal.addEventListener("abort", () => cards.forEach((card) => card.element.remove()), { once: true });
  }

  #seek(time) {
    this.#player.currentTime = time;
    this.#mark(time);
  }

  #follow() {
    this.#mark(this.#player.currentTime);
  }

  #mark(time) {
    this.#timeline.mark(time);
    const [face] = this.#frames[indexAt(this.#frames, time)].faces;
    this.#now.element.hidden = !face;
    if (face) this.#now.show(face, "At this moment", this.#correcting(face));
  }

  #correcting(window) {
    return this.#onCorrect && (() => this.#onCorrect(window));
  }
}
