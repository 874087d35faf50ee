//! `rescom-sim` from end to end: what it prints, what it writes, what it refuses.

use rescom::sim::{Estimate, log_log_slope};
use serde_json::Value;
use std::{path::Path, process::Command};

use crate::common::{json, rescom_sim};

const SMALL: [&str; 10] = [
    "--batches",
    "12",
    "--sweep",
    "imb=1,10",
    "--stages",
    "0",
    "--dim",
    "16",
    "--keys-per-class",
    "10",
];

#[test]
fn the_dual_imbalance_json_has_what_it_promises() {
    let folder = tempfile::tempdir().unwrap();
    let base = ["dual-imbalance", "--classes", "10", "--imb", "10", "--json"];
    let result = json(&[&base[..], &SMALL].concat(), folder.path());
    assert_eq!(result["profile"]["counts"][0], 5000);
    assert_eq!(result["profile"]["imbalance_factor"], 10.0);
    let row: Vec<_> = result["pair_frequency"][0]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| format!("{:.2}", v.as_f64().unwrap()))
        .collect();
    assert_eq!(row.join(" "), "1.00 0.77 0.60 0.46 0.36 0.28 0.22 0.17 0.13 0.10");
    let settings = result["settings"].as_array().unwrap();
    assert_eq!(settings.len(), 8);
    let theory = |loss: &str, queue: &str| {
        let is = |s: &&Value| s["loss"] == loss && s["queue"] == queue && s["mining"] == false;
        let s = settings.iter().find(is).unwrap();
        ["batch_level_ratio", "siamese_level_ratio", "same_class_ratio"].map(|ratio| {
            let get = |field: &str| s[ratio][field].as_f64().unwrap();
            assert!(get("low") <= get("mean") && get("mean") <= get("high"), "{s}");
            (get("theory") * 100.0).round() / 100.0
        })
    };
    // b = 0.999999 is not quite 1.
    assert_eq!(theory("plain", "fifo"), [10.0, 100.0, 100.0]);
    assert_eq!(theory("class-balanced", "fifo"), [1.0, 10.02, 10.02]);
    assert_eq!(theory("plain", "class-balanced"), [10.0, 10.0, 10.0]);
    assert_eq!(theory("class-balanced", "class-balanced"), [1.0; 3]);
    for (setting, mass) in settings.iter().zip(result["gradient_mass"].as_array().unwrap()) {
        assert_eq!(&setting["gradient_mass"], mass);
        assert_eq!(mass.as_array().unwrap().len(), 10);
        let norms = ["raw", "tangent"].map(|part| {
            let norms = setting["feature_gradient_norm"][part].as_array().unwrap();
            assert_eq!(norms.len(), 10);
            norms.iter().map(|n| n["mean"].as_f64().unwrap()).collect::<Vec<_>>()
        });
        assert!(norms[0].iter().zip(&norms[1]).all(|(raw, tangent)| raw > tangent));
    }
    let rows = |of: &Value| of["rows"].as_array().unwrap().len();
    assert_eq!(
        (&result["sweeps"][0]["axis"], rows(&result["sweeps"][0])),
        (&"imb".into(), 2 * 208)
    );
    assert_eq!(rows(&result["stages"][0]), 4 * 2 * 52);
    assert_eq!(result["easy_pairs"]["stages"].as_array().unwrap().len(), 5);
    assert!(result["easy_pairs"]["temperatures"][0]["mining"][0]["pairs_kept"].is_f64());
    assert!(!folder.path().join("reports").exists(), "--json alone writes no files");
}

#[test]
fn results_are_the_same_bytes_for_a_seed_and_the_report_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let run = |out: &str, threads: &str, seed: &str| {
        let base = ["dual-imbalance", "--out", out, "--threads", threads, "--seed", seed];
        let output = rescom_sim(&[&base[..], &SMALL].concat(), folder.path());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8(output.stdout).unwrap().contains("0.77 0.60 0.46"));
        let names = [
            "sweep-imb.csv",
            "mass.csv",
            "norms.csv",
            "ratios.csv",
            "gradient-mass.svg",
            "ratios.png",
        ];
        names.map(|n| std::fs::read(folder.path().join(out).join(n)).unwrap())
    };
    let one = run("a", "1", "4");
    assert!(one == run("b", "3", "4"));
    assert!(one != run("c", "1", "5"));
    let report = std::fs::read_to_string(folder.path().join("a/report.md")).unwrap();
    for figure in report.lines().filter_map(|l| l.split_once("](")?.1.strip_suffix(')')) {
        assert!(folder.path().join("a").join(figure).exists(), "{figure} is missing");
    }
    assert!(report.contains("--seed 4") && !report.contains("NaN"));
}

