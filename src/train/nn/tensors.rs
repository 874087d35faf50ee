//! Named tensors on the host, which is what a safetensors file holds, and what is checked of the tensors
//! that a user hands over.

use std::collections::BTreeMap;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use tch::{Device, Kind, Tensor};

use crate::{
    Error, Result,
    train::nn::device::{TorchResult, device_name},
};

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
        let tensor = Self { shape: shape.to_vec(), data: HostData::F32(values) };
        tensor.check().map(|()| tensor)
    }

    /// int64 values of `shape`.
    ///
    /// # Errors
    /// [`Error::Input`] if the number of values is not that of the shape.
    pub fn i64(shape: &[usize], values: Vec<i64>) -> Result<Self> {
        let tensor = Self { shape: shape.to_vec(), data: HostData::I64(values) };
        tensor.check().map(|()| tensor)
    }

    fn check(&self) -> Result<()> {
        let expected: usize = self.shape.iter().product();
        if self.len() == expected {
            return Ok(());
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

    /// A copy on `device`, of the same type.
    ///
    /// # Errors
    /// [`Error::Input`] if the number of values is not that of the shape; [`Error::Run`] if libtorch fails
    /// (out of memory).
    pub fn to_torch(&self, device: Device) -> Result<Tensor> {
        self.check()?;
        let flat = match &self.data {
            HostData::F32(v) => Tensor::from_slice(v),
            HostData::F64(v) => Tensor::from_slice(v),
            HostData::I64(v) => Tensor::from_slice(v),
        };
        let shape: Vec<i64> = self.shape.iter().map(|&n| n as i64).collect();
        Ok(flat.f_reshape(shape)?.f_to_device(device)?)
    }

    /// Copies a tensor to the host; bfloat16 and half become float32, booleans and integers int64.
    pub fn from_torch(tensor: &Tensor) -> Self {
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

/// Half types become float32 before anything is exponentiated.
pub(crate) fn wide(x: &Tensor) -> TorchResult<Tensor> {
    match x.kind() {
        Kind::Half | Kind::BFloat16 => x.f_to_kind(Kind::Float),
        _ => Ok(x.shallow_clone()),
    }
}

/// N and K of floats `[N, K]`; `what` names them in the message.
///
/// # Errors
/// [`Error::Input`] for another kind or another number of dimensions.
pub(crate) fn matrix(what: &str, given: &Tensor) -> Result<(i64, i64)> {
    let floats = [Kind::Half, Kind::BFloat16, Kind::Float, Kind::Double].contains(&given.kind());
    match given.size()[..] {
        [n, k] if floats => Ok((n, k)),
        ref size => Err(Error::input(format!(
            "{what}: {:?} values of shape {size:?}; expected a matrix of floats",
            given.kind()
        ))),
    }
}

/// Refuses labels that are not one class from 0 for each row of `rows`, on its device; below `classes` where
/// that is known. Values on a GPU are not read: the host would wait for the device at every step.
///
/// # Errors
/// [`Error::Input`] naming what does not fit.
pub(crate) fn check_labels(
    what: &str,
    labels: &Tensor,
    rows: &Tensor,
    classes: Option<i64>,
) -> Result<()> {
    let n = rows.size()[0];
    if labels.kind() != Kind::Int64 || labels.size() != [n] {
        return Err(Error::input(format!(
            "{what}: {:?} values of shape {:?}; expected {n} int64 values, one per row",
            labels.kind(),
            labels.size()
        )));
    }
    same_device(what, labels, rows.device())?;
    if labels.device() != Device::Cpu {
        return Ok(());
    }
    let values: Vec<i64> = Vec::try_from(labels)?;
    let most = classes.unwrap_or(i64::MAX);
    let Some((row, bad)) = values.iter().enumerate().find(|(_, y)| !(0..most).contains(*y)) else {
        return Ok(());
    };
    let expected = classes.map_or_else(|| "at least 0".into(), |c| format!("0..{c}"));
    Err(Error::input(format!("{what}: row {row} has label {bad}; expected {expected}")))
}

/// Refuses a tensor that is elsewhere.
///
/// # Errors
/// [`Error::Input`] naming both devices.
pub(crate) fn same_device(what: &str, given: &Tensor, expected: Device) -> Result<()> {
    if given.device() == expected {
        return Ok(());
    }
    Err(Error::input(format!(
        "{what}: on device {}; expected {}, as what they meet; move them with `to_device`",
        device_name(given.device()),
        device_name(expected)
    )))
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
