//! What awf does not cover, said as plainly as what it does.
