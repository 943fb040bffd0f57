//! Serves the control interface.
