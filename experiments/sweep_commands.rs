//! The commands that sweep, and what a recorded command line of theirs asked for.

use clap::{Parser, Subcommand};

use crate::{
    lists,
    plan::{self, PlanRequest},
};

/// The commands that sweep.
#[derive(Subcommand)]
pub(crate) enum SweepCommand {
    /// Sweep over Fashion-MNIST-LT (fetched if it is not there).
    FashionMnist(Box<plan::FashionArgs>),
    /// Sweep over CIFAR-10-LT and CIFAR-100-LT (from a folder on disk).
    Cifar(Box<plan::CifarArgs>),
    /// Sweep over ImageNet-LT (from image lists on disk).
    ImagenetLt(Box<lists::ImagenetArgs>),
    /// Sweep over iNaturalist 2018 (from image lists on disk).
    Inat18(Box<lists::InatArgs>),
    /// Sweep over Places-LT (from image lists on disk).
    PlacesLt(Box<lists::PlacesArgs>),
}

impl SweepCommand {
    /// What to do.
    pub(crate) fn plan(&self) -> PlanRequest {
        match self {
            Self::FashionMnist(args) => args.plan(),
            Self::Cifar(args) => args.plan(),
            Self::ImagenetLt(args) => args.plan(),
            Self::Inat18(args) => args.plan(),
            Self::PlacesLt(args) => args.plan(),
        }
    }
}

/// A command line with such a command.
#[derive(Parser)]
struct Recorded {
    #[command(subcommand)]
    command: SweepCommand,
}

/// The sweep that a recorded command line asks for; none if it is of another command or version.
pub(crate) fn plan_of(command: &[String]) -> Option<PlanRequest> {
    Recorded::try_parse_from(command).ok().map(|recorded| recorded.command.plan())
}
