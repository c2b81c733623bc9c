//! Everything that is tested from outside, in one binary. One `mod` line a file, in order.

mod layering;
