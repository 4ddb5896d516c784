// The expressions of a video over time: probabilities stacked on each other, frame by frame. Clicking seeks.

import { clock, html, percent, svg } from "./elements.js";

const WIDTH = 1000;
const HEIGHT = 100;
const EVERYBODY = "everybody";

export class Timeline {
  #frames;
  #duration;
  #step;
  #onSeek;
  #emotions;
  #words;
  #areas = svg("g");
  #needle = svg("line", { class: "needle", y1: 0, y2: HEIGHT });
  #slider;
  #time = 0;

  /**
   * @param frames as the gateway answers them.
   * @param duration of the video in seconds.
   * @param step seconds that a frame stands for.
   * @param onSeek called with the seconds that the person chose.
   * @param words what has a course, and what it says where nothing was recognized.
   */
  constructor(frames, duration, step, onSeek, words = { what: "video", nothing: "no face" }) {
    this.#words = words;
    this.#frames = frames;
    this.#duration = duration;
    this.#step = step;
    this.#onSeek = onSeek;
    this.#emotions = Object.keys(frames.flatMap((frame) => frame.faces)[0]?.probabilities ?? {});
    const chart = svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      this.#areas,
      this.#needle,
    );
    this.#slider = html("div", { className: "chart", role: "slider", tabIndex: 0, "aria-label": `Time in the ${words.what}` }, chart);
    this.#slider.setAttribute("aria-valuemin", 0);
    this.#slider.setAttribute("aria-valuemax", duration.toFixed(1));
    this.#listen();
    const ends = html("div", { className: "ends quiet", "aria-hidden": "true" });
    ends.append(html("span", {}, clock(0)), html("span", {}, clock(duration)));
    this.element = html("div", {}, this.#head(), this.#slider, ends, this.#legend(), this.#table());
    this.#draw(EVERYBODY);
  }

  /** Shows where the video is. */
  mark(time, frame) {
    this.#time = time;
    const x = this.#x(time);
    this.#needle.setAttribute("x1", x);
    this.#needle.setAttribute("x2", x);
    this.#slider.setAttribute("aria-valuenow", time.toFixed(1));
    this.#slider.setAttribute("aria-valuetext", `${clock(time)}, ${this.#described(frame)}`);
  }

  #x(time) {
    return Math.min(WIDTH, (time / this.#duration) * WIDTH);
  }

  #listen() {
    const seek = (time) => this.#onSeek(Math.min(Math.max(0, time), this.#duration));
    const seekTo = (event) => {
      const { left, width } = this.#slider.getBoundingClientRect();
      seek(((event.clientX - left) / width) * this.#duration);
    };
    this.#slider.addEventListener("pointerdown", (event) => {
      this.#slider.setPointerCapture(event.pointerId);
      seekTo(event);
    });
    this.#slider.addEventListener("pointermove", (event) => event.buttons && seekTo(event));
    this.#slider.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 };
      const places = { Home: 0, End: this.#duration };
      if (!(event.key in steps) && !(event.key in places)) return;
      event.preventDefault();
      seek(places[event.key] ?? this.#time + steps[event.key] * this.#step);
    });
  }

  #head() {
    const people = [...new Set(this.#frames.flatMap((frame) => frame.faces.map((face) => face.track)))].sort((a, b) => a - b);
    const head = html("div", { className: "head" }, html("h2", {}, "Over time"));
    if (people.length > 1) {
      const select = html("select", {}, html("option", { value: EVERYBODY }, "everybody, on average"));
      select.append(...people.map((track) => html("option", { value: track }, `person ${track}`)));
      select.addEventListener("change", () => this.#draw(select.value));
      head.append(html("label", {}, "of ", select));
    }
    return head;
  }

  #legend() {
    const entry = (emotion) => {
      const item = html("li", {}, emotion);
      item.dataset.emotion = emotion;
      return item;
    };
    return html("ul", { className: "legend", "aria-label": "Colours" }, ...this.#emotions.map(entry));
  }

  /** The same as a table; it is made when somebody opens it. */
  #table() {
    const details = html("details", {}, html("summary", {}, "As a table"));
    const fill = () => {
      const row = (frame) => html("tr", {}, html("th", { scope: "row" }, clock(frame.time_s)), html("td", {}, this.#described(frame)));
      details.append(html("div", { className: "scroll", tabIndex: 0 }, html("table", {}, html("tbody", {}, ...this.#frames.map(row)))));
    };
    details.addEventListener("toggle", fill, { once: true });
    return details;
  }

  /** One area for each expression; a frame without a face leaves a gap. */
  #draw(who) {
    const columns = this.#frames.map((frame, index) => {
      const faces = frame.faces.filter((face) => who === EVERYBODY || face.track === Number(who));
      const next = this.#frames[index + 1]?.time_s ?? Math.min(this.#duration, frame.time_s + this.#step);
      return { from: this.#x(frame.time_s), to: this.#x(next), faces, below: 0 };
    });
    const seen = columns.filter((column) => column.faces.length);
    const paths = this.#emotions.map((emotion) => {
      const parts = seen.map((column) => {
        const sum = column.faces.reduce((total, face) => total + face.probabilities[emotion], 0);
        column.below += (sum / column.faces.length) * HEIGHT;
        const top = (HEIGHT - column.below).toFixed(2);
        return `M${column.from.toFixed(1)} ${top}H${column.to.toFixed(1)}V${HEIGHT}H${column.from.toFixed(1)}z`;
      });
      return svg("path", { d: parts.join(""), "data-emotion": emotion });
    });
    this.#areas.replaceChildren(...paths.reverse()); // the lower ones cover the others
  }

  /** A frame's faces in words. */
  #described(frame) {
    const faces = frame.faces.map((face) => `${face.emotion} ${percent(face.confidence)}`);
    return faces.join(", ") || this.#words.nothing;
  }
}