/// `--threads` says how fast a result comes, and is no part of it.
#[test]
fn the_json_is_the_same_bytes_at_any_number_of_threads() {
    let studies =
        [[&["dual-imbalance"], &SMALL[..]].concat(), vec!["easy-pairs", "--anchors", "8"]];
    for study in studies {
        let run = |threads: &str| {
            let folder = tempfile::tempdir().unwrap();
            let args = [&study[..], &["--out", "there", "--json", "--threads", threads]].concat();
            let output = rescom_sim(&args, folder.path());
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let file = std::fs::read(folder.path().join("there/results.json")).unwrap();
            assert!(output.stdout == file, "what is printed is what is written");
            file
        };
        let one = run("1");
        assert!(one == run("3"), "{study:?}");
        assert!(!String::from_utf8(one).unwrap().contains("--threads"));
    }
}

/// A profile by name has few images in its tail; its default sweep goes to 1000 all the same, and says
/// how.
#[test]
fn a_named_profile_runs_with_the_default_sweep() {
    let folder = tempfile::tempdir().unwrap();
    for (profile, raised) in [("cifar100-lt", Some("5000 images")), ("fashion-mnist-lt", None)] {
        let size = ["--batches", "2", "--sweep-batches", "2", "--dim", "4", "--batch", "4"];
        let keys = ["--keys-per-class", "1", "--stages", "0", "--json", "--out", "out"];
        let args = [&["dual-imbalance", "--profile", profile], &size[..], &keys].concat();
        let output = rescom_sim(&args, folder.path());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{profile}: {stderr}");
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        let rows = result["sweeps"][0]["rows"].as_array().unwrap();
        let largest = rows.iter().map(|r| r["value"].as_f64().unwrap()).fold(0.0, f64::max);
        assert!((largest - 1000.0).abs() < 250.0, "{profile}: {largest}");
        let notes = result["notes"].as_array().unwrap();
        assert_eq!(!notes.is_empty(), raised.is_some(), "{profile}: {notes:?}");
        if let Some(raised) = raised {
            assert!(notes[0].as_str().unwrap().contains(raised), "{notes:?}");
            assert!(stderr.contains(raised), "{stderr}");
            let report = folder.path().join("out/report.md");
            let report = std::fs::read_to_string(report).unwrap();
            assert!(report.contains(notes[0].as_str().unwrap()), "the report keeps it to itself");
        }
    }
}

#[test]
fn counts_may_have_spaces_and_blank_lines() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("c.csv"), "class, count\n\n1, 50\n\n0 , 100\n").unwrap();
    let size = ["--batches", "2", "--dim", "4", "--batch", "4", "--json"];
    let args = [&["dual-imbalance", "--profile", "counts:c.csv"], &size[..]].concat();
    assert_eq!(json(&args, folder.path())["profile"]["counts"], serde_json::json!([100, 50]));
}

#[test]
fn easy_pairs_writes_its_report() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["easy-pairs", "--anchors", "8", "--dim", "16", "--stages", "0,64"];
    let output = rescom_sim(&args, folder.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = folder.path().join("reports/runs/easy-pairs");
    for name in ["report.md", "easy-pairs.png", "hard-negatives.svg", "easy-pairs.csv"] {
        assert!(report.join(name).exists(), "{name}");
    }
    let result = json(&[&args[..], &["--json"]].concat(), folder.path());
    assert_eq!(result["stages"].as_array().unwrap().len(), 2);
    for run in ["stages", "temperatures"].map(|r| &result[r][1]) {
        let shares = run["carried"]["gradient_share"].as_array().unwrap();
        let shares: Vec<f64> = shares.iter().map(|v| v.as_f64().unwrap()).collect();
        let ranks = run["carried"]["hardest_negatives"].as_array().unwrap();
        assert_eq!((ranks.len(), ranks[1].as_u64()), (shares.len(), Some(6)));
        assert!(shares.windows(2).all(|w| w[0] <= w[1]) && shares[0] > 0.0 && shares[179] <= 1.0);
    }
    // Two stages and six temperatures, three pairs of Q_p and Q_n, three shares each.
    let lines =
        |name: &str| std::fs::read_to_string(report.join(name)).unwrap().lines().count() - 1;
    assert_eq!(lines("easy-mining.csv"), 8 * 3 * 3);
    assert_eq!(lines("easy-summary.csv"), 8 * 5);
    assert_eq!(lines("easy-carried.csv"), 8 * 180);
}

