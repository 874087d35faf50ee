//! Where host data becomes torch's and back: images, matrices, devices.

use ndarray::Array2;
use tch::{Device, Kind, Tensor};

use crate::{Error, Result, data::Batch};

/// What tch's fallible operations give.
pub(crate) type TorchResult<T> = std::result::Result<T, tch::TchError>;

/// Normalised images in NCHW order, float32, as the loader lays them out.
#[derive(Debug, Clone, Copy)]
pub struct Images<'a> {
    /// rows * channels * height * width values.
    pub values: &'a [f32],
    /// [rows, channels, height, width].
    pub shape: [usize; 4],
}

impl<'a> Images<'a> {
    /// All rows of a batch as the loader made it: view 1 of all images first.
    pub fn of(batch: &'a Batch) -> Self {
        let (h, w, c) = batch.shape;
        let rows = batch.images.len() / (h * w * c);
        Self { values: &batch.images, shape: [rows, c, h, w] }
    }

    pub(crate) fn to_torch(self, device: Device) -> Result<Tensor> {
        let expected: usize = self.shape.iter().product();
        if self.values.len() != expected {
            return Err(Error::input(format!(
                "images: {} values for shape {:?}, which needs {expected}",
                self.values.len(),
                self.shape
            )));
        }
        let shape = self.shape.map(|n| n as i64);
        Ok(upload(&Tensor::from_slice(self.values).reshape(shape), device)?)
    }
}

/// What a batch must be like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    /// Image rows per label.
    pub(crate) views: usize,
    pub(crate) channels: usize,
    pub(crate) classes: usize,
}

/// Images and labels of a batch on `device`, once they fit each other and what is expected.
pub(crate) fn batch(
    images: Images<'_>,
    labels: &[i64],
    expected: Expected,
    device: Device,
) -> Result<(Tensor, Tensor)> {
    let Expected { views, channels: due, classes } = expected;
    let [rows, channels, ..] = images.shape;
    if labels.is_empty() || rows != views * labels.len() {
        return Err(Error::input(format!(
            "batch: {rows} image rows for {} labels; the method needs {views} per label",
            labels.len()
        )));
    }
    if channels != due {
        return Err(Error::input(format!(
            "batch: {channels} image channels; encoder.in_channels is {due}"
        )));
    }
    if let Some(bad) = labels.iter().find(|&&y| usize::try_from(y).map_or(true, |y| y >= classes)) {
        return Err(Error::input(format!("batch: label {bad} is outside 0..{classes}")));
    }
    Ok((images.to_torch(device)?, upload(&Tensor::from_slice(labels), device)?))
}

/// A tensor of the host on `device`. For a GPU it passes through pinned memory and is copied in the
/// order of the stream while the host goes on: from pageable memory the host would wait for every
/// copy. The pinned block is not used again before its copy is done; libtorch's allocator sees to that.
pub(crate) fn upload(host: &Tensor, device: Device) -> TorchResult<Tensor> {
    if !device.is_cuda() {
        return host.f_to_device(device);
    }
    host.f_pin_memory(device)?.f_to_device_(device, host.kind(), true, false)
}

/// Threads that libtorch uses for operations called from this thread.
pub fn set_threads(threads: usize) {
    tch::set_num_threads(i32::try_from(threads.max(1)).unwrap_or(i32::MAX));
}

/// A device as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceName {
    /// `cpu`.
    Cpu,
    /// `auto`: a GPU if there is one.
    Auto,
    /// `cuda:N`; `cuda` is the first.
    Cuda(usize),
}

impl std::str::FromStr for DeviceName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "cpu" => Ok(Self::Cpu),
            "auto" => Ok(Self::Auto),
            "cuda" => Ok(Self::Cuda(0)),
            other => {
                let index = other.strip_prefix("cuda:").and_then(|n| n.parse().ok());
                index.map(Self::Cuda).ok_or_else(|| {
                    Error::input(format!("device `{other}`: expected cpu, cuda, cuda:N or auto"))
                })
            }
        }
    }
}

impl DeviceName {
    /// Whether this machine has it.
    ///
    /// # Errors
    /// [`Error::Input`] for a GPU that libtorch does not see.
    pub fn check(self) -> Result<()> {
        self.find().map(drop)
    }

    fn find(self) -> Result<Device> {
        let gpus = usize::try_from(tch::Cuda::device_count()).unwrap_or(0);
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto => Ok(Device::cuda_if_available()),
            Self::Cuda(index) if index < gpus => Ok(Device::Cuda(index)),
            Self::Cuda(index) => Err(Error::input(format!(
                "device `cuda:{index}`: libtorch sees {gpus} GPUs; use --device cpu, or a libtorch built for CUDA"
            ))),
        }
    }
}

/// The device named as [`DeviceName`] says.
///
/// # Errors
/// [`Error::Input`] for an unknown name or a GPU that libtorch does not see.
pub(crate) fn device(name: &str) -> Result<Device> {
    name.parse::<DeviceName>()?.find()
}

/// "cpu" or "cuda:N".
pub(crate) fn device_name(device: Device) -> String {
    match device {
        Device::Cuda(n) => format!("cuda:{n}"),
        _ => "cpu".into(),
    }
}

/// A float tensor [N, K] as an array.
pub(crate) fn rows(tensor: &Tensor) -> Result<Array2<f32>> {
    let size = tensor.size();
    let host = tensor.f_to_kind(Kind::Float)?.f_to_device(Device::Cpu)?.f_contiguous()?;
    let values: Vec<f32> = Vec::try_from(host.f_reshape([-1])?)?;
    Array2::from_shape_vec((size[0] as usize, size[1] as usize), values)
        .map_err(|e| Error::run(format!("tensor of size {size:?} is not a matrix: {e}")))
}
