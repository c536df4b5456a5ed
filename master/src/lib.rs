//! Shell of level one.
