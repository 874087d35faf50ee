//! Link arguments (where the programs find libtorch at run time, feature `train`), and for the record
//! of a run the commit and the compiler.

use std::{env, path::Path, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    if env::var_os("CARGO_FEATURE_TRAIN").is_none() {
        return;
    }
    compiler();
    if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        commit();
    }
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

/// `RESCOM_RUSTC`: the compiler's name and version.
fn compiler() {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    if let Some(version) = first_line(Command::new(rustc).arg("--version")) {
        println!("cargo::rustc-env=RESCOM_RUSTC={version}");
    }
}

/// `RESCOM_COMMIT`: the commit of the checkout, `+` behind it if tracked files differ. In release
/// builds only: to keep it true, each change of a source file builds the library again.
fn commit() {
    // Without optional locks git does not touch its index, whatever else may watch it.
    let git = |args: &[&str]| first_line(Command::new("git").arg("--no-optional-locks").args(args));
    for folder in ["src", "experiments", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={folder}");
    }
    // The log of HEAD grows with each commit and checkout; staging alone does not change it.
    for file in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", file]);
        if let Some(path) = path.filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some();
    println!("cargo::rustc-env=RESCOM_COMMIT={commit}{}", if changed { "+" } else { "" });
}

/// First line of what a successful command prints; `None` if it prints nothing.
fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()?.lines().next().map(str::to_owned)
}
