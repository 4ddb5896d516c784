// One line of a timeline each: what was recognized from moment to moment, drawn and in words.

import { clock, html, percent, svg } from "./elements.js";

const WIDTH = 1000;
const HEIGHT = 100;

/** Players seek to a frame's beginning, a little off what the decoder said. */
const SLACK_S = 0.01;

export const EVERYBODY = "everybody";

/** Where in `frames`, which each hold from their `time_s` to the next one's, a time is. */
export function indexAt(frames, time) {
  let low = 0;
  let high = frames.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (frames[middle].time_s <= time + SLACK_S) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Windows of speech as frames: each is around its middle, where its neighbours are further away than it. */
export function spoken(windows) {
  const shift = (previous, window) => (previous.end_s + window.start_s) / 2;
  return windows.map((window, index) => ({
    time_s: index ? shift(windows[index - 1], window) : 0,
    faces: window.emotion ? [{ ...window, track: 1 }] : [],
  }));
}

/** Moments of faces and speech as frames of what both say together. */
export function together(moments) {
  return moments.map(({ start_s, fused }) => ({ time_s: start_s, faces: fused ? [{ ...fused, track: 1 }] : [] }));
}

class Track {
  /**
   * @param name of what it is about.
   * @param frames { time_s, faces }, in order; a face is whatever has an emotion, and a track that says whose.
   * @param nothing what it says where nothing was recognized.
   */
  constructor(name, frames, nothing) {
    this.name = name;
    this.frames = frames;
    this.nothing = nothing;
  }

  /** What was recognized at a time, in words. */
  describedAt(time) {
    const { faces } = this.frames[indexAt(this.frames, time)];
    return faces.map((face) => `${face.emotion} ${percent(face.confidence)}`).join(", ") || this.nothing;
  }

  /** Its frames with the shares of `duration` that they begin and end at; the last stands for `step` seconds. */
  stretches(duration, step) {
    const share = (time) => Math.min(1, time / duration);
    return this.frames.map(({ time_s, faces }, index) => {
      const next = this.frames[index + 1]?.time_s ?? Math.min(duration, time_s + step);
      return { from: share(time_s), to: share(next), faces };
    });
  }
}

/** Probabilities stacked on each other: an area for each emotion, and a gap where there is none. */
export class Strip extends Track {
  #areas = svg("g");
  element = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none" }, this.#areas);

  /** The emotions there are. */
  get emotions() {
    return Object.keys(this.frames.flatMap((frame) => frame.faces)[0]?.probabilities ?? {});
  }

  /** Whose faces there are. */
  get people() {
    return [...new Set(this.frames.flatMap((frame) => frame.faces.map((face) => face.track)))].sort((a, b) => a - b);
  }

  draw(duration, step, who = EVERYBODY) {
    const columns = this.stretches(duration, step)
      .map(({ from, to, faces }) => ({
        from: (from * WIDTH).toFixed(1),
        to: (to * WIDTH).toFixed(1),
        faces: faces.filter((face) => who === EVERYBODY || face.track === Number(who)),
        below: 0,
      }))
      .filter((column) => column.faces.length);
    const paths = this.emotions.map((emotion) => {
      const parts = columns.map((column) => {
        const sum = column.faces.reduce((total, face) => total + face.probabilities[emotion], 0);
        column.below += (sum / column.faces.length) * HEIGHT;
        return `M${column.from} ${(HEIGHT - column.below).toFixed(2)}H${column.to}V${HEIGHT}H${column.from}z`;
      });
      return svg("path", { d: parts.join(""), "data-emotion": emotion });
    });
    this.#areas.replaceChildren(...paths.reverse()); // the lower ones cover the others
  }
}

/** The most probable emotion by name: a stretch for as long as it stays the same. */
export class Band extends Track {
  element = html("div", { className: "band" });
  emotions = [];
  people = [];

  draw(duration, step) {
    const runs = [];
    for (const { from, to, faces: [face] } of this.stretches(duration, step)) {
      if (face && runs.at(-1)?.emotion === face.emotion && runs.at(-1).to === from) runs.at(-1).to = to;
      else if (face) runs.push({ emotion: face.emotion, from, to });
    }
    const stretch = ({ emotion, from, to }) => {
      const element = html("div", { title: `${emotion}, ${clock(from * duration)} to ${clock(to * duration)}` }, html("span", {}, emotion));
      element.dataset.emotion = emotion;
      element.style.left = `${from * 100}%`;
      element.style.width = `${(to - from) * 100}%`;
      return element;
    };
    this.element.replaceChildren(...runs.map(stretch));
  }
}
