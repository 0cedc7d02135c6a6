//! The program's layers together, without sockets.

mod machine;
mod model;
mod scenarios;
mod simulation;