#[test]
fn bad_input_is_one_line_and_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("zero.csv", "class,count\n0,5\n1,0\n");
    write("gap.csv", "class,count\n0,5\n2,5\n");
    write("words.csv", "class,count\n0,five\n");
    write("empty.txt", "");
    write("list.txt", "a.png 0\nb.png one\n");
    write("blank.csv", "class,count\n\n0,5\n\n1,five\n");
    write("three.csv", "class,count\n0,5,7\n");
    write("label.txt", "a.png 1000000\n");
    write("huge.csv", "class,count\n0,18446744073709551615\n1,1\n");
    let dual = |args: &[&'static str]| [&["dual-imbalance"], args].concat();
    let easy = |args: &[&'static str]| [&["easy-pairs"], args].concat();
    for (args, expected) in [
        (dual(&["--imb", "0.01"]), "at least 1"),
        (dual(&["--classes", "0"]), "at least 1"),
        (dual(&["--dim", "0"]), "feature dimension 0"),
        (dual(&["--batch", "0"]), "batch size 0"),
        (dual(&["--temperature", "0"]), "temperature 0"),
        (dual(&["--beta", "1"]), "beta 1"),
        (dual(&["--profile", "counts:zero.csv"]), "line 3: class 1 has 0 images"),
        (dual(&["--profile", "counts:gap.csv"]), "class 1 is missing"),
        (dual(&["--profile", "counts:words.csv"]), "line 2"),
        (dual(&["--profile", "counts:absent.csv"]), "cannot read absent.csv"),
        (dual(&["--profile", "list:empty.txt"]), "empty"),
        (dual(&["--profile", "list:list.txt"]), "line 2"),
        (dual(&["--profile", "unheard-of"]), "--profile unheard-of"),
        (dual(&["--sweep", "speed=1,2"]), "--sweep speed=1,2"),
        (dual(&["--sweep", "imb=1,x"]), "\"x\" is not a number"),
        (dual(&["--sweep", "imb=0.5"]), "at least 1"),
        (dual(&["--profile", "counts:blank.csv"]), "line 5: expected two whole numbers"),
        (dual(&["--profile", "counts:three.csv"]), "line 2: expected two whole numbers"),
        (dual(&["--profile", "counts:huge.csv"]), "images in all"),
        (dual(&["--imb", "-1"]), "--imb -1: imbalance factor -1: expected n_max/n_min"),
        (dual(&["--temperature", "-1"]), "temperature -1: expected"),
        (dual(&["--stages", "-1,2"]), "concentration -1: expected"),
        (
            dual(&["--profile", "cifar100-lt", "--imb", "1000"]),
            "--imb 1000: class counts: class 90",
        ),
        (dual(&["--sweep", "imb=1e17"]), "--sweep imb=100000000000000000: class counts"),
        (dual(&["--sweep", "keys=0.5"]), "--sweep keys=0.5: expected a whole number"),
        (dual(&["--sweep", "temperature=0"]), "--sweep temperature=0: temperature 0"),
        (
            dual(&["--profile", "places-lt", "--imb", "5"]),
            "--imb 5: the counts of places-lt are fixed",
        ),
        (dual(&["--profile", "places-lt", "--n-max", "5"]), "--n-max 5: the counts"),
        (dual(&["--profile", "places-lt", "--sweep", "imb=1,2"]), "--sweep imb: the counts"),
        (dual(&["--profile", "cifar10-lt", "--n-max", "500"]), "--n-max 500: the largest class"),
        (
            dual(&["--sweep", "temperature=0.1", "--sweep", "temperature=0.2"]),
            "--sweep temperature=0.2: temperature is swept twice",
        ),
        (dual(&["--sweep", "keys=5", "--sweep", "none"]), "--sweep none: stands alone"),
        (easy(&["--negatives", "0"]), "negatives 0"),
        // Sizes that no machine has, and numbers at which nothing would come to an end.
        (dual(&["--dim", "100000000000000"]), "--dim 100000000000000"),
        (dual(&["--batch", "100000000000000"]), "--batch 100000000000000"),
        (dual(&["--keys-per-class", "100000000000000"]), "--keys-per-class 100000000000000"),
        (dual(&["--fifo-keys", "100000000000000"]), "--fifo-keys 100000000000000"),
        (dual(&["--batches", "100000000000000"]), "--batches 100000000000000"),
        (dual(&["--classes", "100000000000000"]), "--classes 100000000000000: expected at most"),
        (dual(&["--sweep", "dim=1e9"]), "--dim 1000000000,"),
        (dual(&["--concentration", "1e18"]), "expected a number from 0 to 1e12"),
        (dual(&["--tail-concentration", "1e18"]), "expected a number from 0 to 1e12"),
        (dual(&["--stages", "1e30"]), "expected a number from 0 to 1e12"),
        (
            dual(&["--sweep", "batch=1e10"]),
            "batch=10000000000: expected a whole number from 1 to 1e9",
        ),
        (
            dual(&["--profile", "list:label.txt"]),
            "line 1: expected \"path label\" with a label from 0",
        ),
        (dual(&["--profile", "places-lt", "--stages", "3"]), "--stages 3: the counts of places-lt"),
        (easy(&["--dim", "100000000000000"]), "--dim 100000000000000"),
        (easy(&["--positives", "100000000000000"]), "--positives 100000000000000"),
        (easy(&["--negatives", "100000000000000"]), "--negatives 100000000000000"),
        (easy(&["--anchors", "100000000000000"]), "--anchors 100000000000000"),
        (easy(&["--classes", "100000000000000"]), "--classes 100000000000000"),
        (easy(&["--stages", "1e30"]), "expected a number from 0 to 1e12"),
        (easy(&["--tail-concentration", "3"]), "--tail-concentration"),
    ] {
        let out = rescom_sim(&args, folder.path());
        let message = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(2), "{args:?}: {message}");
        assert_eq!(message.trim_end().lines().count(), 1, "{args:?}: {message}");
        assert!(message.contains(expected), "{args:?}: {message}");
        assert!(out.stdout.is_empty());
    }
}

