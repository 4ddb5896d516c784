// Asks the gateway that the page came from; what goes wrong becomes a sentence for a person.

import { byId } from "./elements.js";

/** A sentence that can be shown. */
export class Problem extends Error {
  constructor(sentence, status = 0) {
    super(sentence);
    this.status = status;
  }
}

let key = "";

/** The key that the person gave, or "". It is nowhere but here. */
export const apiKey = () => key;

/** Asks for an API key; false if the person gave none. */
export async function askForKey(reason) {
  const dialog = byId("key-dialog");
  const input = byId("key");
  byId("key-reason").textContent = reason;
  input.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  input.focus();
  await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
  key = dialog.returnValue === "ok" ? input.value.trim() : "";
  input.value = "";
  return key !== "";
}

/**
 * Asks the gateway, and for a key where it wants one.
 * Returns the answer's JSON, or null where it has none. Throws Problem, or AbortError if `signal` says so.
 */
export async function call(path, { method = "GET", body, headers = {}, signal, keepalive = false } = {}) {
  for (;;) {
    const all = key ? { ...headers, Authorization: `Bearer ${key}` } : headers;
    const answer = await send(path, { method, body, headers: all, signal, keepalive });
    if (answer.status === 204) return null;
    const content = await answer.json().catch(() => ({}));
    if (answer.ok) return content;
    const sentence = content.error ?? `The gateway answered with status ${answer.status}.`;
    if (answer.status !== 401 || !(await askForKey(sentence))) throw new Problem(sentence, answer.status);
  }
}

async function send(path, options) {
  try {
    return await fetch(path, { ...options, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The gateway does not answer. Is the connection there? Try again in a moment.");
  }
}

/** What the gateway takes; asked for once. */
let settings;
export function gatewaySettings() {
  settings ??= call("page/settings.json").catch((error) => {
    settings = undefined;
    throw error;
  });
  return settings;
}
