//! Encoders (METHOD section 5): images [N, C, H, W] to features [N, F], with PyTorch's names.

use tch::Tensor;

use crate::{
    run::{Arch, EncoderSpec},
    train::nn::{
        layers::{BatchNorm, Conv, Layout},
        parameters::{Pass, TorchResult},
    },
};

/// Called with the output of `bn1` and of every stage, for tests against reference values.
pub(crate) type Watch<'a> = &'a mut dyn FnMut(&str, &Tensor);

#[derive(Debug, Clone)]
struct Basic {
    conv: [Conv; 2],
    bn: [BatchNorm; 2],
    /// Option A: zero planes added on each side where the stage starts.
    pad: Option<i64>,
}

#[derive(Debug, Clone)]
struct Bottleneck {
    conv: [Conv; 3],
    bn: [BatchNorm; 3],
    downsample: Option<(Conv, BatchNorm)>,
}

#[derive(Debug, Clone)]
enum Stages {
    Cifar(Vec<Vec<Basic>>),
    ImageNet(Vec<Vec<Bottleneck>>),
}

/// Structure of an encoder; its state is in a store.
#[derive(Debug, Clone)]
pub(crate) struct Encoder {
    conv1: Conv,
    bn1: BatchNorm,
    stages: Stages,
}

impl Encoder {
    /// Registers the encoder's state under `encoder.`.
    pub(crate) fn build(spec: &EncoderSpec, layout: &mut Layout) -> Self {
        match spec.arch.cifar_blocks() {
            Some(blocks) => Self::cifar(spec, blocks as i64, layout),
            None => Self::imagenet(spec, layout),
        }
    }

    fn cifar(spec: &EncoderSpec, blocks: i64, layout: &mut Layout) -> Self {
        let width = spec.width.unwrap_or(16) as i64;
        let channels = spec.in_channels as i64;
        let conv1 = layout.conv("encoder.conv1", [width, channels, 3, 3], 1, 1, false);
        let bn1 = layout.batch_norm("encoder.bn1", width);
        let mut inner = width;
        let stages = (0..3).map(|stage| {
            let planes = width << stage;
            let block = |b: i64| {
                let first = stage > 0 && b == 0;
                let name = |part: &str| format!("encoder.layer{}.{b}.{part}", stage + 1);
                let (stride, from) = (if first { 2 } else { 1 }, inner);
                inner = planes;
                let conv_a = layout.conv(&name("conv1"), [planes, from, 3, 3], stride, 1, false);
                let bn_a = layout.batch_norm(&name("bn1"), planes);
                let conv_b = layout.conv(&name("conv2"), [planes, planes, 3, 3], 1, 1, false);
                let bn_b = layout.batch_norm(&name("bn2"), planes);
                let pad = first.then_some(planes / 4);
                Basic { conv: [conv_a, conv_b], bn: [bn_a, bn_b], pad }
            };
            (0..blocks).map(block).collect()
        });
        let stages = Stages::Cifar(stages.collect());
        Self { conv1, bn1, stages }
    }

    fn imagenet(spec: &EncoderSpec, layout: &mut Layout) -> Self {
        let channels = spec.in_channels as i64;
        let conv1 = layout.conv("encoder.conv1", [64, channels, 7, 7], 2, 1, true);
        let bn1 = layout.batch_norm("encoder.bn1", 64);
        let (groups, base) = if spec.arch == Arch::ResNeXt50 { (32, 4) } else { (1, 64) };
        let mut inner = 64;
        let stages = [3, 4, 6, 3].iter().enumerate().map(|(stage, &blocks)| {
            let out = 256 << stage;
            // ResNeXt: 32 groups of 4 channels in the first stage, twice as many in each next one.
            let width = (groups * base) << stage;
            let block = |b: i64| {
                let name = |part: &str| format!("encoder.layer{}.{b}.{part}", stage + 1);
                let (stride, from) = (if stage > 0 && b == 0 { 2 } else { 1 }, inner);
                inner = out;
                let c1 = layout.conv(&name("conv1"), [width, from, 1, 1], 1, 1, true);
                let b1 = layout.batch_norm(&name("bn1"), width);
                let shape = [width, width / groups, 3, 3];
                let c2 = layout.conv(&name("conv2"), shape, stride, groups, true);
                let b2 = layout.batch_norm(&name("bn2"), width);
                let c3 = layout.conv(&name("conv3"), [out, width, 1, 1], 1, 1, true);
                let b3 = layout.batch_norm(&name("bn3"), out);
                let downsample = (b == 0).then(|| {
                    let shape = [out, from, 1, 1];
                    let conv = layout.conv(&name("downsample.0"), shape, stride, 1, true);
                    (conv, layout.batch_norm(&name("downsample.1"), out))
                });
                Bottleneck { conv: [c1, c2, c3], bn: [b1, b2, b3], downsample }
            };
            (0..blocks).map(block).collect()
        });
        let stages = Stages::ImageNet(stages.collect());
        Self { conv1, bn1, stages }
    }

    /// Images [N, C, H, W] to features [N, F].
    pub(crate) fn forward(
        &self,
        images: &Tensor,
        pass: &mut Pass<'_>,
        watch: Watch<'_>,
    ) -> TorchResult<Tensor> {
        let x = pass.conv(self.conv1, &pass.input(images)?)?;
        let mut x = pass.batch_norm(self.bn1, &x)?;
        match &self.stages {
            Stages::Cifar(stages) => {
                watch("bn1", &x);
                x = x.f_relu_()?;
                for (s, stage) in stages.iter().enumerate() {
                    for block in stage {
                        x = block.forward(&x, pass)?;
                    }
                    watch(&format!("layer{}", s + 1), &x);
                }
            }
            Stages::ImageNet(stages) => {
                x = x.f_relu_()?;
                watch("bn1", &x);
                x = x.f_max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false)?;
                for (s, stage) in stages.iter().enumerate() {
                    for block in stage {
                        x = block.forward(&x, pass)?;
                    }
                    watch(&format!("layer{}", s + 1), &x);
                }
            }
        }
        x.f_mean_dim([2i64, 3].as_slice(), false, tch::Kind::Float)
    }
}

impl Basic {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> TorchResult<Tensor> {
        let y = pass.conv(self.conv[0], x)?;
        let y = pass.batch_norm(self.bn[0], &y)?.f_relu_()?;
        let y = pass.conv(self.conv[1], &y)?;
        let mut y = pass.batch_norm(self.bn[1], &y)?;
        match self.pad {
            None => y.f_add_(x)?.f_relu_(),
            Some(pad) => {
                let pixels = x.f_slice(2, None, None, 2)?.f_slice(3, None, None, 2)?;
                y.f_add_(&pixels.f_constant_pad_nd([0, 0, 0, 0, pad, pad])?)?.f_relu_()
            }
        }
    }
}

impl Bottleneck {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> TorchResult<Tensor> {
        let mut y = x.shallow_clone();
        for k in 0..2 {
            let out = pass.conv(self.conv[k], &y)?;
            y = pass.batch_norm(self.bn[k], &out)?.f_relu_()?;
        }
        let y = pass.conv(self.conv[2], &y)?;
        let mut y = pass.batch_norm(self.bn[2], &y)?;
        match self.downsample {
            None => y.f_add_(x)?.f_relu_(),
            Some((conv, bn)) => {
                let shortcut = pass.conv(conv, x)?;
                y.f_add_(&pass.batch_norm(bn, &shortcut)?)?.f_relu_()
            }
        }
    }
}
