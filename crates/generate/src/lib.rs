//! Deterministic, fully signed regtest chains with every standard spend type, for tests and benchmarks
