#!/usr/bin/env python3
"""The guard of the numbers can fail: `python3 tests/golden_test.py` (part of `make test`), no programs needed.

A record is made of a small run folder by hand; one thing in a copy of it is changed, and the comparison has to name it,
or to pass over what is no result.
"""

import json
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "scripts"))

import golden  # noqa: E402
import golden_digest  # noqa: E402

TEST = {
    "images": 20, "top1": 0.55, "top5": 0.9, "per_class": [0.5, 0.6], "groups": {"many": 0.5, "medium": None, "few": 0.6},
    "ece": 0.125, "reliability": [{"count": 20, "confidence": 0.5, "accuracy": 0.55}], "confusion": [[5, 5], [4, 6]],
}  # fmt: skip


def epoch(number):
    return {
        "epoch": number, "lr": 0.1, "loss_cls": 1.25 / number, "loss_con": 0.5, "loss": 1.75 / number,
        "grad_norm": {"mean": 2.5, "max": 3.5}, "steps": 9, "test": TEST, "train_seconds": 1.5,
    }  # fmt: skip


def edit(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


class Comparison(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.before, self.after = Path(scratch.name) / "before", Path(scratch.name) / "after"
        run, study = self.before / "methods/ce/run", self.before / "sim/study"
        run.mkdir(parents=True)
        study.mkdir(parents=True)
        parts = {"conv.weight": ("F32", [2, 2], struct.pack("<4f", 1, 2, 3, 4)), "step": ("I64", [1], struct.pack("<q", 9))}
        golden.write_safetensors(run / "checkpoint-0002.safetensors", parts)
        epochs = [epoch(1), epoch(2)]
        (run / "epochs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in epochs))
        record = {"last": TEST, "best": {"epoch": 2, "test": TEST}, "epochs": epochs, "counts": [10, 5], "seconds": 4.0}
        record["provenance"] = {"commit": "aaaa", "command": ["rescom-repro", "--out", "before"]}
        (run / "record.json").write_text(json.dumps(record))
        (run / "subset.json").write_text(json.dumps({"counts": [10, 5], "indices": [3, 1, 2], "sha256": "ab" * 32}))
        (study / "mass.csv").write_text("anchor,mass\n1,0.5\n")
        (study / "report.md").write_text("# A study\n\n`rescom-sim study` (seed 0, 12.3 s)\n\nThe head takes more.\n")
        shutil.copytree(self.before, self.after)
        self.run_folder, self.study = self.after / "methods/ce/run", self.after / "sim/study"
        self.claims = {"it ends as if never interrupted": ""}

    def record(self, folder, **runs):
        methods = {"ce": golden_digest.run_digest(folder / "methods/ce/run"), **runs}
        sim = {"study": golden_digest.files_digest(folder / "sim/study")}
        parts = {"methods": {"runs": methods, "claims": self.claims}, "sim": {"runs": sim, "claims": {}}}
        golden_digest.write_json(folder / "digest.json", {"parts": parts})

    def compare(self, *options, **runs):
        """Exit code and lines of `golden.py compare`."""
        self.record(self.after, **runs)
        if not (self.before / "digest.json").exists():
            self.claims = {}
            self.record(self.before)
        words = [sys.executable, golden.__file__, "compare", self.before, self.after, *options]
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.stderr, "")
        return done.returncode, done.stdout

    def equal(self, *options, **runs):
        code, said = self.compare(*options, **runs)
        self.assertEqual(code, 0, said)
        return said

    def different(self, *named, options=(), **runs):
        code, said = self.compare(*options, **runs)
        self.assertEqual(code, 1, said)
        for words in named:
            self.assertIn(f"DIFFERENT {words}", said)
        self.assertEqual(said.count("DIFFERENT"), len(named), said)

    def test_a_repetition_is_equal_and_counted(self):
        said = self.equal()
        self.assertIn("methods: 1 runs, 2 tensors, 2 epoch records,", said)
        self.assertIn("sim: 1 runs, 1 files equal", said)

    def test_one_bit_of_a_tensor(self):
        path = self.run_folder / "checkpoint-0002.safetensors"
        data = bytearray(path.read_bytes())
        data[-9] ^= 1
        path.write_bytes(data)
        self.different("methods: ce: tensor checkpoint-0002/conv.weight differs")

    def test_shape_and_type_belong_to_a_tensor_and_metadata_does_not(self):
        path = self.run_folder / "checkpoint-0002.safetensors"
        data = path.read_bytes()
        (length,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + length])

        def write():
            text = json.dumps(header).encode()
            path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])

        header["__metadata__"] = {"version": "2"}
        write()
        self.equal()
        header["conv.weight"]["shape"] = [4]
        header["step"]["dtype"] = "F64"
        write()
        self.different(*(f"methods: ce: tensor checkpoint-0002/{name} differs" for name in ("conv.weight", "step")))

    def test_tensors_that_come_and_go(self):
        golden.write_safetensors(self.run_folder / "checkpoint-0002.safetensors", {"conv": ("F32", [1], bytes(4))})
        gone = [f"methods: ce: tensor checkpoint-0002/{name} is missing" for name in ("conv.weight", "step")]
        self.different(*gone, "methods: ce: tensor checkpoint-0002/conv is new")

    def test_the_last_digit_of_a_loss(self):
        path = self.run_folder / "epochs.jsonl"
        path.write_text(path.read_text().replace('"loss": 0.875', '"loss": 0.8750000000000001'))
        self.different("methods: ce: epoch 2 loss: 0.875 became 0.8750000000000001")

    def test_gradient_norm_accuracy_and_best_epoch(self):
        def change(record):
            record["epochs"][0]["grad_norm"]["max"] = 3.25
            record["last"]["per_class"][1] = 0.7
            record["best"]["epoch"] = 1
            record["best"]["test"] = {**TEST, "confusion": [[5, 5], [5, 5]]}

        edit(self.run_folder / "record.json", change)
        self.different(
            "methods: ce: record epoch 1 grad_norm.max: 3.5 became 3.25",
            "methods: ce: record last per_class[1]: 0.6 became 0.7",
            "methods: ce: record best epoch: 2 became 1",
            "methods: ce: record best confusion differs",
        )

    def test_a_missing_field_and_a_missing_epoch(self):
        path = self.run_folder / "epochs.jsonl"
        first, _ = path.read_text().splitlines()
        path.write_text(first.replace('"loss_con": 0.5, ', "") + "\n")
        code, said = self.compare("--all")
        self.assertEqual(code, 1)
        self.assertIn("methods: ce: epoch 1 loss_con: 0.5 became None", said)
        self.assertIn("methods: ce: epoch 2 loss is missing", said)

    def test_other_images(self):
        edit(self.run_folder / "subset.json", lambda subset: subset.update(indices=[3, 2, 1], sha256="cd" * 32))
        self.different("methods: ce: subset indices differs", "methods: ce: subset sha256 differs")

    def test_times_places_versions_and_new_fields_are_no_results(self):
        def change(record):
            record["seconds"] = 9.0
            record["provenance"] = {"commit": "bbbb", "command": ["other"], "data_source": {"kind": "generated"}}
            record["results"] = {"last": {**record.pop("last"), "added": 1}, "best": record.pop("best")}
            record["epochs"][0]["train_seconds"] = 7.0

        edit(self.run_folder / "record.json", change)
        self.equal()

    def test_runs_in_one_record_only(self):
        more = {"logit-adjustment": golden_digest.nothing()}
        self.different("methods: logit-adjustment: is new", **more)
        self.assertIn("note: methods: logit-adjustment: is new", self.equal("--new-ok", **more))
        self.before, self.after = self.after, self.before
        words = [sys.executable, golden.__file__, "compare", self.before, self.after, "--new-ok"]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("DIFFERENT methods: logit-adjustment: is missing", done.stdout)

    def test_a_claim_that_does_not_hold(self):
        self.claims = {"killed rescom ends as if never interrupted": "tensor checkpoint-0003/queue differs"}
        self.different("methods: killed rescom ends as if never interrupted: tensor checkpoint-0003/queue differs")

    def test_results_of_the_simulation_apart_from_its_words(self):
        report = self.study / "report.md"
        report.write_text(report.read_text().replace("12.3 s", "45.6 s"))
        self.assertNotIn("note", self.equal())
        report.write_text(report.read_text().replace("takes more", "takes the most"))
        self.assertIn("note: sim: study: words and figures: word report.md differs", self.equal())
        self.different("sim: study: words and figures: word report.md differs", options=["--strict"])
        (self.study / "mass.csv").write_text("anchor,mass\n1,0.25\n")
        self.different("sim: study: file mass.csv differs")

    def test_a_part_that_was_not_recorded(self):
        self.equal()
        digest = golden_digest.read_digest(self.after)
        del digest["parts"]["sim"]
        golden_digest.write_json(self.after / "digest.json", digest)
        wrong, _, equal = golden_digest.compare(self.before, self.after)
        self.assertEqual((wrong, len(equal)), ([f"sim: not recorded in {self.after}"], 1))
        empty = self.after / "nothing"
        empty.mkdir()
        self.assertTrue(golden_digest.compare(empty, empty)[0])

    def test_numbers_of_a_reports_tables_whatever_is_written_around_them(self):
        report = self.study / "table.md"
        text = "Text.\n\n| method | top-1 |\n| --- | ---: |\n| ce | 8.8 ± 0.1 |\n| rescom | – |\n"
        report.write_text(text)
        before = golden_digest.table_numbers(report)
        self.assertEqual(list(before.values()), ["8.8 ± 0.1", "–"])
        report.write_text(text.replace("Text", "Other").replace("method", "recipe"))
        self.assertEqual(golden_digest.table_numbers(report), before)
        report.write_text(text.replace("8.8", "8.9"))
        self.assertNotEqual(golden_digest.table_numbers(report), before)


class Recording(unittest.TestCase):
    def test_missing_programs_are_one_line(self):
        with tempfile.TemporaryDirectory() as scratch:
            words = [sys.executable, golden.__file__, "record", "--programs", scratch, f"{scratch}/out"]
            done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertIn("no program rescom-repro", done.stderr)

    def test_a_program_that_fails_is_a_claim_that_does_not_hold(self):
        with tempfile.TemporaryDirectory() as scratch:
            for program in golden.PROGRAMS:
                path = Path(scratch) / program
                path.write_text("#!/bin/sh\necho 'error: no such flag' >&2\nexit 2\n")
                path.chmod(0o755)
            failed = golden.Recorder(Path(scratch), Path(scratch) / "out", 2).record("sim")
        self.assertEqual(len(failed), 5)
        self.assertTrue(all("exit code 2: error: no such flag" in line for line in failed), failed)


if __name__ == "__main__":
    unittest.main()
