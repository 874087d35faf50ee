//! The stack machine that a pickle is a program for, as far as plain data needs it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use super::{Id, Outcome, Value};

/// More operations than any file of CIFAR has (CIFAR-100's training set: a quarter of a million).
/// Values, the stack and the memory for references grow by a few entries per operation at most.
const MAX_OPERATIONS: usize = 2_000_000;

#[derive(Default)]
pub(super) struct Machine<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    pub(super) values: Vec<Value>,
    /// `None` is a mark.
    stack: Vec<Option<Id>>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// Executes the whole program and returns the value that it leaves.
    pub(super) fn run(&mut self) -> Outcome<Id> {
        if self.bytes.first().is_some_and(|&opcode| opcode != 0x80) {
            return Err("a pickle of protocol 0 or 1, or no pickle; save it anew with \
                        pickle.dump(batch, file, protocol=4)"
                .into());
        }
        for _ in 0..MAX_OPERATIONS {
            let opcode = self.number::<1>()? as u8;
            match opcode {
                b'.' => return self.pop(),
                0x80 => self.protocol()?,
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
                0x8d | 0x8e | 0x96 => self.string::<8>()?,
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
        Err(format!("more than {MAX_OPERATIONS} operations, which no batch of images needs"))
    }

    fn protocol(&mut self) -> Outcome<()> {
        match self.number::<1>()? {
            2..=5 => Ok(()),
            other => Err(format!("protocol {other}; 2 to 5 are read")),
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
        // At most three values per operation (see `run`), far below 2^32.
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
        self.push(Value::Global(module, name));
        Ok(())
    }

    /// A line of text, which does not go onto the stack.
    fn line(&mut self) -> Outcome<Id> {
        let rest = &self.bytes[self.at..];
        let n = rest.iter().take(200).position(|&b| b == b'\n').ok_or("a name without an end")?;
        let range = self.take(n + 1)?;
        self.values.push(Value::Bytes(range.start..range.end - 1));
        Ok(self.values.len() as Id - 1)
    }

    fn stacked_global(&mut self) -> Outcome<()> {
        let (name, module) = (self.pop()?, self.pop()?);
        self.push(Value::Global(module, name));
        Ok(())
    }

    /// A string of the file, at most 200 bytes of it.
    fn text(&self, id: Id) -> Outcome<Cow<'_, str>> {
        match &self.values[id as usize] {
            Value::Bytes(range) => Ok(String::from_utf8_lossy(
                &self.bytes[range.start..range.end.min(range.start + 200)],
            )),
            _ => Err("a name that is not a string".into()),
        }
    }

    /// The few things that a file may "call". None is called; each becomes the data that it stands for.
    fn reduce(&mut self) -> Outcome<()> {
        let (arguments, callee) = (self.pop()?, self.pop()?);
        let Value::Global(module, name) = self.values[callee as usize] else {
            return Err("a call of something without a name".into());
        };
        let (module, name) = (self.text(module)?, self.text(name)?);
        let Value::Tuple(arguments) = &self.values[arguments as usize] else {
            return Err("a call with something other than a tuple".into());
        };
        let value = match (&*module, &*name, arguments.as_slice()) {
            // The array's contents arrive with BUILD.
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct", _) => {
                Value::Array(None)
            }
            // Since protocol 5.
            (
                "numpy.core.numeric" | "numpy._core.numeric",
                "_frombuffer",
                &[data, dtype, shape, order],
            ) => Value::Buffer { data, dtype, shape, order },
            ("numpy", "dtype", &[code, ..]) => Value::Dtype(code),
            // How Python 3 writes bytes for Python 2: as text of the code points 0 to 255.
            ("_codecs", "encode", &[text, codec]) => self.latin1(text, codec)?,
            ("__builtin__" | "builtins", "bytes", []) => Value::Bytes(0..0),
            _ => {
                return Err(format!(
                    "it wants to call \"{module} {name}\"; only plain data is read"
                ));
            }
        };
        self.push(value);
        Ok(())
    }

    /// The bytes that `text` has in Latin-1. They are not made here: a file may ask for the same text
    /// over and over.
    fn latin1(&self, text: Id, codec: Id) -> Outcome<Value> {
        match (&self.values[text as usize], &self.values[codec as usize]) {
            (Value::Bytes(text), Value::Bytes(codec))
                if &self.bytes[codec.clone()] == b"latin1" =>
            {
                Ok(Value::Latin1(text.clone()))
            }
            _ => Err("text that is not encoded as \"latin1\"".into()),
        }
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
