#!/usr/bin/env python3
"""Guard of the numbers: records what the programs compute and compares it, bit for bit, with another version's.

    scripts/golden.py check --base COMMIT            builds COMMIT and the working tree, records both, compares
    scripts/golden.py record --programs DIR OUT      records what the two programs in DIR compute
    scripts/golden.py compare BEFORE AFTER           compares two records; exit code 1 names each difference
    scripts/golden.py selftest                       shows that the comparison can fail

Five parts: `quick` (the nine quick Fashion-MNIST runs of `make report`), `methods` (every method and ablation on
generated images), `faults` (killed and resumed), `sim` (rescom-sim at 1 and 2 threads) and `old` (folders made by the
base version). Every run computes with one thread, so that a repetition gives the same bits. Only the standard library
is used.
"""

import argparse
import contextlib
import fcntl
import json
import os
import platform
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from golden_digest import (
    PARTS, compare, differences, files_digest, nothing, read_digest, record_numbers, run_digest, sha256, table_numbers,
    tensors, write_json,
)  # fmt: skip

REPOSITORY = Path(__file__).resolve().parent.parent
FIXTURE = REPOSITORY / "tests/fixtures/old-run"
PROGRAMS = ("rescom-repro", "rescom-sim")
MODULES = ("loss", "queue", "mining", "siamese")
ABLATIONS = ["".join(f"-no-{m}" for i, m in enumerate(MODULES) if off >> i & 1) for off in range(16)]
METHODS = ["ce", "balanced-softmax", "supcon+bs", "moco+bs", "mislas"] + ["rescom" + off for off in ABLATIONS]
# What a kept record holds follows from these files: with other ones it is made anew.
SCRIPT = [sha256(Path(__file__).with_name(name).read_bytes()) for name in ("golden.py", "golden_digest.py")]


class GuardError(Exception):
    """One line: what failed and how to mend it."""


def say(line):
    print(line, flush=True)


# ---------------------------------------------------------------- what is run


def settings(**values):
    """--set for each, `__` for the point and `_` for the hyphen of a recipe's key."""
    keys = {key.replace("__", ".").replace("_", "-"): value for key, value in values.items()}
    return [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]


def generated(method, imb="10", dataset="cifar10", data="images", **more):
    """A sweep of one tiny run on generated images: those that `synthesize` wrote, or `synthetic`, with more of them."""
    tiny = {
        "data__images_per_class": 32, "model__arch": "resnet20", "model__projection_dim": 16, "optim__epochs": 2,
        "optim__lr": 0.02, "optim__batch_size": 16, "optim__warmup_epochs": 1, "eval__every": 1,
        "eval__interim_per_class": 5, "contrast__queue_per_class": 8, "contrast__num_pos": 3, "contrast__num_neg": 40,
        **more,
    }  # fmt: skip
    command = ["fashion-mnist"] if dataset == "fashion-mnist" else ["cifar", "--dataset", dataset]
    place = ["--data", data] + (["--unverified"] if data != "synthetic" else [])
    return [*command, "--imb", imb, "--methods", method, *place, *settings(**tiny)]


def png(path, width, height, label):
    """Stripes in the colour of the class."""
    rows = b""
    for y in range(height):
        pixels = ([200 if c == label else (x * 5 + y * 3) % 128 for c in range(3)] for x in range(width))
        rows += b"\0" + bytes(value for pixel in pixels for value in pixel)
    chunks, about = b"", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    for kind, data in ((b"IHDR", about), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        chunks += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def image_list(root):
    """A long-tailed set of three classes under ImageNet-LT's names, one of its images broken."""
    for split, counts in (("train", (4, 3, 2)), ("test", (2, 2, 2))):
        lines = []
        for label, count in enumerate(counts):
            for number in range(count):
                name = f"{split}/class{label}/{number}.png"
                png(root / name, 64 + 6 * number, 80 - 3 * number, label)
                lines.append(f"{name} {label}\n")
        (root / f"ImageNet_LT_{split}.txt").write_text("".join(lines))
    broken = root / "train/class0/1.png"
    broken.write_bytes(broken.read_bytes()[:100])


def features_file(path):
    """Features around one direction per class, with labels and training counts, as safetensors."""
    rows, classes, dim = 120, 5, 8
    draw = random.Random(7)
    labels = [row % classes for row in range(rows)]
    values = [float(at == label) + draw.uniform(-0.4, 0.4) for label in labels for at in range(dim)]
    parts = {
        "features": ("F32", [rows, dim], struct.pack(f"<{len(values)}f", *values)),
        "labels": ("I64", [rows], struct.pack(f"<{rows}q", *labels)),
        "train_counts": ("I64", [classes], struct.pack(f"<{classes}q", 200, 120, 50, 15, 5)),
    }
    write_safetensors(path, parts)


def write_safetensors(path, parts):
    """`parts`: type, shape and bytes by name."""
    header, at = {}, 0
    for name, (dtype, shape, data) in parts.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in parts.values()))


