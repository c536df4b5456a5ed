//! Everything that crosses the network.
