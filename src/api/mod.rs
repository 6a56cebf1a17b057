//! Wire faces: they decode, hand over and encode, and decide nothing.

pub mod codec;
