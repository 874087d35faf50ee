//! Named tensors on the host: what crosses the border between torch and the rest of the crate, and
//! what a safetensors file holds.

use std::collections::BTreeMap;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use tch::{Device, Kind, Tensor};

use crate::{Error, Result};

/// Values of a [`HostTensor`], row-major.
#[derive(Debug, Clone, PartialEq)]
pub enum HostData {
    /// float32.
    F32(Vec<f32>),
    /// float64.
    F64(Vec<f64>),
    /// int64.
    I64(Vec<i64>),
}

/// A tensor in host memory: shape and row-major values.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    /// Sizes, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Values.
    pub data: HostData,
}

/// Tensors by name, in name order.
pub type HostTensors = BTreeMap<String, HostTensor>;

impl HostTensor {
    /// float32 values of `shape`.
    ///
    /// # Errors
    /// [`Error::Input`] if the number of values is not that of the shape.
    pub fn f32(shape: &[usize], values: Vec<f32>) -> Result<Self> {
        Self { shape: shape.to_vec(), data: HostData::F32(values) }.checked()
    }

    /// int64 values of `shape`.
    ///
    /// # Errors
    /// [`Error::Input`] if the number of values is not that of the shape.
    pub fn i64(shape: &[usize], values: Vec<i64>) -> Result<Self> {
        Self { shape: shape.to_vec(), data: HostData::I64(values) }.checked()
    }

    fn checked(self) -> Result<Self> {
        let expected: usize = self.shape.iter().product();
        if self.len() == expected {
            return Ok(self);
        }
        Err(Error::input(format!(
            "tensor of shape {:?}: {} values given, {expected} expected",
            self.shape,
            self.len()
        )))
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        match &self.data {
            HostData::F32(v) => v.len(),
            HostData::F64(v) => v.len(),
            HostData::I64(v) => v.len(),
        }
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values as float64 whatever they are stored as.
    pub fn to_f64(&self) -> Vec<f64> {
        match &self.data {
            HostData::F32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            HostData::F64(v) => v.clone(),
            HostData::I64(v) => v.iter().map(|&x| x as f64).collect(),
        }
    }

    /// The values, if they are int64.
    pub fn as_i64(&self) -> Option<&[i64]> {
        if let HostData::I64(v) = &self.data { Some(v) } else { None }
    }

    /// The values, if they are float32.
    pub fn as_f32(&self) -> Option<&[f32]> {
        if let HostData::F32(v) = &self.data { Some(v) } else { None }
    }

    pub(crate) fn to_torch(&self, device: Device) -> Tensor {
        let flat = match &self.data {
            HostData::F32(v) => Tensor::from_slice(v),
            HostData::F64(v) => Tensor::from_slice(v),
            HostData::I64(v) => Tensor::from_slice(v),
        };
        let shape: Vec<i64> = self.shape.iter().map(|&n| n as i64).collect();
        flat.reshape(shape).to_device(device)
    }

    /// Copies a tensor to the host; bfloat16 and half become float32, booleans and integers int64.
    pub(crate) fn from_torch(tensor: &Tensor) -> Self {
        let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
        let shape = tensor.size().iter().map(|&n| n as usize).collect();
        let flat = tensor.reshape([-1]);
        let values = "a contiguous tensor on the host can be copied";
        let data = match flat.kind() {
            Kind::Double => HostData::F64(Vec::try_from(&flat).expect(values)),
            Kind::Float | Kind::BFloat16 | Kind::Half => {
                HostData::F32(Vec::try_from(&flat.to_kind(Kind::Float)).expect(values))
            }
            _ => HostData::I64(Vec::try_from(&flat.to_kind(Kind::Int64)).expect(values)),
        };
        Self { shape, data }
    }

    fn bytes(&self) -> (Dtype, Vec<u8>) {
        match &self.data {
            HostData::F32(v) => (Dtype::F32, v.iter().flat_map(|x| x.to_le_bytes()).collect()),
            HostData::F64(v) => (Dtype::F64, v.iter().flat_map(|x| x.to_le_bytes()).collect()),
            HostData::I64(v) => (Dtype::I64, v.iter().flat_map(|x| x.to_le_bytes()).collect()),
        }
    }
}

/// The tensors as a safetensors file; the same tensors give the same bytes.
///
/// # Errors
/// [`Error::Run`] if the format refuses a tensor.
pub fn to_safetensors(tensors: &HostTensors) -> Result<Vec<u8>> {
    let stored: Vec<_> = tensors.iter().map(|(name, t)| (name, &t.shape, t.bytes())).collect();
    let views: Vec<(&String, TensorView<'_>)> = stored
        .iter()
        .map(|(name, shape, (dtype, bytes))| {
            TensorView::new(*dtype, (*shape).clone(), bytes).map(|view| (*name, view))
        })
        .collect::<std::result::Result<_, _>>()
        .map_err(|e| Error::run(format!("safetensors: {e}")))?;
    safetensors::serialize(views, None).map_err(|e| Error::run(format!("safetensors: {e}")))
}

/// Reads a safetensors file from its bytes. float16 and bfloat16 become float32; int32, uint8 and
/// booleans become int64. `what` names the file in messages.
///
/// # Errors
/// [`Error::Input`] if the bytes are not a safetensors file or hold a type not listed above.
pub fn from_safetensors(what: &str, bytes: &[u8]) -> Result<HostTensors> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| {
        Error::input(format!("{what}: not a readable safetensors file ({e}); save it again"))
    })?;
    file.iter()
        .map(|(name, view)| {
            let data = values(view.dtype(), view.data()).ok_or_else(|| {
                Error::input(format!(
                    "{what}: tensor `{name}` has type {:?}; expected a float or an integer type",
                    view.dtype()
                ))
            })?;
            Ok((name.to_owned(), HostTensor { shape: view.shape().to_vec(), data }))
        })
        .collect()
}

fn values(dtype: Dtype, bytes: &[u8]) -> Option<HostData> {
    fn read<const N: usize, T>(bytes: &[u8], f: impl Fn([u8; N]) -> T) -> Vec<T> {
        bytes.as_chunks::<N>().0.iter().map(|b| f(*b)).collect()
    }
    Some(match dtype {
        Dtype::F32 => HostData::F32(read(bytes, f32::from_le_bytes)),
        Dtype::F64 => HostData::F64(read(bytes, f64::from_le_bytes)),
        Dtype::F16 => HostData::F32(read(bytes, |b| half::f16::from_le_bytes(b).to_f32())),
        Dtype::BF16 => HostData::F32(read(bytes, |b| half::bf16::from_le_bytes(b).to_f32())),
        Dtype::I64 => HostData::I64(read(bytes, i64::from_le_bytes)),
        Dtype::I32 => HostData::I64(read(bytes, |b| i32::from_le_bytes(b).into())),
        Dtype::U8 | Dtype::BOOL => HostData::I64(bytes.iter().map(|&b| b.into()).collect()),
        _ => return None,
    })
}
