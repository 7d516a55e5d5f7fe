"""Files are whole, or they are as they were: on a full disk, behind a link, with two writers."""

import os
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from entropy_core.files import write_whole


def test_a_link_stays_a_link_and_a_mode_a_mode(tmp_path):
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o600)
    link.symlink_to(path)
    write_whole(link, b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_new_file_has_the_mode_of_any_other(tmp_path):
    write_whole(tmp_path / "ours", b"")
    (tmp_path / "other").write_bytes(b"")
    modes = {(tmp_path / name).stat().st_mode for name in ("ours", "other")}
    assert len(modes) == 1


def test_two_writers_do_not_see_each_other(tmp_path):
    path = tmp_path / "file"
    contents = [bytes([i]) * 10_000 for i in range(40)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda content: write_whole(path, content), contents))
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("what", ["report", "weights"])
def test_a_full_disk_is_an_error_and_leaves_the_old_file(what, tmp_path):
    """HDF5 itself ends the process with a segmentation fault where it cannot write."""
    path = tmp_path / "file"
    make = {
        "report": "from entropy_core.report import EntropyReport; import xarray as xr;"
        "save = EntropyReport(xr.DataTree(xr.Dataset({'x': ('i', range(9999))}))).save",
        "weights": "from entropy_core.vaes.weights import save_weights; import numpy as np;"
        "save = lambda path: save_weights(path, {'w': np.ones(9999)}, {})",
    }[what]
    path.write_bytes(b"old")
    code = f"""
import resource, signal
{make}
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (500, {resource.RLIM_INFINITY}))
try:
    save({str(path)!r})
except OSError as error:
    print("refused", error.errno)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.startswith("refused"), result.stderr
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]
