//! Reads the plain data in a Python pickle of protocols 2 to 5, as Python 2 and 3 write them: numbers,
//! strings, lists, tuples, dictionaries and NumPy byte arrays. Nothing is imported or called; whatever
//! would need that is refused by name.
//!
//! Values live in one arena and refer to each other by position: no recursion, and no more of them
//! than [`machine`] allows.

use std::borrow::Cow;
use std::ops::Range;

mod machine;

use machine::Machine;

/// Position of a value in [`Pickle::values`].
type Id = u32;

#[derive(Debug, Clone)]
enum Value {
    None,
    /// A number or a truth value (0, 1).
    Int(i64),
    Float,
    /// Part of the file: bytes and text alike.
    Bytes(Range<usize>),
    /// Part of the file: text (UTF-8) that stands for bytes, each code point for one.
    Latin1(Range<usize>),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// Module and name of something that may be named but is never called.
    Global(Id, Id),
    /// A NumPy array under construction: its state arrives with BUILD.
    Array(Option<Id>),
    /// A NumPy array that is a view of a buffer.
    Buffer {
        data: Id,
        dtype: Id,
        shape: Id,
        order: Id,
    },
    /// A NumPy dtype: its code, for example `u1`.
    Dtype(Id),
}

/// An unpickled file.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    bytes: &'a [u8],
    values: Vec<Value>,
    top: Id,
}

/// A NumPy byte array: its sizes and its entries, row-major.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ByteArray<'a> {
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Cow<'a, [u8]>,
}

type Outcome<T> = Result<T, String>;

impl<'a> Pickle<'a> {
    /// Reads the whole of `bytes`.
    pub(super) fn read(bytes: &'a [u8]) -> Outcome<Self> {
        let mut machine = Machine::new(bytes);
        let top = machine.run().map_err(|e| format!("{e} (byte {})", machine.at))?;
        Ok(Self { bytes, values: machine.values, top })
    }

    /// The entry `key` of the dictionary at the top.
    pub(super) fn entry(&self, key: &str) -> Option<Id> {
        let Value::Dict(pairs) = &self.values[self.top as usize] else { return None };
        let is_key = |id: Id| match &self.values[id as usize] {
            // A key in ASCII is the same in both encodings.
            Value::Bytes(range) | Value::Latin1(range) => {
                &self.bytes[range.clone()] == key.as_bytes()
            }
            _ => false,
        };
        pairs.iter().rev().find(|(k, _)| is_key(*k)).map(|(_, v)| *v)
    }

    /// The bytes of a string.
    fn text(&self, id: Id) -> Option<Cow<'a, [u8]>> {
        match &self.values[id as usize] {
            Value::Bytes(range) => Some(Cow::Borrowed(&self.bytes[range.clone()])),
            Value::Latin1(range) => {
                let text = std::str::from_utf8(&self.bytes[range.clone()]).ok()?;
                text.chars().map(|c| u8::try_from(c).ok()).collect()
            }
            _ => None,
        }
    }

    /// A list of integers.
    pub(super) fn integers(&self, id: Id) -> Option<Vec<i64>> {
        let (Value::List(ids) | Value::Tuple(ids)) = &self.values[id as usize] else { return None };
        let integer = |id: &Id| match self.values[*id as usize] {
            Value::Int(n) => Some(n),
            _ => None,
        };
        ids.iter().map(integer).collect()
    }

    /// A NumPy array of unsigned bytes in row-major order.
    pub(super) fn byte_array(&self, id: Id) -> Option<ByteArray<'a>> {
        let (shape, dtype, data) = match self.values[id as usize] {
            Value::Array(Some(state)) => {
                let Value::Tuple(state) = &self.values[state as usize] else { return None };
                // (version, shape, dtype, is it column-major, bytes)
                let &[_, shape, dtype, order, data] = state.as_slice() else { return None };
                let row_major = matches!(self.values[order as usize], Value::Int(0));
                row_major.then_some((shape, dtype, data))?
            }
            Value::Buffer { data, dtype, shape, order } => {
                (self.text(order)?.as_ref() == b"C").then_some((shape, dtype, data))?
            }
            _ => return None,
        };
        let Value::Dtype(code) = self.values[dtype as usize] else { return None };
        if self.text(code)?.as_ref() != b"u1" {
            return None;
        }
        let shape = self.integers(shape)?;
        let shape: Option<Vec<usize>> =
            shape.into_iter().map(|n| usize::try_from(n).ok()).collect();
        let (shape, bytes) = (shape?, self.text(data)?);
        let size = shape.iter().try_fold(1usize, |n, &side| n.checked_mul(side))?;
        (size == bytes.len()).then_some(ByteArray { shape, bytes })
    }
}

#[cfg(test)]
mod tests;
