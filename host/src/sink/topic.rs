//! Messages into a topic of either log.
