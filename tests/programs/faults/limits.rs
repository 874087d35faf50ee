//! Disks and memory that end.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use super::{ARGS, RUN, checkpoints, content, copy, ends_as_if_never_interrupted, stopped};
use crate::program::{failed, sweep, tiny};

/// The command below a limit of the shell. XFSZ ignored, a write beyond `ulimit -f` fails as on a full
/// disk instead of ending the process.
fn limited(limit: &str, command: &Command) -> Output {
    let script = format!("trap '' XFSZ; ulimit {limit} && exec \"$0\" \"$@\"");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).arg(command.get_program()).args(command.get_args());
    shell.output().unwrap()
}

#[test]
fn a_full_disk_loses_at_most_the_running_epoch() {
    let tmp = tempfile::tempdir().unwrap();
    copy(stopped(), tmp.path());
    let run = tmp.path().join(RUN);
    let (before, newest) = (content(&run), checkpoints(&run)[0]);
    // A checkpoint takes more than 2 MB, a block half of a kB or a kB.
    let stderr = failed(&limited("-f 1000", &tiny(tmp.path(), &ARGS)), 1);
    let next = format!("cannot write {}/checkpoint-{:04}.safetensors", run.display(), newest + 1);
    assert!(stderr.contains(&next) && stderr.contains("same command goes on"), "{stderr}");
    let after = content(&run);
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    for (name, bytes) in after.iter().filter(|(name, _)| name.starts_with("checkpoint")) {
        assert!(before[name] == *bytes, "{name} was touched");
    }
    ends_as_if_never_interrupted(tmp.path());
}

#[test]
fn a_folder_that_takes_no_files_is_one_line_with_code_1() {
    let tmp = tempfile::tempdir().unwrap();
    // Nobody, not even root, makes a folder below a file.
    let file = tmp.path().join("file");
    fs::write(&file, "x").unwrap();
    let stderr = failed(&sweep(&file.join("sweep"), &ARGS), 1);
    assert!(stderr.contains("cannot create folder") && stderr.contains("file/sweep"), "{stderr}");

    let closed = tmp.path().join("closed");
    copy(stopped(), &closed);
    let before = content(&closed.join(RUN));
    read_only(&closed.join(RUN), true);
    if fs::write(closed.join(RUN).join("probe"), "").is_err() {
        let stderr = failed(&sweep(&closed, &ARGS), 1);
        assert!(stderr.contains("cannot ") && stderr.contains(RUN), "{stderr}");
        assert_eq!(content(&closed.join(RUN)), before);
        read_only(&closed.join(RUN), false);
    } else {
        println!("this user may write everywhere: the read-only folder is not shown");
        fs::remove_file(closed.join(RUN).join("probe")).unwrap();
    }
    read_only(&closed.join(RUN), false);
    ends_as_if_never_interrupted(&closed);
}

#[test]
fn a_run_without_memory_fails_alone() {
    for (unfit, said) in [
        // 512 GB in libtorch, 26 GB here; only the contrastive method has them.
        ("model.projection-dim=2000000000", "libtorch: "),
        ("contrast.queue-per-class=20000000", "20000000"),
    ] {
        let tmp = tempfile::tempdir().unwrap();
        let args =
            ["--imb", "4", "--methods", "rescom,ce", "--set", "optim.epochs=2", "--set", unfit];
        let output = limited("-v 20000000", &tiny(tmp.path(), &args));
        let stderr = failed(&output, 1);
        let error = stderr.lines().last().unwrap();
        for part in ["1 of 2 runs failed, the others are in the report", RUN, said, "out of memory"]
        {
            assert!(error.contains(part), "{part}: {error}");
        }
        let runs = fs::read_to_string(tmp.path().join("runs.csv")).unwrap();
        assert!(runs.contains("fashion-mnist-imb4-ce-seed0"), "{runs}");
    }
}

fn read_only(folder: &Path, read_only: bool) {
    let mut permissions = fs::metadata(folder).unwrap().permissions();
    #[allow(clippy::permissions_set_readonly_false, reason = "the test's own folder")]
    permissions.set_readonly(read_only);
    fs::set_permissions(folder, permissions).unwrap();
}
