// Makes elements, and texts that people read.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element with properties, attributes (those with a dash) and children. */
export function html(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children);
  return element;
}

/** An SVG element with attributes and children. */
export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** The element with that id. */
export const byId = (id) => document.getElementById(id);

/** A face's box with names, whichever way the gateway wrote it. */
export const rectangle = (box) => (Array.isArray(box) ? { x: box[0], y: box[1], width: box[2], height: box[3] } : box);

const percentFormat = new Intl.NumberFormat("en", { style: "percent" });

/** A probability, as "95%". */
export const percent = (share) => percentFormat.format(share);

/** Seconds as "1:05", or "1:05.5" where they are not whole. */
export function clock(seconds) {
  const tenths = Math.round(seconds * 10);
  const whole = Math.floor(tenths / 10);
  const text = `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
  return tenths % 10 ? `${text}.${tenths % 10}` : text;
}

/** "1 face", "2 faces". */
export const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

/** Bytes as "10 MB"; the limits are in powers of two. */
export const megabytes = (bytes) => `${Math.round((bytes / 2 ** 20) * 10) / 10} MB`;
