// A video: sent as a job with progress, then shown beside the course of its expressions, and of its speech.

import { call, gatewaySettings, Problem } from "./api.js";
import { byId, count, megabytes, percent } from "./elements.js";
import { Card } from "./faces.js";
import { telling } from "./recording.js";
import { Timeline } from "./timeline.js";
import { Band, indexAt, spoken, Strip, together } from "./tracks.js";

const POLL_MS = 500;

/** Into a frame rather than to its beginning, which is told in milliseconds and may still show the one before. */
const INTO_FRAME_S = 0.002;

/**
 * Shows a video, its faces and their expressions over time.
 * @param file that the person chose.
 * @param frameRate frames to look at each second.
 * @param withAudio whether its sound is listened to as well.
 * @param screen where things are shown.
 * @param signal ends it, and the job at the gateway.
 */
export async function showVideo(file, frameRate, withAudio, screen, signal) {
  const { max_video_bytes: limit } = await gatewaySettings();
  if (file.size > limit) {
    throw new Problem(`The video has ${megabytes(file.size)}; this gateway takes up to ${megabytes(limit)}.`);
  }
  screen.busy("Sending the video …");
  const body = new FormData();
  body.append("video", file, "video");
  body.append("frame_rate", frameRate);
  body.append("audio", withAudio);
  const headers = { Prefer: "respond-async" };
  const job = await call("v1/detect-video", { method: "POST", body, headers, signal });
  const result = await finished(job, withAudio, screen, signal);
  await new Course(result, 1 / frameRate).open(file, screen, signal);
}

