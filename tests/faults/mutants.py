"""Requests that were right once: calls of ModelInfer as bytes of protobuf, requests of the gateway as bytes of HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tritonclient.grpc import service_pb2

from mien.contract import EMOTION, EMOTION_CLASSIFIER, EMOTION_PREPROCESS

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from mien.contract import EnsembleSpec, ModelSpec

SIZES = (-(1 << 63), -1, 0, 1, 2, 3, 7, 48, 64, 65, 96, 255, 1 << 16, 1 << 31, 1 << 40, (1 << 62) + 1, (1 << 63) - 1)
DATATYPES = ("UINT8", "FP32", "FP16", "BF16", "INT64", "BOOL", "BYTES", "", "uint8", "JSON", "UINT8\0")
NAMES = ("FACES", "PIXELS", "PROBABILITIES", "", "pixels", "FACES\0", "../FACES", "é" * 40, "A" * 5000)
MODELS = ("emotion", "emotion_classifier", "emotion_candidate", "", "../emotion", "emotion/1", "EMOTION", "x" * 3000)
PARAMETERS = (
    *("sequence_id", "sequence_start", "sequence_end", "priority", "binary_data", "binary_data_output"),
    *("shared_memory_region", "shared_memory_offset", "shared_memory_byte_size", "classification"),
    *("triton_enable_empty_final_response", "headers", "triton_", "timeout", "", "p" * 300),
)


def infer_bytes(chance: random.Random) -> bytes:
    """A call of ModelInfer with one to four things wrong, some in its fields and some in its bytes."""
    request = _infer_request(chance.choice((EMOTION, EMOTION_CLASSIFIER, EMOTION_PREPROCESS)), chance.randrange(1, 3))
    in_bytes = chance.random()
    if in_bytes < 0.85:
        for _ in range(chance.randint(1, 4)):
            chance.choice(_FIELDS)(request, chance)
    content: bytes = request.SerializeToString()
    return _damaged(content, chance) if in_bytes > 0.75 else content


def _infer_request(model: ModelSpec | EnsembleSpec, size: int) -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest(model_name=model.name, id="mutant")
    request.inputs.add(name=model.input.name, datatype=model.input.datatype, shape=[size, *model.input.shape])
    request.outputs.add(name=model.output.name)
    request.raw_input_contents.append(model.input.zeros(size).tobytes())
    return request


def _change_shape(request: service_pb2.ModelInferRequest, chance: random.Random) -> None:
    shape = request.inputs[0].shape if request.inputs else [1]
    changed = list(shape)
    way = chance.randrange(4)
    if way == 0 and changed:
        changed[chance.randrange(len(changed))] = chance.choice(SIZES)
    elif way == 1:
        changed = [chance.choice(SIZES) for _ in range(chance.randrange(9))]
    elif way == 2:
        changed.insert(chance.randrange(len(changed) + 1), chance.choice(SIZES))
    else:
        changed = changed * chance.choice((0, 2, 60))
    if request.inputs:
        request.inputs[0].shape[:] = changed


def _change_content(request: service_pb2.ModelInferRequest, chance: random.Random) -> None:
    way = chance.randrange(5)
    if way == 0:
        del request.raw_input_contents[:]
    elif way == 1:
        request.raw_input_contents.append(b"x" * chance.choice((0, 1, 3, 9216, 27648)))
    elif way == 2 and request.raw_input_contents:
        content = request.raw_input_contents[0]
        request.raw_input_contents[0] = content[: chance.randrange(len(content) + 1)]
    elif way == 3 and request.raw_input_contents:
        request.raw_input_contents[0] += b"\xff" * chance.choice((1, 4, 9216))
    elif request.inputs:
        field = chance.choice(("uint_contents", "fp32_contents", "int64_contents", "bool_contents", "fp64_contents"))
        getattr(request.inputs[0].contents, field).extend([1] * chance.choice((1, 7, 2304)))
        if chance.random() < 0.5:
            request.inputs[0].contents.bytes_contents.append(b"\x00\xff")


def _change_tensor(request: service_pb2.ModelInferRequest, chance: random.Random) -> None:
    tensor = chance.choice([*request.inputs, *request.outputs] or [request.inputs.add()])
    if hasattr(tensor, "datatype") and chance.random() < 0.5:
        tensor.datatype = chance.choice(DATATYPES)
    else:
        tensor.name = chance.choice(NAMES)


def _repeat_tensor(request: service_pb2.ModelInferRequest, chance: random.Random) -> None:
    tensors = chance.choice((request.inputs, request.outputs))
    if chance.random() < 0.3 or not tensors:
        del tensors[:]
    else:
        tensors.extend([tensors[0]] * chance.choice((1, 2, 300)))


def _change_model(request: service_pb2.ModelInferRequest, chance: random.Random) -> None:
    if chance.random() < 0.5:
        request.model_name = chance.choice(MODELS)
    else:
        request.model_version = chance.choice(
            ("1", "2", "-1", "0", "99999999999999999999", "one", "1\0", " 1", "1" * 500)
        )


def _add_parameter(request: service_pb2.ModelInferRequest, chance: random.Random) -> None:
    places = [request, *request.inputs, *request.outputs]
    parameter = chance.choice(places).parameters[chance.choice(PARAMETERS)]
    kind = chance.choice(("bool_param", "int64_param", "string_param", "double_param", "uint64_param", None))
    values: dict[str, object] = {
        "bool_param": True,
        "int64_param": chance.choice(SIZES),
        "string_param": chance.choice(NAMES),
        "double_param": chance.choice((0.0, -1.0, float("nan"), float("inf"), 1e308)),
        "uint64_param": chance.choice([size for size in SIZES if size >= 0]),
    }
    if kind:
        setattr(parameter, kind, values[kind])


def _change_id(request: service_pb2.ModelInferRequest, chance: random.Random) -> None:
    request.id = chance.choice(("", "\0", "é" * 300, "i" * 2_000, "\n\r\x1b[2J"))


_FIELDS: tuple[Callable[[service_pb2.ModelInferRequest, random.Random], None], ...] = (
    *(_change_shape, _change_content, _change_tensor, _repeat_tensor, _change_model, _add_parameter, _change_id),
)


def _damaged(content: bytes, chance: random.Random) -> bytes:
    """With some bytes changed, mostly of the fields at either end, and pieces cut out, repeated or put in."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        near = min(len(changed), 120)
        place = chance.choice((chance.randrange(near + 1), len(changed) - chance.randrange(near + 1)))
        way = chance.randrange(5)
        if way == 0:
            del changed[place : place + chance.randrange(1, 40)]
        elif way == 1:
            changed[place:place] = chance.randbytes(chance.randrange(1, 20))
        elif way == 2:
            changed[place:place] = changed[place : place + chance.randrange(1, 60)]
        elif place < len(changed):
            changed[place] ^= 1 << chance.randrange(8) if way == 3 else chance.randrange(1, 256)
    return bytes(changed)


