//! `rescom-repro`: trains and evaluates ResCom and its peers, and reports beside the published numbers.
fn main() {}
