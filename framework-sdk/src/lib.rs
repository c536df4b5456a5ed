//! Write a framework.
