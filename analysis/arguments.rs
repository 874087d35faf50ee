//! Arguments that several studies take: where features lie, lists of numbers, pairs for mining.

use clap::ValueEnum;
use rescom::sim::Noise;
use rescom::{Error, Result};

/// Where features lie.
#[derive(clap::Args, Clone)]
#[command(next_help_heading = "Features")]
pub(crate) struct FeatureArgs {
    /// Feature dimension D.
    #[arg(long, default_value_t = 128)]
    pub(crate) dim: usize,
    /// Scatter around the direction of a class.
    #[arg(long, value_enum, default_value_t = NoiseArg::Vmf)]
    pub(crate) noise: NoiseArg,
    /// Concentration around the direction of a class, the training stage: 0 is untrained.
    #[arg(long, default_value_t = 128.0, allow_negative_numbers = true)]
    pub(crate) concentration: f64,
    /// Temperature T.
    #[arg(long, default_value_t = 0.2, allow_negative_numbers = true)]
    pub(crate) temperature: f64,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum NoiseArg {
    /// von Mises-Fisher.
    Vmf,
    /// Normalised normal vectors with mean mu and covariance I/kappa.
    Gaussian,
}

impl NoiseArg {
    pub(crate) fn get(self) -> Noise {
        match self {
            Self::Vmf => Noise::VonMisesFisher,
            Self::Gaussian => Noise::Gaussian,
        }
    }
}

/// A comma list of numbers.
pub(crate) fn numbers(flag: &str, list: &str) -> Result<Vec<f64>> {
    let number = |text: &str| {
        text.trim().parse::<f64>().ok().filter(|v| v.is_finite()).ok_or_else(|| {
            Error::input(format!(
                "{flag}: \"{text}\" is not a number; expected a list such as 1,10,100"
            ))
        })
    };
    list.split(',').map(number).collect()
}

/// Q_p,Q_n as it is typed.
pub(crate) fn pair(text: &str) -> Result<(usize, usize)> {
    let parsed = text.split_once(',').and_then(|(p, n)| Some((p.parse().ok()?, n.parse().ok()?)));
    parsed.filter(|&(p, n)| p > 0 && n > 0).ok_or_else(|| {
        Error::input(format!("--mine {text}: expected Q_p,Q_n, two numbers of at least 1"))
    })
}
