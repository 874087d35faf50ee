//! Reads the plain data in a Python pickle: numbers, strings, lists, tuples, dictionaries and NumPy byte
//! arrays. Nothing is imported or called; whatever would need that is refused by name.
//!
//! Values live in one arena and refer to each other by position: no recursion, and memory in
//! proportion to the file.

use std::collections::HashMap;
use std::ops::Range;

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
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// `module name` of something that may be named but is never called.
    Global(String),
    /// A NumPy array under construction: its state arrives with BUILD.
    Array(Option<Id>),
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
    pub(super) bytes: &'a [u8],
}

type Outcome<T> = Result<T, String>;

impl<'a> Pickle<'a> {
    /// Reads the whole of `bytes`.
    pub(super) fn read(bytes: &'a [u8]) -> Outcome<Self> {
        let mut machine = Machine { at: 0, bytes, ..Machine::default() };
        let top = machine.run().map_err(|e| format!("{e} (byte {})", machine.at))?;
        Ok(Self { bytes, values: machine.values, top })
    }

    /// The entry `key` of the dictionary at the top.
    pub(super) fn entry(&self, key: &str) -> Option<Id> {
        let Value::Dict(pairs) = &self.values[self.top as usize] else { return None };
        let is_key = |id: Id| self.text(id) == Some(key.as_bytes());
        pairs.iter().rev().find(|(k, _)| is_key(*k)).map(|(_, v)| *v)
    }

    /// The bytes of a string.
    pub(super) fn text(&self, id: Id) -> Option<&'a [u8]> {
        match &self.values[id as usize] {
            Value::Bytes(range) => Some(&self.bytes[range.clone()]),
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
        let Value::Array(Some(state)) = self.values[id as usize] else { return None };
        let Value::Tuple(state) = &self.values[state as usize] else { return None };
        // (version, shape, dtype, is it column-major, bytes)
        let &[_, shape, dtype, order, data] = state.as_slice() else { return None };
        let Value::Dtype(code) = self.values[dtype as usize] else { return None };
        let row_major = matches!(self.values[order as usize], Value::Int(0));
        if self.text(code)? != b"u1" || !row_major {
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

#[derive(Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value>,
    /// `None` is a mark.
    stack: Vec<Option<Id>>,
    memo: HashMap<u32, Id>,
}

impl Machine<'_> {
    fn run(&mut self) -> Outcome<Id> {
        loop {
            let opcode = self.number::<1>()? as u8;
            match opcode {
                b'.' => return self.pop(),
                0x80 => self.skip(1)?,
                0x95 => self.skip(8)?,
                b'(' => self.stack.push(None),
                b'0' => self.stack.truncate(self.stack.len().saturating_sub(1)),
                b'N' => self.push(Value::None),
                0x88 => self.push(Value::Int(1)),
                0x89 => self.push(Value::Int(0)),
                b'J' => self.signed::<4>()?,
                b'K' => self.unsigned::<1>()?,
                b'M' => self.unsigned::<2>()?,
                0x8a => self.long()?,
                b'G' => {
                    self.take(8)?;
                    self.push(Value::Float);
                }
                b'U' | b'C' | 0x8c => self.string::<1>()?,
                b'T' | b'B' | b'X' => self.string::<4>()?,
                0x8d | 0x8e => self.string::<8>()?,
                b']' => self.push(Value::List(Vec::new())),
                b')' => self.push(Value::Tuple(Vec::new())),
                b'}' => self.push(Value::Dict(Vec::new())),
                b't' => self.marked_tuple()?,
                0x85..=0x87 => self.tuple(usize::from(opcode - 0x84))?,
                b'a' => self.append()?,
                b'e' => self.append_marked()?,
                b's' => self.set()?,
                b'u' => self.set_marked()?,
                b'q' => self.remember::<1>()?,
                b'r' => self.remember::<4>()?,
                0x94 => self.remember_next()?,
                b'h' => self.recall::<1>()?,
                b'j' => self.recall::<4>()?,
                b'c' => self.global()?,
                0x93 => self.stacked_global()?,
                b'R' => self.reduce()?,
                b'b' => self.build()?,
                other => return Err(format!("opcode {other:#04x} is not one of plain data")),
            }
        }
    }

    fn take(&mut self, n: usize) -> Outcome<Range<usize>> {
        let end = self.at.checked_add(n).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| "the file ends in the middle of a value".to_owned())?;
        let range = self.at..end;
        self.at = end;
        Ok(range)
    }

    fn skip(&mut self, n: usize) -> Outcome<()> {
        self.take(n).map(|_| ())
    }

    fn number<const N: usize>(&mut self) -> Outcome<u64> {
        let range = self.take(N)?;
        let bytes = self.bytes[range].iter().rev();
        Ok(bytes.fold(0, |n, &byte| n << 8 | u64::from(byte)))
    }

    fn push(&mut self, value: Value) {
        // Fewer values than bytes, and files are far below 4 GiB (see `read`).
        self.stack.push(Some(self.values.len() as Id));
        self.values.push(value);
    }

    fn pop(&mut self) -> Outcome<Id> {
        self.stack.pop().flatten().ok_or_else(|| "an operation lacks its value".into())
    }

    fn top(&self) -> Outcome<Id> {
        self.stack.last().copied().flatten().ok_or_else(|| "an operation lacks its value".into())
    }

    fn since_mark(&mut self) -> Outcome<Vec<Id>> {
        let mark = self.stack.iter().rposition(Option::is_none).ok_or("a mark is missing")?;
        let ids = self.stack.drain(mark..).skip(1).flatten().collect();
        Ok(ids)
    }

