//! Append-only block file with an index, readers in other processes, and import of foreign block files
