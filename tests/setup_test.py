#!/usr/bin/env python3
"""Set-up under what goes wrong on real machines: `python3 tests/setup_test.py` (part of `make test`).

Small stand-ins for the wheels are served by a local index that can break a transfer off, send other bytes, or stall.
Nothing outside temporary folders is touched and no network is used.
"""

import functools
import hashlib
import http.server
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import unittest
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
SCRIPT = REPOSITORY / "scripts/libtorch.py"
TORCH_WHEEL = "torch-2.11.0-cp311-cp311-manylinux_2_28_x86_64.whl"
CUDA_WHEEL = "nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_x86_64.whl"


def library(folder, name):
    """A shared library with nothing in it."""
    path = folder / name
    subprocess.run(["cc", "-shared", "-x", "c", "-o", path, f"-Wl,-soname,{name}", os.devnull], check=True)
    return path.read_bytes()


@functools.lru_cache(maxsize=1)
def wheels():
    """Stand-ins by file name: laid out like the real wheels, the torch one a few megabytes that do not compress."""
    noise = random.Random(0).randbytes(4_000_000)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        torch = {f"torch/lib/{n}": library(scratch, n) for n in ("libtorch_cpu.so", "libc10.so", "libtorch_cuda.so")}
        torch["torch/include/torch/noise.h"] = noise
        torch["torch/nn/modules.py"] = b"not needed"
        cuda = {"nvidia/cu13/lib/libcudart.so.13": library(scratch, "libcudart.so.13")}
        made = {}
        for file, members in ((TORCH_WHEEL, torch), (CUDA_WHEEL, cuda)):
            name, version, *tags = file[: -len(".whl")].split("-")
            about = f"{name}-{version}.dist-info"
            members[f"{about}/METADATA"] = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n".encode()
            members[f"{about}/WHEEL"] = f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {'-'.join(tags)}\n".encode()
            members[f"{about}/RECORD"] = b""
            with zipfile.ZipFile(scratch / file, "w") as archive:
                for member, content in members.items():
                    archive.writestr(member, content)
            made[file] = (scratch / file).read_bytes()
    return made


