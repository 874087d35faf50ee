//! Only link arguments: where the programs find libtorch at run time (feature `train`).

use std::{env, path::Path};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    if env::var_os("CARGO_FEATURE_TRAIN").is_none() {
        return;
    }
    let Some(libtorch) = env::var_os("LIBTORCH") else { return };
    let lib = Path::new(&libtorch).join("lib");
    // The link in the checkout may move; what it points to may not.
    let lib = lib.canonicalize().unwrap_or(lib);
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    // libtorch.so registers CUDA when it is loaded; without this the linker drops it as unused.
    println!("cargo:rustc-link-arg=-Wl,--no-as-needed");
    println!("cargo:rustc-link-arg=-ltorch");
}