    fn signed<const N: usize>(&mut self) -> Outcome<()> {
        let n = self.number::<N>()? as u32 as i32;
        self.push(Value::Int(n.into()));
        Ok(())
    }

    fn unsigned<const N: usize>(&mut self) -> Outcome<()> {
        let n = self.number::<N>()? as i64;
        self.push(Value::Int(n));
        Ok(())
    }

    fn long(&mut self) -> Outcome<()> {
        let n = self.number::<1>()? as usize;
        let range = self.take(n)?;
        if n > 8 {
            return Err("an integer of more than 64 bits".into());
        }
        let mut wide = [if n > 0 && self.bytes[range.end - 1] & 0x80 != 0 { 0xff } else { 0 }; 8];
        wide[..n].copy_from_slice(&self.bytes[range]);
        self.push(Value::Int(i64::from_le_bytes(wide)));
        Ok(())
    }

    fn string<const N: usize>(&mut self) -> Outcome<()> {
        let n = usize::try_from(self.number::<N>()?).map_err(|_| "a string beyond memory")?;
        let range = self.take(n)?;
        self.push(Value::Bytes(range));
        Ok(())
    }

    fn marked_tuple(&mut self) -> Outcome<()> {
        let ids = self.since_mark()?;
        self.push(Value::Tuple(ids));
        Ok(())
    }

    fn tuple(&mut self, n: usize) -> Outcome<()> {
        let mut ids = (0..n).map(|_| self.pop()).collect::<Outcome<Vec<_>>>()?;
        ids.reverse();
        self.push(Value::Tuple(ids));
        Ok(())
    }

    fn append(&mut self) -> Outcome<()> {
        let id = self.pop()?;
        self.extend(vec![id])
    }

    fn append_marked(&mut self) -> Outcome<()> {
        let ids = self.since_mark()?;
        self.extend(ids)
    }

    fn extend(&mut self, ids: Vec<Id>) -> Outcome<()> {
        match self.top_value()? {
            Value::List(list) => list.extend(ids),
            _ => return Err("an append to something that is not a list".into()),
        }
        Ok(())
    }

    fn set(&mut self) -> Outcome<()> {
        let (value, key) = (self.pop()?, self.pop()?);
        self.insert(&[key, value])
    }

    fn set_marked(&mut self) -> Outcome<()> {
        let ids = self.since_mark()?;
        self.insert(&ids)
    }

    fn insert(&mut self, ids: &[Id]) -> Outcome<()> {
        match self.top_value()? {
            Value::Dict(pairs) if ids.len().is_multiple_of(2) => {
                pairs.extend(ids.chunks_exact(2).map(|pair| (pair[0], pair[1])));
                Ok(())
            }
            _ => Err("an entry for something that is not a dictionary".into()),
        }
    }

    fn top_value(&mut self) -> Outcome<&mut Value> {
        let id = self.top()?;
        Ok(&mut self.values[id as usize])
    }

    fn remember<const N: usize>(&mut self) -> Outcome<()> {
        let key = self.number::<N>()? as u32;
        let id = self.top()?;
        self.memo.insert(key, id);
        Ok(())
    }

    fn remember_next(&mut self) -> Outcome<()> {
        let id = self.top()?;
        self.memo.insert(self.memo.len() as u32, id);
        Ok(())
    }

    fn recall<const N: usize>(&mut self) -> Outcome<()> {
        let key = self.number::<N>()? as u32;
        let id = *self.memo.get(&key).ok_or("a reference to a value that was never stored")?;
        self.stack.push(Some(id));
        Ok(())
    }

    fn global(&mut self) -> Outcome<()> {
        let (module, name) = (self.line()?, self.line()?);
        self.push(Value::Global(format!("{module} {name}")));
        Ok(())
    }

    fn line(&mut self) -> Outcome<String> {
        let rest = &self.bytes[self.at..];
        let n = rest.iter().take(200).position(|&b| b == b'\n').ok_or("a name without an end")?;
        let range = self.take(n + 1)?;
        Ok(String::from_utf8_lossy(&self.bytes[range.start..range.end - 1]).into_owned())
    }

    fn stacked_global(&mut self) -> Outcome<()> {
        let (name, module) = (self.pop()?, self.pop()?);
        let text = |id: Id| match &self.values[id as usize] {
            Value::Bytes(range) if range.len() <= 200 => {
                Ok(String::from_utf8_lossy(&self.bytes[range.clone()]).into_owned())
            }
            _ => Err("a name that is not a string".to_owned()),
        };
        let global = format!("{} {}", text(module)?, text(name)?);
        self.push(Value::Global(global));
        Ok(())
    }

    /// The only two things that a file may "call": the empty NumPy array and the NumPy dtype. Neither
    /// is called; both become data.
    fn reduce(&mut self) -> Outcome<()> {
        let (arguments, callee) = (self.pop()?, self.pop()?);
        let Value::Global(name) = &self.values[callee as usize] else {
            return Err("a call of something without a name".into());
        };
        let value = match name.as_str() {
            "numpy.core.multiarray _reconstruct" | "numpy._core.multiarray _reconstruct" => {
                Value::Array(None)
            }
            "numpy dtype" => match &self.values[arguments as usize] {
                Value::Tuple(ids) if !ids.is_empty() => Value::Dtype(ids[0]),
                _ => return Err("a dtype without its code".into()),
            },
            other => {
                return Err(format!("it wants to call \"{other}\"; only plain data is read"));
            }
        };
        self.push(value);
        Ok(())
    }

    fn build(&mut self) -> Outcome<()> {
        let state = self.pop()?;
        match self.top_value()? {
            Value::Array(slot) => *slot = Some(state),
            Value::Dtype(_) => {}
            _ => return Err("a state for something that is not a NumPy array".into()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
