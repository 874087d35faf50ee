#!/usr/bin/env python3
"""Finds libtorch, or assembles it in the cache from the published wheels, and tells cargo where it is.

The wheels are taken as archives only: which Python they were built for does not matter. `libtorch.json` pins them
by SHA-256. The folder in the cache is assembled under another name and renamed when it is whole, so that a folder
with the right name is never a half one. Only the standard library and pip are needed.
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from fnmatch import fnmatch
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
MARKER = "rescom-complete.json"
# From the torch wheel, for the processor only: without the CUDA libraries (5 of 6 gigabytes) and the Python binding.
CPU_LIBRARIES = ("libtorch_cpu.so", "libc10.so", "libshm.so", "libtorch_global_deps.so", "libgomp*.so*")
# What libtorch_cpu.so of that wheel asks for when it is loaded.
CPU_CUDA_LIBRARIES = ("libcudart.so.13", "libcupti.so.13")


class SetupError(Exception):
    """One line: what failed and how to mend it."""


def say(line):
    print(f"setup: {line}", flush=True)


# ---------------------------------------------------------------- a libtorch that is there already


def version_in(folder):
    """The version that a libtorch folder states about itself, or None."""
    sources = (
        ("build-version", r"(\S+)"),
        ("version.py", r"__version__ *= *['\"]([^'\"]+)"),
        ("include/torch/headeronly/version.h", r'#define TORCH_VERSION "([^"]+)"'),
        ("include/torch/csrc/api/include/torch/version.h", r'#define TORCH_VERSION "([^"]+)"'),
    )
    for name, pattern in sources:
        with contextlib.suppress(OSError):
            found = re.search(pattern, (folder / name).read_text(errors="replace"))
            if found:
                return found.group(1)
    return None


def check_own(folder, wanted):
    """Raises unless `folder`, named by the user, is a libtorch of the wanted version."""
    mend = f"point LIBTORCH to a libtorch {wanted} (the folder `torch` of `pip install torch=={wanted}` is one), or unset it to have one fetched"
    missing = [name for name in ("include", "lib") if not (folder / name).is_dir()]
    if missing:
        raise SetupError(f"LIBTORCH={folder} is no libtorch: it has no folder `{missing[0]}`; {mend}")
    if not any((folder / "lib" / name).exists() for name in ("libtorch_cpu.so", "libtorch_cpu.dylib")):
        raise SetupError(f"LIBTORCH={folder} is no libtorch: lib/ has no libtorch_cpu; {mend}")
    version = version_in(folder)
    if version is None:
        raise SetupError(f"LIBTORCH={folder} does not state its version; {mend}")
    if version.split("+")[0] != wanted:
        raise SetupError(f"LIBTORCH={folder} is version {version}, needed is {wanted}; {mend}")


def tell_cargo(folder, config):
    """Writes the file that .cargo/config.toml includes; leaves it alone when it already says so."""
    path = json.dumps(str(folder), ensure_ascii=False)
    rpath = json.dumps(f"link-arg=-Wl,-rpath,{folder}/lib", ensure_ascii=False)
    text = (
        "# Written by `make setup`. The flags are for documentation tests, which build.rs cannot reach.\n"
        f"[env]\nLIBTORCH = {{ value = {path}, relative = false }}\n\n"
        f'[build]\nrustdocflags = ["-C", {rpath}]\n'
    )
    if config.exists() and config.read_text() == text:
        return
    partial = config.with_name(f"{config.name}.partial.{os.getpid()}")
    partial.write_text(text)
    partial.rename(config)


def told_to_cargo(config):
    """The libtorch folder that an earlier set-up wrote into `config`, or None."""
    with contextlib.suppress(OSError, ValueError):
        found = re.search(r'^LIBTORCH = { value = (".*"), relative', config.read_text(), re.MULTILINE)
        if found:
            return Path(json.loads(found.group(1)))
    return None


# ---------------------------------------------------------------- the cache


def cache_folder():
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not base.startswith("/"):  # the XDG rule: a relative path is ignored
        if not os.environ.get("HOME"):
            raise SetupError("neither HOME nor XDG_CACHE_HOME is set, so there is no place for the cache: set one of them")
        base = Path(os.environ["HOME"]) / ".cache"
    return Path(base) / "rescom"


def is_whole(root, wheels):
    """True if `root` was finished by this script from exactly these wheels, and its libraries still have their sizes."""
    try:
        marker = json.loads((root / MARKER).read_text())
        return marker["wheels"] == {w["file"]: w["sha256"] for w in wheels} and all(
            (root / name).stat().st_size == size for name, size in marker["libraries"].items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


@contextlib.contextmanager
def locked(cache):
    """Holds the cache's lock; yields its descriptor, which pip inherits so that an orphaned pip holds it too."""
    with open(cache / "libtorch.lock", "a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            say(f"another set-up (process {owner}) is at work in {cache}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield lock.fileno()


def clear_leftovers(cache):
    """Removes what killed set-ups left; only for the holder of the lock."""
    for left in cache.glob("libtorch-*.partial.*"):
        shutil.rmtree(left, ignore_errors=True)


def check_space(cache, gigabytes):
    free = shutil.disk_usage(cache).free
    fetched = sum(f.stat().st_size for f in (cache / "fetch").glob("*.whl"))
    if free + fetched < gigabytes * 1e9:
        raise SetupError(
            f"{free / 1e9:.1f} GB free in {cache}, {gigabytes} GB are needed for a while (half of it stays); "
            "make room, or set XDG_CACHE_HOME to a folder on a larger disk"
        )


# ---------------------------------------------------------------- fetching


def digest(path):
    sha = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()


def no_pip(stderr):
    if "No module named pip" not in stderr:
        return None
    return (
        "python3 has no pip (it fetches libtorch); Debian, Ubuntu: `apt install python3-pip`; "
        "Fedora: `dnf install python3-pip`; elsewhere: `python3 -m ensurepip --user`"
    )


def pip_says(stderr, wheel, cache):
    """Turns what pip wrote into one line with a remedy."""
    again = "run the same command again"
    if "No space left" in stderr or "Errno 28" in stderr or "Errno 122" in stderr:
        return f"the disk of {cache} filled up while fetching {wheel['file']}; make room (or set XDG_CACHE_HOME) and {again}"
    if "DO NOT MATCH THE HASHES" in stderr:
        return (
            f"{wheel['file']} came with another SHA-256 than the pinned one: the transfer broke off or the server "
            f"gives another file; {again}, and if it stays so ask for the file another way (WHEELS=folder)"
        )
    cut = ("IncompleteRead", "Connection broken", "ConnectionResetError", "Read timed out", "ReadTimeout", "incomplete-download")
    if any(word in stderr for word in cut):
        return f"the transfer of {wheel['file']} broke off; {again}"
    offline = ("NewConnectionError", "Failed to establish", "Name or service", "name resolution", "ConnectTimeout", "ProxyError", "Connection refused", "Network is unreachable")
    if any(word in stderr for word in offline):
        return (
            f"no network: pip cannot reach its index for {wheel['file']}; connect and {again}, or put the wheels that "
            "scripts/libtorch.json names into a folder and add WHEELS=folder, or set LIBTORCH to a libtorch that you have"
        )
    errors = [line for line in stderr.splitlines() if line.startswith("ERROR")] or stderr.splitlines()[-1:] or ["pip said nothing"]
    return f"pip cannot fetch {wheel['file']} ({errors[-1].strip()}); see `pip config list` for the index in use, or add WHEELS=folder"


def pip_flags():
    """Options that only newer pips know."""
    done = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, text=True)
    if done.returncode != 0:
        raise SetupError(no_pip(done.stderr) or f"`python3 -m pip --version` fails: {done.stderr.strip()[-200:]}")
    found = re.match(r"pip (\d+)\.(\d+)", done.stdout)
    resumes = found and (int(found.group(1)), int(found.group(2))) >= (25, 1)
    return ["--resume-retries", "5"] if resumes else []


