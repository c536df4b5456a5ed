//! The names of all that is made for the networks of one agent. They fit into the 15 characters of a network device.

/// The names of one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    bridge: String,
    table: String,
    namespaces: String,
    links: String,
}

impl Names {
    /// Of the agent with this scope: see [`scope_of`](crate::cgroups::scope_of).
    pub(super) fn of(scope: &str) -> Self {
        // FNV-1a in 32 bits: short, and the same in every version.
        let tag = scope.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        Self {
            bridge: format!("mete-{tag:08x}"),
            table: format!("mete_{tag:08x}"),
            namespaces: format!("mete-{tag:08x}-"),
            links: format!("v{tag:08x}-"),
        }
    }

    /// The bridge.
    pub(super) const fn bridge(&self) -> &str {
        self.bridge.as_str()
    }

    /// The table of nftables.
    pub(super) const fn table(&self) -> &str {
        self.table.as_str()
    }

    /// A container's namespace.
    pub(super) fn namespace(&self, container: &str) -> String {
        format!("{}{container}", self.namespaces)
    }

    /// Whether a namespace is of this agent.
    pub(super) fn is_namespace(&self, name: &str) -> bool {
        name.starts_with(&self.namespaces)
    }

    /// The host's end of the link to the container with the `index`-th address.
    pub(super) fn link(&self, index: u16) -> String {
        format!("{}{index}", self.links)
    }

    /// Whether a device is such an end, of this agent.
    pub(super) fn is_link(&self, name: &str) -> bool {
        name.starts_with(&self.links)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_tell_agents_apart() {
        let names = Names::of("agent-1-0123abcd");

        assert!(names.link(u16::MAX).len() <= 15, "{}", names.link(u16::MAX));
        assert!(names.is_link(&names.link(7)));
        assert!(names.is_namespace(&names.namespace("c")));
        assert!(!Names::of("agent-2-0123abcd").is_namespace(&names.namespace("c")));
    }
}