class Index(http.server.ThreadingHTTPServer):
    """A package index on this machine. `mode`: whole, cut (half the bytes, then closed), other (right length, wrong
    bytes), stalled (half, then nothing until `go` is set)."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Request)
        self.mode = "whole"
        self.go = threading.Event()
        self.stalled = threading.Event()
        self.asked = []  # the wheels asked for
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Request(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, content, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()

    def do_GET(self):
        last = self.path.rstrip("/").split("/")[-1]
        content = wheels().get(last)
        if content is None:
            links = "".join(f'<a href="/{file}">{file}</a>' for file in wheels() if file.startswith(last.replace("-", "_")))
            page = f"<!DOCTYPE html><html><body>{links}</body></html>".encode()
            self.answer(page, "text/html")
            self.wfile.write(page)
            return
        server = self.server
        server.asked.append(last)
        self.answer(content, "application/octet-stream")
        half = len(content) // 2
        if server.mode == "other":
            content = content[:half] + b"?" + content[half + 1 :]
        self.wfile.write(content[:half])
        if server.mode == "cut":
            return
        if server.mode == "stalled":
            self.wfile.flush()
            server.stalled.set()
            server.go.wait(60)
        self.wfile.write(content[half:])

    def handle(self):
        try:
            super().handle()
        except (BrokenPipeError, ConnectionResetError):
            pass  # the other side was killed: that is the test


class SetupCase(unittest.TestCase):
    def setUp(self):
        # A space in the path, as users have them.
        self.folder = Path(tempfile.mkdtemp(prefix="rescom set-up ")).resolve()
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.cache = self.folder / "cache" / "rescom"
        self.root = self.cache / "libtorch-2.11.0-cpu"
        self.config = self.folder / "libtorch.toml"
        self.index = Index()
        self.addCleanup(self.index.server_close)
        self.addCleanup(self.index.shutdown)
        self.url = f"http://127.0.0.1:{self.index.server_address[1]}/simple"
        self.pin()

    def pin(self, needs_gb=0.001):
        rows = []
        for file, content in wheels().items():
            name, version, *tags = file[: -len(".whl")].split("-")
            row = {"name": name.replace("_", "-"), "version": version, "devices": ["cpu"], "platform": tags[-1]}
            rows.append({**row, "file": file, "sha256": hashlib.sha256(content).hexdigest()})
        pins = {"torch": "2.11.0", "python": "3.11", "needs_gb": {"cpu": needs_gb, "cuda": needs_gb}, "wheels": rows}
        (self.folder / "pins.json").write_text(json.dumps(pins))

    def environment(self, **more):
        kept = {k: v for k, v in os.environ.items() if not k.startswith("PIP_") and k not in ("LIBTORCH", "DEVICE", "WHEELS")}
        ours = {"XDG_CACHE_HOME": str(self.folder / "cache"), "PIP_INDEX_URL": self.url, "PIP_CONFIG_FILE": os.devnull}
        return {**kept, **ours, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", **more}

    def command(self, *arguments, python=sys.executable):
        return [python, str(SCRIPT), "--pins", str(self.folder / "pins.json"), "--config", str(self.config), *map(str, arguments)]

    def set_up(self, *arguments, limit=None, python=sys.executable, **environment):
        def limited():
            if limit:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        command = self.command(*arguments, python=python)
        return subprocess.run(command, env=self.environment(**environment), capture_output=True, text=True, preexec_fn=limited, timeout=120)

    def start(self):
        return subprocess.Popen(self.command(), env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def assert_ready(self, done):
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f'"{self.root}"', self.config.read_text())
        self.assertTrue((self.root / "lib/libtorch.so").is_file())
        self.assertTrue((self.root / "lib/libcudart.so.13").is_file())
        self.assertEqual((self.root / "include/torch/noise.h").stat().st_size, 4_000_000)
        self.assertFalse((self.root / "lib/libtorch_cuda.so").exists())
        self.assert_tidy()

    def assert_tidy(self):
        """Neither wheels nor half-made folders stay behind."""
        left = {p.name for p in self.cache.iterdir()}
        self.assertLessEqual(left, {"libtorch.lock", self.root.name})

    def assert_fails(self, done, *words):
        """One line, exit code 1, and no folder that could be taken for a whole one."""
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertFalse(self.root.exists())
        self.assertFalse(self.config.exists())


class Fetching(SetupCase):
    def test_fresh_then_nothing_to_do(self):
        self.assert_ready(self.set_up())
        self.assertEqual(sorted(self.index.asked), sorted(wheels()))
        before = {p: p.stat().st_mtime_ns for p in [*self.root.rglob("*"), self.config]}
        self.assert_ready(self.set_up())
        self.assertEqual(len(self.index.asked), 2, "the second call fetched")
        self.assertEqual(before, {p: p.stat().st_mtime_ns for p in [*self.root.rglob("*"), self.config]})

    def test_a_pip_that_wants_a_virtual_environment_and_an_empty_libtorch(self):
        self.assert_ready(self.set_up(PIP_REQUIRE_VIRTUALENV="1", LIBTORCH=""))

    def test_transfer_cut_off(self):
        self.index.mode = "cut"
        self.assert_fails(self.set_up(), TORCH_WHEEL, "again")
        self.index.mode = "whole"
        self.assert_ready(self.set_up())

    def test_other_bytes_than_pinned(self):
        self.index.mode = "other"
        self.assert_fails(self.set_up(), TORCH_WHEEL, "SHA-256")
        self.index.mode = "whole"
        self.assert_ready(self.set_up())

    def test_no_network(self):
        self.url = "http://127.0.0.1:9/simple"
        self.assert_fails(self.set_up(), "no network", "WHEELS=", "LIBTORCH")

    def test_version_that_the_index_does_not_have(self):
        pins = self.folder / "pins.json"
        pins.write_text(pins.read_text().replace('"version": "2.11.0"', '"version": "2.11.9"'))
        self.assert_fails(self.set_up(), "No matching distribution", "pip config list")

    def test_killed_in_mid_fetch(self):
        self.index.mode = "stalled"
        first = self.start()
        self.assertTrue(self.index.stalled.wait(60))
        first.send_signal(signal.SIGKILL)
        first.wait()
        self.assertFalse(self.root.exists())
        # The orphaned pip holds the lock until it is done; the next set-up waits for it.
        self.index.mode = "whole"
        self.index.go.set()
        self.assert_ready(self.set_up())
        first.stdout.close()

    def test_terminated_in_mid_fetch_leaves_nothing(self):
        self.index.mode = "stalled"
        first = self.start()
        self.assertTrue(self.index.stalled.wait(60))
        first.send_signal(signal.SIGTERM)
        first.communicate()
        self.assertEqual(first.returncode, 128 + signal.SIGTERM)
        self.assertEqual(list(self.cache.glob("libtorch-*")), [])
        self.index.go.set()
        self.index.mode = "whole"
        self.assert_ready(self.set_up())

    def test_leftovers_of_a_power_cut(self):
        (self.cache / "fetch").mkdir(parents=True)
        (self.cache / "fetch" / TORCH_WHEEL).write_bytes(wheels()[TORCH_WHEEL][:1_000_000])
        (self.cache / "fetch" / CUDA_WHEEL).write_bytes(wheels()[CUDA_WHEEL])
        (self.cache / "libtorch-2.11.0-cpu.partial.1" / "lib").mkdir(parents=True)
        (self.root / "lib").mkdir(parents=True)  # right name, but no marker
        self.assert_ready(self.set_up())
        self.assertEqual(self.index.asked, [TORCH_WHEEL], "the whole wheel need not be fetched again, the half one must")

    def test_two_at_once_fetch_once(self):
        self.index.mode = "stalled"
        first = self.start()
        self.assertTrue(self.index.stalled.wait(60))
        second = self.start()
        self.assertIn(f"process {first.pid}", second.stdout.readline())
        self.index.mode = "whole"
        self.index.go.set()
        self.assertEqual((first.communicate(timeout=60), first.returncode)[1], 0)
        self.assertEqual((second.communicate(timeout=60), second.returncode)[1], 0)
        self.assertEqual(sorted(self.index.asked), sorted(wheels()))

    def test_damaged_later(self):
        self.assert_ready(self.set_up())
        os.truncate(self.root / "lib/libtorch_cpu.so", 100)
        self.assert_ready(self.set_up())
        self.assertEqual(len(self.index.asked), 4)


class Disk(SetupCase):
    def given(self):
        folder = self.folder / "wheels"
        folder.mkdir()
        for file, content in wheels().items():
            (folder / file).write_bytes(content)
        return folder

    def test_wheels_from_a_folder_need_no_network(self):
        self.url = "http://127.0.0.1:9/simple"
        folder = self.given()
        self.assert_ready(self.set_up("--wheels", folder))
        self.assertEqual(len(list(folder.iterdir())), 2, "the user's wheels must stay")

    def test_folder_with_a_half_wheel_or_none(self):
        folder = self.given()
        os.truncate(folder / TORCH_WHEEL, 2_000_000)
        self.assert_fails(self.set_up("--wheels", folder), TORCH_WHEEL, "damaged or incomplete")
        (folder / TORCH_WHEEL).unlink()
        self.assert_fails(self.set_up("--wheels", folder), TORCH_WHEEL, "libtorch.json")

    def test_too_little_space_is_seen_before_fetching(self):
        self.pin(needs_gb=1e9)
        self.assert_fails(self.set_up(), "GB free", "XDG_CACHE_HOME")
        self.assertEqual(self.index.asked, [])

    def test_file_limit_while_unpacking(self):
        self.assert_fails(self.set_up("--wheels", self.given(), limit=1_000_000), "make room")
        self.assert_tidy()

    def test_file_limit_while_fetching(self):
        self.assert_fails(self.set_up(limit=1_000_000), TORCH_WHEEL)
        self.assertEqual(list(self.cache.glob("libtorch-*")), [])

    def small_disk(self, *arguments, megabytes):
        """Set-up with its cache on a file system of this size, in a mount namespace of its own; and what is left there."""
        (self.folder / "cache").mkdir(exist_ok=True)
        left = self.folder / "left.txt"
        script = 'mount -t tmpfs -o "size=$1m" tmpfs "$2" || exit 99; left=$3; shift 3; "$@"; code=$?; find "$XDG_CACHE_HOME" >"$left"; exit $code'
        command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
        command += [str(megabytes), str(self.folder / "cache"), str(left), *self.command(*arguments)]
        done = subprocess.run(command, env=self.environment(), capture_output=True, text=True, timeout=120)
        if done.returncode == 99 or done.stderr.startswith("unshare"):
            self.skipTest("this system lets users mount nothing")
        return done, left.read_text()

    @unittest.skipUnless(shutil.which("unshare"), "no unshare here")
    def test_disk_full_half_way(self):
        for arguments, megabytes in (((), 3), ((), 6), (("--wheels", self.given()), 3)):
            with self.subTest(arguments=arguments, megabytes=megabytes):
                done, left = self.small_disk(*arguments, megabytes=megabytes)
                self.assert_fails(done, "make room")
                self.assertNotIn("libtorch-2.11.0-cpu", left)


class Own(SetupCase):
    def own(self, version):
        folder = self.folder / "mine"
        for name in ("include", "lib"):
            (folder / name).mkdir(parents=True)
        (folder / "lib/libtorch_cpu.so").write_bytes(b"")
        (folder / "version.py").write_text(f"__version__ = '{version}'\n")
        return folder

    def test_right_version_is_taken_as_it_is(self):
        self.url = "http://127.0.0.1:9/simple"
        folder = self.own("2.11.0+cu130")
        done = self.set_up(LIBTORCH=str(folder))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(str(folder), self.config.read_text())
        self.assertFalse(self.cache.exists())
        # Also when the variable is gone; DEVICE asks for the cache's again.
        self.assertIn("kept", self.set_up().stdout)
        self.assertIn("no network", self.set_up("--device", "cpu").stderr)

    def test_wrong_version(self):
        self.assert_fails(self.set_up(LIBTORCH=str(self.own("2.10.0"))), "2.10.0", "2.11.0", "LIBTORCH")

    def test_not_a_libtorch(self):
        self.assert_fails(self.set_up(LIBTORCH=str(self.folder / "nowhere")), "nowhere", "pip install torch==2.11.0")

    def test_relative_cache_is_ignored_and_home_is_needed(self):
        environment = self.environment(XDG_CACHE_HOME="some/where")
        environment.pop("HOME", None)
        done = subprocess.run(self.command(), env=environment, capture_output=True, text=True)
        self.assert_fails(done, "HOME", "XDG_CACHE_HOME")


class Tools(SetupCase):
    """`setup.sh` with a PATH that lacks one tool, or has another one."""

    TOOLS = ("sh", "sed", "cut", "sort", "head", "dirname", "uname", "cargo", "rustc", "cc", "c++", "python3")

    def shell(self, missing=(), fake=(), *arguments):
        tools = Path(tempfile.mkdtemp(dir=self.folder))
        for tool in set(self.TOOLS) - set(missing):
            (tools / tool).symlink_to(shutil.which(tool))
        for tool, text in dict(fake).items():
            (tools / tool).unlink()
            (tools / tool).write_text(f"#!/bin/sh\necho {text}\n")
            (tools / tool).chmod(0o755)
        environment = {**self.environment(PATH=str(tools)), "XDG_CACHE_HOME": "/dev/null"}
        environment.pop("CXX", None)
        done = subprocess.run([str(REPOSITORY / "scripts/setup.sh"), *arguments], env=environment, capture_output=True, text=True)
        return done

    def test_each_missing_tool_has_its_remedy(self):
        for tool, remedy in {"cargo": "rustup.rs", "cc": "g++", "c++": "g++", "python3": "python3-pip"}.items():
            with self.subTest(tool=tool):
                self.assert_fails(self.shell(missing=[tool]), remedy)

    def test_old_rust(self):
        self.assert_fails(self.shell(fake={"rustc": "rustc 1.70.0 '(abc 2023-05-31)'"}), "1.70.0", "rustup update")

    def test_old_python(self):
        # The stand-in fails when asked to compare versions, as an old one would.
        self.assert_fails(self.shell(fake={"python3": "Python 3.6.9; exit 1"}), "3.6.9", "3.9")

    def test_other_systems_get_a_word_on_what_works(self):
        done = self.shell(fake={"uname": "Darwin"})
        self.assert_fails(done, "Darwin", "make sim", "LIBTORCH")

    def test_rust_alone_is_enough_for_the_simulator(self):
        done = self.shell(["c++", "python3"], {}, "--rust-only")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_python_without_pip(self):
        made = subprocess.run([sys.executable, "-m", "venv", "--without-pip", self.folder / "bare"], capture_output=True)
        if made.returncode != 0:
            self.skipTest("this Python cannot make a virtual environment")
        self.assert_fails(self.set_up(python=str(self.folder / "bare/bin/python3")), "python3 has no pip", "python3-pip")


class Report(SetupCase):
    """`make report` in a copy of its scripts, with a stand-in for cargo that writes what the programs would."""

    def report(self, training="mkdir -p reports/runs/b; echo '# Training' > reports/runs/b/report.md", version="2.11.0"):
        copy, tools = self.folder / "copy", self.folder / "tools"
        if not copy.exists():
            shutil.copytree(REPOSITORY / "scripts", copy / "scripts")
            (copy / ".cargo").mkdir()
            tools.mkdir()
            for file in ("Makefile", "Cargo.toml"):
                shutil.copy(REPOSITORY / file, copy)
        simulation = "mkdir -p reports/runs/a; echo '# Simulation' > reports/runs/a/report.md"
        cases = f'*rescom-sim*) {simulation} ;; build*) ;; *rescom-repro*) {training} ;; *) exit 9 ;;'
        (tools / "cargo").write_text(f'#!/bin/sh\ncase "$*" in {cases} esac\n')
        (tools / "cargo").chmod(0o755)
        own = self.folder / "mine"
        shutil.rmtree(own, ignore_errors=True)
        environment = self.environment(PATH=f"{tools}:{os.environ['PATH']}", LIBTORCH=str(Own.own(self, version)))
        done = subprocess.run(["make", "report"], cwd=copy, env=environment, capture_output=True, text=True)
        return done, (copy / "reports/runs/README.md").read_text()

    def test_complete(self):
        done, index = self.report()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("[Simulation](a/report.md)", index)
        self.assertIn("[Training](b/report.md)", index)
        self.assertNotIn("Not complete", index)

    def test_training_fails_and_succeeds_later(self):
        done, index = self.report(training="exit 2")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("[Simulation](a/report.md)", index)
        self.assertIn("training runs on Fashion-MNIST** failed (exit code 2)", index)
        done, index = self.report()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("Not complete", index)

    def test_no_libtorch_still_gives_the_simulation(self):
        done, index = self.report(version="2.9.1")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("2.9.1", done.stderr)
        self.assertIn("[Simulation](a/report.md)", index)
        self.assertIn("set-up of libtorch** failed", index)
        self.assertNotIn("Training", index)

    def test_interrupted(self):
        done, index = self.report(training="exit 130")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("was interrupted", index)


if __name__ == "__main__":
    unittest.main()
