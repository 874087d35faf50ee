//! `rescom-sim`: simulates the dual class imbalance of supervised contrastive learning.
fn main() {}