def fetch(wheel, python, cache, wheels_folder, temporary, lock):
    """The path of the wheel in the cache, whole and verified; a whole one from an interrupted set-up is taken."""
    path = cache / "fetch" / wheel["file"]
    if path.exists():
        if digest(path) == wheel["sha256"]:
            return path
        say(f"{wheel['file']} was fetched only in part before; fetching it again")
        path.unlink()
    if wheels_folder:
        given = wheels_folder / wheel["file"]
        if not given.is_file():
            raise SetupError(f"{wheels_folder} has no {wheel['file']}; scripts/libtorch.json names the wheels that are needed")
        if digest(given) != wheel["sha256"]:
            raise SetupError(f"{given} has another SHA-256 than the pinned one: it is damaged or incomplete; copy it again")
        return given
    path.parent.mkdir(exist_ok=True)
    requirement = temporary / "requirement.txt"
    requirement.write_text(f"{wheel['name']}=={wheel['version']} --hash=sha256:{wheel['sha256']}\n")
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-cache-dir", "--retries", "2"]
    command += ["--no-deps", "--only-binary=:all:", "--require-hashes", "--requirement", str(requirement)]
    command += ["--implementation", "cp", "--python-version", python, "--platform", wheel["platform"]]
    command += [*pip_flags(), "--dest", str(path.parent)]
    say(f"fetching {wheel['file']}")
    environment = {**os.environ, "TMPDIR": str(temporary), "PIP_REQUIRE_VIRTUALENV": "0"}
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace", env=environment, pass_fds=(lock,))
    if done.returncode != 0:
        raise SetupError(no_pip(done.stderr) or pip_says(done.stderr, wheel, cache))
    if not path.exists() or digest(path) != wheel["sha256"]:
        path.unlink(missing_ok=True)
        raise SetupError(f"{wheel['file']} is not what was pinned after its transfer; run the same command again")
    return path


