//! Shell of the service framework.
