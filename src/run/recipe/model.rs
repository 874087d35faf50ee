//! The network: `[model]`, and the arithmetic it is computed in.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Network that turns images into features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Arch {
    /// CIFAR network, 3 blocks per stage, option-A shortcuts (METHOD section 5).
    #[serde(rename = "resnet20")]
    ResNet20,
    /// 5 blocks per stage.
    #[serde(rename = "resnet32")]
    ResNet32,
    /// 7 blocks per stage.
    #[serde(rename = "resnet44")]
    ResNet44,
    /// 9 blocks per stage.
    #[serde(rename = "resnet56")]
    ResNet56,
    /// 18 blocks per stage.
    #[serde(rename = "resnet110")]
    ResNet110,
    /// ImageNet bottleneck network, stride on the 3x3 ("v1.5").
    #[serde(rename = "resnet50")]
    ResNet50,
    /// The same with 32 groups of 4 channels.
    #[serde(rename = "resnext50_32x4d")]
    ResNeXt50,
}

impl Arch {
    /// All networks.
    pub const ALL: [Self; 7] = [
        Self::ResNet20,
        Self::ResNet32,
        Self::ResNet44,
        Self::ResNet56,
        Self::ResNet110,
        Self::ResNet50,
        Self::ResNeXt50,
    ];

    /// The name recipes and reference files use.
    pub fn name(self) -> &'static str {
        match self {
            Self::ResNet20 => "resnet20",
            Self::ResNet32 => "resnet32",
            Self::ResNet44 => "resnet44",
            Self::ResNet56 => "resnet56",
            Self::ResNet110 => "resnet110",
            Self::ResNet50 => "resnet50",
            Self::ResNeXt50 => "resnext50_32x4d",
        }
    }

    /// The network called `name`.
    ///
    /// # Errors
    /// [`Error::Input`] listing the known names.
    pub fn parse(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|a| a.name() == name).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|a| a.name()).collect();
            Error::input(format!("network `{name}` is not known; expected {}", known.join(", ")))
        })
    }

    /// Width of the features f as published: 64 for the CIFAR networks (16, 32 and 64 channels), 2048
    /// for those of ImageNet.
    pub fn feature_dim(self) -> usize {
        if self.cifar_blocks().is_some() { 64 } else { 2048 }
    }

    /// Basic blocks per stage of a CIFAR network, `None` for the ImageNet ones.
    pub fn cifar_blocks(self) -> Option<usize> {
        match self {
            Self::ResNet20 => Some(3),
            Self::ResNet32 => Some(5),
            Self::ResNet44 => Some(7),
            Self::ResNet56 => Some(9),
            Self::ResNet110 => Some(18),
            Self::ResNet50 | Self::ResNeXt50 => None,
        }
    }
}

/// The encoder: network, input channels and width.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderSpec {
    /// Network.
    pub arch: Arch,
    /// 1 (grey) or 3 (RGB).
    pub in_channels: usize,
    /// Channels of the first stage of a CIFAR network: 16 as published; a multiple of 4. Features
    /// are 4 times as many. Must be absent for ImageNet networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<usize>,
}

impl EncoderSpec {
    /// The published width.
    pub fn new(arch: Arch, in_channels: usize) -> Self {
        Self { arch, in_channels, width: None }
    }

    /// Width of the features f.
    pub fn feature_dim(&self) -> usize {
        self.width.map_or_else(|| self.arch.feature_dim(), |width| 4 * width)
    }
}

/// `[model]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ModelSpec {
    /// The encoder.
    pub arch: Arch,
    /// Dimension D of the projections.
    pub projection_dim: usize,
}

/// Arithmetic of the encoder; losses, batch-norm statistics and the optimiser stay in float32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// float32 throughout.
    #[default]
    Fp32,
    /// Convolutions and linear layers in bfloat16.
    Bf16,
}
