// The page: what the person gives goes to the part that shows it; only one of them is at work.

import { gatewaySettings, Problem } from "./api.js";
import { consent, showCamera } from "./camera.js";
import { openCorrections } from "./correction.js";
import { byId, megabytes } from "./elements.js";
import { FaceView } from "./faces.js";
import { record } from "./microphone.js";
import { showPicture } from "./picture.js";
import { showRecording } from "./recording.js";
import { showVideo } from "./video.js";

/** Where the parts show what they have. */
const screen = {
  faces: new FaceView(byId("overlay"), byId("faces-heading"), byId("faces")),
  corrections: null,

  /** Says that something is going on; `share` of it is done, if that is known. */
  busy(text, share = null) {
    if (byId("progress").hidden) this.say(text);
    byId("progress").hidden = false;
    if (byId("progress-text").textContent !== text) byId("progress-text").textContent = text;
    if (share === null) byId("progress-bar").removeAttribute("value");
    else byId("progress-bar").value = share;
  },

  /** Shows a picture, player or viewfinder, or none of them. */
  show(element) {
    byId("progress").hidden = true;
    for (const other of ["picture", "player", "viewfinder"].map(byId)) other.hidden = other !== element;
    byId("stage").hidden = element === null;
    byId("stage").dataset.shows = element?.id ?? "";
    byId("camera-bar").hidden = element?.id !== "viewfinder";
    byId("result").hidden = false;
    document.body.classList.add("has-result");
  },

  /** Says which releases answered, what found the faces, and what is missing. */
  origin(versions, detector = "", speechVersions = [], problem = "") {
    const releases = (all) => [...new Set(all)].sort().join(" and ");
    const texts = [
      versions.length && `Named by release ${releases(versions)} of the model.`,
      detector && `Faces found by ${detector}.`,
      speechVersions.length && `Speech named by release ${releases(speechVersions)} of its model.`,
      problem,
    ];
    const text = texts.filter(Boolean).join(" ");
    if (byId("origin").textContent !== text) byId("origin").textContent = text;
  },

  /** For those who listen to the page. */
  say(sentence) {
    byId("status").textContent = sentence;
  },

  /** For everybody; "" takes it back. */
  problem(sentence) {
    byId("problem").hidden = !sentence;
    if (byId("problem").textContent !== sentence) byId("problem").textContent = sentence;
  },
};

let current = new AbortController();

/** Ends what is at work and begins something else. */
async function begin(work) {
  current.abort(new DOMException("Something else was begun.", "AbortError"));
  const own = (current = new AbortController());
  clear();
  try {
    await work(own.signal);
  } catch (error) {
    if (own.signal.aborted) return;
    if (!(error instanceof Problem)) console.error(error);
    screen.problem(error instanceof Problem ? error.message : "Something went wrong on this page; load it again.");
  } finally {
    if (own === current) byId("progress").hidden = true;
  }
}

function clear() {
  screen.problem("");
  screen.say("");
  screen.faces.clear();
  byId("origin").textContent = "";
  for (const id of ["picture", "player", "listener"]) {
    URL.revokeObjectURL(byId(id).src);
    byId(id).removeAttribute("src");
  }
  byId("player").load();
  byId("listener").load();
  byId("timeline").replaceChildren();
  byId("voices").replaceChildren();
  for (const id of ["timeline", "camera-bar", "result", "progress", "listener", "recorder"]) byId(id).hidden = true;
  document.body.classList.remove("has-result");
}

/** Shows a recording; none was made if the person discarded it. */
async function listenTo(file, signal) {
  if (file) await showRecording(file, screen, signal);
  else screen.say("The recording was discarded.");
}

function take(file) {
  if (!file) return;
  if (file.type.startsWith("audio/") || /\.(wav|flac|ogg|mp3)$/i.test(file.name)) {
    begin((signal) => showRecording(file, screen, signal));
    return;
  }
  const isVideo = file.type.startsWith("video/") || /\.(avi|mp4)$/i.test(file.name);
  const frameRate = Number(byId("frame-rate").value);
  const withAudio = byId("with-audio").checked;
  begin((signal) => (isVideo ? showVideo(file, frameRate, withAudio, screen, signal) : showPicture(file, screen, signal)));
}

function listen() {
  byId("choose").addEventListener("click", () => byId("file").click());
  byId("file").addEventListener("change", ({ target }) => {
    take(target.files[0]);
    target.value = "";
  });
  byId("use-camera").addEventListener("click", async () => {
    if (await consent("camera-dialog")) begin((signal) => showCamera(screen, signal).finally(() => signal.aborted || endCamera()));
  });
  byId("use-microphone").addEventListener("click", async () => {
    if (await consent("microphone-dialog")) begin(async (signal) => listenTo(await record(screen, signal), signal));
  });
  for (const id of ["stop-camera", "cancel"]) {
    byId(id).addEventListener("click", () => {
      begin(async () => screen.say(id === "cancel" ? "Cancelled." : "The camera is off."));
      byId("choose").focus();
    });
  }
  document.addEventListener("paste", ({ clipboardData }) => take(clipboardData.files[0]));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    byId("source").classList.add("dragged");
  });
  for (const event of ["dragleave", "drop"]) {
    document.addEventListener(event, () => byId("source").classList.remove("dragged"));
  }
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
  addEventListener("pagehide", () => current.abort());
}

function endCamera() {
  screen.faces.clear();
  byId("result").hidden = true;
  document.body.classList.remove("has-result");
}

async function learn() {
  const { max_image_bytes: picture, max_video_bytes: video, max_audio_bytes: audio } = await gatewaySettings();
  byId("limits").textContent =
    `A JPG, PNG or WebP picture up to ${megabytes(picture)}, an MP4 or AVI video up to ${megabytes(video)}, ` +
    `or a WAV, FLAC, OGG or MP3 recording up to ${megabytes(audio)}. ` +
    "The server looks at it or listens to it, answers and forgets it.";
  screen.corrections = await openCorrections();
}

listen();
learn().catch((error) => screen.problem(error.message));
