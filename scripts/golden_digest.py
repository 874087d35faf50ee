"""What `golden.py` compares: the tensors and numbers in the folder of a run, and how two records of them differ."""

import hashlib
import json
import re
import struct

# In the order in which they are made: the long one last.
PARTS = ("methods", "faults", "sim", "old", "quick")


# ---------------------------------------------------------------- what a run folder says


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def tensors(path):
    """SHA-256 of each tensor of a safetensors file over type, shape and bytes; its metadata is left out."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header, start = json.loads(data[8 : 8 + length]), 8 + length
    found = {}
    for name, about in header.items():
        if name != "__metadata__":
            begin, end = about["data_offsets"]
            kind = json.dumps([about["dtype"], about["shape"]]).encode()
            found[name] = sha256(kind + data[start + begin : start + end])
    return found


def search(value, key):
    """The value of `key` nearest to the top of nested objects, or None: fields may move between versions."""
    level = [value]
    while level:
        for item in level:
            if isinstance(item, dict) and key in item:
                return item[key]
        level = [inner for item in level if isinstance(item, dict) for inner in item.values()]
    return None


def leaves(name, value):
    """Numbers by dotted name. A matrix or a long list is one SHA-256; words are left out."""
    if isinstance(value, dict):
        return {k: v for key in value for k, v in leaves(f"{name}.{key}", value[key]).items()}
    if isinstance(value, list):
        if len(value) > 30 or any(isinstance(item, list) for item in value):
            return {name: sha256(json.dumps(value).encode())}
        return {k: v for i, item in enumerate(value) for k, v in leaves(f"{name}[{i}]", item).items()}
    return {} if isinstance(value, str) else {name: value}


EVALUATION = ("images", "top1", "top5", "per_class", "groups", "ece", "reliability", "confusion")
EPOCH = ("lr", "loss", "loss_cls", "loss_con", "grad_norm", "steps")


def evaluation(name, value):
    return {k: v for key in EVALUATION for k, v in leaves(f"{name} {key}", search(value, key)).items()}


def epoch(value):
    name = f"epoch {search(value, 'epoch')}"
    found = {k: v for key in EPOCH for k, v in leaves(f"{name} {key}", search(value, key)).items()}
    test = search(value, "test")
    return {**found, **(evaluation(f"{name} test", test) if test else {})}


def record_numbers(record):
    """What a record says of the run's results: not times, paths, versions or command."""
    found = leaves("counts", search(record, "counts"))
    for name in ("last", "best"):
        found.update(evaluation(name, search(record, name)))
    best = search(record, "best")
    found["best epoch"] = search(best, "epoch")
    for line in search(record, "epochs"):
        found.update(epoch(line))
    return found


def nothing():
    """The digest of a run of which nothing is known."""
    return {"tensors": {}, "numbers": {}, "files": {}, "words": {}, "epochs": 0}


def run_digest(folder):
    """Tensors and numbers of a run's folder."""
    found = nothing()
    numbers = found["numbers"]
    for path in sorted(folder.glob("*.safetensors")):
        found["tensors"].update({f"{path.stem}/{name}": value for name, value in tensors(path).items()})
    for line in (folder / "epochs.jsonl").read_text().splitlines():
        numbers.update(epoch(json.loads(line)))
        found["epochs"] += 1
    record = json.loads((folder / "record.json").read_text())
    numbers.update({f"record {name}": value for name, value in record_numbers(record).items()})
    subset = json.loads((folder / "subset.json").read_text())
    numbers.update(leaves("subset counts", search(subset, "counts")))
    for key in ("sha256", "list_sha256"):
        numbers[f"subset {key}"] = search(subset, key)
    numbers["subset indices"] = sha256(json.dumps(search(subset, "indices")).encode())
    for name in ("features", "evaluation"):
        if (folder / f"{name}.json").exists():
            value = json.loads((folder / f"{name}.json").read_text())
            numbers.update(leaves(name, value) if name == "features" else evaluation(name, value))
    return found


