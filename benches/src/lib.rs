//! The benches of Caesure.
