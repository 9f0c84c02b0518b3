//! Stories of scanners, told in seconds.

mod blame;
mod life;
mod story;