BOUNDARY = "mutant"
PATHS = (
    *(
        "/",
        "/health",
        "/ready",
        "/metrics",
        "/openapi.json",
        "/page/main.js",
        "/detect",
        "/v1/detect",
        "/v1/detect-video",
    ),
    *("/v1/jobs/abc", "/v1/jobs/abc/result", "/v1/camera", "/v1/feedback", "/v1/feedback/terms", "/v1/nothing"),
    *("/v1/feedback/0123456789abcdef0123456789abcdef", "/v1/feedback/0123456789abcdef0123456789abcdef/review"),
    *("/v1/feedback/0123456789abcdef0123456789abcdef/picture", "/v1/feedback?state=pending&limit=5&offset=0"),
)
WITH_BODY = ("/detect", "/v1/detect", "/v1/detect-video", "/v1/feedback", PATHS[-3])
METHODS = ("GET", "POST", "DELETE", "HEAD", "PUT", "OPTIONS", "PATCH")
STRANGE = (
    *("%00", "%2e%2e/", "../", "//", "%", "%zz", "%ff%fe", "é", "😀", "\0", "\x7f", "a" * 3000, "?", "?limit=-1", ";x"),
    *("?state=%27--&limit=1e9", "?frame_rate=nan", "#", " ", "\\", "?" + "a=b&" * 300, "?offset=" + "9" * 400),
)
HEADERS = (
    *(b"Content-Length: 18446744073709551616", b"Content-Length: -1", b"Content-Length: 5\r\nContent-Length: 6"),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Content-Type: multipart/form-data"),
    *(b"Content-Type: application/json", b'Content-Type: multipart/form-data; boundary="', b"Content-Type: \xff\xfe/x"),
    *(
        b"X-Request-ID: " + b"r" * 5000,
        b"X-Request-ID: \xc3\xa9",
        b"Authorization: Bearer \xff",
        b"X-API-Key: " + b"k" * 900,
    ),
    *(b"Expect: 100-continue", b"Upgrade: websocket\r\nConnection: Upgrade", b"Connection: keep-alive, close"),
    *(b"X-Forwarded-For: 127.0.0.1", b"Host: evil.example", b"Origin: null", b"Prefer: respond-async, wait=-1"),
    *(
        b"Accept: application/x-ndjson",
        b"traceparent: 00-zz-yy-01",
        b"Cookie: a=\x01",
        b": empty",
        b"No colon",
        b"A b: c",
    ),
    *(
        b"Range: bytes=0-,5-",
        b"X-Erasure-Token: \xf0\x9f",
        b"Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13",
        b" folded",
    ),
)
FIELDS = ("image", "video", "frame_rate", "predicted", "corrected", "release", "consent", "contributor", "", "x" * 700)
VALUES = (b"", b"nan", b"1e400", b"-1", b"happy", b"sad", b"true", b"1", b"\xff\xfe", b"\0", b"a" * 9000, "é".encode())


