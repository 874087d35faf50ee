//! Link arguments (where the programs find libtorch at run time, feature `train`) and the commit, for
//! the record of a run.

use std::{env, path::Path, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    if env::var_os("CARGO_FEATURE_TRAIN").is_none() {
        return;
    }
    commit();
    let Some(libtorch) = env::var_os("LIBTORCH") else { return };
    let lib = Path::new(&libtorch).join("lib");
    // A link may move later; what it points to may not.
    let Ok(lib) = lib.canonicalize() else {
        println!("cargo::error=no libtorch in {}: type `make setup` first", libtorch.display());
        return;
    };
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", lib.display());
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        // libtorch.so registers CUDA when it is loaded; without this the linker drops it as unused.
        println!("cargo::rustc-link-arg=-Wl,--no-as-needed");
        println!("cargo::rustc-link-arg=-ltorch");
    }
}

/// `RESCOM_COMMIT`: the commit of the checkout, `+` behind it if tracked files differ.
fn commit() {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok().filter(|o| o.status.success())?;
        String::from_utf8(output.stdout).ok()
    };
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-changed=experiments");
    for file in ["HEAD", "index"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file]) {
            println!("cargo::rerun-if-changed={}", path.trim());
        }
    }
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return };
    let changed =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|s| !s.is_empty());
    println!("cargo::rustc-env=RESCOM_COMMIT={}{}", commit.trim(), if changed { "+" } else { "" });
}
