//! Where host data becomes torch's and back: images, matrices, devices.

use ndarray::Array2;
use tch::{Device, Kind, Tensor};

use crate::{Error, Result};

/// Normalised images in NCHW order, float32, as the loader lays them out.
#[derive(Debug, Clone, Copy)]
pub struct Images<'a> {
    /// rows * channels * height * width values.
    pub values: &'a [f32],
    /// [rows, channels, height, width].
    pub shape: [usize; 4],
}

impl Images<'_> {
    pub(super) fn to_torch(self, device: Device) -> Result<Tensor> {
        let expected: usize = self.shape.iter().product();
        if self.values.len() != expected {
            return Err(Error::input(format!(
                "images: {} values for shape {:?}, which needs {expected}",
                self.values.len(),
                self.shape
            )));
        }
        let shape = self.shape.map(|n| n as i64);
        Ok(Tensor::from_slice(self.values).reshape(shape).f_to_device(device)?)
    }
}

/// Threads that libtorch uses for operations called from this thread.
pub fn set_threads(threads: usize) {
    tch::set_num_threads(i32::try_from(threads.max(1)).unwrap_or(i32::MAX));
}

/// The device named `cpu`, `cuda` (the first GPU), `cuda:N` or `auto` (a GPU if there is one).
///
/// # Errors
/// [`Error::Input`] for an unknown name or a GPU that libtorch does not see.
pub(super) fn device(name: &str) -> Result<Device> {
    let gpus = tch::Cuda::device_count();
    let index = match name {
        "cpu" => return Ok(Device::Cpu),
        "auto" => return Ok(Device::cuda_if_available()),
        "cuda" => 0,
        other => other.strip_prefix("cuda:").and_then(|n| n.parse().ok()).ok_or_else(|| {
            Error::input(format!("device `{other}`: expected cpu, cuda, cuda:N or auto"))
        })?,
    };
    if (index as i64) < gpus {
        return Ok(Device::Cuda(index));
    }
    Err(Error::input(format!(
        "device `{name}`: libtorch sees {gpus} GPUs; use --device cpu, or a libtorch built for CUDA"
    )))
}

/// "cpu" or "cuda:N".
pub(super) fn device_name(device: Device) -> String {
    match device {
        Device::Cuda(n) => format!("cuda:{n}"),
        _ => "cpu".into(),
    }
}

/// A float tensor [N, K] as an array.
pub(super) fn rows(tensor: &Tensor) -> Result<Array2<f32>> {
    let size = tensor.size();
    let host = tensor.f_to_kind(Kind::Float)?.f_to_device(Device::Cpu)?.f_contiguous()?;
    let values: Vec<f32> = Vec::try_from(host.f_reshape([-1])?)?;
    Array2::from_shape_vec((size[0] as usize, size[1] as usize), values)
        .map_err(|e| Error::run(format!("tensor of size {size:?} is not a matrix: {e}")))
}