# ---------------------------------------------------------------- assembling


def place(name, device):
    """Where a member of a wheel goes, relative to the folder in the cache; None for what is not needed."""
    base = name.rsplit("/", 1)[-1]
    if name.endswith("/"):
        return None
    if device == "cuda":  # the wheels' own layout: the libraries find each other by relative paths
        library = re.search(r"\.so(\.\d+)*$", base) and base != "libtorch_python.so"
        kept = library and name.startswith(("torch/lib/", "nvidia/"))
        return name if kept or name.startswith("torch/include/") else None
    if name.startswith("torch/include/"):
        return name[len("torch/") :]
    patterns = CPU_LIBRARIES if name.startswith("torch/lib/") else CPU_CUDA_LIBRARIES
    return f"lib/{base}" if any(fnmatch(base, pattern) for pattern in patterns) else None


def unpack(archive, device, into):
    with zipfile.ZipFile(archive) as wheel:
        for member in wheel.infolist():
            relative = place(member.filename, device)
            if relative is None:
                continue
            target = into / relative
            if into not in target.resolve().parents:
                raise SetupError(f"{archive.name} would write outside its folder ({member.filename}); do not use it")
            target.parent.mkdir(parents=True, exist_ok=True)
            with wheel.open(member) as source, open(target, "wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
            if ".so" in target.name:
                target.chmod(0o755)


def link_umbrella(lib):
    """libtorch.so holds no code: it only asks for the others. The wheel's own asks for CUDA, so the CPU gets a new one."""
    compiler = os.environ.get("CC", "cc").split()
    flags = ["-shared", "-Wl,--no-as-needed", "-Wl,-soname,libtorch.so", "-Wl,-rpath,$ORIGIN", f"-L{lib}", "-ltorch_cpu", "-lc10"]
    try:
        done = subprocess.run([*compiler, *flags, "-o", str(lib / "libtorch.so")], capture_output=True, text=True)
    except FileNotFoundError:
        raise SetupError(f"no C compiler `{compiler[0]}`; Debian, Ubuntu: `apt install g++`; Fedora: `dnf install gcc-c++`") from None
    if done.returncode != 0:
        raise SetupError(f"`{compiler[0]}` cannot link libtorch.so: {done.stderr.strip().splitlines()[-1:]}")


def check_loads(lib):
    """Loads the assembled library once, in a process of its own: a missing library or a too old libc shows here."""
    code = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"
    environment = {k: v for k, v in os.environ.items() if k != "LD_LIBRARY_PATH"}
    done = subprocess.run([sys.executable, "-c", code, str(lib / "libtorch.so")], capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"signal {-done.returncode}"])[-1]
        raise SetupError(f"the assembled libtorch does not load ({last}); glibc 2.28 or newer is needed; otherwise set LIBTORCH to your own")


