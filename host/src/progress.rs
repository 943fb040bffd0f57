//! A line on the terminal that shows a run going on.
