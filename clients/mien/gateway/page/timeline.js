// What was recognized over time, a track below the other: faces, speech, both together. Clicking seeks.

import { clock, html, percent } from "./elements.js";
import { EVERYBODY } from "./tracks.js";

export class Timeline {
  #tracks;
  #duration;
  #step;
  #onSeek;
  #needle = html("div", { className: "needle" });
  #slider;
  #time = 0;

  /**
   * @param what has a course over time.
   * @param tracks at least one; the first one's frames are what the keyboard's steps are about.
   * @param duration in seconds.
   * @param step seconds that a frame of the first track stands for.
   * @param onSeek called with the seconds that the person chose.
   * @param whole the same as a whole: [name of a track, emotion or null].
   */
  constructor(what, tracks, duration, step, onSeek, whole = []) {
    this.#tracks = tracks;
    this.#duration = duration;
    this.#step = step;
    this.#onSeek = onSeek;
    this.#slider = html("div", { className: "chart", role: "slider", tabIndex: 0, "aria-label": `Time in the ${what}` });
    const several = tracks.length > 1;
    for (const { name, element } of tracks) {
      element.setAttribute("aria-hidden", "true");
      this.#slider.append(...(several ? [html("span", { className: "name", "aria-hidden": "true" }, name)] : []), element);
    }
    this.#slider.append(this.#needle);
    this.#slider.classList.toggle("several", several);
    this.#slider.setAttribute("aria-valuemin", 0);
    this.#slider.setAttribute("aria-valuemax", duration.toFixed(1));
    this.#listen();
    const ends = html("div", { className: "ends quiet", "aria-hidden": "true" });
    ends.append(html("span", {}, clock(0)), html("span", {}, clock(duration)));
    this.element = html("div", {}, this.#head(), ...this.#whole(whole), this.#slider, ends, this.#legend(), this.#table());
    for (const track of tracks) track.draw(duration, step);
  }

  /** Shows where the player is. */
  mark(time) {
    this.#time = time;
    this.#needle.style.left = `${Math.min(1, time / this.#duration) * 100}%`;
    this.#slider.setAttribute("aria-valuenow", time.toFixed(1));
    this.#slider.setAttribute("aria-valuetext", `${clock(time)}, ${this.#described(time)}`);
  }

  #described(time) {
    const [first, ...others] = this.#tracks;
    if (!others.length) return first.describedAt(time);
    return this.#tracks.map((track) => `${track.name.toLowerCase()}: ${track.describedAt(time)}`).join("; ");
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
    const head = html("div", { className: "head" }, html("h2", {}, "Over time"));
    const [track] = this.#tracks;
    if (track.people.length > 1) {
      const select = html("select", {}, html("option", { value: EVERYBODY }, "everybody, on average"));
      select.append(...track.people.map((person) => html("option", { value: person }, `person ${person}`)));
      select.addEventListener("change", () => track.draw(this.#duration, this.#step, select.value));
      head.append(html("label", {}, this.#tracks.length > 1 ? "faces of " : "of ", select));
    }
    return head;
  }

  /** All of it in one line for each track. */
  #whole(whole) {
    const entry = ([name, emotion]) => {
      const named = emotion ? `${emotion.emotion} ${percent(emotion.confidence)}` : "nothing";
      const item = html("li", {}, html("span", { className: "quiet" }, name), " ", html("strong", {}, named));
      if (emotion) item.dataset.emotion = emotion.emotion;
      return item;
    };
    return whole.length ? [html("ul", { className: "whole", "aria-label": "As a whole" }, ...whole.map(entry))] : [];
  }

  #legend() {
    const entry = (emotion) => {
      const item = html("li", {}, emotion);
      item.dataset.emotion = emotion;
      return item;
    };
    const emotions = new Set(this.#tracks.flatMap((track) => track.emotions));
    return html("ul", { className: "legend", "aria-label": "Colours" }, ...[...emotions].map(entry));
  }

  /** The same as a table; it is made when somebody opens it. */
  #table() {
    const details = html("details", {}, html("summary", {}, "As a table"));
    const tracks = this.#tracks;
    const fill = () => {
      const times = [...new Set(tracks.flatMap((track) => track.frames.map((frame) => frame.time_s)))].sort((a, b) => a - b);
      const cells = (time) => tracks.map((track) => html("td", {}, track.describedAt(time)));
      const row = (time) => html("tr", {}, html("th", { scope: "row" }, clock(time)), ...cells(time));
      const table = html("table", {}, html("tbody", {}, ...times.map(row)));
      if (tracks.length > 1) {
        const names = ["Time", ...tracks.map((track) => track.name)].map((name) => html("th", { scope: "col" }, name));
        table.prepend(html("thead", {}, html("tr", {}, ...names)));
      }
      details.append(html("div", { className: "scroll", tabIndex: 0 }, table));
    };
    details.addEventListener("toggle", fill, { once: true });
    return details;
  }
}