def assemble(root, device, pins, wheels, wheels_folder, lock):
    """Fetches, verifies, unpacks; `root` appears only when all of it is on the disk."""
    cache = root.parent
    partial = cache / f"{root.name}.partial.{os.getpid()}"
    temporary = partial / "temporary"
    temporary.mkdir(parents=True)
    try:
        archives = [fetch(w, pins["python"], cache, wheels_folder, temporary, lock) for w in wheels]
        say(f"unpacking into {root}")
        for archive in archives:
            unpack(archive, device, partial)
        home = partial / "torch" if device == "cuda" else partial
        if device == "cpu":
            link_umbrella(home / "lib")
        check_loads(home / "lib")
        (home / "build-version").write_text(pins["torch"] + "\n")
        shutil.rmtree(temporary)
        libraries = {str(f.relative_to(partial)): f.stat().st_size for f in partial.rglob("*.so*")}
        marker = {"wheels": {w["file"]: w["sha256"] for w in wheels}, "libraries": libraries}
        (partial / MARKER).write_text(json.dumps(marker, indent=1))
        os.sync()
        if root.exists():
            say(f"{root} was not finished by this script or has changed since; replacing it")
            old = cache / f"{root.name}.partial.old"
            root.rename(old)
            partial.rename(root)
            shutil.rmtree(old, ignore_errors=True)
        else:
            partial.rename(root)
        os.sync()
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(cache / "fetch", ignore_errors=True)


def ensure(device, pins, wheels_folder):
    """The libtorch folder for `device`, assembled if need be."""
    cache = cache_folder()
    root = cache / f"libtorch-{pins['torch']}-{'cu130' if device == 'cuda' else 'cpu'}"
    home = root / "torch" if device == "cuda" else root
    wheels = [w for w in pins["wheels"] if device in w["devices"]]
    if is_whole(root, wheels):
        return home
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache) as lock:
        if not is_whole(root, wheels):  # another set-up may have done it while this one waited
            clear_leftovers(cache)
            check_space(cache, pins["needs_gb"][device])
            assemble(root, device, pins, wheels, wheels_folder, lock)
    return home


# ---------------------------------------------------------------- the command


def choose(options, pins):
    """The libtorch to use: the user's, the one this checkout already uses, or the cache's."""
    own = os.environ.get("LIBTORCH")
    if own:
        folder = Path(own).resolve()
        check_own(folder, pins["torch"])
        return folder, "from LIBTORCH"
    if options.device is None:
        folder = told_to_cargo(options.config)
        if folder and cache_folder() not in folder.parents:
            with contextlib.suppress(SetupError):
                check_own(folder, pins["torch"])
                return folder, "kept from the last set-up; `make setup DEVICE=cpu` goes back to the cache's"
        options.device = "cuda" if folder and folder.name == "torch" else "cpu"
    return ensure(options.device, pins, options.wheels), options.device


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: as in the last set-up of this checkout, else cpu")
    parser.add_argument("--wheels", type=Path, help="take the wheels from this folder instead of from the index")
    parser.add_argument("--pins", type=Path, default=REPOSITORY / "scripts/libtorch.json", help="other pinned wheels (for tests)")
    parser.add_argument("--config", type=Path, default=REPOSITORY / ".cargo/libtorch.toml", help="the file to write for cargo")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda got, _: sys.exit(128 + got))
    pins = json.loads(options.pins.read_text())
    try:
        folder, whence = choose(options, pins)
        tell_cargo(folder, options.config)
    except SetupError as error:
        sys.exit(f"setup: {error}")
    except zipfile.BadZipFile as error:
        sys.exit(f"setup: a wheel is damaged ({error}); run the same command again")
    except OSError as error:
        remedy = "make room there, or set XDG_CACHE_HOME to a folder on a larger disk, and run the same command again"
        if error.errno not in (27, 28, 122):  # file too large, no space left, quota
            remedy = "check that the folder exists and may be written (XDG_CACHE_HOME moves the cache)"
        sys.exit(f"setup: {error}; {remedy}")
    except KeyboardInterrupt:
        sys.exit("setup: interrupted; the next one goes on from here")
    say(f"libtorch {pins['torch']} ({whence}): {folder}")


if __name__ == "__main__":
    main()
