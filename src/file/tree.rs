//! Growing the tree.