/// Lines of a CSV file whose numbers are equal within a tolerance; float32 sums differ between
/// processors in their last digits.
fn assert_same_table(name: &str, old: &[&str], new: &[&str]) {
    assert_eq!(old.len(), new.len(), "{name}");
    for (a, b) in old.iter().zip(new) {
        assert_eq!(a.split(',').count(), b.split(',').count(), "{name}");
        for (x, y) in a.split(',').zip(b.split(',')) {
            let same = match (x.parse::<f64>(), y.parse::<f64>()) {
                (Ok(x), Ok(y)) => (x - y).abs() <= 1e-3 * x.abs() + 1e-9,
                _ => x == y,
            };
            assert!(same, "{name}: {a} {b}");
        }
    }
}

/// `reports/dual-imbalance` is what the program gives today: every number of its tables within a
/// tolerance, of the sweep the first points. The command stands in its report.md.
#[test]
fn the_committed_report_is_regenerated() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/dual-imbalance");
    let read = |folder: &Path, name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let result: Value = serde_json::from_str(&read(&committed, "results.json")).unwrap();
    let command = result["command"].as_str().unwrap();
    assert!(read(&committed, "report.md").contains(command));
    let folder = tempfile::tempdir().unwrap();
    // Sweeps and stages have streams of their own, and each point of a sweep has: leaving some out
    // moves nothing.
    assert!(
        command.contains(" --sweep imb=1,2,5,"),
        "the first points are measured again: {command}"
    );
    let mut args = vec![];
    let mut words = command.split(' ').skip(1);
    while let Some(word) = words.next() {
        match word {
            "--out" | "--sweep" => drop(words.next()),
            _ => args.push(word),
        }
    }
    args.extend(["--out", "again", "--sweep", "imb=1,2", "--stages", "none"]);
    let output = rescom_sim(&args, folder.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let again = folder.path().join("again");
    for name in ["ratios.csv", "mass.csv", "norms.csv", "easy-pairs.csv"] {
        let (old, new) = (read(&committed, name), read(&again, name));
        let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
        assert_same_table(name, &old, &new);
    }
    let (old, new) = (read(&committed, "sweep-imb.csv"), read(&again, "sweep-imb.csv"));
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    assert!(new.len() > 400);
    assert_same_table("sweep-imb.csv", &old[..new.len()], &new);
    assert_slopes(&result, &old);
}

