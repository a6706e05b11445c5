//! Bytes by hash.
