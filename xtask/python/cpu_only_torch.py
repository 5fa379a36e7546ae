#!/usr/bin/env python3
"""cpu_only_torch.py VENV: makes PyPI's CUDA build of torch importable without the 2.2 GB of CUDA packages.

VENV needs torch (--no-deps), nvidia-cuda-runtime and nvidia-cuda-cupti: the two that libtorch_cpu.so itself needs. The
machine needs gcc and binutils. Each other CUDA library is replaced by a stub with the same soname and symbol versions
whose functions return 1, an error. For tests on a CPU; users take plain `pip install torch`.
"""

import glob
import os
import re
import subprocess
import sys
import tempfile


def out(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def needs(users):
    """Libraries that these need, and the symbol versions of each."""
    names, versions = set(), {}
    for user in users:
        names |= set(re.findall(r"NEEDED.*\[(.*?)\]", out("readelf", "-d", user)))
        library = None
        for line in out("readelf", "-VW", user).split("Version needs section")[-1].splitlines():
            if m := re.search(r"File: (\S+)", line):
                library = m[1]
            elif m := re.search(r"Name: (\S+)", line):
                versions.setdefault(library, set()).add(m[1])
    return names, versions


def undefined(users):
    """Undefined functions by symbol version."""
    symbols = {}
    for user in users:
        for line in out("nm", "-D", "--undefined-only", user).splitlines():
            kind, symbol = line.split()[:2]
            if kind == "U":
                name, _, version = symbol.partition("@")
                symbols.setdefault(version.strip("@"), set()).add(name)
    return symbols


def defined(libraries):
    lines = (line for library in libraries for line in out("nm", "-D", "--defined-only", library).splitlines())
    return {line.split()[-1].split("@")[0] for line in lines}


def stub(path, name, functions, versions):
    with tempfile.TemporaryDirectory() as folder:
        with open(folder + "/stub.c", "w") as file:
            file.write("".join(f"int {f}(void){{return 1;}}\n" for f in sorted(functions)) or "int x;")
        with open(folder + "/versions", "w") as file:
            for version, members in versions.items():
                file.write(f"{version} {{ global: {'; '.join(sorted(members))}; }};\n")
        command = ["gcc", "-shared", "-fPIC", "-w", "-o", path, folder + "/stub.c", f"-Wl,-soname,{name}"]
        subprocess.run(command + ([f"-Wl,--version-script={folder}/versions"] if versions else []), check=True)
    print("stub", name, len(functions))


def main(venv):
    packages = glob.glob(venv + "/lib/python3*/site-packages")[0]
    torch, cuda = packages + "/torch/lib", glob.glob(packages + "/nvidia/cu*/lib")[0]
    user = re.compile(r"lib(torch_cuda.*|torch_python|torch_nvshmem|c10_cuda|caffe2_nvrtc)\.so$")
    users = [f"{torch}/{name}" for name in os.listdir(torch) if user.match(name)]
    names, versions = needs(users)
    there = set(os.listdir(torch)) | set(os.listdir(cuda)) | {"ld-linux-x86-64.so.2"}
    missing = sorted(name for name in names if name not in there and re.match(r"lib(cu|nccl|nv)", name))
    symbols = undefined(users)
    provided = defined(glob.glob(cuda + "/*.so*") + glob.glob(torch + "/*.so"))
    loose = {s for s in symbols.get("", ()) if re.match(r"(cu[A-Zbdfrsn]|nccl|nv)", s) and s not in provided}
    for index, name in enumerate(missing):
        mine = {v: symbols[v] for v in versions.get(name, ()) if v in symbols}
        functions = set().union(*mine.values()) if mine else set()
        if index == 0:  # symbols without a version: any library will do
            functions |= loose
        stub(f"{torch}/{name}", name, functions, mine)


if __name__ == "__main__":
    main(sys.argv[1])
