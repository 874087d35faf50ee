//! Only link arguments: where the programs find libtorch at run time (feature `train`).

use std::{env, path::Path};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    if env::var_os("CARGO_FEATURE_TRAIN").is_none() {
        return;
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
