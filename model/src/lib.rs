//! The words of Mete.
