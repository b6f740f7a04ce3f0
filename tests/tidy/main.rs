//! The rules of this repository, checked automatically. Every finding names file, line and rule.
//!
//! Rules for Rust work on [`source_tree::code_of`]: comments and string contents are blanked, so a
//! word in a sentence is never taken for code. Each rule is also tried on a snippet that breaks it,
//! because a rule that finds nothing proves nothing.

mod documented;
mod documented_json;
mod layers;
mod glossary;
mod limits;
mod neutrality;
mod contract;
mod size;
mod shipped;
mod dependencies;
mod source_tree;
