//! That a trace can be seen: the page for a browser, the picture in the README, two runs side by side, and patterns.

mod browser;
mod comparing;
mod data;
mod picture;
mod runs;
