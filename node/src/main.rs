//! The program `caesure`, which does nothing yet.

fn main() {}
