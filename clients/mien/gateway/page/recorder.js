// Runs in the browser's audio thread: hands the microphone's samples on, a few times a second.

const PIECE = 8192;

class Recorder extends AudioWorkletProcessor {
  #piece = new Float32Array(PIECE);
  #length = 0;

  process([[channel]]) {
    if (channel) {
      for (const sample of channel) {
        this.#piece[this.#length++] = sample;
        if (this.#length === PIECE) this.#hand();
      }
    }
    return true;
  }

  #hand() {
    this.port.postMessage(this.#piece, [this.#piece.buffer]);
    this.#piece = new Float32Array(PIECE);
    this.#length = 0;
  }
}

registerProcessor("recorder", Recorder);
