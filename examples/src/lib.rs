//! The examples of Caesure.