/** Waits for a job; whatever comes of it, the gateway forgets it. */
async function finished(job, withAudio, screen, signal) {
  const place = `v1/jobs/${job.id}`;
  const forget = () => call(place, { method: "DELETE", keepalive: true }).catch(() => undefined);
  signal.addEventListener("abort", forget, { once: true });
  try {
    for (let { state, progress, error } = job; state !== "done"; { state, progress, error } = await call(place, { signal })) {
      if (error) throw new Problem(error);
      const isHeard = !withAudio || progress.frames;
      const seen = isHeard ? `${count(progress.frames, "frame")} looked at …` : "Listening to its sound …";
      screen.busy(state === "queued" ? "Other videos come first …" : seen, progress.share);
      await pause(POLL_MS, signal);
    }
    return await call(`${place}/result`, { signal });
  } finally {
    signal.removeEventListener("abort", forget);
    forget();
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

/** A video's faces, and its speech, in step with its player. */
class Course {
  #frames;
  #sound;
  #voices;
  #voice = new Card();
  #step;
  #player = byId("player");
  #timeline;
  #screen;
  #onCorrect = null;
  #onCorrectSpeech = null;

  /**
   * @param result of the gateway.
   * @param step seconds from one frame that was looked at to the next.
   */
  constructor({ results, summary, sound }, step) {
    this.#frames = results;
    this.#sound = sound;
    this.#voices = spoken(sound?.windows ?? []);
    this.#step = step;
    this.summary = summary;
  }

  /** Shows it until `signal` ends it. */
  async open(file, screen, signal) {
    this.#screen = screen;
    const player = this.#player;
    const end = Math.max(this.#frames.at(-1).time_s + this.#step, this.#sound?.windows.at(-1)?.end_s ?? 0);
    const plays = await canPlay(player, file, signal);
    const duration = plays && Number.isFinite(player.duration) ? player.duration : end;
    player.muted = !this.#voices.length;
    this.#timeline = this.#course(duration, (time) => this.#seek(time, plays));
    byId("timeline").replaceChildren(this.#timeline.element);
    byId("timeline").hidden = false;
    if (this.#voices.length) byId("voices").replaceChildren(this.#voice.element);
    screen.show(plays ? player : null);
    const { corrections } = screen;
    if (plays && corrections) this.#onCorrect = ({ track }) => this.#correct(track, signal);
    if (corrections) this.#onCorrectSpeech = (window) => telling(screen, () => corrections.askSpeech(window, file));
    for (const event of ["timeupdate", "seeked"]) player.addEventListener(event, () => this.#follow(), { signal });
    player.addEventListener("play", () => this.#animate(signal), { signal });
    screen.origin(this.summary.model_versions, "", this.#spokenVersions(), this.#sound?.problem);
    const { people, faces_detected: faces, total_frames: frames } = this.summary;
    screen.say(`${count(frames, "frame")} looked at: ${count(faces, "face")} of ${people === 1 ? "1 person" : `${people} people`}.${this.#whole().map(sentence).join("")}`);
    if (!faces) screen.problem("No face detected in the frames that were looked at.");
    if (!plays) screen.problem("This browser cannot play the video; its course is below all the same.");
    this.#showAt(0);
  }

  #course(duration, onSeek) {
    const tracks = [new Strip("Faces", this.#frames, "no face")];
    if (this.#voices.length) {
      tracks.push(new Strip("Speech", this.#voices, "silence"));
      tracks.push(new Band("Together", together(this.#sound.timeline), "nothing"));
    }
    return new Timeline("video", tracks, duration, this.#step, onSeek, this.#whole());
  }

  /** What faces, speech and both together say as a whole; nothing without speech. */
  #whole() {
    if (!this.#voices.length) return [];
    const { face, speech, fused } = this.#sound.whole;
    return [["Together", fused], ["Faces", face], ["Speech", speech]];
  }

  #spokenVersions() {
    return this.#voices.flatMap((frame) => frame.faces.map((face) => face.model_version));
  }

  #seek(time, plays) {
    if (plays) this.#player.currentTime = time;
    this.#showAt(time);
  }

  /** Asks about a person in the frame that was looked at last, whose pixels the player is brought to show. */
  async #correct(track, signal) {
    const player = this.#player;
    player.pause();
    const frame = this.#frames[indexAt(this.#frames, player.currentTime)];
    const seeked = new Promise((resolve) => player.addEventListener("seeked", resolve, { once: true, signal }));
    player.currentTime = frame.time_s + INTO_FRAME_S;
    await seeked;
    const face = frame.faces.find((one) => one.track === track);
    if (face) await this.#screen.corrections.ask(face, player);
  }

  #follow() {
    this.#showAt(this.#player.currentTime);
  }

  #animate(signal) {
    if (signal.aborted || this.#player.paused) return;
    this.#follow();
    requestAnimationFrame(() => this.#animate(signal));
  }

  #showAt(time) {
    const index = indexAt(this.#frames, time);
    const faces = moved(this.#frames[index], this.#frames[index + 1], time);
    const { videoWidth: width, videoHeight: height } = this.#player;
    this.#screen.faces.show(faces, width || 1, height || 1, { onCorrect: this.#onCorrect });
    this.#timeline.mark(time);
    const voice = this.#voices[indexAt(this.#voices, time)]?.faces[0];
    this.#voice.element.hidden = !voice;
    if (voice) this.#voice.show(voice, "Speech at this moment", this.#onCorrectSpeech && (() => this.#onCorrectSpeech(voice)));
  }
}

function sentence([name, emotion]) {
  return emotion ? ` ${name}: ${emotion.emotion} ${percent(emotion.confidence)}.` : "";
}

/** A frame's faces at a time before the next: their boxes are on the way to where they are then. */
function moved(frame, next, time) {
  if (!next) return frame.faces;
  const share = Math.max(0, (time - frame.time_s) / (next.time_s - frame.time_s));
  return frame.faces.map((face) => {
    const later = next.faces.find((other) => other.track === face.track);
    return later ? { ...face, box: face.box.map((value, side) => value + (later.box[side] - value) * share) } : face;
  });
}

/** Whether this browser plays the file; its size and duration are known then. */
function canPlay(player, file, signal) {
  return new Promise((resolve, reject) => {
    player.addEventListener("loadedmetadata", () => resolve(player.videoWidth > 0), { once: true, signal });
    player.addEventListener("error", () => resolve(false), { once: true, signal });
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    player.src = URL.createObjectURL(file);
  });
}