/// The slopes of results.json follow from the rows of sweep-imb.csv.
fn assert_slopes(result: &Value, sweep: &[&str]) {
    let form = result["parameters"]["form"].as_str().unwrap();
    let slopes = result["slopes"].as_array().unwrap();
    assert_eq!(slopes.len(), 8);
    for cell in slopes {
        let mining = if cell["mining"] == true { "yes" } else { "no" };
        let (loss, queue) = (cell["loss"].as_str().unwrap(), cell["queue"].as_str().unwrap());
        for statistic in ["batch_level", "siamese_level", "same_class", "gradient_norm"] {
            let of_line = |line: &&str| -> Option<(f64, Estimate)> {
                let cells: Vec<&str> = line.split(',').collect();
                let number = |i: usize| cells[i].parse().ok();
                let estimate = Estimate { mean: number(6)?, low: number(7)?, high: number(8)? };
                (cells[1..6] == [form, loss, queue, mining, statistic])
                    .then_some((number(0)?, estimate))
            };
            let points: Vec<_> = sweep.iter().filter_map(of_line).collect();
            assert_eq!(points.len(), 10, "{statistic}");
            let slope = log_log_slope(&points);
            for (name, value) in [("mean", slope.mean), ("low", slope.low), ("high", slope.high)] {
                let seen = cell[statistic][name].as_f64().unwrap();
                assert!((seen - value).abs() < 1e-4, "{statistic} {name}: {seen} {value}");
            }
        }
    }
}

/// Runs the program with an end of a shell's line behind it; exit code and standard error.
fn in_shell(line: &str) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let script =
        format!("{} {line}; echo ${{PIPESTATUS[0]}} >&3", env!("CARGO_BIN_EXE_rescom-sim"));
    let script = format!("exec 3>code; {script}");
    let output =
        Command::new("bash").args(["-c", &script]).current_dir(folder.path()).output().unwrap();
    let code = std::fs::read_to_string(folder.path().join("code")).unwrap();
    (code.trim().to_owned(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn output_that_is_lost_is_a_failure_and_words_that_are_lost_are_none() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let study = "easy-pairs --anchors 4 --dim 8 --threads 5000";
    for (line, code, said) in [
        (format!("{study} --json >&-"), "1", "standard output"),
        (format!("{study} --json >/dev/full"), "1", "standard output"),
        ("--help >/dev/full".to_owned(), "1", "standard output"),
        (format!("{study} --json >/dev/null"), "0", "note: --threads 5000: "),
        (format!("{study} --json | true"), "0", ""),
        ("--help | true".to_owned(), "0", ""),
        (format!("{study} 2>/dev/full >&2"), "1", ""),
        (format!("{study} --json 2>/dev/full >/dev/null"), "0", ""),
        (format!("{study} --json 2>&- >/dev/null"), "0", ""),
        (format!("{study} --stages x 2>/dev/full"), "2", ""),
    ] {
        let (found, stderr) = in_shell(&line);
        assert_eq!(found, code, "{line}: {stderr}");
        assert!(stderr.contains(said) && !stderr.contains("panicked"), "{line}: {stderr}");
    }
}

#[cfg(unix)]
#[test]
fn a_folder_whose_name_is_no_utf_8_takes_a_report() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join(std::ffi::OsStr::from_bytes(b"no-utf8-\xff"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_rescom-sim"));
    let output = command.args(["easy-pairs", "--anchors", "4", "--dim", "8", "--out"]).arg(&out);
    let output = output.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(out.join("report.md").is_file());
}

#[test]
fn the_terminal_shows_labels_whole_and_both_programs_help_alike() {
    let folder = tempfile::tempdir().unwrap();
    let output =
        rescom_sim(&[&["dual-imbalance", "--no-queue"], &SMALL[..]].concat(), folder.path());
    let text = String::from_utf8(output.stdout).unwrap();
    for label in [
        "class-balanced queue + mining",
        "class-balanced loss + mining",
        "no queue, class-balanced loss",
    ] {
        assert!(text.contains(label), "{label}: {text}");
    }
    let help = |args: &[&str]| String::from_utf8(rescom_sim(args, folder.path()).stdout).unwrap();
    assert!(help(&["--help"]).contains("Example:\n  rescom-sim dual-imbalance"));
    for heading in
        ["Class counts:", "Features:", "Batch and queue:", "Loss:", "Simulation:", "Output:"]
    {
        assert!(help(&["dual-imbalance", "--help"]).contains(heading), "{heading}");
    }
    assert!(help(&["completions", "bash"]).contains("dual-imbalance)"));
}
