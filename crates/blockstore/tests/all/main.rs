//! The block store and the record reader from outside: faults of the original, crashes, damage,
//! foreign files, real data, scans and followers.

mod crash;
mod damage;
mod follow;
mod original;
mod real_data;
mod records;
mod released;
mod scale;
mod scan;
mod store;
mod support;
mod told;
