"""Runs the functions of a job's extender for the server: one JSON request a line on standard input, one answer a line
on what was standard output. What the script prints goes to the log. Needs Python 3.8 and nothing else; with numpy
weights are arrays, without it `Tensor`s. It is written beside the script and ends with the server."""

import array
import importlib.util
import json
import math
import mmap
import os
import queue
import random
import re
import resource
import shutil
import signal
import struct
import sys
import threading
import traceback
import zipfile

try:
    import numpy
except ImportError:
    numpy = None

SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1,
         "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1}
NUMPY = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
         "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?"}
ARRAY = {"F64": "d", "F32": "f", "F16": "e", "I64": "q", "I32": "i", "I16": "h", "I8": "b",
         "U64": "Q", "U32": "I", "U16": "H", "U8": "B", "BOOL": "?"}
FLOATS = ("F64", "F32", "F16", "BF16")
CONTROL = "scaffold.c/"
PLAIN = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$")
MAX_PARAMETERS = 1 << 20
MAX_FILES = 256 << 20


class Tensor:
    """A tensor as raw little-endian bytes, row by row: what weights are where numpy is not installed."""

    def __init__(self, dtype, shape, data):
        self.dtype, self.shape, self.data = dtype, tuple(shape), bytes(data)

    @classmethod
    def of(cls, dtype, shape, values):
        """From a flat list of numbers."""
        values = list(values)
        return cls(dtype, shape, struct.pack("<%d%s" % (len(values), code(dtype)), *values))

    def tolist(self):
        """The numbers, flat."""
        count = len(self.data) // SIZES[self.dtype]
        return list(struct.unpack("<%d%s" % (count, code(self.dtype)), self.data))

    def tobytes(self):
        return self.data

    def __repr__(self):
        return "Tensor(%s, %s)" % (self.dtype, list(self.shape))


def code(dtype):
    if dtype not in ARRAY:
        raise ValueError("numbers of type %s cannot be taken apart; their bytes are in .data" % dtype)
    return ARRAY[dtype]


class Weights:
    """A safetensors file, mapped."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        length = int.from_bytes(self.bytes[:8], "little")
        header = json.loads(self.bytes[8:8 + length].decode())
        header.pop("__metadata__", None)
        self.start, self.header = 8 + length, header

    def names(self):
        return sorted(name for name in self.header if not name.startswith(CONTROL))

    def range(self, name):
        begin, end = self.header[name]["data_offsets"]
        return self.start + begin, self.start + end

    def tensor(self, name):
        info, (begin, end) = self.header[name], self.range(name)
        if numpy is None or info["dtype"] not in NUMPY:
            return Tensor(info["dtype"], info["shape"], self.bytes[begin:end])
        kind = numpy.dtype(NUMPY[info["dtype"]])
        return numpy.frombuffer(self.bytes, kind, (end - begin) // kind.itemsize, begin).reshape(info["shape"])


def added(base, delta):
    """base + delta in their own type; of integers the delta is the value itself."""
    if isinstance(base, Tensor):
        if base.dtype not in FLOATS:
            return delta
        if base.dtype == "BF16":
            raise ValueError("weights of type BF16 cannot be added here; use update.delta")
        pairs = zip(base.tolist(), delta.tolist())
        return Tensor.of(base.dtype, base.shape, [a + b for a, b in pairs])
    return base + delta if base.dtype.kind == "f" else delta


class Update:
    """One client's update. Its parts are read when they are asked for; `update["weights"]` is `update.weights`."""

    def __init__(self, request, base):
        self.client_id = request["client"]
        self.metrics = request["metrics"]
        self.weight = request["weight"]
        self.round = request["round"]
        self._base, self._path, self._extra = base, request["update"], request["extra"]
        self._delta = self._weights = self._opened = None

    @property
    def delta(self):
        """Name to tensor: local minus global."""
        if self._delta is None:
            weights = Weights(self._path)
            self._delta = {name: weights.tensor(name) for name in weights.names()}
        return self._delta

    @property
    def weights(self):
        """Name to tensor: the client's local weights."""
        if self._weights is None:
            self._weights = {name: added(self._base.tensor(name), delta) for name, delta in self.delta.items()}
        return self._weights

    @property
    def parameters(self):
        """What the script put with put_parameter."""
        return self._put()[0]

    @property
    def files(self):
        """What the script put with put_file: name to bytes."""
        return self._put()[1]

    def _put(self):
        if self._opened is None:
            parameters, files, total = {}, {}, 0
            if self._extra:
                with zipfile.ZipFile(self._extra) as package:
                    for info in package.infolist():
                        total += info.file_size
                        if total > MAX_FILES:
                            raise ValueError("what client %s put is too much" % self.client_id)
                        if info.filename == "parameters.json":
                            parameters = json.loads(package.read(info).decode())
                        elif info.filename.startswith("files/") and not info.is_dir():
                            files[info.filename[len("files/"):]] = package.read(info)
            self._opened = (parameters, files)
        return self._opened

    def __getitem__(self, name):
        if name not in ("weights", "delta", "metrics", "parameters", "files", "client_id", "weight", "round"):
            raise KeyError(name)
        return getattr(self, name)

    def get(self, name, default=None):
        try:
            return self[name]
        except KeyError:
            return default


