"""Flask and Keras as the documents behind this project serve: grey, 48 x 48, 0..1, `model.predict` on a batch of one.

The network is the same as everywhere, as its SavedModel, and takes grey levels 0..255; so they are not divided by 255.
"""

from __future__ import annotations

import cv2
import keras
import numpy as np
from flask import Flask, Response, request

from benchmarks.peers.arguments import Arguments
from benchmarks.peers.payload import faces_of


def create_app(arguments: Arguments) -> Flask:
    """The application."""
    app = Flask(__name__)
    # The twin of the same version lies beside the ONNX model.
    version = arguments.classifier.parent
    saved = version.parents[1] / "emotion_classifier_savedmodel" / version.name / "model.savedmodel"
    model = keras.Sequential([keras.layers.TFSMLayer(str(saved), call_endpoint="serving_default")])

    @app.post("/classify")
    def classify() -> Response:
        rows = []
        for face in faces_of(request.get_data()):
            grey = cv2.resize(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), (48, 48))
            outputs = model.predict(grey.astype(np.float32)[None, :, :, None], verbose=0)
            rows.append(outputs["PROBABILITIES"][0])
        return Response(np.stack(rows).astype(np.float32).tobytes(), mimetype="application/octet-stream")

    return app


def main() -> None:
    """Serve until a signal."""
    arguments = Arguments.read()
    create_app(arguments).run(host="127.0.0.1", port=arguments.port, threaded=True)


if __name__ == "__main__":
    main()