class Recorder:
    """Runs the programs into one folder and collects what they computed, part by part. Each part has a folder in which
    the programs are started, so that a run's command names no place outside and is found again in a copy."""

    def __init__(self, programs, out, jobs, before=None, data=None):
        self.programs, self.out, self.jobs = programs.resolve(), out.resolve(), jobs
        self.before, self.data = before and before.resolve(), data
        self.part, self.runs, self.claims = None, {}, {}
        for program in PROGRAMS:
            if not os.access(self.programs / program, os.X_OK):
                how = "cargo build --release --features train --bins"
                raise GuardError(f"{self.programs}: no program {program}; build it: {how}")

    def record(self, part):
        """Runs `part` anew and writes its digest."""
        self.part, self.runs, self.claims = part, {}, {}
        self.folder = self.out / part
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        started, chains = time.monotonic(), getattr(self, part)()
        with ThreadPoolExecutor(self.jobs) as pool:
            list(pool.map(lambda item: self.chain(*item), chains.items()))
        digest = read_digest(self.out)
        digest.setdefault("parts", {})[part] = {"runs": self.runs, "claims": self.claims}
        write_json(self.out / "digest.json", digest)
        failed = [f"{name}: {why}" for name, why in self.claims.items() if why]
        say(f"recorded {part}: {len(self.runs)} runs in {time.monotonic() - started:.0f} s")
        return [f"{part}: {line}" for line in failed]

    def chain(self, name, steps):
        try:
            steps(name)
        except (GuardError, OSError, ValueError, KeyError, TypeError, struct.error) as e:
            self.claims[f"{name} runs"] = f"{type(e).__name__}: {e}" if not isinstance(e, GuardError) else str(e)

    # ------------------------------------------------------------ steps

    def start(self, program, args, cwd=None):
        cwd = cwd or self.folder
        cwd.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(
            [self.programs / program, *map(str, args)], cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def call(self, program, args, cwd=None):
        """Standard output of a call that succeeds."""
        process = self.start(program, args, cwd)
        stdout, stderr = process.communicate()
        if process.returncode:
            last = (stderr.strip().splitlines() or ["no word on standard error"])[-1]
            raise GuardError(f"{program} {' '.join(map(str, args))}: exit code {process.returncode}: {last}")
        return stdout

    def repro(self, *args):
        return self.call("rescom-repro", args)

    def synthesize(self, folder="images"):
        self.repro("data", "synthesize", "--train", 32, "--test", 10, "--out", folder)

    def sweep(self, name, args):
        """The folder of the one run of a sweep."""
        out = self.folder / name
        self.repro(*args, "--threads", "1", "--device", "cpu", "--out", out)
        return only_run(out)

    def keep(self, name, folder):
        self.runs[name] = {**run_digest(folder), "folder": str(folder.relative_to(self.out))}

    def claim(self, name, differences):
        """Something that must hold in itself, whatever it is compared with."""
        self.claims[name] = "; ".join(differences[:5])

    def killed(self, args, out):
        """A run killed after its first epoch and before its end."""
        for _ in range(5):
            shutil.rmtree(out, ignore_errors=True)
            process = self.start("rescom-repro", [*args, "--out", out])
            while process.poll() is None and not [*out.rglob("checkpoint-0001.json")]:
                time.sleep(0.002)
            process.kill()
            _, stderr = process.communicate()
            if not [*out.rglob("checkpoint-0001.json")]:
                raise GuardError(f"nothing to kill: {(stderr.strip().splitlines() or ['?'])[-1]}")
            if not [*out.rglob("record.json")]:
                return
        raise GuardError("the run ended five times before it could be killed")

    # ------------------------------------------------------------ parts

    def quick(self):
        data = ["--data", self.data] if self.data else []

        def one(imb, method):
            args = ["fashion-mnist", "--imb", imb, "--methods", method, "--preset", "quick", *data]
            return lambda name: self.keep(name, self.sweep(name, args))

        # The longest first, so that two at a time end together.
        return {f"imb{imb} {m}": one(imb, m) for m in ("rescom", "balanced-softmax", "ce") for imb in ("10", "50", "100")}

    def methods(self):
        def trained(args):
            return lambda name: self.keep(name, self.sweep(name, args))

        def with_all_that_follows(name):
            run = self.sweep(name, generated("mislas", data="synthetic"))
            for variant, more in (("stage2", []), ("stage2 shifted", settings(stage2__shifted_batch_norm="true"))):
                out = self.folder / variant
                self.repro("stage2", run, "--out", out, "--device", "cpu", *settings(stage2__epochs=2), *more)
                self.keep(f"{name} {variant}", out)
            self.finished(name, run)

        def rescom(name):
            self.finished(name, self.sweep(name, generated("rescom")))

        def listed(name):
            image_list(self.folder / "list of images")
            small = settings(
                model__arch="resnet20", model__projection_dim=8, optim__epochs=2, optim__batch_size=4,
                optim__warmup_epochs=1, eval__batch_size=4, eval__every=1, contrast__num_neg=8, contrast__queue_per_class=4,
            )  # fmt: skip
            args = ["imagenet-lt", "--data", "list of images", "--unverified", "--skip-broken", "--methods", "rescom", *small]
            self.keep(name, self.sweep(name, args))

        self.synthesize()
        chains = {"list": listed, "mislas": with_all_that_follows, "rescom": rescom}
        chains.update({m: trained(generated(m)) for m in METHODS if m not in chains})
        for name, args in {
            "rescom bf16": [*generated("rescom"), "--precision", "bf16"],
            "rescom unfilled left out": generated("rescom", contrast__queue_init="exclude-unfilled"),
            "moco+bs unfilled left out": generated("moco+bs", contrast__queue_init="exclude-unfilled"),
            "rescom reversed": generated("rescom", data__class_order="reversed"),
            "ce seeded": generated("ce", data__class_order="seeded"),
            "ce step": generated("ce", data__profile="step"),
            "ce as released": [*generated("ce"), "--schedule", "as-released"],
            "rescom cosine": generated("rescom", optim__schedule="cosine"),
            "rescom cifar100": generated("rescom", "4", "cifar100", "synthetic", data__images_per_class=4),
            "rescom grey": generated("rescom", dataset="fashion-mnist", data="synthetic"),
        }.items():
            chains[name] = trained(args)
        return chains

    def finished(self, name, run):
        """What other commands make of a finished run."""
        saved = self.folder / f"{name} features.safetensors"
        self.repro("features", run, "--device", "cpu", "--out", saved)
        self.repro("evaluate", run, "--device", "cpu")
        self.keep(name, run)
        self.runs[name]["tensors"].update({f"saved features/{k}": v for k, v in tensors(saved).items()})

    def faults(self):
        one = ["--device", "cpu", "--threads", "1"]

        def trained(name):
            args = [*generated("rescom", optim__epochs=3), *one]
            whole = self.sweep("whole", generated("rescom", optim__epochs=3))
            self.ends_alike(name, args, whole)

        def stage2(name):
            run = self.sweep("stage 1", generated("ce", optim__epochs=1, optim__warmup_epochs=0))
            args, whole = ["stage2", run, *one, *settings(stage2__epochs=6, stage2__lr=0.01)], self.folder / "whole stage2"
            self.repro(*args, "--out", whole)
            self.ends_alike(name, args, whole)

        self.synthesize()
        return {"killed rescom": trained, "killed stage2": stage2}

    def ends_alike(self, name, args, whole):
        broken = self.folder / name
        self.killed(args, broken)
        self.repro(*args, "--out", broken)
        self.keep(name, broken if (broken / "record.json").exists() else only_run(broken))
        self.claim(f"{name} ends as if never interrupted", list(differences(run_digest(whole), self.runs[name])))

    def sim(self):
        file = self.folder / "features.safetensors"
        features_file(file)
        dual = ["dual-imbalance", "--classes", "6", "--imb", "10", "--batch", "32", "--dim", "16", "--keys-per-class", "8"]
        dual += ["--mine-pos", "3", "--mine-neg", "20", "--batches", "12", "--sweep", "imb=1,10", "--stages", "0,128"]
        studies = {
            "dual-imbalance": dual,
            "dual-imbalance gaussian": [*dual, "--noise", "gaussian", "--form", "in", "--no-queue", "--seed", "3"],
            "easy-pairs": ["easy-pairs", "--anchors", "20", "--dim", "16"],
            "from-features": ["from-features", "../../features.safetensors"],
            "from-features drawn": ["from-features", "../../features.safetensors", "--max-rows", "60"],
        }

        def study(name):
            found = {}
            for threads in ("1", "2"):
                # Results hold the command line: the same words in another folder.
                cwd = self.folder / name / f"threads-{threads}"
                self.call("rescom-sim", [*studies[name], "--threads", threads, "--out", "report"], cwd)
                found[threads] = files_digest(cwd / "report")
            self.runs[name] = found["1"]
            self.claim(f"{name} is the same at 1 and 2 threads", list(differences(found["1"], found["2"], words=True)))

        return {name: study for name in studies}

    def old(self):
        """Folders of the base version, which this version reads, reports and goes on with."""
        made = self.folder / "made"
        if self.before:
            if not (self.before / "old/made").is_dir():
                raise GuardError(f"{self.before}: no folders of the base version (old/made); record its part old first")
            shutil.copytree(self.before / "old/made", made)
        else:
            self.make_old(made)
        return {"finished": self.old_finished, "unfinished": self.old_unfinished, "records": self.old_records}

    OLD_FINISHED = [*generated("rescom", data="made/images"), "--threads", "1", "--device", "cpu"]
    OLD_UNFINISHED = [*generated("rescom", data="made/images", optim__epochs=3), "--threads", "1", "--device", "cpu"]

    def make_old(self, made):
        self.synthesize("made/images")
        self.repro(*self.OLD_FINISHED, "--out", made / "finished")
        run = only_run(made / "finished")
        self.repro("stage2", run, "--device", "cpu", *settings(stage2__epochs=2), "--out", made / "finished/stage2")
        self.repro(*self.OLD_UNFINISHED, "--out", made / "ended")
        self.killed(self.OLD_UNFINISHED, made / "unfinished")

    def old_finished(self, name):
        work, anew = self.folder / "finished", self.folder / "anew"
        shutil.copytree(self.folder / "made/finished", work)
        self.repro("report", work)
        self.repro(*self.OLD_FINISHED, "--out", anew)
        run = only_run(anew).name
        self.repro("compare", work / run, anew / run, "--exact")
        for which in (run, "stage2"):
            self.repro("evaluate", work / which, "--device", "cpu")
            self.repro("features", work / which, "--device", "cpu")
            self.keep(f"{name} {which}", work / which)

    def old_unfinished(self, name):
        work = self.folder / "unfinished"
        shutil.copytree(self.folder / "made/unfinished", work)
        self.repro(*self.OLD_UNFINISHED, "--out", work)
        self.keep(name, only_run(work))
        ended = run_digest(only_run(self.folder / "made/ended"))
        self.claim("an old unfinished run ends as in the old version", list(differences(ended, self.runs[name])))

    def old_records(self, name):
        """The records that lie in the repository, made at commit ec519f4; their report, times included."""
        work, written = self.folder / "records", self.folder / "report"
        shutil.copytree(FIXTURE, work)
        self.repro("compare", work, FIXTURE, "--exact")
        for line in self.repro("report", work, "--json", "--out", written).splitlines():
            record = json.loads(line)
            run, read = record["id"], {**nothing(), "numbers": record_numbers(record), "epochs": len(record["epochs"])}
            there = json.loads((FIXTURE / run / "record.json").read_text())
            there = {**nothing(), "numbers": record_numbers(there)}
            self.runs[f"{name} {run}"] = read
            self.claim(f"{run} is read as it was written", list(differences(there, read)))
        made = files_digest(written)
        # Its tables as files may be laid out anew; the numbers in report.md are to stay.
        words = {**made["files"], **made["words"]}
        self.runs["report of old records"] = {**nothing(), "numbers": table_numbers(written / "report.md"), "words": words}


def only_run(out):
    """The one run of a sweep."""
    found = [path.parent for path in out.glob("*/recipe.toml")]
    if len(found) != 1:
        raise GuardError(f"{out}: {len(found)} runs, expected 1")
    return found[0]


# ---------------------------------------------------------------- base and working tree


def exact(before, after, parts, programs):
    """What the program's own `compare --exact` says of every run that both records hold."""
    wrong, count = [], 0
    old, new = (read_digest(folder).get("parts", {}) for folder in (before, after))
    for part in (part for part in parts if part in old and part in new):
        for name, run in new[part]["runs"].items():
            then = old[part]["runs"].get(name, {}).get("folder")
            if then and (before / then / "record.json").exists():
                words = [programs / "rescom-repro", "compare", before / then, after / run["folder"], "--exact"]
                done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                count += 1
                wrong += [f"{part}: {name}: compare --exact: {done.stderr.strip()}"] if done.returncode else []
    return wrong, [] if wrong else [f"compare --exact: {count} runs equal"]


def report(before, after, options, programs):
    """Prints the comparison; its exit code."""
    wrong, remarks, equal = compare(before, after, options.part, options.new_ok, options.strict)
    if programs:
        unlike, alike = exact(before, after, options.part or PARTS, programs)
        wrong, equal = wrong + unlike, equal + alike
    for line in equal + [f"note: {line}" for line in remarks]:
        say(line)
    shown = wrong if options.all else wrong[:40]
    for line in shown:
        say(f"DIFFERENT {line}")
    if len(shown) < len(wrong):
        say(f"and {len(wrong) - len(shown)} more; --all names them")
    return 1 if wrong else 0


def command(*words, cwd=REPOSITORY):
    done = subprocess.run([str(w) for w in words], cwd=cwd, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise GuardError(f"{' '.join(map(str, words))}: exit code {done.returncode}; its last lines say why")
    return done.stdout


def libtorch():
    """The folder of libtorch that a build here uses."""
    if os.environ.get("LIBTORCH"):
        return Path(os.environ["LIBTORCH"]).resolve()
    with contextlib.suppress(OSError):
        found = re.search(r'"(/[^"]+)"', (REPOSITORY / ".cargo/libtorch.toml").read_text())
        if found:
            return Path(found.group(1))
    raise GuardError("no libtorch is set up: type `make setup` first")


def built(tree, target, into):
    """Builds the programs of `tree` and copies them."""
    say(f"building the programs of {tree}")
    command("cargo", "build", "--release", "--features", "train", "--bins", "--target-dir", target, cwd=tree)
    into.mkdir(parents=True, exist_ok=True)
    for program in PROGRAMS:
        shutil.copy2(target / "release" / program, into / f"{program}.partial")
        (into / f"{program}.partial").replace(into / program)


def base_record(commit, parts, options):
    """What the programs of `commit` compute: built and recorded once, then kept in the cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place, torch = cache / "rescom/golden" / commit, libtorch()
    place.mkdir(parents=True, exist_ok=True)
    machine = [SCRIPT, str(torch), platform.machine(), processor(), options.data or ""]
    key = sha256(json.dumps(machine).encode())[:12]
    programs, record = place / f"programs-{torch.name}", place / f"record-{torch.name}-threads1-{key}"
    with open(place / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not all((programs / program).exists() for program in PROGRAMS):
            build_base(commit, place, programs)
        missing = [part for part in parts if part not in read_digest(record).get("parts", {})]
        recorder = Recorder(programs, record, options.jobs, data=options.data)
        for part in missing:
            say(f"recording {part} by the programs of {commit[:12]}, which is kept in {record}")
            # What the base version refuses (a method that came later, say) it lacks; all else is no result to keep.
            failed = [line for line in recorder.record(part) if "exit code 2:" not in line]
            if failed:
                digest = read_digest(record)
                del digest["parts"][part]
                write_json(record / "digest.json", digest)
                raise GuardError(f"the base version itself does not do what is recorded: {failed[0]}")
        for checkpoint in record.glob("*/*/*/checkpoint-*.safetensors"):
            if "made" not in checkpoint.parts:
                checkpoint.unlink()
    return record


def build_base(commit, place, programs):
    tree, target = place / "tree", place / "target"
    shutil.rmtree(tree, ignore_errors=True)
    command("git", "worktree", "prune")
    command("git", "worktree", "add", "--quiet", "--detach", tree, commit)
    try:
        with contextlib.suppress(FileNotFoundError):
            shutil.copy2(REPOSITORY / ".cargo/libtorch.toml", tree / ".cargo/libtorch.toml")
        built(tree, target, programs)
    finally:
        command("git", "worktree", "remove", "--force", tree)
    # A gigabyte that nothing needs any more; after a failure it is the way to go on.
    shutil.rmtree(target)


def processor():
    with contextlib.suppress(OSError):
        found = re.search(r"^(model name|CPU part)\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        return found.group(2) if found else ""
    return ""


def check(options):
    commit = command("git", "rev-parse", "--verify", "--quiet", f"{options.base}^{{commit}}").strip()
    before = base_record(commit, options.part, options)
    target = json.loads(command("cargo", "metadata", "--format-version", "1", "--no-deps"))["target_directory"]
    after = Path(tempfile.mkdtemp(prefix="rescom-golden-"))
    built(REPOSITORY, Path(target), after / "programs")
    recorder = Recorder(after / "programs", after, options.jobs, before, options.data)
    for part in options.part:
        recorder.record(part)
    code = report(before, after, options, after / "programs")
    if code:
        say(f"what was compared: {before} and {after}")
    else:
        shutil.rmtree(after)
    return code


# ---------------------------------------------------------------- the command line


def part_list(text):
    parts = list(PARTS) if text in ("", "all") else text.split(",")
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]}: expected all, or some of {', '.join(PARTS)}")
    return [part for part in PARTS if part in parts]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name, about, *kinds):
        one = commands.add_parser(name, help=about)
        if kinds:
            parts = "all, or some of " + ", ".join(PARTS)
            usual = {"default": None} if name == "compare" else {"default": "all"}
            one.add_argument("--part", type=part_list, metavar="PART,...", help=parts, **usual)
        if "run" in kinds:
            one.add_argument("--jobs", type=int, default=2, help="runs side by side, each with one thread (default 2)")
            one.add_argument("--data", metavar="DIR", help="where Fashion-MNIST lies (default: where the program looks)")
        if "compare" in kinds:
            one.add_argument("--new-ok", action="store_true", help="runs that only the second has are no difference")
            one.add_argument("--strict", action="store_true", help="other words and figures are a difference too")
            one.add_argument("--all", action="store_true", help="name every difference, not the first 40")
        return one

    one = add("record", "record what two programs compute", "run")
    one.add_argument("--programs", type=Path, required=True, metavar="DIR", help="folder of rescom-repro and rescom-sim")
    old = "record of the base version, whose folders part old reads (default: makes them itself)"
    one.add_argument("--old", type=Path, metavar="BEFORE", help=old)
    one.add_argument("out", type=Path, metavar="OUT")
    one = add("compare", "compare two records", "compare")
    one.add_argument("before", type=Path, metavar="BEFORE")
    one.add_argument("after", type=Path, metavar="AFTER")
    one.add_argument("--programs", type=Path, metavar="DIR", help="let rescom-repro in DIR compare every run too, with --exact")
    one = add("check", "compare the working tree with a commit", "run", "compare")
    one.add_argument("--base", required=True, metavar="COMMIT")
    add("selftest", "show that the comparison can fail")
    return parser.parse_args()


def main():
    options = arguments()
    if options.command == "record":
        recorder = Recorder(options.programs, options.out, options.jobs, options.old, options.data)
        failed = [line for part in options.part for line in recorder.record(part)]
        for line in failed:
            say(f"FAILED {line}")
        return 1 if failed else 0
    if options.command == "compare":
        return report(options.before, options.after, options, options.programs)
    if options.command == "check":
        return check(options)
    return subprocess.run([sys.executable, REPOSITORY / "tests/golden_test.py"]).returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GuardError as error:
        print(f"golden: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
