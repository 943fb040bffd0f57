//! Who is at fault, as the exit code tells it.
