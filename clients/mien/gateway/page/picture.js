// A picture: sent once, shown from the browser's own memory.

import { call, gatewaySettings, Problem } from "./api.js";
import { byId, count, megabytes } from "./elements.js";

/**
 * Shows a picture and its faces.
 * @param file that the person chose.
 * @param screen where things are shown.
 * @param signal ends it.
 */
export async function showPicture(file, screen, signal) {
  const { max_image_bytes: limit } = await gatewaySettings();
  if (file.size > limit) {
    throw new Problem(`The picture has ${megabytes(file.size)}; this gateway takes up to ${megabytes(limit)}.`);
  }
  screen.busy("Looking for faces …");
  const body = new FormData();
  body.append("image", file, "picture");
  const answer = await call("v1/detect", { method: "POST", body, signal });
  const picture = byId("picture");
  picture.src = URL.createObjectURL(file);
  await picture.decode().catch(() => undefined);
  signal.throwIfAborted();
  screen.show(picture);
  const onCorrect = screen.corrections ? (face) => screen.corrections.ask(face, picture) : null;
  screen.faces.show(answer.faces, answer.width, answer.height, { onCorrect });
  screen.origin(answer.faces.map((face) => face.model_version), answer.detector);
  screen.say(answer.reason ? `${answer.reason}.` : `${count(answer.faces.length, "face")} found.`);
  if (answer.reason) screen.problem(`${answer.reason}. Is a face seen from the front, upright and not too small?`);
}
