//! The studies: `rescom-sim` end to end, and the library behind it against reference values and by
//! properties.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod cli;
mod common;
mod features;
#[path = "../fixtures/place.rs"]
mod place;
mod profiles;
mod properties;
mod reference;
