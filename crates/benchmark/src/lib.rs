//! What the programs of the benchmark have in common: the payments that they talk about. The measuring is in
//! the program `benchmark`, and `bare` is one of the things that it measures.

pub mod payments;
