//! THE loop: poll, process, write, commit.
