// Faces as boxes over a picture and as cards beside it. Both are kept and changed in place, so that a camera can do so
// ten times a second and the keyboard's focus stays.

import { count, html, percent, rectangle } from "./elements.js";

/** With more than this, only the chosen face has its label over the picture. */
const CROWD = 12;

export class FaceView {
  #overlay;
  #heading;
  #list;
  #boxes = [];
  #cards = [];
  #chosen = 0;

  /**
   * @param overlay lies over the picture.
   * @param heading says how many faces there are.
   * @param list takes the cards.
   */
  constructor(overlay, heading, list) {
    this.#overlay = overlay;
    this.#heading = heading;
    this.#list = list;
    overlay.addEventListener("keydown", (event) => this.#walk(event));
  }

  /**
   * Shows faces.
   * @param faces as the gateway answers them; those with a `track` keep their place.
   * @param width of the picture that their boxes are in.
   * @param height of it.
   * @param mirrored whether the picture is shown so.
   * @param onCorrect called with a face that the person finds wrongly named; without it nothing is offered.
   */
  show(faces, width, height, { mirrored = false, onCorrect = null } = {}) {
    const ordered = faces.every((face) => face.track) ? [...faces].sort((a, b) => a.track - b.track) : faces;
    this.#resize(ordered.length);
    this.#overlay.classList.toggle("crowded", ordered.length > CROWD);
    this.#heading.textContent = ordered.length ? count(ordered.length, "face") : "No face";
    ordered.forEach((face, index) => {
      const name = `${face.track ? "Person" : "Face"} ${face.track ?? index + 1}`;
      const number = ordered.length > 1 ? `${face.track ?? index + 1} ` : "";
      this.#boxes[index].show(face, name, number, placed(face.box, width, height, mirrored));
      this.#cards[index].show(face, name, onCorrect && (() => onCorrect(face)));
    });
    this.#mark();
  }

  /** Shows none. */
  clear() {
    this.#chosen = 0;
    this.#resize(0);
    this.#heading.textContent = "";
  }

  #resize(size) {
    while (this.#boxes.length > size) {
      this.#boxes.pop().element.remove();
      this.#cards.pop().element.remove();
    }
    while (this.#boxes.length < size) {
      const index = this.#boxes.length;
      const box = new Box();
      const card = new Card();
      box.element.addEventListener("click", () => this.#choose(index));
      card.element.addEventListener("click", () => this.#choose(index, false));
      this.#boxes.push(box);
      this.#cards.push(card);
      this.#overlay.append(box.element);
      this.#list.append(card.element);
    }
    this.#chosen = Math.min(this.#chosen, Math.max(0, size - 1));
  }

  #choose(index, scroll = true) {
    this.#chosen = index;
    this.#mark();
    if (scroll) this.#cards[index].element.scrollIntoView({ block: "nearest" });
  }

  #mark() {
    const several = this.#boxes.length > 1;
    this.#boxes.forEach((box, index) => box.mark(index === this.#chosen));
    this.#cards.forEach((card, index) => card.element.classList.toggle("chosen", several && index === this.#chosen));
  }

  /** The arrow keys go from face to face, as in any group of radio buttons. */
  #walk(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step || !this.#boxes.length) return;
    event.preventDefault();
    this.#choose((this.#chosen + step + this.#boxes.length) % this.#boxes.length);
    this.#boxes[this.#chosen].element.focus();
  }
}

/** A box in shares of the picture. */
function placed(box, width, height, mirrored) {
  const { x, y, width: w, height: h } = rectangle(box);
  return { left: (mirrored ? width - x - w : x) / width, top: y / height, width: w / width, height: h / height };
}

class Box {
  #name = html("span");
  #share = html("span", { className: "share" });

  constructor() {
    const label = html("span", { className: "label" }, this.#name, this.#share);
    this.element = html("button", { type: "button", className: "box", role: "radio" }, label);
  }

  show(face, name, number, place) {
    for (const [side, share] of Object.entries(place)) this.element.style[side] = `${share * 100}%`;
    this.element.dataset.emotion = face.emotion;
    this.element.setAttribute("aria-label", `${name}: ${face.emotion} ${percent(face.confidence)}`);
    this.element.classList.toggle("at-top", place.top < 0.07);
    this.element.classList.toggle("at-right", place.left + place.width / 2 > 0.7);
    this.#name.textContent = number + face.emotion;
    this.#share.textContent = ` ${percent(face.confidence)}`;
  }

  mark(isChosen) {
    this.element.setAttribute("aria-checked", isChosen);
    this.element.tabIndex = isChosen ? 0 : -1;
  }
}

/** One thing that was recognized, with its probabilities. */
export class Card {
  #title = html("h3");
  #rows = html("tbody");
  #caption = html("caption", { className: "sr-only" });
  #correct = html("button", { type: "button", className: "link" }, "Not right?");
  #onCorrect = null;
  #bars = new Map();

  constructor() {
    this.#correct.addEventListener("click", () => this.#onCorrect());
    this.element = html("li", { className: "card" }, this.#title, html("table", {}, this.#caption, this.#rows), this.#correct);
  }

  show(face, name, onCorrect) {
    this.element.dataset.emotion = face.emotion;
    this.#title.textContent = `${name}: ${face.emotion}`;
    this.#caption.textContent = `${name}: probability of each emotion`;
    for (const [emotion, share] of Object.entries(face.probabilities)) this.#bar(emotion).show(share);
    this.#onCorrect = onCorrect;
    this.#correct.hidden = !onCorrect;
    this.#correct.setAttribute("aria-label", `Not right? Correct ${name.toLowerCase()}, ${face.emotion}`);
  }

  #bar(emotion) {
    if (!this.#bars.has(emotion)) {
      const bar = new Bar(emotion);
      this.#bars.set(emotion, bar);
      this.#rows.append(bar.element);
    }
    return this.#bars.get(emotion);
  }
}

class Bar {
  #fill = html("span", { className: "fill" });
  #share = html("td", { className: "share" });

  constructor(emotion) {
    const track = html("td", { className: "track", "aria-hidden": "true" }, html("span", { className: "rail" }, this.#fill));
    this.element = html("tr", {}, html("th", { scope: "row" }, emotion), track, this.#share);
    this.element.dataset.emotion = emotion;
  }

  show(share) {
    this.#fill.style.width = `${share * 100}%`;
    this.#share.textContent = percent(share);
  }
}
