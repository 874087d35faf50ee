//! `convert`: state dicts of PyTorch, saved as safetensors, and checkpoints of ours.

use std::{fs, path::PathBuf, process::ExitCode};

use clap::Args;
use rescom::{
    Error, Result,
    run::{Arch, EncoderSpec, atomic},
    train::{self, Converted},
};
use serde::Serialize;

use crate::saved;

/// Arguments of `convert`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  rescom-repro convert theirs.safetensors --arch resnet32 --classes 100 --projection-dim 32 --out ours.safetensors\n  rescom-repro convert RUN/checkpoint-0400.safetensors --arch resnet32 --classes 100 --out for-pytorch.safetensors\n\nIn PyTorch: safetensors.torch.save_file(model.state_dict(), \"theirs.safetensors\"), and back\nmodel.load_state_dict(safetensors.torch.load_file(\"for-pytorch.safetensors\"), strict=False)"
)]
pub(crate) struct ConvertArgs {
    /// A state dict of PyTorch saved as safetensors (prefixes of data parallel and torchvision's names are
    /// understood), or a checkpoint of a run.
    file: PathBuf,
    /// resnet20, resnet32, resnet44, resnet56, resnet110, resnet50 or resnext50_32x4d.
    #[arg(long)]
    arch: String,
    /// Classes C.
    #[arg(long)]
    classes: usize,
    /// Channels of the images, 1 or 3.
    #[arg(long, default_value_t = 3)]
    channels: usize,
    /// Width D of the projections; without it there is no projection head.
    #[arg(long, value_name = "D")]
    projection_dim: Option<usize>,
    /// Where to write the network, under the names that ours and PyTorch's have in common.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Write what fits even if something is missing.
    #[arg(long)]
    partial: bool,
    /// What was found as JSON on standard output.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Found<'a> {
    entries: usize,
    missing: &'a [String],
    unexpected: &'a [String],
    /// Name, shape in the file, shape expected.
    misshapen: &'a [(String, Vec<usize>, Vec<usize>)],
    complete: bool,
}

/// Runs the command.
pub(crate) fn run(args: &ConvertArgs) -> Result<ExitCode> {
    saved::apart(&args.out, &args.file)?;
    let bytes = fs::read(&args.file).map_err(Error::io("read", &args.file))?;
    let name = args.file.display().to_string();
    let source = train::from_safetensors(&name, &bytes)?;
    let encoder = EncoderSpec::new(Arch::parse(&args.arch)?, args.channels);
    let found = train::convert(&encoder, args.classes, args.projection_dim, &source)?;
    if args.json {
        saved::print_json(&Found {
            entries: found.state.len(),
            missing: &found.missing,
            unexpected: &found.unexpected,
            misshapen: &found.misshapen,
            complete: found.is_complete(),
        })?;
    } else {
        print(&found);
    }
    if found.state.is_empty() {
        return Err(Error::input(format!(
            "{name}: no entry fits {}; nothing is written. Is it the file of another network?",
            args.arch
        )));
    }
    if !found.is_complete() && !args.partial {
        return Err(Error::input(format!(
            "{name}: {} entries of {} are missing (or of another type) and {} have another shape; nothing is written \
             (--partial writes what fits)",
            found.missing.len(),
            args.arch,
            found.misshapen.len()
        )));
    }
    atomic::write(&args.out, &train::to_safetensors(&found.state)?)?;
    if !args.json {
        println!("{}: {} entries", args.out.display(), found.state.len());
    }
    Ok(ExitCode::SUCCESS)
}

fn print(found: &Converted) {
    for name in &found.missing {
        println!("missing: {name}");
    }
    for name in &found.unexpected {
        println!("unexpected: {name}");
    }
    for (name, is, due) in &found.misshapen {
        println!("other shape: {name} is {is:?}, expected {due:?}");
    }
}