class Mistake(Exception):
    """What the script gave back cannot be used."""


class Host:
    def __init__(self):
        self.functions, self.previous, self.base = {}, None, None

    def load(self, request):
        limit = request.get("memory")
        if limit:
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_size"], request["file_size"]))
        random.seed(request["seed"])
        if numpy is not None:
            numpy.random.seed(request["seed"] % (1 << 32))
        folder = request["folder"]
        with zipfile.ZipFile(request["package"]) as package:
            package.extractall(folder)
        entry = os.path.join(folder, request["entry"])
        if not os.path.isfile(entry):
            raise Mistake("there is no file '%s' in the extender's scripts" % request["entry"])
        os.chdir(folder)
        sys.path.insert(0, os.path.dirname(entry))
        sys.argv = [entry]
        spec = importlib.util.spec_from_file_location(os.path.splitext(os.path.basename(entry))[0], entry)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        named = request["functions"]
        by_name = not any(named.values())
        for role in ("broadcast", "aggregate", "finish"):
            name = role if by_name else named.get(role)
            function = getattr(module, name, None) if name else None
            if name and not by_name and not callable(function):
                raise Mistake("%s has no function '%s'" % (request["entry"], name))
            if callable(function):
                self.functions[role] = function
        if not self.functions:
            raise Mistake("%s has none of the functions broadcast, aggregate, finish" % request["entry"])
        return {role: role in self.functions for role in ("broadcast", "aggregate", "finish")}

    def broadcast(self, request):
        given = self.functions["broadcast"](request["params"])
        files, parameters = given if isinstance(given, tuple) and len(given) == 2 else (None, given)
        if given is not None and not (isinstance(given, tuple) and len(given) == 2):
            raise Mistake("broadcast must return (files, params), two dicts; it returned %s" % type(given).__name__)
        files, parameters = files or {}, parameters or {}
        if not isinstance(files, dict) or not isinstance(parameters, dict):
            raise Mistake("broadcast must return (files, params), two dicts")
        names = []
        for name, content in sorted(files.items()):
            if not isinstance(name, str) or not PLAIN.match(name):
                raise Mistake("broadcast: '%s' is no name of a file: letters, digits, . _ -" % (name,))
            with open(os.path.join(request["out"], name), "wb") as file:
                file.write(content_of(name, content))
            names.append(name)
        return {"files": names, "parameters": plain("broadcast", parameters)}

    def aggregate(self, request):
        if self.base is None:
            self.base = Weights(request["base"])
        if "aggregate" in self.functions:
            self.previous = self.functions["aggregate"](Update(request, self.base), self.previous)
        return None

    def finish(self, request):
        if "finish" not in self.functions:
            return {}
        given = self.functions["finish"](self.previous)
        if given is None:
            return {}
        if not isinstance(given, dict):
            raise Mistake("finish must return a dict or None; it returned %s" % type(given).__name__)
        strange = set(given) - {"weights", "parameters", "metrics"}
        if strange:
            raise Mistake("finish returned '%s'; allowed: weights, parameters, metrics" % sorted(map(str, strange))[0])
        answer = {}
        if given.get("weights") is not None:
            write(request["result"], given["weights"], request["out"])
            answer["weights"] = True
        if given.get("parameters") is not None:
            answer["parameters"] = plain("finish", given["parameters"])
        if given.get("metrics") is not None:
            answer["metrics"] = metrics(given["metrics"])
        return answer