class HttpMutants:
    """Makes requests of the gateway.

    Args:
        picture: content of a good file, which some of the forms hold whole.
    """

    def __init__(self, picture: bytes) -> None:
        self._picture = picture

    def bytes_of(self, chance: random.Random) -> bytes:
        """A request with one to four things wrong, some in its parts and some in its bytes."""
        way = chance.random()
        method, path = chance.choice(METHODS), chance.choice(PATHS)
        if way < 0.5:
            method, path = "POST", chance.choice(WITH_BODY)
        headers = [b"Host: gateway", b"Connection: close"]
        body = b""
        if method in ("POST", "PUT", "PATCH"):
            kind, body = self._body(chance)
            headers += [f"Content-Type: {kind}".encode(), f"Content-Length: {len(body)}".encode()]
        if way > 0.4:
            for _ in range(chance.randint(1, 2)):
                if chance.random() < 0.4:
                    place = chance.randrange(1, len(path) + 1)
                    path = path[:place] + chance.choice(STRANGE) + path[place:]
                else:
                    headers.insert(chance.randrange(len(headers) + 1), chance.choice(HEADERS))
        content = b"\r\n".join([f"{method} {path} HTTP/1.1".encode(), *headers, b"", body])
        return _damaged(content, chance) if way > 0.9 else content

    def _body(self, chance: random.Random) -> tuple[str, bytes]:
        if chance.random() < 0.25:
            content = json.dumps(
                {"decision": chance.choice(("accepted", None, [], 7, "\0", {"a": "b" * 500}))}
            ).encode()
            return "application/json", _damaged(content, chance) if chance.random() < 0.7 else content
        form = self._form(chance)
        return f"multipart/form-data; boundary={BOUNDARY}", _damaged(form, chance) if chance.random() < 0.6 else form

    def _form(self, chance: random.Random) -> bytes:
        parts = [(chance.choice(FIELDS), chance.choice(VALUES), "") for _ in range(chance.choice((0, 1, 3, 7, 40)))]
        if chance.random() < 0.7:
            content = self._picture
            if chance.random() < 0.9:  # a whole one costs more than all that is refused
                content = _damaged(content[: chance.randrange(1, len(content))], chance)
            parts.append((chance.choice(("image", "video")), content, '; filename="x"'))
        chance.shuffle(parts)
        heads = (f'Content-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() for name, _, file in parts)
        lines = (b"--mutant\r\n" + head + part[1] + b"\r\n" for head, part in zip(heads, parts, strict=True))
        return b"".join(lines) + b"--mutant--\r\n"
