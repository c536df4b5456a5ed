//! Shell of a node.
