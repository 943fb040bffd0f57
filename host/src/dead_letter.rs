//! Messages that could not be used, kept with their cause.
