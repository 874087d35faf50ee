//! The float32 path of the simulator (see `anchor_gradient` for the reference).