def files_digest(folder):
    """Results of rescom-sim (CSV, JSON, ...) apart from its words and figures, the running time taken out of these."""
    found = nothing()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        data = path.read_bytes()
        if path.suffix == ".md":
            data = re.sub(rb"\b\d+\.\d s\b", b"N s", data)
        kind = "words" if path.suffix in (".md", ".png", ".svg") else "files"
        found[kind][str(path.relative_to(folder))] = sha256(data)
    return found


def table_numbers(path):
    """The cells of a Markdown report's tables that are numbers, row by row: what stands around them may be reworded."""
    found, table, row = {}, 0, 0
    for line in path.read_text().splitlines():
        if not line.startswith("|"):
            table, row = table + (row > 0), 0
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        numbers = [cell for cell in cells if re.match(r"[-+\d\u2212\u2013]", cell) and not cell.startswith("---")]
        row += 1
        if numbers:
            found[f"report table {table + 1} row {row}"] = " | ".join(numbers)
    return found


# ---------------------------------------------------------------- the comparison


def differences(before, after, words=False):
    """What differs between two runs, one line each."""
    for kind in ("tensors", "numbers", "files") + (("words",) if words else ()):
        old, new = before[kind], after[kind]
        for name in sorted(old.keys() | new.keys()):
            what = name if kind == "numbers" else f"{kind[:-1]} {name}"
            if name not in new:
                yield f"{what} is missing"
            elif name not in old:
                yield f"{what} is new"
            elif old[name] != new[name]:
                hashed = re.fullmatch("[0-9a-f]{64}", str(old[name]))
                yield f"{what} differs" if hashed else f"{what}: {old[name]} became {new[name]}"


def compare(before, after, parts=None, new_ok=False, strict=False):
    """Differences that count, remarks that do not, and one line for each part that is equal."""
    wrong, remarks, equal = [], [], []
    both = [read_digest(folder).get("parts", {}) for folder in (before, after)]
    parts = parts or [part for part in PARTS if any(part in side for side in both)]
    if not parts:
        wrong.append(f"{before}: nothing is recorded here")
    for part in parts:
        count = len(wrong)
        lacking = [folder for folder, side in zip((before, after), both) if part not in side]
        if lacking:
            wrong.extend(f"{part}: not recorded in {folder}" for folder in lacking)
            continue
        (old, new), claims = [side[part]["runs"] for side in both], both[1][part]["claims"]
        wrong += [f"{part}: {name}: {why}" for name, why in sorted(claims.items()) if why]
        wrong += [f"{part}: {run}: is missing" for run in sorted(old.keys() - new.keys())]
        (remarks if new_ok else wrong).extend(f"{part}: {run}: is new" for run in sorted(new.keys() - old.keys()))
        for run in sorted(old.keys() & new.keys()):
            wrong += [f"{part}: {run}: {line}" for line in differences(old[run], new[run])]
            loose = [{**side[run], "tensors": {}, "numbers": {}, "files": {}} for side in (old, new)]
            words = [f"{part}: {run}: words and figures: {line}" for line in differences(*loose, words=True)]
            (wrong if strict else remarks).extend(words)
        if len(wrong) == count:
            held = f"; {len(claims)} claims hold" if claims else ""
            equal.append(f"{part}: {summary(old)} equal{held}")
    return wrong, remarks, equal


def summary(runs):
    amount = {kind: sum(len(run[kind]) for run in runs.values()) for kind in ("tensors", "numbers", "files")}
    epochs = sum(run["epochs"] for run in runs.values())
    said = [(len(runs), "runs"), (amount["tensors"], "tensors"), (epochs, "epoch records"), (amount["numbers"], "numbers")]
    return ", ".join(f"{n:,} {what}" for n, what in said + [(amount["files"], "files")] if n)


def read_digest(folder):
    path = folder / "digest.json"
    return json.loads(path.read_text()) if path.exists() else {}


def write_json(path, value):
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value, indent=1, sort_keys=True))
    partial.replace(path)
