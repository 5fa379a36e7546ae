"""The wheel as users install it: both names, typed, and no framework asked for."""

import subprocess
import sys
import zipfile

from conftest import ROOT

PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]


def test_the_wheel_holds_both_packages_and_needs_no_framework(tmp_path):
    build = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, timeout=300)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
        metadata = packed.read(next(n for n in names if n.endswith("METADATA"))).decode()
    assert {"neursafe_fl/py.typed", "nsfl/py.typed", "nsfl/local.py", "neursafe_fl/local.py"} <= names
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra" not in line]
    assert [line.split()[1].split(">")[0] for line in required] == ["numpy", "safetensors"]
    assert "License-Expression: Apache-2.0" in metadata

    subprocess.run([*PIP, "install", "--no-deps", "--target", str(tmp_path / "at"), str(wheel)], check=True, timeout=300)
    lines = [
        f"import sys; sys.path.insert(0, {str(tmp_path / 'at')!r})",
        "import nsfl, neursafe_fl, nsfl.local",
        "assert not {'torch', 'keras', 'tensorflow'} & set(sys.modules)",
        "print(nsfl.__file__)",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path))
