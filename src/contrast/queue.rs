//! Queues of keys: first in first out as in MoCo, and the class-balanced one of ResCom.

use crate::{Error, Result};
use ndarray::{Array2, ArrayRef2, ArrayView2};

/// One ring of Q keys for each class (METHOD section 3). Key j of class c is row c*Q + j.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassBalancedQueue {
    keys: Array2<f64>,
    labels: Vec<usize>,
    next: Vec<usize>,
    per_class: usize,
}

impl ClassBalancedQueue {
    /// A queue that starts with `keys` `[C*Q, D]`, class by class, and every pointer at 0.
    ///
    /// # Errors
    /// [`Error::Input`] if `classes` or `per_class` is 0 or `keys` has another number of rows.
    pub fn new(classes: usize, per_class: usize, keys: Array2<f64>) -> Result<Self> {
        let expected = classes * per_class;
        if expected == 0 || keys.nrows() != expected {
            return Err(Error::input(format!(
                "class-balanced queue: {} keys for {classes} classes of {per_class}; expected {expected} and at least 1",
                keys.nrows()
            )));
        }
        let labels = (0..expected).map(|k| k / per_class).collect();
        Ok(Self { keys, labels, next: vec![0; classes], per_class })
    }

    /// Writes `features` `[B, D]` one after the other into the ring of their class, over its
    /// oldest key. Only view-1 rows belong here, after the step's keys were used.
    ///
    /// # Errors
    /// [`Error::Input`] if a label has no ring or the shapes do not fit; the queue is then unchanged.
    pub fn push(&mut self, features: &ArrayRef2<f64>, labels: &[usize]) -> Result<()> {
        check_rows(features, labels, self.keys.ncols())?;
        if let Some(bad) = labels.iter().find(|l| **l >= self.next.len()) {
            let classes = self.next.len();
            return Err(Error::input(format!("label {bad}: the queue has {classes} classes")));
        }
        for (row, &label) in features.rows().into_iter().zip(labels) {
            self.keys.row_mut(label * self.per_class + self.next[label]).assign(&row);
            self.next[label] = (self.next[label] + 1) % self.per_class;
        }
        Ok(())
    }

    /// The keys `[C*Q, D]`.
    pub fn keys(&self) -> ArrayView2<'_, f64> {
        self.keys.view()
    }

    /// The class of each key (C*Q).
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// The slot of each class that is written next (C values below Q).
    pub fn pointers(&self) -> &[usize] {
        &self.next
    }
}

/// First in, first out over all classes, as in MoCo: the keys are as imbalanced as the data.
#[derive(Debug, Clone, PartialEq)]
pub struct FifoQueue {
    keys: Array2<f64>,
    labels: Vec<usize>,
    next: usize,
}

impl FifoQueue {
    /// A queue that starts with `keys` `[K, D]` of the classes `labels` (K).
    ///
    /// # Errors
    /// [`Error::Input`] if it is empty or the shapes do not fit.
    pub fn new(keys: Array2<f64>, labels: Vec<usize>) -> Result<Self> {
        check_rows(&keys, &labels, keys.ncols())?;
        if labels.is_empty() {
            return Err(Error::input("FIFO queue: it needs room for at least 1 key"));
        }
        Ok(Self { keys, labels, next: 0 })
    }

    /// Writes `features` `[B, D]` and `labels` (B) over the oldest keys.
    ///
    /// # Errors
    /// [`Error::Input`] if the shapes do not fit.
    pub fn push(&mut self, features: &ArrayRef2<f64>, labels: &[usize]) -> Result<()> {
        check_rows(features, labels, self.keys.ncols())?;
        for (row, &label) in features.rows().into_iter().zip(labels) {
            self.keys.row_mut(self.next).assign(&row);
            self.labels[self.next] = label;
            self.next = (self.next + 1) % self.labels.len();
        }
        Ok(())
    }

    /// The keys `[K, D]`.
    pub fn keys(&self) -> ArrayView2<'_, f64> {
        self.keys.view()
    }

    /// The class of each key (K).
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }
}

fn check_rows(features: &ArrayRef2<f64>, labels: &[usize], width: usize) -> Result<()> {
    if features.nrows() == labels.len() && features.ncols() == width {
        return Ok(());
    }
    Err(Error::input(format!(
        "queue: features {}x{} with {} labels; expected one label per row and {width} columns",
        features.nrows(),
        features.ncols(),
        labels.len()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_in_is_the_first_out() {
        let mut queue = FifoQueue::new(Array2::zeros((3, 1)), vec![9; 3]).unwrap();
        let batch = Array2::from_shape_fn((4, 1), |(i, _)| i as f64 + 1.0);
        queue.push(&batch, &[1, 2, 3, 4]).unwrap();
        assert_eq!(queue.labels(), [4, 2, 3]);
        assert_eq!(queue.keys().column(0).to_vec(), [4.0, 2.0, 3.0]);
    }

    #[test]
    fn a_class_that_fills_its_ring_wraps_around() {
        let mut queue = ClassBalancedQueue::new(2, 2, Array2::zeros((4, 1))).unwrap();
        let batch = Array2::from_shape_fn((4, 1), |(i, _)| i as f64 + 1.0);
        queue.push(&batch, &[1, 1, 1, 0]).unwrap();
        assert_eq!(queue.keys().column(0).to_vec(), [4.0, 0.0, 3.0, 2.0]);
        assert_eq!(queue.pointers(), [1, 1]);
        assert!(queue.push(&batch, &[0, 1, 2, 0]).is_err());
    }
}
