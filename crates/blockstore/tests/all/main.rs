//! The block store and the record reader from outside: faults of the original, crashes, damage,
//! foreign files, real data.

mod crash;
mod damage;
mod original;
mod real_data;
mod records;
mod scale;
mod store;
mod support;