def content_of(name, content):
    if isinstance(content, str):
        return content.encode()
    if isinstance(content, (bytes, bytearray, memoryview)):
        return bytes(content)
    raise Mistake("broadcast: the content of file '%s' must be bytes or text, it is %s" % (name, type(content).__name__))


def plain(who, parameters):
    """As JSON will give it back."""
    if not isinstance(parameters, dict):
        raise Mistake("%s: parameters must be a dict" % who)
    try:
        text = json.dumps(parameters, allow_nan=False, default=number)
    except (TypeError, ValueError) as error:
        raise Mistake("%s: the parameters cannot be sent as JSON: %s" % (who, error)) from None
    if len(text) > MAX_PARAMETERS:
        raise Mistake("%s: the parameters are %d bytes, at most %d are sent" % (who, len(text), MAX_PARAMETERS))
    return json.loads(text)


def number(value):
    """numpy's numbers are no numbers to json."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError("%s is neither number, text, list nor dict" % type(value).__name__)


def metrics(given):
    if not isinstance(given, dict):
        raise Mistake("finish: metrics must be a dict of numbers")
    for name, value in given.items():
        try:
            value = float(value)
        except (TypeError, ValueError):
            raise Mistake("finish: metric '%s' is no number" % name) from None
        if not math.isfinite(value):
            raise Mistake("finish: metric '%s' is not finite" % name)
    return {str(name): float(value) for name, value in given.items()}


def write(template, weights, out):
    """The file `template` with these tensors in place of its own; control variates stay."""
    if not isinstance(weights, dict):
        raise Mistake("finish: weights must be a dict of name to tensor")
    model = Weights(template)
    names = model.names()
    for name in weights:
        if name not in model.header or name.startswith(CONTROL):
            raise Mistake("finish: the model has no tensor '%s'" % name)
    shutil.copyfile(template, out)
    with open(out, "r+b") as file:
        for name in names:
            if name not in weights:
                raise Mistake("finish: tensor '%s' is missing in weights" % name)
            data = as_bytes(name, model.header[name], weights[name])
            file.seek(model.range(name)[0])
            file.write(data)


def as_bytes(name, info, value):
    shape, size = list(info["shape"]), SIZES[info["dtype"]]
    if isinstance(value, Tensor):
        found, data = list(value.shape), value.data
        if value.dtype != info["dtype"]:
            raise Mistake("finish: tensor '%s' is of type %s, the model's is %s" % (name, value.dtype, info["dtype"]))
    elif numpy is not None and info["dtype"] in NUMPY:
        tensor = numpy.asarray(value)
        found, data = list(tensor.shape), numpy.ascontiguousarray(tensor, NUMPY[info["dtype"]]).tobytes()
    elif isinstance(value, (list, array.array)):
        tensor = Tensor.of(info["dtype"], shape, value)
        found, data = shape, tensor.data
    else:
        raise Mistake("finish: tensor '%s' must be a Tensor or a flat list; it is %s" % (name, type(value).__name__))
    if found != shape or len(data) != size * math.prod(shape):
        raise Mistake("finish: tensor '%s' has the shape %s, the model's is %s" % (name, found, shape))
    return data


def reason(error):
    if isinstance(error, Mistake):
        return str(error)
    return "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()[-1]


def own_frames(error):
    """The traceback without our own frames above the script's."""
    if isinstance(error, Mistake):
        return None
    where = error.__traceback__
    while where is not None and where.tb_frame.f_code.co_filename in (__file__, "<frozen importlib._bootstrap>",
                                                                     "<frozen importlib._bootstrap_external>"):
        where = where.tb_next
    return "".join(traceback.format_exception(type(error), error, where or error.__traceback__))


def read_requests(stream, requests):
    """Until the end of the stream: the server is gone, or wants no more."""
    for line in stream:
        requests.put(line)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def main():
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    stdin = os.fdopen(os.dup(0), "r", encoding="utf-8")
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    requests = queue.Queue()
    threading.Thread(target=read_requests, args=(stdin, requests), daemon=True).start()
    # `import nsfl_extender` gives scripts the class
    sys.modules["nsfl_extender"] = sys.modules["__main__"]
    host = Host()
    while True:
        request = json.loads(requests.get())
        try:
            answer = {"ok": getattr(host, request["call"])(request)}
        except BaseException as error:  # also SystemExit: a script must not end its round unseen
            answer = {"error": {"reason": reason(error), "traceback": own_frames(error)}}
        sys.stdout.flush()
        sys.stderr.flush()
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
