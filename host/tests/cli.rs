//! The program as its user calls it.
