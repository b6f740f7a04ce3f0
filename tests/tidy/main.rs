//! The rules of the house, checked by reading the tree: what a reviewer would otherwise have to
//! remember. Every finding names file, line and rule.
//!
//! A rule that reads Rust works on [`source_tree::code_of`]: comments and the contents of texts are
//! blanked, so a word in a sentence is never taken for code. Each rule is also tried on a snippet
//! that breaks it, because a rule that finds nothing proves nothing.

mod documented;
mod layers;
mod limits;
mod neutrality;
mod contract;
mod size;
mod shipped;
mod dependencies;
mod source_tree;
